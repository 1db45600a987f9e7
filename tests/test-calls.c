/* SPDX-License-Identifier: MIT
 *
 * Calls where several things come together: what callbacks do to others, what ends while a callback
 * turns the loop, times that never come, calls that are given to another worker.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#ifndef TEST_GOBJECT
#include "pool.h"
#include "rpc.h"
#endif
#include "test-pool-lib.h"

enum { MILLISECOND = 1000, BIG = 4 * 1024 * 1024 };

static const char *const one[] = {"pid", NULL};

#ifndef TEST_GOBJECT
static struct afork_rpc *worker_rpc(struct test_pool *pool)
{
    struct afork__worker *worker = TAILQ_FIRST(&pool->pool->workers);

    return worker ? worker->rpc : NULL;
}
#endif

/* ---- What one callback does to other calls ---- */

struct canceller {
    struct afork_call *call;
    unsigned calls;
};

static void cancel_other(const struct afork_reply *reply, void *data)
{
    struct canceller *canceller = data;

    (void)reply;
    canceller->calls++;
    if (canceller->call)
        test_ok(afork_call_cancel(canceller->call, AFORK_CANCEL_ABANDON));
}

static void unref_at_end(struct afork_rpc *rpc, int error, const char *message,
                         const struct afork_exit *exit, void *data)
{
    (void)error, (void)message, (void)exit;
    ++*(unsigned *)data;
    afork_rpc_unref(rpc);
}

/* A call that is cancelled while all are told of the worker's end. */
static void cancel_while_all_fail(struct test *t)
{
    struct canceller canceller = {0};
    test_reply_auto reply = {0};
    struct afork_rpc_options options = AFORK_RPC_OPTIONS_INIT;
    struct afork_call_options none = AFORK_CALL_OPTIONS_INIT;
    struct iovec strings[] = {{(void *)"exit", 4}, {(void *)"3", 1}};
    unsigned ends = 0;

    options.on_end = unref_at_end;
    options.data = &ends;
    struct afork_rpc *rpc = test_rpc(t, NULL, "act", &options);
    test_ok(afork_rpc_call_strings(rpc, strings, 2, NULL, cancel_other, &canceller, NULL));
    test_ok(test_call_full(rpc, &reply, &none, one, &canceller.call));
    test_wait(t, ends);
    g_assert_cmpint(reply.error, ==, -ECANCELED);
    test_turn_for(t, 20 * MILLISECOND);
}

/* The same in a pool, whose worker may have begun several. */
static void cancel_while_a_pool_loses(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    struct afork_call_options timed = AFORK_CALL_OPTIONS_INIT;
    struct canceller canceller = {0};
    test_reply_auto first = {0}, begun = {0}, other = {0};
    g_autofree char *big = g_malloc0(BIG);
    pid_t pid;

    options.max = 1;
    options.load = 4;
    timed.run_timeout = INT64_C(60000000);
    test_pool_new(t, &pool, test_holding, "f", &options);
    test_ok(test_pool_call(&pool, &first, "good", NULL, &timed, NULL));
    test_wait(t, !pool.open);
    test_ok(test_pool_call(&pool, &begun, "wait", NULL, NULL, NULL));
    test_ok(afork_pool_call(pool.pool, big, BIG, NULL, cancel_other, &canceller, NULL));
    test_ok(test_pool_call(&pool, &other, "good", NULL, NULL, &canceller.call));
    test_wait(t, test_pool_stats(&pool).running == 3);
    test_inside(test_wait(t, worker_rpc(&pool)->writing));
    g_autoptr(GArray) pids = test_pool_pids(&pool);
    pid = g_array_index(pids, pid_t, 0);
    test_ok(kill(pid, SIGUSR1));
    test_wait(t, !pool.open && canceller.calls);
    g_assert_cmpint(begun.error, ==, -ECONNRESET);
    g_assert_cmpint(other.error, ==, -ECANCELED);
    test_pool_finish(&pool);
}

/* A pool that is over as soon as the last of several cancelled calls is told of. */
static void cancelled_calls_are_the_last(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    struct test_reply replies[3] = {0};
    struct afork_call *calls[3];

    options.max = options.load = 1;
    options.queue_max = 2;
    test_pool_new(t, &pool, NULL, "act", &options);
    test_ok(test_pool_call(&pool, &replies[0], "stay", NULL, NULL, &calls[0]));
    test_wait(t, pool.events);
    test_ok(test_pool_call(&pool, &replies[1], "pid", NULL, NULL, &calls[1]));
    test_ok(test_pool_call(&pool, &replies[2], "pid", NULL, NULL, &calls[2]));
    g_assert_cmpint(test_pool_call(&pool, NULL, "pid", NULL, NULL, NULL), ==, -ENOSPC);
    g_autoptr(GArray) pids = test_pool_pids(&pool);
    for (size_t i = 0; i < G_N_ELEMENTS(calls); i++)
        test_ok(afork_call_cancel(calls[i], AFORK_CANCEL_ABANDON));
    test_pool_finish(&pool);
    test_turn_for(t, 20 * MILLISECOND);
    g_assert_cmpint(replies[2].error, ==, -ECANCELED);
    kill(g_array_index(pids, pid_t, 0), SIGKILL);
    for (size_t i = 0; i < G_N_ELEMENTS(replies); i++)
        test_reply_clear(&replies[i]);
}

/* ---- Callbacks that turn the loop ---- */

static unsigned n_released;

static void count_released(void *data)
{
    (void)data;
    n_released++;
}

struct turner {
    struct test *t;
    const unsigned *until;         /* something else that is to happen */
    struct afork_process *process; /* or that is to end */
    unsigned calls;
    int error;
};

static void turn_until(const struct afork_reply *reply, void *data)
{
    struct turner *turner = data;

    turner->error = reply->error;
    if (turner->until)
        test_wait(turner->t, *turner->until);
    if (turner->process) {
        pid_t pid = afork_process_peer_pid(turner->process);
        test_wait(turner->t, !test_is_running(pid));
        test_turn_for(turner->t, 20 * MILLISECOND);
    }
    turner->calls++;
}

/* A worker that has answered all has not failed, whoever looks when. */
static void end_while_turning(struct test *t)
{
    test_end_auto end = {0};
    test_reply_auto reply = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct turner turner = {.t = t};
    struct afork_rpc *rpc;

    turner.process = test_rpc_process(t, NULL);
    test_ok(afork_rpc_new(turner.process, "act", &options, &rpc));
    test_ok(afork_rpc_call(rpc, "\3pid", 4, NULL, turn_until, &turner, NULL));
    test_call(rpc, &reply, "pid", NULL);
    afork_rpc_unref(rpc);
    test_wait(t, end.calls);
    g_assert_cmpuint(turner.calls, ==, 1);
    test_ok(turner.error);
    test_ok(reply.error);
    test_ok(end.error);
    afork_process_unref(turner.process);
}

/* What is completed and half written is needed until its callback has returned. */
static void end_of_writing_while_turning(struct test *t)
{
    static char big[BIG];
    test_end_auto end = {0};
    test_reply_auto reply = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct turner turner = {.t = t};
    struct afork_call_options with_release = AFORK_CALL_OPTIONS_INIT;
    struct afork_rpc *rpc;
    struct afork_call *call;

    with_release.release = count_released;
    n_released = 0;
    turner.process = test_rpc_process(t, NULL);
    test_ok(afork_rpc_new(turner.process, "act", &options, &rpc));
    test_call(rpc, &reply, "stay", NULL);
    test_wait(t, reply.events);
    test_ok(afork_rpc_call(rpc, big, BIG, &with_release, turn_until, &turner, &call));
    test_turn_for(t, 20 * MILLISECOND);
    test_inside(g_assert_nonnull(rpc->writing));
    test_ok(afork_call_cancel(call, AFORK_CANCEL_ABANDON));
    test_ok(afork_process_kill(turner.process, SIGKILL));
    test_wait(t, end.calls && turner.calls);
    g_assert_cmpuint(n_released, ==, 1);
    g_assert_cmpint(turner.error, ==, -ECANCELED);
    afork_rpc_unref(rpc);
    afork_process_unref(turner.process);
}

/* Calls that are due at the same turn. */
static void cancelled_while_turning(struct test *t)
{
    for (int same = 0; same < 2; same++) {
        test_end_auto end = {0}, other_end = {0};
        test_reply_auto reply = {0};
        struct afork_rpc_options options = test_rpc_options(&end);
        struct afork_rpc_options other_options = test_rpc_options(&other_end);
        struct afork_call_options none = AFORK_CALL_OPTIONS_INIT;
        struct turner turner = {.t = t, .until = &reply.calls};
        struct afork_rpc *rpc = test_rpc(t, NULL, "act", &options);
        struct afork_rpc *other = test_rpc(t, NULL, "act", &other_options);
        struct afork_call *first, *second;
        test_ok(afork_rpc_call(rpc, "\3pid", 4, NULL, turn_until, &turner, &first));
        test_ok(test_call_full(same ? rpc : other, &reply, &none, one, &second));
        test_ok(afork_call_cancel(first, AFORK_CANCEL_ABANDON));
        test_ok(afork_call_cancel(second, AFORK_CANCEL_ABANDON));
        test_wait(t, turner.calls);
        g_assert_cmpint(reply.error, ==, -ECANCELED);
        test_finish(t, rpc, &end);
        test_finish(t, other, &other_end);
    }
}

/* What is cancelled is not completed until that was told. */
static void due_calls_are_pending(struct test *t)
{
    test_end_auto end = {0};
    test_reply_auto reply = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_call_options none = AFORK_CALL_OPTIONS_INIT;
    struct afork_rpc *rpc = test_rpc(t, NULL, "act", &options);
    struct afork_call *call;

    test_ok(test_call_full(rpc, &reply, &none, one, &call));
    test_ok(afork_call_cancel(call, AFORK_CANCEL_ABANDON));
    g_assert_cmpuint(afork_rpc_get_pending(rpc), ==, 1);
    test_wait(t, reply.calls);
    g_assert_cmpuint(afork_rpc_get_pending(rpc), ==, 0);
    test_finish(t, rpc, &end);
}

static void turn_at_end(struct afork_rpc *rpc, int error, const char *message,
                        const struct afork_exit *exit, void *data)
{
    struct turner *turner = data;

    (void)rpc, (void)error, (void)message, (void)exit;
    test_wait(turner->t, *turner->until);
    turner->calls++;
}

/* A time that comes in a callback that another time brought. */
static void time_while_turning(struct test *t)
{
    test_end_auto end = {0};
    test_reply_auto reply = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_rpc_options closing = AFORK_RPC_OPTIONS_INIT;
    struct afork_call_options timed = AFORK_CALL_OPTIONS_INIT;
    struct turner turner = {.t = t, .until = &reply.calls};
    struct afork_process *process = test_rpc_process(
        t, "no warnings; *AFork::RPC::Sync::run = sub { close $_[0]; sleep 1000 }");
    struct afork_process *other_process = test_rpc_process(t, NULL);
    struct afork_rpc *rpc, *other;

    closing.on_end = turn_at_end;
    closing.data = &turner;
    test_ok(afork_rpc_new(other_process, "act", &options, &other));
    test_ok(afork_rpc_new(process, "f", &closing, &rpc));
    timed.timeout = 1500 * MILLISECOND;
    test_inside(test_wait(t, rpc->state == AFORK__RPC_CLOSED));
    test_ok(test_call_full(other, &reply, &timed, (const char *[]){"sleep", NULL}, NULL));
    test_wait(t, turner.calls);
    g_assert_cmpint(reply.error, ==, -ETIMEDOUT);
    test_ok(afork_process_kill(process, SIGKILL));
    afork_process_unref(process);
    afork_rpc_unref(rpc);
    test_ok(afork_process_kill(other_process, SIGKILL));
    test_finish(t, other, &end);
    afork_process_unref(other_process);
}

/* ---- Times ---- */

/* What is too far away to be told never comes. */
static void endless_times(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    struct afork_call_options timed = AFORK_CALL_OPTIONS_INIT;
    struct test_reply replies[4] = {0};

    options.max = 2;
    options.load = 1;
    options.start = options.stop = options.retire_age = INT64_MAX;
    timed.timeout = timed.run_timeout = INT64_MAX;
    test_pool_new(t, &pool, NULL, "act", &options);
    for (size_t i = 0; i < G_N_ELEMENTS(replies); i++)
        test_ok(test_pool_call(&pool, &replies[i], "pid", NULL, &timed, NULL));
    test_wait(t, !pool.open);
    for (size_t i = 0; i < G_N_ELEMENTS(replies); i++)
        test_ok(replies[i].error);
    g_assert_cmpuint(test_pool_stats(&pool).started, ==, 1);
    test_turn_for(t, 20 * MILLISECOND);
    test_assert_idle(t, 200 * MILLISECOND);
    g_assert_cmpuint(test_pool_stats(&pool).workers, ==, 1);
    test_pool_finish(&pool);
    for (size_t i = 0; i < G_N_ELEMENTS(replies); i++)
        test_reply_clear(&replies[i]);
}

/* ---- Workers of pools ---- */

/* Descriptors go with a call that is given to another worker. */
static void descriptors_are_tried_again(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    struct afork_call_options call = AFORK_CALL_OPTIONS_INIT;
    test_reply_auto ends = {0}, waits = {0}, again = {0};
    int fds[2];

    options.max = 1;
    options.load = 4;
    options.crash = AFORK_CRASH_RETRY_ONCE;
    test_pool_new(t, &pool,
                  "sub f { my ($what, $fh) = @_; select undef, undef, undef, .1;"
                  "  if ($what eq 'exit' && sysread $fh, my $octet, 1) { exit 3 } fileno $fh }",
                  "f", &options);
    test_ok(pipe2(fds, O_CLOEXEC));
    call.fds = fds;
    call.n_fds = 1;
    g_assert_cmpint(write(fds[1], "x", 1), ==, 1);
    test_ok(test_pool_call(&pool, &ends, "exit", NULL, &call, NULL));
    test_ok(test_pool_call(&pool, &waits, "a", NULL, &call, NULL));
    test_ok(test_pool_call(&pool, &again, "b", NULL, &call, NULL));
    close(fds[0]);
    close(fds[1]);
    test_wait(t, !pool.open);
    test_ok(ends.error);
    test_ok(waits.error);
    test_ok(again.error);
    g_assert_cmpuint(test_pool_stats(&pool).crashed, ==, 1);
    test_pool_finish(&pool);
}

/* A call that has a time limit is alone to blame when that is over. */
static void others_are_not_to_blame(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    struct afork_call_options timed = AFORK_CALL_OPTIONS_INIT;
    test_reply_auto first = {0}, hangs = {0}, second = {0}, third = {0};

    options.max = 1;
    options.load = 4;
    timed.run_timeout = 100 * MILLISECOND;
    test_pool_new(t, &pool, test_holding, "f", &options);
    test_ok(test_pool_call(&pool, &first, "good", NULL, NULL, NULL));
    test_wait(t, !pool.open);
    test_inside(g_assert_true(worker_rpc(&pool)->holding));
    test_ok(test_pool_call(&pool, &hangs, "hang", NULL, &timed, NULL));
    test_ok(test_pool_call(&pool, &second, "good", NULL, NULL, NULL));
    test_ok(test_pool_call(&pool, &third, "good", NULL, NULL, NULL));
    test_wait(t, !pool.open);
    g_assert_cmpint(hangs.error, ==, -ETIMEDOUT);
    test_ok(second.error);
    test_ok(third.error);
    test_pool_finish(&pool);
}

/* To where no descriptor can be sent, none is taken. */
static void no_descriptors_for_others(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    struct afork_call_options call = AFORK_CALL_OPTIONS_INIT;
    test_reply_auto reply = {0};
    int fd = STDIN_FILENO;

    call.fds = &fd;
    call.n_fds = 1;
    test_pool_new(t, &pool, NULL, "act", &options);
    g_assert_cmpint(test_pool_call(&pool, &reply, "pid", NULL, &call, NULL), ==, -ENOTSUP);
    test_pool_finish(&pool);
}

/* After a failure one worker at a time is tried, also where each is for one call. */
static void failures_one_at_a_time(struct test *t)
{
    for (int single = 0; single < 2; single++) {
        struct test_pool pool = {0};
        struct afork_pool_options options = test_pool_options(&pool);
        test_many_auto many;
        t->options.standard_error.mode = AFORK_STDIO_NULL;
        test_many_init(&many, 8);
        options.max = 4;
        options.max_failures = 3;
        options.single_call = single;
        options.load = 1;
        options.start = -1;
        options.rpc.init = "bad";
        test_pool_new(t, &pool, "sub bad { die }", "act", &options);
        for (int i = 0; i < 8; i++)
            test_ok(test_many_call(&pool, &many, "pid", NULL, NULL, NULL));
        test_wait(t, !pool.open);
        g_assert_cmpuint(many.bad[EIO], ==, 8);
        g_assert_cmpuint(test_pool_stats(&pool).started, ==, 4 + 2);
        test_pool_finish(&pool);
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        test_func *func;
    } cases[] = {
        {"/calls/cancel/all-fail", cancel_while_all_fail},
        {"/calls/cancel/pool-loses", cancel_while_a_pool_loses},
        {"/calls/cancel/last", cancelled_calls_are_the_last},
        {"/calls/turning/end", end_while_turning},
        {"/calls/turning/writing", end_of_writing_while_turning},
        {"/calls/turning/cancelled", cancelled_while_turning},
        {"/calls/pending", due_calls_are_pending},
    };

    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
        test_calls_add(cases[i].path, cases[i].func);
    test_perl_add("/calls/turning/time", time_while_turning);
    test_perl_add("/calls/endless-times", endless_times);
    test_perl_add("/calls/descriptors/again", descriptors_are_tried_again);
    test_perl_add("/calls/blame", others_are_not_to_blame);
    test_perl_add("/calls/one-at-a-time", failures_one_at_a_time);
    test_perl_add_peer("afork-perl-as-original", "/calls/descriptors", no_descriptors_for_others);
    return g_test_run();
}
