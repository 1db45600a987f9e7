/* SPDX-License-Identifier: MIT
 *
 * Pools whose workers end, cannot start, or never answer.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "test-pool-lib.h"

static const char code[] =
    "sub garble { for my $n (3 .. 20) {"
    "  open my $fh, '+<&=', $n or next; syswrite $fh, 'garbage' x 100 if -S $fh }"
    "  select undef, undef, undef, 1000 }"
    "sub picture { my $n = shift;"
    "  1 while $n == 10; kill SEGV => $$ if $n == 20; exit 0 if $n == 30; garble() if $n == 40;"
    "  select undef, undef, undef, 0.002; $n }";

/* ---- Workers that end ---- */

/* Some worker is killed all the time, and each call is accounted for. */
static void killed_workers_are_replaced(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    test_many_auto many;
    unsigned killed = 0;

    test_many_init(&many, 101);
    options.idle = 4;
    options.max_failures = 1000;
    test_pool_new(t, &pool, NULL, "nap", &options);
    test_wait(t, pool.starts == 4);
    for (unsigned i = 0; i < 100; i++)
        test_ok(test_many_call(&pool, &many, "0.02", NULL, NULL, NULL));
    gint64 deadline = test_deadline_new(), next = 0;
    while (pool.open) {
        test_turn_before(t, deadline, "all calls complete");
        g_autoptr(GArray) pids = test_pool_pids(&pool);
        if (!pids->len || g_get_monotonic_time() < next || !pool.open)
            continue;
        next = g_get_monotonic_time() + 50 * 1000;
        guint i = (guint)g_test_rand_int_range(0, (gint32)pids->len);
        killed += !kill(g_array_index(pids, pid_t, i), SIGKILL);
    }
    g_assert_cmpuint(many.done, ==, 100);
    g_assert_false(many.twice);
    g_assert_cmpuint(many.good + many.bad[ECONNRESET], ==, 100);
    g_assert_cmpuint(many.bad[ECONNRESET], <=, killed);
    test_ok(test_many_call(&pool, &many, "0", NULL, NULL, NULL));
    test_wait(t, !pool.open);
    test_wait(t, test_pool_stats(&pool).workers == 4);
    test_pool_finish(&pool);
}

/* What was not begun is done by others, in order. */
static void the_rest_is_done_by_others(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    g_autoptr(GString) order = g_string_new(NULL);
    struct test_reply replies[6] = {0};

    options.max = 1;
    options.load = 4;
    test_pool_new(t, &pool, NULL, "act", &options);
    for (unsigned i = 0; i < G_N_ELEMENTS(replies); i++) {
        replies[i].order = order;
        replies[i].tag = (char)('a' + i);
        test_ok(test_pool_call(&pool, &replies[i], i == 1 ? "exit" : "pid", i == 1 ? "55" : NULL,
                               NULL, NULL));
    }
    test_wait(t, !pool.open);
    g_assert_cmpstr(order->str, ==, "abcdef");
    for (unsigned i = 0; i < G_N_ELEMENTS(replies); i++) {
        g_assert_cmpint(replies[i].error, ==, i == 1 ? -ECONNRESET : 0);
        g_assert_cmpint(replies[i].has_exit, ==, i == 1);
    }
    g_assert_cmpint(replies[1].cause, ==, AFORK_CAUSE_EXITED);
    g_assert_cmpint(replies[1].status, ==, 55);
    g_assert_nonnull(strstr(replies[1].message, "55"));
    g_assert_cmpuint(test_pool_stats(&pool).crashed, ==, 1);
    g_assert_cmpuint(test_pool_stats(&pool).started, ==, 2);
    for (unsigned i = 0; i < G_N_ELEMENTS(replies); i++)
        test_reply_clear(&replies[i]);
    test_pool_finish(&pool);
}

static void a_call_is_tried_twice(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    test_reply_auto fine = {0};
    test_reply_auto bad = {0};
    g_autofree char *flag = g_strdup_printf("%s/afork-once-%d-%p", g_get_tmp_dir(), getpid(), t);

    options.max = 1;
    options.crash = AFORK_CRASH_RETRY_ONCE;
    test_pool_new(t, &pool,
                  "sub once { my $file = shift; return 'there' if -e $file;"
                  " open my $fh, '>', $file if $file; exit 3 }",
                  "once", &options);
    test_ok(test_pool_call(&pool, &fine, flag, NULL, NULL, NULL));
    test_ok(test_pool_call(&pool, &bad, "", NULL, NULL, NULL));
    test_wait(t, !pool.open);
    unlink(flag);
    g_assert_cmpstr(test_reply_string(&fine, 0), ==, "there");
    g_assert_cmpint(bad.error, ==, -ECONNRESET);
    g_assert_cmpint(bad.status, ==, 3);
    g_assert_cmpuint(test_pool_stats(&pool).retried, ==, 2);
    g_assert_cmpuint(test_pool_stats(&pool).crashed, ==, 3);
    g_assert_cmpuint(test_pool_stats(&pool).failed, ==, 1);
    test_pool_finish(&pool);
}

/* One that never ends, one that crashes, one that leaves, one that talks nonsense; and a timer
 * of the program's that is never late. */
static gint64 last_tick, worst_tick;

static void tick(void)
{
    gint64 now = test_own_time();

    if (last_tick)
        worst_tick = MAX(worst_tick, now - last_tick);
    last_tick = now;
}

static void bad_pictures_fail_alone(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    struct afork_call_options call = AFORK_CALL_OPTIONS_INIT;
    test_many_auto many;

    test_many_init(&many, 100);
    call.run_timeout = 500 * 1000;
    options.max = 2;
    last_tick = worst_tick = 0;
    test_pool_new(t, &pool, code, "picture", &options);
    for (unsigned i = 0; i < 100; i++) {
        g_autofree char *number = g_strdup_printf("%u", i);
        test_ok(test_many_call(&pool, &many, number, NULL, &call, NULL));
    }
    gint64 deadline = test_deadline_new();
    while (pool.open) {
        test_turn_before(t, deadline, "all calls complete"); /* at most 10 ms */
        tick();
    }
    g_assert_cmpuint(many.good, ==, 96);
    g_assert_cmpuint(many.bad[ETIMEDOUT], ==, 1);
    g_assert_cmpuint(many.bad[ECONNRESET], ==, 2);
    g_assert_cmpuint(many.bad[EPROTO], ==, 1);
    g_assert_cmpint(worst_tick, <, 70 * 1000);
    test_pool_finish(&pool);
}

/* ---- Workers that do not start ---- */

static const struct {
    const char *code, *function, *words;
} starts[] = {
    {"1 +", "echo", "syntax error"},
    {"require No::Such::Module", "echo", "No/Such/Module.pm"},
    {NULL, "missing", "Undefined subroutine &main::missing called"},
};

/* One error, with Perl's words, for all that wait, and no end of attempts. */
static void failed_starts_break_the_pool(struct test *t)
{
    t->options.standard_error.mode = AFORK_STDIO_NULL;
    for (size_t i = 0; i < G_N_ELEMENTS(starts); i++) {
        struct test_pool pool = {0};
        struct afork_pool_options options = test_pool_options(&pool);
        test_reply_auto a = {0};
        test_reply_auto b = {0};
        test_reply_auto c = {0};
        options.max_failures = 2;
        test_pool_new(t, &pool, starts[i].code, starts[i].function, &options);
        test_ok(test_pool_call(&pool, &a, "x", NULL, NULL, NULL));
        test_ok(test_pool_call(&pool, &b, "x", NULL, NULL, NULL));
        g_assert_cmpuint(a.calls, ==, 0);
        test_wait(t, !pool.open);
        g_assert_cmpint(a.error, ==, -EIO);
        g_assert_cmpint(b.error, ==, -EIO);
        g_assert_nonnull(strstr(a.message, starts[i].words));
        g_assert_cmpstr(a.message, ==, b.message);
        g_assert_cmpint(test_pool_call(&pool, &c, "x", NULL, NULL, NULL), ==, -EIO);
        g_assert_cmpuint(test_pool_stats(&pool).started, <=, 4);
        test_ok(afork_pool_reset(pool.pool)); /* to no avail */
        test_ok(test_pool_call(&pool, &c, "x", NULL, NULL, NULL));
        test_wait(t, !pool.open);
        g_assert_cmpint(c.error, ==, -EIO);
        g_assert_nonnull(strstr(c.message, starts[i].words));
        test_pool_finish(&pool);
    }
}

/* Nobody asked when it was found out. */
static void failure_is_told_to_the_next_call(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    test_reply_auto reply = {0};
    struct test_exit end = {0};

    t->options.standard_error.mode = AFORK_STDIO_NULL;
    struct afork_process *process = test_rpc_process(t, "die qq(out of paint\\n)");
    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    test_ok(afork_pool_new(process, "echo", &options, &pool.pool));
    pool.t = t;
    afork_process_unref(process);
    test_wait(t, end.calls);
    test_turn_for(t, 20000);
    test_ok(test_pool_call(&pool, &reply, "x", NULL, NULL, NULL));
    test_wait(t, !pool.open);
    g_assert_cmpint(reply.error, ==, -EIO);
    g_assert_nonnull(strstr(reply.message, "out of paint"));
    test_pool_finish(&pool);
}

/* What is mended works after a reset. */
static void broken_pools_can_be_mended(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    test_reply_auto reply = {0};
    g_autofree char *flag = g_strdup_printf("%s/afork-mend-%d-%p", g_get_tmp_dir(), getpid(), t);
    g_autofree char *start = g_strdup_printf("sub start { -e '%s' or die qq(no luck\\n) }", flag);

    t->options.standard_error.mode = AFORK_STDIO_NULL;
    options.rpc.init = "start";
    options.max_failures = 1;
    test_pool_new(t, &pool, start, "echo", &options);
    test_ok(test_pool_call(&pool, &reply, "x", NULL, NULL, NULL));
    test_wait(t, !pool.open);
    g_assert_nonnull(strstr(reply.message, "no luck"));
    g_assert_cmpint(test_pool_call(&pool, &reply, "x", NULL, NULL, NULL), ==, -EIO);
    g_assert_true(g_file_set_contents(flag, "", 0, NULL));
    test_ok(afork_pool_reset(pool.pool));
    test_reply_clear(&reply);
    test_ok(test_pool_call(&pool, &reply, "x", NULL, NULL, NULL));
    test_wait(t, !pool.open);
    unlink(flag);
    g_assert_cmpstr(test_reply_string(&reply, 0), ==, "x");
    test_pool_finish(&pool);
}

struct mender {
    struct afork_pool *pool;
    const char *flag;
    unsigned failed, done;
};

static void mend(const struct afork_reply *reply, void *data)
{
    struct mender *mender = data;
    struct afork_pool_stats stats;

    if (!reply->error) {
        mender->done++;
        return;
    }
    g_assert_cmpint(reply->error, ==, -EIO);
    test_ok(afork_pool_get_stats(mender->pool, &stats));
    g_assert_true(stats.broken);
    g_assert_cmpint(stats.error, ==, -ENOEXEC);
    g_assert_nonnull(strstr(stats.message, "no luck"));
    g_assert_true(g_file_set_contents(mender->flag, "", 0, NULL));
    test_ok(afork_pool_reset(mender->pool));
    g_assert_nonnull(strstr(reply->message, "no luck"));
    test_ok(afork_pool_get_stats(mender->pool, &stats));
    g_assert_false(stats.broken);
    g_assert_cmpint(stats.error, ==, 0);
    g_assert_null(stats.message);
    mender->failed++;
}

/* The first that hears of it can mend it: the others are answered. */
static void the_first_may_mend_it(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    g_autofree char *flag = g_strdup_printf("%s/afork-first-%d-%p", g_get_tmp_dir(), getpid(), t);
    g_autofree char *start = g_strdup_printf("sub start { -e '%s' or die qq(no luck\\n) }", flag);
    struct mender mender = {.flag = flag};

    t->options.standard_error.mode = AFORK_STDIO_NULL;
    options.rpc.init = "start";
    options.max_failures = 2;
    test_pool_new(t, &pool, start, "echo", &options);
    mender.pool = pool.pool;
    for (unsigned i = 0; i < 5; i++)
        test_ok(afork_pool_call_strings(pool.pool, NULL, 0, NULL, mend, &mender, NULL));
    test_wait(t, mender.failed + mender.done == 5);
    unlink(flag);
    g_assert_cmpuint(mender.failed, ==, 1);
    test_pool_finish(&pool);
}

/* ---- The template ---- */

/* The pid of what a worker was forked from, by the worker. */
static pid_t template_of(struct test *t, struct test_pool *pool)
{
    test_reply_auto reply = {0};

    test_ok(test_pool_call(pool, &reply, "parent", NULL, NULL, NULL));
    test_wait(t, reply.calls);
    return (pid_t)atoi(test_reply_string(&reply, 0));
}

static const char parent[] = "sub tell { $_[0] eq 'parent' ? getppid : $$ }";

/* Its workers live on, and another takes its place as long as the process it came from is there. */
static void a_killed_template_is_replaced(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    test_reply_auto a = {0};
    test_reply_auto b = {0};

    options.max = 1;
    struct afork_process *process = test_rpc_process(t, parent);
    test_ok(afork_pool_new(process, "tell", &options, &pool.pool));
    pool.t = t;
    pid_t template = template_of(t, &pool);
    g_autoptr(GArray) pids = test_pool_pids(&pool);
    test_ok(kill(template, SIGKILL));
    test_wait(t, !test_is_running(template));
    test_ok(test_pool_call(&pool, &a, "self", NULL, NULL, NULL));
    test_wait(t, a.calls);
    g_assert_cmpint(atoi(test_reply_string(&a, 0)), ==, g_array_index(pids, pid_t, 0));
    test_ok(afork_pool_retire(pool.pool));
    test_ok(test_pool_call(&pool, &b, "self", NULL, NULL, NULL));
    test_wait(t, b.calls);
    g_assert_cmpint(atoi(test_reply_string(&b, 0)), !=, g_array_index(pids, pid_t, 0));
    pid_t second = template_of(t, &pool);
    g_assert_cmpint(second, !=, template);

    /* And if that is gone, too: the last worker works, then nothing is left. */
    afork_process_unref(process);
    test_ok(kill(second, SIGKILL));
    test_wait(t, !test_is_running(second));
    test_turn_for(t, 20000); /* until the pool is told */
    test_reply_clear(&a);
    test_ok(test_pool_call(&pool, &a, "self", NULL, NULL, NULL));
    test_wait(t, a.calls);
    g_assert_cmpint(a.error, ==, 0);
    test_ok(afork_pool_retire(pool.pool));
    test_reply_clear(&a);
    test_ok(test_pool_call(&pool, &a, "self", NULL, NULL, NULL));
    test_wait(t, a.calls);
    g_assert_cmpint(a.error, ==, -EIO);
    g_assert_nonnull(strstr(a.message, "9"));
    g_assert_true(test_pool_stats(&pool).broken);
    g_assert_nonnull(strstr(test_pool_stats(&pool).message, "9"));
    test_pool_finish(&pool);
}

/* Calls come back from a killed worker when the pool is broken already. */
static void nothing_is_left_in_a_broken_pool(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    test_many_auto many;
    struct afork_call *call;

    test_many_init(&many, 4);
    options.max = 1;
    options.load = 3;
    test_pool_new(t, &pool, "sub tell { $_[0] eq 'parent' ? getppid : sleep 1000 }", "tell",
                  &options);
    pid_t template = template_of(t, &pool);
    test_ok(kill(template, SIGKILL));
    test_wait(t, !test_is_running(template));
    test_turn_for(t, 20000);
    test_ok(test_many_call(&pool, &many, "stay", NULL, NULL, &call));
    test_ok(test_many_call(&pool, &many, "stay", NULL, NULL, NULL));
    test_ok(test_many_call(&pool, &many, "stay", NULL, NULL, NULL));
    test_turn_for(t, 20000);
    test_ok(afork_call_cancel(call, AFORK_CANCEL_KILL));
    test_ok(test_many_call(&pool, &many, "stay", NULL, NULL, NULL));
    test_wait(t, !pool.open);
    g_assert_cmpuint(many.bad[ECANCELED], ==, 1);
    g_assert_cmpuint(many.bad[EIO], ==, 3);
    test_pool_finish(&pool);
}

/* Later commands to the process, and its end, are nothing to the pool. */
static void the_process_is_the_users(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    struct afork_process *process = test_rpc_process(t, "our $n = 1; sub tell { $n } sub stay { }");
    test_reply_auto reply = {0};

    test_ok(afork_pool_new(process, "tell", &options, &pool.pool));
    pool.t = t;
    test_ok(afork_process_eval(process, "$n = 2", NULL));
    close(test_run_and_unref(t, process, "stay"));
    test_ok(test_pool_call(&pool, &reply, NULL, NULL, NULL, NULL));
    test_wait(t, !pool.open);
    g_assert_cmpstr(test_reply_string(&reply, 0), ==, "1");
    test_pool_finish(&pool);
}

/* ---- Limits, single calls ---- */

static void limits_are_each_workers(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    struct afork_limits limits = AFORK_LIMITS_INIT;
    test_reply_auto big = {0};
    test_reply_auto small = {0};

    t->options.standard_error.mode = AFORK_STDIO_NULL;
    limits.memory = 256 << 20;
    options.max = 1;
    options.limits = &limits;
    test_pool_new(t, &pool, "sub take { my $x = 'x' x $_[0]; length $x }", "take", &options);
    limits.memory = 1;
    test_ok(test_pool_call(&pool, &small, "10", NULL, NULL, NULL));
    test_ok(test_pool_call(&pool, &big, "2000000000", NULL, NULL, NULL));
    test_wait(t, !pool.open);
    g_assert_cmpstr(test_reply_string(&small, 0), ==, "10");
    g_assert_cmpint(big.error, <, 0);
    test_reply_clear(&small);
    test_ok(test_pool_call(&pool, &small, "20", NULL, NULL, NULL));
    test_wait(t, !pool.open);
    g_assert_cmpstr(test_reply_string(&small, 0), ==, "20");
    test_pool_finish(&pool);
}

/* A process for each call, at most `max` at a time; what one did is not seen by another, and one
 * that crashes is its own. */
static void single_calls(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    struct test_reply replies[30] = {0};
    g_autoptr(GHashTable) pids = g_hash_table_new(NULL, NULL);

    options.single_call = true;
    options.max = 3;
    options.max_failures = 2;
    test_pool_new(t, &pool, "our $n = 0; sub one { exit 9 if $_[0] % 2; $n++; \"$n $$\" }", "one",
                  &options);
    for (unsigned i = 0; i < G_N_ELEMENTS(replies); i++) {
        g_autofree char *number = g_strdup_printf("%u", i);
        test_ok(test_pool_call(&pool, &replies[i], number, NULL, NULL, NULL));
    }
    gint64 deadline = test_deadline_new();
    while (pool.open) {
        test_turn_before(t, deadline, "all calls complete");
        g_assert_cmpuint(test_pool_stats(&pool).workers, <=, 3);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(replies); i++) {
        if (i % 2) {
            g_assert_cmpint(replies[i].error, ==, -ECONNRESET);
            g_assert_cmpint(replies[i].status, ==, 9);
        } else {
            const char *text = test_reply_string(&replies[i], 0);
            g_assert_true(g_str_has_prefix(text, "1 "));
            g_assert_true(g_hash_table_add(pids, GINT_TO_POINTER(atoi(text + 2))));
        }
        test_reply_clear(&replies[i]);
    }
    g_assert_cmpuint(test_pool_stats(&pool).started, ==, G_N_ELEMENTS(replies));
    g_assert_cmpuint(test_pool_stats(&pool).workers, ==, 0);
    test_pool_finish(&pool);
}

static void single_calls_are_timed_and_cancelled(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    struct afork_call_options call = AFORK_CALL_OPTIONS_INIT;
    test_reply_auto late = {0};
    test_reply_auto cancelled = {0};
    test_reply_auto fine = {0};
    struct afork_call *handle;

    options.single_call = true;
    options.max = 2;
    call.run_timeout = 100 * 1000;
    test_pool_new(t, &pool, NULL, "nap", &options);
    test_ok(test_pool_call(&pool, &late, "1000", NULL, &call, NULL));
    test_ok(test_pool_call(&pool, &cancelled, "1000", NULL, NULL, &handle));
    test_ok(test_pool_call(&pool, &fine, "0", NULL, NULL, NULL));
    test_wait(t, pool.starts == 2);
    test_turn_for(t, 10000);
    test_ok(afork_call_cancel(handle, AFORK_CANCEL_KILL));
    test_wait(t, !pool.open);
    g_assert_cmpint(late.error, ==, -ETIMEDOUT);
    g_assert_cmpint(cancelled.error, ==, -ECANCELED);
    g_assert_cmpint(fine.error, ==, 0);
    test_pool_finish(&pool);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_calls_add("/pool/ends/killed", killed_workers_are_replaced);
    test_calls_add("/pool/ends/rest", the_rest_is_done_by_others);
    test_calls_add("/pool/ends/twice", a_call_is_tried_twice);
    test_calls_add("/pool/ends/pictures", bad_pictures_fail_alone);
    test_calls_add("/pool/starts/broken", failed_starts_break_the_pool);
    test_calls_add("/pool/starts/told-later", failure_is_told_to_the_next_call);
    test_calls_add("/pool/starts/mended", broken_pools_can_be_mended);
    test_calls_add("/pool/starts/mended-by-the-first", the_first_may_mend_it);
    test_calls_add("/pool/template/killed", a_killed_template_is_replaced);
    test_calls_add("/pool/template/broken", nothing_is_left_in_a_broken_pool);
    test_calls_add("/pool/template/of-the-user", the_process_is_the_users);
    if (!test_has_sanitizers()) /* which need much address space */
        test_calls_add("/pool/limits", limits_are_each_workers);
    test_calls_add("/pool/single/each-its-own", single_calls);
    test_calls_add("/pool/single/timed", single_calls_are_timed_and_cancelled);
    return g_test_run();
}
