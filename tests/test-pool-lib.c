/* SPDX-License-Identifier: MIT
 *
 * The helpers of test-pool-lib.h.
 */
#include "test-pool-lib.h"

#include <string.h>

static void on_start(struct afork_pool *pool, struct afork_process *worker, void *data)
{
    struct test_pool *p = data;

    g_assert_true(!p->pool || p->pool == pool);
    g_assert_cmpuint(p->destroys, ==, 0);
    g_assert_nonnull(worker);
    p->starts++;
}

static void on_worker_exit(struct afork_pool *pool, struct afork_process *worker,
                           const struct afork_exit *exit, void *data)
{
    struct test_pool *p = data;

    g_assert_true(pool && worker);
    g_assert_cmpuint(p->destroys, ==, 0);
    p->exits++;
    p->last_cause = exit ? exit->cause : AFORK_CAUSE_UNKNOWN;
    p->last_status = exit ? exit->status : -1;
}

static void on_drain(struct afork_pool *pool, void *data)
{
    struct test_pool *p = data;

    g_assert_true(p->pool == pool);
    p->drains++;
}

static void on_destroy(struct afork_pool *pool, void *data)
{
    struct test_pool *p = data;

    g_assert_nonnull(pool);
    g_assert_cmpuint(p->open, ==, 0);
    p->destroys++;
}

static void on_event(struct afork_pool *pool, pid_t pid, const struct afork_event *event,
                     void *data)
{
    struct test_pool *p = data;

    g_assert_true(pool && event);
    g_assert_cmpint(pid, >=, 0); /* 0 if it has ended since */
    p->events++;
}

struct afork_pool_options test_pool_options(struct test_pool *pool)
{
    struct afork_pool_options options = AFORK_POOL_OPTIONS_INIT;

    options.max = 4;
    options.on_event = on_event;
    options.on_worker_start = on_start;
    options.on_worker_exit = on_worker_exit;
    options.on_drain = on_drain;
    options.on_destroy = on_destroy;
    options.data = pool;
    return options;
}

void test_pool_new(struct test *t, struct test_pool *pool, const char *code, const char *function,
                   const struct afork_pool_options *options)
{
    struct afork_process *process = test_rpc_process(t, code);

    pool->t = t;
    test_ok(afork_pool_new(process, function, options, &pool->pool));
    afork_process_unref(process);
}

static size_t fill(struct iovec strings[2], const char *a, const char *b)
{
    strings[0] = (struct iovec){(void *)a, a ? strlen(a) : 0};
    strings[1] = (struct iovec){(void *)b, b ? strlen(b) : 0};
    return a ? b ? 2 : 1 : 0;
}

/* Counts what is open, and passes on. */
struct open_call {
    struct test_pool *pool;
    struct test_reply *reply;
};

static void on_reply(const struct afork_reply *reply, void *data)
{
    struct open_call *call = data;

    call->pool->open--;
    test_on_reply(reply, call->reply);
}

static void on_release(void *data)
{
    struct open_call *call = data;

    if (call->reply)
        call->reply->released++;
    g_free(call);
}

int test_pool_call(struct test_pool *pool, struct test_reply *reply, const char *a, const char *b,
                   const struct afork_call_options *options, struct afork_call **ret)
{
    struct afork_call_options copy = AFORK_CALL_OPTIONS_INIT;
    struct open_call *call = g_new(struct open_call, 1);
    struct iovec strings[2];

    *call = (struct open_call){pool, reply};
    if (options)
        copy = *options;
    copy.release = on_release;
    int result = afork_pool_call_strings(pool->pool, strings, fill(strings, a, b), &copy, on_reply,
                                         call, ret);
    if (result < 0)
        g_free(call);
    else
        pool->open++;
    return result;
}

struct afork_pool_stats test_pool_stats(struct test_pool *pool)
{
    struct afork_pool_stats stats;

    test_ok(afork_pool_get_stats(pool->pool, &stats));
    return stats;
}

static void add_pid(struct afork_process *worker, size_t calls, void *data)
{
    pid_t pid = afork_process_peer_pid(worker);

    (void)calls;
    if (pid)
        g_array_append_val((GArray *)data, pid);
}

GArray *test_pool_pids(struct test_pool *pool)
{
    GArray *pids = g_array_new(FALSE, FALSE, sizeof(pid_t));

    test_ok(afork_pool_each_worker(pool->pool, add_pid, pids));
    return pids;
}

void test_many_init(struct test_many *many, unsigned n)
{
    *many = (struct test_many){.seen = g_malloc0(n)};
}

void test_many_clear(struct test_many *many)
{
    g_free(many->seen);
}

struct one_of_many {
    struct test_pool *pool;
    struct test_many *many;
    unsigned number;
};

static void on_one(const struct afork_reply *reply, void *data)
{
    struct one_of_many *one = data;
    struct test_many *many = one->many;

    many->twice |= many->seen[one->number];
    many->seen[one->number] = 1;
    one->pool->open--;
    many->done++;
    many->good += !reply->error;
    if (reply->error)
        many->bad[MIN(-reply->error, 255)]++;
}

int test_many_call(struct test_pool *pool, struct test_many *many, const char *a, const char *b,
                   const struct afork_call_options *options, struct afork_call **ret)
{
    struct afork_call_options copy = AFORK_CALL_OPTIONS_INIT;
    struct one_of_many *one = g_new(struct one_of_many, 1);
    struct iovec strings[2];

    if (options)
        copy = *options;
    copy.release = g_free;
    *one = (struct one_of_many){pool, many, many->n};
    int result = afork_pool_call_strings(pool->pool, strings, fill(strings, a, b), &copy, on_one,
                                         one, ret);
    if (result < 0) {
        g_free(one);
        return result;
    }
    many->n++;
    pool->open++;
    return 0;
}

void test_pool_finish(struct test_pool *pool)
{
    afork_pool_unref(pool->pool);
    test_wait(pool->t, pool->destroys);
    g_assert_cmpuint(pool->destroys, ==, 1);
    g_assert_cmpuint(pool->open, ==, 0);
}

bool test_pool_has_any_event(struct test *t, const char *code)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    test_reply_auto reply = {0};

    options.rpc.async = true;
    options.max_failures = 1;
    test_pool_new(t, &pool, code, "g", &options);
    test_ok(test_pool_call(&pool, &reply, "x", NULL, NULL, NULL));
    test_wait(t, !pool.open);
    test_pool_finish(&pool);
    if (reply.error)
        g_test_skip("AnyEvent is not installed");
    return !reply.error;
}
