/* SPDX-License-Identifier: MIT
 *
 * Limits as the host knows them: what is refused at the call, what is sent, and how a failure and a
 * breach are told. Against the fake server.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "test-lib.h"

static const struct afork_limits none = AFORK_LIMITS_INIT;

static const char *const no_paths[] = {NULL};

static void refuse(struct afork_process *process, struct afork_limits limits, int error)
{
    g_assert_cmpint(afork_process_set_limits(process, &limits), ==, error);
}

static void nonsense_is_refused(struct test *t)
{
    static const char *const relative[] = {"/good", "bad", NULL}, *const empty[] = {"", NULL};
    g_autofree char *longer = g_strnfill(PATH_MAX, '/');
    const char *const too_long[] = {longer, NULL};
    struct afork_process *process = test_new(t);
    struct afork_limits limits;

    g_assert_cmpint(afork_process_set_limits(NULL, &none), ==, -EINVAL);
    g_assert_cmpint(afork_process_set_limits(process, NULL), ==, -EINVAL);
#define REFUSE(error, member, value)                                                               \
    (limits = none, limits.member = value, refuse(process, limits, error))
    REFUSE(-EINVAL, size, 0);
    REFUSE(-EINVAL, size, sizeof none - 1);
    REFUSE(-EINVAL, memory, (uint64_t)INT64_MAX + 1);
    REFUSE(-EINVAL, memory, UINT64_MAX);
    REFUSE(-EINVAL, file_size, (uint64_t)INT64_MAX + 1);
    REFUSE(-EINVAL, cpu_seconds, UINT64_C(1) << 32);
    REFUSE(-EINVAL, open_files, 15);
    REFUSE(-EINVAL, open_files, (unsigned)INT_MAX + 1);
    REFUSE(-EINVAL, nice, -1);
    REFUSE(-EINVAL, nice, 20);
    REFUSE(-EINVAL, unsupported, (enum afork_unsupported)2);
    REFUSE(-EINVAL, unsupported, (enum afork_unsupported) - 1);
    REFUSE(-EINVAL, read_paths, relative);
    REFUSE(-EINVAL, write_paths, relative);
    REFUSE(-EINVAL, read_paths, empty);
    REFUSE(-ENAMETOOLONG, write_paths, too_long);
#undef REFUSE
    /* Nothing of all that was sent, and the process is as it was. */
    g_autofree char *text = test_output(t, process, "dump");
    g_assert_cmpstr(text, ==, "");
}

static void all_is_sent(struct test *t)
{
    static const char *const readable[] = {"/usr", "/a b", NULL}, *const writable[] = {"/tmp",
                                                                                       NULL};
    struct afork_process *process = test_new(t);
    struct afork_limits limits = none;

    test_ok(afork_process_eval(process, "before", NULL));
    test_ok(afork_process_set_limits(process, &limits));
    limits.memory = INT64_MAX;
    limits.cpu_seconds = UINT32_MAX;
    limits.file_size = 1;
    limits.open_files = 16;
    limits.nice = 19;
    limits.no_network = true;
    limits.read_paths = readable;
    limits.write_paths = writable;
    limits.unsupported = AFORK_UNSUPPORTED_WARN;
    test_ok(afork_process_set_limits(process, &limits));
    test_ok(afork_process_eval(process, "between", NULL));
    limits = none;
    limits.no_new_privileges = limits.no_new_processes = limits.forks_only = true;
    limits.read_paths = no_paths;
    test_ok(afork_process_set_limits(process, &limits));
    g_autofree char *text = test_output(t, process, "dump");
    g_assert_cmpstr(
        text, ==,
        "code before\n"
        "limits flags 0 nice 0 0 0 0 0\n"
        "limits flags 3a nice 19 9223372036854775807 4294967295 1 16 r/usr r/a b w/tmp\n"
        "code between\n"
        "limits flags 4d nice 0 0 0 0 0\n");
}

static void original_is_not_supported(struct test *t)
{
    t->options.peer = AFORK_PEER_ORIGINAL;
    struct afork_process *process = test_new(t);

    g_assert_cmpint(afork_process_set_limits(process, &none), ==, -ENOTSUP);
    g_autofree char *text = test_output(t, process, "dump");
    g_assert_cmpstr(text, ==, "");
}

static void at_the_wrong_time(struct test *t)
{
    struct afork_process *process = test_new(t), *closed = test_new(t);

    close(test_run_function(t, process, "return"));
    g_assert_cmpint(afork_process_set_limits(process, &none), ==, -EINVAL);
    afork_process_unref(process);
    afork_process_close(closed);
    g_assert_cmpint(afork_process_set_limits(closed, &none), ==, -ESHUTDOWN);
    afork_process_unref(closed);
}

static void failure_is_told(struct test *t)
{
    struct afork_process *process = test_new(t);
    struct test_run run = {0};
    struct test_exit end = {0};

    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    test_ok(afork_process_eval(process, "error 6 limits: read_paths: /x: gone", NULL));
    test_ok(afork_process_eval(process, "exit 255", NULL));
    test_ok(afork_process_run(process, "return", test_on_run, &run));
    test_wait(t, end.calls && run.calls);
    g_assert_cmpint(run.fd, ==, -EPERM);
    g_assert_cmpint(run.cause, ==, AFORK_CAUSE_LIMITS);
    g_assert_cmpstr(run.message, ==, "limits: read_paths: /x: gone");
    g_assert_cmpint(end.cause, ==, AFORK_CAUSE_LIMITS);
    afork_process_unref(process);
}

/* What is said of the end of a process that a signal kills. */
static void assert_told(struct test *t, struct afork_process *process, int signal,
                        const char *words)
{
    struct test_exit end = {0};

    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    int fd = test_run_function(t, process, "hold");
    test_ok(afork_process_kill(process, signal));
    test_wait(t, end.calls);
    close(fd);
    afork_process_unref(process);
    g_assert_cmpint(end.cause, ==, AFORK_CAUSE_SIGNALLED);
    g_assert_true(g_str_has_suffix(end.message, words));
}

/* The lowest limit is that which was met, wherever in the family it came from. */
static void breach_is_told(struct test *t)
{
    struct afork_process *template = test_new(t), *before = test_fork(template);
    struct afork_limits limits = none;

    limits.file_size = 500;
    limits.forks_only = true;
    test_ok(afork_process_set_limits(template, &limits));
    struct afork_process *first = test_fork(template);
    limits.file_size = 600;
    limits.forks_only = false;
    test_ok(afork_process_set_limits(template, &limits));
    struct afork_process *second = test_fork(template);
    limits.file_size = 100;
    test_ok(afork_process_set_limits(second, &limits));
    struct afork_process *third = test_fork(second);
    assert_told(t, before, SIGXFSZ, ")");
    assert_told(t, first, SIGXFSZ, ") at its limit of 500 octets a file");
    assert_told(t, third, SIGXFSZ, ") at its limit of 100 octets a file");
    assert_told(t, second, SIGKILL, ")");
    assert_told(t, template, SIGXFSZ, ") at its limit of 600 octets a file");
}

/* It did not use the time that it may use. */
static void signals_are_no_breach(struct test *t)
{
    struct afork_process *template = test_new(t);
    struct afork_limits limits = none;

    limits.cpu_seconds = 1000;
    test_ok(afork_process_set_limits(template, &limits));
    assert_told(t, test_fork(template), SIGXCPU, ")");
    assert_told(t, template, SIGKILL, ")");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_add("/limits-api/nonsense", nonsense_is_refused);
    test_add("/limits-api/sent", all_is_sent);
    test_add("/limits-api/original", original_is_not_supported);
    test_add("/limits-api/wrong-time", at_the_wrong_time);
    test_add("/limits-api/failure-is-told", failure_is_told);
    test_add("/limits-api/breach-is-told", breach_is_told);
    test_add("/limits-api/no-breach", signals_are_no_breach);
    return g_test_run();
}
