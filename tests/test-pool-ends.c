/* SPDX-License-Identifier: MIT
 *
 * Pools whose workers end, cannot start, never answer, or that end themselves.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test-pool-lib.h"

static const char code[] =
    "sub nap { select undef, undef, undef, $_[0]; $$ }"
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
    test_pool_new(t, &pool, code, "nap", &options);
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
        g_assert_cmpint(a.error, ==, -ENOEXEC);
        g_assert_cmpint(b.error, ==, -ENOEXEC);
        g_assert_nonnull(strstr(a.message, starts[i].words));
        g_assert_cmpstr(a.message, ==, b.message);
        g_assert_cmpint(test_pool_call(&pool, &c, "x", NULL, NULL, NULL), ==, -EIO);
        g_assert_cmpuint(test_pool_stats(&pool).started, <=, 4);
        test_ok(afork_pool_reset(pool.pool)); /* to no avail */
        test_ok(test_pool_call(&pool, &c, "x", NULL, NULL, NULL));
        test_wait(t, !pool.open);
        g_assert_cmpint(c.error, ==, -ENOEXEC);
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
    g_assert_cmpint(reply.error, ==, -ENOEXEC);
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
    test_reply_clear(&a);
    test_ok(test_pool_call(&pool, &a, "self", NULL, NULL, NULL));
    test_wait(t, a.calls);
    g_assert_cmpint(a.error, ==, 0);
    test_ok(afork_pool_retire(pool.pool));
    test_reply_clear(&a);
    test_ok(test_pool_call(&pool, &a, "self", NULL, NULL, NULL));
    test_wait(t, a.calls);
    g_assert_cmpint(a.error, ==, -ECONNRESET);
    g_assert_nonnull(strstr(a.message, "9"));
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
    g_assert_cmpuint(many.bad[ECONNRESET], ==, 3);
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

#if defined(__SANITIZE_ADDRESS__)
    g_test_skip("address space is not limited under the sanitizers");
    return;
#endif
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
    test_pool_new(t, &pool, code, "nap", &options);
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

/* ---- The end of a pool ---- */

static void letting_go(struct test *t)
{
    struct test_pool empty = {0};
    struct test_pool starting = {0};
    struct test_pool busy = {0};
    struct afork_pool_options options = test_pool_options(&empty);
    test_many_auto many;

    test_many_init(&many, 1000);
    test_pool_new(t, &empty, NULL, "echo", &options);
    g_assert_cmpuint(empty.destroys, ==, 0);
    test_pool_finish(&empty);
    options = test_pool_options(&starting);
    options.idle = 2;
    test_pool_new(t, &starting, NULL, "echo", &options);
    test_pool_finish(&starting);
    options = test_pool_options(&busy);
    test_pool_new(t, &busy, NULL, "echo", &options);
    for (unsigned i = 0; i < 1000; i++)
        test_ok(test_many_call(&busy, &many, "x", NULL, NULL, NULL));
    afork_pool_ref(busy.pool);
    afork_pool_unref(busy.pool);
    test_pool_finish(&busy);
    g_assert_cmpuint(many.good, ==, 1000);
}

static void append(const struct afork_reply *reply, void *data)
{
    g_assert_cmpint(reply->error, ==, -ECANCELED);
    g_array_append_val(((GArray **)data)[0], ((GArray **)data)[1]);
}

/* In the order in which they were made; at once, whatever the workers do. */
static void cancelling_a_pool(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    g_autoptr(GArray) order = g_array_new(FALSE, FALSE, sizeof(void *));
    struct afork_call_options call = AFORK_CALL_OPTIONS_INIT;
    void *data[200][2];

    options.max = 2;
    test_pool_new(t, &pool, code, "nap", &options);
    for (guint i = 0; i < 200; i++) {
        struct iovec string = {(void *)"1000", 4};
        data[i][0] = order;
        data[i][1] = GUINT_TO_POINTER(i);
        call.priority = (int)i % 5;
        test_ok(afork_pool_call_strings(pool.pool, &string, 1, &call, append, data[i], NULL));
    }
    test_wait(t, test_pool_stats(&pool).running == 4);
    gint64 start = test_own_time();
    afork_pool_cancel(pool.pool);
    g_assert_cmpuint(order->len, ==, 0);
    struct iovec none = {0};
    g_assert_cmpint(afork_pool_call_strings(pool.pool, &none, 0, NULL, append, NULL, NULL), ==,
                    -EPIPE);
    afork_pool_cancel(pool.pool);
    test_wait(t, pool.destroys);
    g_assert_cmpint(test_own_time() - start, <, 200 * 1000);
    g_assert_cmpuint(order->len, ==, 200);
    for (guint i = 0; i < 200; i++)
        g_assert_cmpuint(GPOINTER_TO_UINT(g_array_index(order, void *, i)), ==, i);
    g_assert_cmpuint(pool.exits, ==, 2);
    g_assert_cmpint(pool.last_cause, ==, AFORK_CAUSE_SIGNALLED);
    afork_pool_unref(pool.pool);
    test_turn_for(t, 10000);
    g_assert_cmpuint(pool.destroys, ==, 1);
}

static void never(const struct afork_reply *reply, void *data)
{
    (void)data;
    g_error("a call of a closed pool completed: %s", reply->message);
}

static void count(void *data)
{
    ++*(unsigned *)data;
}

static void closing_is_silent(struct test *t)
{
    for (int by_context = 0; by_context < 2; by_context++) {
        struct test_pool pool = {0};
        struct afork_pool_options options = test_pool_options(&pool);
        struct afork_call_options call = AFORK_CALL_OPTIONS_INIT;
        struct iovec string = {(void *)"1000", 4};
        struct afork_call *handle;
        unsigned released = 0;
        call.release = count;
        test_pool_new(t, &pool, code, "nap", &options);
        for (guint i = 0; i < 1000; i++)
            test_ok(
                afork_pool_call_strings(pool.pool, &string, 1, &call, never, &released, &handle));
        test_wait(t, test_pool_stats(&pool).running >= 4);
        test_ok(afork_call_cancel(handle, AFORK_CANCEL_QUEUED));
        g_autoptr(GArray) pids = test_pool_pids(&pool);
        g_assert_cmpuint(pids->len, >=, 1);
        if (by_context)
            afork_context_close(g_steal_pointer(&t->context));
        else
            afork_pool_close(pool.pool);
        g_assert_cmpuint(released, ==, 1000);
        g_assert_cmpint(afork_pool_call_strings(pool.pool, &string, 1, NULL, never, NULL, NULL), ==,
                        -ESHUTDOWN);
        afork_pool_close(pool.pool);
        afork_pool_cancel(pool.pool);
        test_wait(t, !test_is_running(g_array_index(pids, pid_t, 0)));
        afork_pool_unref(pool.pool);
        g_assert_cmpuint(pool.exits + pool.destroys, ==, 0);
    }
}

/* ---- What callbacks do ---- */

enum act { CLOSE, UNREF, CANCEL, CONTEXT, TURN, SUBMIT, CANCEL_OTHER, N_ACTS };

struct acting {
    struct test *t;
    struct test_pool *pool;
    struct afork_pool *handle;
    struct afork_call *other;
    enum act act;
    bool done, other_done;
    unsigned completed;
};

static void on_other(const struct afork_reply *reply, void *data)
{
    struct acting *a = data;

    (void)reply;
    a->other_done = true;
    a->completed++;
}

static void on_acting(const struct afork_reply *reply, void *data)
{
    struct acting *a = data;
    struct iovec string = {(void *)"0", 1};

    (void)reply;
    a->completed++;
    if (a->done)
        return;
    a->done = true;
    switch (a->act) {
    case CLOSE:
        afork_pool_close(a->handle);
        break;
    case UNREF:
        afork_pool_unref(g_steal_pointer(&a->handle));
        break;
    case CANCEL:
        afork_pool_cancel(a->handle);
        break;
    case CONTEXT:
        afork_context_close(g_steal_pointer(&a->t->context));
        break;
    case TURN: /* those of the other worker complete meanwhile */
        test_wait(a->t, a->completed > 1);
        break;
    case SUBMIT:
        test_ok(afork_pool_call_strings(a->handle, &string, 1, NULL, on_acting, a, NULL));
        break;
    case CANCEL_OTHER:
        if (!a->other_done)
            test_ok(afork_call_cancel(a->other, AFORK_CANCEL_KILL));
        break;
    case N_ACTS:
        break;
    }
}

static void callbacks_may_do_anything(struct test *t)
{
    for (enum act act = 0; act < N_ACTS; act++) {
        for (int how = 0; how < 3; how++) { /* by an answer, a death, a cancellation */
            struct test_pool pool = {0};
            struct afork_pool_options options = test_pool_options(&pool);
            struct acting a = {.t = t, .pool = &pool, .act = act};
            struct iovec string = {(void *)(how == 1 ? "die" : "0"), how == 1 ? 3 : 1};
            struct afork_call *first;
            options.max = 2;
            options.load = 3;
            options.max_failures = 100;
            test_pool_new(t, &pool, "sub f { exit 1 if $_[0] eq 'die'; 1 }", "f", &options);
            a.handle = pool.pool;
            test_ok(afork_pool_call_strings(pool.pool, &string, 1, NULL, on_acting, &a, &first));
            string = (struct iovec){(void *)"0", 1};
            for (int i = 0; i < 8; i++)
                test_ok(afork_pool_call_strings(pool.pool, &string, 1, NULL, on_acting, &a, NULL));
            test_ok(afork_pool_call_strings(pool.pool, &string, 1, NULL, on_other, &a, &a.other));
            if (how == 2)
                test_ok(afork_call_cancel(first, AFORK_CANCEL_ABANDON));
            test_wait(t, a.done);
            if (act == CLOSE || act == CONTEXT) {
                g_assert_cmpuint(a.completed, ==, 1);
                test_turn_for(t, 10000);
                g_assert_cmpuint(a.completed, ==, 1);
                afork_pool_unref(a.handle);
                continue;
            }
            afork_pool_unref(a.handle);
            test_wait(t, pool.destroys);
            g_assert_cmpuint(a.completed, ==, act == SUBMIT ? 11 : 10);
        }
    }
}

static void worker_started(struct afork_pool *pool, struct afork_process *worker, void *data)
{
    (void)worker, (void)data;
    afork_pool_close(pool);
}

static void worker_ended(struct afork_pool *pool, struct afork_process *worker,
                         const struct afork_exit *exit, void *data)
{
    (void)worker, (void)exit;
    afork_pool_close(pool);
    *(bool *)data = true;
}

/* The pool ends while a notice of it waits for that. */
static void wait_for_the_end(struct afork_pool *pool, struct afork_process *worker, void *data)
{
    struct test_pool *p = data;

    (void)worker;
    if (p->starts++)
        return;
    afork_pool_unref(pool);
    for (int i = 0; i < 20; i++)
        p->t->type->turn(p->t->loop_self, 5000);
    g_assert_cmpuint(p->destroys, ==, 0);
}

static void ending_in_a_notice(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);

    options.on_worker_start = wait_for_the_end;
    options.idle = 2;
    test_pool_new(t, &pool, NULL, "echo", &options);
    test_wait(t, pool.destroys);
    g_assert_cmpuint(pool.destroys, ==, 1);
}

static void closing_in_notices(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    test_reply_auto reply = {0};
    bool closed = false;

    options.on_worker_start = worker_started;
    test_pool_new(t, &pool, NULL, "echo", &options);
    test_ok(test_pool_call(&pool, &reply, "x", NULL, NULL, NULL));
    test_wait(t, reply.released);
    g_assert_cmpuint(reply.calls, ==, 0);
    afork_pool_unref(pool.pool);

    options = (struct afork_pool_options)AFORK_POOL_OPTIONS_INIT;
    options.on_worker_exit = worker_ended;
    options.data = &closed;
    options.stop = -1;
    test_pool_new(t, &pool, NULL, "echo", &options);
    test_reply_clear(&reply);
    test_ok(test_pool_call(&pool, &reply, "x", NULL, NULL, NULL));
    test_wait(t, closed);
    g_assert_cmpuint(reply.calls, ==, 1);
    afork_pool_unref(pool.pool);
}

/* ---- A copy of the host ---- */

static void copies_are_inert(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    test_many_auto many;
    int status;

    test_many_init(&many, 100);
    test_pool_new(t, &pool, code, "nap", &options);
    for (unsigned i = 0; i < 20; i++)
        test_ok(test_many_call(&pool, &many, "0.01", NULL, NULL, NULL));
    test_wait(t, many.done);
    pid_t copy = fork();
    if (!copy) {
        struct afork_pool_stats stats;
        bool good = afork_pool_get_stats(pool.pool, &stats) == -ECHILD &&
                    test_many_call(&pool, &many, "0", NULL, NULL, NULL) == -ECHILD &&
                    afork_pool_retire(pool.pool) == -ECHILD;
        afork_pool_cancel(pool.pool);
        afork_pool_unref(pool.pool);
        afork_context_close(t->context);
        t->type->free_copy(t->loop_self);
        _exit(good ? 0 : 1);
    }
    g_assert_cmpint(waitpid(copy, &status, 0), ==, copy);
    g_assert_cmpint(status, ==, 0);
    test_wait(t, !pool.open);
    g_assert_cmpuint(many.good, ==, 20);
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
    test_calls_add("/pool/template/killed", a_killed_template_is_replaced);
    test_calls_add("/pool/template/broken", nothing_is_left_in_a_broken_pool);
    test_calls_add("/pool/template/of-the-user", the_process_is_the_users);
    test_calls_add("/pool/limits", limits_are_each_workers);
    test_calls_add("/pool/single/each-its-own", single_calls);
    test_calls_add("/pool/single/timed", single_calls_are_timed_and_cancelled);
    test_calls_add("/pool/end/letting-go", letting_go);
    test_calls_add("/pool/end/cancel", cancelling_a_pool);
    test_calls_add("/pool/end/close", closing_is_silent);
    test_calls_add("/pool/callbacks/anything", callbacks_may_do_anything);
    test_calls_add("/pool/callbacks/end", ending_in_a_notice);
    test_calls_add("/pool/callbacks/notices", closing_in_notices);
    test_calls_add("/pool/copy", copies_are_inert);
    return g_test_run();
}
