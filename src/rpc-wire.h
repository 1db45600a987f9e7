/* SPDX-License-Identifier: MIT
 *
 * The frames of calls, encoded and decoded without any input or output. doc/wire-protocol.md is the
 * reference. Shared by the core and the Perl server. All numbers are big-endian, since host and
 * worker may be different machines.
 */
#ifndef AFORK_RPC_WIRE_H
#define AFORK_RPC_WIRE_H

#include <stddef.h>
#include <stdint.h>

/* Our own frames: kind, 8 bits; number of descriptors, 8; flags, 16; id, 32; length of the
 * payload, 32. The descriptors come with the first octet of the frame. */
#define AFORK__RPC_HEADER_SIZE 12

enum afork__rpc_kind {
    AFORK__RPC_CALL = 1, /* to the worker; the id is not 0; arguments */
    /* From the worker: */
    AFORK__RPC_READY, /* first of all; id: AFORK__RPC_VERSION; AFORK__RPC_PROBE as list, packed by the
                          serialiser */
    AFORK__RPC_RESULT, /* of the call `id`; results */
    AFORK__RPC_ERROR,  /* the same; octet strings: the text and, if there is more, the exception
                          packed by the serialiser. Id 0: the back end could not start, and ends */
    AFORK__RPC_EVENT,  /* values; id: the call it belongs to, or 0 */
    AFORK__RPC_RETIRE, /* the worker wants to be given no more calls */
};

enum afork__rpc_flags {
    /* RESULT, ERROR: from now on the worker may keep answers for a moment, so that it may be past
     * the oldest call that is not answered. */
    AFORK__RPC_HOLDING = 1 << 0,
    /* CALL: no answer is kept while it is worked on, its own neither, since it has a time limit. */
    AFORK__RPC_PROMPT = 1 << 1,
};

#define AFORK__RPC_VERSION 1
#define AFORK__RPC_PROBE "afork"

struct afork__rpc_header {
    enum afork__rpc_kind kind;
    unsigned n_fds;
    unsigned flags;
    uint32_t id, len;
};

/* The frames of the original: to a synchronous back end the length; else an id and the length. What
 * comes back always has an id: 0 for events, 1 for results of a synchronous one. */
#define AFORK__RPC_SYNC_HEADER_SIZE 4
#define AFORK__RPC_ASYNC_HEADER_SIZE 8

void afork__rpc_put_header(uint8_t out[AFORK__RPC_HEADER_SIZE],
                           const struct afork__rpc_header *header);

/* Reads a header. Returns 0, or -EPROTO if its kind is unknown or it has a flag that its kind has
 * not. */
int afork__rpc_get_header(const uint8_t in[AFORK__RPC_HEADER_SIZE], struct afork__rpc_header *ret);

void afork__rpc_put_number(uint8_t out[4], uint32_t number);
uint32_t afork__rpc_get_number(const uint8_t in[4]);

#endif
