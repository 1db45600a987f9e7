/* SPDX-License-Identifier: MIT
 *
 * What goes wrong: perls that do not start, servers that misbehave, templates that die, others that
 * reap, copies of the host. Each failure is told once, with its cause. Against the fake server.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test-lib.h"
#include "util.h"

/* A process that was told to run "hold", and what its callbacks were told. */
struct subject {
    struct afork_process *process;
    struct test_run run;
    struct test_exit end;
};

static void subject_start(struct subject *s, struct afork_process *process)
{
    *s = (struct subject){.process = process};
    test_ok(afork_process_on_exit(process, test_on_exit, &s->end));
    test_ok(afork_process_run(process, "hold", test_on_run, &s->run));
}

static void check_failed(struct subject *s, int error, enum afork_cause cause, const char *text)
{
    g_assert_cmpuint(s->run.calls, ==, 1);
    g_assert_cmpuint(s->end.calls, ==, 1);
    g_assert_cmpint(s->run.fd, ==, error);
    g_assert_cmpint(s->run.cause, ==, cause);
    g_assert_cmpint(s->end.cause, ==, cause);
    if (!strstr(s->run.message, text) || !strstr(s->end.message, text))
        g_test_message("run: %s; exit: %s", s->run.message, s->end.message);
    g_assert_nonnull(strstr(s->run.message, text));
    g_assert_nonnull(strstr(s->end.message, text));
    afork_process_unref(s->process);
}

static void assert_failed(struct test *t, struct subject *s, int error, enum afork_cause cause,
                          const char *text)
{
    test_wait(t, s->end.calls);
    test_turn_for(t, 10 * 1000);
    check_failed(s, error, cause, text);
}

static void assert_start_fails(struct test *t, const char *behaviour, const char *text)
{
    struct subject of_exec, of_new;

    test_fake_start(t, behaviour);
    subject_start(&of_exec, test_new_exec(t));
    subject_start(&of_new, test_new(t));
    assert_failed(t, &of_exec, -ECONNRESET, AFORK_CAUSE_START, text);
    g_assert_nonnull(strstr(of_exec.end.message, "fake-server")); /* the path */
    assert_failed(t, &of_new, -ECONNRESET, AFORK_CAUSE_START, text);
}

static void exit_before_serving(struct test *t)
{
    assert_start_fails(t, "exit 3", "status 3");
}

static void crash_before_serving(struct test *t)
{
    assert_start_fails(t, "kill 9", "signal 9");
}

static void other_protocol_version(struct test *t)
{
    struct subject of_exec, of_new;

    test_fake_start(t, "hello 99");
    subject_start(&of_exec, test_new_exec(t));
    assert_failed(t, &of_exec, -EPROTO, AFORK_CAUSE_PROTOCOL, "version 99");
    subject_start(&of_new, test_new(t));
    assert_failed(t, &of_new, -EPROTO, AFORK_CAUSE_PROTOCOL, "version 99");
}

static void stopped_at_start_is_waited_for(struct test *t)
{
    struct subject s;

    test_fake_start(t, "stop");
    struct afork_process *process = test_new_exec(t);
    pid_t pid = afork_process_pid(process);
    subject_start(&s, process);
    test_wait(t, test_process_state(pid) == 'T');
    test_assert_idle(t, 100 * 1000);
    g_assert_cmpuint(s.run.calls, ==, 0);
    kill(pid, SIGCONT);
    test_wait(t, s.run.calls);
    g_assert_cmpint(s.run.fd, >=, 0);
    close(s.run.fd);
    test_wait(t, s.end.calls);
    afork_process_unref(process);
}

/* What cannot be executed is an error of the call; nothing is left of 500 attempts. */
static void perl_that_cannot_be_executed(struct test *t)
{
    g_autofree char *directory = g_dir_make_tmp("afork-XXXXXX", NULL);
    g_autofree char *plain = g_build_filename(directory, "plain", NULL);
    g_autofree char *text = g_build_filename(directory, "text", NULL);
    const struct {
        const char *perl;
        int error;
    } perls[] = {
        {"/nowhere/perl", -ENOENT}, {"no-such-perl-in-path", -ENOENT},
        {plain, -EACCES},           {directory, -EACCES},
        {text, -ENOEXEC},
    };

    g_assert_true(g_file_set_contents(plain, "", 0, NULL));
    g_assert_true(g_file_set_contents(text, "no program", -1, NULL));
    test_ok(chmod(text, 0700));
    for (size_t i = 0; i < G_N_ELEMENTS(perls); i++) {
        struct afork_process *process = (struct afork_process *)&process;

        test_ok(afork_context_set_perl(test_context(t), perls[i].perl, AFORK_PEER_OWN, NULL));
        unsigned fds = test_count_fds();
        for (int n = 0; n < 500; n++) {
            g_assert_cmpint(afork_process_new_exec(t->context, &process), ==, perls[i].error);
            g_assert_cmpint(afork_process_new(t->context, &process), ==, perls[i].error);
        }
        g_assert_true(process == (struct afork_process *)&process); /* untouched */
        g_assert_cmpuint(test_count_fds(), ==, fds);
        test_turn_for(t, 1000);
    }
    unlink(plain);
    unlink(text);
    rmdir(directory);
}

/* One error for each of 500 perls that end at once; the fixture looks for zombies. */
static void perl_that_exits_at_once(struct test *t)
{
    enum { AT_ONCE = 20 };
    struct subject subjects[AT_ONCE];

    t->options.perl = "false";
    test_context(t);
    unsigned fds = test_count_fds();
    for (int round = 0; round < 500 / AT_ONCE; round++) {
        for (int i = 0; i < AT_ONCE; i++)
            subject_start(&subjects[i], test_new_exec(t));
        for (int i = 0; i < AT_ONCE; i++)
            test_wait(t, subjects[i].end.calls);
        test_turn_for(t, 10 * 1000);
        for (int i = 0; i < AT_ONCE; i++)
            check_failed(&subjects[i], -ECONNRESET, AFORK_CAUSE_START, "status 1");
    }
    g_assert_cmpuint(test_count_fds(), ==, fds);
}

static void violations_drop_the_server(struct test *t)
{
    static const char *const behaviours[] = {"entered", "hello-again", "error 5 it is confused",
                                             "close"};

    for (size_t i = 0; i < G_N_ELEMENTS(behaviours); i++) {
        struct afork_process *process = test_new_exec(t);
        struct test_exit end = {0};
        pid_t pid = afork_process_pid(process);

        test_ok(afork_process_on_exit(process, test_on_exit, &end));
        test_ok(afork_process_eval(process, behaviours[i], NULL));
        test_wait(t, end.calls);
        g_assert_cmpint(end.cause, ==, AFORK_CAUSE_PROTOCOL);
        g_assert_cmpstr(end.message, !=, "");
        test_wait(t, !test_is_running(pid));
        afork_process_unref(process);
    }
}

struct warnings {
    unsigned calls;
    struct afork_process *process;
    char message[200];
};

static void on_warning(struct afork_context *context, struct afork_process *process,
                       const char *message, void *data)
{
    struct warnings *warnings = data;

    warnings->calls++;
    warnings->process = process;
    g_strlcpy(warnings->message, message, sizeof warnings->message);
}

static void warnings_are_told(struct test *t)
{
    struct warnings warnings = {0};

    t->options.on_warning = on_warning;
    t->options.warning_data = &warnings;
    struct afork_process *process = test_new(t);
    test_ok(afork_process_eval(process, "warn two threads", NULL));
    test_wait(t, warnings.calls);
    g_assert_true(warnings.process == process);
    g_assert_cmpstr(warnings.message, ==, "two threads");

    test_ok(afork_process_eval(process, "warn again", NULL));
    test_ok(afork_process_eval(process, "warn and again", NULL));
    afork_process_unref(process);
    test_wait(t, warnings.calls == 3);
    g_assert_null(warnings.process); /* its handle is gone */
    g_assert_cmpstr(warnings.message, ==, "and again");
}

/* Records that no server sends are one warning each, and harm nobody else. */
static void garbage_is_a_warning(struct test *t)
{
    struct warnings warnings = {0};

    t->options.on_warning = on_warning;
    t->options.warning_data = &warnings;
    struct afork_process *process = test_new(t);
    test_ok(afork_process_eval(process, "garbage", NULL));
    test_ok(afork_process_eval(process, "orphan 1", NULL)); /* not one of ours */
    g_free(test_output(t, process, "return"));
    g_assert_cmpuint(warnings.calls, ==, 1);
    g_assert_null(warnings.process);
}

/* Each pending run below a template that failed hears the template's own cause, once. */
static void failed_template_tells_all_below(struct test *t)
{
    struct afork_process *template = test_new(t);
    struct subject children[5], grandchild;
    struct test_exit end = {0};

    test_ok(afork_process_on_exit(template, test_on_exit, &end));
    struct afork_process *alive = test_fork(template); /* before it fails */
    test_ok(afork_process_eval(template, "die no good", NULL));
    for (size_t i = 0; i < G_N_ELEMENTS(children); i++)
        subject_start(&children[i], test_fork(template));
    struct afork_process *child = test_fork(template);
    subject_start(&grandchild, test_fork(child));

    for (size_t i = 0; i < G_N_ELEMENTS(children); i++)
        assert_failed(t, &children[i], -ENOEXEC, AFORK_CAUSE_EVAL, "no good");
    assert_failed(t, &grandchild, -ENOEXEC, AFORK_CAUSE_EVAL, "no good");
    g_assert_cmpuint(end.calls, ==, 1);
    g_assert_cmpint(end.cause, ==, AFORK_CAUSE_EVAL);
    g_free(test_output(t, alive, "return"));
    afork_process_unref(child);
    afork_process_unref(template);
}

static void killed_template_fails_what_is_queued(struct test *t)
{
    struct afork_process *template = test_new(t);
    struct subject child;

    test_wait(t, afork_process_peer_pid(template));
    pid_t pid = afork_process_peer_pid(template);
    kill(pid, SIGSTOP);
    test_wait(t, test_process_state(pid) == 'T');
    subject_start(&child, test_fork(template));
    kill(pid, SIGKILL);
    assert_failed(t, &child, -EAGAIN, AFORK_CAUSE_FORK, "template");
    struct afork_process *late;
    test_wait(t, afork_process_peer_pid(template) == 0);
    g_assert_cmpint(afork_process_fork(template, &late), <, 0);
    afork_process_unref(template);
}

/* The executed server at the top reaps and reports what a dead template left. */
static void exits_survive_the_template(struct test *t)
{
    struct afork_process *template = test_new(t), *worker = test_fork(template);
    struct test_exit end = {0};

    test_ok(afork_process_on_exit(worker, test_on_exit, &end));
    int fd = test_run_function(t, worker, "hold");
    test_ok(afork_process_kill(template, SIGKILL));
    test_wait(t, afork_process_peer_pid(template) == 0);
    g_assert_true(test_is_running(afork_process_peer_pid(worker)));
    test_ok(afork_process_kill(worker, SIGUSR2));
    test_wait(t, end.calls);
    g_assert_cmpint(end.cause, ==, AFORK_CAUSE_SIGNALLED);
    g_assert_cmpint(end.status, ==, SIGUSR2);
    close(fd);
    afork_process_unref(template);
    afork_process_unref(worker);
}

/* Also when the handle on the template was dropped, which ends it. */
static void exits_survive_a_dropped_template(struct test *t)
{
    struct afork_process *template = test_new_exec(t), *worker = test_fork(template);
    struct test_exit end = {0};

    test_ok(afork_process_on_exit(worker, test_on_exit, &end));
    afork_process_unref(template);
    int fd = test_run_function(t, worker, "hold");
    close(fd);
    test_wait(t, end.calls);
    g_assert_cmpint(end.cause, ==, AFORK_CAUSE_EXITED);
    g_assert_true(end.has_usage);
    afork_process_unref(worker);
}

static void exits_are_unknown_without_the_root(struct test *t)
{
    struct afork_process *root = test_new_exec(t), *worker = test_fork(root);
    struct test_exit end = {0};

    test_ok(afork_process_on_exit(worker, test_on_exit, &end));
    int fd = test_run_function(t, worker, "hold");
    test_ok(afork_process_kill(root, SIGKILL));
    test_wait(t, afork_process_pid(root) == 0);
    test_turn_for(t, 20 * 1000);
    g_assert_cmpuint(end.calls, ==, 0);
    close(fd);
    test_wait(t, end.calls);
    g_assert_cmpint(end.cause, ==, AFORK_CAUSE_UNKNOWN);
    g_assert_cmpint(end.wait_status, ==, -1);
    g_assert_cmpint(end.status, ==, -1);
    g_assert_false(end.has_usage);
    afork_process_unref(root);
    afork_process_unref(worker);
}

/* The default template is executed anew when it is needed again. */
static void default_template_comes_back(struct test *t)
{
    struct afork_process *process = test_new(t);
    g_autofree char *text = test_output(t, process, "status");
    pid_t root = atoi(strstr(text, "\nPPid:") + strlen("\nPPid:"));

    g_assert_cmpint(root, >, 1);
    kill(root, SIGKILL);
    test_wait(t, !test_is_running(root));
    test_turn_for(t, 20 * 1000);
    g_autofree char *again = test_output(t, test_new(t), "status");
    g_assert_cmpint(atoi(strstr(again, "\nPPid:") + strlen("\nPPid:")), !=, root);
}

static gpointer reap_all(gpointer stop)
{
    while (!g_atomic_int_get((int *)stop))
        if (waitpid(-1, NULL, WNOHANG) <= 0)
            g_thread_yield();
    return NULL;
}

/* Somebody else waits for all children: one notice each, the status known or not. */
static void children_reaped_by_others(struct test *t)
{
    enum { N = 100, AT_ONCE = 10 };
    struct test_exit ends[AT_ONCE];
    int stop = 0;

    test_context(t);
    GThread *thread = g_thread_new("reaper", reap_all, &stop);
    for (int round = 0; round < N / AT_ONCE; round++) {
        memset(ends, 0, sizeof ends);
        for (int i = 0; i < AT_ONCE; i++) {
            struct afork_process *process = test_new_exec(t);
            test_ok(afork_process_on_exit(process, test_on_exit, &ends[i]));
            test_ok(afork_process_run(process, "return", NULL, NULL));
            afork_process_unref(process);
        }
        for (int i = 0; i < AT_ONCE; i++) {
            test_wait(t, ends[i].calls);
            g_assert_true(ends[i].cause == AFORK_CAUSE_UNKNOWN ||
                          (ends[i].cause == AFORK_CAUSE_EXITED && ends[i].status == 0));
        }
        test_turn_for(t, 1000);
        for (int i = 0; i < AT_ONCE; i++)
            g_assert_cmpuint(ends[i].calls, ==, 1);
    }
    g_atomic_int_set(&stop, 1);
    g_thread_join(thread);
}

static void children_of_the_host_are_left_to_it(struct test *t)
{
    pid_t pids[5];
    int status;

    for (int i = 0; i < 5; i++) {
        pids[i] = fork();
        if (!pids[i])
            _exit(40 + i);
    }
    for (int i = 0; i < 5; i++) {
        g_free(test_output(t, test_new(t), "return"));
        g_free(test_output(t, test_new_exec(t), "return"));
    }
    for (int i = 0; i < 5; i++) {
        g_assert_cmpint(waitpid(pids[i], &status, 0), ==, pids[i]);
        g_assert_cmpint(WEXITSTATUS(status), ==, 40 + i);
    }
}

/* What a copy of the host sees: 0 if all is as promised, else the number of what is not. */
static int use_in_copy(struct test *t, struct afork_process *process)
{
    struct afork_process *other;

    if (afork_process_new(t->context, &other) != -ECHILD)
        return 1;
    if (afork_process_eval(process, "x", NULL) != -ECHILD)
        return 2;
    if (afork_process_run(process, "echo", NULL, NULL) != -ECHILD)
        return 3;
    if (afork_process_kill(process, SIGKILL) != -ECHILD)
        return 4;
    if (afork_process_pid(process) || afork_process_peer_pid(process) ||
        afork_process_get_loop(process))
        return 5;
    afork_process_ref(process);
    afork_process_unref(process);
    afork_process_unref(process);
    afork_context_close(t->context);

    /* A new context works at once, on a loop of its own. */
    struct test copy = {.type = &test_loop_poll, .options = t->options};
    copy.loop_self = copy.type->new ();
    copy.loop = copy.type->get(copy.loop_self);
    g_autofree char *text = test_output(&copy, test_new(&copy), "dump");
    afork_context_close(copy.context);
    copy.type->free(copy.loop_self);
    return *text ? 6 : 0;
}

static void copy_of_the_host_is_inert(struct test *t)
{
    t->options.standard_error.mode = AFORK_STDIO_TAIL;
    struct afork_process *process = test_new_exec(t);
    int fd = test_run_and_unref(t, test_new(t), "echo"), status;
    char answer[2];

    test_ok(afork_process_eval(process, "before", NULL));
    pid_t pid = fork();
    if (!pid)
        _exit(use_in_copy(t, process));
    test_wait(t, waitpid(pid, &status, WNOHANG) == pid);
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, 0);

    g_autofree char *text = test_output(t, process, "dump"); /* nothing was told to it */
    g_assert_cmpstr(text, ==, "code before\n");
    test_write(t, fd, "ok", 2);
    test_read(t, fd, answer, 2);
    close(fd);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_add("/failure/start/exit", exit_before_serving);
    test_add("/failure/start/crash", crash_before_serving);
    test_add("/failure/start/protocol-version", other_protocol_version);
    test_add("/failure/start/stopped", stopped_at_start_is_waited_for);
    test_add_for(&test_loop_poll, "/failure/start/not-executable", perl_that_cannot_be_executed);
    test_add_for(&test_loop_poll, "/failure/start/exits-at-once", perl_that_exits_at_once);
    test_add("/failure/protocol/violations", violations_drop_the_server);
    test_add("/failure/protocol/garbage", garbage_is_a_warning);
    test_add("/failure/warning/told", warnings_are_told);
    test_add("/failure/template/tells-all-below", failed_template_tells_all_below);
    test_add("/failure/template/killed", killed_template_fails_what_is_queued);
    test_add("/failure/template/exits-survive", exits_survive_the_template);
    test_add("/failure/template/dropped", exits_survive_a_dropped_template);
    test_add("/failure/template/root-killed", exits_are_unknown_without_the_root);
    test_add("/failure/template/default-comes-back", default_template_comes_back);
    test_add("/failure/reaped/by-others", children_reaped_by_others);
    test_add("/failure/reaped/of-the-host", children_of_the_host_are_left_to_it);
    test_add("/failure/copy/inert", copy_of_the_host_is_inert);
    return g_test_run();
}
