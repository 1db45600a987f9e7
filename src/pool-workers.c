/* SPDX-License-Identifier: MIT
 *
 * The workers of a pool, each an rpc whose hooks end here. When there are how many is decided in
 * pool-size.c.
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "pool.h"
#include "util.h"

/* How often memory is looked at, over all workers. */
enum { MEMORY_USEC = 100000 };

/* ---- Who is next ---- */

int afork__pool_set_levels(struct afork_pool *pool, unsigned load)
{
    if (load + 1 <= pool->n_levels)
        return 0;
    struct afork__workers *lists = calloc(load + 1, sizeof *lists);
    if (!lists)
        return -ENOMEM;
    for (unsigned i = 0; i <= load; i++) {
        TAILQ_INIT(&lists[i]);
        if (i < pool->n_levels)
            TAILQ_CONCAT(&lists[i], &pool->by_load[i], load_link);
    }
    free(pool->by_load);
    pool->by_load = lists;
    pool->n_levels = load + 1;
    return 0;
}

/* Of idle ones, the last to become so is the first to be used: the others may be stopped. */
static void enlist(struct afork__worker *worker)
{
    struct afork_pool *pool = worker->pool;

    if (worker->load) {
        TAILQ_INSERT_TAIL(&pool->by_load[worker->load], worker, load_link);
    } else {
        worker->idle_since = afork__now();
        TAILQ_INSERT_HEAD(&pool->by_load[0], worker, load_link);
        pool->n_idle++;
    }
    if (worker->load < pool->least)
        pool->least = worker->load;
}

static void delist(struct afork__worker *worker)
{
    struct afork_pool *pool = worker->pool;

    TAILQ_REMOVE(&pool->by_load[worker->load], worker, load_link);
    if (!worker->load)
        pool->n_idle--;
}

struct afork__worker *afork__pool_choose(struct afork_pool *pool)
{
    unsigned load = pool->options.load;

    while (pool->least < load && TAILQ_EMPTY(&pool->by_load[pool->least]))
        pool->least++;
    return pool->least < load ? TAILQ_FIRST(&pool->by_load[pool->least]) : NULL;
}

static void set_load(struct afork__worker *worker, unsigned load)
{
    if (worker->state != AFORK__WORKER_READY) {
        worker->load = load;
        return;
    }
    delist(worker);
    worker->load = load;
    enlist(worker);
}

/* ---- States ---- */

static const char *const state_names[] = {
    [AFORK__WORKER_STARTING] = "starting",
    [AFORK__WORKER_READY] = "ready",
    [AFORK__WORKER_RETIRING] = "retiring",
    [AFORK__WORKER_LEAVING] = "leaving",
};

static void set_state(struct afork__worker *worker, enum afork__worker_state state)
{
    struct afork_pool *pool = worker->pool;
    enum afork__worker_state old = worker->state;

    if (old == AFORK__WORKER_READY)
        delist(worker);
    pool->n_ready -= old == AFORK__WORKER_READY;
    pool->n_starting -= old == AFORK__WORKER_STARTING;
    pool->n_workers -= state == AFORK__WORKER_LEAVING;
    worker->state = state;
    afork__pool_log(pool, "worker " AFORK__LOG_NAME " is %s", AFORK__LOG_NAME_OF(worker->process),
                    state_names[state]);
    if (state == AFORK__WORKER_READY) {
        pool->n_ready++;
        enlist(worker);
    }
}

void afork__worker_leave(struct afork__worker *worker)
{
    if (worker->state == AFORK__WORKER_LEAVING)
        return;
    worker->abandoned = worker->load;
    set_state(worker, AFORK__WORKER_LEAVING);
    afork_rpc_finish(worker->rpc);
}

void afork__worker_retire(struct afork__worker *worker)
{
    if (worker->state == AFORK__WORKER_LEAVING)
        return;
    if (worker->state != AFORK__WORKER_RETIRING && worker->load)
        set_state(worker, AFORK__WORKER_RETIRING);
    else if (!worker->load)
        afork__worker_leave(worker);
}

void afork__worker_replace(struct afork__worker *worker)
{
    if (worker->state >= AFORK__WORKER_RETIRING)
        return;
    worker->stale = worker->state == AFORK__WORKER_STARTING;
    if (worker->stale) /* or a pool that is told so often would never have one */
        return;
    worker->pool->stats.retired++;
    worker->pool->credits++;
    afork__worker_retire(worker);
}

int afork__worker_kill(struct afork__worker *worker)
{
    int result = !afork__pool_can_kill(worker->process)
                     ? -ENOTSUP /* whatever is known of it, it may live */
                     : afork_process_kill(worker->process, SIGKILL);

    if (result < 0 && result != -ESRCH)
        return result;
    afork__deadline_clear(worker->pool->context, &worker->run);
    if (worker->state != AFORK__WORKER_LEAVING) {
        set_state(worker, AFORK__WORKER_LEAVING);
        worker->pool->credits++;
        afork__rpc_want_exit(worker->rpc);
    }
    return 0;
}

static void free_worker(struct afork__worker *worker)
{
    struct afork_pool *pool = worker->pool;

    afork__deadline_clear(pool->context, &worker->run);
    TAILQ_REMOVE(&pool->workers, worker, link);
    afork_rpc_unref(worker->rpc);
    afork_process_unref(worker->process);
    free(worker);
}

void afork__worker_close(struct afork__worker *worker, bool kill)
{
    if (kill)
        afork_process_kill(worker->process, SIGKILL);
    if (worker->state != AFORK__WORKER_LEAVING)
        set_state(worker, AFORK__WORKER_LEAVING);
    afork__deadline_clear(worker->pool->context, &worker->run);
    TAILQ_REMOVE(&worker->pool->workers, worker, link);
    afork_rpc_close(worker->rpc);
    afork_rpc_unref(worker->rpc);
    afork_process_unref(worker->process);
    free(worker);
}

/* ---- The time of a call ---- */

static void timed_out(struct afork__deadline *deadline)
{
    struct afork__worker *worker = AFORK__CONTAINER(deadline, struct afork__worker, run);
    struct afork_pool *pool = worker->pool;
    struct afork_call *call = afork__rpc_current(worker->rpc);

    afork__pool_log(pool, "worker " AFORK__LOG_NAME " takes too long",
                    AFORK__LOG_NAME_OF(worker->process));
    if (call)
        afork__worker_withdraw(worker, call, -ETIMEDOUT);
    afork__worker_kill(worker);
    afork__pool_settle(pool);
}

/* It may be at another call than before. */
static void watch_time(struct afork__worker *worker)
{
    struct afork_pool *pool = worker->pool;

    if (!pool->timed || !worker->begun || worker->state == AFORK__WORKER_LEAVING)
        return;
    const struct afork_call *call = afork__rpc_current(worker->rpc);
    uint64_t order = call ? call->order : 0;
    int64_t timeout = call ? call->run_timeout : worker->load ? worker->withdrawn_timeout : 0;
    if (!timeout) {
        worker->run_order = 0;
        afork__deadline_clear(pool->context, &worker->run);
    } else if (!worker->run.set || order != worker->run_order) {
        worker->run_order = order;
        afork__deadline_set(pool->context, &worker->run, afork__later(afork__now(), timeout), true);
    }
    if (!worker->load)
        worker->withdrawn_timeout = 0;
}

bool afork__worker_is_at(const struct afork__worker *worker, const struct afork_call *call)
{
    if (worker->pool->options.rpc.async)
        return call->state == AFORK__CALL_SENT;
    return afork__rpc_current(worker->rpc) == call;
}

/* ---- Calls ---- */

static void call_finished(struct afork_call *call, struct afork_reply *reply);

int afork__worker_give(struct afork__worker *worker, struct afork_call *call)
{
    struct afork_pool *pool = worker->pool;

    call->worker = worker;
    call->finish = call_finished;
    int result = afork__rpc_give(worker->rpc, call);
    if (result < 0) {
        call->worker = NULL;
        return result;
    }
    worker->n_given++;
    afork__pool_log(pool, "call %llu goes to " AFORK__LOG_NAME, (unsigned long long)call->order,
                    AFORK__LOG_NAME_OF(worker->process));
    set_load(worker, worker->load + 1);
    watch_time(worker);
    if (pool->options.retire_calls && worker->n_given >= pool->options.retire_calls) {
        afork__worker_replace(worker);
    } else if (pool->options.single_call) {
        afork__worker_retire(worker);
        afork_rpc_finish(worker->rpc); /* it is told at once: nothing more comes from here */
    }
    return 0;
}

void afork__worker_withdraw(struct afork__worker *worker, struct afork_call *call, int error)
{
    bool unsent = call->state == AFORK__CALL_UNSENT;

    if (!unsent && call->run_timeout > worker->withdrawn_timeout)
        worker->withdrawn_timeout = call->run_timeout;
    if (call->order == worker->run_order) /* its time goes on without it */
        worker->run_order = 0;
    afork__rpc_take_back(worker->rpc, call);
    call->worker = NULL;
    afork__due_add(&worker->pool->due, call, error);
    if (!unsent)
        return;
    set_load(worker, worker->load - 1);
    watch_time(worker);
    if (worker->state == AFORK__WORKER_RETIRING && !worker->load)
        afork__worker_leave(worker);
}

static void look_at_memory(struct afork__worker *worker)
{
    struct afork_pool *pool = worker->pool;
    int64_t now = afork__now();

    if (!pool->options.retire_memory || now - pool->memory_at < MEMORY_USEC)
        return;
    pool->memory_at = now;
    pid_t pid = afork_process_peer_pid(worker->process);
    if (afork__private_memory(pid) >= pool->options.retire_memory)
        afork__worker_replace(worker);
}

/* One answer less is to come. */
static void answered(struct afork__worker *worker)
{
    struct afork_pool *pool = worker->pool;

    worker->n_answers++;
    pool->failures = 0;
    set_load(worker, worker->load - 1);
    watch_time(worker);
    if (worker->state == AFORK__WORKER_RETIRING && !worker->load)
        afork__worker_leave(worker);
    else if (pool->options.retire_memory && worker->state == AFORK__WORKER_READY)
        look_at_memory(worker);
}

static void call_finished(struct afork_call *call, struct afork_reply *reply)
{
    struct afork__worker *worker = call->worker;
    struct afork_pool *pool = worker->pool;

    call->worker = NULL;
    afork__pool_ref(pool);
    answered(worker);
    afork__pool_settle(pool); /* so that the worker has something to do while the user is told */
    afork__pool_complete(call, reply);
    afork__pool_unref(pool);
}

static bool is_tried_again(struct afork_pool *pool, struct afork_call *call)
{
    if (pool->options.crash != AFORK_CRASH_RETRY_ONCE || call->retried)
        return false;
    call->retried = true;
    afork__pool_log(pool, "call %llu is tried again", (unsigned long long)call->order);
    pool->stats.retried++;
    return true;
}

/* ---- What the rpc tells ---- */

static void tell_start(struct afork_pool *pool, struct afork_process *process)
{
    pool->n_callbacks++;
    if (!pool->closed && pool->options.on_worker_start)
        pool->options.on_worker_start(pool, process, pool->options.data);
    afork__pool_called_back(pool);
}

/* From now on its first call has its time. One that was given it ahead says that it is ready with the
 * answer: which may take long, so the user is told now. */
static void on_begun(void *data)
{
    struct afork__worker *worker = data;
    struct afork_pool *pool = worker->pool;

    worker->begun = true;
    watch_time(worker);
    if (worker->state != AFORK__WORKER_RETIRING || worker->told)
        return;
    worker->told = true;
    afork__pool_ref(pool);
    struct afork_process *process = afork_process_ref(worker->process);
    tell_start(pool, process);
    afork_process_unref(process);
    afork__pool_unref(pool);
}

static void on_ready(void *data)
{
    struct afork__worker *worker = data;
    struct afork_pool *pool = worker->pool;

    if (worker->state == AFORK__WORKER_LEAVING)
        return;
    afork__pool_ref(pool);
    if (worker->state == AFORK__WORKER_STARTING)
        set_state(worker, AFORK__WORKER_READY);
    watch_time(worker);
    bool told = worker->told;
    struct afork_process *process = afork_process_ref(worker->process);
    afork__pool_settle(pool);
    if (!pool->closed && worker->stale) { /* it has what it will get */
        afork__worker_replace(worker);
        afork__pool_settle(pool);
    }
    if (!told)
        tell_start(pool, process);
    afork_process_unref(process);
    afork__pool_unref(pool);
}

static void on_retire(void *data)
{
    struct afork__worker *worker = data;

    afork__worker_replace(worker);
    afork__pool_settle(worker->pool);
}

static void on_dropped(void *data)
{
    struct afork__worker *worker = data;

    answered(worker);
    afork__pool_settle(worker->pool);
}

static void on_event(const struct afork_event *event, void *data)
{
    struct afork__worker *worker = data;
    struct afork_pool *pool = worker->pool;

    if (afork__pool_is_retire(pool, event)) {
        on_retire(worker);
        return;
    }
    if (!pool->options.on_event)
        return;
    afork__pool_ref(pool);
    pool->n_callbacks++;
    pool->options.on_event(pool, afork_process_peer_pid(worker->process), event,
                           pool->options.data);
    afork__pool_called_back(pool);
    afork__pool_unref(pool);
}

static void on_lost(struct afork_call *call, bool begun, const struct afork_reply *reply,
                    void *data)
{
    struct afork__worker *worker = data;
    struct afork_pool *pool = worker->pool;
    struct afork_reply copy = *reply;

    call->worker = NULL;
    if (worker->state == AFORK__WORKER_READY) /* it is not to be given what the user calls now */
        set_state(worker, AFORK__WORKER_RETIRING);
    if (begun && !is_tried_again(pool, call)) {
        worker->failed_call |= worker->begun;
        afork__pool_ref(pool);
        afork__pool_complete(call, &copy);
        afork__pool_unref(pool);
    } else {
        afork__pool_queue_return(&pool->queue, call);
    }
}

static void on_cut(void *data)
{
    struct afork__worker *worker = data;

    if (worker->state == AFORK__WORKER_READY)
        set_state(worker, AFORK__WORKER_RETIRING);
}

/* One that has answered something has not failed: it is replaced without a wait. */
static void on_lingers(void *data)
{
    struct afork__worker *worker = data;
    struct afork_pool *pool = worker->pool;

    if (worker->state != AFORK__WORKER_LEAVING && worker->n_answers) {
        pool->stats.crashed++;
        pool->credits++;
        set_state(worker, AFORK__WORKER_LEAVING);
    }
    afork__pool_settle(pool);
}

static void tell_exit(struct afork_pool *pool, struct afork_process *process,
                      const struct afork_exit *exit)
{
    pool->n_callbacks++;
    if (pool->options.on_worker_exit && !pool->closed)
        pool->options.on_worker_exit(pool, process, exit, pool->options.data);
    afork__pool_called_back(pool);
}

/* A call that ends its worker is to blame, not the worker: it has failed, and there are no more
 * such ends than calls. */
static bool has_failed(const struct afork__worker *worker, int error)
{
    bool started = worker->begun && error != -ENOEXEC;

    return worker->state != AFORK__WORKER_LEAVING && !worker->n_answers && !worker->failed_call &&
           !(worker->pool->options.single_call && started);
}

static void on_ended(int error, const char *message, const struct afork_exit *exit, void *data)
{
    struct afork__worker *worker = data;
    struct afork_pool *pool = worker->pool;
    int64_t started_at = worker->started_at;
    bool failed = has_failed(worker, error);

    afork__pool_ref(pool);
    if (error && !exit) /* it said what is not an answer, and may still be there */
        afork_process_kill(worker->process, SIGKILL);
    if (worker->state != AFORK__WORKER_LEAVING) {
        pool->stats.crashed++;
        pool->credits += !failed;
        set_state(worker, AFORK__WORKER_LEAVING);
    }
    struct afork_process *process = afork_process_ref(worker->process);
    free_worker(worker);
    if (failed)
        afork__pool_failed(pool, started_at, error ? error : -ECONNRESET, message);
    afork__pool_break(pool, exit);
    tell_exit(pool, process, exit);
    afork__pool_settle(pool);
    afork_process_unref(process);
    afork__pool_unref(pool);
}

static const struct afork__rpc_hooks hooks = {
    .begun = on_begun,
    .ready = on_ready,
    .retire = on_retire,
    .dropped = on_dropped,
    .event = on_event,
    .lost = on_lost,
    .cut = on_cut,
    .lingers = on_lingers,
    .ended = on_ended,
};

/* ---- Start ---- */

static int run(struct afork__worker *worker)
{
    struct afork_pool *pool = worker->pool;
    int result = afork_process_fork(pool->template, &worker->process);

    if (result < 0)
        return result;
    result = afork__rpc_run(worker->process, &pool->options.rpc, &hooks, worker, &worker->rpc);
    if (result < 0)
        afork_process_unref(worker->process);
    return result;
}

int afork__worker_start(struct afork_pool *pool)
{
    struct afork__worker *worker = calloc(1, sizeof *worker);

    if (!worker)
        return -ENOMEM;
    worker->pool = pool;
    worker->state = AFORK__WORKER_STARTING;
    worker->started_at = afork__now();
    worker->run.cb = timed_out;
    int result = run(worker);
    if (result < 0) {
        free(worker);
        return result;
    }
    TAILQ_INSERT_TAIL(&pool->workers, worker, link);
    afork__pool_log(pool, "worker " AFORK__LOG_NAME " is starting",
                    AFORK__LOG_NAME_OF(worker->process));
    pool->n_workers++;
    pool->n_starting++;
    pool->stats.started++;
    if (pool->options.retire_age && !pool->age.set)
        afork__deadline_set(pool->context, &pool->age,
                            afork__later(worker->started_at, pool->options.retire_age), true);
    if (!pool->options.single_call)
        return 0;
    struct afork_call *call = afork__pool_queue_first(&pool->queue);
    if (call) {
        afork__pool_queue_remove(&pool->queue, call);
        afork__pool_give(worker, call);
    }
    return 0;
}
