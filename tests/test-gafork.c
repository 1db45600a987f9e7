/* SPDX-License-Identifier: MIT
 *
 * GAforkProcess against the fake server: commands, errors, pids, ends, cancelling, and objects that
 * are dropped at any time.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gafork-lib.h"

static void count_notify(G_GNUC_UNUSED GObject *object, G_GNUC_UNUSED GParamSpec *pspec,
                         gpointer data)
{
    ++*(unsigned *)data;
}

/* What the signal told. */
struct end {
    unsigned calls;
    GAforkExit *exit;
};

static void on_exited(GAforkProcess *process, GAforkExit *exit, gpointer data)
{
    struct end *end = data;

    g_assert_true(gafork_process_get_exit(process) == exit);
    end->calls++;
    end->exit = gafork_exit_ref(exit);
}

static void commands_arrive_in_order(struct gafork_test *f)
{
    const char *strings[] = {"one", "two", NULL}, *modules[] = {"Some::Module", "Other", NULL};
    const char *octets[] = {"three", "four", NULL};
    g_autoptr(GAforkProcess) process = gafork_new(f);
    g_autoptr(GBytes) code = g_bytes_new_static("bytes", 5);
    g_autoptr(GBytes) argument = g_bytes_new("b", 1);
    g_autoptr(GBytes) empty = g_bytes_new(NULL, 0);
    struct stat st;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    g_assert_true(gafork_process_eval(process, "code", NULL, NULL));
    g_assert_true(gafork_process_eval(process, "list", strings, NULL));
    g_assert_true(
        gafork_process_eval_bytes(process, code, g_variant_new_bytestring_array(octets, 2), NULL));
    g_assert_true(gafork_process_eval_bytes(process, code, NULL, NULL));
    g_assert_true(gafork_process_require(process, modules, NULL));
    g_assert_true(gafork_process_set_exit_mode(process, GAFORK_EXIT_MODE_QUICK, NULL));
    g_assert_true(gafork_process_end_with_host(process, NULL));
    g_assert_true(gafork_process_send_arg(process, "a", NULL));
    g_assert_true(gafork_process_send_bytes(process, argument, NULL));
    g_assert_true(gafork_process_send_bytes(process, empty, NULL));
    g_assert_true(gafork_process_send_fd(process, fd, NULL));
    fstat(fd, &st);
    close(fd);
    g_clear_pointer(&argument, g_bytes_unref);

    g_autofree char *text = gafork_output(f, process, "dump");
    g_autofree char *fds = g_strdup_printf("\narg a\narg b\narg \nfd %lu:%lu\n",
                                           (unsigned long)st.st_dev, (unsigned long)st.st_ino);
    g_assert_true(g_str_has_prefix(text, "code code\ncode list\nwith one\nwith two\n"
                                         "code bytes\nwith three"));
    g_assert_nonnull(strstr(text, "with Some/Module\nwith Other\nexit-mode 1\nlifeline pipe\n"));
    g_assert_true(g_str_has_suffix(text, fds));
}

/* Octets that are no strings: length and checksum tell. */
static void octets_are_kept(struct gafork_test *f)
{
    static const char data[] = {'a', '\0', '\xff', '\n'};
    g_autoptr(GAforkProcess) process = gafork_new(f);
    g_autoptr(GBytes) bytes = g_bytes_new_static(data, sizeof data);
    g_autofree char *sum = g_compute_checksum_for_bytes(G_CHECKSUM_MD5, bytes);
    g_autofree char *expected = g_strdup_printf("%zu %s\n", sizeof data, sum);

    g_assert_true(gafork_process_send_bytes(process, bytes, NULL));
    g_autofree char *text = gafork_output(f, process, "digest");
    g_assert_cmpstr(text, ==, expected);
}

static void forks_copy(struct gafork_test *f)
{
    g_autoptr(GAforkProcess) template = gafork_new(f);

    gafork_process_eval(template, "before", NULL, NULL);
    gafork_process_send_arg(template, "common", NULL);
    g_autoptr(GAforkProcess) first = gafork_fork(template);
    gafork_process_eval(template, "after", NULL, NULL);
    g_autoptr(GAforkProcess) second = gafork_fork(template);
    gafork_process_send_arg(second, "own", NULL);
    g_clear_object(&template); /* what is queued is still delivered */

    g_autofree char *text1 = gafork_output(f, first, "dump");
    g_autofree char *text2 = gafork_output(f, second, "dump");
    g_assert_cmpstr(text1, ==, "code before\narg common\n");
    g_assert_cmpstr(text2, ==, "code before\ncode after\narg common\narg own\n");
}

static void errors_carry_the_text(struct gafork_test *f)
{
    static const struct {
        const char *code, *module, *function, *message;
        GAforkError error;
    } cases[] = {
        {"die first line\nsecond", NULL, "dump", "first line\nsecond", GAFORK_ERROR_EVAL},
        {NULL, "Missing", "dump", "Can't locate Missing.pm in @INC", GAFORK_ERROR_REQUIRE},
        {NULL, NULL, "nothing", "Undefined subroutine &main::nothing called",
         GAFORK_ERROR_FUNCTION},
        {"exit 3", NULL, "dump", "exited with status 3", GAFORK_ERROR_EXITED},
        {"kill 9", NULL, "dump", "killed by signal 9 (Killed)", GAFORK_ERROR_SIGNALLED},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        const char *modules[] = {cases[i].module, NULL};
        g_autoptr(GAforkProcess) process = gafork_new(f);

        if (cases[i].code)
            gafork_process_eval(process, cases[i].code, NULL, NULL);
        if (cases[i].module)
            gafork_process_require(process, modules, NULL);
        g_autoptr(GError) error = gafork_run_error(f, process, cases[i].function);
        g_assert_error(error, GAFORK_ERROR, (int)cases[i].error);
        g_assert_cmpstr(error->message, ==, cases[i].message);
        GAforkExit *end = gafork_wait_exit(f, process);
        g_assert_cmpint((int)gafork_exit_get_cause(end), ==, (int)cases[i].error);
        g_assert_cmpstr(gafork_exit_get_message(end), ==, cases[i].message);
    }
}

static void failed_fork(struct gafork_test *f)
{
    g_autoptr(GAforkProcess) template = gafork_new(f);

    gafork_process_eval(template, "fork-fails", NULL, NULL);
    g_autoptr(GAforkProcess) child = gafork_fork(template);
    g_autoptr(GError) error = gafork_run_error(f, child, "dump");
    g_assert_error(error, GAFORK_ERROR, GAFORK_ERROR_FORK);
}

static void failed_start(struct gafork_test *f)
{
    test_fake_start(f->t, "exit 2");
    g_autoptr(GAforkProcess) process = gafork_new(f);
    g_autoptr(GError) error = gafork_run_error(f, process, "dump");
    g_assert_error(error, GAFORK_ERROR, GAFORK_ERROR_START);
    g_assert_nonnull(strstr(error->message, "exited with status 2 before it could serve"));
}

static void protocol_violation(struct gafork_test *f)
{
    test_fake_start(f->t, "hello 9999");
    g_autoptr(GAforkProcess) process = gafork_new(f);
    g_autoptr(GError) error = gafork_run_error(f, process, "dump");
    g_assert_error(error, GAFORK_ERROR, GAFORK_ERROR_PROTOCOL);
}

static void calls_out_of_place(struct gafork_test *f)
{
    const char *no_name[] = {"../x", NULL};
    g_autoptr(GAforkProcess) worker = gafork_new(f);
    g_autoptr(GAforkProcess) nothing = g_object_new(GAFORK_TYPE_PROCESS, NULL);
    g_autoptr(GError) error = NULL;

    g_assert_false(gafork_process_require(worker, no_name, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
    g_clear_error(&error);
    g_assert_false(gafork_process_send_fd(worker, -1, &error));
    g_assert_nonnull(error);
    g_clear_error(&error);
    g_assert_false(gafork_process_set_exit_mode(worker, (GAforkExitMode)2, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
    g_clear_error(&error);
    g_assert_false(gafork_process_kill(worker, 1000, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
    g_clear_error(&error);

    g_autoptr(GSocketConnection) connection = gafork_run(f, worker, "hold");
    g_assert_nonnull(connection);
    g_assert_false(gafork_process_eval(worker, "1", NULL, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
    g_assert_nonnull(strstr(error->message, "already"));
    g_clear_error(&error);
    g_assert_null(gafork_process_fork(worker, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
    g_clear_error(&error);
    error = gafork_run_error(f, worker, "hold");
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
    g_clear_error(&error);

    /* What no constructor made. */
    g_assert_false(gafork_process_send_arg(nothing, "x", &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
    g_clear_error(&error);
    g_assert_false(gafork_process_kill(nothing, SIGTERM, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
    gafork_process_close(nothing);
}

static void pids_notify(struct gafork_test *f)
{
    unsigned pids = 0, peer_pids = 0, executed_pids = 0;
    g_autoptr(GAforkProcess) executed = gafork_process_new_exec(gafork_context(f), NULL);
    g_autoptr(GAforkProcess) forked = gafork_fork(executed);

    g_signal_connect(executed, "notify::pid", G_CALLBACK(count_notify), &executed_pids);
    g_signal_connect(forked, "notify::pid", G_CALLBACK(count_notify), &pids);
    g_signal_connect(forked, "notify::peer-pid", G_CALLBACK(count_notify), &peer_pids);
    g_assert_cmpint(gafork_process_get_pid(executed), >, 0);
    g_assert_cmpint(gafork_process_get_pid(executed), ==, gafork_process_get_peer_pid(executed));
    g_assert_cmpint(gafork_process_get_peer_pid(forked), ==, 0);

    gafork_wait(f->main_context, peer_pids);
    g_assert_cmpint(gafork_process_get_peer_pid(forked), >, 0);
    g_assert_cmpint(gafork_process_get_pid(forked), ==, 0);

    g_assert_true(gafork_process_kill(forked, SIGTERM, NULL));
    g_assert_true(gafork_process_kill(executed, SIGTERM, NULL));
    gafork_wait_exit(f, forked);
    gafork_wait_exit(f, executed);
    g_assert_cmpint(gafork_process_get_peer_pid(forked), ==, 0);
    g_assert_cmpint(gafork_process_get_pid(executed), ==, 0);
    g_assert_cmpuint(peer_pids, ==, 2);
    g_assert_cmpuint(pids, ==, 0);
    g_assert_cmpuint(executed_pids, ==, 1);
}

/* Sending a signal reads reports; a pid that became known by that is told on a later turn. */
static void pid_that_a_signal_read(struct gafork_test *f)
{
    unsigned peer_pids = 0;
    int pair[2];
    char line[2];

    g_assert_cmpint(pipe2(pair, O_CLOEXEC), ==, 0);
    f->context = g_object_new(GAFORK_TYPE_CONTEXT, "perl", f->t->options.perl,
                              "environment-changes", f->t->environment, "standard-error-fd",
                              pair[1], NULL);
    close(pair[1]);
    g_autoptr(GAforkProcess) known = gafork_new(f);
    gafork_wait(f->main_context, gafork_process_get_peer_pid(known));
    g_autoptr(GAforkProcess) other = gafork_new(f);
    g_signal_connect(other, "notify::peer-pid", G_CALLBACK(count_notify), &peer_pids);
    /* It is there, and has said so, without a turn of the loop. */
    gafork_process_eval(other, "say x", NULL, NULL);
    g_assert_cmpint(read(pair[0], line, 2), ==, 2);
    close(pair[0]);
    g_assert_cmpint(gafork_process_get_peer_pid(other), ==, 0);
    g_assert_true(gafork_process_kill(known, 0, NULL));
    g_assert_cmpuint(peer_pids, ==, 0);
    gafork_wait(f->main_context, peer_pids);
    g_assert_cmpint(gafork_process_get_peer_pid(other), >, 0);
}

static void end_is_told(struct gafork_test *f)
{
    struct end end = {0};
    unsigned notified = 0;
    g_autoptr(GAforkProcess) process = gafork_new(f);

    g_signal_connect(process, "exited", G_CALLBACK(on_exited), &end);
    g_signal_connect(process, "notify::exit", G_CALLBACK(count_notify), &notified);
    g_assert_null(gafork_process_get_exit(process));
    gafork_process_send_arg(process, "7", NULL);
    g_autoptr(GSocketConnection) connection = gafork_run(f, process, "exit");
    g_assert_nonnull(connection);
    gafork_wait(f->main_context, end.calls);
    gafork_settle(f);
    g_assert_cmpuint(end.calls, ==, 1);
    g_assert_cmpuint(notified, ==, 1);
    g_assert_cmpint(gafork_exit_get_cause(end.exit), ==, GAFORK_CAUSE_EXITED);
    g_assert_cmpint(gafork_exit_get_status(end.exit), ==, 7);
    g_assert_cmpint(WEXITSTATUS(gafork_exit_get_wait_status(end.exit)), ==, 7);
    g_assert_cmpstr(gafork_exit_get_message(end.exit), ==, "exited with status 7");
    g_assert_cmpint(gafork_exit_get_user_time(end.exit), >=, 0);
    g_assert_cmpint(gafork_exit_get_system_time(end.exit), >=, 0);
    g_assert_cmpint(gafork_exit_get_max_rss(end.exit), >, 100 * 1024);
    gafork_exit_unref(end.exit);
}

static void standard_error_is_kept(struct gafork_test *f)
{
    f->context = g_object_new(GAFORK_TYPE_CONTEXT, "perl", f->t->options.perl,
                              "environment-changes", f->t->environment, "standard-error",
                              GAFORK_STDIO_TAIL, NULL);
    g_autoptr(GAforkProcess) process = gafork_new(f);

    g_assert_true(gafork_process_eval(process, "say some \xff words", NULL, NULL));
    g_assert_true(gafork_process_eval(process, "say-nul last", NULL, NULL));
    gafork_process_run_async(process, "return", NULL, NULL, NULL);
    gafork_wait_exit(f, process);
    g_assert_cmpstr(gafork_exit_get_stderr_tail(gafork_process_get_exit(process)), ==,
                    "some \xef\xbf\xbd words\n\xef\xbf\xbdlast");
}

static void end_is_there_for_the_late(struct gafork_test *f)
{
    struct gafork_result first = {0}, second = {0};
    g_autoptr(GAforkProcess) process = gafork_new(f);
    g_autoptr(GError) error = NULL;

    gafork_process_send_arg(process, "9", NULL);
    gafork_process_run_async(process, "kill", NULL, NULL, NULL);
    gafork_wait_exit(f, process);
    gafork_process_wait_async(process, NULL, gafork_on_wait, &first);
    gafork_process_wait_async(process, NULL, gafork_on_wait, &second);
    g_assert_cmpuint(first.calls, ==, 0);
    gafork_wait(f->main_context, first.calls && second.calls);
    g_assert_cmpint(gafork_exit_get_cause(first.exit), ==, GAFORK_CAUSE_SIGNALLED);
    g_assert_cmpint(gafork_exit_get_status(second.exit), ==, SIGKILL);
    g_assert_false(gafork_process_kill(process, SIGTERM, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
    gafork_result_clear(&first);
    gafork_result_clear(&second);
}

/* A process that dies before it was told to run: commands say so. */
static void commands_after_the_end(struct gafork_test *f)
{
    g_autoptr(GAforkProcess) process = gafork_new(f);
    g_autoptr(GError) error = NULL;

    gafork_process_eval(process, "die for a reason", NULL, NULL);
    gafork_wait_exit(f, process);
    g_assert_false(gafork_process_send_arg(process, "late", &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
    g_assert_nonnull(strstr(error->message, "for a reason"));
}

/* Waiting holds the process: nobody else has to. */
static void waiting_holds(struct gafork_test *f)
{
    struct gafork_result run = {0}, wait = {0};
    GAforkProcess *process = gafork_new(f);

    g_object_add_weak_pointer(G_OBJECT(process), (gpointer *)&process);
    gafork_process_wait_async(process, NULL, gafork_on_wait, &wait);
    gafork_process_run_async(process, "return", NULL, gafork_on_run, &run);
    g_object_unref(process);
    g_assert_nonnull(process);
    gafork_wait(f->main_context, wait.calls);
    g_assert_cmpuint(run.calls, ==, 1);
    g_assert_cmpint(gafork_exit_get_status(wait.exit), ==, 0);
    gafork_settle(f);
    g_assert_null(process);
    gafork_result_clear(&run);
    gafork_result_clear(&wait);
}

static void running_holds_until_entered(struct gafork_test *f)
{
    struct gafork_result run = {0};
    GAforkProcess *process = gafork_new(f);

    g_object_add_weak_pointer(G_OBJECT(process), (gpointer *)&process);
    gafork_process_run_async(process, "echo", NULL, gafork_on_run, &run);
    g_object_unref(process);
    g_assert_nonnull(process);
    gafork_wait(f->main_context, run.calls);
    gafork_settle(f);
    g_assert_null(process);

    /* The worker is left alone. */
    GOutputStream *output = g_io_stream_get_output_stream(G_IO_STREAM(run.connection));
    g_assert_true(g_output_stream_write_all(output, "still here", 10, NULL, NULL, NULL));
    g_socket_shutdown(g_socket_connection_get_socket(run.connection), FALSE, TRUE, NULL);
    g_autofree char *text = gafork_slurp(f, run.connection);
    g_assert_cmpstr(text, ==, "still here");
    gafork_result_clear(&run);
}

/* Process and connection do not know each other: whichever goes first, a descriptor that was opened
 * in between under the same number is left alone. */
static void connection_and_process_in_any_order(struct gafork_test *f)
{
    for (int order = 0; order < 2; order++) {
        GAforkProcess *process = gafork_new(f);
        GSocketConnection *connection = gafork_run(f, process, "hold");
        int fd = g_socket_get_fd(g_socket_connection_get_socket(connection));

        g_assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        if (order == 0) {
            g_object_unref(connection);
            g_assert_cmpint(fcntl(fd, F_GETFD), ==, -1);
            int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
            g_assert_cmpint(dup3(null, fd, O_CLOEXEC) == fd || null == fd, ==, TRUE);
            gafork_wait_exit(f, process);
            g_object_unref(process);
            g_assert_cmpint(fcntl(fd, F_GETFD), >=, 0);
            close(fd);
            if (null != fd)
                close(null);
        } else {
            g_object_unref(process);
            gafork_settle(f);
            g_assert_cmpint(fcntl(fd, F_GETFD), >=, 0);
            g_object_unref(connection);
            g_assert_cmpint(fcntl(fd, F_GETFD), ==, -1);
        }
    }
}

static void cancelled_before_is_not_sent(struct gafork_test *f)
{
    struct gafork_result run = {0}, wait = {0};
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_autoptr(GAforkProcess) process = gafork_new(f);

    g_cancellable_cancel(cancellable);
    gafork_process_run_async(process, "hold", cancellable, gafork_on_run, &run);
    gafork_process_wait_async(process, cancellable, gafork_on_wait, &wait);
    g_assert_cmpuint(run.calls + wait.calls, ==, 0);
    gafork_wait(f->main_context, run.calls && wait.calls);
    g_assert_error(run.error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    g_assert_error(wait.error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    gafork_result_clear(&run);
    gafork_result_clear(&wait);

    /* It is a server still. */
    gafork_process_eval(process, "later", NULL, NULL);
    g_autofree char *text = gafork_output(f, process, "dump");
    g_assert_cmpstr(text, ==, "code later\n");
}

/* While the process cannot enter yet: the call returns at once, the function meets the end. */
static void cancelled_while_it_waits(struct gafork_test *f)
{
    struct gafork_result run = {0}, wait = {0};
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_autoptr(GAforkProcess) process = gafork_new(f);

    gafork_process_eval(process, "stop", NULL, NULL);
    gafork_process_run_async(process, "hold", cancellable, gafork_on_run, &run);
    gafork_process_wait_async(process, cancellable, gafork_on_wait, &wait);
    gafork_wait(f->main_context, gafork_process_get_peer_pid(process));
    int pid = gafork_process_get_peer_pid(process);
    gafork_wait(f->main_context, test_process_state(pid) == 'T');
    g_cancellable_cancel(cancellable);
    g_cancellable_reset(cancellable); /* too late */
    g_assert_cmpuint(run.calls + wait.calls, ==, 0);
    gafork_wait(f->main_context, run.calls && wait.calls);
    g_assert_error(run.error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    g_assert_error(wait.error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    g_assert_null(gafork_process_get_exit(process));

    g_assert_true(gafork_process_kill(process, SIGCONT, NULL));
    GAforkExit *end = gafork_wait_exit(f, process);
    g_assert_cmpint(gafork_exit_get_cause(end), ==, GAFORK_CAUSE_EXITED);
    g_assert_cmpint(gafork_exit_get_status(end), ==, 0);
    gafork_result_clear(&run);
    gafork_result_clear(&wait);
}

/* Cancelled in the callback of another, just when both are due: nothing is told twice or leaked. */
static void cancelled_after_it_was_entered(struct gafork_test *f)
{
    struct gafork_result run = {0};
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_autoptr(GAforkProcess) process = gafork_new(f);

    gafork_process_run_async(process, "hold", cancellable, gafork_on_run, &run);
    gafork_wait(f->main_context, run.calls);
    g_assert_no_error(run.error);
    g_cancellable_cancel(cancellable);
    gafork_settle(f);
    g_assert_cmpuint(run.calls, ==, 1);
    g_assert_null(gafork_process_get_exit(process)); /* the connection is the caller's now */
    gafork_result_clear(&run);
    gafork_wait_exit(f, process);
}

/* The last user reference goes while a cancelled run is still on its way. */
static void cancelled_and_dropped(struct gafork_test *f)
{
    struct gafork_result run = {0};
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    GAforkProcess *process = gafork_new(f);

    g_object_add_weak_pointer(G_OBJECT(process), (gpointer *)&process);
    gafork_process_run_async(process, "hold", cancellable, gafork_on_run, &run);
    g_object_unref(process);
    g_cancellable_cancel(cancellable);
    gafork_wait(f->main_context, run.calls && !process);
    g_assert_error(run.error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    gafork_result_clear(&run);
}

static void close_is_silent(struct gafork_test *f)
{
    struct gafork_result run = {0}, wait = {0};
    struct end end = {0};
    g_autoptr(GAforkProcess) process = gafork_new(f);
    g_autoptr(GAforkProcess) worker = gafork_new(f);
    g_autoptr(GSocketConnection) connection = gafork_run(f, worker, "hold");
    g_autoptr(GError) error = NULL;

    gafork_wait(f->main_context, gafork_process_get_peer_pid(process));
    int pid = gafork_process_get_peer_pid(process);
    int worker_pid = gafork_process_get_peer_pid(worker);
    g_signal_connect(process, "exited", G_CALLBACK(on_exited), &end);
    gafork_process_eval(process, "hang", NULL, NULL);
    gafork_process_run_async(process, "hold", NULL, gafork_on_run, &run);
    gafork_process_wait_async(process, NULL, gafork_on_wait, &wait);
    gafork_process_close(process);
    gafork_process_close(process);
    gafork_process_close(worker);
    g_assert_cmpuint(run.calls + wait.calls, ==, 0);
    g_assert_cmpint(gafork_process_get_peer_pid(process), ==, 0);
    gafork_wait(f->main_context, run.calls && wait.calls);
    g_assert_error(run.error, G_IO_ERROR, G_IO_ERROR_CLOSED);
    g_assert_error(wait.error, G_IO_ERROR, G_IO_ERROR_CLOSED);
    g_assert_false(gafork_process_send_arg(process, "x", &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CLOSED);
    gafork_result_clear(&wait);
    gafork_process_wait_async(process, NULL, gafork_on_wait, &wait);
    gafork_wait(f->main_context, wait.calls);
    g_assert_error(wait.error, G_IO_ERROR, G_IO_ERROR_CLOSED);

    g_assert_true(test_is_running(worker_pid));
    kill(pid, SIGKILL); /* it hangs by order, and would not see the end of file */
    gafork_wait(f->main_context, !test_is_running(pid));
    gafork_settle(f);
    g_assert_cmpuint(end.calls, ==, 0);
    g_clear_object(&connection);
    gafork_wait(f->main_context, !test_is_running(worker_pid));
    gafork_result_clear(&run);
    gafork_result_clear(&wait);
}

static void count_run(GObject *process, GAsyncResult *result, gpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GSocketConnection)
        connection = gafork_process_run_finish(GAFORK_PROCESS(process), result, &error);

    g_assert_no_error(error);
    g_assert_nonnull(connection);
    ++*(unsigned *)data;
}

static void count_exit(G_GNUC_UNUSED GAforkProcess *process, GAforkExit *end, gpointer data)
{
    g_assert_cmpint(gafork_exit_get_status(end), ==, 0);
    ++*(unsigned *)data;
}

static void two_hundred_workers(struct gafork_test *f)
{
    enum { N = 200 };
    unsigned runs = 0, exits = 0, pids = 0;
    g_autoptr(GAforkProcess) template = gafork_new(f);
    g_autoptr(GPtrArray) workers = g_ptr_array_new_with_free_func(g_object_unref);

    for (int i = 0; i < N; i++) {
        GAforkProcess *worker = gafork_fork(template);
        g_ptr_array_add(workers, worker);
        g_signal_connect(worker, "exited", G_CALLBACK(count_exit), &exits);
        g_signal_connect(worker, "notify::peer-pid", G_CALLBACK(count_notify), &pids);
        gafork_process_run_async(worker, "hold", NULL, count_run, &runs);
    }
    gafork_wait(f->main_context, runs == N && exits == N);
    g_assert_cmpuint(pids, ==, 2 * N);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        gafork_func *func;
    } cases[] = {
        {"/gafork/process/commands", commands_arrive_in_order},
        {"/gafork/process/octets", octets_are_kept},
        {"/gafork/process/fork", forks_copy},
        {"/gafork/process/errors", errors_carry_the_text},
        {"/gafork/process/failed-fork", failed_fork},
        {"/gafork/process/failed-start", failed_start},
        {"/gafork/process/protocol", protocol_violation},
        {"/gafork/process/out-of-place", calls_out_of_place},
        {"/gafork/process/pids", pids_notify},
        {"/gafork/process/pid-that-a-signal-read", pid_that_a_signal_read},
        {"/gafork/process/exit/told", end_is_told},
        {"/gafork/process/exit/standard-error", standard_error_is_kept},
        {"/gafork/process/exit/late", end_is_there_for_the_late},
        {"/gafork/process/exit/commands-after", commands_after_the_end},
        {"/gafork/process/wait/holds", waiting_holds},
        {"/gafork/process/run/holds", running_holds_until_entered},
        {"/gafork/process/run/connection", connection_and_process_in_any_order},
        {"/gafork/process/cancel/before", cancelled_before_is_not_sent},
        {"/gafork/process/cancel/during", cancelled_while_it_waits},
        {"/gafork/process/cancel/after", cancelled_after_it_was_entered},
        {"/gafork/process/cancel/dropped", cancelled_and_dropped},
        {"/gafork/process/close", close_is_silent},
        {"/gafork/process/many", two_hundred_workers},
    };

    gafork_test_init(&argc, &argv);
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++)
        gafork_add(cases[i].path, cases[i].func);
    return g_test_run();
}
