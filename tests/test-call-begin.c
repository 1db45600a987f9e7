/* SPDX-License-Identifier: MIT
 *
 * Calls of which it is told that a worker has begun with them, and calls that are cancelled only if
 * none has.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "test-pool-lib.h"

enum { BIG = 4 * 1024 * 1024 };

/* The reply comes first: what is noted of calls takes its place. */
struct begun {
    struct test_reply reply;
    unsigned begins, at_reply;
    GString *order; /* NULL, or gets `tag`, in upper case when it begins */
    char tag;
    void (*action)(struct begun *call); /* of the notice */
    struct test *t;
    struct afork_call *call;
    struct afork_pool *pool;
    struct afork_rpc *rpc;
};

static void begun_clear(struct begun *call)
{
    test_reply_clear(&call->reply);
}

#define begun_auto __attribute__((cleanup(begun_clear))) struct begun

static void on_begin(void *data)
{
    struct begun *call = data;

    g_assert_cmpuint(call->reply.calls, ==, 0);
    call->begins++;
    if (call->order)
        g_string_append_c(call->order, g_ascii_toupper(call->tag));
    if (call->action)
        call->action(call);
}

static void on_reply(const struct afork_reply *reply, void *data)
{
    struct begun *call = data;

    call->at_reply = call->begins;
    if (call->order)
        g_string_append_c(call->order, call->tag);
    test_on_reply(reply, &call->reply);
}

static void on_event(const struct afork_event *event, void *data)
{
    struct begun *call = data;

    g_assert_cmpuint(call->begins, >, 0);
    test_on_reply_event(event, &call->reply);
}

static struct afork_call_options options_of_call(void)
{
    struct afork_call_options options = AFORK_CALL_OPTIONS_INIT;

    options.on_begin = on_begin;
    options.on_event = on_event;
    return options;
}

static void call_rpc(struct afork_rpc *rpc, struct begun *call, const char *what, const char *how)
{
    struct afork_call_options options = options_of_call();
    struct iovec strings[] = {{(char *)what, strlen(what)}, {(char *)how, how ? strlen(how) : 0}};

    test_ok(
        afork_rpc_call_strings(rpc, strings, how ? 2 : 1, &options, on_reply, call, &call->call));
}

static void call_pool(struct test_pool *pool, struct begun *call, const char *what, const char *how)
{
    struct afork_call_options options = options_of_call();
    struct iovec strings[] = {{(char *)what, strlen(what)}, {(char *)how, how ? strlen(how) : 0}};

    call->pool = pool->pool;
    test_ok(afork_pool_call_strings(pool->pool, strings, how ? 2 : 1, &options, on_reply, call,
                                    &call->call));
}

/* ---- When it is told ---- */

/* Each after what was before it, and before its own events and answer. */
static void in_order(struct test *t)
{
    test_end_auto end = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_rpc *rpc = test_rpc(t, NULL, "act", &options);
    g_autoptr(GString) order = g_string_new(NULL);
    struct begun calls[4] = {0};

    for (size_t i = 0; i < G_N_ELEMENTS(calls); i++) {
        calls[i].order = order;
        calls[i].tag = (char)('a' + i);
        call_rpc(rpc, &calls[i], i % 2 ? "event" : "pid", "x");
        g_assert_cmpuint(calls[i].begins, ==, 0); /* never inside the call */
    }
    test_wait(t, calls[3].reply.calls);
    g_assert_cmpstr(order->str, ==, "AaBbCcDd");
    for (size_t i = 0; i < G_N_ELEMENTS(calls); i++) {
        g_assert_cmpuint(calls[i].begins, ==, 1);
        g_assert_cmpuint(calls[i].reply.events, ==, i % 2);
        begun_clear(&calls[i]);
    }
    test_finish(t, rpc, &end);
}

/* While it takes, and while what came before is told of, however short that was. */
static void while_it_takes(struct test *t)
{
    test_end_auto end = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_rpc *rpc = test_rpc(t, NULL, "act", &options);
    struct test_reply others[40] = {0};
    begun_auto first = {0}, long_one = {0}, behind = {0};

    call_rpc(rpc, &first, "pid", NULL);
    test_wait(t, first.reply.calls);
    for (size_t i = 0; i < G_N_ELEMENTS(others); i++)
        test_call(rpc, &others[i], "pid", NULL);
    call_rpc(rpc, &long_one, "sleep", NULL);
    call_rpc(rpc, &behind, "pid", NULL);
    test_wait(t, long_one.begins);
    for (size_t i = 0; i < G_N_ELEMENTS(others); i++) {
        g_assert_cmpuint(others[i].calls, ==, 1);
        test_reply_clear(&others[i]);
    }
    test_turn_for(t, 5000);
    g_assert_cmpuint(behind.begins, ==, 0);
    test_ok(kill((pid_t)atoi(test_reply_string(&first.reply, 0)), SIGKILL));
    test_wait(t, end.calls && behind.reply.calls);
    g_assert_cmpuint(behind.begins, ==, 0);
    g_assert_cmpint(long_one.reply.error, ==, -ECONNRESET);
    afork_rpc_unref(rpc);
}

/* A call that waits for one that was given up. */
static void behind_an_abandoned_one(struct test *t)
{
    test_end_auto end = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_rpc *rpc = test_rpc(t, NULL, "nap", &options);
    begun_auto given_up = {0}, next = {0};

    call_rpc(rpc, &given_up, "0.02", NULL);
    test_wait(t, given_up.begins);
    call_rpc(rpc, &next, "0", NULL);
    test_ok(afork_call_cancel(given_up.call, AFORK_CANCEL_ABANDON));
    test_wait(t, given_up.reply.calls);
    g_assert_cmpuint(next.begins, ==, 0);
    test_wait(t, next.reply.calls);
    g_assert_cmpuint(next.at_reply, ==, 1);
    test_finish(t, rpc, &end);
}

/* Not before all of it was written; an asynchronous worker has others by then. */
static void big_one(struct test *t, bool async)
{
    test_end_auto end = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    begun_auto first = {0}, second = {0}, big = {0};
    g_autofree char *text = g_strnfill(BIG, 'x');

    options.async = async;
    struct afork_rpc *rpc = test_rpc(t, async ? "sub g { $_[0]->($_[1] eq 'pid' ? $$ : 0) }" : NULL,
                                     async ? "g" : "act", &options);
    call_rpc(rpc, &first, "pid", NULL);
    test_wait(t, first.reply.calls);
    pid_t pid = (pid_t)atoi(test_reply_string(&first.reply, 0));
    test_ok(kill(pid, SIGSTOP));
    call_rpc(rpc, &second, "x", NULL);
    call_rpc(rpc, &big, text, NULL);
    test_wait(t, second.begins); /* as far as is known */
    test_turn_for(t, 20000);
    g_assert_cmpuint(big.begins, ==, 0);
    test_ok(kill(pid, SIGCONT));
    test_wait(t, big.reply.calls);
    test_ok(big.reply.error);
    g_assert_cmpuint(big.at_reply, ==, 1);
    test_finish(t, rpc, &end);
}

static void when_all_is_written(struct test *t)
{
    big_one(t, false);
}

static void when_all_is_written_asynchronous(struct test *t)
{
    if (test_pool_has_any_event(t, "sub g { $_[0]->() }"))
        big_one(t, true);
}

/* Who does not ask is not told; the others all the same. */
static void some_ask(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    struct begun calls[100] = {0};
    unsigned replies = 0;
    test_many_auto many;

    test_many_init(&many, 100);
    options.max = 3;
    options.load = 4;
    test_pool_new(t, &pool, NULL, "act", &options);
    for (size_t i = 0; i < G_N_ELEMENTS(calls); i++) {
        call_pool(&pool, &calls[i], i % 3 ? "pid" : "event", "x");
        test_ok(test_many_call(&pool, &many, "pid", NULL, NULL, NULL));
    }
    test_wait(t, !pool.open);
    for (size_t i = 0; i < G_N_ELEMENTS(calls); i++) {
        test_wait(t, calls[i].reply.calls);
        g_assert_cmpuint(calls[i].at_reply, ==, 1);
        replies += calls[i].reply.calls;
        begun_clear(&calls[i]);
    }
    g_assert_cmpuint(replies, ==, 100);
    g_assert_cmpuint(many.good, ==, 100);
    test_pool_finish(&pool);
}

/* ---- More than one worker ---- */

/* A call that was begun twice is told of twice, one behind it once. */
static void another_worker(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    begun_auto bad = {0}, behind = {0};

    options.max = 1;
    options.load = 2;
    options.crash = AFORK_CRASH_RETRY_ONCE;
    test_pool_new(t, &pool, NULL, "act", &options);
    call_pool(&pool, &bad, "exit", "3");
    call_pool(&pool, &behind, "pid", NULL);
    test_wait(t, bad.reply.calls && behind.reply.calls);
    g_assert_cmpint(bad.reply.error, ==, -ECONNRESET);
    g_assert_cmpuint(bad.begins, <=, 2);
    test_ok(behind.reply.error);
    g_assert_cmpuint(behind.begins, ==, 1);
    g_assert_cmpuint(test_pool_stats(&pool).retried, ==, 1);

    begun_auto stays = {0};
    call_pool(&pool, &stays, "stay", NULL);
    test_wait(t, stays.reply.events);
    g_autoptr(GArray) pids = test_pool_pids(&pool);
    test_ok(kill(g_array_index(pids, pid_t, 0), SIGKILL));
    test_wait(t, stays.reply.events == 2);
    g_assert_cmpuint(stays.begins, ==, 2);
    test_ok(afork_call_cancel(stays.call, AFORK_CANCEL_KILL));
    test_wait(t, stays.reply.calls);
    test_pool_finish(&pool);
}

/* Each has a process of its own. */
static void single_calls(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    struct begun calls[6] = {0};

    options.max = 2;
    options.single_call = true;
    test_pool_new(t, &pool, NULL, "nap", &options);
    for (size_t i = 0; i < G_N_ELEMENTS(calls); i++)
        call_pool(&pool, &calls[i], "0.005", NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(calls); i++) {
        test_wait(t, calls[i].reply.calls);
        test_ok(calls[i].reply.error);
        g_assert_cmpuint(calls[i].at_reply, ==, 1);
        begun_clear(&calls[i]);
    }
    test_pool_finish(&pool);
}

/* Those that an asynchronous worker has, all of them. */
static void asynchronous(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    struct begun calls[20] = {0};

    static const char code[] = "my @all; sub g { push @all, $_[0]; return if @all < 20;"
                               " $_->() for splice @all }";
    if (!test_pool_has_any_event(t, "sub g { $_[0]->() }"))
        return;
    options.max = 1;
    options.load = 20;
    options.rpc.async = true;
    test_pool_new(t, &pool, code, "g", &options);
    for (size_t i = 0; i < G_N_ELEMENTS(calls) - 1; i++)
        call_pool(&pool, &calls[i], "x", NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(calls) - 1; i++)
        test_wait(t, calls[i].begins == 1);
    call_pool(&pool, &calls[G_N_ELEMENTS(calls) - 1], "x", NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(calls); i++) {
        test_wait(t, calls[i].reply.calls);
        test_ok(calls[i].reply.error);
        g_assert_cmpuint(calls[i].begins, ==, 1);
        begun_clear(&calls[i]);
    }
    test_pool_finish(&pool);
}

/* ---- What the notice does ---- */

static void cancel_it(struct begun *call)
{
    test_ok(afork_call_cancel(call->call, AFORK_CANCEL_ABANDON));
}

static void kill_it(struct begun *call)
{
    test_ok(afork_call_cancel(call->call, AFORK_CANCEL_KILL));
}

static void cancel_pool(struct begun *call)
{
    afork_pool_cancel(call->pool);
}

static void turn(struct begun *call)
{
    test_turn_for(call->t, 20000);
    g_assert_cmpuint(call->reply.calls, ==, 0); /* its answer waits */
}

static void anything_may_be_done(struct test *t)
{
    static void (*const actions[])(struct begun * call) = {cancel_it, kill_it, cancel_pool, turn};

    for (size_t i = 0; i < G_N_ELEMENTS(actions); i++) {
        struct test_pool pool = {0};
        struct afork_pool_options options = test_pool_options(&pool);
        begun_auto first = {0}, second = {0};
        options.max = 1;
        test_pool_new(t, &pool, NULL, "act", &options);
        first.action = actions[i];
        first.t = t;
        call_pool(&pool, &first, actions[i] == turn ? "event" : "sleep", "x");
        call_pool(&pool, &second, "pid", NULL);
        if (actions[i] == cancel_it) { /* the worker sleeps on */
            test_wait(t, first.reply.calls);
            g_assert_cmpint(first.reply.error, ==, -ECANCELED);
            g_autoptr(GArray) pids = test_pool_pids(&pool);
            test_ok(kill(g_array_index(pids, pid_t, 0), SIGKILL));
        }
        test_wait(t, first.reply.calls && second.reply.calls);
        g_assert_cmpint(first.reply.error, ==, actions[i] == turn ? 0 : -ECANCELED);
        g_assert_cmpint(second.reply.error, ==, actions[i] == cancel_pool ? -ECANCELED : 0);
        g_assert_cmpuint(first.begins, ==, 1);
        g_assert_cmpuint(second.begins, ==, actions[i] == cancel_pool ? 0 : 1);
        test_pool_finish(&pool);
    }
}

static void close_rpc(struct begun *call)
{
    afork_rpc_close(call->rpc);
}

static void close_context(struct begun *call)
{
    afork_context_close(g_steal_pointer(&call->t->context));
}

/* Nothing comes after that. */
static void closed_by_the_notice(struct test *t)
{
    static void (*const actions[])(struct begun * call) = {close_rpc, close_context};

    for (size_t i = 0; i < G_N_ELEMENTS(actions); i++) {
        test_end_auto end = {0};
        begun_auto first = {0}, second = {0};
        struct afork_rpc_options options = test_rpc_options(&end);
        struct afork_rpc *rpc = test_rpc(t, NULL, "act", &options);
        first.action = actions[i];
        first.rpc = rpc;
        first.t = t;
        call_rpc(rpc, &first, "event", "x");
        call_rpc(rpc, &second, "pid", NULL);
        test_wait(t, first.begins);
        test_turn_for(t, 20000);
        g_assert_cmpuint(first.reply.calls + first.reply.events, ==, 0);
        g_assert_cmpuint(second.reply.calls + second.begins, ==, 0);
        afork_rpc_unref(rpc);
    }
}

/* ---- Cancelled only if it was not begun ---- */

static void queued_ones_are_cancelled(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    begun_auto begun = {0}, waiting = {0};

    options.max = options.load = 1;
    test_pool_new(t, &pool, NULL, "nap", &options);
    call_pool(&pool, &begun, "0.05", NULL);
    call_pool(&pool, &waiting, "0", NULL);
    test_wait(t, begun.begins);
    (void)!afork_call_cancel(begun.call, AFORK_CANCEL_QUEUED); /* -EBUSY, where that is told */
    test_ok(afork_call_cancel(waiting.call, AFORK_CANCEL_QUEUED));
    test_wait(t, waiting.reply.calls);
    g_assert_cmpint(waiting.reply.error, ==, -ECANCELED);
    g_assert_cmpuint(waiting.begins, ==, 0);
    g_assert_cmpuint(begun.reply.calls, ==, 0);
    test_wait(t, begun.reply.calls);
    test_ok(begun.reply.error);
    g_assert_cmpuint(test_pool_stats(&pool).cancelled, ==, 1);
    g_assert_cmpuint(test_pool_stats(&pool).completed, ==, 1);
    test_pool_finish(&pool);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        test_func *func;
    } cases[] = {
        {"/calls/begin/order", in_order},
        {"/calls/begin/takes", while_it_takes},
        {"/calls/begin/abandoned", behind_an_abandoned_one},
        {"/calls/begin/written", when_all_is_written},
        {"/calls/begin/written-async", when_all_is_written_asynchronous},
        {"/calls/begin/some", some_ask},
        {"/calls/begin/again", another_worker},
        {"/calls/begin/single", single_calls},
        {"/calls/begin/async", asynchronous},
        {"/calls/begin/anything", anything_may_be_done},
        {"/calls/begin/closed", closed_by_the_notice},
        {"/calls/begin/queued", queued_ones_are_cancelled},
    };

    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
        test_calls_add(cases[i].path, cases[i].func);
    return g_test_run();
}
