/* SPDX-License-Identifier: MIT
 *
 * How many workers a pool has, decided anew whenever something has changed.
 *
 * More are wanted while calls wait that the workers under way will not take, or fewer than `idle`
 * have nothing to do. One is started at once if there is none, or in place of one that is gone;
 * else when that has been so for `start`. The deadlines are left in place when they are not needed
 * any more, and look again when they come: so a busy pool, which needs them and does not many times
 * a millisecond, never touches the clock's descriptor.
 *
 * Workers that end before they have answered anything are failures. After one, a single worker
 * at a time is tried.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pool.h"
#include "util.h"

enum { BACK_OFF_USEC = 100000, BACK_OFF_MAX_USEC = 10000000 };

/* ---- The template ---- */

static void note_error(struct afork_pool *pool, int error, const char *message)
{
    char *copy = strdup(message && *message ? message : afork__call_words(error));

    if (copy) { /* else the words are those of the error before */
        free(pool->message);
        pool->message = copy;
    }
    pool->error = error;
    afork__pool_log(pool, "%s: %s", strerror(-error), copy ? copy : "");
}

void afork__pool_drop_template(struct afork_pool *pool)
{
    struct afork_process *template = pool->template;

    pool->template = NULL;
    if (!template)
        return;
    afork_process_on_exit(template, NULL, NULL);
    afork_process_unref(template);
}

static bool is_source_left(const struct afork_pool *pool)
{
    return !pool->source->released && !afork__process_check_server(pool->source);
}

/* Workers that were forked from it live on. The next one needs another. */
static void template_ended(struct afork_process *template, const struct afork_exit *exit,
                           void *data)
{
    struct afork_pool *pool = data;

    afork__pool_ref(pool);
    note_error(pool, afork__exit_error(exit), exit->message);
    afork__pool_drop_template(pool);
    if (!is_source_left(pool))
        pool->hopeless = true;
    afork__pool_break(pool, exit);
    afork__pool_settle(pool);
    afork__pool_unref(pool);
}

int afork__pool_make_template(struct afork_pool *pool)
{
    int result = pool->source->released ? -ESRCH
                                        : afork_process_fork(pool->source, &pool->template);

    if (result < 0)
        return result;
    if (pool->options.limits)
        result = afork_process_set_limits(pool->template, pool->options.limits);
    if (!result)
        result = afork__pool_prepare_template(pool);
    if (!result && pool->options.spares)
        result = afork_process_set_spares(pool->template, pool->options.spares);
    if (!result)
        result = afork_process_on_exit(pool->template, template_ended, pool);
    if (result < 0)
        afork__pool_drop_template(pool);
    return result;
}

static int start_worker(struct afork_pool *pool)
{
    int result = -ESRCH;

    if (pool->template && !afork__process_check_server(pool->template))
        result = afork__worker_start(pool);
    if (result != -ESRCH)
        return result;
    afork__pool_drop_template(pool);
    result = afork__pool_make_template(pool);
    if (pool->closed)
        return -ESHUTDOWN;
    pool->hopeless = result < 0 && !is_source_left(pool);
    return result < 0 ? result : afork__worker_start(pool);
}

/* ---- Failures ---- */

static void count_failure(struct afork_pool *pool, int64_t started_at)
{
    int64_t back_off = BACK_OFF_USEC;

    if (started_at < pool->failed_at) /* one of those that failed together */
        return;
    pool->failed_at = afork__now();
    for (unsigned i = 0; i < pool->failures && back_off < BACK_OFF_MAX_USEC; i++)
        back_off *= 2;
    if (back_off > BACK_OFF_MAX_USEC)
        back_off = BACK_OFF_MAX_USEC;
    pool->failures++;
    pool->retry_at = pool->failed_at + back_off;
    pool->credits = 0;
}

void afork__pool_failed(struct afork_pool *pool, int64_t started_at, int error, const char *message)
{
    if (!pool->hopeless) /* else it is known why */
        note_error(pool, error, message);
    count_failure(pool, started_at);
}

/* No worker is left, and no other is to be tried. */
static bool is_at_end(const struct afork_pool *pool)
{
    return !pool->n_workers && (pool->hopeless || pool->failures >= pool->options.max_failures);
}

bool afork__pool_is_lost(const struct afork_pool *pool)
{
    return pool->queue.n && (pool->broken || is_at_end(pool));
}

/* It breaks when there is somebody who can be told why. No more calls are taken by then, but
 * some may come back from workers that were killed. */
void afork__pool_break(struct afork_pool *pool, const struct afork_exit *exit)
{
    struct afork_call *call;

    if (pool->closed || pool->destroyed || !afork__pool_is_lost(pool))
        return;
    pool->broken = true;
    afork__pool_log(pool, "broken after %u failures", pool->failures);
    /* A callback may reset the pool, which then fails of something else. */
    char *message = pool->message ? strdup(pool->message) : NULL;
    while (!pool->closed && pool->broken && (call = afork__pool_queue_first(&pool->queue))) {
        struct afork_reply reply = {
            .error = -EIO,
            .message = message ? message : afork__call_words(-EIO),
            .exit = exit,
        };
        afork__pool_queue_remove(&pool->queue, call);
        afork__pool_complete(call, &reply);
    }
    free(message);
}

/* ---- More ---- */

static unsigned free_idle(const struct afork_pool *pool)
{
    return pool->n_idle + pool->n_starting;
}

/* Workers that would have something to do. */
static bool is_wanted(const struct afork_pool *pool)
{
    if (pool->n_workers >= pool->options.max || pool->broken || pool->hopeless || is_at_end(pool))
        return false;
    if (!pool->ending && free_idle(pool) < pool->options.idle)
        return true;
    return pool->queue.n > (size_t)pool->n_starting * pool->options.load;
}

/* Whether it is yet to be seen if a worker starts; also one that has its only call already. */
static bool is_trying(const struct afork_pool *pool)
{
    const struct afork__worker *worker;

    TAILQ_FOREACH (worker, &pool->workers, link)
        if (worker->state != AFORK__WORKER_LEAVING && !worker->begun)
            return true;
    return false;
}

static bool may_start(const struct afork_pool *pool)
{
    if (pool->failures)
        return afork__now() >= pool->retry_at && !is_trying(pool);
    if (pool->credits || pool->options.start < 0 || pool->options.single_call)
        return true;
    return !pool->n_workers && pool->queue.n;
}

/* Deadlines of a pool that has calls, but nobody who works on them, keep the loop alive. */
static void wait_until(struct afork_pool *pool, int64_t at)
{
    bool background = pool->n_workers || !pool->queue.n;
    struct afork__deadline *grow = &pool->grow;

    if (!grow->set || at < grow->at || background != grow->background)
        afork__deadline_set(pool->context, grow, at, background);
}

/* Where nothing is left to fork from, what is to be told is why. */
static void start_failed(struct afork_pool *pool, int error)
{
    const struct afork_process *source = pool->source;

    if (pool->hopeless && source->exit.cause != AFORK_CAUSE_UNKNOWN)
        note_error(pool, afork__exit_error(&source->exit), source->exit.message);
    else if (!pool->hopeless || !pool->error)
        note_error(pool, error, NULL);
    count_failure(pool, afork__now());
}

void afork__pool_grow(struct afork_pool *pool)
{
    while (is_wanted(pool) && may_start(pool)) {
        int result = start_worker(pool);
        if (pool->closed)
            return;
        if (result < 0) {
            start_failed(pool, result);
            break;
        }
        if (pool->credits)
            pool->credits--;
        pool->is_short = false;
    }
    if (!is_wanted(pool)) {
        pool->is_short = false;
        pool->credits = 0;
        return;
    }
    if (pool->failures) {
        if (!is_trying(pool))
            wait_until(pool, pool->retry_at);
        return;
    }
    if (!pool->is_short) {
        pool->is_short = true;
        pool->short_since = afork__now();
    }
    wait_until(pool, afork__later(pool->short_since, pool->options.start));
}

static void grow_due(struct afork__deadline *deadline)
{
    struct afork_pool *pool = AFORK__CONTAINER(deadline, struct afork_pool, grow);

    if (pool->is_short && !pool->failures &&
        afork__now() - pool->short_since >= pool->options.start)
        pool->credits++;
    afork__pool_settle(pool);
}

/* ---- Fewer ---- */

/* More than there may be stay, without those that retire. */
static bool is_too_large(const struct afork_pool *pool)
{
    return pool->n_starting + pool->n_ready > pool->options.max;
}

/* The worker that has had nothing to do for longest, if one is to be stopped at all. */
static struct afork__worker *surplus(const struct afork_pool *pool)
{
    return is_too_large(pool) || pool->n_idle > pool->options.idle
               ? TAILQ_LAST(&pool->by_load[0], afork__workers)
               : NULL;
}

static void stop_idle(struct afork_pool *pool)
{
    struct afork__worker *worker;
    int64_t stop = pool->options.stop < 0 ? 0 : pool->options.stop;

    while ((worker = surplus(pool))) {
        bool late = is_too_large(pool) || !stop;
        if (!late && pool->stop.set) /* it will look */
            return;
        if (!late && afork__now() - worker->idle_since < stop) {
            afork__deadline_set(pool->context, &pool->stop, afork__later(worker->idle_since, stop),
                                true);
            return;
        }
        afork__worker_retire(worker);
    }
}

/* Busy ones, too, if there may not be as many any more; but first those that have not begun. */
static void retire_surplus(struct afork_pool *pool)
{
    struct afork__worker *worker;

    TAILQ_FOREACH (worker, &pool->workers, link)
        if (worker->state == AFORK__WORKER_STARTING && is_too_large(pool))
            afork__worker_retire(worker);
    TAILQ_FOREACH (worker, &pool->workers, link)
        if (worker->state == AFORK__WORKER_READY && is_too_large(pool))
            afork__worker_retire(worker);
}

static void stop_due(struct afork__deadline *deadline)
{
    afork__pool_settle(AFORK__CONTAINER(deadline, struct afork_pool, stop));
}

void afork__pool_shrink(struct afork_pool *pool)
{
    if (surplus(pool))
        stop_idle(pool);
    if (is_too_large(pool))
        retire_surplus(pool);
}

/* ---- Age ---- */

static void retire_old(struct afork_pool *pool)
{
    struct afork__worker *worker, *next;
    int64_t now = afork__now();

    for (worker = TAILQ_FIRST(&pool->workers); worker; worker = next) {
        next = TAILQ_NEXT(worker, link);
        if (worker->state >= AFORK__WORKER_RETIRING)
            continue;
        int64_t end = afork__later(worker->started_at, pool->options.retire_age);
        if (end > now) {
            afork__deadline_set(pool->context, &pool->age, end, true);
            return;
        }
        afork__worker_replace(worker);
    }
}

static void age_due(struct afork__deadline *deadline)
{
    struct afork_pool *pool = AFORK__CONTAINER(deadline, struct afork_pool, age);

    retire_old(pool);
    afork__pool_settle(pool);
}

void afork__pool_sizes_init(struct afork_pool *pool)
{
    pool->grow.cb = grow_due;
    pool->stop.cb = stop_due;
    pool->age.cb = age_due;
    pool->credits = pool->options.idle;
}

void afork__pool_sizes_clear(struct afork_pool *pool)
{
    afork__deadline_clear(pool->context, &pool->grow);
    afork__deadline_clear(pool->context, &pool->stop);
    afork__deadline_clear(pool->context, &pool->age);
}
