/* SPDX-License-Identifier: MIT
 *
 * A pool: calls that are spread over workers forked from one template, as many as there is work
 * for.
 *
 * Calls wait in the pool's queue until a worker has room. Each call that is accepted completes
 * exactly once, whatever happens to workers, template or pool, unless the pool is closed, which
 * completes nothing but calls each `release`.
 */
#ifndef AFORK_POOL_H
#define AFORK_POOL_H

#if !defined(AFORK_H_INSIDE) && !defined(AFORK_COMPILATION)
#error "include <afork/afork.h> instead of this header"
#endif

#include "afork-call.h"
#include "afork-rpc.h"

AFORK_BEGIN_DECLS

struct afork_pool;

/* What becomes of a call whose worker ended while it worked on it. Calls that the worker had not
 * begun go back to the front of the queue in any case. Where it cannot be known which call that was,
 * all that the worker had count as begun: with the asynchronous back end, with perls other than
 * afork-perl, and after calls of some microseconds, whose answers travel together. */
enum afork_crash {
    AFORK_CRASH_FAIL,       /* it fails with -ECONNRESET */
    AFORK_CRASH_RETRY_ONCE, /* it is given to another worker once, and fails the second time */
};

/* Options of a pool. Start from AFORK_POOL_OPTIONS_INIT: whatever is zero or NULL has its default.
 * Strings and limits are copied. */
struct afork_pool_options {
    size_t size; /* sizeof(struct afork_pool_options), set by the initialiser */

    /* Of the workers' back ends. `on_event`, `on_end` and `data` must be NULL: a pool has its
     * own. */
    struct afork_rpc_options rpc;

    unsigned max;  /* most workers at a time, up to INT_MAX; 0: afork_cpu_count() */
    unsigned idle; /* workers kept though they have nothing to do, up to `max`; default 0 */
    unsigned load; /* calls that a worker is given at a time, at most 65,536; 0: 2 */

    /* Microseconds that calls wait for a busy worker before another is started, 0: 100,000; and
     * that a worker beyond `idle` has nothing to do before it is stopped, 0: 10,000,000.
     * Negative: none, at once. The first worker is started at once in any case. */
    int64_t start, stop;

    /* Each call has a process of its own, forked for it, which ends with it: nothing of a call is
     * left for the next. `spares` make it faster. `load` is 1, `idle` and retirement mean nothing.
     * One that ends in its call has not failed; only that call has. */
    bool single_call;

    /* Children of the pool's template that are forked in advance, see afork_process_set_spares(), so
     * that a worker is there sooner; 0: none. Not with AFORK_PEER_ORIGINAL. */
    unsigned spares;

    /* Most calls that wait in the queue; 0: no limit. Beyond it a call is refused with -ENOSPC;
     * once half of it is free, `on_drain` is called. */
    size_t queue_max;

    /* When a worker is replaced by a new one, after its answers; 0: never. After so many calls; at
     * this age, in microseconds; when it has so many octets of memory that it does not share
     * (looked at after calls, some ten times a second). A worker also retires itself by
     * AFork::Pool::retire(). */
    uint64_t retire_calls;
    int64_t retire_age;
    uint64_t retire_memory;

    /* Limits of each worker, see afork_process_set_limits(); NULL: none. */
    const struct afork_limits *limits;

    enum afork_crash crash;

    /* Workers that may fail one after the other, that is, end by themselves before they have
     * answered a call or failed one that they had begun, or cannot be started; 0: 5. After each,
     * one at a time is tried, 0.1 to 10 s later, twice as late each time. When so many have failed
     * and no other is left, or nothing is left that could be forked, the pool is broken, as
     * afork_pool_get_stats() says from then on: the calls that wait complete with -EIO and the
     * words of the last failure, and no more are accepted until afork_pool_reset(). Calls that wait
     * when a callback resets it do so for new workers. */
    unsigned max_failures;

    /* All called from the loop; each may be NULL. `pid` is 0 where it is not known, or not any
     * more. on_worker_start comes when a worker can be given calls; on_worker_exit also for
     * those that never could, with `exit` NULL where it is not known how they ended. on_drain
     * comes when half of a queue that was full is free. */
    void (*on_event)(struct afork_pool *pool, pid_t pid, const struct afork_event *event,
                     void *data);
    void (*on_worker_start)(struct afork_pool *pool, struct afork_process *worker, void *data);
    void (*on_worker_exit)(struct afork_pool *pool, struct afork_process *worker,
                           const struct afork_exit *exit, void *data);
    void (*on_drain)(struct afork_pool *pool, void *data);
    /* Last and once: after afork_pool_unref() or afork_pool_cancel(), when all calls are completed
     * and all workers have ended, or have been told to. */
    void (*on_destroy)(struct afork_pool *pool, void *data);
    void *data;
};

#define AFORK_POOL_OPTIONS_INIT                                                                    \
    {                                                                                              \
        .size = sizeof(struct afork_pool_options), .rpc = AFORK_RPC_OPTIONS_INIT                   \
    }

/* A pool of workers that are forked from `process`, a server that must not have been told to
 * run. The pool forks a template of its own from it at once, as it is after all commands so far,
 * so that later commands to `process` do not concern the pool, nor its end. Should that template
 * end by itself, the workers it has live on, and another is forked from `process`, as it is by
 * then, if it is still there. `options` is copied; NULL: defaults. Returned; release with
 * afork_pool_unref(). Errors: as afork_process_fork(), afork_process_set_limits() and
 * afork_process_set_spares(); -EINVAL (out of range, or options that contradict each other: more
 * `idle` than `max`, callbacks in `rpc`); -EPERM (limits that `process` has, or its forks will have
 * by `forks_only`, let nobody fork workers from the pool's template: `no_new_processes`. Workers get
 * it by the `limits` of the options). */
AFORK_EXPORT AFORK_NODISCARD int afork_pool_new(struct afork_process *process, const char *function,
                                                const struct afork_pool_options *options,
                                                struct afork_pool **ret);

/* As afork_rpc_call() and its kin. Errors besides: -ENOSPC (the queue is full), -EPIPE (the pool
 * was told to end), -EIO (it is broken), -EINVAL (a `run_timeout`, but the asynchronous back end),
 * -ENOTSUP (a `run_timeout`, but workers that cannot be killed: of AFORK_PEER_ORIGINAL, unless they
 * are remote ones, whose command is). */
AFORK_EXPORT int afork_pool_call(struct afork_pool *pool, const void *data, size_t len,
                                 const struct afork_call_options *options, afork_call_cb *cb,
                                 void *cb_data, struct afork_call **ret);
AFORK_EXPORT int afork_pool_call_take(struct afork_pool *pool, const void *data, size_t len,
                                      void (*release)(void *release_data), void *release_data,
                                      const struct afork_call_options *options, afork_call_cb *cb,
                                      void *cb_data, struct afork_call **ret);
AFORK_EXPORT int afork_pool_call_strings(struct afork_pool *pool, const struct iovec *strings,
                                         size_t n, const struct afork_call_options *options,
                                         afork_call_cb *cb, void *cb_data, struct afork_call **ret);

/* Changes the sizes while the pool works; as in the options, with the same ranges. Workers beyond
 * `max` answer what they have, and end. If it fails, all is as before.
 * Errors: -EINVAL (out of range, more `idle` than `max`), -EPIPE (the pool was told to end). */
AFORK_EXPORT int afork_pool_set_size(struct afork_pool *pool, unsigned max, unsigned idle,
                                     unsigned load);

/* Has every worker replaced when it has answered what it was given. */
AFORK_EXPORT int afork_pool_retire(struct afork_pool *pool);

/* A broken pool tries again. */
AFORK_EXPORT int afork_pool_reset(struct afork_pool *pool);

struct afork_pool_stats {
    unsigned workers;   /* there now, those being started included */
    unsigned busy;      /* of them, with a call */
    size_t queued;      /* calls that no worker has */
    size_t running;     /* calls that a worker has */
    uint64_t completed; /* calls that had a result, or an exception */
    uint64_t failed;    /* calls that failed otherwise, those below included */
    uint64_t timed_out, cancelled, retried;
    uint64_t started; /* workers there ever were */
    uint64_t crashed; /* of them, those that ended by themselves */
    uint64_t retired; /* of them, those that were replaced in time */
    bool broken;      /* see `max_failures` of the options */
    int error;        /* if it is broken, what the last worker failed of, as afork_run_cb; else 0 */
    const char *message; /* the same in words, until the pool is used again; else NULL */
};

AFORK_EXPORT int afork_pool_get_stats(struct afork_pool *pool, struct afork_pool_stats *ret);

/* Calls `cb` for each worker there is, oldest first. `calls` is how many it has. The callback runs
 * inside this call and may not use the pool. */
AFORK_EXPORT int afork_pool_each_worker(struct afork_pool *pool,
                                        void (*cb)(struct afork_process *worker, size_t calls,
                                                   void *data),
                                        void *data);

/* Ends the pool: all calls complete with -ECANCELED, those first that were made first, and all
 * workers are killed. Then on_destroy comes. Does not release the reference. */
AFORK_EXPORT void afork_pool_cancel(struct afork_pool *pool);

/* Takes no more calls. Those there are are completed, then the pool ends, and on_destroy comes. */
AFORK_EXPORT void afork_pool_finish(struct afork_pool *pool);

AFORK_EXPORT struct afork_pool *afork_pool_ref(struct afork_pool *pool);

/* Releases a reference. With the last one the pool takes no more calls, completes those there are,
 * and ends. */
AFORK_EXPORT void afork_pool_unref(struct afork_pool *pool);

/* Kills all workers at once, and makes sure that no callback comes any more; the `release` of
 * calls is called. Does not release the reference. A second call does nothing. */
AFORK_EXPORT void afork_pool_close(struct afork_pool *pool);

/* The processors that this process may use: the least of its affinity mask and the quotas of its
 * control groups (version 1 and 2), rounded up, at least 1. The environment variable AFORK_CPUS, a
 * number from 1 to 4096, overrides it. */
AFORK_EXPORT unsigned afork_cpu_count(void);

AFORK_END_DECLS

#endif
