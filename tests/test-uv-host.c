/* SPDX-License-Identifier: MIT
 *
 * A program on libuv: its loop ends by itself, its handles are closed later, its descriptors and
 * timers are libuv's, it may be forked and has children of its own. Against the fake server.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util.h"
#include "uv-call.h"

/* ---- the loop ---- */

static void on_exit_notice(struct afork_process *process, const struct afork_exit *end, void *data)
{
    ++*(unsigned *)data;
}

static void loop_ends_when_all_is_done(struct test *t)
{
    struct uv_call call = {.action = uv_call_close};
    unsigned ends = 0;
    struct afork_process *template = test_new(t), *process = test_fork(template);

    test_ok(afork_process_on_exit(process, on_exit_notice, &ends));
    uv_call_start(&call, process, "echo");
    g_assert_cmpint(uv_run(uv_call_loop(t), UV_RUN_DEFAULT), ==, 0);
    g_assert_cmpuint(call.closes, ==, 1);
    g_assert_cmpuint(ends, ==, 1); /* and the templates are still there */
    g_assert_cmpint(uv_run(uv_call_loop(t), UV_RUN_DEFAULT), ==, 0);

    struct uv_call again = {.action = uv_call_say_hello};
    struct afork_process *other = test_fork(template);
    again.on_end = uv_call_close;
    uv_call_start(&again, other, "echo");
    g_assert_cmpint(uv_run(uv_call_loop(t), UV_RUN_DEFAULT), ==, 0);
    g_assert_cmpstr(again.text->str, ==, "hello\n");
    uv_call_finish(t, &again);
    afork_process_unref(process);
    afork_process_unref(other);
    afork_process_unref(template);
}

/* A program whose callbacks release everything, the adapter's loop included. */
struct world {
    struct uv_call call;
    uv_loop_t uv;
    struct afork_uv_loop *loop;
    struct afork_context *context;
    bool destroyed;
};

static void destroy(struct world *world)
{
    if (world->destroyed)
        return;
    world->destroyed = true;
    if (!uv_is_closing((uv_handle_t *)&world->call.pipe))
        uv_call_close(&world->call);
    afork_process_unref(world->call.process);
    afork_context_close(world->context);
    afork_uv_loop_free(world->loop);
}

static void destroy_on_run(struct uv_call *call)
{
    destroy((struct world *)call);
}

static void destroy_on_exit(struct afork_process *process, const struct afork_exit *end, void *data)
{
    destroy(data);
}

static void read_then_destroy(struct uv_call *call)
{
    call->on_end = destroy_on_run;
    uv_call_read(call);
}

static void destroyed_on_close(uv_handle_t *handle)
{
    uv_call_on_closed(handle);
    destroy((struct world *)handle);
}

static void close_then_destroy(struct uv_call *call)
{
    uv_close((uv_handle_t *)&call->pipe, destroyed_on_close);
}

static void destroyed_in_each_callback(struct test *t)
{
    static const struct {
        const char *function;
        void (*action)(struct uv_call *call);
        afork_exit_cb *on_exit;
    } cases[] = {
        {"hold", destroy_on_run, NULL},     {"nope", destroy_on_run, NULL},
        {"return", NULL, destroy_on_exit},  {"return", read_then_destroy, NULL},
        {"hold", close_then_destroy, NULL},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct world world = {.call.action = cases[i].action};
        struct afork_process *process;

        test_ok(uv_loop_init(&world.uv));
        test_ok(afork_uv_loop_new(&world.uv, &world.loop));
        test_ok(afork_context_new(afork_uv_loop_get(world.loop), &t->options, &world.context));
        test_ok(afork_process_new(world.context, &process));
        if (cases[i].on_exit)
            test_ok(afork_process_on_exit(process, cases[i].on_exit, &world));
        uv_call_start(&world.call, process, cases[i].function);
        g_assert_cmpint(uv_run(&world.uv, UV_RUN_DEFAULT), ==, 0);
        g_assert_true(world.destroyed);
        g_assert_cmpuint(world.call.closes, ==, 1);
        g_assert_cmpint(uv_loop_close(&world.uv), ==, 0);
        if (world.call.text)
            g_string_free(world.call.text, TRUE);
    }
}

/* ---- watchers ---- */

struct watch {
    struct test *t;
    struct afork_io *io;
    struct afork_timer *timer;
    unsigned calls;
    int fd, peer;
    int64_t armed;
    struct uv_call call;
};

/* The number of a released watcher's descriptor becomes a pipe of libuv's within the callback. */
static void become_a_pipe(unsigned events, void *data)
{
    struct watch *w = data;
    int pair[2];

    w->calls++;
    w->t->loop->ops->io_free(w->io);
    close(w->fd);
    close(w->peer);
    test_ok(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
    g_assert_true(pair[0] == w->fd || dup3(pair[0], w->fd, O_CLOEXEC) == w->fd);
    if (pair[0] != w->fd)
        close(pair[0]);
    w->peer = pair[1];
    test_ok(uv_pipe_init(uv_call_loop(w->t), &w->call.pipe, 0));
    test_ok(uv_pipe_open(&w->call.pipe, w->fd));
    uv_call_read(&w->call);
}

static void number_is_free_at_once(struct test *t)
{
    struct watch w = {.t = t};
    int pair[2];

    test_ok(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
    w.fd = pair[0];
    w.peer = pair[1];
    test_ok(t->loop->ops->io_new(t->loop, w.fd, AFORK_IN, become_a_pipe, &w, &w.io));
    g_assert_cmpint(write(w.peer, "old", 3), ==, 3);
    test_wait(t, w.calls);
    g_assert_cmpint(write(w.peer, "new", 3), ==, 3);
    close(w.peer);
    test_wait(t, w.call.ended);
    g_assert_cmpuint(w.calls, ==, 1);
    g_assert_cmpstr(w.call.text->str, ==, "new");
    uv_call_finish(t, &w.call);
}

static void on_time(void *data)
{
    ++((struct watch *)data)->calls;
}

/* After a callback that has taken long, the loop's idea of the time is old. */
static void take_long(unsigned events, void *data)
{
    struct watch *w = data;

    w->t->loop->ops->io_set(w->io, 0);
    for (int64_t end = afork__now() + 30 * 1000; afork__now() < end;)
        ;
    w->armed = afork__now();
    w->t->loop->ops->timer_set(w->timer, 10500);
}

static void timer_is_not_early_after_a_long_callback(struct test *t)
{
    struct watch w = {.t = t};
    int pair[2];

    test_ok(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
    test_ok(t->loop->ops->timer_new(t->loop, on_time, &w, &w.timer));
    test_ok(t->loop->ops->io_new(t->loop, pair[0], AFORK_OUT, take_long, &w, &w.io));
    g_assert_cmpint(uv_run(uv_call_loop(t), UV_RUN_DEFAULT), ==, 0);
    g_assert_cmpint(afork__now() - w.armed, >=, 10500);
    g_assert_cmpuint(w.calls, ==, 1);
    t->loop->ops->timer_free(w.timer);
    t->loop->ops->io_free(w.io);
    close(pair[0]);
    close(pair[1]);
}

static void ignore_cb(unsigned events, void *data)
{
}

/* In a child, since it ends the program: its standard error names the descriptor. */
static void free_with_a_watcher_ends_the_program(struct test *t)
{
    char text[200] = "", number[32];
    int pipe_fds[2], status;

    test_ok(pipe2(pipe_fds, O_CLOEXEC));
    pid_t pid = fork();
    if (!pid) {
        uv_loop_t uv;
        struct afork_uv_loop *loop;
        struct afork_io *io;

        dup2(pipe_fds[1], STDERR_FILENO);
        if (uv_loop_init(&uv) == 0 && afork_uv_loop_new(&uv, &loop) == 0) {
            struct afork_loop *base = afork_uv_loop_get(loop);
            base->ops->io_new(base, pipe_fds[0], AFORK_IN, ignore_cb, NULL, &io);
            afork_uv_loop_free(loop);
        }
        _exit(0);
    }
    close(pipe_fds[1]);
    g_assert_cmpint(read(pipe_fds[0], text, sizeof text - 1), >, 0);
    close(pipe_fds[0]);
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFSIGNALED(status));
    g_assert_cmpint(WTERMSIG(status), ==, SIGABRT);
    g_snprintf(number, sizeof number, "descriptor %d", pipe_fds[0]);
    g_assert_nonnull(strstr(text, number));
    afork_uv_loop_free(NULL);
    struct afork_uv_loop *none;
    g_assert_cmpint(afork_uv_loop_new(NULL, &none), ==, -EINVAL);
    g_assert_cmpint(afork_uv_loop_new(uv_call_loop(t), NULL), ==, -EINVAL);
}

/* ---- the program ---- */

/* Whether the copy of the program could release everything and go on with the loop. */
static bool copy_releases(struct test *t, struct uv_call *call, struct afork_process *process)
{
    uv_loop_t *uv = uv_call_loop(t);
    uv_pipe_t unused;

    if (uv_loop_fork(uv) < 0 || afork_uv_run(process, "echo", &unused, uv_call_on_run, call) >= 0)
        return false;
    afork_process_unref(process);
    afork_context_close(t->context);
    uv_call_close(call);
    t->type->free(t->loop_self); /* turns it, and closes it */
    return call->closes == 1 && call->calls == 0;
}

static void forked_copy_lets_go(struct test *t)
{
    struct uv_call call = {.action = uv_call_say_hello};
    struct afork_process *process = test_new(t), *unused = test_new(t);
    int status;

    uv_call_start(&call, process, "echo");
    pid_t pid = fork();
    if (pid == 0)
        _exit(!copy_releases(t, &call, unused));
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_cmpint(status, ==, 0);

    test_wait(t, call.ended); /* the original's poll set is whole */
    g_assert_cmpstr(call.text->str, ==, "hello\n");
    uv_call_finish(t, &call);
    afork_process_unref(process);
    afork_process_unref(unused);
}

static void on_child(uv_process_t *child, int64_t status, int signal)
{
    *(int64_t *)child->data = status;
    uv_close((uv_handle_t *)child, NULL);
}

/* Both reap children of the program, each its own. */
static void children_of_the_host_are_left_to_libuv(struct test *t)
{
    char *arguments[] = {(char *)"sh", (char *)"-c", (char *)"exit 7", NULL};
    int64_t status = -1;
    uv_process_t child = {.data = &status};
    const uv_process_options_t options = {.exit_cb = on_child, .file = "sh", .args = arguments};
    struct test_exit end = {0};
    struct afork_process *process = test_new_exec(t);

    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    test_ok(uv_spawn(uv_call_loop(t), &child, &options));
    test_ok(afork_process_send_arg(process, "3", 1));
    test_ok(afork_process_run(process, "exit", NULL, NULL));
    afork_process_unref(process);
    test_wait(t, status >= 0 && end.calls);
    g_assert_cmpint(status, ==, 7);
    g_assert_cmpint(end.status, ==, 3);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        test_func *func;
    } cases[] = {
        {"/uv/loop/ends-when-all-is-done", loop_ends_when_all_is_done},
        {"/uv/loop/destroyed-in-each-callback", destroyed_in_each_callback},
        {"/uv/watcher/number-is-free-at-once", number_is_free_at_once},
        {"/uv/watcher/timer-after-long-callback", timer_is_not_early_after_a_long_callback},
        {"/uv/watcher/left", free_with_a_watcher_ends_the_program},
        {"/uv/host/copy-lets-go", forked_copy_lets_go},
        {"/uv/host/children-are-left-to-it", children_of_the_host_are_left_to_libuv},
    };

    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
        test_add_for(&test_loop_uv, cases[i].path, cases[i].func);
    return g_test_run();
}
