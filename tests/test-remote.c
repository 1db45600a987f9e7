/* SPDX-License-Identifier: MIT
 *
 * Remote processes. The cases below /remote/any run over the command in AFORK_TEST_REMOTE, if that
 * is set (test-remote-ssh.sh); the others over fake-ssh.sh, which misbehaves on request.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test-lib.h"
#include "util.h"

static const char prelude[] =
    "sub echo {\n"
    "    my ($rfh, @args) = @_;\n"
    "    my $wfh = fileno $rfh ? $rfh : *STDOUT;\n"
    "    while (sysread $rfh, my $data, 65536) {\n"
    "        while ($data ne '') { substr $data, 0, syswrite($wfh, $data), '' }\n"
    "    }\n"
    "}\n"
    "sub digest {\n"
    "    my ($rfh, @args) = @_;\n"
    "    my $wfh = fileno $rfh ? $rfh : *STDOUT;\n"
    "    require Digest::MD5;\n"
    "    print $wfh length($_) . ' ' . Digest::MD5::md5_hex($_) . \"\\n\" for @args;\n"
    "}\n"
    "sub list {\n"
    "    my ($rfh, @args) = @_;\n"
    "    my $wfh = fileno $rfh ? $rfh : *STDOUT;\n"
    "    print $wfh join(' ', @main::seen, '-', @args), \"\\n\";\n"
    "}\n"
    "sub lines {\n"
    "    my ($rfh) = @_;\n"
    "    my $wfh = fileno $rfh ? $rfh : *STDOUT;\n"
    "    while (my $line = <$rfh>) { syswrite $wfh, \"got $line\" }\n"
    "}\n"
    "sub much { print 'x' x 300000, \"\\n\" }\n"
    "sub leave { exit 3 }\n"
    "sub bear { system 'echo from a child' }\n";

static struct afork_process *remote_with(struct test *t, struct afork_remote_options *options)
{
    struct afork_process *process;

    test_ok(afork_process_new_remote(test_context(t), options, &process));
    return process;
}

/* A command that behaves so. */
static struct afork_remote_options *behaving(const char *behaviour, const char *argument)
{
    static struct afork_remote_options options;
    static const char *argv[5];

    const char *top = g_getenv("AFORK_TEST_SRCDIR");
    char *script = g_build_filename(top ? top : "..", "tests", "fake-ssh.sh", NULL);

    g_test_queue_free(script);
    argv[0] = "sh";
    argv[1] = script;
    argv[2] = behaviour;
    argv[3] = argument;
    options = (struct afork_remote_options)AFORK_REMOTE_OPTIONS_INIT;
    options.argv = argv;
    return &options;
}

static struct afork_process *remote(struct test *t, const char *behaviour, const char *argument)
{
    return remote_with(t, behaving(behaviour, argument));
}

/* One that works, and knows the functions above. */
static struct afork_process *any_remote(struct test *t)
{
    const char *command = g_getenv("AFORK_TEST_REMOTE");
    g_auto(GStrv) words = g_strsplit(command ? command : "", " ", -1);
    struct afork_remote_options *options = behaving("noise", "0");

    if (command)
        options->argv = (const char *const *)words;
    struct afork_process *process = remote_with(t, options);
    test_ok(afork_process_eval(process, prelude, NULL));
    return process;
}

struct end {
    struct test_run run;
    struct test_exit exit;
};

/* Runs a process that fails or leaves by itself, to its end. */
static struct end end_of(struct test *t, struct afork_process *process, const char *function)
{
    struct end end = {0};

    test_ok(afork_process_on_exit(process, test_on_exit, &end.exit));
    test_ok(afork_process_run(process, function, test_on_run, &end.run));
    afork_process_unref(process);
    test_wait(t, end.run.calls);
    if (end.run.fd >= 0)
        close(end.run.fd);
    test_wait(t, end.exit.calls);
    g_assert_cmpuint(end.run.calls, ==, 1);
    g_assert_cmpuint(end.exit.calls, ==, 1);
    return end;
}

static void assert_contains(const char *text, const char *part)
{
    if (!strstr(text, part))
        g_error("\"%s\" does not contain \"%s\"", text, part);
}

static void with_tail(struct test *t)
{
    t->options.standard_error.mode = AFORK_STDIO_TAIL;
}

/* ---- With any command ---- */

static void arguments_are_octets(struct test *t)
{
    struct afork_process *process = any_remote(t);
    g_autofree guint8 *big = g_malloc(10 << 20);
    const struct iovec arguments[] = {{big, 256}, {big, 0},        {(char *)"'\"\\\n\0$x@y", 10},
                                      {big, 300}, {big, 10 << 20}, {(char *)"__END__\n", 8}};
    g_autoptr(GString) expected = g_string_new(NULL);

    for (guint i = 0; i < 10 << 20; i++)
        big[i] = (guint8)(i < 512 ? i : i * 2654435761U >> 13);
    for (size_t i = 0; i < G_N_ELEMENTS(arguments); i++) {
        test_ok(afork_process_send_arg(process, arguments[i].iov_base, arguments[i].iov_len));
        g_autofree char *sum = g_compute_checksum_for_data(G_CHECKSUM_MD5, arguments[i].iov_base,
                                                           arguments[i].iov_len);
        g_string_append_printf(expected, "%zu %s\n", arguments[i].iov_len, sum);
    }
    test_ok(afork_process_send_arg_take(process, g_strdup("taken"), 5, g_free));
    g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_MD5, "taken", 5);
    g_string_append_printf(expected, "5 %s\n", sum);
    g_autofree char *text = test_output(t, process, "digest");
    g_assert_cmpstr(text, ==, expected->str);
}

static void channel_goes_both_ways(struct test *t)
{
    int fd = test_run_and_unref(t, any_remote(t), "echo");
    g_autofree char *data = g_malloc(100000), *back = g_malloc(100000);

    for (int i = 0; i < 100000; i++)
        data[i] = (char)(i * 7);
    for (int i = 0; i < 3; i++) {
        test_write(t, fd, data, 100000);
        test_read(t, fd, back, 100000);
        g_assert_cmpmem(data, 100000, back, 100000);
    }
    close(fd);

    /* Buffered reading, too. */
    fd = test_run_and_unref(t, any_remote(t), "lines");
    test_write(t, fd, "one\ntwo\n", 8);
    test_read(t, fd, back, 16);
    g_assert_cmpmem(back, 16, "got one\ngot two\n", 16);
    close(fd);
}

/* What the function writes right behind the answer belongs to the channel, and what was printed
 * before does not. */
static void output_is_the_functions(struct test *t)
{
    t->options.standard_error.mode = AFORK_STDIO_NULL;
    struct afork_process *process = any_remote(t);

    test_ok(afork_process_eval(process, "print 'not this'; system 'echo nor this'; $| = 0", NULL));
    test_ok(
        afork_process_eval(process, "print 'nor that'; push @seen, <STDIN> // 'nothing'", NULL));
    struct afork_process *copy = test_fork(process), *third = test_fork(process);
    gsize len;
    g_autofree char *much = test_slurp(t, test_run_and_unref(t, process, "much"), &len);
    g_assert_cmpuint(len, ==, 300001);
    g_assert_cmpuint(strspn(much, "x"), ==, 300000);
    g_autofree char *read = test_output(t, copy, "list");
    g_assert_cmpstr(read, ==, "nothing -\n");
    g_autofree char *child = test_output(t, third, "bear");
    g_assert_cmpstr(child, ==, "from a child\n");
}

static void records_are_copied(struct test *t)
{
    struct afork_process *process = any_remote(t);

    test_ok(afork_process_eval(process, "push @seen, @_", "first", NULL));
    test_ok(afork_process_send_arg(process, "a", 1));
    struct afork_process *copy = test_fork(process);
    test_ok(afork_process_eval(process, "push @seen, 'second', @arg", NULL));
    test_ok(afork_process_send_arg(copy, "b", 1));
    struct afork_process *second = test_fork(copy);
    g_autofree char *of_process = test_output(t, process, "list");
    g_autofree char *of_copy = test_output(t, copy, "list");
    g_autofree char *of_second = test_output(t, second, "main::list");
    g_assert_cmpstr(of_process, ==, "first second a - a\n");
    g_assert_cmpstr(of_copy, ==, "first - a b\n");
    g_assert_cmpstr(of_second, ==, "first - a b\n");
}

static void modules_are_loaded(struct test *t)
{
    struct afork_process *process = any_remote(t);

    test_ok(afork_process_require(process, "List::Util", "File::Basename", NULL));
    test_ok(afork_process_eval(process, "push @seen, List::Util::sum(@_)", "1", "2", NULL));
    g_autofree char *text = test_output(t, process, "list");
    g_assert_cmpstr(text, ==, "3 -\n");
}

static void errors_are_perls(struct test *t)
{
    static const struct {
        const char *code, *module, *function, *message;
        enum afork_cause cause;
    } cases[] = {
        {"die \"no \\x{263a} good\\n\"", NULL, "list", "no \342\230\272 good\n", AFORK_CAUSE_EVAL},
        {"1 +* 2 +", NULL, "list", "syntax error at (eval ", AFORK_CAUSE_EVAL},
        {"die bless []", NULL, "list", "main=ARRAY(", AFORK_CAUSE_EVAL},
        {"die 'x' x 20000", NULL, "list", "xxxxxxxx", AFORK_CAUSE_EVAL},
        {NULL, "No::Such", "list", "Can't locate No/Such.pm in @INC", AFORK_CAUSE_REQUIRE},
        {NULL, NULL, "nowhere", "Undefined subroutine &main::nowhere called", AFORK_CAUSE_FUNCTION},
        {NULL, NULL, "No::where", "Undefined subroutine &No::where called", AFORK_CAUSE_FUNCTION},
    };
    g_autofree char *big = g_malloc0(1 << 20);

    with_tail(t);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct afork_process *process = any_remote(t);
        if (cases[i].code)
            test_ok(afork_process_eval(process, cases[i].code, NULL));
        if (cases[i].module)
            test_ok(afork_process_require(process, cases[i].module, NULL));
        test_ok(afork_process_send_arg(process, big, 1 << 20)); /* is never read */
        struct end end = end_of(t, process, cases[i].function);
        g_assert_cmpint(end.run.fd, ==, -ENOEXEC);
        g_assert_cmpint(end.run.cause, ==, cases[i].cause);
        assert_contains(end.run.message, cases[i].message);
        g_assert_cmpint(end.exit.cause, ==, cases[i].cause);
        assert_contains(end.exit.message, cases[i].message);
        g_assert_cmpint(end.exit.status, ==, 255);
        if (i != 3) /* too long for the tail */
            assert_contains(end.exit.stderr_tail, "ERROR: ");
    }
}

static void ends_are_told(struct test *t)
{
    struct end end = end_of(t, any_remote(t), "leave");
    g_assert_cmpint(end.run.fd, >=, 0);
    g_assert_cmpint(end.exit.cause, ==, AFORK_CAUSE_EXITED);
    g_assert_cmpint(end.exit.status, ==, 3);

    struct afork_process *process = any_remote(t);
    test_ok(afork_process_eval(process, "exit 4", NULL));
    end = end_of(t, process, "list");
    g_assert_cmpint(end.run.fd, ==, -ECONNRESET);
    g_assert_cmpint(end.exit.cause, ==, AFORK_CAUSE_EXITED);
    g_assert_cmpint(end.exit.status, ==, 4);

    end = end_of(t, any_remote(t), "CORE::exit");
    g_assert_cmpint(end.run.fd, >=, 0);
    g_assert_cmpint(end.exit.status, ==, 0);
}

static void pid_is_that_of_the_command(struct test *t)
{
    struct afork_process *process = any_remote(t);
    struct test_exit end = {0};

    g_assert_cmpint(afork_process_pid(process), ==, 0);
    g_assert_cmpint(afork_process_kill(process, SIGTERM), ==, -ENOTSUP);
    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    int fd = test_run_function(t, process, "echo");
    pid_t pid = afork_process_pid(process);
    g_assert_cmpint(pid, >, 0);
    g_assert_true(test_is_running(pid));
    test_ok(afork_process_kill(process, SIGKILL));
    test_wait(t, end.calls);
    g_assert_cmpint(end.cause, ==, AFORK_CAUSE_SIGNALLED);
    g_assert_cmpint(end.status, ==, SIGKILL);
    g_assert_cmpint(afork_process_pid(process), ==, 0);
    g_assert_cmpint(afork_process_kill(process, SIGKILL), ==, -ESRCH);
    afork_process_unref(process);
    close(fd);
}

/* The worker outlives its handle; without a callback, the channel is closed. */
static void released_after_run(struct test *t)
{
    struct test_run run = {0};
    struct test_exit end = {0};
    struct afork_process *process = any_remote(t);
    char back[3];

    test_ok(afork_process_run(process, "echo", test_on_run, &run));
    afork_process_unref(process);
    test_wait(t, run.calls);
    test_write(t, run.fd, "abc", 3);
    test_read(t, run.fd, back, 3);
    close(run.fd);

    process = any_remote(t);
    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    test_ok(afork_process_run(process, "echo", NULL, NULL));
    afork_process_unref(process);
    test_wait(t, end.calls);
    g_assert_cmpint(end.cause, ==, AFORK_CAUSE_EXITED);
    g_assert_cmpint(end.status, ==, 0);
}

enum { MANY = 20 };

static void many_at_once(struct test *t)
{
    struct afork_process *process = any_remote(t);
    struct test_run runs[MANY] = {{0}};
    struct test_exit ends[MANY] = {{0}};

    for (int i = 0; i < MANY; i++) {
        struct afork_process *copy = test_fork(process);
        g_autofree char *number = g_strdup_printf("%d", i);
        test_ok(afork_process_send_arg(copy, number, strlen(number)));
        test_ok(afork_process_on_exit(copy, test_on_exit, &ends[i]));
        test_ok(afork_process_run(copy, "list", test_on_run, &runs[i]));
        afork_process_unref(copy);
    }
    afork_process_unref(process);
    for (int i = 0; i < MANY; i++) {
        g_autofree char *expected = g_strdup_printf("- %d\n", i);
        test_wait(t, runs[i].calls);
        g_assert_cmpint(runs[i].fd, >=, 0);
        g_autofree char *text = test_slurp(t, runs[i].fd, NULL);
        g_assert_cmpstr(text, ==, expected);
        test_wait(t, ends[i].calls);
    }
}

struct answer {
    unsigned calls;
    int error;
    gsize len;
    char text[256]; /* the start of the results, or the message */
    bool has_exit;
};

static void on_answer(const struct afork_reply *reply, void *data)
{
    struct answer *answer = data;

    answer->calls++;
    answer->error = reply->error;
    answer->len = reply->len;
    answer->has_exit = reply->exit;
    if (reply->error)
        g_strlcpy(answer->text, reply->message, sizeof answer->text);
    else
        memcpy(answer->text, reply->data, MIN(reply->len, sizeof answer->text - 1));
}

static void count_end(struct afork_rpc *rpc, int error, const char *message,
                      const struct afork_exit *exit, void *data)
{
    ++*(unsigned *)data;
}

/* Its back end is sent along. */
static void calls_are_answered(struct test *t)
{
    struct afork_rpc_options options = AFORK_RPC_OPTIONS_INIT;
    struct afork_call_options with_fd = AFORK_CALL_OPTIONS_INIT;
    struct answer small = {0}, big = {0}, thrown = {0}, lost = {0};
    g_autofree char *data = g_strnfill(2 << 20, 'x');
    const struct iovec strings[][2] = {{{(char *)"add", 3}, {(char *)"abc", 3}},
                                       {{(char *)"add", 3}, {data, 2 << 20}},
                                       {{(char *)"die", 3}, {(char *)"", 0}},
                                       {{(char *)"exit", 4}, {(char *)"", 0}}};
    struct answer *answers[] = {&small, &big, &thrown, &lost};
    unsigned ends = 0;
    struct afork_process *process = any_remote(t);
    struct afork_rpc *rpc;

    options.on_end = count_end;
    options.data = &ends;
    test_ok(afork_process_eval(process,
                               "sub act { my ($do, $x) = @_; die qq(no\n) if $do eq 'die';"
                               " exit 3 if $do eq 'exit'; return ($x, 'y') }",
                               NULL));
    test_ok(afork_rpc_new(process, "act", &options, &rpc));
    afork_process_unref(process);
    with_fd.fds = (int[]){0};
    with_fd.n_fds = 1;
    g_assert_cmpint(afork_rpc_call_strings(rpc, strings[0], 2, &with_fd, on_answer, &small, NULL),
                    ==, -ENOTSUP);
    for (size_t i = 0; i < G_N_ELEMENTS(strings); i++)
        test_ok(afork_rpc_call_strings(rpc, strings[i], 2, NULL, on_answer, answers[i], NULL));
    test_wait(t, lost.calls && ends);
    test_ok(small.error);
    g_assert_cmpstr(small.text, ==, "\003abc\001y");
    test_ok(big.error);
    g_assert_cmpuint(big.len, ==, 4 + (2 << 20) + 2);
    g_assert_cmpint(thrown.error, ==, -EREMOTEIO);
    g_assert_cmpstr(thrown.text, ==, "no\n");
    g_assert_cmpint(lost.error, ==, -ECONNRESET);
    g_assert_true(lost.has_exit);
    afork_rpc_unref(rpc);
}

/* ---- Noise and silence ---- */

static void noise_is_skipped(struct test *t)
{
    static const char *const amounts[] = {"0", "17", "65536", "102400"};

    for (size_t i = 0; i < G_N_ELEMENTS(amounts); i++) {
        struct afork_remote_options *options = behaving("noise", amounts[i]);
        options->noise_max = i == 3 ? 102400 : 0;
        struct afork_process *process = remote_with(t, options);
        test_ok(afork_process_eval(process, prelude, NULL));
        g_autofree char *text = test_output(t, process, "list");
        g_assert_cmpstr(text, ==, "-\n");
    }
    static const char *const others[] = {"almost", "drip", "later", "banner"};
    for (size_t i = 0; i < G_N_ELEMENTS(others); i++) {
        struct afork_process *process = remote(t, others[i], NULL);
        test_ok(afork_process_eval(process, prelude, NULL));
        struct end end = {0};
        test_ok(afork_process_on_exit(process, test_on_exit, &end.exit));
        g_autofree char *text = test_output(t, process, "list");
        assert_contains(text, "-\n");
        test_wait(t, end.exit.calls);
        g_assert_cmpint(end.exit.status, ==, 0);
    }
}

static void no_standard_error(struct test *t)
{
    struct afork_process *process = remote(t, "no-stderr", NULL);

    test_ok(afork_process_eval(process, prelude, NULL));
    test_ok(afork_process_eval(process, "print 'not this'; print STDERR 'nor this'; warn 'or that'",
                               NULL));
    g_autofree char *text = test_output(t, process, "list");
    g_assert_cmpstr(text, ==, "-\n");
}

static void too_much_noise(struct test *t)
{
    struct end end = end_of(t, remote(t, "noise", "102400"), "list");
    g_assert_cmpint(end.run.fd, ==, -EPROTO);
    g_assert_cmpint(end.run.cause, ==, AFORK_CAUSE_START);
    assert_contains(end.run.message, "fake-ssh.sh noise 102400 printed more than 65536 octets");
    assert_contains(end.run.message, "it printed \"nnnnnnnn");
    g_assert_cmpint(end.exit.cause, ==, AFORK_CAUSE_START);

    for (int n = 0; n < 2; n++) {
        struct afork_remote_options *options = behaving(n ? "banner" : "noise", n ? NULL : "17");
        options->strict = true;
        end = end_of(t, remote_with(t, options), "list");
        g_assert_cmpint(end.run.fd, ==, -EPROTO);
        g_assert_cmpint(end.run.cause, ==, AFORK_CAUSE_START);
        assert_contains(end.run.message, n ? "printed \"W" : "printed \"n");
    }
    struct afork_remote_options *options = behaving("noise", "0");
    options->strict = true;
    struct afork_process *process = remote_with(t, options);
    test_ok(afork_process_eval(process, prelude, NULL));
    g_free(test_output(t, process, "list"));
}

static void command_that_refuses(struct test *t)
{
    with_tail(t);
    struct end end = end_of(t, remote(t, "refuse", NULL), "list");
    g_assert_cmpint(end.run.fd, ==, -ECONNRESET);
    g_assert_cmpint(end.run.cause, ==, AFORK_CAUSE_START);
    assert_contains(end.run.message, "exited with status 255 before it could serve; it printed "
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
        struct afork_remote_options *options = behaving(behaviours[i], NULL);
        options->start_timeout = 300000;
        gint64 before = g_get_monotonic_time();
        struct end end = end_of(t, remote_with(t, options), "list");
        g_assert_cmpint(g_get_monotonic_time() - before, >=, 300000);
        g_assert_cmpint(end.run.fd, ==, -ETIMEDOUT);
        g_assert_cmpint(end.run.cause, ==, AFORK_CAUSE_START);
        assert_contains(end.run.message, "did not start a perl within 0.3 s");
        if (i)
            assert_contains(end.run.message, "it printed \"eval 'exit 127'\\n");
        g_assert_cmpint(end.exit.cause, ==, AFORK_CAUSE_START);
        g_assert_cmpint(WTERMSIG(end.exit.wait_status), ==, SIGKILL);
    }
}

/* The deadline is for the answer, not for what is evaluated. */
static void commands_have_time(struct test *t)
{
    struct afork_remote_options *options = behaving("noise", "0");
    options->start_timeout = 2000000;
    struct afork_process *process = remote_with(t, options);
    test_ok(afork_process_eval(process, prelude, NULL));
    test_ok(afork_process_eval(process, "select undef, undef, undef, 2.2", NULL));
    g_free(test_output(t, process, "list"));
}

static void command_that_hangs_up(struct test *t)
{
    with_tail(t);
    struct end end = end_of(t, remote(t, "hang-up", NULL), "list");
    g_assert_cmpint(end.run.fd, ==, -ECONNRESET);
    g_assert_cmpint(end.run.cause, ==, AFORK_CAUSE_START);
    assert_contains(end.run.message, "closed its standard input and output");
    assert_contains(end.run.message, "it printed \"bye\\n\"");

    end = end_of(t, remote(t, "mute", NULL), "list");
    g_assert_cmpint(end.run.cause, ==, AFORK_CAUSE_START);
    assert_contains(end.run.message, "before it could serve");
    assert_contains(end.exit.stderr_tail, "standard output");
    g_assert_cmpint(end.exit.status, !=, 0);
}

/* A shell that was taken for a perl ends at the first line. */
static void command_without_perl(struct test *t)
{
    with_tail(t);
    struct end end = end_of(t, remote(t, "shell", NULL), "list");
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
        struct afork_process *process = remote_with(t, &options);
        g_assert_cmpint(afork_process_pid(process), ==, 0);
        struct end end = end_of(t, process, "list");
        g_assert_cmpint(end.run.fd, ==, errors[i]);
        g_assert_cmpint(end.run.cause, ==, AFORK_CAUSE_START);
        assert_contains(end.run.message, commands[i][0]);
        assert_contains(end.run.message, g_strerror(-errors[i]));
        g_assert_cmpint(end.exit.cause, ==, AFORK_CAUSE_START);
    }
}

/* ---- Ends at each stage ---- */

/* Starts a process that stays in a stage: 0 it has not answered, 1 it evaluates, 2 it has an
 * argument sent, 3 it runs. */
enum { STAGES = 4 };

static struct afork_process *in_stage(struct test *t, int stage, struct end *end)
{
    struct afork_process *process = remote(t, stage ? "noise" : "silent", "5");

    test_ok(afork_process_on_exit(process, test_on_exit, &end->exit));
    test_ok(afork_process_eval(process, prelude, NULL));
    if (stage == 1 || stage == 2)
        test_ok(afork_process_eval(process, "print STDERR '.'; sleep 1000", NULL));
    if (stage == 2) {
        g_autofree char *big = g_malloc0(10 << 20);
        test_ok(afork_process_send_arg(process, big, 10 << 20));
    }
    test_ok(afork_process_run(process, "echo", test_on_run, &end->run));
    g_assert_cmpint(afork_process_run(process, "echo", test_on_run, &end->run), ==, -EINVAL);
    g_assert_cmpint(afork_process_eval(process, "1", NULL), ==, -EINVAL);
    if (stage == 3)
        test_wait(t, end->run.calls);
    return process;
}

/* Lets the stage be reached. */
static void settle(struct test *t, int stage, int error_fd)
{
    char octet;

    if (stage == 1 || stage == 2)
        test_read(t, error_fd, &octet, 1);
}

static void in_each_stage(struct test *t, void action(struct test *t, struct afork_process *process,
                                                      struct end *end, int stage))
{
    for (int stage = 0; stage < STAGES; stage++) {
        struct end end = {0};
        int fds[2];

        test_ok(pipe2(fds, O_CLOEXEC | O_NONBLOCK));
        t->options.standard_error = (struct afork_stdio){.mode = AFORK_STDIO_FD, .fd = fds[1]};
        struct afork_process *process = in_stage(t, stage, &end);
        settle(t, stage, fds[0]);
        action(t, process, &end, stage);
        afork_process_unref(process);
        if (stage == 3)
            close(end.run.fd);
        afork_context_close(t->context);
        t->context = NULL;
        close(fds[0]);
        close(fds[1]);
    }
}

static void kill_it(struct test *t, struct afork_process *process, struct end *end, int stage)
{
    test_ok(afork_process_kill(process, SIGTERM));
    test_wait(t, end->exit.calls);
    g_assert_cmpuint(end->run.calls, ==, 1);
    g_assert_cmpint(end->exit.cause, ==, stage ? AFORK_CAUSE_SIGNALLED : AFORK_CAUSE_START);
    g_assert_cmpint(WTERMSIG(end->exit.wait_status), ==, SIGTERM);
    if (stage == 0)
        assert_contains(end->run.message, "killed by signal 15 (Terminated) before it could");
    if (stage < 3)
        g_assert_cmpint(end->run.fd, ==, -ECONNRESET);
}

static void killed(struct test *t)
{
    in_each_stage(t, kill_it);
}

static void close_it(struct test *t, struct afork_process *process, struct end *end, int stage)
{
    pid_t pid = afork_process_pid(process);

    afork_process_close(process);
    if (stage < 3) /* a worker ends with its channel */
        test_wait(t, !test_process_state(pid));
    g_assert_cmpuint(end->run.calls, ==, stage == 3);
    g_assert_cmpuint(end->exit.calls, ==, 0);
}

static void closed(struct test *t)
{
    in_each_stage(t, close_it);
}

static void close_context(struct test *t, struct afork_process *process, struct end *end, int stage)
{
    afork_context_close(t->context);
    t->context = NULL;
    g_assert_cmpint(afork_process_kill(process, SIGTERM), ==, -ESHUTDOWN);
    g_assert_cmpuint(end->exit.calls, ==, 0);
}

static void context_closed(struct test *t)
{
    in_each_stage(t, close_context);
}

/* A copy of the host touches nothing. */
static void copy_host(struct test *t, struct afork_process *process, struct end *end, int stage)
{
    int status;
    pid_t pid = fork();

    if (!pid) {
        if (afork_process_kill(process, SIGTERM) != -ECHILD || afork_process_pid(process))
            _exit(1);
        if (stage & 1)
            afork_process_close(process);
        afork_process_unref(process);
        afork_context_close(t->context);
        _exit(0);
    }
    test_wait(t, waitpid(pid, &status, WNOHANG) == pid);
    g_assert_cmpint(status, ==, 0);
    if (stage == 3) {
        char back[3];
        test_write(t, end->run.fd, "abc", 3);
        test_read(t, end->run.fd, back, 3);
    }
    g_assert_true(test_is_running(afork_process_pid(process)));
    kill_it(t, process, end, stage);
}

static void copied(struct test *t)
{
    in_each_stage(t, copy_host);
}

static void release_it(struct test *t, struct afork_process *process, struct end *end, int stage)
{
    afork_process_ref(process);
    afork_process_unref(process);
    g_assert_cmpuint(end->exit.calls, ==, 0);
    kill_it(t, process, end, stage);
}

static void referenced(struct test *t)
{
    in_each_stage(t, release_it);
}

static void on_run_close(struct afork_process *process, int fd, const struct afork_exit *failure,
                         void *data)
{
    struct test *t = data;

    if (fd >= 0)
        close(fd);
    afork_process_unref(process);
    afork_context_close(t->context);
    t->context = NULL;
}

static void closed_in_the_callback(struct test *t)
{
    static const char *const behaviours[] = {"noise", "refuse", "hang-up"};

    for (size_t i = 0; i < G_N_ELEMENTS(behaviours); i++) {
        struct afork_process *process = remote(t, behaviours[i], "3");
        test_ok(afork_process_eval(process, prelude, NULL));
        test_ok(afork_process_run(process, "echo", on_run_close, t));
        test_wait(t, !t->context);
    }
}

/* ---- Records ---- */

static void records_cost_nothing(struct test *t)
{
    struct test_exit end = {0};
    struct afork_process *process = any_remote(t), *other = test_fork(process);
    unsigned fds = test_count_fds();

    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    struct afork_process *third = test_fork(process);
    g_assert_cmpuint(test_count_fds(), ==, fds);
    test_assert_idle(t, 100000);
    afork_process_unref(process);
    g_assert_cmpuint(end.calls, ==, 0);
    test_wait(t, end.calls);
    g_assert_cmpint(end.cause, ==, AFORK_CAUSE_UNKNOWN);
    g_assert_cmpstr(end.message, ==, "it was never run");

    afork_process_close(other);
    g_assert_cmpint(afork_process_eval(other, "1", NULL), ==, -ESHUTDOWN);
    g_assert_cmpint(afork_process_run(other, "list", NULL, NULL), ==, -ESHUTDOWN);
    afork_process_unref(other);
    afork_context_close(t->context); /* with a record */
    t->context = NULL;
    afork_process_unref(third);
}

static int no_connection(void *data)
{
    return *(int *)data;
}

static void misuse(struct test *t)
{
    static const char *const nothing[] = {NULL}, *const empty[] = {"", NULL};
    struct afork_remote_options options = AFORK_REMOTE_OPTIONS_INIT;
    const struct afork_limits limits = AFORK_LIMITS_INIT;
    struct afork_process *process = any_remote(t), *none;
    struct test_run run = {0};

    g_assert_cmpint(afork_process_new_remote(t->context, NULL, &none), ==, -EINVAL);
    g_assert_cmpint(afork_process_new_remote(t->context, &options, &none), ==, -EINVAL);
    options.argv = nothing;
    g_assert_cmpint(afork_process_new_remote(t->context, &options, &none), ==, -EINVAL);
    options.argv = empty;
    g_assert_cmpint(afork_process_new_remote(t->context, &options, &none), ==, -EINVAL);
    g_assert_cmpint(afork_process_new_remote(t->context, behaving("silent", NULL), NULL), ==,
                    -EINVAL);
    g_assert_cmpint(afork_process_new_remote(NULL, behaving("silent", NULL), &none), ==, -EINVAL);
    struct afork_remote_options *both = behaving("silent", NULL);
    both->connect = no_connection;
    g_assert_cmpint(afork_process_new_remote(t->context, both, &none), ==, -EINVAL);
    both = behaving("silent", NULL);
    both->size--;
    g_assert_cmpint(afork_process_new_remote(t->context, both, &none), ==, -EINVAL);
    both = behaving("silent", NULL);
    both->start_timeout = -1;
    g_assert_cmpint(afork_process_new_remote(t->context, both, &none), ==, -EINVAL);

    g_assert_cmpint(afork_process_send_fd(process, 0), ==, -ENOTSUP);
    g_assert_cmpint(afork_process_to_fd(process, test_on_run, &run), ==, -ENOTSUP);
    g_assert_cmpint(afork_process_set_limits(process, &limits), ==, -ENOTSUP);
    g_assert_cmpint(afork_process_set_spares(process, 1), ==, -ENOTSUP);
    g_assert_cmpint(afork_process_set_exit_mode(process, AFORK_EXIT_QUICK), ==, -ENOTSUP);
    g_assert_cmpint(afork_process_end_with_host(process), ==, -ENOTSUP);
    g_assert_cmpint(afork_process_require(process, "no/name", NULL), ==, -EINVAL);
    g_assert_cmpint(afork_process_run(process, "", test_on_run, &run), ==, -EINVAL);
    g_autofree char *dump = NULL;
    test_ok(afork_context_dump(t->context, &dump));
    assert_contains(dump, "\"state\": \"record\", \"peer\": \"remote\"");
    g_autofree char *text = test_output(t, process, "list"); /* nothing was lost */
    g_assert_cmpstr(text, ==, "-\n");
    g_assert_cmpuint(run.calls, ==, 0);
}

/* Each descriptor in turn cannot be had: the call says so, and the record can be run later. */
static void no_descriptors(struct test *t)
{
    struct rlimit limit, low;
    struct test_exit end = {0};
    int n_failed = 0;

    with_tail(t);
    struct afork_process *process = any_remote(t);
    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    test_ok(afork_process_send_arg(process, "x", 1));
    unsigned fds = test_count_fds();
    test_ok(getrlimit(RLIMIT_NOFILE, &limit));
    for (low = limit, low.rlim_cur = fds;; low.rlim_cur++) {
        struct test_run run = {0};
        test_ok(setrlimit(RLIMIT_NOFILE, &low));
        int result = afork_process_run(process, "list", test_on_run, &run);
        test_ok(setrlimit(RLIMIT_NOFILE, &limit));
        if (result == 0) {
            test_wait(t, run.calls);
            g_autofree char *text = test_slurp(t, run.fd, NULL);
            g_assert_cmpstr(text, ==, "- x\n");
            break;
        }
        g_assert_cmpint(result, ==, -EMFILE);
        g_assert_cmpuint(test_count_fds(), ==, fds);
        n_failed++;
    }
    g_assert_cmpint(n_failed, >, 2);
    test_wait(t, end.calls);
    g_assert_cmpint(end.cause, ==, AFORK_CAUSE_EXITED);
    afork_process_unref(process);
}

/* What the context says of environment, directory and standard error holds; nothing else is open.
 */
static void options_of_the_context(struct test *t)
{
    t->environment[1] = "AFORK_TEST_VALUE=value";
    t->options.working_directory = "/";
    with_tail(t);
    struct afork_remote_options *options = behaving("environment", NULL);
    g_autofree char *script = g_canonicalize_filename(options->argv[1], NULL);
    ((const char **)options->argv)[1] = script;
    struct afork_process *process = remote_with(t, options);
    test_ok(afork_process_eval(process, prelude, NULL));
    test_ok(afork_process_eval(process, "print STDERR \"title $0\\n\"", NULL));
    struct end end = end_of(t, process, "list");
    assert_contains(end.exit.stderr_tail, "value in /\n0\n1\n2\n3\ntitle ");
    assert_contains(end.exit.stderr_tail, " AFork::Remote\n");
}

/* The same function, as the manual has it, in a process of this machine. */
static void functions_run_anywhere(struct test *t)
{
    const char *perl = g_getenv("PERL"), *dir = g_getenv("AFORK_TEST_PERL_LIB");
    static const char *dirs[2];

    if (!dir) {
        g_test_skip("AFORK_TEST_PERL_LIB is not set");
        return;
    }
    t->options.perl = perl && *perl ? perl : "perl";
    t->options.peer = AFORK_PEER_ORIGINAL;
    dirs[0] = dir;
    t->options.include_dirs = dirs;
    for (int n = 0; n < 2; n++) {
        struct afork_process *process = n ? any_remote(t) : test_new_exec(t);
        char back[8];
        test_ok(afork_process_eval(process, prelude, NULL));
        int fd = test_run_and_unref(t, process, "lines");
        test_write(t, fd, "abc\n", 4);
        test_read(t, fd, back, 8);
        g_assert_cmpmem(back, 8, "got abc\n", 8);
        close(fd);
    }
}

/* ---- Connections of the program's ---- */

struct connection {
    struct test *t;
    struct afork_process *process; /* to be closed meanwhile; or NULL */
    bool closes_context;
    unsigned calls;
    pid_t pid;
    int fd; /* what to return; 0: a perl's */
};

static int connect_perl(void *data)
{
    struct connection *c = data;
    const char *perl = g_getenv("PERL");
    int pair[2];

    c->calls++;
    if (c->process)
        afork_process_close(c->process);
    if (c->closes_context) {
        afork_context_close(c->t->context);
        c->t->context = NULL;
    }
    if (c->fd)
        return c->fd;
    test_ok(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    c->pid = fork();
    if (!c->pid) {
        dup2(pair[1], 0);
        dup2(pair[1], 1);
        close(pair[0]);
        close(pair[1]);
        execlp(perl && *perl ? perl : "perl", "perl", NULL);
        _exit(127);
    }
    close(pair[1]);
    return pair[0];
}

static struct afork_process *connected(struct test *t, struct connection *c)
{
    struct afork_remote_options options = AFORK_REMOTE_OPTIONS_INIT;

    options.connect = connect_perl;
    options.connect_data = c;
    return remote_with(t, &options);
}

static void reap(struct test *t, struct connection *c)
{
    int status;

    if (c->pid)
        test_wait(t, waitpid(c->pid, &status, WNOHANG) == c->pid);
    c->pid = 0;
}

static void connections(struct test *t)
{
    struct connection c = {.t = t};
    struct test_exit end = {0};
    struct test_run run = {0};
    struct afork_process *process = connected(t, &c), *copy;

    test_ok(afork_process_eval(process, prelude, NULL));
    copy = test_fork(process);
    for (int n = 0; n < 2; n++) {
        memset(&run, 0, sizeof run);
        memset(&end, 0, sizeof end);
        struct afork_process *p = n ? copy : process;
        test_ok(afork_process_on_exit(p, test_on_exit, &end));
        test_ok(afork_process_run(p, "list", test_on_run, &run));
        g_assert_cmpuint(c.calls, ==, (guint)n);
        test_wait(t, run.calls && end.calls);
        g_assert_cmpint(end.cause, ==, AFORK_CAUSE_UNKNOWN);
        g_assert_cmpint(afork_process_pid(p), ==, 0);
        g_autofree char *text = test_slurp(t, run.fd, NULL);
        g_assert_cmpstr(text, ==, "-\n");
        g_assert_cmpint(fcntl(run.fd, F_GETFD), ==, -1);
        afork_process_unref(p);
        reap(t, &c);
    }
}

static void connections_that_fail(struct test *t)
{
    int pair[2], datagrams[2], pipes[2];

    test_ok(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
    test_ok(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, datagrams));
    test_ok(pipe2(pipes, O_CLOEXEC));
    close(pair[1]);
    const struct {
        int fd, error;
    } cases[] = {{-EHOSTUNREACH, -EHOSTUNREACH},
                 {pair[0], -ECONNRESET},
                 {datagrams[0], -EPROTOTYPE},
                 {pipes[0], -ENOTSOCK}};
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct connection c = {.t = t, .fd = cases[i].fd};
        struct end end = end_of(t, connected(t, &c), "list");
        g_assert_cmpint(end.run.fd, ==, cases[i].error);
        g_assert_cmpint(end.run.cause, ==, AFORK_CAUSE_START);
        g_assert_cmpint(end.exit.cause, ==, AFORK_CAUSE_START);
        if (cases[i].fd >= 0) /* taken */
            g_assert_cmpint(fcntl(cases[i].fd, F_GETFD), ==, -1);
    }
    close(datagrams[1]);
    close(pipes[1]);

    /* An error of the code, and an end before the function. */
    static const char *const codes[] = {"die 'no good'", "exit 0"};
    for (size_t i = 0; i < G_N_ELEMENTS(codes); i++) {
        struct connection c = {.t = t};
        struct afork_process *process = connected(t, &c);
        test_ok(afork_process_eval(process, codes[i], NULL));
        struct end end = end_of(t, process, "list");
        g_assert_cmpint(end.run.fd, ==, i ? -ECONNRESET : -ENOEXEC);
        g_assert_cmpint(end.exit.cause, ==, i ? AFORK_CAUSE_UNKNOWN : AFORK_CAUSE_EVAL);
        reap(t, &c);
    }
}

/* One whose end nobody tells. */
static void calls_over_a_connection(struct test *t)
{
    struct afork_rpc_options options = AFORK_RPC_OPTIONS_INIT;
    struct connection c = {.t = t};
    struct answer answer = {0}, lost = {0};
    const struct iovec strings[] = {{(char *)"abc", 3}};
    unsigned ends = 0;
    struct afork_process *process = connected(t, &c);
    struct afork_rpc *rpc;

    options.on_end = count_end;
    options.data = &ends;
    test_ok(afork_process_eval(process, "sub act { exit 0 if !@_; @_ }", NULL));
    test_ok(afork_rpc_new(process, "act", &options, &rpc));
    afork_process_unref(process);
    test_ok(afork_rpc_call_strings(rpc, strings, 1, NULL, on_answer, &answer, NULL));
    test_wait(t, answer.calls);
    g_assert_cmpstr(answer.text, ==, "\003abc");
    test_ok(afork_rpc_call_strings(rpc, strings, 0, NULL, on_answer, &lost, NULL));
    test_wait(t, lost.calls && ends);
    g_assert_cmpint(lost.error, ==, -ECONNRESET);
    afork_rpc_unref(rpc);
    reap(t, &c);
}

/* The callback that connects may end everything. */
static void closed_while_connecting(struct test *t)
{
    for (int n = 0; n < 2; n++) {
        struct connection c = {.t = t, .closes_context = n};
        struct test_run run = {0};
        struct afork_process *process = connected(t, &c);
        c.process = n ? NULL : process;
        test_ok(afork_process_run(process, "list", test_on_run, &run));
        test_wait(t, c.calls);
        g_assert_cmpuint(run.calls, ==, 0);
        afork_process_unref(process);
        afork_context_close(t->context);
        t->context = NULL;
        t->type->turn(t->loop_self, 0);
        reap(t, &c);
    }
}

/* A login takes its time: one loop has to do then. */
static void add_any(const char *path, test_func *func)
{
    if (g_getenv("AFORK_TEST_REMOTE"))
        test_add_for(&test_loop_poll, path, func);
    else
        test_add(path, func);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add_any("/remote/any/arguments", arguments_are_octets);
    add_any("/remote/any/channel", channel_goes_both_ways);
    add_any("/remote/any/output", output_is_the_functions);
    add_any("/remote/any/fork", records_are_copied);
    add_any("/remote/any/modules", modules_are_loaded);
    add_any("/remote/any/errors", errors_are_perls);
    add_any("/remote/any/ends", ends_are_told);
    add_any("/remote/any/pid", pid_is_that_of_the_command);
    add_any("/remote/any/released", released_after_run);
    add_any("/remote/any/many", many_at_once);
    add_any("/remote/any/rpc", calls_are_answered);
    if (g_getenv("AFORK_TEST_REMOTE"))
        return g_test_run();
    test_add("/remote/noise/skipped", noise_is_skipped);
    test_add("/remote/noise/no-standard-error", no_standard_error);
    test_add("/remote/noise/too-much", too_much_noise);
    test_add("/remote/start/refuses", command_that_refuses);
    test_add("/remote/start/never-answers", command_that_never_answers);
    test_add_for(&test_loop_poll, "/remote/start/commands-have-time", commands_have_time);
    test_add("/remote/start/hangs-up", command_that_hangs_up);
    test_add("/remote/start/no-perl", command_without_perl);
    test_add("/remote/start/does-not-exist", command_that_does_not_exist);
    test_add("/remote/stages/killed", killed);
    test_add("/remote/stages/closed", closed);
    test_add("/remote/stages/context-closed", context_closed);
    test_add("/remote/stages/copied", copied);
    test_add("/remote/stages/referenced", referenced);
    test_add("/remote/stages/closed-in-callback", closed_in_the_callback);
    test_add("/remote/record/costs-nothing", records_cost_nothing);
    test_add("/remote/record/misuse", misuse);
    test_add("/remote/record/no-descriptors", no_descriptors);
    test_add("/remote/record/context", options_of_the_context);
    test_add_for(&test_loop_poll, "/remote/record/anywhere", functions_run_anywhere);
    test_add("/remote/connect/works", connections);
    test_add("/remote/connect/fails", connections_that_fail);
    test_add("/remote/connect/rpc", calls_over_a_connection);
    test_add("/remote/connect/closed", closed_while_connecting);
    return g_test_run();
}
