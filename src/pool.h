/* SPDX-License-Identifier: MIT
 *
 * What the files of the pool share.
 *
 *   pool.c          the public calls, calls on their way in and out, and the end
 *   pool-options.c  the options, copied
 *   pool-queue.c    calls that no worker has
 *   pool-retire.c   how workers retire themselves where frames are the original's
 *   pool-size.c     when workers are started and stopped, and what happens where they fail
 *   pool-workers.c  the workers: made, chosen, timed, retired, lost
 */
#ifndef AFORK_POOL_PRIVATE_H
#define AFORK_POOL_PRIVATE_H

#include "call.h"

enum {
    AFORK__PRIORITIES = AFORK_PRIORITY_MAX - AFORK_PRIORITY_MIN + 1,
    AFORK__LOAD = 2, /* default */
    AFORK__LOAD_MAX = 65536,
};

/* A list for each priority, in which calls stand by their `order`, and a bit for each that is not
 * empty. */
struct afork__pool_queue {
    struct afork__calls levels[AFORK__PRIORITIES];
    uint64_t used;
    size_t n;
    uint64_t last_order;
};

/*   STARTING -> READY -> RETIRING -> LEAVING
 *
 * and from each to LEAVING, which is also where killed ones are. LEAVING ones do not count any
 * more. */
enum afork__worker_state {
    AFORK__WORKER_STARTING, /* forked and told to run */
    AFORK__WORKER_READY,    /* it may be given calls */
    AFORK__WORKER_RETIRING, /* it answers what it was given */
    AFORK__WORKER_LEAVING,  /* it was told to end */
};

struct afork__worker {
    TAILQ_ENTRY(afork__worker) link;      /* all of the pool, oldest first */
    TAILQ_ENTRY(afork__worker) load_link; /* READY ones with the same load */
    struct afork_pool *pool;
    struct afork_process *process; /* a user's reference */
    struct afork_rpc *rpc;         /* the same */
    enum afork__worker_state state;
    bool failed_call; /* one that it had begun when it ended */
    bool begun;       /* what it was given may have begun */
    bool told;        /* of its start */
    bool stale;       /* STARTING, but to be replaced as soon as it has done something */
    bool abandoned;   /* LEAVING, with answers to come that nobody waits for */
    unsigned load;    /* answers that are to come, also those nobody waits for any more */
    uint64_t n_given, n_answers;
    int64_t started_at, idle_since;

    /* The time of the call it is at, by its `order`. A call that was withdrawn keeps its time,
     * or the worker would be lost to it. */
    struct afork__deadline run;
    uint64_t run_order;
    int64_t withdrawn_timeout;
};

TAILQ_HEAD(afork__workers, afork__worker);

struct afork_pool {
    unsigned refs;      /* of the memory: the user's, its own life's, callbacks under way */
    unsigned user_refs; /* of the handle */
    struct afork_context *context; /* a reference */
    struct afork__attachment attachment;
    struct afork_pool_options options; /* copied, defaults filled in */
    struct afork_process *source;      /* of the template; a reference to the memory */
    struct afork_process *template;    /* a user's reference, or NULL */
    char *function;
    char retire[32 + 1]; /* what a worker sends to retire; empty: a frame of its own */

    bool ending;    /* it takes no more calls */
    bool destroyed; /* it has ended, and told so */
    bool closed;    /* the same, in silence */

    struct afork__calls calls; /* that are not completed, in the order in which they were made */
    size_t n_calls;
    struct afork__pool_queue queue;
    struct afork__due due;
    bool timed; /* there was a call with a `run_timeout` */
    bool drain; /* somebody was told that the queue is full */

    struct afork__workers workers;
    unsigned n_workers, n_starting, n_ready, n_idle; /* LEAVING ones are none of these */
    struct afork__workers *by_load;                  /* READY ones; `n_levels` lists */
    unsigned n_callbacks;                            /* of the user's, under way */
    unsigned n_levels, least;                        /* no worker has less than `least` */

    struct afork__turn turn; /* what must not be done inside a call of the library */
    struct afork__deadline grow, stop, age;
    bool is_short; /* since `short_since`, more workers would have something to do */
    int64_t short_since;
    unsigned credits;  /* workers that may be started without a wait */
    int64_t memory_at; /* when memory was last looked at */

    unsigned failures; /* in a row */
    int64_t failed_at, retry_at;
    bool hopeless; /* there is nothing left to fork workers from */
    bool broken;
    int error; /* the last failure */
    char *message;

    struct afork_pool_stats stats;
};

/* Whether a worker can be killed, so that its call ends: one that reports, or a command of ours, of
 * which the far end takes leave as well, sooner or later. */
static inline bool afork__pool_can_kill(const struct afork_process *process)
{
    return process->peer != AFORK_PEER_ORIGINAL || (process->remote && !process->adopted);
}

/* Of a pool, in words; AFORK__LOG_NAME_OF() names a worker's process. */
#define afork__pool_log(pool, format, ...)                                                         \
    afork__log((pool)->context, POOL, "%s: " format, (pool)->function, __VA_ARGS__)

/* pool.c */
struct afork_pool *afork__pool_ref(struct afork_pool *pool);
void afork__pool_unref(struct afork_pool *pool);
/* Leaves the accounts of the pool, who has it no more; then completes. From the loop only. */
void afork__pool_complete(struct afork_call *call, struct afork_reply *reply);
/* A callback of the user's has returned, which `n_callbacks` counts: the end may have waited for it. */
void afork__pool_called_back(struct afork_pool *pool);
/* Something has changed: gives calls to workers, starts, stops, ends what is to be. Calls no
 * user. */
void afork__pool_settle(struct afork_pool *pool);
/* Gives a worker a call from the queue. */
void afork__pool_give(struct afork__worker *worker, struct afork_call *call);
/* Does at the next turn what must not be done now. */
void afork__pool_later(struct afork_pool *pool);

/* pool-options.c */
int afork__pool_options_copy(struct afork_pool *pool, const struct afork_pool_options *options);
void afork__pool_options_free(struct afork_pool *pool);
int afork__pool_check_size(unsigned max, unsigned idle, unsigned load);

/* pool-queue.c */
void afork__pool_queue_init(struct afork__pool_queue *queue);
/* Behind all of its priority. */
void afork__pool_queue_add(struct afork__pool_queue *queue, struct afork_call *call);
/* Where it was before a worker had it. */
void afork__pool_queue_return(struct afork__pool_queue *queue, struct afork_call *call);
void afork__pool_queue_remove(struct afork__pool_queue *queue, struct afork_call *call);
/* The next one, or NULL. */
struct afork_call *afork__pool_queue_first(const struct afork__pool_queue *queue);

/* pool-retire.c */
/* Sends the template what its forks need to run the back end. */
int afork__pool_prepare_template(struct afork_pool *pool);
/* Whether an event is a worker's wish to retire. */
bool afork__pool_is_retire(const struct afork_pool *pool, const struct afork_event *event);

/* pool-size.c */
/* Forks the template from `source`: 0 or a negative errno. */
int afork__pool_make_template(struct afork_pool *pool);
void afork__pool_drop_template(struct afork_pool *pool);
/* Starts workers that are wanted, or sees to it that this is looked at in time. */
void afork__pool_grow(struct afork_pool *pool);
/* The same for those that are not. */
void afork__pool_shrink(struct afork_pool *pool);
void afork__pool_sizes_init(struct afork_pool *pool);
void afork__pool_sizes_clear(struct afork_pool *pool);
/* A worker has ended before it has answered anything. */
void afork__pool_failed(struct afork_pool *pool, int64_t started_at, int error,
                        const char *message);
/* Nobody will ever begin with what waits. */
bool afork__pool_is_lost(const struct afork_pool *pool);
/* Breaks the pool if it has failed too often. From the loop only. */
void afork__pool_break(struct afork_pool *pool, const struct afork_exit *exit);

/* pool-workers.c */
int afork__pool_set_levels(struct afork_pool *pool, unsigned load);
/* The worker that the next call is for; NULL: none has room. */
struct afork__worker *afork__pool_choose(struct afork_pool *pool);
int afork__worker_start(struct afork_pool *pool);
/* 0 or -ENOMEM; then the call is still the caller's. */
int afork__worker_give(struct afork__worker *worker, struct afork_call *call);
/* The same for its age or what it has done; then there is to be another in its place. */
void afork__worker_replace(struct afork__worker *worker);
/* It is told to end, whatever it has. */
void afork__worker_leave(struct afork__worker *worker);
/* A call leaves its worker for good, and completes later with `error`. */
void afork__worker_withdraw(struct afork__worker *worker, struct afork_call *call, int error);
/* It is given nothing more, and ends when it has answered all. */
void afork__worker_retire(struct afork__worker *worker);
/* 0, or a negative errno if it cannot be killed. */
int afork__worker_kill(struct afork__worker *worker);
/* Forgets it at once, without a word. */
void afork__worker_close(struct afork__worker *worker, bool kill);
/* Whether the worker is at this call. */
bool afork__worker_is_at(const struct afork__worker *worker, const struct afork_call *call);

/* pool-memory.c */
/* Octets that a process shares with nobody; 0: not known. */
uint64_t afork__private_memory(pid_t pid);

/* cpu-count.c */
/* The quota of the control groups alone, rounded up, as found in the proc and sys folders below
 * `root`; 0: none. */
unsigned afork__cpu_quota(const char *root);

#endif
