/* SPDX-License-Identifier: MIT
 *
 * Letting go at awkward moments: inside each kind of callback, and of processes in any state. No
 * call waits, and nothing is told afterwards. Against the fake server.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test-lib.h"
#include "util.h"

enum kind {
    ON_RUN,
    ON_FAILURE,
    ON_EXIT,
    ON_WARNING,
    N_KINDS,
};

/* A template, two forks of it, and an action for one of their callbacks. */
struct scene {
    struct test *t;
    enum kind kind;
    void (*action)(struct scene *scene);
    bool acted;
    struct afork_process *template, *process, *sibling;
    int fds[2];                     /* the channels of the two */
    unsigned runs[2], exits[2];     /* calls of their callbacks */
    unsigned runs_then, exits_then; /* of the subject of the action, when it was taken */
    unsigned warnings;
};

static void act(struct scene *scene, enum kind kind)
{
    if (scene->kind != kind || scene->acted)
        return;
    scene->acted = true;
    scene->action(scene);
}

/* Its process may have been released in the meantime: only the address is compared. */
static int index_of(struct scene *scene, struct afork_process *process)
{
    return process == scene->sibling ? 1 : 0;
}

static void on_run(struct afork_process *process, int fd, const struct afork_exit *failure,
                   void *data)
{
    struct scene *scene = data;
    int i = index_of(scene, process);

    scene->runs[i]++;
    scene->fds[i] = fd >= 0 ? fd : -1;
    if (i == 0)
        act(scene, failure ? ON_FAILURE : ON_RUN);
}

static void on_exit_notice(struct afork_process *process, const struct afork_exit *end, void *data)
{
    struct scene *scene = data;
    int i = index_of(scene, process);

    scene->exits[i]++;
    if (i == 0)
        act(scene, ON_EXIT);
    g_assert_nonnull(end->message); /* valid until the callback returns */
    g_assert_cmpuint(strlen(end->message), <, 1000);
}

static void on_warning(struct afork_context *context, struct afork_process *process,
                       const char *message, void *data)
{
    struct scene *scene = data;

    scene->warnings++;
    act(scene, ON_WARNING);
    g_assert_cmpstr(message, ==, "careful");
}

static void scene_start(struct scene *scene)
{
    struct test *t = scene->t;

    t->options.on_warning = on_warning;
    t->options.warning_data = scene;
    scene->fds[0] = scene->fds[1] = -1;
    scene->template = test_new(t);
    scene->process = test_fork(scene->template);
    scene->sibling = test_fork(scene->template);
    test_ok(afork_process_on_exit(scene->process, on_exit_notice, scene));
    test_ok(afork_process_on_exit(scene->sibling, on_exit_notice, scene));
    test_ok(afork_process_run(scene->sibling, "hold", on_run, scene));
    if (scene->kind == ON_WARNING)
        test_ok(afork_process_eval(scene->process, "warn careful", NULL));
    test_ok(afork_process_run(scene->process, scene->kind == ON_FAILURE ? "nope" : "return", on_run,
                              scene));
}

static void scene_end(struct scene *scene)
{
    afork_process_unref(scene->process);
    afork_process_unref(scene->sibling);
    afork_process_unref(scene->template);
    afork__close(&scene->fds[0]);
    afork__close(&scene->fds[1]);
}

static void play(struct scene *scene)
{
    scene_start(scene);
    test_wait(scene->t, scene->acted);
    if (scene->t->context)
        test_wait(scene->t, scene->runs[0] || scene->exits[0] || scene->warnings);
    test_turn_for(scene->t, 30 * 1000);
}

static void for_each_kind(struct test *t, void (*action)(struct scene *scene),
                          void (*check)(struct scene *scene))
{
    for (enum kind kind = 0; kind < N_KINDS; kind++) {
        struct scene scene = {.t = t, .kind = kind, .action = action};

        play(&scene);
        check(&scene);
        scene_end(&scene);
        afork_context_close(t->context);
        t->context = NULL;
    }
}

static void unref_self(struct scene *scene)
{
    struct afork_process *process = scene->process;

    /* index_of() must go on to tell the two apart; the handle itself is gone. */
    scene->process = NULL;
    afork_process_unref(process);
}

static void check_all_told(struct scene *scene)
{
    test_wait(scene->t, scene->exits[0]);
    g_assert_cmpuint(scene->runs[0], ==, 1);
    g_assert_cmpuint(scene->exits[0], ==, 1);
}

static void unref_self_in_callback(struct test *t)
{
    for_each_kind(t, unref_self, check_all_told);
}

static void close_self(struct scene *scene)
{
    scene->runs_then = scene->runs[0];
    scene->exits_then = scene->exits[0];
    afork_process_close(scene->process);
    unref_self(scene);
}

static void check_self_silent(struct scene *scene)
{
    g_assert_cmpuint(scene->runs[0], ==, scene->runs_then);
    g_assert_cmpuint(scene->exits[0], ==, scene->exits_then);
}

static void close_self_in_callback(struct test *t)
{
    for_each_kind(t, close_self, check_self_silent);
}

static void close_sibling(struct scene *scene)
{
    scene->runs_then = scene->runs[1];
    scene->exits_then = scene->exits[1];
    afork_process_close(scene->sibling);
}

static void check_sibling_silent(struct scene *scene)
{
    g_assert_cmpuint(scene->runs[1], ==, scene->runs_then);
    g_assert_cmpuint(scene->exits[1], ==, scene->exits_then);
    check_all_told(scene);
}

static void close_sibling_in_callback(struct test *t)
{
    for_each_kind(t, close_sibling, check_sibling_silent);
}

static void drop_template(struct scene *scene)
{
    afork_process_close(scene->template);
    afork_process_unref(scene->template);
    scene->template = NULL;
}

static void drop_template_in_callback(struct test *t)
{
    for_each_kind(t, drop_template, check_all_told);
}

static void close_context(struct scene *scene)
{
    scene->runs_then = scene->runs[0] + scene->runs[1];
    scene->exits_then = scene->exits[0] + scene->exits[1];
    afork_context_close(scene->t->context);
    scene->t->context = NULL;
}

static void check_all_silent(struct scene *scene)
{
    g_assert_cmpuint(scene->runs[0] + scene->runs[1], ==, scene->runs_then);
    g_assert_cmpuint(scene->exits[0] + scene->exits[1], ==, scene->exits_then);
}

static void close_context_in_callback(struct test *t)
{
    for_each_kind(t, close_context, check_all_silent);
}

/* Closes everything in one callback, handles first. */
static void close_all(struct scene *scene)
{
    close_sibling(scene);
    afork_process_unref(scene->sibling);
    scene->sibling = NULL;
    close_self(scene);
    drop_template(scene);
    close_context(scene);
}

static void close_all_in_callback(struct test *t)
{
    for_each_kind(t, close_all, check_all_silent);
}

/* Any call may be made, and the loop turned, inside a callback. */
static void start_another(struct scene *scene)
{
    struct afork_process *another = test_new(scene->t);
    unsigned exits = scene->exits[0];

    g_autofree char *text = test_output(scene->t, another, "dump");
    g_assert_cmpstr(text, ==, "");
    if (scene->kind != ON_WARNING) /* its own callbacks do not nest */
        g_assert_cmpuint(scene->exits[0], ==, exits);
}

static void start_another_in_callback(struct test *t)
{
    for_each_kind(t, start_another, check_all_told);
}

static void assert_quick(gint64 start)
{
    g_assert_cmpint(test_own_time() - start, <, 50 * 1000);
}

/* States that a teardown may find an executed process in. */
enum state {
    SERVING,
    EXITED,
    REAPED_ELSEWHERE,
    STOPPED,
    IGNORES_TERM,
    N_STATES,
};

static pid_t bring_to(struct test *t, struct afork_process *process, enum state state)
{
    pid_t pid = afork_process_pid(process);

    switch (state) {
    case EXITED:
        kill(pid, SIGKILL);
        while (test_is_running(pid))
            g_thread_yield(); /* the loop must not see it */
        break;
    case REAPED_ELSEWHERE:
        kill(pid, SIGKILL);
        g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
        break;
    case STOPPED:
        kill(pid, SIGSTOP);
        test_wait(t, test_process_state(pid) == 'T');
        break;
    case IGNORES_TERM:
        test_ok(afork_process_eval(process, "ignore 15", NULL));
        test_ok(afork_process_kill(process, 15));
        break;
    default:
        break;
    }
    return pid;
}

/* Each way to let go, of a process in each state: at once, and for good. */
static void teardown_never_waits(struct test *t)
{
    for (enum state state = 0; state < N_STATES; state++) {
        for (int way = 0; way < 3; way++) {
            struct afork_process *process = test_new_exec(t);
            struct test_exit end = {0};

            test_ok(afork_process_on_exit(process, test_on_exit, &end));
            pid_t pid = bring_to(t, process, state);
            gint64 start = test_own_time();
            if (way == 1) {
                afork_process_close(process);
                afork_process_close(process);
            } else if (way == 2) {
                afork_context_close(t->context);
                t->context = NULL;
            }
            afork_process_unref(process);
            assert_quick(start);
            if (state == STOPPED)
                test_assert_idle(t, 50 * 1000);
            else
                test_turn_for(t, 10 * 1000);
            g_assert_cmpuint(end.calls, <=, way == 0 ? 1 : 0);
            if (state == STOPPED)
                kill(pid, SIGCONT); /* or it would be left behind */
            if (way == 0)
                test_wait(t, end.calls == 1);
        }
    }
}

static void count_and_close(struct afork_process *process, int fd, const struct afork_exit *failure,
                            void *data)
{
    ++*(unsigned *)data;
    if (fd >= 0)
        close(fd);
}

/* A context with a hundred processes in all states of their lives. */
static void busy_context_closes_at_once(struct test *t)
{
    struct afork_process *template = test_new(t);
    unsigned calls = 0;

    for (int i = 0; i < 100; i++) {
        struct afork_process *process = i % 10 ? test_fork(template) : test_new_exec(t);
        const char *function = i % 2 ? "hold" : "return";
        if (i % 3)
            test_ok(afork_process_run(process, function, i % 5 ? count_and_close : NULL, &calls));
        if (i % 4 == 0)
            afork_process_close(process);
        afork_process_unref(process);
        if (i == 50)
            test_wait(t, calls);
    }
    afork_process_unref(template);
    gint64 start = test_own_time();
    afork_context_close(t->context);
    t->context = NULL;
    assert_quick(start);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_add("/destroy/in-callback/unref-self", unref_self_in_callback);
    test_add("/destroy/in-callback/close-self", close_self_in_callback);
    test_add("/destroy/in-callback/close-sibling", close_sibling_in_callback);
    test_add("/destroy/in-callback/drop-template", drop_template_in_callback);
    test_add("/destroy/in-callback/close-context", close_context_in_callback);
    test_add("/destroy/in-callback/close-all", close_all_in_callback);
    test_add("/destroy/in-callback/start-another", start_another_in_callback);
    test_add("/destroy/never-waits", teardown_never_waits);
    test_add("/destroy/busy-context", busy_context_closes_at_once);
    return g_test_run();
}
