/* SPDX-License-Identifier: MIT
 *
 * Pools of perls of any kind, with each kind of back end; and what keeps a program running.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "test-pool-lib.h"

static const char code[] = "sub f { my $what = shift; exit 3 if $what eq 'exit'; $what }"
                           "sub g { my ($done, $what) = @_; exit 3 if $what eq 'exit';"
                           "  our @kept; $what eq 'never' ? push @kept, $done : $done->($what) }";

static void works(struct test *t, struct afork_pool_options *options, struct test_pool *pool,
                  const char *function)
{
    test_many_auto many;
    test_reply_auto gone = {0};
    test_reply_auto last = {0};

    test_many_init(&many, 50);
    options->max = 2;
    options->load = 3;
    test_pool_new(t, pool, code, function, options);
    for (unsigned i = 0; i < 50; i++)
        test_ok(test_many_call(pool, &many, "x", NULL, NULL, NULL));
    test_wait(t, !pool->open);
    g_assert_cmpuint(many.good, ==, 50);
    g_assert_cmpuint(pool->starts, >=, 1);
    test_ok(test_pool_call(pool, &gone, "exit", NULL, NULL, NULL));
    test_wait(t, !pool->open);
    g_assert_cmpint(gone.error, ==, -ECONNRESET);
    test_ok(afork_pool_retire(pool->pool));
    test_ok(test_pool_call(pool, &last, "last", NULL, NULL, NULL));
    test_wait(t, !pool->open);
    g_assert_cmpstr(test_reply_string(&last, 0), ==, "last");
    test_pool_finish(pool);
}

static void own_frames(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);

    works(t, &options, &pool, "f");
}

static void original_frames(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);

    options.rpc.frames = AFORK_RPC_FRAMES_ORIGINAL;
    works(t, &options, &pool, "f");
}

static void single_calls(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);

    options.single_call = true;
    works(t, &options, &pool, "f");
}

/* All calls that a worker has are begun. */
static void asynchronous(struct test *t)
{
    struct test_pool pool = {0};
    struct test_pool lost = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    test_many_auto many;
    struct afork_call *call;

    t->options.standard_error.mode = AFORK_STDIO_NULL;
    if (!test_pool_has_any_event(t, code))
        return;
    options.rpc.async = true;
    works(t, &options, &pool, "g");

    test_many_init(&many, 6);
    options = test_pool_options(&lost);
    options.rpc.async = true;
    options.max = 1;
    options.load = 3;
    test_pool_new(t, &lost, code, "g", &options);
    test_ok(test_many_call(&lost, &many, "x", NULL, NULL, NULL));
    test_wait(t, !lost.open);
    for (int i = 0; i < 3; i++)
        test_ok(test_many_call(&lost, &many, "never", NULL, NULL, i ? NULL : &call));
    test_ok(test_many_call(&lost, &many, "x", NULL, NULL, NULL));
    test_turn_for(t, 20000);
    g_assert_cmpuint(test_pool_stats(&lost).running, ==, 3);
    if (t->options.peer == AFORK_PEER_ORIGINAL) {
        test_inside(g_assert_cmpint(afork_call_cancel(call, AFORK_CANCEL_KILL), ==, -ENOTSUP));
        afork_pool_cancel(lost.pool);
    } else {
        test_ok(afork_call_cancel(call, AFORK_CANCEL_KILL));
    }
    test_wait(t, !lost.open);
    if (t->options.peer == AFORK_PEER_OWN) {
        g_assert_cmpuint(many.bad[ECANCELED], ==, 1);
        g_assert_cmpuint(many.bad[ECONNRESET], ==, 2);
        g_assert_cmpuint(many.good, ==, 2);
    }
    test_pool_finish(&lost);
}

static void what_cannot_be_killed(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    struct afork_call_options call = AFORK_CALL_OPTIONS_INIT;
    test_reply_auto reply = {0};

    call.run_timeout = 10 * G_USEC_PER_SEC;
    test_pool_new(t, &pool, code, "f", &options);
    int result = test_pool_call(&pool, &reply, "x", NULL, &call, NULL);
    g_assert_cmpint(result, ==, t->options.peer == AFORK_PEER_ORIGINAL ? -ENOTSUP : 0);
    test_wait(t, !pool.open);
    test_pool_finish(&pool);
}

/* ---- What keeps a program running ---- */

/* Calls do, also those that nobody works on yet; workers that wait for some do not. */
static void calls_keep_running(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    test_many_auto many;
    test_reply_auto reply = {0};

    test_many_init(&many, 20);
    options.idle = 2;
    options.retire_age = 1000 * G_USEC_PER_SEC;
    test_pool_new(t, &pool, code, "f", &options);
    for (unsigned i = 0; i < 20; i++)
        test_ok(test_many_call(&pool, &many, "x", NULL, NULL, NULL));
    test_ok(afork_poll_run(t->loop_self));
    g_assert_cmpuint(many.good, ==, 20);
    gint64 start = g_get_monotonic_time();
    test_ok(afork_poll_run(t->loop_self));
    g_assert_cmpint(g_get_monotonic_time() - start, <, 5 * G_USEC_PER_SEC);
    afork_pool_unref(pool.pool);
    test_ok(afork_poll_run(t->loop_self));
    g_assert_cmpuint(pool.destroys, ==, 1);

    struct test_pool failing = {0};
    options = test_pool_options(&failing);
    options.max_failures = 3;
    options.rpc.init = "fails";
    t->options.standard_error.mode = AFORK_STDIO_NULL;
    test_pool_new(t, &failing, "sub fails { exit 1 }", "f", &options);
    test_ok(test_pool_call(&failing, &reply, "x", NULL, NULL, NULL));
    test_ok(afork_poll_run(t->loop_self)); /* over all attempts */
    g_assert_cmpuint(reply.calls, ==, 1);
    g_assert_cmpint(reply.error, <, 0);
    g_assert_cmpuint(test_pool_stats(&failing).started, ==, 3);
    test_pool_finish(&failing);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_perl_add_all("/pool/peers/own-frames", own_frames);
    test_perl_add_all("/pool/peers/original-frames", original_frames);
    test_perl_add_all("/pool/peers/single", single_calls);
    test_perl_add_all("/pool/peers/asynchronous", asynchronous);
    test_perl_add_all("/pool/peers/kill", what_cannot_be_killed);
    test_perl_add("/pool/keep-alive", calls_keep_running);
    return g_test_run();
}
