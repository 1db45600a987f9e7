/* SPDX-License-Identifier: MIT
 *
 * Calls: what is asked of a worker, and what comes back. Shared by afork-rpc.h (one worker) and
 * afork-pool.h (many).
 *
 * Arguments and results are lists of Perl values, which a *serialiser* turns into octets. The core
 * carries those as they are. The default serialiser packs octet strings; afork_rpc_call_strings(),
 * afork_pool_call_strings() and afork_strings_next() speak it, so that most hosts need no other.
 */
#ifndef AFORK_CALL_H
#define AFORK_CALL_H

#if !defined(AFORK_H_INSIDE) && !defined(AFORK_COMPILATION)
#error "include <afork/afork.h> instead of this header"
#endif

#include <sys/uio.h>

#include "afork-process.h"
#include "afork-types.h"

AFORK_BEGIN_DECLS

/* A call that was accepted and is not completed. The handle is valid until its completion callback
 * has returned, or its `release` was called; nothing is to be released. */
struct afork_call;

/* What became of a call. Valid during the callback. */
struct afork_reply {
    /* 0, or why there is no result:
     *   -EREMOTEIO   the function died; `message` is Perl's text
     *   -ECONNRESET  the worker ended before it answered; `exit` says how where that is known
     *   -ENOEXEC, -EAGAIN, -EPERM, ...  the worker could not be started, as afork_run_cb
     *   -EIO         pools only, instead of those: it is broken, because workers failed one after the
     *                other; no worker has begun the call. `message` is what the last one failed of,
     *                `exit` how it ended where that is known
     *   -EPROTO      the worker sent what is not an answer, or uses another serialiser
     *   -ETIMEDOUT   it timed out
     *   -ECANCELED   afork_call_cancel(), or the end of what it was made with
     *   -ESHUTDOWN   its process was closed
     *   -ENOMEM, -EMFILE, -ENFILE  it could not be sent, its worker not watched, or its result not
     *                received, for want of these
     *   -EINVAL, -EBADF, -EPERM, -EACCES  a descriptor among its arguments is of a kind that cannot be
     *                sent, or may not be */
    int error;

    /* The same in words. Never NULL; empty without an error. */
    const char *message;

    /* The results, as the serialiser packed them. With -EREMOTEIO, the exception, packed the same
     * way, where it is more than a text and the serialiser can carry it; else NULL. */
    const void *data;
    size_t len;

    /* Descriptors among the results, close-on-exec. The callback keeps one by setting its entry to
     * -1; those that are left are closed. */
    int *fds;
    size_t n_fds;

    /* How the worker ended, if that is why there is no result; else NULL. */
    const struct afork_exit *exit;

    void **memory; /* private, see afork_reply_steal() */
};

/* Takes the `data` of a reply, which stays where it is and as it is until the callback returns. Not
 * copied if it is long; returned, release with free(). NULL if there are none, or no memory. */
AFORK_EXPORT void *afork_reply_steal(const struct afork_reply *reply);

/* Called once for each call that was accepted. It may do anything. If it turns the loop, what else its
 * worker has answered waits until it has returned. */
typedef void afork_call_cb(const struct afork_reply *reply, void *data);

/* What a worker tells before it has answered, or apart from any call. Valid during the callback. */
struct afork_event {
    const void *data; /* values, as the serialiser packed them */
    size_t len;
    int *fds; /* as in struct afork_reply */
    size_t n_fds;
};

/* How a call is made. Start from AFORK_CALL_OPTIONS_INIT: whatever is zero or NULL has its
 * default. */
struct afork_call_options {
    size_t size; /* sizeof(struct afork_call_options), set by the initialiser */

    /* Microseconds from now until the call must be completed; 0: no limit. Then it is completed with
     * -ETIMEDOUT. A worker that has it already goes on, and its answer is dropped. */
    int64_t timeout;

    /* Pools only. Microseconds that a worker may work on it, from the moment on when it has nothing
     * to answer before; 0: no limit. Then the worker is killed and replaced. Not with the
     * asynchronous back end (-EINVAL), whose calls have one process together. */
    int64_t run_timeout;

    /* Pools only: AFORK_PRIORITY_MIN to AFORK_PRIORITY_MAX. Of the calls that no worker has yet, the
     * highest comes first; among equals, the oldest. */
    int priority;

    /* Descriptors that the function is given as handles, behind its arguments. Duplicated; a pool keeps
     * the duplicates until the call is completed, since it may need them again. At most
     * AFORK_CALL_FDS_MAX (else -EINVAL). Our own frames and server only (else -ENOTSUP). The call is
     * refused with -EBADF if one is not open, with -EMFILE if there are too many. */
    const int *fds;
    size_t n_fds;

    /* Called for each event that the function sends while it works on the call; NULL: those go to
     * the `on_event` of what the call was made with. Our own frames only. */
    void (*on_event)(const struct afork_event *event, void *data);

    /* Called when a worker begins with it: when it has all of the call, and nothing to answer before;
     * with the asynchronous back end, when it has all of it. By then AFORK_CANCEL_QUEUED is too
     * late; that is so before, too, while the call waits for the worker that has it. Comes before
     * its events and its completion, but not in any case: the call may fail, or its worker end, before
     * that is known. Comes once more if the call is given to another worker. NULL: nobody is told. */
    void (*on_begin)(void *data);

    /* `release(data)` is called once: after the completion callback has returned, or when there will
     * be none, because of afork_rpc_close(), afork_pool_close() or afork_context_close(). If the
     * call is not accepted, it is not called. */
    void (*release)(void *data);
};

#define AFORK_CALL_OPTIONS_INIT                                                                    \
    {                                                                                              \
        .size = sizeof(struct afork_call_options)                                                  \
    }

enum {
    AFORK_PRIORITY_MIN = -32,
    AFORK_PRIORITY_MAX = 31,
    AFORK_CALL_FDS_MAX = 253,
};

/* What is done for the sake of a cancellation. */
enum afork_cancel {
    AFORK_CANCEL_QUEUED, /* nothing: only a call that no worker has is cancelled, so that none that was
                             begun is; `load` 1 has none wait for a busy worker */
    AFORK_CANCEL_ABANDON, /* the worker goes on; its answer is dropped */
    AFORK_CANCEL_KILL,    /* pools only: the worker is killed and replaced; calls that it had not
                             begun are given to others. Where it has not begun this one either, it
                             goes on as with AFORK_CANCEL_ABANDON */
};

/* Has a call complete with -ECANCELED, at the next turn of the loop.
 * Errors: -EBUSY (AFORK_CANCEL_QUEUED, and a worker has it), -EALREADY (it is about to complete),
 * -EINVAL (AFORK_CANCEL_KILL, and no call of a pool), -ENOTSUP (AFORK_CANCEL_KILL, and a worker of
 * AFORK_PEER_ORIGINAL, which cannot be killed), -EPERM (AFORK_CANCEL_KILL, and a worker that has
 * become another user's). In case of an error the call goes on. */
AFORK_EXPORT int afork_call_cancel(struct afork_call *call, enum afork_cancel how);

/* Moves a call of a pool to another place in the queue: behind those of its new priority.
 * Errors: -EBUSY (a worker has it, or it is about to complete), -EINVAL (no call of a pool),
 * -ERANGE. */
AFORK_EXPORT int afork_call_set_priority(struct afork_call *call, int priority);

/* A list of octet strings, as the default serialiser packs it, being read. */
struct afork_strings {
    const void *data;
    size_t len;
};

/* Finds the next string of `list`, in place, and goes behind it. Returns 1, 0 at the end of the list,
 * -EPROTO if it is malformed. */
AFORK_EXPORT int afork_strings_next(struct afork_strings *list, const void **ret_data,
                                    size_t *ret_len);

/* Packs strings for afork_rpc_call_take() and the like. `*ret` is returned; release with free().
 * Errors: -EMSGSIZE (more than UINT32_MAX octets). */
AFORK_EXPORT AFORK_NODISCARD int afork_strings_pack(const struct iovec *strings, size_t n,
                                                    void **ret, size_t *ret_len);

AFORK_END_DECLS

#endif
