/* SPDX-License-Identifier: MIT
 *
 * What rpc.c and pool.c share: calls on their way to a worker and back.
 *
 * A call belongs to a pool as long as it waits there, and to an rpc from the moment on when that was
 * given it. Its `finish` is how it leaves the rpc: to the user, or back to the pool.
 */
#ifndef AFORK_CALL_PRIVATE_H
#define AFORK_CALL_PRIVATE_H

#include "deadline.h"
#include "internal.h"
#include "rpc-wire.h"

#include "afork-call.h"
#include "afork-pool.h"
#include "afork-rpc.h"

enum afork__call_state {
    AFORK__CALL_QUEUED, /* in the queue of a pool */
    AFORK__CALL_UNSENT, /* with an rpc, nothing of it is written */
    AFORK__CALL_SENT,   /* some of it is */
    AFORK__CALL_DUE,    /* it completes at the next turn, see struct afork__due */
    AFORK__CALL_DONE,   /* it was completed, and the user is told */
    AFORK__CALL_GONE,   /* he was: it is there until it is written, and then released */
};

struct afork_call {
    TAILQ_ENTRY(afork_call) link;  /* in a queue of its pool, or of its rpc */
    struct afork_context *context; /* a reference */
    enum afork__call_state state;
    bool prompt;             /* no answer may be kept while it is worked on */
    bool begun;              /* `on_begin` was told of the worker that has it */
    bool writing;            /* some of it, but not all, is written: its rpc keeps the memory */
    struct afork_rpc *rpc;   /* NULL: no worker has it */
    struct afork_pool *pool; /* NULL: made with an rpc */
    /* How it leaves its rpc: to the user, or back to the pool. */
    void (*finish)(struct afork_call *call, struct afork_reply *reply);

    afork_call_cb *cb;
    void *cb_data;
    void (*on_event)(const struct afork_event *event, void *data);
    void (*on_begin)(void *data);
    void (*release)(void *data);

    struct afork__deadline timeout; /* of the call, off if it has none */
    int error;                      /* AFORK__CALL_DUE: what it completes with */

    /* For the pool. */
    TAILQ_ENTRY(afork_call) pool_link; /* of all that are not completed, as they were made */
    struct afork__worker *worker;      /* NULL: none has it */
    uint64_t order;                    /* in the queue; unique in the pool */
    int64_t run_timeout;
    int priority;
    bool retried;

    uint32_t id; /* towards the worker */
    int *fds;    /* owned */
    size_t n_fds;
    const void *data;
    size_t len;
    void (*release_taken)(void *release_data); /* of `data`; NULL: that is `copy` */
    void *release_data;

    /* What is written: the end of `header`, as much as the frames have, and the data, which follow
     * at once if they are `copy`. */
    uint8_t header[AFORK__RPC_HEADER_SIZE];
    uint8_t copy[];
};

TAILQ_HEAD(afork__calls, afork_call);

/* What a call is made of. */
struct afork__call_data {
    const void *data;
    size_t len;
    void (*release)(void *release_data); /* NULL: `data` is copied, or */
    void *release_data;
    const struct iovec *strings; /* packed from these */
    size_t n_strings;
};

/* Calls that complete at the next turn, because no callback may run now. Whoever has this completes
 * them when `turn` comes, by afork__due_next(). */
struct afork__due {
    struct afork__calls calls;
    struct afork__turn turn;
};

/* call.c */

/* A call from the arguments of the public functions; it has no owner yet. Its timeout runs. Returns
 * 0 or a negative errno. */
int afork__call_new(struct afork_context *context, const struct afork__call_data *data,
                    const struct afork_call_options *options, afork_call_cb *cb, void *cb_data,
                    struct afork_call **ret);
/* The end: calls the user back, from the loop only, closes what is left of the reply, and releases
 * the call. It is in no list any more. */
void afork__call_complete(struct afork_call *call, struct afork_reply *reply);
/* The same without a result. `message` NULL: the usual words for `error`. */
void afork__call_fail(struct afork_call *call, int error, const char *message,
                      const struct afork_exit *exit);
/* The end without the callback; for what is closed. */
void afork__call_drop(struct afork_call *call);
/* Unmakes a call that was not accepted after all: what the user owns is his again. */
void afork__call_discard(struct afork_call *call);
/* Releases the memory of a completed call that is not being written (any more). */
void afork__call_free(struct afork_call *call);
const char *afork__call_words(int error);
/* Takes a call from whoever has it, and has it complete later with `error`. */
void afork__call_withdraw(struct afork_call *call, int error);

void afork__due_init(struct afork__due *due, void (*cb)(struct afork__turn *turn));
/* Has a call, which nobody has any more, complete later with `error`. */
void afork__due_add(struct afork__due *due, struct afork_call *call, int error);
/* Has the memory of a completed call released later: that is the user's, who may do anything
 * then. */
void afork__due_release(struct afork__due *due, struct afork_call *call);
/* Completes, or releases, the first call. False: there is none. */
bool afork__due_next(struct afork__due *due);
/* Drops all. */
void afork__due_clear(struct afork__due *due, struct afork_context *context);

/* pool.c */

/* Takes a call of a pool out of its queue, or from the worker that has it, and has it complete
 * later with `error`. */
void afork__pool_withdraw(struct afork_call *call, int error);
/* Where its calls end that do not end at once. */
struct afork__due *afork__pool_due(struct afork_pool *pool);
/* Does what `how` asks for before that; 0 or -EBUSY. */
int afork__pool_may_cancel(struct afork_call *call, enum afork_cancel how);
/* afork_call_set_priority(), for a call in the queue. */
void afork__pool_move(struct afork_call *call, int priority);

/* rpc.c */

/* For pools, in place of callbacks. All come from the loop. `ended` comes once and last; calls that
 * the rpc had until then are given to `lost` before, which takes them all over. */
struct afork__rpc_hooks {
    void (*begun)(void *data);  /* what it was given may have begun: comes before `ready` */
    void (*ready)(void *data);  /* the back end is there */
    void (*retire)(void *data); /* the worker wants no more calls */
    /* The worker has answered a call that it had when it was taken back. */
    void (*dropped)(void *data);
    void (*event)(const struct afork_event *event, void *data);
    /* `begun`: the worker may have begun with it; else it surely has not. */
    void (*lost)(struct afork_call *call, bool begun, const struct afork_reply *reply, void *data);
    /* Its channel has ended: it is to be given nothing more. */
    void (*cut)(void *data);
    /* That was a moment ago, and the worker has not ended: what it surely has not begun was `lost`
     * before. Only if it was ready. */
    void (*lingers)(void *data);
    void (*ended)(int error, const char *message, const struct afork_exit *exit, void *data);
};

/* Sends a template what makes afork__rpc_run() all that its forks need: the module, the
 * arguments. */
int afork__rpc_prepare(struct afork_process *template, const char *function,
                       const struct afork_rpc_options *options);
int afork__rpc_run(struct afork_process *process, const struct afork_rpc_options *options,
                   const struct afork__rpc_hooks *hooks, void *data, struct afork_rpc **ret);
/* Gives an rpc a call. What cannot be sent is `lost` later. 0 or -ENOMEM; then the call is still
 * the caller's. */
int afork__rpc_give(struct afork_rpc *rpc, struct afork_call *call);
/* The call is the caller's again, who completes it. If the worker has it already, its answer is
 * dropped. */
void afork__rpc_take_back(struct afork_rpc *rpc, struct afork_call *call);
/* The call that a synchronous worker has begun, or begins next; NULL: it has none, or one that was
 * taken back. */
struct afork_call *afork__rpc_current(const struct afork_rpc *rpc);
struct afork__due *afork__rpc_due(struct afork_rpc *rpc);
/* From now on the notice of the end is what the program runs for. */
void afork__rpc_want_exit(struct afork_rpc *rpc);

#endif
