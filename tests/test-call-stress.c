/* SPDX-License-Identifier: MIT
 *
 * A pool and an rpc that are closed, cancelled or let go of, alone or with their context, at random
 * in any of their callbacks, while those make calls and turn the loop. Each call that was accepted
 * is released once, and completes at most once, before that; nothing comes after the end. A run can
 * be repeated with --seed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "test-pool-lib.h"

enum { USEC = 1500 * 1000, CALLS_MOST = 400, TURNS_MOST = 400, BIG = 512 * 1024 };

static const char code[] =
    "sub work { my ($what, $n) = @_;"
    "  if ($what eq 'nap') { select undef, undef, undef, $n / 500 }"
    "  elsif ($what eq 'exit') { exit $n } elsif ($what eq 'die') { die qq($n\\n) }"
    "  elsif ($what eq 'retire') { AFork::Pool::retire() }"
    "  elsif ($what eq 'event') { AFork::RPC::event($_) for 0 .. $n }"
    "  $n }";

/* Where something is done, */
enum place {
    AT_REPLY,
    AT_RELEASE,
    AT_TAKEN,
    AT_CALL_EVENT,
    AT_EVENT,
    AT_START,
    AT_EXIT,
    AT_DRAIN,
    AT_DESTROY,
    AT_RPC_EVENT,
    AT_RPC_END,
    OUTSIDE,
    N_PLACES,
};

/* and what. */
enum act { CLOSE_POOL, CANCEL_POOL, UNREF_POOL, CLOSE_RPC, UNREF_RPC, CLOSE_CONTEXT, N_ACTS };

static const char *const places[] = {"reply",   "release",   "taken",   "call event",
                                     "event",   "start",     "exit",    "drain",
                                     "destroy", "rpc event", "rpc end", "outside"};
static const char *const acts[] = {"close pool", "cancel pool", "unref pool",
                                   "close rpc",  "unref rpc",   "close context"};

struct one {
    struct world *world;
    struct afork_call *handle; /* NULL: completed */
    bool of_pool, taken;
    unsigned completed, released, taken_released;
};

struct world {
    struct test *t;
    struct afork_pool *pool;
    struct afork_rpc *rpc;
    bool pool_let_go, rpc_let_go; /* the references are gone */
    bool pool_closed, rpc_closed; /* nothing comes any more */
    unsigned destroys, ends;
    struct one calls[CALLS_MOST];
    unsigned n_calls, turns;

    enum place place;
    enum act act;
    unsigned countdown; /* that often it is not done yet */
    bool acted;
    unsigned seen[N_PLACES];
};

static void *big; /* a list of one string */
static size_t big_len;
static unsigned n_acted[N_PLACES][N_ACTS];

static unsigned random_below(unsigned n)
{
    return (unsigned)g_test_rand_int_range(0, (int)n);
}

/* ---- Ends ---- */

static void let_go_of_pool(struct world *w)
{
    w->pool_let_go = true;
    afork_pool_unref(w->pool);
}

static void let_go_of_rpc(struct world *w)
{
    w->rpc_let_go = true;
    afork_rpc_unref(w->rpc);
}

static void do_act(struct world *w)
{
    w->acted = true;
    n_acted[w->place][w->act]++;
    switch (w->act) {
    case CLOSE_POOL:
        if (w->pool_let_go)
            break;
        w->pool_closed = true; /* already for what it releases */
        afork_pool_close(w->pool);
        break;
    case CANCEL_POOL:
        if (!w->pool_let_go)
            afork_pool_cancel(w->pool);
        break;
    case UNREF_POOL:
        if (!w->pool_let_go)
            let_go_of_pool(w);
        break;
    case CLOSE_RPC:
        if (w->rpc_let_go)
            break;
        w->rpc_closed = true;
        afork_rpc_close(w->rpc);
        break;
    case UNREF_RPC:
        if (!w->rpc_let_go)
            let_go_of_rpc(w);
        break;
    case CLOSE_CONTEXT:
        w->pool_closed = w->rpc_closed = true;
        afork_context_close(g_steal_pointer(&w->t->context));
        break;
    case N_ACTS:
        break;
    }
}

/* The handle is still good for whoever has a reference to it. */
static bool has_pool(const struct world *w)
{
    return !w->pool_let_go;
}

/* ---- Calls ---- */

static void at(struct world *w, enum place place);

static void on_call_event(const struct afork_event *event, void *data)
{
    struct one *one = data;

    g_assert_nonnull(event);
    g_assert_cmpuint(one->completed, ==, 0);
    g_assert_false(one->of_pool ? one->world->pool_closed : one->world->rpc_closed);
    at(one->world, AT_CALL_EVENT);
}

static void on_reply(const struct afork_reply *reply, void *data)
{
    struct one *one = data;

    g_assert_nonnull(reply->message);
    g_assert_cmpuint(one->completed++, ==, 0);
    g_assert_cmpuint(one->released + one->taken_released, ==, 0);
    g_assert_cmpuint(one->of_pool ? one->world->destroys : one->world->ends, ==, 0);
    g_assert_false(one->of_pool ? one->world->pool_closed : one->world->rpc_closed);
    one->handle = NULL;
    at(one->world, AT_REPLY);
}

static void on_release(void *data)
{
    struct one *one = data;

    g_assert_cmpuint(one->released++, ==, 0);
    one->handle = NULL;
    at(one->world, AT_RELEASE);
}

static void on_taken(void *data)
{
    struct one *one = data;

    g_assert_cmpuint(one->taken_released++, ==, 0);
    g_assert_cmpuint(one->released, ==, 1);
    at(one->world, AT_TAKEN);
}

static void add_call(struct world *w)
{
    static const char *const whats[] = {"x", "nap", "event", "die", "retire", "exit", "x", "nap"};
    struct afork_call_options options = AFORK_CALL_OPTIONS_INIT;
    const char *what = whats[random_below(random_below(4) ? 4 : G_N_ELEMENTS(whats))];
    char number[2] = {(char)('0' + random_below(4))};
    struct iovec strings[] = {{(void *)what, strlen(what)}, {number, 1}};
    bool of_pool = random_below(4);
    int result;

    if (w->n_calls == CALLS_MOST || (of_pool ? w->pool_let_go : w->rpc_let_go))
        return;
    struct one *one = &w->calls[w->n_calls];
    *one = (struct one){.world = w, .of_pool = of_pool, .taken = !random_below(6)};
    options.release = on_release;
    options.on_event = random_below(2) ? on_call_event : NULL;
    options.timeout = random_below(4) ? 0 : 1 + random_below(5000);
    options.run_timeout = !of_pool || random_below(4) ? 0 : 1 + random_below(5000);
    w->n_calls++; /* as what is sent may make calls */
    if (one->taken && of_pool)
        result = afork_pool_call_take(w->pool, big, big_len, on_taken, one, &options, on_reply, one,
                                      &one->handle);
    else if (one->taken)
        result = afork_rpc_call_take(w->rpc, big, big_len, on_taken, one, &options, on_reply, one,
                                     &one->handle);
    else if (of_pool)
        result = afork_pool_call_strings(w->pool, strings, 2, &options, on_reply, one,
                                         &one->handle);
    else
        result = afork_rpc_call_strings(w->rpc, strings, 2, &options, on_reply, one, &one->handle);
    if (!result)
        return;
    g_assert_true(result == -EPIPE || result == -ENOSPC || result == -ESHUTDOWN || result == -EIO);
    g_assert_cmpuint(one->completed + one->released + one->taken_released, ==, 0);
    one->taken = false;
    one->released = 1; /* as if */
}

static void cancel_one(struct world *w)
{
    struct one *one = w->n_calls ? &w->calls[random_below(w->n_calls)] : NULL;

    if (one && one->handle)
        afork_call_cancel(one->handle, random_below(one->of_pool ? 3 : 2));
}

static void check_stats(struct world *w)
{
    struct afork_pool_stats stats;

    if (w->pool_let_go || afork_pool_get_stats(w->pool, &stats) < 0)
        return;
    g_assert_cmpuint(stats.queued, <, 30 + 3 * 4); /* those that came back from workers, too */
    g_assert_cmpuint(stats.running, <=, CALLS_MOST);
    g_assert_cmpuint(stats.completed + stats.failed, <=, w->n_calls);
}

/* ---- Callbacks ---- */

/* In any of them: what is to be done here, or something else. */
static void at(struct world *w, enum place place)
{
    w->seen[place]++;
    check_stats(w);
    if (place == w->place && !w->acted && !w->countdown--)
        do_act(w);
    switch (random_below(12)) {
    case 0:
    case 1:
        add_call(w);
        break;
    case 2:
        cancel_one(w);
        break;
    case 3:
        if (w->turns++ < 20) /* it turns in itself, too */
            w->t->type->turn(w->t->loop_self, 500);
        break;
    case 4:
        if (has_pool(w))
            afork_pool_retire(w->pool);
        break;
    default:
        break;
    }
}

static struct world *pool_callback(void *data)
{
    struct world *w = data;

    g_assert_false(w->pool_closed);
    g_assert_cmpuint(w->destroys, ==, 0);
    return w;
}

static void on_event(struct afork_pool *pool, pid_t pid, const struct afork_event *event,
                     void *data)
{
    (void)pool, (void)pid, (void)event;
    at(pool_callback(data), AT_EVENT);
}

static void on_start(struct afork_pool *pool, struct afork_process *worker, void *data)
{
    (void)pool, (void)worker;
    at(pool_callback(data), AT_START);
}

static void on_exit_of(struct afork_pool *pool, struct afork_process *worker,
                       const struct afork_exit *exit, void *data)
{
    (void)pool, (void)worker, (void)exit;
    at(pool_callback(data), AT_EXIT);
}

static void on_drain(struct afork_pool *pool, void *data)
{
    (void)pool;
    at(pool_callback(data), AT_DRAIN);
}

static void on_destroy(struct afork_pool *pool, void *data)
{
    struct world *w = pool_callback(data);

    (void)pool;
    for (unsigned i = 0; i < w->n_calls; i++)
        if (w->calls[i].of_pool)
            g_assert_cmpuint(w->calls[i].released, ==, 1);
    w->destroys++;
    at(w, AT_DESTROY);
}

static void on_rpc_event(struct afork_rpc *rpc, const struct afork_event *event, void *data)
{
    struct world *w = data;

    (void)rpc, (void)event;
    g_assert_false(w->rpc_closed || w->ends);
    at(w, AT_RPC_EVENT);
}

static void on_rpc_end(struct afork_rpc *rpc, int error, const char *message,
                       const struct afork_exit *exit, void *data)
{
    struct world *w = data;

    (void)rpc, (void)error, (void)message, (void)exit;
    g_assert_false(w->rpc_closed || w->ends);
    for (unsigned i = 0; i < w->n_calls; i++)
        if (!w->calls[i].of_pool)
            g_assert_cmpuint(w->calls[i].released, ==, 1);
    w->ends++;
    at(w, AT_RPC_END);
}

/* ---- Rounds ---- */

static void make(struct world *w)
{
    struct afork_pool_options options = AFORK_POOL_OPTIONS_INIT;
    struct afork_rpc_options rpc_options = AFORK_RPC_OPTIONS_INIT;
    struct afork_process *process = test_rpc_process(w->t, code);
    struct afork_process *other = test_rpc_process(w->t, code);

    options.max = 1 + random_below(3);
    options.idle = random_below(options.max + 1);
    options.load = 1 + random_below(4);
    options.start = -1;
    options.stop = random_below(2) ? -1 : 1000;
    options.queue_max = 10 + random_below(20);
    options.single_call = !random_below(4);
    options.crash = random_below(2) ? AFORK_CRASH_RETRY_ONCE : AFORK_CRASH_FAIL;
    options.on_event = on_event;
    options.on_worker_start = on_start;
    options.on_worker_exit = on_exit_of;
    options.on_drain = on_drain;
    options.on_destroy = on_destroy;
    options.data = rpc_options.data = w;
    rpc_options.on_event = on_rpc_event;
    rpc_options.on_end = on_rpc_end;
    test_ok(afork_pool_new(process, "work", &options, &w->pool));
    test_ok(afork_rpc_new(other, "work", &rpc_options, &w->rpc));
    afork_process_unref(process);
    afork_process_unref(other);
}

/* Some places are only reached near the end. */
static bool goes_on(const struct world *w)
{
    bool waits = w->place == AT_DESTROY || w->place == AT_RPC_END;

    return !w->acted && !waits && w->n_calls < CALLS_MOST && w->turns < TURNS_MOST;
}

static void end(struct world *w)
{
    struct test *t = w->t;

    if (!w->pool_let_go && random_below(2))
        afork_pool_finish(w->pool);
    else if (!w->pool_let_go)
        let_go_of_pool(w);
    if (!w->rpc_let_go && random_below(2))
        afork_rpc_finish(w->rpc);
    else if (!w->rpc_let_go)
        let_go_of_rpc(w);
    test_wait(t, (w->pool_closed || w->destroys) && (w->rpc_closed || w->ends));
    if (!w->pool_let_go)
        let_go_of_pool(w);
    if (!w->rpc_let_go)
        let_go_of_rpc(w);
}

static void check(const struct world *w)
{
    for (unsigned i = 0; i < w->n_calls; i++) {
        const struct one *one = &w->calls[i];
        g_assert_cmpuint(one->released, ==, 1);
        g_assert_cmpuint(one->taken_released, ==, one->taken);
        g_assert_cmpuint(one->completed, <=, 1);
    }
    g_assert_cmpuint(w->destroys, <=, 1);
    g_assert_cmpuint(w->ends, <=, 1);
}

static void play(struct test *t, struct world *w)
{
    w->t = t;
    w->place = (enum place)random_below(N_PLACES);
    w->act = (enum act)random_below(N_ACTS);
    w->countdown = random_below(random_below(2) ? 2 : 10);
    make(w);
    for (unsigned i = 0; i < 30; i++)
        add_call(w);
    while (goes_on(w)) {
        add_call(w);
        cancel_one(w);
        w->turns++;
        t->type->turn(t->loop_self, random_below(1000));
        if (w->place == OUTSIDE && w->turns > w->countdown)
            do_act(w);
    }
    end(w);
    if (t->context)
        afork_context_close(g_steal_pointer(&t->context));
    w->pool_closed = w->rpc_closed = true;
    for (int i = 0; i < 3; i++)
        t->type->turn(t->loop_self, 0);
    check(w);
}

static void ends_anywhere(struct test *t)
{
    gint64 end = g_get_monotonic_time() + USEC;
    unsigned rounds = 0;

    t->options.standard_error.mode = AFORK_STDIO_NULL;
    g_autofree char *octets = g_malloc0(BIG);
    test_ok(afork_strings_pack(&(struct iovec){octets, BIG}, 1, &big, &big_len));
    memset(n_acted, 0, sizeof n_acted);
    for (; g_get_monotonic_time() < end; rounds++) {
        struct world *w = g_new0(struct world, 1);
        play(t, w);
        g_free(w);
    }
    g_test_message("%u rounds", rounds);
    for (int place = 0; place < N_PLACES; place++)
        for (int act = 0; act < N_ACTS; act++)
            if (n_acted[place][act])
                g_test_message("%s at %s: %u", acts[act], places[place], n_acted[place][act]);
    g_assert_cmpuint(rounds, >, 0);
    free(big);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_calls_add("/call-stress/ends", ends_anywhere);
    return g_test_run();
}
