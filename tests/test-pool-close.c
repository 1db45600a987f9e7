/* SPDX-License-Identifier: MIT
 *
 * Pools that end, by whatever means and wherever: also inside callbacks, and in a copy of the host.
 */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test-pool-lib.h"

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
    test_pool_new(t, &pool, NULL, "nap", &options);
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
        test_pool_new(t, &pool, NULL, "nap", &options);
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
        test_soon(t, released == 1000);
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
    test_pool_new(t, &pool, NULL, "nap", &options);
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
    test_calls_add("/pool/end/letting-go", letting_go);
    test_calls_add("/pool/end/cancel", cancelling_a_pool);
    test_calls_add("/pool/end/close", closing_is_silent);
    test_calls_add("/pool/callbacks/anything", callbacks_may_do_anything);
    test_calls_add("/pool/callbacks/end", ending_in_a_notice);
    test_calls_add("/pool/callbacks/notices", closing_in_notices);
    test_calls_add("/pool/copy", copies_are_inert);
    return g_test_run();
}
