/* SPDX-License-Identifier: MIT
 *
 * Spares: what is handed out, what becomes of those that are out of date or die, and that nobody
 * hears of them. Against the fake server.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "test-lib.h"

static struct afork_spare_stats stats_of(struct afork_process *template)
{
    struct afork_spare_stats stats;

    test_ok(afork_process_get_spare_stats(template, &stats));
    return stats;
}

/* The pids of a process's children, a 0 at the end. */
static pid_t *children_of(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/children", pid, pid);
    g_autofree char *text = NULL;
    GArray *pids = g_array_new(TRUE, FALSE, sizeof(pid_t));

    if (g_file_get_contents(path, &text, NULL, NULL)) {
        g_auto(GStrv) words = g_strsplit(g_strchomp(text), " ", -1);
        for (char **word = words; *word; word++) {
            pid_t child = atoi(*word);
            if (child)
                g_array_append_val(pids, child);
        }
    }
    return (pid_t *)g_array_free(pids, FALSE);
}

/* Those that have not ended. */
static unsigned count_children(pid_t pid)
{
    g_autofree pid_t *pids = children_of(pid);
    unsigned n = 0;

    for (unsigned i = 0; pids[i]; i++)
        n += test_is_running(pids[i]);
    return n;
}

static void kill_children(pid_t pid)
{
    g_autofree pid_t *pids = children_of(pid);

    for (unsigned i = 0; pids[i]; i++)
        kill(pids[i], SIGKILL);
}

/* Waits until all spares are there, and the template has nothing to do with them any more. */
static void wait_for_spares(struct test *t, struct afork_process *template, unsigned n)
{
    test_wait(t, afork_process_peer_pid(template));
    pid_t pid = afork_process_peer_pid(template);
    test_wait(t, stats_of(template).ready == n && count_children(pid) == n &&
                     test_process_state(pid) == 'S');
}

static struct afork_process *template_with(struct test *t, unsigned n)
{
    struct afork_process *template = test_new(t);

    test_ok(afork_process_eval(template, "prepared", NULL));
    test_ok(afork_process_set_spares(template, n));
    wait_for_spares(t, template, n);
    return template;
}

/* A spare's pid is known before it is asked for, and it has all that the template was sent. */
static void handed_out(struct test *t)
{
    struct afork_process *template = template_with(t, 3);

    test_turn_for(t, 20 * 1000); /* they have said that they are there */
    for (unsigned i = 1; i <= 3; i++) {
        struct test_exit end = {0};
        struct afork_process *child = test_fork(template);
        g_assert_cmpint(afork_process_peer_pid(child), >, 0);
        g_assert_cmpint(afork_process_pid(child), ==, 0);
        g_assert_cmpuint(stats_of(template).hits, ==, i);
        test_ok(afork_process_on_exit(child, test_on_exit, &end));
        g_autofree char *text = test_output(t, child, "dump");
        g_assert_cmpstr(text, ==, "code prepared\n");
        test_wait(t, end.calls);
        g_assert_cmpint(end.cause, ==, AFORK_CAUSE_EXITED);
    }
    test_wait(t, stats_of(template).ready == 3);
    g_assert_cmpuint(stats_of(template).misses, ==, 0);
    g_assert_cmpuint(stats_of(template).lost, ==, 0);
    afork_process_unref(template);
}

/* More at once than there are. */
static void none_left(struct test *t)
{
    struct afork_process *template = template_with(t, 2), *children[6];

    for (unsigned i = 0; i < G_N_ELEMENTS(children); i++)
        children[i] = test_fork(template);
    g_assert_cmpuint(stats_of(template).hits, ==, 2);
    g_assert_cmpuint(stats_of(template).misses, ==, 4);
    for (unsigned i = 0; i < G_N_ELEMENTS(children); i++) {
        g_autofree char *text = test_output(t, children[i], "dump");
        g_assert_cmpstr(text, ==, "code prepared\n");
    }
    test_wait(t, stats_of(template).ready == 2);
    afork_process_unref(template);
}

/* No command is missed by those that are handed out after it. */
static void commands_renew(struct test *t)
{
    struct afork_process *template = template_with(t, 3);
    pid_t pid = afork_process_peer_pid(template);

    g_autofree pid_t *old = children_of(pid);
    test_ok(afork_process_send_arg(template, "new", 3));
    g_assert_cmpuint(stats_of(template).ready, ==, 0);
    g_assert_cmpuint(stats_of(template).renewals, ==, 3);
    struct afork_process *at_once = test_fork(template);
    test_ok(afork_process_send_arg(template, "newer", 5));
    test_wait(t, stats_of(template).ready == 3);
    struct afork_process *later = test_fork(template);
    g_autofree char *first = test_output(t, at_once, "dump");
    g_autofree char *second = test_output(t, later, "dump");
    g_assert_cmpstr(first, ==, "code prepared\narg new\n");
    g_assert_cmpstr(second, ==, "code prepared\narg new\narg newer\n");
    for (unsigned i = 0; old[i]; i++)
        test_wait(t, !test_is_running(old[i]));
    afork_process_unref(template);
}

static void count_warning(struct afork_context *context, struct afork_process *process,
                          const char *message, void *data)
{
    ++*(unsigned *)data;
}

/* Killed before they are used, noticed or not: nobody is told, nobody gets one. */
static void killed_unused(struct test *t)
{
    struct test_exit end = {0};
    unsigned warnings = 0;

    t->options.on_warning = count_warning;
    t->options.warning_data = &warnings;
    struct afork_process *template = template_with(t, 2);
    pid_t pid = afork_process_peer_pid(template);
    g_autofree pid_t *pids = children_of(pid);

    kill_children(pid);
    for (unsigned i = 0; pids[i]; i++) /* the host does not look meanwhile */
        while (test_is_running(pids[i]))
            g_usleep(100);
    struct afork_process *child = test_fork(template);
    test_ok(afork_process_on_exit(child, test_on_exit, &end));
    g_autofree char *at_once = test_output(t, child, "dump");
    g_assert_cmpstr(at_once, ==, "code prepared\n");
    g_assert_cmpuint(stats_of(template).lost, ==, 2);

    test_wait(t, end.calls);
    wait_for_spares(t, template, 2);
    kill_children(pid);
    test_wait(t, stats_of(template).lost == 4);
    test_wait(t, stats_of(template).ready == 2);
    g_autofree char *later = test_output(t, test_fork(template), "dump");
    g_assert_cmpstr(later, ==, "code prepared\n");
    g_assert_cmpuint(warnings, ==, 0);
    afork_process_unref(template);
}

/* A template that cannot fork is not asked again and again. */
static void cannot_be_forked(struct test *t)
{
    struct afork_process *template = test_new(t);

    test_ok(afork_process_eval(template, "fork-fails", NULL));
    test_ok(afork_process_set_spares(template, 2));
    test_wait(t, stats_of(template).lost >= 2);
    test_turn_for(t, 20 * 1000);
    test_assert_idle(t, 100 * 1000);
    g_assert_cmpuint(stats_of(template).lost, <=, 8);
    g_assert_cmpuint(stats_of(template).ready, ==, 0);

    struct test_run run = {0};
    struct afork_process *child = test_fork(template);
    test_ok(afork_process_run(child, "dump", test_on_run, &run));
    test_wait(t, run.calls);
    g_assert_cmpint(run.fd, ==, -EAGAIN);
    g_assert_cmpint(run.cause, ==, AFORK_CAUSE_FORK);
    afork_process_unref(child);
    afork_process_unref(template);
}

/* However a template goes, its spares go with it. */
static void gone_with_the_template(struct test *t)
{
    for (int way = 0; way < 5; way++) {
        struct test_exit end = {0};
        struct afork_process *template = template_with(t, 2);
        g_autofree pid_t *pids = children_of(afork_process_peer_pid(template));
        struct afork_spare_stats stats;
        int channel = -1;

        if (way > 1)
            test_ok(afork_process_on_exit(template, test_on_exit, &end));
        if (way == 0)
            test_ok(afork_process_set_spares(template, 0));
        else if (way == 1)
            afork_process_close(template);
        else if (way == 2)
            test_ok(afork_process_kill(template, SIGKILL));
        else if (way == 3)
            channel = test_run_function(t, template, "hold");
        else
            afork_process_unref(afork_process_ref(template));
        if (way == 4)
            afork_process_unref(template);
        for (unsigned i = 0; pids[i]; i++)
            test_wait(t, !test_is_running(pids[i]));
        if (way == 3)
            close(channel);
        if (way > 1) {
            test_wait(t, end.calls);
            test_turn_for(t, 20 * 1000);
            g_assert_cmpuint(end.calls, ==, 1);
        }
        if (way == 4)
            continue;
        int result = afork_process_get_spare_stats(template, &stats);
        g_assert_cmpint(result, ==, way == 1 ? -ESHUTDOWN : 0);
        if (way != 1)
            g_assert_cmpuint(stats.ready, ==, 0);
        afork_process_unref(template);
    }
}

/* Closing everything from within whatever goes on. */
static void closed_with_the_context(struct test *t)
{
    struct afork_process *template = template_with(t, 3);
    struct afork_process *child = test_fork(template);

    afork_context_close(t->context);
    t->context = NULL;
    g_assert_cmpint(afork_process_set_spares(template, 1), ==, -ESHUTDOWN);
    afork_process_unref(child);
    afork_process_unref(template);
}

static struct afork_process *released_template;

static void close_template(void *data)
{
    afork_process_close(released_template);
    g_free(data);
}

/* Sending for a spare releases memory of the user's, whose function closes the template. */
static void closed_while_filled(struct test *t)
{
    enum { BIG = 1 << 20 };

    released_template = template_with(t, 1);
    test_ok(afork_process_send_arg_take(released_template, g_malloc0(BIG), BIG, close_template));
    test_ok(afork_process_set_spares(released_template, 4));
    struct afork_spare_stats stats;
    test_wait(t, afork_process_get_spare_stats(released_template, &stats) == -ESHUTDOWN);
    test_turn_for(t, 20 * 1000);
    afork_process_unref(released_template);
}

/* Out of descriptors: there are fewer, and more once there is room. */
static void out_of_descriptors(struct test *t)
{
    struct rlimit limit, less;
    struct afork_process *template = test_new(t);

    test_wait(t, afork_process_peer_pid(template));
    test_ok(getrlimit(RLIMIT_NOFILE, &limit));
    less = limit;
    less.rlim_cur = test_count_fds() + 6;
    test_ok(setrlimit(RLIMIT_NOFILE, &less));
    test_ok(afork_process_set_spares(template, 50));
    test_turn_for(t, 50 * 1000);
    test_assert_idle(t, 50 * 1000);
    g_assert_cmpuint(stats_of(template).ready, <, 50);
    test_ok(setrlimit(RLIMIT_NOFILE, &limit));
    g_autofree char *text = test_output(t, test_fork(template), "dump");
    g_assert_cmpstr(text, ==, "");
    test_wait(t, stats_of(template).ready == 50);
    afork_process_unref(template);
}

/* For afork_process_new(), by an option; the numbers go on when the default template is another. */
static void of_the_default_template(struct test *t)
{
    struct afork_spare_stats stats;

    t->options.spares = 2;
    struct afork_process *process = test_new(t);
    test_ok(afork_context_get_spare_stats(t->context, &stats));
    g_assert_cmpuint(stats.misses, ==, 1);
    test_wait(t, !afork_context_get_spare_stats(t->context, &stats) && stats.ready == 2);
    struct afork_process *second = test_new(t);
    test_ok(afork_context_get_spare_stats(t->context, &stats));
    g_assert_cmpuint(stats.hits, ==, 1);

    test_ok(afork_context_set_perl(t->context, t->options.perl, AFORK_PEER_OWN, NULL));
    test_ok(afork_context_get_spare_stats(t->context, &stats));
    g_assert_cmpuint(stats.ready, ==, 0);
    struct afork_process *third = test_new(t);
    test_ok(afork_context_get_spare_stats(t->context, &stats));
    g_assert_cmpuint(stats.hits, ==, 1);
    g_assert_cmpuint(stats.misses, ==, 2);
    afork_process_unref(process);
    afork_process_unref(second);
    g_autofree char *text = test_output(t, third, "dump");
    g_assert_cmpstr(text, ==, "");
}

/* What is wrong, and what a peer of the original kind cannot. */
static void refused(struct test *t)
{
    struct afork_context *context;
    struct afork_spare_stats stats;

    g_assert_cmpint(afork_process_set_spares(NULL, 1), ==, -EINVAL);
    struct afork_process *process = test_new(t);
    g_assert_cmpint(afork_process_get_spare_stats(process, NULL), ==, -EINVAL);
    test_ok(afork_process_get_spare_stats(process, &stats));
    g_assert_cmpuint(stats.ready + stats.hits + stats.misses + stats.renewals + stats.lost, ==, 0);
    close(test_run_function(t, process, "hold"));
    g_assert_cmpint(afork_process_set_spares(process, 1), ==, -EINVAL);
    afork_process_unref(process);

    test_ok(afork_context_set_perl(t->context, t->options.perl, AFORK_PEER_ORIGINAL, NULL));
    process = test_new(t);
    g_assert_cmpint(afork_process_set_spares(process, 1), ==, -ENOTSUP);
    afork_process_unref(process);
    struct afork_context_options options = t->options;
    options.spares = 1;
    options.peer = AFORK_PEER_ORIGINAL;
    g_assert_cmpint(afork_context_new(t->loop, &options, &context), ==, -EINVAL);
}

/* With a standard error of their own. */
static void with_a_tail(struct test *t)
{
    struct test_exit end = {0};

    t->options.standard_error.mode = AFORK_STDIO_TAIL;
    struct afork_process *template = template_with(t, 2);
    struct afork_process *child = test_fork(template);
    g_assert_cmpuint(stats_of(template).hits, ==, 1);
    test_ok(afork_process_on_exit(child, test_on_exit, &end));
    test_ok(afork_process_eval(child, "say words", NULL));
    g_free(test_output(t, child, "dump"));
    test_wait(t, end.calls);
    g_assert_cmpstr(end.stderr_tail, ==, "words\n");
    afork_process_unref(template);
}

/* The poll loop ends by itself although spares are there. */
static void do_not_keep_the_loop(struct test *t)
{
    struct afork_process *template = template_with(t, 2);

    test_ok(afork_poll_run(t->loop_self));
    g_assert_cmpuint(stats_of(template).ready, ==, 2);
    afork_process_unref(template);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    test_add("/spares/handed-out", handed_out);
    test_add("/spares/none-left", none_left);
    test_add("/spares/commands-renew", commands_renew);
    test_add("/spares/killed-unused", killed_unused);
    test_add("/spares/cannot-be-forked", cannot_be_forked);
    test_add("/spares/gone-with-the-template", gone_with_the_template);
    test_add("/spares/closed-with-the-context", closed_with_the_context);
    test_add("/spares/closed-while-filled", closed_while_filled);
    test_add("/spares/out-of-descriptors", out_of_descriptors);
    test_add("/spares/default-template", of_the_default_template);
    test_add("/spares/refused", refused);
    test_add("/spares/tail", with_a_tail);
    test_add_for(&test_loop_poll, "/spares/keep-alive", do_not_keep_the_loop);
    return g_test_run();
}
