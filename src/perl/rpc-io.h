/* SPDX-License-Identifier: MIT
 *
 * The channel of an RPC back end: octets and descriptors in and out, with a buffer for each way.
 * Knows neither frames nor what a call is. A channel whose host is gone ends the process.
 */
#ifndef AFORK_PERL_RPC_IO_H
#define AFORK_PERL_RPC_IO_H

#include "fdpass.h"
#include "perl-api.h"

enum {
    AFORK__RPC_IN_SIZE = 64 * 1024,
    AFORK__RPC_OUT_SIZE = 64 * 1024,
};

struct afork__rpc_io {
    int rfd, wfd;
    bool rfd_is_socket, wfd_is_socket;
    bool ended;  /* nothing more comes */
    bool may_wait; /* what was put is not written before something is received, if that is there */
    bool early;    /* nothing was waited for yet */
    bool copied; /* this is a copy of the process whose channel it is: nothing is read */
    struct afork__fd_queue fds; /* that came and are not claimed yet */
    size_t start, end;          /* of what is in `in` */
    size_t out_len;
    size_t out_size;
    uint8_t *in, *out;
};

/* The descriptors stay the caller's. */
void afork__rpc_io_init(struct afork__rpc_io *io, int rfd, int wfd);

/* The same for what is known to be a socket, about which nothing is asked: if it does not block,
 * that is changed when something is waited for first. */
void afork__rpc_io_init_socket(struct afork__rpc_io *io, int fd);

/* How many octets are in the buffer, and where. */
static inline size_t afork__rpc_io_buffered(const struct afork__rpc_io *io)
{
    return io->end - io->start;
}

static inline const uint8_t *afork__rpc_io_peek(const struct afork__rpc_io *io)
{
    return io->in + io->start;
}

/* Waits until `n` octets are in the buffer, at most AFORK__RPC_IN_SIZE. Writes what was put
 * first. False at end of file. May run signal handlers. */
bool afork__rpc_io_need(pTHX_ struct afork__rpc_io *io, size_t n);

/* Exactly `n` octets to `data`, or false at end of file. */
bool afork__rpc_io_read(pTHX_ struct afork__rpc_io *io, void *data, size_t n);

/* Drops `n` octets. */
bool afork__rpc_io_skip(pTHX_ struct afork__rpc_io *io, uint64_t n);

/* Appends the next `n` octets to a string, whose memory grows as they come: a length alone makes
 * nobody allocate it. */
bool afork__rpc_io_read_sv(pTHX_ struct afork__rpc_io *io, SV *sv, size_t n);

/* Puts octets into the buffer; what does not fit is written with what is there before. */
void afork__rpc_io_put(pTHX_ struct afork__rpc_io *io, const void *data, size_t n);

/* Puts octets, the first of which comes with these descriptors: written up to there. 0, or the
 * errno for which they cannot be sent, not after a second either; then nothing was put. */
int afork__rpc_io_put_fds(pTHX_ struct afork__rpc_io *io, const void *data, size_t n,
                          const int *fds, size_t n_fds);

/* Writes what was put. */
void afork__rpc_io_flush(pTHX_ struct afork__rpc_io *io);

/* In a copy of the process: what was put is for its parent to write. */
void afork__rpc_io_copied(struct afork__rpc_io *io);

/* Ends such a copy, as a process whose function has returned. */
void afork__rpc_end_copy(pTHX) __attribute__((noreturn));

/* Says that nothing more will come. */
void afork__rpc_io_shutdown(pTHX_ struct afork__rpc_io *io);

/* Ends the process with a message, as an exception that nobody catches. */
void afork__rpc_die(pTHX_ SV *text) __attribute__((noreturn));

#endif
