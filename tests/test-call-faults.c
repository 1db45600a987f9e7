/* SPDX-License-Identifier: MIT
 *
 * Calls where something fails or ends at a bad moment: what is released closes what is at work, a
 * descriptor cannot be sent, a worker closes its channel and lives on, a template is gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pool.h"
#include "rpc.h"
#include "test-pool-lib.h"
#include "util.h"

enum { MILLISECOND = 1000, BIG = 4 * 1024 * 1024 };

/* `wait` sleeps until there is a signal. Without safe signals, which would wait for the next
 * call. */
static const char code[] =
    "our $go; $SIG{USR1} = sub { $go = 1 };"
    "sub nap { select undef, undef, undef, .01 }"
    "sub cut { for (3 .. 50) { open my $fh, '+<&', $_ or next; shutdown $fh, 2 if -S $fh } }"
    "sub f { my ($what) = @_; $what = 'big' if length $what > 10;"
    "  if ($what eq 'wait') { nap() until $go; undef $go }"
    "  if ($what eq 'cut') { cut(); nap() until $go }"
    "  if ($what eq 'fds') { return join ' ', map fileno $_, @_[1 .. $#_] }"
    "  $what }";

static char big[BIG];

/* ---- What releases do ---- */

enum act { CLOSE_RPC, CLOSE_CONTEXT, CLOSE_POOL };

static struct {
    struct test *t;
    enum act act;
    struct afork_rpc *rpc;
    struct afork_pool *pool;
    unsigned released;
    int sockets[2]; /* opened after that */
} scene;

static void on_release(void *data)
{
    (void)data;
    scene.released++;
    if (scene.act == CLOSE_RPC)
        afork_rpc_close(scene.rpc);
    else if (scene.act == CLOSE_CONTEXT)
        afork_context_close(g_steal_pointer(&scene.t->context));
    else
        afork_pool_close(scene.pool);
    test_ok(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, scene.sockets));
}

static void set_scene(struct test *t, enum act act)
{
    memset(&scene, 0, sizeof scene);
    scene.t = t;
    scene.act = act;
    for (size_t i = 0; i < BIG; i++) /* strings of one octet */
        big[i] = i % 2 ? 'x' : 1;
}

/* What was opened in the place of a channel is nobody's but the user's. */
static void check_sockets(void)
{
    for (int i = 0; i < 2; i++) {
        char octet;
        g_assert_cmpint(send(scene.sockets[i], "x", 1, MSG_NOSIGNAL), ==, 1);
        g_assert_cmpint(recv(scene.sockets[!i], &octet, 1, 0), ==, 1);
    }
    close(scene.sockets[0]);
    close(scene.sockets[1]);
}

/* A call that was given up when half of it was written. */
static void give_up_half(struct test *t, struct afork_call *call, struct test_reply *reply)
{
    test_wait(t, call->writing);
    test_ok(afork_call_cancel(call, AFORK_CANCEL_ABANDON));
    test_wait(t, reply->calls);
    g_assert_cmpuint(scene.released, ==, 0);
}

/* Its end is written to a worker that has then nothing more to come. */
static void end_of_writing_closes(struct test *t)
{
    for (enum act act = CLOSE_RPC; act <= CLOSE_CONTEXT; act++) {
        test_end_auto end = {0};
        test_reply_auto first = {0}, reply = {0};
        struct afork_rpc_options options = test_rpc_options(&end);
        struct afork_process *process = test_rpc_process(t, code);
        struct afork_call *call;
        set_scene(t, act);
        test_ok(afork_rpc_new(process, "f", &options, &scene.rpc));
        test_wait(t, scene.rpc->begun);
        int fd = scene.rpc->fd;
        test_call(scene.rpc, &first, "wait", NULL);
        test_ok(afork_rpc_call_take(scene.rpc, big, BIG / 16, on_release, NULL, NULL, test_on_reply,
                                    &reply, &call));
        give_up_half(t, call, &reply);
        afork_rpc_finish(scene.rpc);
        test_ok(kill(afork_process_peer_pid(process), SIGUSR1));
        test_wait(t, scene.released);
        g_assert_true(act != CLOSE_RPC || fd == scene.sockets[0] || fd == scene.sockets[1]);
        check_sockets();
        unsigned completed = first.calls;
        test_turn_for(t, 20 * MILLISECOND);
        g_assert_cmpuint(scene.released, ==, 1);
        g_assert_cmpuint(first.calls, ==, completed);
        g_assert_cmpuint(end.calls, ==, 0);
        afork_rpc_unref(scene.rpc);
        afork_process_kill(process, SIGKILL);
        afork_process_unref(process);
    }
}

/* What closing releases closes what is around it. */
static void closing_closes_all(struct test *t)
{
    test_end_auto end = {0};
    test_reply_auto first = {0}, second = {0};
    struct afork_rpc_options options = test_rpc_options(&end);

    set_scene(t, CLOSE_CONTEXT);
    scene.rpc = test_rpc(t, code, "f", &options);
    test_call(scene.rpc, &first, "x", NULL);
    test_ok(afork_rpc_call_take(scene.rpc, big, BIG, on_release, NULL, NULL, test_on_reply, &second,
                                NULL));
    afork_rpc_close(scene.rpc);
    g_assert_cmpuint(scene.released, ==, 1);
    check_sockets();
    afork_rpc_unref(scene.rpc);
    g_assert_cmpuint(first.calls + second.calls + end.calls, ==, 0);
}

/* A pool that ends with an answer to come that nobody waits for; what that releases closes it. */
static void last_release_closes(struct test *t)
{
    for (enum act act = CLOSE_CONTEXT; act <= CLOSE_POOL; act++) {
        struct test_pool pool = {0};
        struct afork_pool_options options = test_pool_options(&pool);
        test_reply_auto first = {0}, reply = {0};
        struct afork_call *calls[2];
        set_scene(t, act);
        options.max = 1;
        test_pool_new(t, &pool, code, "f", &options);
        scene.pool = pool.pool;
        test_ok(test_pool_call(&pool, &first, "wait", NULL, NULL, &calls[0]));
        test_ok(afork_pool_call_take(pool.pool, big, BIG, on_release, NULL, NULL, test_on_reply,
                                     &reply, &calls[1]));
        test_wait(t, calls[1]->writing);
        g_autoptr(GArray) pids = test_pool_pids(&pool);
        test_ok(afork_call_cancel(calls[0], AFORK_CANCEL_ABANDON));
        give_up_half(t, calls[1], &reply);
        afork_pool_finish(pool.pool);
        test_wait(t, scene.released);
        check_sockets();
        test_turn_for(t, 20 * MILLISECOND);
        g_assert_cmpuint(pool.destroys, ==, 0);
        g_assert_cmpuint(scene.released, ==, 1);
        afork_pool_unref(pool.pool);
        kill(g_array_index(pids, pid_t, 0), SIGKILL);
    }
}

struct closing {
    struct test *t;
    struct afork_call *calls[4];
    unsigned completed, released;
};

static void on_any(const struct afork_reply *reply, void *data)
{
    (void)reply;
    ((struct closing *)data)->completed++;
}

static void cancel_two(struct closing *closing)
{
    for (size_t i = 2; i < G_N_ELEMENTS(closing->calls); i++)
        afork_call_cancel(closing->calls[i], AFORK_CANCEL_ABANDON);
}

static void cancel_and_turn(void *data)
{
    struct closing *closing = data;

    if (closing->released++)
        return;
    cancel_two(closing);
    for (int i = 0; i < 5; i++)
        closing->t->type->turn(closing->t->loop_self, MILLISECOND);
}

/* What is cancelled while all are dropped, or just before, is dropped, too. */
static void cancelled_by(struct test *t, enum act act, unsigned max, bool before)
{
    struct closing closing = {.t = t};
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    struct afork_call_options call = AFORK_CALL_OPTIONS_INIT;

    options.max = options.idle = max;
    options.load = 1;
    call.release = cancel_and_turn;
    test_pool_new(t, &pool, code, "f", &options);
    test_wait(t, pool.starts == max);
    for (size_t i = 0; i < G_N_ELEMENTS(closing.calls); i++)
        test_ok(afork_pool_call_strings(pool.pool, &(struct iovec){(void *)"wait", 4}, 1, &call,
                                        on_any, &closing, &closing.calls[i]));
    if (before)
        cancel_two(&closing);
    if (act == CLOSE_POOL)
        afork_pool_close(pool.pool);
    else
        afork_context_close(g_steal_pointer(&t->context));
    g_assert_cmpuint(closing.released, ==, 4);
    test_turn_for(t, 20 * MILLISECOND);
    g_assert_cmpuint(closing.completed, ==, 0);
    afork_pool_unref(pool.pool);
}

static void cancelled_while_closing(struct test *t)
{
    for (unsigned max = 1; max <= 4; max += 3) /* most of them wait, or none does */
        for (int before = 0; before < 2; before++) {
            cancelled_by(t, CLOSE_POOL, max, before);
            cancelled_by(t, CLOSE_CONTEXT, max, before);
        }
}

/* Without turning the loop. */
static bool has_answer(const struct afork__worker *worker)
{
    return poll(&(struct pollfd){.fd = worker->rpc->fd, .events = POLLIN}, 1, 60 * 1000) == 1;
}

static void turn_only(void *data)
{
    struct closing *closing = data;

    closing->released++;
    for (int i = 0; i < 5; i++)
        closing->t->type->turn(closing->t->loop_self, MILLISECOND);
}

/* Answers that have come are not told once it closes, whoever turns the loop. */
static void answered_while_closing(struct test *t)
{
    for (enum act act = CLOSE_CONTEXT; act <= CLOSE_POOL; act++) {
        struct closing closing = {.t = t};
        struct test_pool pool = {0};
        struct afork_pool_options options = test_pool_options(&pool);
        struct afork_call_options call = AFORK_CALL_OPTIONS_INIT;
        struct afork__worker *worker;
        options.max = options.idle = 4;
        options.load = 1;
        call.release = turn_only;
        test_pool_new(t, &pool, code, "f", &options);
        test_wait(t, pool.pool->n_ready == 4);
        for (size_t i = 0; i < G_N_ELEMENTS(closing.calls); i++)
            test_ok(afork_pool_call_strings(pool.pool, &(struct iovec){(void *)"x", 1}, 1, &call,
                                            on_any, &closing, &closing.calls[i]));
        TAILQ_FOREACH (worker, &pool.pool->workers, link)
            g_assert_true(has_answer(worker));
        if (act == CLOSE_POOL)
            afork_pool_close(pool.pool);
        else
            afork_context_close(g_steal_pointer(&t->context));
        g_assert_cmpuint(closing.released, ==, 4);
        g_assert_cmpuint(closing.completed, ==, 0);
        afork_pool_unref(pool.pool);
    }
}

/* ---- Descriptors that cannot be sent ---- */

static int sending_error, n_refused;
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);

/* The kernel refuses what has three descriptors. */
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    if (!sending_error || message->msg_controllen != CMSG_SPACE(3 * sizeof(int)))
        return __real_sendmsg(fd, message, flags);
    n_refused++;
    errno = sending_error;
    return -1;
}

static const int errors[] = {EINVAL, EPERM, EACCES, EBADF};

/* Only those calls fail, and what is behind them goes on. */
static void refused_descriptors(struct test *t)
{
    struct afork_call_options options[2] = {AFORK_CALL_OPTIONS_INIT, AFORK_CALL_OPTIONS_INIT};
    int fds[] = {STDIN_FILENO, STDIN_FILENO, STDIN_FILENO};
    const char *const list[] = {"fds", NULL};

    for (int i = 0; i < 2; i++) {
        options[i].fds = fds;
        options[i].n_fds = i ? 3 : 1;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(errors); i++) {
        test_end_auto end = {0};
        struct afork_rpc_options rpc_options = test_rpc_options(&end);
        struct afork_rpc *rpc = test_rpc(t, code, "f", &rpc_options);
        struct test_reply replies[30] = {0};
        sending_error = errors[i];
        for (size_t j = 0; j < G_N_ELEMENTS(replies); j++)
            test_ok(test_call_full(rpc, &replies[j], &options[j % 3 == 1], list, NULL));
        test_finish(t, rpc, &end);
        test_ok(end.error);
        for (size_t j = 0; j < G_N_ELEMENTS(replies); j++) {
            g_assert_cmpint(replies[j].error, ==, j % 3 == 1 ? -errors[i] : 0);
            g_assert_true(!*replies[j].message == !replies[j].error);
            test_reply_clear(&replies[j]);
        }
        sending_error = 0;
    }
}

/* The same in a pool, also where each call has a process. */
static void refused_in_pools(struct test *t)
{
    for (int single = 0; single < 2; single++) {
        struct test_pool pool = {0};
        struct afork_pool_options options = test_pool_options(&pool);
        struct afork_call_options call = AFORK_CALL_OPTIONS_INIT;
        int fds[] = {STDIN_FILENO, STDIN_FILENO, STDIN_FILENO};
        struct test_reply replies[30] = {0};
        options.max = options.load = 2;
        options.single_call = single;
        test_pool_new(t, &pool, code, "f", &options);
        call.fds = fds;
        sending_error = EINVAL;
        for (size_t i = 0; i < G_N_ELEMENTS(replies); i++) {
            call.n_fds = i % 3 == 1 ? 3 : 1;
            test_ok(test_pool_call(&pool, &replies[i], "fds", NULL, &call, NULL));
        }
        test_wait(t, !pool.open);
        sending_error = 0;
        for (size_t i = 0; i < G_N_ELEMENTS(replies); i++) {
            g_assert_cmpint(replies[i].error, ==, i % 3 == 1 ? -EINVAL : 0);
            test_reply_clear(&replies[i]);
        }
        g_assert_cmpuint(test_pool_stats(&pool).failed, ==, 10);
        g_assert_cmpuint(test_pool_stats(&pool).completed, ==, 20);
        g_assert_cmpuint(test_pool_stats(&pool).crashed, ==, 0);
        test_pool_finish(&pool);
    }
}

/* ---- Channels that are closed ---- */

/* Nobody waits for what a worker without a channel does, but the call that it was at. */
static void cut_workers_get_nothing(struct test *t)
{
    for (unsigned max = 1; max <= 2; max++) {
        struct test_pool pool = {0};
        struct afork_pool_options options = test_pool_options(&pool);
        struct test_reply replies[20] = {0};
        test_reply_auto cut = {0};
        options.max = options.idle = max;
        options.load = 4;
        test_pool_new(t, &pool, code, "f", &options);
        test_wait(t, pool.starts == max);
        for (unsigned i = 0; i < max; i++)
            test_ok(test_pool_call(&pool, &replies[i], "x", NULL, NULL, NULL));
        test_wait(t, !pool.open);
        test_ok(test_pool_call(&pool, &cut, "cut", NULL, NULL, NULL));
        for (size_t i = max; i < 10; i++)
            test_ok(test_pool_call(&pool, &replies[i], "x", NULL, NULL, NULL));
        test_wait(t, test_pool_stats(&pool).crashed);
        g_assert_cmpuint(cut.calls, ==, 0);
        for (size_t i = 10; i < 20; i++)
            test_ok(test_pool_call(&pool, &replies[i], "x", NULL, NULL, NULL));
        test_wait(t, !pool.open);
        g_assert_cmpint(cut.error, ==, -ECONNRESET);
        for (size_t i = 0; i < 20; i++) {
            test_ok(replies[i].error);
            test_reply_clear(&replies[i]);
        }
        g_assert_cmpuint(test_pool_stats(&pool).crashed, ==, 1);
        g_assert_cmpuint(test_pool_stats(&pool).started, <=, max + 1);
        test_pool_finish(&pool);
    }
}

/* One that has never answered is a failure when it ends; but what it has not begun does not
 * wait. */
static void cut_before_an_answer(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    test_reply_auto cut = {0}, behind = {0};

    options.max = options.load = options.idle = 2;
    test_pool_new(t, &pool, code, "f", &options);
    test_wait(t, pool.starts == 2);
    test_ok(test_pool_call(&pool, &cut, "cut", NULL, NULL, NULL));
    cut.order = behind.order = g_string_new(NULL);
    cut.tag = 'c';
    behind.tag = 'b';
    test_wait(t, pool.pool->n_ready == 1);
    test_ok(test_pool_call(&pool, &behind, "x", NULL, NULL, NULL));
    test_wait(t, !pool.open);
    g_assert_cmpstr(cut.order->str, ==, "bc");
    test_ok(behind.error);
    g_string_free(cut.order, TRUE);
    test_pool_finish(&pool);
}

/* ---- Templates ---- */

/* Without turning the loop. */
static void wait_for_hang_up(const struct afork_process *process)
{
    struct pollfd pollfd = {.fd = process->fd};

    g_assert_cmpint(poll(&pollfd, 1, 60 * 1000), ==, 1);
    g_assert_true(pollfd.revents & POLLHUP);
}

/* What cannot be loaded is known only when the loop turns; but that nothing can be sent, before. */
static void ends_are_told_with_reasons(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    struct test_reply replies[3] = {{0}};

    options.max = 4;
    options.start = -1;
    test_pool_new(t, &pool, "require AFork::Nowhere;", "f", &options);
    wait_for_hang_up(pool.pool->source);
    wait_for_hang_up(pool.pool->template);
    for (size_t i = 0; i < G_N_ELEMENTS(replies); i++)
        test_ok(test_pool_call(&pool, &replies[i], "x", NULL, NULL, NULL));
    g_assert_true(pool.pool->template->broken);
    test_wait(t, !pool.open);
    for (size_t i = 0; i < G_N_ELEMENTS(replies); i++) {
        g_assert_cmpint(replies[i].error, ==, -EIO);
        g_assert_nonnull(strstr(replies[i].message, "AFork/Nowhere.pm"));
        test_reply_clear(&replies[i]);
    }
    g_assert_cmpint(test_pool_stats(&pool).error, ==, -ENOEXEC);
    test_pool_finish(&pool);
}

/* The same before there is a pool. */
static void pools_of_what_is_gone_know_why(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    struct afork_process *process = test_rpc_process(t, "require AFork::Nowhere;");
    test_reply_auto reply = {0};

    wait_for_hang_up(process);
    test_ok(afork_process_send_arg(process, "x", 1));
    g_assert_true(process->broken);
    test_ok(afork_pool_new(process, "f", &options, &pool.pool));
    afork_process_unref(process);
    pool.t = t;
    test_ok(test_pool_call(&pool, &reply, "x", NULL, NULL, NULL));
    test_wait(t, !pool.open);
    g_assert_cmpint(reply.error, ==, -EIO);
    g_assert_nonnull(strstr(reply.message, "AFork/Nowhere.pm"));
    test_pool_finish(&pool);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_calls_add("/call-faults/release/end-of-writing", end_of_writing_closes);
    test_calls_add("/call-faults/release/closing", closing_closes_all);
    test_calls_add("/call-faults/release/last", last_release_closes);
    test_calls_add("/call-faults/release/cancelled", cancelled_while_closing);
    test_calls_add("/call-faults/release/answered", answered_while_closing);
    test_calls_add("/call-faults/descriptors/rpc", refused_descriptors);
    test_calls_add("/call-faults/descriptors/pool", refused_in_pools);
    test_calls_add("/call-faults/cut/nothing", cut_workers_get_nothing);
    test_calls_add("/call-faults/cut/first", cut_before_an_answer);
    test_calls_add("/call-faults/template/reasons", ends_are_told_with_reasons);
    test_calls_add("/call-faults/template/gone", pools_of_what_is_gone_know_why);
    return g_test_run();
}
