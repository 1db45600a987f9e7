/* SPDX-License-Identifier: MIT
 *
 * Remote procedure calls: one worker whose function is called again and again.
 *
 * A process is told to run one of the back ends, which calls a Perl function for each call of the
 * host and sends back what it returns. Calls are queued and never block; the host reads while it
 * writes, whatever the sizes. In the worker, `AFork::RPC::event` sends events, and
 * `AFork::RPC::flush` waits until the host has been sent everything.
 */
#ifndef AFORK_RPC_H
#define AFORK_RPC_H

#if !defined(AFORK_H_INSIDE) && !defined(AFORK_COMPILATION)
#error "include <afork/afork.h> instead of this header"
#endif

#include "afork-call.h"

AFORK_BEGIN_DECLS

struct afork_rpc;

/* What the frames between host and worker look like. */
enum afork_rpc_frames {
    AFORK_RPC_FRAMES_OWN,      /* those of AFork::RPC: errors, events of calls, descriptors */
    AFORK_RPC_FRAMES_ORIGINAL, /* those of AnyEvent::Fork::RPC, octet for octet: an exception ends
                                  the worker, all events are the worker's */
};

/* Serialisers: Perl code that returns two functions, one that packs a list into octets and one that
 * unpacks it. These are ready made; the modules they name must be there in the worker. */
#define AFORK_SERIALISER_OCTETS "(sub { pack \"(w/a*)*\", @_ }, sub { unpack \"(w/a*)*\", shift })"
#define AFORK_SERIALISER_JSON                                                                      \
    "my $json = eval { require JSON::XS; JSON::XS->new }"                                          \
    " // do { require JSON::PP; JSON::PP->new }; $json->utf8;"                                     \
    " (sub { $json->encode(\\@_) }, sub { @{ $json->decode(shift) } })"
/* Octets that depend on the perl and the machine; for workers on this one. */
#define AFORK_SERIALISER_STORABLE                                                                  \
    "use Storable (); (sub { Storable::freeze(\\@_) }, sub { @{ Storable::thaw(shift) } })"
#define AFORK_SERIALISER_NSTORABLE                                                                 \
    "use Storable (); (sub { Storable::nfreeze(\\@_) }, sub { @{ Storable::thaw(shift) } })"

/* Options of a back end. Start from AFORK_RPC_OPTIONS_INIT: whatever is zero or NULL has its
 * default. Strings are copied. */
struct afork_rpc_options {
    size_t size; /* sizeof(struct afork_rpc_options), set by the initialiser */

    /* False: the function is called with the arguments, in list context, one call after the other;
     * what it returns is the result. True: the function is called with a callback and the arguments,
     * as calls come; what the callback is called with, once, is the result. That needs the module
     * AnyEvent in the worker. */
    bool async;

    enum afork_rpc_frames frames;

    /* One of those above or any code of that kind; NULL: AFORK_SERIALISER_OCTETS. */
    const char *serialiser;

    /* Name of a function that is called first, with the arguments that were sent to the process;
     * NULL: none. */
    const char *init;

    /* Asynchronous back end: name of a function that is called when the host has no more calls and
     * all are answered, instead of an exit; NULL: exit. */
    const char *done;

    /* An exception ends the worker, as it does with AFORK_RPC_FRAMES_ORIGINAL, instead of failing
     * the call with -EREMOTEIO. */
    bool exceptions_end;

    /* Octets that one answer or event may have at most; what is longer is -EPROTO. 0: UINT32_MAX. */
    uint32_t reply_max;

    /* Called for events of no call, and for those of calls without an `on_event`; NULL: they are
     * dropped. */
    void (*on_event)(struct afork_rpc *rpc, const struct afork_event *event, void *data);

    /* Called once, after all that the worker was to answer has been completed: it has ended, or its
     * channel has. `error` is 0 if it was told to by afork_rpc_unref() or afork_rpc_finish(), with
     * nothing left to answer; else as in struct afork_reply, with `message`. `exit` is NULL where
     * the end is not known (yet). */
    void (*on_end)(struct afork_rpc *rpc, int error, const char *message,
                   const struct afork_exit *exit, void *data);

    void *data; /* of these callbacks */
};

#define AFORK_RPC_OPTIONS_INIT                                                                     \
    {                                                                                              \
        .size = sizeof(struct afork_rpc_options)                                                   \
    }

/* Has `process` run a back end that calls `function`, looked up in package main unless it is
 * qualified. `process` is a server, as for afork_process_run(), which this replaces, as it does
 * afork_process_on_exit(); the handle stays the caller's, for kill and pid. Arguments that were sent
 * to it go to `init`. Returned; release with afork_rpc_unref().
 * Errors: -EINVAL, -ESRCH as afork_process_run(); -EMFILE, -ENFILE; -EMSGSIZE (4 GiB of options); of
 * remote processes -EAGAIN, see afork_process_new_remote(). */
AFORK_EXPORT AFORK_NODISCARD int afork_rpc_new(struct afork_process *process, const char *function,
                                               const struct afork_rpc_options *options,
                                               struct afork_rpc **ret);

/* Calls the function with the arguments in `data`, as the serialiser packs them. Copied. `options`
 * may be NULL. `*ret` is the handle of the call; `ret` may be NULL. A worker that is still starting
 * is waited for.
 * Errors: -EMSGSIZE (`len` > UINT32_MAX), -EPIPE (the worker ended, or it was told to finish or
 * closed); for the options of the call -EINVAL (out of range), -EBADF, -EMFILE, -ENOTSUP
 * (descriptors, but frames or a peer that cannot take them). */
AFORK_EXPORT int afork_rpc_call(struct afork_rpc *rpc, const void *data, size_t len,
                                const struct afork_call_options *options, afork_call_cb *cb,
                                void *cb_data, struct afork_call **ret);

/* The same without the copy: `data` is taken, and `release(release_data)` called once it is not needed
 * any more, not before the completion callback. For memory of malloc(), that is free() and `data`
 * again. If the call is not accepted, `data` stays the caller's. */
AFORK_EXPORT int afork_rpc_call_take(struct afork_rpc *rpc, const void *data, size_t len,
                                     void (*release)(void *release_data), void *release_data,
                                     const struct afork_call_options *options, afork_call_cb *cb,
                                     void *cb_data, struct afork_call **ret);

/* The same with octet strings for the default serialiser. Copied. */
AFORK_EXPORT int afork_rpc_call_strings(struct afork_rpc *rpc, const struct iovec *strings,
                                        size_t n, const struct afork_call_options *options,
                                        afork_call_cb *cb, void *cb_data, struct afork_call **ret);

/* Calls that are not completed. */
AFORK_EXPORT size_t afork_rpc_get_pending(struct afork_rpc *rpc);

/* Takes no more calls. The worker answers those it was given, and ends. */
AFORK_EXPORT void afork_rpc_finish(struct afork_rpc *rpc);

AFORK_EXPORT struct afork_rpc *afork_rpc_ref(struct afork_rpc *rpc);

/* Releases a reference. The last one is afork_rpc_finish(); all callbacks still come. */
AFORK_EXPORT void afork_rpc_unref(struct afork_rpc *rpc);

/* Closes the channel at once, whatever was to be answered, and makes sure that no callback comes any
 * more; the `release` of calls is called. The worker ends when it finds that out; kill it to be
 * sure. Does not release the reference. A second call does nothing. */
AFORK_EXPORT void afork_rpc_close(struct afork_rpc *rpc);

AFORK_END_DECLS

#endif
