/* SPDX-License-Identifier: MIT
 *
 * The synchronous RPC back end: a function that is called for each call of the host. Also what the
 * asynchronous one, which is Perl (AFork/RPC.pm), needs from C.
 */
#ifndef AFORK_PERL_RPC_H
#define AFORK_PERL_RPC_H

#include "perl-api.h"
#include "rpc-io.h"

#include <stdint.h>

enum {
    /* Values for arguments that are used again and again. */
    AFORK__RPC_SPARES = 16,
    /* Memory of one that is kept. */
    AFORK__RPC_SPARE_KEEP = 2 * 1024 * 1024,
};

/* There is one in a process. */
struct afork__rpc {
    struct afork__rpc_io io;
    bool serving;        /* or about to */
    bool shared;         /* there was a copy of the process, which may have the channel */
    void *perl;          /* the interpreter that has events to send; NULL: none */
    bool own;            /* the frames are ours, not the original's */
    bool exceptions_end; /* an exception ends the process */
    bool octets;         /* the serialiser is the default: `freeze` and `thaw` are NULL */
    SV *handle;          /* keeps the channel open */
    SV *function, *freeze, *thaw;
    CV *pack, *text; /* ours, as functions that can be called inside an eval */
    uint32_t id;     /* of the call that is worked on; 0: none */
    SV *spares[AFORK__RPC_SPARES];
    int fds[AFORK__FDS_PER_MESSAGE]; /* of the list that is packed */
    size_t n_fds;
    bool timed;   /* there was a call before */
    bool holding; /* the last answer said that those behind it may be kept for a moment */
    unsigned short_calls; /* how many calls in a row were short */
    int64_t started;      /* nanoseconds; when the last call began, or ended */
    int64_t held_since;   /* when the first answer in the buffer was put there */
};

extern struct afork__rpc afork__the_rpc;

/* What became of arguments that were to be unpacked. */
enum afork__rpc_unpacked {
    AFORK__RPC_UNPACKED,
    AFORK__RPC_MALFORMED, /* `$@` says why; the frame is read to its end */
    AFORK__RPC_ENDED,     /* the channel ended in the middle */
};

/* Reads a payload and pushes what the serialiser unpacks. */
enum afork__rpc_unpacked afork__rpc_unpack(pTHX_ struct afork__rpc *rpc, size_t len);

/* Releases what the arguments of a large call hold. */
void afork__rpc_trim(pTHX_ struct afork__rpc *rpc);

/* A list that is ready to be written: strings of octets at the top of the stack. */
struct afork__rpc_list {
    SSize_t n; /* how many; NULL payload: 0 */
    size_t len; /* of the payload */
};

/* Packs the `n` values at the top of the stack, which are replaced by octet strings; descriptors of
 * handles go to `fds`. False: `$@` says why, and they are popped. */
bool afork__rpc_pack(pTHX_ struct afork__rpc *rpc, SSize_t n, struct afork__rpc_list *ret);

/* The same for code that wants an exception. */
void afork__rpc_pack_or_die(pTHX_ struct afork__rpc *rpc, SSize_t n, struct afork__rpc_list *ret);

/* Makes the functions `pack` and `text`. */
void afork__rpc_values_init(pTHX_ struct afork__rpc *rpc);

/* The text of an exception, in octets, mortal. Never dies. */
SV *afork__rpc_text(pTHX_ struct afork__rpc *rpc, SV *exception);

/* Writes what afork__rpc_pack() prepared, and pops it. `kind` is that of our frames. False: its
 * descriptors cannot be sent, `$@` says why. */
bool afork__rpc_send(pTHX_ struct afork__rpc *rpc, unsigned kind, uint32_t id,
                     const struct afork__rpc_list *list);

/* Sends an exception as the answer to a call, or, for id 0, as the reason of the end. */
void afork__rpc_send_error(pTHX_ struct afork__rpc *rpc, uint32_t id, SV *exception);

/* Calls until there are no more, and ends the process. */
void afork__rpc_serve(pTHX_ struct afork__rpc *rpc) __attribute__((noreturn));

/* Defines the function `run` of a back end if that is what the name says. Whether it was. */
bool afork__rpc_define(pTHX_ const char *name, size_t len);

/* Defines AFork::RPC::prepare, by which a template gets ready for children that run the synchronous
 * back end, with our own frames, all with the same parameters. The last one that was prepared
 * counts. */
void afork__rpc_define_prepare(pTHX);

#define AFORK__RPC_SYNC_RUN "AFork::RPC::Sync::run"

/* Whether that is the function, and prepared, and still ours. Then it needs no arguments: they are
 * all for init. */
bool afork__rpc_is_prepared(pTHX_ const char *function, size_t len);

/* The name of the function that is called, and whether there is an init. */
SV *afork__rpc_prepared_name(void);
bool afork__rpc_prepared_init(void);

/* Where the server keeps the title of processes that become the back end, which is forgotten with
 * the rest; NULL if nothing was prepared. */
SV **afork__rpc_prepared_title(void);

/* Keeps the handle of the command socket, if there is one, open: what the back end has not written
 * yet is written when the process exits, after `@_` is gone. Done in a template, it costs its
 * children nothing. */
void afork__rpc_keep_handle(pTHX_ SV *handle);

/* Becomes the back end. `args`, the arguments of init, is taken over; NULL if there is none. The
 * descriptor has to stay open. */
void afork__rpc_run_prepared(pTHX_ int fd, AV *args) __attribute__((noreturn));

/* Defines event, flush and the like, which are there while a back end runs. */
void afork__rpc_define_functions(pTHX_ bool own);

/* The same for those that ask for them without one: nothing that is defined changes. */
void afork__rpc_define_missing(pTHX);

/* Has the modules found that are built in. Nothing else is done for them at the start. */
void afork__rpc_boot(pTHX);

#endif
