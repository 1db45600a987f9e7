/* SPDX-License-Identifier: MIT
 *
 * An rpc as its files share it: rpc.c has its life, rpc-io.c its channel, rpc-table.c its calls,
 * rpc-begin.c the notices that they were begun.
 *
 *   STARTING -> OPEN -> CLOSED -> ENDED
 *
 * STARTING: the worker has not entered the back end; calls gather. OPEN: they flow. CLOSED: the channel
 * has ended, and how the worker ended is waited for. ENDED: everybody was told.
 */
#ifndef AFORK_RPC_PRIVATE_H
#define AFORK_RPC_PRIVATE_H

#include "call.h"
#include "fdpass.h"

/* Calls that the worker was given, by id. */
struct afork__rpc_slot {
    uint32_t id;             /* 0: free */
    bool prompt;             /* no answer is kept while it is worked on */
    struct afork_call *call; /* NULL: its answer is dropped */
};

enum afork__rpc_state { AFORK__RPC_STARTING, AFORK__RPC_OPEN, AFORK__RPC_CLOSED, AFORK__RPC_ENDED };

struct afork_rpc {
    struct afork__attachment attachment;
    unsigned refs; /* the user's together, one until ENDED or closed, one of each dispatch */
    unsigned user_refs;
    struct afork_context *context;
    struct afork_process *process;
    enum afork__rpc_state state;
    bool closed;     /* afork_rpc_close() */
    bool finishing;  /* no more calls */
    bool shut;       /* the worker was told so */
    bool unreported; /* nobody tells of the worker's end */
    bool gone;       /* it has ended: nothing comes after what is in the channel */
    bool holding;    /* the worker may be past the oldest call */
    bool ready;      /* the back end has said that it is there */
    bool begun;      /* what it was given may have begun */

    /* Options. */
    bool async, own_frames, octets; /* `octets`: the default serialiser */
    bool prompt; /* no code of the user runs between the start of the back end and the first call */
    uint32_t reply_max;
    void (*on_event)(struct afork_rpc *, const struct afork_event *, void *);
    void (*on_end)(struct afork_rpc *, int, const char *, const struct afork_exit *, void *);
    const struct afork__rpc_hooks *hooks; /* NULL: the callbacks above */
    void *data;

    /* The channel. */
    int fd;
    struct afork_io *io;
    bool dispatching; /* what comes is being handled; what is given is sent at the end of that */
    bool again;       /* it became readable meanwhile: its watcher is off */
    bool blocked;     /* the socket was full */
    bool deaf;        /* the worker does not read any more */
    bool refusing;    /* sending is under way, as if it were `dispatching` */
    struct afork__turn
        uncork; /* due: something was sent in this turn, the rest follows in the next */
    struct afork__deadline wait; /* OPEN: the kernel was full; CLOSED: for the end of the worker */

    struct afork__calls unsent, sent;
    size_t n_calls; /* of both */
    struct afork__due due;
    struct afork_call *writing; /* a part of it is written: */
    size_t written;

    struct afork__rpc_slot *slots; /* a power of two, at least twice as many as are used */
    size_t n_slots, n_used;
    uint32_t last_id, oldest_id; /* in use, if n_used */

    size_t n_begin;   /* of `sent`, calls whose `on_begin` is to come */
    uint32_t told_id; /* asynchronous: those up to this number were looked at; if n_begin */

    /* The frame that is being received. */
    uint8_t header[AFORK__RPC_HEADER_SIZE];
    size_t header_got, payload_got, payload_room;
    struct afork__rpc_header frame;
    uint8_t *payload; /* NULL: nothing of it is here */
    void *memory;     /* of the reply that is being told of, if it has its own */
    struct afork__fd_queue fds;

    /* Why it ends. */
    int error;
    char *message;           /* NULL: the usual words */
    struct afork_exit *exit; /* with its strings behind it; NULL: not known */
};

/* rpc.c */
void afork__rpc_unref_memory(struct afork_rpc *rpc);
/* What came for a call: it leaves the rpc. */
void afork__rpc_answer(struct afork_rpc *rpc, struct afork_call *call, struct afork_reply *reply);
/* The channel has ended, or is of no use any more. 0: by end of file. */
void afork__rpc_close_channel(struct afork_rpc *rpc, int error, const char *message, size_t len);
/* The worker is gone: takes what it wrote, and ends. */
void afork__rpc_gone(struct afork_rpc *rpc);
/* Tells everybody, if all is known. */
void afork__rpc_try_end(struct afork_rpc *rpc);

/* rpc-io.c */
int afork__rpc_open(struct afork_rpc *rpc, int fd);
/* Sends, now or soon, what is unsent; tells the worker when there is no more. */
void afork__rpc_send(struct afork_rpc *rpc);
void afork__rpc_io_cb(unsigned events, void *rpc);
void afork__rpc_uncork(struct afork__turn *turn);
/* Receives all that is there. */
void afork__rpc_drain(struct afork_rpc *rpc);
void afork__rpc_update_watch(struct afork_rpc *rpc);
/* What was being written is, or nobody writes any more. If it was completed before, it is released
 * at the next turn, with what is due. */
void afork__rpc_stop_writing(struct afork_rpc *rpc);
void afork__rpc_forget_frame(struct afork_rpc *rpc);

/* Tells of calls that were begun, and goes on with what waited meanwhile. From the loop; the caller has
 * a reference. */
void afork__rpc_tell_begun(struct afork_rpc *rpc);

/* rpc-begin.c; none of these is to be called without `on_begin`, or `n_begin` */

/* A call is being written. */
void afork__rpc_begin_sent(struct afork_rpc *rpc, struct afork_call *call);
/* A call that was sent leaves. */
void afork__rpc_begin_left(struct afork_rpc *rpc, const struct afork_call *call);
/* Something has changed: has it told, at the next turn, what has begun. */
void afork__rpc_begin_soon(struct afork_rpc *rpc);
/* Before the worker is heard on a call, by its number. Afterwards the rpc may be closed. */
void afork__rpc_begin_before(struct afork_rpc *rpc, uint32_t id);
/* Tells of all that were begun; the rpc is `dispatching` meanwhile. */
void afork__rpc_begin_tell(struct afork_rpc *rpc);

/* rpc-table.c */
/* The number that follows another. */
uint32_t afork__rpc_id_after(uint32_t id);
/* Makes room for one more call in the table. */
int afork__rpc_reserve(struct afork_rpc *rpc);
/* The place of a number in use, or NULL. */
struct afork__rpc_slot *afork__rpc_slot_of(const struct afork_rpc *rpc, uint32_t id);
/* The next number after `id` that is free. */
uint32_t afork__rpc_next_id(const struct afork_rpc *rpc, uint32_t id);
void afork__rpc_free_slot(struct afork_rpc *rpc, struct afork__rpc_slot *slot);
/* The call whose answer is next from a synchronous back end. */
struct afork_call *afork__rpc_oldest(const struct afork_rpc *rpc);
/* Whether the worker may have begun with more than the oldest call. */
bool afork__rpc_may_hold(const struct afork_rpc *rpc);
/* Forgets that a call has an answer to come; `dropped`: it will come none the less. */
void afork__rpc_forget_call(struct afork_rpc *rpc, const struct afork_call *call, bool dropped);

#endif
