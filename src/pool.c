/* SPDX-License-Identifier: MIT
 *
 * Pools: the public calls, what calls go through, and the end. The user is called back from here
 * and from pool-workers.c, always by the loop, and may do anything meanwhile: what is behind
 * such a call looks at the pool anew, which its reference keeps.
 */
#include "config.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "pool.h"
#include "util.h"

/* Calls that one turn completes because they were cancelled or are late. */
enum { SHARE = 64 };

struct afork_pool *afork__pool_ref(struct afork_pool *pool)
{
    pool->refs++;
    return pool;
}

void afork__pool_unref(struct afork_pool *pool)
{
    if (--pool->refs)
        return;
    afork__pool_drop_template(pool);
    if (pool->source)
        afork__process_unref_memory(pool->source);
    afork__pool_options_free(pool);
    afork__context_unref(pool->context);
    free(pool->by_load);
    free(pool->function);
    free(pool->message);
    free(pool);
}

/* ---- What happens to calls ---- */

static void count(struct afork_pool *pool, int error)
{
    if (!error || error == -EREMOTEIO)
        pool->stats.completed++;
    else
        pool->stats.failed++;
    pool->stats.timed_out += error == -ETIMEDOUT;
    pool->stats.cancelled += error == -ECANCELED;
}

static void log_end(const struct afork_call *call, int error, const char *message)
{
    afork__pool_log(call->pool, "call %llu: %s%s%s", (unsigned long long)call->order,
                    error ? strerror(-error) : "done", *message ? ": " : "", message);
}

static void forget_call(struct afork_pool *pool, struct afork_call *call)
{
    TAILQ_REMOVE(&pool->calls, call, pool_link);
    pool->n_calls--;
}

void afork__pool_called_back(struct afork_pool *pool)
{
    pool->n_callbacks--;
    if (pool->ending && !pool->n_calls)
        afork__pool_settle(pool);
}

void afork__pool_complete(struct afork_call *call, struct afork_reply *reply)
{
    struct afork_pool *pool = call->pool;

    log_end(call, reply->error, reply->message);
    count(pool, reply->error);
    forget_call(pool, call);
    pool->n_callbacks++;
    afork__call_complete(call, reply);
    afork__pool_called_back(pool);
}

static void complete_next(struct afork_pool *pool)
{
    struct afork_call *call = TAILQ_FIRST(&pool->due.calls);

    if (call->state != AFORK__CALL_GONE) {
        log_end(call, call->error, "");
        count(pool, call->error);
        forget_call(pool, call);
    }
    pool->n_callbacks++;
    afork__due_next(&pool->due);
    pool->n_callbacks--;
}

/* Those that were cancelled, or are late; and what is left of some. */
static void complete_due(struct afork__turn *turn)
{
    struct afork_pool *pool = AFORK__CONTAINER(turn, struct afork_pool, due.turn);

    afork__pool_ref(pool);
    /* One that is being closed drops them, though what it releases turn the loop. */
    for (int share = SHARE; share && !pool->closed && !TAILQ_EMPTY(&pool->due.calls); share--)
        complete_next(pool);
    afork__pool_settle(pool);
    afork__pool_unref(pool);
}

/* It is in one place only, whatever comes of it. */
static void withdraw(struct afork_call *call, int error)
{
    if (call->worker) {
        afork__worker_withdraw(call->worker, call, error);
    } else {
        afork__pool_queue_remove(&call->pool->queue, call);
        afork__due_add(&call->pool->due, call, error);
    }
}

struct afork__due *afork__pool_due(struct afork_pool *pool)
{
    return &pool->due;
}

void afork__pool_withdraw(struct afork_call *call, int error)
{
    struct afork_pool *pool = call->pool;

    withdraw(call, error);
    afork__pool_settle(pool);
}

int afork__pool_may_cancel(struct afork_call *call, enum afork_cancel how)
{
    if (!call->worker || call->state == AFORK__CALL_UNSENT)
        return 0;
    if (how == AFORK_CANCEL_QUEUED)
        return -EBUSY;
    if (how != AFORK_CANCEL_KILL || !afork__worker_is_at(call->worker, call))
        return 0;
    return afork__worker_kill(call->worker);
}

void afork__pool_move(struct afork_call *call, int priority)
{
    afork__pool_queue_remove(&call->pool->queue, call);
    call->priority = priority;
    afork__pool_queue_add(&call->pool->queue, call);
}

/* ---- What the pool does ---- */

void afork__pool_later(struct afork_pool *pool)
{
    afork__turn_due(pool->context, &pool->turn);
}

static bool is_drained(const struct afork_pool *pool)
{
    return pool->drain && pool->queue.n <= pool->options.queue_max / 2;
}

/* Nothing is left to be told but the end. */
static bool is_over(const struct afork_pool *pool)
{
    const struct afork__worker *worker;

    if (!pool->ending || pool->n_calls || pool->n_callbacks)
        return false;
    TAILQ_FOREACH (worker, &pool->workers, link)
        if (!worker->abandoned)
            return false;
    return true;
}

/* All calls are completed: nobody has anything more to do that matters. */
static void finish_workers(struct afork_pool *pool)
{
    struct afork__worker *worker;

    afork__pool_drop_template(pool);
    TAILQ_FOREACH (worker, &pool->workers, link)
        afork__worker_leave(worker);
}

void afork__pool_give(struct afork__worker *worker, struct afork_call *call)
{
    struct afork_pool *pool = worker->pool;
    int result = afork__worker_give(worker, call);

    if (result < 0)
        afork__due_add(&pool->due, call, result);
}

static void give_calls(struct afork_pool *pool)
{
    struct afork__worker *worker;

    while (pool->queue.n && (worker = afork__pool_choose(pool))) {
        struct afork_call *call = afork__pool_queue_first(&pool->queue);
        afork__pool_queue_remove(&pool->queue, call);
        afork__pool_give(worker, call);
    }
}

void afork__pool_settle(struct afork_pool *pool)
{
    if (pool->closed || pool->destroyed || pool->context->closed)
        return;
    afork__pool_ref(pool); /* what is sent may release what is the user's, who may do anything */
    give_calls(pool);
    afork__pool_grow(pool);
    afork__pool_shrink(pool);
    if (pool->ending && !pool->n_calls)
        finish_workers(pool);
    if (!pool->closed && (is_drained(pool) || afork__pool_is_lost(pool) || is_over(pool)))
        afork__pool_later(pool);
    afork__pool_unref(pool);
}

static void detach(struct afork_pool *pool)
{
    LIST_REMOVE(&pool->attachment, link);
    afork__pool_sizes_clear(pool);
    afork__turn_clear(pool->context, &pool->turn);
    afork__turn_clear(pool->context, &pool->due.turn);
    afork__pool_unref(pool); /* its own life's */
}

static void destroy(struct afork_pool *pool)
{
    struct afork__worker *worker;

    pool->destroyed = true;
    afork__pool_log(pool, "over, %llu calls completed", (unsigned long long)pool->stats.completed);
    detach(pool);
    while ((worker = TAILQ_FIRST(&pool->workers)))
        afork__worker_close(worker, false);
    afork__due_clear(&pool->due, pool->context); /* which releases what is the user's */
    if (pool->options.on_destroy && !pool->closed && !pool->context->closed)
        pool->options.on_destroy(pool, pool->options.data);
}

static void turn(struct afork__turn *turn)
{
    struct afork_pool *pool = AFORK__CONTAINER(turn, struct afork_pool, turn);

    afork__pool_ref(pool);
    afork__pool_break(pool, NULL);
    if (!pool->closed && is_drained(pool)) {
        pool->drain = false;
        afork__pool_log(pool, "drained, %zu calls wait", pool->queue.n);
        pool->n_callbacks++;
        if (pool->options.on_drain)
            pool->options.on_drain(pool, pool->options.data);
        pool->n_callbacks--;
    }
    if (!pool->closed && !pool->destroyed) {
        if (is_over(pool))
            destroy(pool);
        else
            afork__pool_settle(pool);
    }
    afork__pool_unref(pool);
}

/* ---- Making ---- */

static void close_silently(struct afork_pool *pool);

static void context_closes(struct afork__attachment *attachment)
{
    close_silently(AFORK__CONTAINER(attachment, struct afork_pool, attachment));
}

static void context_leaves(struct afork__attachment *attachment)
{
    const struct afork_pool *pool = AFORK__CONTAINER(attachment, struct afork_pool, attachment);
    struct afork__worker *worker;

    TAILQ_FOREACH (worker, &pool->workers, link)
        afork_process_kill(worker->process, SIGKILL);
}

static int init(struct afork_pool *pool, struct afork_process *process, const char *function)
{
    pool->function = strdup(function);
    int result = pool->function ? 0 : -ENOMEM;
    if (!result)
        result = afork__pool_set_levels(pool, pool->options.load);
    if (!result)
        result = afork__deadlines_prepare(pool->context);
    if (result < 0)
        return result;
    pool->source = process;
    afork__process_ref_memory(process);
    return afork__pool_make_template(pool);
}

int afork_pool_new(struct afork_process *process, const char *function,
                   const struct afork_pool_options *options, struct afork_pool **ret)
{
    int result = ret && function && *function ? 0 : -EINVAL;

    if (!result)
        result = process ? afork__process_check_server(process) : -EINVAL;
    if (result < 0)
        return result;
    if (process->limits.no_new_processes || process->fork_limits.no_new_processes)
        return -EPERM; /* the template could not be forked, or not fork */
    struct afork_pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return -ENOMEM;
    pool->refs = 1;
    pool->context = afork__context_ref(process->context);
    afork__pool_queue_init(&pool->queue);
    TAILQ_INIT(&pool->calls);
    TAILQ_INIT(&pool->workers);
    result = afork__pool_options_copy(pool, options);
    if (!result)
        result = init(pool, process, function);
    if (result < 0) {
        afork__pool_unref(pool);
        return result;
    }
    pool->refs = 2;
    pool->user_refs = 1;
    pool->attachment.close = context_closes;
    pool->attachment.leave = context_leaves;
    pool->turn.cb = turn;
    afork__due_init(&pool->due, complete_due);
    LIST_INSERT_HEAD(&pool->context->attachments, &pool->attachment, link);
    afork__pool_sizes_init(pool);
    afork__pool_settle(pool);
    *ret = pool;
    return 0;
}

/* ---- Calls ---- */

static int check(const struct afork_pool *pool)
{
    if (!pool)
        return -EINVAL;
    int result = afork__context_check(pool->context);
    if (result < 0)
        return result;
    return pool->closed ? -ESHUTDOWN : 0;
}

static int check_call(struct afork_pool *pool, const struct afork_call_options *options)
{
    int result = check(pool);

    if (result < 0)
        return result;
    if (pool->ending)
        return -EPIPE;
    if (pool->broken)
        return -EIO;
    if (options && options->run_timeout && pool->options.rpc.async)
        return -EINVAL;
    if (options && options->run_timeout && !afork__pool_can_kill(pool->source))
        return -ENOTSUP;
    if (options && options->n_fds &&
        (pool->options.rpc.frames == AFORK_RPC_FRAMES_ORIGINAL ||
         pool->source->peer == AFORK_PEER_ORIGINAL))
        return -ENOTSUP;
    if (pool->options.queue_max && pool->queue.n >= pool->options.queue_max) {
        pool->drain = true;
        afork__pool_log(pool, "full, %zu calls wait", pool->queue.n);
        return -ENOSPC;
    }
    return 0;
}

static int submit(struct afork_pool *pool, const struct afork__call_data *data,
                  const struct afork_call_options *options, afork_call_cb *cb, void *cb_data,
                  struct afork_call **ret)
{
    struct afork__worker *worker;
    struct afork_call *call;
    int result = check_call(pool, options);

    if (!result)
        result = afork__call_new(pool->context, data, options, cb, cb_data, &call);
    if (result < 0)
        return result;
    call->pool = pool;
    pool->timed |= call->run_timeout > 0;
    if (!pool->queue.n && (worker = afork__pool_choose(pool))) {
        call->order = ++pool->queue.last_order;
        result = afork__worker_give(worker, call);
    } else {
        afork__pool_queue_add(&pool->queue, call);
        afork__pool_log(pool, "call %llu waits, with %zu others", (unsigned long long)call->order,
                        pool->queue.n - 1);
    }
    if (result < 0) {
        afork__call_discard(call);
        return result;
    }
    TAILQ_INSERT_TAIL(&pool->calls, call, pool_link);
    pool->n_calls++;
    if (ret)
        *ret = call;
    afork__pool_settle(pool);
    return 0;
}

int afork_pool_call(struct afork_pool *pool, const void *data, size_t len,
                    const struct afork_call_options *options, afork_call_cb *cb, void *cb_data,
                    struct afork_call **ret)
{
    const struct afork__call_data call = {.data = data, .len = len};

    return data || !len ? submit(pool, &call, options, cb, cb_data, ret) : -EINVAL;
}

int afork_pool_call_take(struct afork_pool *pool, const void *data, size_t len,
                         void (*release)(void *release_data), void *release_data,
                         const struct afork_call_options *options, afork_call_cb *cb, void *cb_data,
                         struct afork_call **ret)
{
    const struct afork__call_data call = {
        .data = data, .len = len, .release = release, .release_data = release_data};

    return data && release ? submit(pool, &call, options, cb, cb_data, ret) : -EINVAL;
}

int afork_pool_call_strings(struct afork_pool *pool, const struct iovec *strings, size_t n,
                            const struct afork_call_options *options, afork_call_cb *cb,
                            void *cb_data, struct afork_call **ret)
{
    const struct afork__call_data call = {.strings = strings, .n_strings = n};

    return strings || !n ? submit(pool, &call, options, cb, cb_data, ret) : -EINVAL;
}

/* ---- Sizes ---- */

int afork_pool_set_size(struct afork_pool *pool, unsigned max, unsigned idle, unsigned load)
{
    int result = check(pool);

    if (result < 0)
        return result;
    if (pool->ending)
        return -EPIPE;
    max = max ? max : afork_cpu_count();
    load = pool->options.single_call ? 1 : load ? load : AFORK__LOAD;
    idle = pool->options.single_call ? 0 : idle;
    result = afork__pool_check_size(max, idle, load);
    if (!result)
        result = afork__pool_set_levels(pool, load);
    if (result < 0)
        return result;
    if (idle > pool->options.idle)
        pool->credits += idle - pool->options.idle;
    pool->options.max = max;
    pool->options.idle = idle;
    pool->options.load = load;
    pool->least = 0;
    afork__pool_settle(pool);
    return 0;
}

int afork_pool_retire(struct afork_pool *pool)
{
    struct afork__worker *worker;
    int result = check(pool);

    if (result < 0)
        return result;
    TAILQ_FOREACH (worker, &pool->workers, link)
        afork__worker_replace(worker);
    afork__pool_settle(pool);
    return 0;
}

int afork_pool_reset(struct afork_pool *pool)
{
    int result = check(pool);

    if (result < 0)
        return result;
    pool->broken = pool->hopeless = false;
    pool->failures = 0;
    pool->credits = pool->options.idle;
    afork__pool_settle(pool);
    return 0;
}

int afork_pool_get_stats(struct afork_pool *pool, struct afork_pool_stats *ret)
{
    const struct afork_call *call;
    size_t n_due = 0;
    int result = ret ? check(pool) : -EINVAL;

    if (result < 0)
        return result;
    TAILQ_FOREACH (call, &pool->due.calls, link)
        n_due += call->state == AFORK__CALL_DUE;
    *ret = pool->stats;
    ret->workers = pool->n_workers;
    ret->busy = pool->n_workers - pool->n_idle - pool->n_starting;
    ret->queued = pool->queue.n;
    ret->broken = pool->broken;
    ret->error = pool->broken ? (pool->error ? pool->error : -ECONNRESET) : 0;
    ret->message = pool->broken ? (pool->message ? pool->message : "") : NULL;
    ret->running = pool->n_calls - pool->queue.n - n_due;
    return 0;
}

int afork_pool_each_worker(struct afork_pool *pool,
                           void (*cb)(struct afork_process *worker, size_t calls, void *data),
                           void *data)
{
    struct afork__worker *worker;
    int result = cb ? check(pool) : -EINVAL;

    if (result < 0)
        return result;
    TAILQ_FOREACH (worker, &pool->workers, link)
        if (worker->state != AFORK__WORKER_LEAVING)
            cb(worker->process, worker->load, data);
    return 0;
}

/* ---- The end ---- */

/* Releases what is the user's, who may call the library. */
static void close_silently(struct afork_pool *pool)
{
    struct afork__worker *worker;
    struct afork_call *call;

    bool destroyed = pool->destroyed; /* or about to be: then it is not told any more */

    if (pool->closed)
        return;
    pool->closed = pool->ending = true;
    if (destroyed)
        return;
    afork__pool_ref(pool);
    detach(pool);
    if (pool->template)
        afork_process_close(pool->template);
    afork__pool_drop_template(pool);
    while ((worker = TAILQ_FIRST(&pool->workers)))
        afork__worker_close(worker, true);
    while ((call = afork__pool_queue_first(&pool->queue))) {
        afork__pool_queue_remove(&pool->queue, call);
        afork__call_drop(call);
    }
    afork__due_clear(&pool->due, pool->context);
    afork__pool_unref(pool);
}

void afork_pool_close(struct afork_pool *pool)
{
    if (pool)
        close_silently(pool);
}

void afork_pool_cancel(struct afork_pool *pool)
{
    struct afork__worker *worker, *next;
    struct afork_call *call;

    if (check(pool) < 0 || pool->destroyed)
        return;
    pool->ending = true;
    TAILQ_FOREACH (call, &pool->calls, pool_link)
        if (call->state != AFORK__CALL_DUE)
            withdraw(call, -ECANCELED);
    afork__pool_ref(pool); /* what is released may close it */
    for (worker = TAILQ_FIRST(&pool->workers); worker && !pool->closed; worker = next) {
        next = TAILQ_NEXT(worker, link);
        if (afork__worker_kill(worker) < 0) /* nothing tells its end either */
            afork__worker_close(worker, false);
    }
    afork__pool_settle(pool);
    afork__pool_unref(pool);
}

struct afork_pool *afork_pool_ref(struct afork_pool *pool)
{
    if (pool)
        pool->user_refs++;
    return pool;
}

void afork_pool_finish(struct afork_pool *pool)
{
    if (check(pool) < 0 || pool->ending)
        return;
    pool->ending = true;
    afork__pool_settle(pool);
}

void afork_pool_unref(struct afork_pool *pool)
{
    if (!pool || --pool->user_refs)
        return;
    pool->ending = true;
    if (afork__context_is_copy(pool->context))
        close_silently(pool);
    else
        afork__pool_settle(pool);
    afork__pool_unref(pool);
}
