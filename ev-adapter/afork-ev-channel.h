/* SPDX-License-Identifier: MIT
 *
 * A channel in the manner of libev: a struct to embed in one's own, set up once, started and
 * stopped, with a callback. It is two ev_io and the socket, plus what a program on a socket needs
 * anyway: a queue for what the socket does not take at once, and reads that do not starve the loop.
 *
 *     struct worker {
 *         struct afork_ev_channel channel;
 *         ...
 *     };
 *
 *     static void on_channel(EV_P_ struct afork_ev_channel *channel, int revents);
 *
 *     afork_ev_channel_init(&worker->channel, on_channel, fd);      // in the callback of run
 *     afork_ev_channel_start(EV_A_ &worker->channel, EV_READ);
 *     afork_ev_channel_write(EV_A_ &worker->channel, "hello\n", 6);
 *
 * Nothing here needs a context or an afork loop: any non-blocking stream socket will do. None of it
 * raises SIGPIPE. All calls may be made from every callback; a channel may be closed, and its
 * memory released, in its own.
 *
 * Ownership   The memory of the struct is the caller's, and must stay where it is from _init to
 *             _close. The socket belongs to the channel from _init on; _close closes it. What is
 *             written is copied as far as the socket does not take it.
 */
#ifndef AFORK_EV_CHANNEL_H
#define AFORK_EV_CHANNEL_H

#if !defined(AFORK_EV_H_INSIDE) && !defined(AFORK_EV_COMPILATION)
#error "include <afork/afork-ev.h> instead of this header"
#endif

#include <ev.h>

#include <afork/afork.h>

AFORK_BEGIN_DECLS

struct afork_ev_channel;

/* Called from the loop; `revents` is one of EV_READ    there is something to read, or the end;
 * comes again as long as that is so EV_WRITE   all that was written is with the socket, and it
 * takes more; comes again until it is stopped or something has to wait in the queue EV_ERROR
 * what waited in the queue could not be written and was dropped: `error` says why. Comes once,
 * whether anything was started or not. Reading is still possible, but for -EIO, which may come
 * after another error: libev cannot watch the socket and has stopped what it watched. libev
 * sleeps before it tells that, until something else wakes the loop, at most for a minute; a
 * context on the same loop does so sooner. */
typedef void afork_ev_channel_cb(EV_P_ struct afork_ev_channel *channel, int revents);

struct afork_ev_channel {
    void *data;    /* the user's */
    int fd;        /* read only: the socket, -1 after _close */
    int error;     /* read only: 0, or the negative errno that ended writing */
    size_t queued; /* read only: octets that wait until the socket takes them */

    /* Private. */
    afork_ev_channel_cb *cb;
    ev_io reader, writer;
    char *buffer; /* of `size` octets; what waits starts at `start` */
    size_t size, start;
    size_t share;            /* octets that may still be read in this dispatch */
    bool wants_write, ended; /* EV_WRITE was started; writing ends after the queue */
    void *reserved[4];
};

/* Sets up a channel on `fd`, a non-blocking stream socket, which is taken. Nothing is started. Does
 * not touch `data`, so that it may be set before. Cannot fail. */
AFORK_EXPORT void afork_ev_channel_init(struct afork_ev_channel *channel, afork_ev_channel_cb *cb,
                                        int fd);

/* Starts, or stops, calling back for `events`: EV_READ, EV_WRITE or both; the other keeps its
 * state. What has been started already, or stopped, stays so. Stopping does not stop the queue
 * from being written. A channel that was started, or has something queued, keeps ev_run() going. */
AFORK_EXPORT void afork_ev_channel_start(EV_P_ struct afork_ev_channel *channel, int events);
AFORK_EXPORT void afork_ev_channel_stop(EV_P_ struct afork_ev_channel *channel, int events);

/* Reads up to `len` octets. Returns how many, 0 at the end of the file, or a negative errno:
 * -EAGAIN      there is nothing to read now, or, with EV_READ started, enough was read in this
 * dispatch (256 KiB): EV_READ comes when there is more. A callback may therefore read until it
 * gets this. -ECONNRESET  the peer ended without reading all that it was sent; an end, too At
 * the end and after an error EV_READ is stopped, since it would come without end. */
AFORK_EXPORT ssize_t afork_ev_channel_read(EV_P_ struct afork_ev_channel *channel, void *data,
                                           size_t len);

/* Writes `len` octets: sends what the socket takes at once, and copies the rest into the queue,
 * which is written from the loop. Watch `queued` to bound it, or start EV_WRITE and write only when
 * that comes. Returns 0 or a negative errno; the first that ends writing stays:
 *   -EPIPE, -ECONNRESET  nobody reads any more; also -EPIPE after afork_ev_channel_shut()
 *   -ENOMEM              the rest cannot be queued. If nothing had been sent yet, it is as if the
 *                        call had not been made; else the octets sent cannot be taken back, and
 *                        writing has ended */
AFORK_EXPORT int afork_ev_channel_write(EV_P_ struct afork_ev_channel *channel, const void *data,
                                        size_t len);

/* Ends writing: the peer reads the end of the file after all that was queued. Reading goes on. To
 * know when it was done start EV_WRITE. */
AFORK_EXPORT void afork_ev_channel_shut(EV_P_ struct afork_ev_channel *channel);

/* Stops everything, drops the queue and closes the socket. No callback comes any more, and the
 * memory may be reused or released. A channel that was closed, or is all zero, is left alone. */
AFORK_EXPORT void afork_ev_channel_close(EV_P_ struct afork_ev_channel *channel);

AFORK_END_DECLS

#endif
