/* SPDX-License-Identifier: MIT
 *
 * How many workers a pool has, and when. Time is made to pass by moving the clock.
 */
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "test-pool-lib.h"
#include "util.h"

/* ---- A clock that can be moved ---- */

static int64_t ahead; /* microseconds */
static int timer_fd = -1;
static int64_t timer_at; /* on our clock */

/* Both stand before libc's. */
int clock_gettime(clockid_t clock, struct timespec *ret)
{
    int result = (int)syscall(SYS_clock_gettime, clock, ret);

    if (clock != CLOCK_MONOTONIC || result < 0)
        return result;
    int64_t usec = ret->tv_sec * AFORK__USEC_PER_SEC + ret->tv_nsec / 1000 + ahead;
    *ret = (struct timespec){usec / AFORK__USEC_PER_SEC, usec % AFORK__USEC_PER_SEC * 1000};
    return 0;
}

int timerfd_settime(int fd, int flags, const struct itimerspec *value, struct itimerspec *old)
{
    timer_fd = fd;
    timer_at = afork__now() + value->it_value.tv_sec * AFORK__USEC_PER_SEC +
               value->it_value.tv_nsec / 1000;
    return (int)syscall(SYS_timerfd_settime, fd, flags, value, old);
}

/* Lets time pass, and what is due happen. */
static void pass(struct test_pool *pool, int64_t usec)
{
    ahead += usec;
    int64_t wait = MAX(timer_at - afork__now(), 0);
    struct itimerspec value = {.it_value = {.tv_sec = wait / AFORK__USEC_PER_SEC,
                                            .tv_nsec = wait % AFORK__USEC_PER_SEC * 1000 + 1}};
    if (timer_fd >= 0)
        test_ok(syscall(SYS_timerfd_settime, timer_fd, 0, &value, NULL));
    for (int i = 0; i < 5; i++)
        pool->t->type->turn(pool->t->loop_self, 1000);
}

static void make(struct test *t, struct test_pool *pool, const char *code, const char *function,
                 const struct afork_pool_options *options)
{
    timer_fd = -1; /* that of the last test */
    test_pool_new(t, pool, code, function, options);
}

enum { SECOND = 1000 * 1000 };

/* A function whose calls last until they are told to end, by a file. */
static const char code[] = "sub hold { select undef, undef, undef, 0.002 while -e $_[0]; $$ }"
                           "sub id { AFork::Pool::retire() if ($_[0] // '') eq 'retire'; $$ }"
                           "my @leak; sub leak { push @leak, 'x' x 1e6 for 1 .. $_[0]; $$ }";

struct gate {
    char *path;
};

static void gate_close(struct gate *gate)
{
    g_autoptr(GError) error = NULL;

    int fd = g_file_open_tmp("afork-XXXXXX", &gate->path, &error);
    g_assert_no_error(error);
    close(fd);
}

static void gate_open(struct gate *gate)
{
    unlink(gate->path);
    g_clear_pointer(&gate->path, g_free);
}

/* ---- Sizes ---- */

/* At once as many as there are calls, down to those that are kept after a while, and back after
 * all of them were killed. */
static void grows_and_shrinks(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    struct gate gate;
    test_many_auto many;
    test_many_auto more;

    test_many_init(&many, 8);
    test_many_init(&more, 50);
    options.max = 8;
    options.idle = 2;
    options.load = 1;
    options.start = -1;
    make(t, &pool, code, "hold", &options);
    test_wait(t, pool.starts == 2);
    gate_close(&gate);
    for (unsigned i = 0; i < 8; i++)
        test_ok(test_many_call(&pool, &many, gate.path, NULL, NULL, NULL));
    test_wait(t, test_pool_stats(&pool).running == 8);
    g_assert_cmpuint(test_pool_stats(&pool).busy, ==, 8);
    gate_open(&gate);
    test_wait(t, many.good == 8);
    g_assert_cmpuint(test_pool_stats(&pool).workers, ==, 8);
    pass(&pool, 9 * SECOND);
    g_assert_cmpuint(test_pool_stats(&pool).workers, ==, 8);
    pass(&pool, 2 * SECOND);
    g_assert_cmpuint(test_pool_stats(&pool).workers, ==, 2);
    test_wait(t, pool.exits == 6);
    pass(&pool, 100 * SECOND);
    g_assert_cmpuint(test_pool_stats(&pool).workers, ==, 2);

    gate_close(&gate);
    for (unsigned i = 0; i < 50; i++)
        test_ok(test_many_call(&pool, &more, gate.path, NULL, NULL, NULL));
    test_wait(t, test_pool_stats(&pool).running == 8);
    g_autoptr(GArray) pids = test_pool_pids(&pool);
    g_assert_cmpuint(pids->len, ==, 8);
    for (guint i = 0; i < pids->len; i++)
        test_ok(kill(g_array_index(pids, pid_t, i), SIGKILL));
    test_wait(t, pool.exits == 14);
    gate_open(&gate);
    for (int i = 0; i < 200 && pool.open;
         i++) /* some had not answered anything: a wait before more */
        pass(&pool, SECOND / 2);
    test_wait(t, !pool.open);
    g_assert_cmpuint(more.bad[ECONNRESET], ==, 8);
    g_assert_cmpuint(more.good, ==, 42);
    g_assert_false(more.twice);
    g_assert_cmpuint(test_pool_stats(&pool).crashed, ==, 8);
    test_pool_finish(&pool);
}

/* The first at once, each other when calls have waited for so long. */
static void start_waits(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    struct gate gate;
    test_many_auto many;

    test_many_init(&many, 20);
    options.load = 2;
    options.start = 5 * SECOND;
    gate_close(&gate);
    make(t, &pool, code, "hold", &options);
    g_assert_cmpuint(test_pool_stats(&pool).started, ==, 0);
    for (unsigned i = 0; i < 2; i++)
        test_ok(test_many_call(&pool, &many, gate.path, NULL, NULL, NULL));
    g_assert_cmpuint(test_pool_stats(&pool).started, ==, 1);
    test_wait(t, test_pool_stats(&pool).running == 2);
    pass(&pool, 100 * SECOND); /* nothing waits */
    g_assert_cmpuint(test_pool_stats(&pool).started, ==, 1);
    for (unsigned i = 2; i < 20; i++)
        test_ok(test_many_call(&pool, &many, gate.path, NULL, NULL, NULL));
    for (unsigned workers = 1; workers < 4; workers++) {
        g_assert_cmpuint(test_pool_stats(&pool).started, ==, workers);
        pass(&pool, 4 * SECOND);
        g_assert_cmpuint(test_pool_stats(&pool).started, ==, workers);
        pass(&pool, SECOND + SECOND / 10);
        g_assert_cmpuint(test_pool_stats(&pool).started, ==, workers + 1);
        test_wait(t, test_pool_stats(&pool).running == 2 * (workers + 1));
    }
    pass(&pool, 100 * SECOND);
    g_assert_cmpuint(test_pool_stats(&pool).started, ==, 4);
    g_assert_cmpuint(test_pool_stats(&pool).queued, ==, 12);
    gate_open(&gate);
    test_wait(t, many.good == 20);
    test_pool_finish(&pool);
}

/* A wait that is over before a call has waited long enough starts again. */
static void start_begins_anew(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    struct gate gate;
    test_many_auto many;

    test_many_init(&many, 10);
    options.load = 1;
    options.start = 5 * SECOND;
    make(t, &pool, code, "hold", &options);
    for (int round = 0; round < 3; round++) {
        gate_close(&gate);
        for (unsigned i = 0; i < 2; i++)
            test_ok(test_many_call(&pool, &many, gate.path, NULL, NULL, NULL));
        test_wait(t, test_pool_stats(&pool).running == 1);
        pass(&pool, 4 * SECOND);
        gate_open(&gate);
        test_wait(t, !pool.open);
        g_assert_cmpuint(test_pool_stats(&pool).started, ==, 1);
    }
    test_pool_finish(&pool);
}

static void sizes_change(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    struct gate gate;
    test_many_auto many;

    test_many_init(&many, 60);
    options.max = 2;
    options.load = 1;
    options.start = -1;
    gate_close(&gate);
    make(t, &pool, code, "hold", &options);
    for (unsigned i = 0; i < 60; i++)
        test_ok(test_many_call(&pool, &many, gate.path, NULL, NULL, NULL));
    test_wait(t, test_pool_stats(&pool).running == 2);
    test_ok(afork_pool_set_size(pool.pool, 6, 0, 1));
    test_wait(t, test_pool_stats(&pool).running == 6);
    test_ok(afork_pool_set_size(pool.pool, 6, 0, 5));
    test_wait(t, test_pool_stats(&pool).running == 30);
    test_ok(afork_pool_set_size(pool.pool, 1, 0, 1));
    g_assert_cmpuint(test_pool_stats(&pool).workers, ==, 6);
    gate_open(&gate);
    test_wait(t, many.good == 60);
    g_assert_cmpuint(test_pool_stats(&pool).workers, ==, 1);
    test_ok(afork_pool_set_size(pool.pool, 4, 3, 1));
    test_wait(t, pool.starts == 8);
    g_assert_cmpuint(test_pool_stats(&pool).workers, ==, 3);
    test_ok(afork_pool_set_size(pool.pool, 3, 1, 1));
    pass(&pool, 11 * SECOND);
    g_assert_cmpuint(test_pool_stats(&pool).workers, ==, 1);
    test_pool_finish(&pool);
}

static void stop_at_once(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    test_reply_auto reply = {0};

    options.stop = -1;
    make(t, &pool, code, "id", &options);
    test_ok(test_pool_call(&pool, &reply, NULL, NULL, NULL, NULL));
    test_wait(t, !pool.open && pool.exits == 1);
    g_assert_cmpuint(test_pool_stats(&pool).workers, ==, 0);
    test_pool_finish(&pool);
}

/* ---- Retirement ---- */

static void by_calls(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    test_many_auto many;

    test_many_init(&many, 100);
    options.max = 1;
    options.load = 4;
    options.retire_calls = 10;
    make(t, &pool, code, "id", &options);
    for (unsigned i = 0; i < 100; i++)
        test_ok(test_many_call(&pool, &many, NULL, NULL, NULL, NULL));
    test_wait(t, many.good == 100);
    g_assert_cmpuint(test_pool_stats(&pool).started, ==, 10);
    g_assert_cmpuint(test_pool_stats(&pool).retired, ==, 10);
    g_assert_cmpuint(test_pool_stats(&pool).crashed, ==, 0);
    test_pool_finish(&pool);
}

static void by_age(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    test_reply_auto reply = {0};

    options.max = options.idle = 2;
    options.retire_age = 3600 * (int64_t)SECOND;
    make(t, &pool, code, "id", &options);
    test_wait(t, pool.starts == 2);
    pass(&pool, 3599 * (int64_t)SECOND);
    g_assert_cmpuint(test_pool_stats(&pool).started, ==, 2);
    pass(&pool, SECOND + SECOND / 2);
    test_wait(t, pool.starts == 4 && pool.exits == 2);
    g_assert_cmpuint(test_pool_stats(&pool).retired, ==, 2);
    pass(&pool, 3601 * (int64_t)SECOND);
    test_wait(t, pool.starts == 6 && pool.exits == 4);
    g_assert_cmpuint(test_pool_stats(&pool).workers, ==, 2);
    test_ok(test_pool_call(&pool, &reply, NULL, NULL, NULL, NULL));
    test_wait(t, !pool.open);
    test_pool_finish(&pool);
}

/* Each call leaks: what one worker has of its own stays bounded. */
static void by_memory(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    test_reply_auto reply = {0};

    options.max = 1;
    options.retire_memory = 30 << 20;
    make(t, &pool, code, "leak", &options);
    test_ok(test_pool_call(&pool, &reply, "10", NULL, NULL, NULL));
    test_wait(t, !pool.open);
    g_assert_cmpuint(test_pool_stats(&pool).retired, ==, 0);
    pass(&pool, SECOND);
    test_reply_clear(&reply);
    test_ok(test_pool_call(&pool, &reply, "40", NULL, NULL, NULL));
    test_wait(t, !pool.open);
    g_assert_cmpuint(test_pool_stats(&pool).retired, ==, 1);
    test_wait(t, pool.exits == 1);
    test_pool_finish(&pool);
}

static void by_itself_and_by_hand(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    test_many_auto many;

    test_many_init(&many, 20);
    options.max = options.idle = 1;
    make(t, &pool, code, "id", &options);
    test_wait(t, pool.starts == 1);
    test_ok(test_many_call(&pool, &many, "retire", NULL, NULL, NULL));
    test_wait(t, pool.starts == 2 && pool.exits == 1);
    g_assert_cmpuint(many.good, ==, 1);
    g_assert_cmpuint(test_pool_stats(&pool).retired, ==, 1);
    test_ok(test_many_call(&pool, &many, NULL, NULL, NULL, NULL));
    test_ok(afork_pool_retire(pool.pool)); /* while it works */
    test_ok(afork_pool_retire(pool.pool));
    test_wait(t, pool.starts == 3 && pool.exits == 2);
    g_assert_cmpuint(many.good, ==, 2);
    test_ok(afork_pool_retire(pool.pool)); /* while it does not */
    test_wait(t, pool.starts == 4 && pool.exits == 3);
    g_assert_cmpuint(test_pool_stats(&pool).retired, ==, 3);
    g_assert_cmpuint(test_pool_stats(&pool).workers, ==, 1);
    test_pool_finish(&pool);
}

/* ---- Loops ---- */

static void idle_pools_are_quiet(struct test *t)
{
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    test_reply_auto reply = {0};

    options.idle = 2;
    options.retire_age = 3600 * (int64_t)SECOND;
    make(t, &pool, code, "id", &options);
    test_ok(test_pool_call(&pool, &reply, NULL, NULL, NULL, NULL));
    test_wait(t, !pool.open && pool.starts >= 2);
    test_turn_for(t, 200 * 1000);
    test_assert_idle(t, 500 * 1000);
    test_pool_finish(&pool);
}

static void note_peak(struct afork_pool *pool, struct afork_process *worker,
                      const struct afork_exit *exit, void *data)
{
    long *peak = ((struct test_pool *)data)->t->data;

    (void)pool;
    (void)worker;
    ((struct test_pool *)data)->exits++;
    if (exit && exit->has_usage)
        *peak = MAX(*peak, exit->usage.ru_maxrss);
}

/* 10,000 calls that lose a megabyte each take no more than those of one worker's life. */
static void leaks_stay_bounded(struct test *t)
{
    enum { CALLS = 10000, EACH = 100 };
    struct test_pool pool = {0};
    struct afork_pool_options options = test_pool_options(&pool);
    test_many_auto many;
    void *data = t->data;
    long peak = 0;

    t->options.perl = g_getenv("AFORK_PERL");
    t->data = &peak;
    options.max = 2;
    options.retire_calls = EACH;
    options.on_worker_exit = note_peak;
    test_many_init(&many, CALLS);
    test_pool_new(t, &pool, "sub leak { push @lost, 'x' x 1_000_000; 1 }", "leak", &options);
    for (unsigned i = 0; i < CALLS; i++)
        test_ok(test_many_call(&pool, &many, NULL, NULL, NULL, NULL));
    test_wait(t, !pool.open);
    g_assert_cmpuint(many.good, ==, CALLS);
    g_assert_cmpuint(test_pool_stats(&pool).retired, >=, CALLS / EACH - 2);
    test_pool_finish(&pool);
    g_assert_cmpint(peak, >, 80 * 1000); /* KiB */
    g_assert_cmpint(peak, <, 200 * 1000);
    t->data = data;
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_calls_add("/pool/size/grows-and-shrinks", grows_and_shrinks);
    test_calls_add("/pool/size/start-waits", start_waits);
    test_calls_add("/pool/size/start-begins-anew", start_begins_anew);
    test_calls_add("/pool/size/changes", sizes_change);
    test_calls_add("/pool/size/stop-at-once", stop_at_once);
    test_calls_add("/pool/retire/calls", by_calls);
    test_calls_add("/pool/retire/age", by_age);
    test_calls_add("/pool/retire/memory", by_memory);
    if (!test_has_sanitizers())
        test_perl_add("/pool/retire/leaks", leaks_stay_bounded); /* one loop: it takes seconds */
    test_calls_add("/pool/retire/by-itself-and-by-hand", by_itself_and_by_hand);
    test_calls_add("/pool/size/quiet", idle_pools_are_quiet);
    return g_test_run();
}
