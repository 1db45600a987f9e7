/* SPDX-License-Identifier: MIT
 *
 * Remote processes whose command prints something of its own, or never becomes a perl: fake-ssh.sh,
 * which misbehaves on request.
 */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "test-remote-lib.h"

/* ---- Noise and silence ---- */

static void noise_is_skipped(struct test *t)
{
    static const char *const amounts[] = {"0", "17", "65536", "102400"};

    for (size_t i = 0; i < G_N_ELEMENTS(amounts); i++) {
        struct afork_remote_options *options = test_remote_options("noise", amounts[i]);
        options->noise_max = i == 3 ? 102400 : 0;
        struct afork_process *process = test_remote_with(t, options);
        test_ok(afork_process_eval(process, test_remote_functions, NULL));
        g_autofree char *text = test_output(t, process, "list");
        g_assert_cmpstr(text, ==, "-\n");
    }
    static const char *const others[] = {"almost", "drip", "later", "banner"};
    for (size_t i = 0; i < G_N_ELEMENTS(others); i++) {
        struct afork_process *process = test_remote(t, others[i], NULL);
        test_ok(afork_process_eval(process, test_remote_functions, NULL));
        struct test_remote_end end = {0};
        test_ok(afork_process_on_exit(process, test_on_exit, &end.exit));
        g_autofree char *text = test_output(t, process, "list");
        test_assert_contains(text, "-\n");
        test_wait(t, end.exit.calls);
        g_assert_cmpint(end.exit.status, ==, 0);
    }
}

static void no_standard_error(struct test *t)
{
    struct afork_process *process = test_remote(t, "no-stderr", NULL);

    test_ok(afork_process_eval(process, test_remote_functions, NULL));
    test_ok(afork_process_eval(process, "print 'not this'; print STDERR 'nor this'; warn 'or that'",
                               NULL));
    g_autofree char *text = test_output(t, process, "list");
    g_assert_cmpstr(text, ==, "-\n");
}

static void too_much_noise(struct test *t)
{
    struct test_remote_end end = test_remote_end_of(t, test_remote(t, "noise", "102400"), "list");
    g_assert_cmpint(end.run.fd, ==, -EPROTO);
    g_assert_cmpint(end.run.cause, ==, AFORK_CAUSE_START);
    test_assert_contains(end.run.message,
                         "fake-ssh.sh noise 102400 printed more than 65536 octets");
    test_assert_contains(end.run.message, "it printed \"nnnnnnnn");
    g_assert_cmpint(end.exit.cause, ==, AFORK_CAUSE_START);

    for (int n = 0; n < 2; n++) {
        struct afork_remote_options *options = test_remote_options(n ? "banner" : "noise",
                                                                   n ? NULL : "17");
        options->strict = true;
        end = test_remote_end_of(t, test_remote_with(t, options), "list");
        g_assert_cmpint(end.run.fd, ==, -EPROTO);
        g_assert_cmpint(end.run.cause, ==, AFORK_CAUSE_START);
        test_assert_contains(end.run.message, n ? "printed \"W" : "printed \"n");
    }
    struct afork_remote_options *options = test_remote_options("noise", "0");
    options->strict = true;
    struct afork_process *process = test_remote_with(t, options);
    test_ok(afork_process_eval(process, test_remote_functions, NULL));
    g_free(test_output(t, process, "list"));
}

static void command_that_refuses(struct test *t)
{
    test_with_tail(t);
    struct test_remote_end end = test_remote_end_of(t, test_remote(t, "refuse", NULL), "list");
    g_assert_cmpint(end.run.fd, ==, -ECONNRESET);
    g_assert_cmpint(end.run.cause, ==, AFORK_CAUSE_START);
    test_assert_contains(end.run.message,
                         "exited with status 255 before it could serve; it printed "
                         "\"no such host\\n\"");
    g_assert_cmpstr(end.run.stderr_tail, ==, "Permission denied (publickey).\n");
    g_assert_cmpint(end.exit.cause, ==, AFORK_CAUSE_START);
    g_assert_cmpint(end.exit.status, ==, 255);
    g_assert_cmpstr(end.exit.stderr_tail, ==, "Permission denied (publickey).\n");
}

static void command_that_never_answers(struct test *t)
{
    static const char *const behaviours[] = {"silent", "echo"};

    for (size_t i = 0; i < G_N_ELEMENTS(behaviours); i++) {
        struct afork_remote_options *options = test_remote_options(behaviours[i], NULL);
        options->start_timeout = 300000;
        gint64 before = g_get_monotonic_time();
        struct test_remote_end end = test_remote_end_of(t, test_remote_with(t, options), "list");
        g_assert_cmpint(g_get_monotonic_time() - before, >=, 300000);
        g_assert_cmpint(end.run.fd, ==, -ETIMEDOUT);
        g_assert_cmpint(end.run.cause, ==, AFORK_CAUSE_START);
        test_assert_contains(end.run.message, "did not start a perl within 0.3 s");
        if (i)
            test_assert_contains(end.run.message, "it printed \"eval 'exit 127'\\n");
        g_assert_cmpint(end.exit.cause, ==, AFORK_CAUSE_START);
        g_assert_cmpint(WTERMSIG(end.exit.wait_status), ==, SIGKILL);
    }
}

/* The deadline is for the answer, not for what is evaluated. */
static void commands_have_time(struct test *t)
{
    struct afork_remote_options *options = test_remote_options("noise", "0");
    options->start_timeout = 2000000;
    struct afork_process *process = test_remote_with(t, options);
    test_ok(afork_process_eval(process, test_remote_functions, NULL));
    test_ok(afork_process_eval(process, "select undef, undef, undef, 2.2", NULL));
    g_free(test_output(t, process, "list"));

    options = test_remote_options("noise", "0");
    options->start_timeout = INT64_MAX;
    process = test_remote_with(t, options);
    test_ok(afork_process_eval(process, test_remote_functions, NULL));
    g_free(test_output(t, process, "list"));
}

static void command_that_hangs_up(struct test *t)
{
    test_with_tail(t);
    struct test_remote_end end = test_remote_end_of(t, test_remote(t, "hang-up", NULL), "list");
    g_assert_cmpint(end.run.fd, ==, -ECONNRESET);
    g_assert_cmpint(end.run.cause, ==, AFORK_CAUSE_START);
    test_assert_contains(end.run.message, "closed its standard input and output");
    test_assert_contains(end.run.message, "it printed \"bye\\n\"");

    end = test_remote_end_of(t, test_remote(t, "mute", NULL), "list");
    g_assert_cmpint(end.run.cause, ==, AFORK_CAUSE_START);
    test_assert_contains(end.run.message, "before it could serve");
    test_assert_contains(end.exit.stderr_tail, "standard output");
    g_assert_cmpint(end.exit.status, !=, 0);
}

/* A shell that was taken for a perl ends at the first line. */
static void command_without_perl(struct test *t)
{
    test_with_tail(t);
    struct test_remote_end end = test_remote_end_of(t, test_remote(t, "shell", NULL), "list");
    g_assert_cmpint(end.exit.cause, ==, AFORK_CAUSE_START);
    g_assert_cmpint(end.exit.status, ==, 127);
    g_assert_cmpstr(end.exit.stderr_tail, ==, "");
}

static void command_that_does_not_exist(struct test *t)
{
    static const char *const commands[][2] = {{"/no/such/ssh", NULL}, {"/dev/null", NULL}};
    static const int errors[] = {-ENOENT, -EACCES};

    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        struct afork_remote_options options = AFORK_REMOTE_OPTIONS_INIT;
        options.argv = commands[i];
        struct afork_process *process = test_remote_with(t, &options);
        g_assert_cmpint(afork_process_pid(process), ==, 0);
        struct test_remote_end end = test_remote_end_of(t, process, "list");
        g_assert_cmpint(end.run.fd, ==, errors[i]);
        g_assert_cmpint(end.run.cause, ==, AFORK_CAUSE_START);
        test_assert_contains(end.run.message, commands[i][0]);
        test_assert_contains(end.run.message, g_strerror(-errors[i]));
        g_assert_cmpint(end.exit.cause, ==, AFORK_CAUSE_START);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_add("/remote/noise/skipped", noise_is_skipped);
    test_add("/remote/noise/no-standard-error", no_standard_error);
    test_add("/remote/noise/too-much", too_much_noise);
    test_add("/remote/start/refuses", command_that_refuses);
    test_add("/remote/start/never-answers", command_that_never_answers);
    test_add_for(&test_loop_poll, "/remote/start/commands-have-time", commands_have_time);
    test_add("/remote/start/hangs-up", command_that_hangs_up);
    test_add("/remote/start/no-perl", command_without_perl);
    test_add("/remote/start/does-not-exist", command_that_does_not_exist);
    return g_test_run();
}
