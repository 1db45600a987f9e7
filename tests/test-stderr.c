/* SPDX-License-Identifier: MIT
 *
 * The tail of standard error in exit notices (AFORK_STDIO_TAIL). Against the fake server.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test-lib.h"

typedef struct afork_process *maker(struct test *t);
static maker *const makers[] = {test_new, test_new_exec};

static void with_tail(struct test *t)
{
    t->options.standard_error.mode = AFORK_STDIO_TAIL;
}

/* Runs "return" and tells the end. */
static struct test_exit end_of(struct test *t, struct afork_process *process)
{
    struct test_exit end = {0};

    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    test_ok(afork_process_run(process, "return", NULL, NULL));
    afork_process_unref(process);
    test_wait(t, end.calls);
    g_assert_cmpint(end.cause, ==, AFORK_CAUSE_EXITED);
    return end;
}

/* A fork starts with none of what its template wrote. */
static void each_process_has_its_own(struct test *t)
{
    with_tail(t);
    for (size_t i = 0; i < G_N_ELEMENTS(makers); i++) {
        struct afork_process *template = makers[i](t);

        test_ok(afork_process_eval(template, "say template", NULL));
        struct afork_process *child = test_fork(template), *silent = test_fork(template);
        test_ok(afork_process_eval(child, "say child", NULL));
        test_ok(afork_process_eval(child, "say more", NULL));
        test_ok(afork_process_eval(template, "say end", NULL));
        g_assert_cmpstr(end_of(t, child).stderr_tail, ==, "child\nmore\n");
        g_assert_cmpstr(end_of(t, silent).stderr_tail, ==, "");
        g_assert_cmpstr(end_of(t, template).stderr_tail, ==, "template\nend\n");
    }
}

static void nothing_is_kept_otherwise(struct test *t)
{
    t->options.standard_error.mode = AFORK_STDIO_NULL;
    struct afork_process *process = test_new(t);
    test_ok(afork_process_eval(process, "say unheard", NULL));
    g_assert_cmpstr(end_of(t, process).stderr_tail, ==, "");
}

/* Also if it ended before the loop looks, and if it wrote more than a pipe holds. */
static void the_last_four_kilobytes(struct test *t)
{
    with_tail(t);
    for (int lines = 40; lines <= 4000; lines *= 100) {
        struct afork_process *process = test_new(t);
        g_autoptr(GString) text = g_string_new(NULL);

        for (int i = 0; i < lines; i++) {
            g_autofree char *code = g_strdup_printf("say %0149d", i);
            test_ok(afork_process_eval(process, code, NULL));
            g_string_append_printf(text, "%s\n", code + 4);
        }
        g_assert_cmpstr(end_of(t, process).stderr_tail, ==, text->str + text->len - 4096);
    }
}

/* A pipe may hold more than the loop reads at once. */
static void last_octets_of_a_long_pipe(struct test *t)
{
    struct test_exit end = {0};
    char octet = 0;

    with_tail(t);
    struct afork_process *process = test_new(t);
    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    test_ok(afork_process_send_arg(process, "1000000", 7));
    int fd = test_run_function(t, process, "last-words");
    test_wait(t, afork_process_peer_pid(process));
    pid_t pid = afork_process_peer_pid(process);
    afork_process_unref(process);
    g_assert_cmpint(write(fd, "x", 1), ==, 1);
    gint64 deadline = test_deadline_new();
    while (test_is_running(pid)) /* the loop stands still meanwhile */
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
    bool could = read(fd, &octet, 1) == 1;
    close(fd);
    test_wait(t, end.calls);
    if (!could) {
        g_test_skip("no pipe of a megabyte");
        return;
    }
    g_assert_cmpuint(strlen(end.stderr_tail), ==, 4096);
    g_assert_true(g_str_has_suffix(end.stderr_tail, "xlast"));
}

/* What perl itself says before it serves. */
static void perl_that_does_not_start(struct test *t)
{
    g_autofree char *directory = g_dir_make_tmp("afork-XXXXXX", NULL);
    g_autofree char *script = g_build_filename(directory, "perl", NULL);
    struct test_run runs[2] = {0};
    struct test_exit ends[2] = {0};

    g_assert_true(g_file_set_contents(script, "#!/bin/sh\necho broken >&2\nexit 3\n", -1, NULL));
    test_ok(chmod(script, 0700));
    t->options.perl = script;
    with_tail(t);
    for (size_t i = 0; i < G_N_ELEMENTS(makers); i++) {
        struct afork_process *process = makers[i](t);
        test_ok(afork_process_on_exit(process, test_on_exit, &ends[i]));
        test_ok(afork_process_run(process, "return", test_on_run, &runs[i]));
        afork_process_unref(process);
        test_wait(t, ends[i].calls);
        g_assert_cmpint(runs[i].fd, ==, -ECONNRESET);
        g_assert_cmpint(ends[i].cause, ==, AFORK_CAUSE_START);
        g_assert_cmpstr(runs[i].stderr_tail, ==, "broken\n");
        g_assert_cmpstr(ends[i].stderr_tail, ==, "broken\n");
    }
    unlink(script);
    rmdir(directory);
}

static struct test *turning;

static void on_failure(struct afork_process *process, int fd, const struct afork_exit *failure,
                       void *data)
{
    g_assert_cmpint(fd, ==, -ENOEXEC);
    g_assert_true(g_str_has_prefix(failure->stderr_tail, "first\n"));
    struct afork_exit before = *failure;
    g_autofree char *tail = g_strdup(failure->stderr_tail);
    test_turn_for(turning, 100 * 1000); /* it ends meanwhile */
    g_assert_cmpstr(failure->stderr_tail, ==, tail);
    g_assert_cmpint(memcmp(&before, failure, sizeof before), ==, 0);
    ++*(unsigned *)data;
}

/* What a callback was given does not change when it turns the loop. */
static void failure_does_not_change(struct test *t)
{
    struct test_exit end = {0};
    unsigned calls = 0;

    with_tail(t);
    turning = t;
    struct afork_process *process = test_new(t);
    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    test_ok(afork_process_eval(process, "say first", NULL));
    test_ok(afork_process_eval(process, "error 1 broken", NULL));
    for (int i = 0; i < 20; i++)
        test_ok(afork_process_eval(process, "say more", NULL));
    test_ok(afork_process_run(process, "hold", on_failure, &calls));
    afork_process_unref(process);
    test_wait(t, end.calls);
    g_assert_cmpuint(calls, ==, 1);
    g_assert_true(g_str_has_prefix(end.stderr_tail, "first\n"));
}

/* What a worker leaves behind may go on writing. */
static void pipe_outlives_the_worker(struct test *t)
{
    struct test_exit end = {0};
    char octet;

    with_tail(t);
    struct afork_process *process = test_new(t);
    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    int fd = test_run_and_unref(t, process, "noisy-grandchild");
    test_wait(t, end.calls);
    for (char i = 0; i < 5; i++) {
        test_write(t, fd, &i, 1);
        test_read(t, fd, &octet, 1);
        g_assert_cmpint(octet, ==, i);
    }
    close(fd);
}

/* However it ends, descriptors and memory are given back. */
static void let_go_in_any_way(struct test *t)
{
    for (int way = 0; way < 4; way++) {
        with_tail(t);
        struct afork_process *process = test_new(t), *child = test_fork(process);

        test_ok(afork_process_eval(process, "say something", NULL));
        test_ok(afork_process_eval(child, "say something", NULL));
        if (way % 2)
            test_wait(t, afork_process_peer_pid(child));
        if (way < 2)
            afork_process_close(child);
        else
            afork_context_close(t->context);
        afork_process_unref(child);
        afork_process_unref(process);
        if (way < 2)
            afork_context_close(t->context);
        t->context = NULL;
    }
}

/* The original cannot give a fork its own. */
static void original_peers_share(struct test *t)
{
    t->options.peer = AFORK_PEER_ORIGINAL;
    with_tail(t);
    struct afork_process *template = test_new_exec(t), *child = test_fork(template);
    struct test_exit end = {0};

    test_ok(afork_process_eval(template, "say template", NULL));
    test_ok(afork_process_eval(child, "say child", NULL));
    g_free(test_output(t, child, "return"));
    test_ok(afork_process_on_exit(template, test_on_exit, &end));
    g_free(test_output(t, template, "return"));
    test_wait(t, end.calls);
    g_assert_nonnull(strstr(end.stderr_tail, "template\n"));
    g_assert_nonnull(strstr(end.stderr_tail, "child\n"));
}

static void standard_error_only(struct test *t)
{
    struct afork_context *context;

    t->options.standard_output.mode = AFORK_STDIO_TAIL;
    g_assert_cmpint(afork_context_new(t->loop, &t->options, &context), ==, -EINVAL);
}

static void idle_costs_nothing(struct test *t)
{
    with_tail(t);
    struct afork_process *process = test_new(t);
    test_ok(afork_process_eval(process, "say something", NULL));
    test_turn_for(t, 50 * 1000);
    test_assert_idle(t, 100 * 1000);
    afork_process_unref(process);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_add("/stderr/own", each_process_has_its_own);
    test_add("/stderr/not-kept", nothing_is_kept_otherwise);
    test_add("/stderr/last-octets", the_last_four_kilobytes);
    test_add("/stderr/last-octets-of-a-long-pipe", last_octets_of_a_long_pipe);
    test_add("/stderr/start", perl_that_does_not_start);
    test_add("/stderr/failure-does-not-change", failure_does_not_change);
    test_add("/stderr/outlives-worker", pipe_outlives_the_worker);
    test_add("/stderr/let-go", let_go_in_any_way);
    test_add("/stderr/original", original_peers_share);
    test_add("/stderr/only", standard_error_only);
    test_add("/stderr/idle", idle_costs_nothing);
    return g_test_run();
}
