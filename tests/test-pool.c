/* SPDX-License-Identifier: MIT
 *
 * Pools: calls by their priority, cancelled, late, too many; and what a pool tells. What they
 * have to do with processes is in test-pool-ends.c, when those come and go in test-pool-size.c.
 *
 */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "test-pool-lib.h"

static const char record[] = "our @seen; sub record { push @seen, $_[0]; $_[0] }";

static void calls_are_answered(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    struct test_reply replies[20] = {0};

    test_pool_new(t, &pool, NULL, "echo", &options);
    for (unsigned i = 0; i < G_N_ELEMENTS(replies); i++) {
        g_autofree char *text = g_strdup_printf("%u", i);
        test_ok(test_pool_call(&pool, &replies[i], text, "x", NULL, NULL));
    }
    g_assert_cmpuint(replies[0].calls, ==, 0);
    test_wait(t, !pool.open);
    for (unsigned i = 0; i < G_N_ELEMENTS(replies); i++) {
        g_assert_cmpuint(replies[i].calls, ==, 1);
        g_assert_cmpuint(replies[i].released, ==, 1);
        g_assert_cmpint(atoi(test_reply_string(&replies[i], 0)), ==, (int)i);
        g_assert_cmpstr(test_reply_string(&replies[i], 1), ==, "x");
        test_reply_clear(&replies[i]);
    }
    struct afork_pool_stats stats = test_pool_stats(&pool);
    g_assert_cmpuint(stats.completed, ==, 20);
    g_assert_cmpuint(stats.failed, ==, 0);
    g_assert_cmpuint(stats.queued + stats.running + stats.busy, ==, 0);
    g_assert_cmpuint(stats.workers, >=, 1);
    test_pool_finish(&pool);
    g_assert_cmpuint(pool.starts, <=, pool.exits); /* one may have been told to end before */
    g_assert_cmpint(pool.last_cause, ==, AFORK_CAUSE_EXITED);
}

static void exceptions_are_answers(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    test_reply_auto a = {0};
    test_reply_auto b = {0};

    options.max = 1;
    test_pool_new(t, &pool, NULL, "act", &options);
    test_ok(test_pool_call(&pool, &a, "die", "no luck\n", NULL, NULL));
    test_ok(test_pool_call(&pool, &b, "event", "news", NULL, NULL));
    test_wait(t, !pool.open);
    g_assert_cmpint(a.error, ==, -EREMOTEIO);
    g_assert_cmpstr(a.message, ==, "no luck" TEST_EOL);
    g_assert_cmpint(b.error, ==, 0);
    g_assert_cmpuint(pool.events, ==, 1);
    g_assert_cmpuint(test_pool_stats(&pool).completed, ==, 2);
    g_assert_cmpuint(pool.starts, ==, 1);
    test_pool_finish(&pool);
}

/* Many wait, most of them are cancelled, and what is urgent comes next. */
static void urgent_calls_come_next(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    struct afork_call_options urgent = AFORK_CALL_OPTIONS_INIT;
    g_autofree struct afork_call **calls = g_new(struct afork_call *, 5000);
    test_many_auto many;
    test_many_auto first;
    test_reply_auto begun = {0};

    options.max = 1;
    options.load = 1;
    urgent.priority = 5;
    test_many_init(&many, 5000);
    test_many_init(&first, 20);
    test_pool_new(t, &pool, record, "nap", &options);
    test_ok(test_pool_call(&pool, &begun, "0.3", NULL, NULL, NULL));
    test_wait(t, test_pool_stats(&pool).running);
    for (unsigned i = 0; i < 5000; i++)
        test_ok(test_many_call(&pool, &many, "0", NULL, NULL, &calls[i]));
    gint64 start = test_own_time();
    for (unsigned i = 5000; i-- > 20;)
        test_ok(afork_call_cancel(calls[i], AFORK_CANCEL_QUEUED));
    for (unsigned i = 0; i < 20; i++)
        test_ok(test_many_call(&pool, &first, "0", NULL, &urgent, NULL));
    g_assert_cmpint(test_own_time() - start, <, 100 * 1000);
    g_assert_cmpint(afork_call_cancel(calls[100], AFORK_CANCEL_QUEUED), ==, -EALREADY);
    g_assert_cmpuint(many.done, ==, 0);
    test_soon(t, test_pool_stats(&pool).queued <= 40);
    test_wait(t, first.done == 20);
    g_assert_cmpuint(many.good, <=, 2); /* that the worker was given meanwhile */
    test_wait(t, !pool.open);
    g_assert_cmpuint(many.good, ==, 20);
    g_assert_cmpuint(many.bad[ECANCELED], ==, 4980);
    g_assert_false(many.twice || first.twice);
    g_assert_cmpuint(test_pool_stats(&pool).cancelled, ==, 4980);
    test_pool_finish(&pool);
}

/* The highest first, then the oldest, and what was moved behind those of its new priority. */
static void priorities_order(struct test *t)
{
    static const struct {
        char tag;
        int priority, moved;
    } order[] = {{'d', 0, 0},  {'e', 0, 0},  {'a', 31, 31}, {'g', -32, -32},
                 {'b', 30, 3}, {'c', -1, 3}, {'f', 5, 0},   {'h', 31, -32}};
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    g_autoptr(GString) told = g_string_new(NULL);
    struct test_reply replies[G_N_ELEMENTS(order) + 1] = {0};
    struct afork_call *calls[G_N_ELEMENTS(order)];

    options.max = options.load = 1;
    test_pool_new(t, &pool, record, "nap", &options);
    test_ok(test_pool_call(&pool, &replies[G_N_ELEMENTS(order)], "0", NULL, NULL, NULL));
    test_wait(t, !pool.open);
    test_reply_clear(&replies[G_N_ELEMENTS(order)]);
    for (unsigned i = 0; i < G_N_ELEMENTS(order); i++) {
        struct afork_call_options with = AFORK_CALL_OPTIONS_INIT;
        with.priority = order[i].priority;
        replies[i].order = told;
        replies[i].tag = order[i].tag;
        if (!i) /* the worker is busy from here on */
            test_ok(test_pool_call(&pool, &replies[G_N_ELEMENTS(order)], "0.05", NULL, NULL, NULL));
        test_ok(test_pool_call(&pool, &replies[i], "0", NULL, &with, &calls[i]));
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(order); i++)
        if (order[i].moved != order[i].priority)
            test_ok(afork_call_set_priority(calls[i], order[i].moved));
    test_wait(t, !pool.open);
    g_assert_cmpstr(told->str, ==, "abcdefgh");
    for (unsigned i = 0; i < G_N_ELEMENTS(replies); i++)
        test_reply_clear(&replies[i]);
    test_pool_finish(&pool);
}

static void late_cancellation_is_refused(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    test_reply_auto begun = {0};
    test_reply_auto waiting = {0};
    struct afork_call *call, *queued;

    options.max = options.load = 1;
    test_pool_new(t, &pool, NULL, "act", &options);
    test_ok(test_pool_call(&pool, &begun, "sleep", NULL, NULL, &call));
    test_ok(test_pool_call(&pool, &waiting, "pid", NULL, NULL, &queued));
    g_assert_cmpint(afork_call_set_priority(queued, 32), ==, -ERANGE);
    g_assert_cmpint(afork_call_set_priority(queued, -33), ==, -ERANGE);
    test_wait(t, test_pool_stats(&pool).running == 1);
    g_assert_cmpint(afork_call_cancel(call, AFORK_CANCEL_QUEUED), ==, -EBUSY);
    g_assert_cmpint(afork_call_set_priority(call, 1), ==, -EBUSY);
    test_turn_for(t, 20000); /* until it is sent */
    test_ok(afork_call_cancel(call, AFORK_CANCEL_KILL));
    g_assert_cmpint(afork_call_cancel(call, AFORK_CANCEL_QUEUED), ==, -EALREADY);
    test_wait(t, !pool.open);
    g_assert_cmpint(begun.error, ==, -ECANCELED);
    test_ok(waiting.error);
    test_pool_finish(&pool);
}

/* What a worker has: asked for, not asked for. */
static void cancelling_a_begun_call(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    test_reply_auto a = {0};
    test_reply_auto b = {0};
    test_reply_auto c = {0};
    struct afork_call *call, *second;

    options.max = 1;
    options.load = 2;
    test_pool_new(t, &pool, record, "nap", &options);
    test_ok(test_pool_call(&pool, &a, "1000", NULL, NULL, &call));
    test_wait(t, test_pool_stats(&pool).running == 1);
    test_ok(test_pool_call(&pool, &b, "0", NULL, NULL, &second));
    test_wait(t, test_pool_stats(&pool).running == 2);
    g_autoptr(GArray) pids = test_pool_pids(&pool);
    test_turn_for(t, 20000); /* until both are sent */
    test_ok(afork_call_cancel(call, AFORK_CANCEL_KILL));
    g_assert_cmpint(afork_call_cancel(call, AFORK_CANCEL_KILL), ==, -EALREADY);
    g_assert_cmpuint(a.calls, ==, 0);
    test_wait(t, a.calls);
    g_assert_cmpint(a.error, ==, -ECANCELED);
    test_wait(t, b.calls); /* by another worker */
    g_assert_cmpint(b.error, ==, 0);
    g_assert_cmpint(atoi(test_reply_string(&b, 0)), !=, g_array_index(pids, pid_t, 0));
    g_assert_cmpuint(test_pool_stats(&pool).crashed, ==, 0);
    g_assert_cmpuint(test_pool_stats(&pool).started, ==, 2);

    test_ok(test_pool_call(&pool, &c, "0.1", NULL, NULL, &call));
    test_reply_clear(&b);
    test_ok(test_pool_call(&pool, &b, "0", NULL, NULL, NULL));
    test_turn_for(t, 20000);
    test_ok(afork_call_cancel(call, AFORK_CANCEL_ABANDON));
    test_wait(t, c.calls);
    g_assert_cmpint(c.error, ==, -ECANCELED);
    test_wait(t, b.calls); /* by the same, after that */
    g_assert_cmpint(b.error, ==, 0);
    g_assert_cmpuint(test_pool_stats(&pool).started, ==, 2);
    g_assert_cmpuint(test_pool_stats(&pool).cancelled, ==, 2);
    g_assert_cmpuint(test_pool_stats(&pool).busy, ==, 0);
    test_pool_finish(&pool);
}

static void late_calls_fail(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    struct afork_call_options late = AFORK_CALL_OPTIONS_INIT, run = AFORK_CALL_OPTIONS_INIT;
    test_reply_auto begun = {0};
    test_reply_auto waiting = {0};
    test_reply_auto stuck = {0};
    test_reply_auto next = {0};

    options.max = options.load = 1;
    late.timeout = 50 * 1000;
    run.run_timeout = 100 * 1000;
    test_pool_new(t, &pool, record, "nap", &options);
    test_ok(test_pool_call(&pool, &begun, "0.3", NULL, NULL, NULL));
    test_ok(test_pool_call(&pool, &waiting, "0", NULL, &late, NULL));
    /* Its time begins when the worker has nothing to answer before. */
    test_ok(test_pool_call(&pool, &stuck, "1000", NULL, &run, NULL));
    test_ok(test_pool_call(&pool, &next, "0", NULL, &run, NULL));
    test_wait(t, waiting.calls);
    g_assert_cmpint(waiting.error, ==, -ETIMEDOUT);
    g_assert_cmpuint(begun.calls, ==, 0);
    test_wait(t, begun.calls);
    g_assert_cmpint(begun.error, ==, 0);
    g_assert_cmpuint(stuck.calls, ==, 0);
    test_wait(t, stuck.calls);
    g_assert_cmpint(stuck.error, ==, -ETIMEDOUT);
    test_wait(t, next.calls);
    g_assert_cmpint(next.error, ==, 0);
    g_assert_cmpuint(test_pool_stats(&pool).timed_out, ==, 2);
    g_assert_cmpuint(test_pool_stats(&pool).started, ==, 2);
    test_pool_finish(&pool);
}

/* A call that its owner gave up keeps the time it was given. */
static void abandoned_calls_have_their_time(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    struct afork_call_options run = AFORK_CALL_OPTIONS_INIT;
    test_reply_auto stuck = {0};
    test_reply_auto next = {0};
    struct afork_call *call;

    options.max = options.load = 1;
    run.run_timeout = 200 * 1000;
    test_pool_new(t, &pool, record, "nap", &options);
    test_ok(test_pool_call(&pool, &stuck, "1000", NULL, &run, &call));
    test_wait(t, test_pool_stats(&pool).running);
    test_turn_for(t, 20000);
    test_ok(afork_call_cancel(call, AFORK_CANCEL_ABANDON));
    test_ok(test_pool_call(&pool, &next, "0", NULL, &run, NULL));
    test_wait(t, next.calls);
    g_assert_cmpint(next.error, ==, 0);
    test_pool_finish(&pool);
}

static void full_queue(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    test_many_auto many;

    options.max = options.load = 1;
    options.queue_max = 10;
    test_many_init(&many, 100);
    test_pool_new(t, &pool, record, "nap", &options);
    test_ok(test_many_call(&pool, &many, "0.1", NULL, NULL, NULL));
    test_wait(t, test_pool_stats(&pool).running);
    for (unsigned i = 0; i < 10; i++)
        test_ok(test_many_call(&pool, &many, "0", NULL, NULL, NULL));
    g_assert_cmpint(test_many_call(&pool, &many, "0", NULL, NULL, NULL), ==, -ENOSPC);
    g_assert_cmpint(test_many_call(&pool, &many, "0", NULL, NULL, NULL), ==, -ENOSPC);
    g_assert_cmpuint(pool.drains, ==, 0);
    test_wait(t, pool.drains);
    g_assert_cmpuint(test_pool_stats(&pool).queued, <=, 5);
    test_wait(t, !pool.open);
    g_assert_cmpuint(many.good, ==, 11);
    g_assert_cmpuint(pool.drains, ==, 1);
    test_pool_finish(&pool);
    g_assert_cmpuint(pool.drains, ==, 1);
}

/* Options that contradict each other. */
static void contradictions(struct test *t)
{
    t->options.standard_error.mode = AFORK_STDIO_NULL; /* AnyEvent may be missing */
    struct afork_process *process = test_rpc_process(t, NULL);
    struct test_pool pool = {.t = t};
    struct afork_pool_options options = test_pool_options(&pool);
    struct afork_call_options call = AFORK_CALL_OPTIONS_INIT;
    struct afork_pool *made;
    test_reply_auto reply = {0};

    options.idle = options.max + 1;
    g_assert_cmpint(afork_pool_new(process, "echo", &options, &made), ==, -EINVAL);
    options.idle = 0;
    options.rpc.async = true;
    test_ok(afork_pool_new(process, "echo", &options, &pool.pool));
    afork_process_unref(process);
    call.run_timeout = 1;
    g_assert_cmpint(test_pool_call(&pool, &reply, "x", NULL, &call, NULL), ==, -EINVAL);
    g_assert_cmpint(afork_pool_set_size(pool.pool, 2, 3, 1), ==, -EINVAL);
    test_pool_finish(&pool);
}

static void misuse(struct test *t)
{
    struct afork_process *process = test_rpc_process(t, NULL);
    struct test_pool pool = {0};
    struct afork_pool_options good = test_pool_options(&pool), bad;
    struct afork_call_options call = AFORK_CALL_OPTIONS_INIT;
    struct afork_pool *made;
    test_reply_auto reply = {0};

    g_assert_cmpint(afork_pool_new(NULL, "echo", &good, &made), ==, -EINVAL);
    g_assert_cmpint(afork_pool_new(process, NULL, &good, &made), ==, -EINVAL);
    g_assert_cmpint(afork_pool_new(process, "", &good, &made), ==, -EINVAL);
    g_assert_cmpint(afork_pool_new(process, "echo", &good, NULL), ==, -EINVAL);
#define refused(...)                                                                               \
    bad = good;                                                                                    \
    __VA_ARGS__;                                                                                   \
    g_assert_cmpint(afork_pool_new(process, "echo", &bad, &made), ==, -EINVAL)
    refused(bad.size = 0);
    refused(bad.rpc.size = 0);
    refused(bad.rpc.data = &bad);
    refused(bad.load = 65537);
    refused(bad.max = (unsigned)INT_MAX + 1);
    refused(bad.max = UINT_MAX);
    refused(bad.max = 2; bad.idle = 3);
    refused(bad.retire_age = -1);
    refused(bad.crash = 7);
    refused(bad.limits = &(struct afork_limits){0});
#undef refused
    test_ok(afork_pool_new(process, "echo", &good, &pool.pool));
    afork_process_unref(process);
    g_assert_cmpint(afork_pool_set_size(pool.pool, UINT_MAX, 0, 1), ==, -EINVAL);
    g_assert_cmpint(afork_pool_set_size(pool.pool, 1, 2, 1), ==, -EINVAL);
    g_assert_cmpint(afork_pool_set_size(pool.pool, 1, 1, 65537), ==, -EINVAL);
    test_ok(afork_pool_set_size(pool.pool, INT_MAX, 0, 65536));
    call.priority = 32;
    g_assert_cmpint(test_pool_call(&pool, &reply, "x", NULL, &call, NULL), ==, -EINVAL);
    g_assert_cmpint(afork_pool_call(NULL, "x", 1, NULL, test_on_reply, &reply, NULL), ==, -EINVAL);
    g_assert_cmpint(afork_pool_call(pool.pool, NULL, 1, NULL, test_on_reply, &reply, NULL), ==,
                    -EINVAL);
    g_assert_cmpint(afork_pool_call(pool.pool, "x", 1, NULL, NULL, NULL, NULL), ==, -EINVAL);
    g_assert_cmpint(afork_pool_get_stats(pool.pool, NULL), ==, -EINVAL);
    g_assert_cmpint(afork_pool_retire(NULL), ==, -EINVAL);
    afork_pool_unref(NULL);
    afork_pool_close(NULL);
    afork_pool_cancel(NULL);
    pool.t = t;
    test_pool_finish(&pool);
}

/* It ends by afork_pool_finish() as by the last reference, and spares serve it. */
static void finished_pool_ends(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    struct test_reply replies[5] = {0};
    test_reply_auto late = {0};

    options.single_call = true;
    options.spares = 2;
    options.max = 2;
    test_pool_new(t, &pool, NULL, "act", &options);
    for (unsigned i = 0; i < G_N_ELEMENTS(replies); i++)
        test_ok(test_pool_call(&pool, &replies[i], "pid", NULL, NULL, NULL));
    afork_pool_finish(pool.pool);
    g_assert_cmpint(test_pool_call(&pool, &late, "pid", NULL, NULL, NULL), ==, -EPIPE);
    test_wait(t, !pool.open);
    for (unsigned i = 0; i < G_N_ELEMENTS(replies); i++) {
        for (unsigned j = 0; j < i; j++) {
            g_autofree char *other = g_strdup(test_reply_string(&replies[j], 0));
            g_assert_cmpstr(test_reply_string(&replies[i], 0), !=, other);
        }
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(replies); i++)
        test_reply_clear(&replies[i]);
    test_pool_finish(&pool);
}

/* A call that is too late is blamed itself, however short those before it were. */
static void short_calls_are_not_blamed(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    struct afork_call_options call = AFORK_CALL_OPTIONS_INIT;
    struct test_reply replies[60] = {0};
    test_reply_auto stuck = {0};

    options.max = 1;
    options.load = 64;
    call.run_timeout = 200 * 1000;
    test_pool_new(t, &pool, NULL, "act", &options);
    for (unsigned i = 0; i < G_N_ELEMENTS(replies); i++)
        test_ok(test_pool_call(&pool, &replies[i], "nothing", NULL, NULL, NULL));
    test_ok(test_pool_call(&pool, &stuck, "sleep", NULL, &call, NULL));
    test_wait(t, !pool.open);
    g_assert_cmpint(stuck.error, ==, -ETIMEDOUT);
    for (unsigned i = 0; i < G_N_ELEMENTS(replies); i++) {
        test_ok(replies[i].error);
        test_reply_clear(&replies[i]);
    }
    test_pool_finish(&pool);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_calls_add("/pool/answers", calls_are_answered);
    test_calls_add("/pool/exceptions", exceptions_are_answers);
    test_calls_add("/pool/urgent", urgent_calls_come_next);
    test_calls_add("/pool/priorities", priorities_order);
    test_calls_add("/pool/cancel-begun", cancelling_a_begun_call);
    test_calls_add("/pool/cancel-refused", late_cancellation_is_refused);
    test_calls_add("/pool/late", late_calls_fail);
    test_calls_add("/pool/abandoned", abandoned_calls_have_their_time);
    test_calls_add("/pool/blame", short_calls_are_not_blamed);
    test_calls_add("/pool/finish", finished_pool_ends);
    test_calls_add("/pool/full", full_queue);
    test_calls_add("/pool/contradictions", contradictions);
    test_calls_add("/pool/misuse", misuse);
    return g_test_run();
}
