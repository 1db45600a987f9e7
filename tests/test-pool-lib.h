/* SPDX-License-Identifier: MIT
 *
 * What tests of pools share: a pool that notes what it tells, and many calls at a time.
 */
#ifndef TEST_POOL_LIB_H
#define TEST_POOL_LIB_H

#include "test-rpc-lib.h"

struct test_pool {
    struct test *t;
    struct afork_pool *pool;
    unsigned starts, exits, drains, destroys, events;
    enum afork_cause last_cause;
    int last_status;
    unsigned open; /* calls that are not completed */
};

/* Options of a pool that tells `pool`. */
struct afork_pool_options test_pool_options(struct test_pool *pool);

/* A pool of processes as test_rpc_process() has them. */
void test_pool_new(struct test *t, struct test_pool *pool, const char *code, const char *function,
                   const struct afork_pool_options *options);

/* A call with up to two strings; NULL: none. `options` may be NULL. */
int test_pool_call(struct test_pool *pool, struct test_reply *reply, const char *a, const char *b,
                   const struct afork_call_options *options, struct afork_call **ret);

/* Whether the perl of the test has AnyEvent, which the first call of `g` in `code` finds out; skips
 * the case if not. */
bool test_pool_has_any_event(struct test *t, const char *code);

struct afork_pool_stats test_pool_stats(struct test_pool *pool);

/* The pids of its workers, oldest first; the caller frees them. */
GArray *test_pool_pids(struct test_pool *pool);

/* Calls that have nothing to say but how they ended. */
struct test_many {
    unsigned n, done, good, bad[256]; /* `bad` by errno */
    bool twice;
    guint8 *seen;
};

void test_many_init(struct test_many *many, unsigned n);
void test_many_clear(struct test_many *many);
#define test_many_auto __attribute__((cleanup(test_many_clear))) struct test_many

/* Makes the next of them. */
int test_many_call(struct test_pool *pool, struct test_many *many, const char *a, const char *b,
                   const struct afork_call_options *options, struct afork_call **ret);

/* Lets go of the pool and waits for its end. */
void test_pool_finish(struct test_pool *pool);

#endif
