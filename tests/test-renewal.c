/* SPDX-License-Identifier: MIT
 *
 * Default templates that end by themselves: one notice each, a new one at the next need, and
 * patience where they keep doing so. Against the fake server.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "test-lib.h"

static GString *warnings;

static void on_warning(struct afork_context *context, struct afork_process *process,
                       const char *message, void *data)
{
    g_assert_null(process);
    g_string_append_printf(warnings, "%s\n", message);
}

static unsigned count_warnings(void)
{
    unsigned n = 0;

    for (const char *pos = warnings->str; (pos = strstr(pos, "default template")); pos++)
        n++;
    return n;
}

static void with_warnings(struct test *t)
{
    t->options.on_warning = on_warning;
    if (warnings)
        g_string_free(warnings, TRUE);
    warnings = g_string_new(NULL);
}

/* The pid of the default template: the child's parent. */
static pid_t template_of(struct test *t, struct afork_process *process)
{
    test_wait(t, afork_process_peer_pid(process));
    g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)afork_process_peer_pid(process));
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    return atoi(strrchr(text, ')') + 4);
}

/* Whether or not the loop has turned since. */
static void next_one_works(struct test *t)
{
    with_warnings(t);
    for (int turned = 0; turned < 2; turned++) {
        struct afork_process *process = test_new(t);
        pid_t template = template_of(t, process);

        kill(template, SIGKILL);
        while (test_is_running(template))
            g_usleep(100);
        if (turned)
            test_turn_for(t, 20 * 1000);
        struct afork_process *late = NULL;
        if (!turned) { /* this may be the one that finds out */
            test_ok(afork_process_new(t->context, &late));
            struct test_run run = {0};
            test_ok(afork_process_run(late, "return", test_on_run, &run));
            test_wait(t, run.calls);
            if (run.fd >= 0)
                close(run.fd);
        }
        struct afork_process *next = test_new(t);
        g_autofree char *text = test_output(t, next, "dump");
        g_assert_cmpstr(text, ==, "");
        test_wait(t, count_warnings() == (unsigned)turned + 1);
        g_assert_nonnull(strstr(warnings->str, "killed by signal 9"));
        afork_process_unref(late);
        afork_process_unref(process);
        afork_context_close(t->context); /* the second in a row would have to wait */
        t->context = NULL;
    }
}

/* One call finds out that the template is gone; the next executes another, without a turn of the
 * loop. */
static void found_out_at_once(struct test *t)
{
    struct afork_process *process = test_new(t), *lost;
    pid_t template = template_of(t, process);
    struct test_exit end = {0};

    kill(template, SIGKILL);
    while (test_is_running(template))
        g_usleep(100);
    test_ok(afork_process_new(t->context, &lost));
    test_ok(afork_process_on_exit(lost, test_on_exit, &end));
    struct afork_process *next = test_new(t);
    g_autofree char *text = test_output(t, next, "dump");
    g_assert_cmpstr(text, ==, "");
    test_wait(t, end.calls);
    g_assert_cmpint(end.cause, !=, AFORK_CAUSE_EXITED);
    afork_process_unref(lost);
    afork_process_unref(process);
}

/* A perl that cannot serve is not executed for every call. */
static void patience(struct test *t)
{
    struct afork_process *process;
    unsigned executed = 0, refused = 0;
    gint64 start = g_get_monotonic_time();

    with_warnings(t);
    test_fake_start(t, "exit 3");
    while (g_get_monotonic_time() - start < 500 * 1000) {
        struct test_exit end = {0};
        int result = afork_process_new(test_context(t), &process);
        if (result == -EAGAIN) {
            refused++;
            test_turn_for(t, 1000);
            continue;
        }
        test_ok(result);
        executed++;
        test_ok(afork_process_on_exit(process, test_on_exit, &end));
        test_ok(afork_process_run(process, "return", NULL, NULL));
        test_wait(t, end.calls);
        g_assert_cmpint(end.cause, ==, AFORK_CAUSE_START);
        afork_process_unref(process);
    }
    g_assert_cmpuint(executed, >=, 3); /* at once, at once again, after 0.1 s */
    g_assert_cmpuint(executed, <=, 5);
    g_assert_cmpuint(refused, >, 10);
    g_assert_cmpuint(count_warnings(), ==, executed);

    /* Another perl is tried at once. */
    test_ok(afork_context_set_perl(t->context, "/nonexistent", AFORK_PEER_OWN, NULL));
    g_assert_cmpint(afork_process_new(t->context, &process), ==, -ENOENT);
}

/* The same for one that does not end, but cannot be talked to. */
static void wrong_version(struct test *t)
{
    struct afork_process *process;
    unsigned executed = 0, refused = 0;

    with_warnings(t);
    test_fake_start(t, "hello 7");
    test_context(t);
    for (int i = 0; i < 40; i++) {
        struct test_run run = {0};
        int result = afork_process_new(t->context, &process);
        if (result == -EAGAIN) {
            refused++;
            continue;
        }
        test_ok(result);
        executed++;
        test_ok(afork_process_run(process, "return", test_on_run, &run));
        test_wait(t, run.calls);
        g_assert_cmpint(run.cause, ==, AFORK_CAUSE_PROTOCOL);
        afork_process_unref(process);
        test_turn_for(t, 5 * 1000);
    }
    g_assert_cmpuint(executed, <, 15);
    g_assert_cmpuint(refused, >, 0);
    g_assert_cmpuint(count_warnings(), >, 0);
    test_turn_for(t, 20 * 1000);
}

/* What the host ends itself is not lost. */
static void ended_by_the_host(struct test *t)
{
    with_warnings(t);
    struct afork_process *process = test_new(t);
    pid_t template = template_of(t, process);

    test_ok(afork_context_set_perl(t->context, t->options.perl, AFORK_PEER_OWN, NULL));
    afork_process_unref(process);
    test_wait(t, !test_is_running(template));
    test_turn_for(t, 20 * 1000);
    g_assert_cmpstr(warnings->str, ==, "");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    test_add("/renewal/next-one-works", next_one_works);
    test_add("/renewal/found-out-at-once", found_out_at_once);
    test_add("/renewal/patience", patience);
    test_add("/renewal/wrong-version", wrong_version);
    test_add("/renewal/ended-by-the-host", ended_by_the_host);
    return g_test_run();
}
