/* SPDX-License-Identifier: MIT
 *
 * Calls of the synchronous back end, one after the other.
 *
 * An answer is written as soon as it is there, with one exception: while more calls are in the
 * buffer, and each of the last HOLD_AFTER calls took less than HOLD_SHORT_NSEC, answers are held
 * back to be written together. They are written before the back end reads again; when the buffer
 * is full; when the first of them is HOLD_NSEC old at the end of a call; after a call that was not
 * short; before and after one with a time limit; with an event or a descriptor; by flush; and when
 * the process exits. A process that is
 * killed then has begun with more calls than the oldest that is not answered: the answer before
 * says so, which is why only our own frames have this.
 */
#include "args.h"
#include "exit.h"
#include "rpc.h"

#include <time.h>

#include "rpc-wire.h"
#include "util.h"
#include "wire.h"

enum {
#ifdef AFORK_RPC_NEVER_HOLD
    HOLD = false, /* to measure what holding is worth */
#else
    HOLD = true,
#endif
    HOLD_AFTER = 8,
    HOLD_SHORT_NSEC = 20 * 1000,
    HOLD_NSEC = 100 * 1000,
};

static int64_t now_nsec(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

__attribute__((noreturn))
static void fail(pTHX_ struct afork__rpc *rpc, const char *text)
{
    SV *message = newSVpvf("AFork::RPC: %s\n", text);

    if (rpc->own)
        afork__rpc_send_error(aTHX_ rpc, 0, message);
    afork__rpc_io_flush(aTHX_ &rpc->io);
    afork__rpc_die(aTHX_ message);
}

__attribute__((noreturn))
static void end(pTHX_ struct afork__rpc *rpc)
{
    afork__rpc_io_flush(aTHX_ &rpc->io);
    rpc->perl = NULL;
    rpc->serving = false;
    if (!rpc->shared) /* else it would not be the end of the channel */
        afork__exit_if_unnoticed(aTHX_ true);
    afork__rpc_io_shutdown(aTHX_ &rpc->io);
    afork__exit_if_unnoticed(aTHX_ true);
    my_exit(0);
}

void afork__rpc_send_error(pTHX_ struct afork__rpc *rpc, uint32_t id, SV *exception)
{
    dSP;
    struct afork__rpc_list list = {0};
    uint8_t header[AFORK__RPC_HEADER_SIZE], lengths[2][AFORK__BER_MAX];
    STRLEN lens[2] = {0};
    size_t sizes[2] = {0};

    SV *text = afork__rpc_text(aTHX_ rpc, exception);
    SPAGAIN;
    if (id && SvROK(exception) && !rpc->octets) {
        XPUSHs(exception);
        PUTBACK;
        if (!afork__rpc_pack(aTHX_ rpc, 1, &list))
            list.n = 0;
        SPAGAIN;
    }
    rpc->n_fds = 0;
    const char *strings[2] = {SvPV(text, lens[0]), list.n ? SvPV(TOPs, lens[1]) : NULL};
    if (list.n && lens[0] + lens[1] > UINT32_MAX / 2)
        list.n = 0;
    for (int i = 0; i < 1 + !!list.n; i++)
        sizes[i] = afork__ber_put(lengths[i], lens[i]);
    struct afork__rpc_header fields = {
        .kind = AFORK__RPC_ERROR,
        .flags = id && rpc->holding ? AFORK__RPC_HOLDING : 0,
        .id = id,
        .len = (uint32_t)(sizes[0] + lens[0] + sizes[1] + (list.n ? lens[1] : 0)),
    };
    afork__rpc_put_header(header, &fields);
    afork__rpc_io_put(aTHX_ &rpc->io, header, sizeof header);
    for (int i = 0; i < 1 + !!list.n; i++) {
        afork__rpc_io_put(aTHX_ &rpc->io, lengths[i], sizes[i]);
        afork__rpc_io_put(aTHX_ &rpc->io, strings[i], lens[i]);
    }
}

/* Reads the header of the next call. False at end of file. */
static bool next_call(pTHX_ struct afork__rpc *rpc, struct afork__rpc_header *ret)
{
    size_t size = rpc->own ? AFORK__RPC_HEADER_SIZE : AFORK__RPC_SYNC_HEADER_SIZE;

    if (!afork__rpc_io_need(aTHX_ &rpc->io, size))
        return false;
    const uint8_t *header = afork__rpc_io_peek(&rpc->io);
    if (!rpc->own)
        *ret = (struct afork__rpc_header){.id = 1, .len = afork__rpc_get_number(header)};
    else if (afork__rpc_get_header(header, ret) < 0 || ret->kind != AFORK__RPC_CALL || !ret->id)
        fail(aTHX_ rpc, "malformed frame - stream corrupted?");
    else if (ret->n_fds > AFORK__FDS_PER_MESSAGE || ret->n_fds > rpc->io.fds.count)
        fail(aTHX_ rpc, "descriptors are missing - stream corrupted?");
    rpc->io.start += size;
    return true;
}

/* Whether another call is in the buffer as a whole. */
static bool more_buffered(const struct afork__rpc *rpc)
{
    size_t size = rpc->own ? AFORK__RPC_HEADER_SIZE : AFORK__RPC_SYNC_HEADER_SIZE;
    size_t there = afork__rpc_io_buffered(&rpc->io);

    return there >= size &&
           there - size >= afork__rpc_get_number(afork__rpc_io_peek(&rpc->io) + size - 4);
}

static void push_handles(pTHX_ struct afork__rpc *rpc, unsigned n)
{
    dSP;

    EXTEND(SP, (SSize_t)n);
    for (unsigned i = 0; i < n; i++)
        PUSHs(sv_2mortal(afork__handle_new(aTHX_ afork__fd_queue_take(&rpc->io.fds))));
    PUTBACK;
}

static bool failed(pTHX)
{
    return SvROK(ERRSV) || SvCUR(ERRSV);
}

/* Calls the function and packs what it returns. False: `$@` says why not. */
static bool compute(pTHX_ struct afork__rpc *rpc, const struct afork__rpc_header *call,
                    struct afork__rpc_list *ret)
{
    PUSHMARK(PL_stack_sp);
    enum afork__rpc_unpacked unpacked = afork__rpc_unpack(aTHX_ rpc, call->len);
    if (unpacked == AFORK__RPC_ENDED)
        end(aTHX_ rpc);
    push_handles(aTHX_ rpc, call->n_fds);
    if (unpacked == AFORK__RPC_MALFORMED) {
        PL_stack_sp = PL_stack_base + POPMARK;
        return false;
    }

    rpc->id = call->id;
    if (rpc->timed && !rpc->io.out_len) /* else the last answer was just now */
        rpc->started = now_nsec();
    errno = 0;
    SSize_t n = call_sv(rpc->function, rpc->exceptions_end ? G_LIST : G_LIST | G_EVAL);
    if (rpc->io.copied) /* the calls are its parent's */
        afork__rpc_end_copy(aTHX);
    if (!rpc->exceptions_end && failed(aTHX)) {
        PL_stack_sp -= n;
        return false;
    }
    if (rpc->exceptions_end) {
        afork__rpc_pack_or_die(aTHX_ rpc, n, ret);
        return true;
    }
    return afork__rpc_pack(aTHX_ rpc, n, ret);
}

/* Returns whether the answers in the buffer may wait for the next. What writing takes is not the
 * function's time: the host may run meanwhile, on the same processor. */
static bool answer(pTHX_ struct afork__rpc *rpc, const struct afork__rpc_header *call)
{
    struct afork__rpc_list list;
    bool told = rpc->holding, prompt = call->flags & AFORK__RPC_PROMPT;

    if (prompt)
        afork__rpc_io_flush(aTHX_ &rpc->io);
    ENTER;
    SAVETMPS;
    bool good = compute(aTHX_ rpc, call, &list);
    int64_t now = rpc->timed ? now_nsec() : 0; /* a process that takes one call saves the time */
    rpc->short_calls =
        rpc->timed && now - rpc->started < HOLD_SHORT_NSEC ? rpc->short_calls + 1 : 0;
    rpc->timed = true;
    rpc->started = now;
    rpc->holding = HOLD && rpc->own && rpc->short_calls >= HOLD_AFTER;
    if (!rpc->io.out_len)
        rpc->held_since = now;
    if (good)
        good = afork__rpc_send(aTHX_ rpc, AFORK__RPC_RESULT, call->id, &list);
    if (!good && rpc->exceptions_end)
        croak_sv(ERRSV);
    if (!good)
        afork__rpc_send_error(aTHX_ rpc, call->id, sv_mortalcopy(ERRSV));
    rpc->id = 0;
    FREETMPS;
    LEAVE;
    if (call->len > AFORK__RPC_SPARE_KEEP)
        afork__rpc_trim(aTHX_ rpc);
    return told && rpc->holding && !prompt && now - rpc->held_since < HOLD_NSEC &&
           more_buffered(rpc);
}

void afork__rpc_serve(pTHX_ struct afork__rpc *rpc)
{
    struct afork__rpc_header call;

    while (next_call(aTHX_ rpc, &call))
        if (!answer(aTHX_ rpc, &call))
            afork__rpc_io_flush(aTHX_ &rpc->io);
    end(aTHX_ rpc);
}
