/* SPDX-License-Identifier: MIT
 *
 * Perl values and the payload of frames. The default serialiser's lists are packed and unpacked
 * here, each octet copied once; for others, their functions are called. Whatever may run code of
 * the user does so inside an eval.
 */
#include "rpc.h"

#include <string.h>
#include <sys/socket.h>

#include "rpc-wire.h"
#include "wire.h"

/* Most octets of the text of an exception: nobody reads more, and it has to fit into a frame. */
enum { TEXT_MAX = 1 << 30 };

/* Whether the value is a string of octets, or is made one without any code that could be
 * noticed. */
static bool is_plain(const SV *sv)
{
    return !(SvFLAGS(sv) & (SVf_ROK | SVf_UTF8 | SVs_GMG)) && !isGV_with_GP(sv) &&
           SvTYPE(sv) != SVt_REGEXP;
}

static const char *plain_octets(pTHX_ SV *sv, STRLEN *len)
{
    if (SvOK(sv))
        return SvPV_nomg(sv, *len);
    *len = 0; /* without a warning about something that is nowhere in the user's code */
    return "";
}

/* The octets of any value, mortal. Dies of characters that are none. */
static SV *to_octets(pTHX_ SV *sv)
{
    STRLEN len;

    SvGETMAGIC(sv);
    if (!SvOK(sv))
        return sv_2mortal(newSVpvs(""));
    const char *data = SvPV_nomg(sv, len);
    SV *octets = sv_2mortal(newSVpvn_utf8(data, len, SvUTF8(sv)));
    if (!sv_utf8_downgrade(octets, TRUE))
        croak("Wide character in result or event");
    return octets;
}

/* Packs its arguments: octet strings for each of them, or one for all. */
XS_INTERNAL(xs_pack)
{
    dXSARGS;
    struct afork__rpc *rpc = &afork__the_rpc;

    if (rpc->octets) {
        for (SSize_t i = 0; i < items; i++)
            ST(i) = to_octets(aTHX_ ST(i));
        XSRETURN(items);
    }
    PUSHMARK(MARK);
    call_sv(rpc->freeze, G_SCALAR);
    SPAGAIN;
    SV *packed = POPs;
    PUTBACK;
    packed = to_octets(aTHX_ packed);
    SPAGAIN;
    EXTEND(SP, 1);
    ST(0) = packed;
    XSRETURN(1);
}

XS_INTERNAL(xs_text)
{
    dXSARGS;
    STRLEN len;

    PERL_UNUSED_VAR(items);
    const char *data = SvPV(ST(0), len);
    if (len > TEXT_MAX) /* the rest of a character would be none */
        for (len = TEXT_MAX; SvUTF8(ST(0)) && UTF8_IS_CONTINUATION(data[len]); len--) {
        }
    SV *text = sv_2mortal(newSVpvn_utf8(data, len, SvUTF8(ST(0))));
    if (!sv_utf8_downgrade(text, TRUE))
        SvUTF8_off(text); /* its octets are UTF-8 */
    ST(0) = text;
    XSRETURN(1);
}

void afork__rpc_values_init(pTHX_ struct afork__rpc *rpc)
{
    if (rpc->pack)
        return;
    rpc->pack = newXS(NULL, xs_pack, __FILE__);
    rpc->text = newXS(NULL, xs_text, __FILE__);
}

/* An exception may be an object that dies when it is asked for its text. */
SV *afork__rpc_text(pTHX_ struct afork__rpc *rpc, SV *exception)
{
    dSP;

    PUSHMARK(SP);
    XPUSHs(exception);
    PUTBACK;
    I32 count = call_sv((SV *)rpc->text, G_LIST | G_EVAL);
    SPAGAIN;
    SV *text = count == 1 ? POPs : NULL;
    PUTBACK;
    if (!text || !SvCUR(text))
        text = sv_2mortal(newSVpvs("an exception that has no text\n"));
    return text;
}

/* A value for the next argument. Whoever was given it before has no claim on it if we alone
 * refer to it and it is still a plain scalar. */
static SV *argument(pTHX_ struct afork__rpc *rpc, size_t i)
{
    if (i >= AFORK__RPC_SPARES)
        return sv_2mortal(newSV_type(SVt_PV));
    SV *sv = rpc->spares[i];
    if (sv && SvREFCNT(sv) == 1 && SvTYPE(sv) == SVt_PV && !SvREADONLY(sv) && !SvROK(sv)) {
        SvUTF8_off(sv);
        return sv;
    }
    SvREFCNT_dec(sv);
    return rpc->spares[i] = newSV_type(SVt_PV);
}

void afork__rpc_trim(pTHX_ struct afork__rpc *rpc)
{
    for (size_t i = 0; i < AFORK__RPC_SPARES && rpc->spares[i]; i++) {
        if (SvTYPE(rpc->spares[i]) != SVt_PV || SvLEN(rpc->spares[i]) <= AFORK__RPC_SPARE_KEEP)
            continue;
        SvREFCNT_dec(rpc->spares[i]);
        rpc->spares[i] = NULL;
    }
}

static enum afork__rpc_unpacked malformed(pTHX)
{
    sv_setpvs(ERRSV, "malformed list of strings\n");
    return AFORK__RPC_MALFORMED;
}

/* A list that is in the buffer. */
static enum afork__rpc_unpacked unpack_buffered(pTHX_ struct afork__rpc *rpc, size_t len)
{
    dSP;
    struct afork__strings list = {afork__rpc_io_peek(&rpc->io), afork__rpc_io_peek(&rpc->io) + len};
    const void *data;
    size_t data_len;
    int more;

    for (size_t i = 0; (more = afork__strings_next(&list, &data, &data_len)) > 0; i++) {
        SV *sv = argument(aTHX_ rpc, i);
        sv_setpvn(sv, data, data_len);
        XPUSHs(sv);
    }
    rpc->io.start += len;
    PUTBACK;
    return more < 0 ? malformed(aTHX) : AFORK__RPC_UNPACKED;
}

static enum afork__rpc_unpacked skip_malformed(pTHX_ struct afork__rpc *rpc, uint64_t left)
{
    if (!afork__rpc_io_skip(aTHX_ &rpc->io, left))
        return AFORK__RPC_ENDED;
    return malformed(aTHX);
}

/* Reads the length of a string, of which at most `*left` octets are there, and counts it off. */
static enum afork__rpc_unpacked read_length(pTHX_ struct afork__rpc *rpc, uint64_t *left,
                                            uint64_t *ret)
{
    uint64_t value = 0;
    uint8_t octet;

    do {
        if (!*left || value > UINT32_MAX)
            return skip_malformed(aTHX_ rpc, *left);
        if (!afork__rpc_io_need(aTHX_ &rpc->io, 1))
            return AFORK__RPC_ENDED;
        octet = rpc->io.in[rpc->io.start++];
        --*left;
        value = value << 7 | (octet & 0x7f);
    } while (octet & 0x80);
    if (value > *left)
        return skip_malformed(aTHX_ rpc, *left);
    *left -= value;
    *ret = value;
    return AFORK__RPC_UNPACKED;
}

static bool read_string(pTHX_ struct afork__rpc *rpc, SV *sv, size_t len)
{
    sv_setpvn(sv, (const char *)afork__rpc_io_peek(&rpc->io), 0);
    return afork__rpc_io_read_sv(aTHX_ &rpc->io, sv, len);
}

/* A list that is larger than the buffer: each string is read to where it stays. */
static enum afork__rpc_unpacked unpack_large(pTHX_ struct afork__rpc *rpc, size_t len)
{
    enum afork__rpc_unpacked result;
    uint64_t left = len, string = 0;

    for (size_t i = 0; left; i++) {
        dSP;
        if ((result = read_length(aTHX_ rpc, &left, &string)) != AFORK__RPC_UNPACKED)
            return result;
        SV *sv = argument(aTHX_ rpc, i);
        if (!read_string(aTHX_ rpc, sv, (size_t)string))
            return AFORK__RPC_ENDED;
        XPUSHs(sv);
        PUTBACK;
    }
    return AFORK__RPC_UNPACKED;
}

static enum afork__rpc_unpacked unpack_foreign(pTHX_ struct afork__rpc *rpc, size_t len)
{
    dSP;
    SV *payload = sv_2mortal(newSV_type(SVt_PV));
    U8 flags = rpc->exceptions_end ? G_LIST : G_LIST | G_EVAL;

    if (!read_string(aTHX_ rpc, payload, len))
        return AFORK__RPC_ENDED;
    PUSHMARK(SP);
    XPUSHs(payload);
    PUTBACK;
    call_sv(rpc->thaw, flags);
    if (rpc->exceptions_end || (!SvROK(ERRSV) && !SvCUR(ERRSV)))
        return AFORK__RPC_UNPACKED;
    return AFORK__RPC_MALFORMED;
}

enum afork__rpc_unpacked afork__rpc_unpack(pTHX_ struct afork__rpc *rpc, size_t len)
{
    if (!rpc->octets)
        return unpack_foreign(aTHX_ rpc, len);
    if (len > AFORK__RPC_IN_SIZE)
        return unpack_large(aTHX_ rpc, len);
    if (!afork__rpc_io_need(aTHX_ &rpc->io, len))
        return AFORK__RPC_ENDED;
    return unpack_buffered(aTHX_ rpc, len);
}

static IO *handle_of(pTHX_ SV *sv)
{
    if (SvROK(sv))
        sv = SvRV(sv);
    if (SvTYPE(sv) == SVt_PVIO)
        return (IO *)sv;
    return isGV_with_GP(sv) ? GvIO((GV *)sv) : NULL;
}

static bool is_handle(const SV *sv)
{
    if (SvROK(sv))
        sv = SvRV(sv);
    return SvTYPE(sv) == SVt_PVIO || isGV_with_GP(sv);
}

static bool is_unix_socket(int fd)
{
    int domain = -1;
    socklen_t len = sizeof domain;

    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX;
}

/* Notes the descriptor of a handle. What is wrong with it, or NULL. */
static const char *add_handle(pTHX_ struct afork__rpc *rpc, SV *sv)
{
    IO *io = handle_of(aTHX_ sv);
    PerlIO *stream = !io ? NULL : IoIFP(io) ? IoIFP(io) : IoOFP(io);
    int fd = stream ? PerlIO_fileno(stream) : -1;

    if (fd < 0)
        return "a handle in a result or event is not open, or has no descriptor";
    if (rpc->n_fds == AFORK__FDS_PER_MESSAGE)
        return "more than 253 handles in a result or event";
    if (!rpc->n_fds && !is_unix_socket(rpc->io.wfd))
        return "handles can be sent through a Unix socket only";
    if (IoOFP(io))
        PerlIO_flush(IoOFP(io));
    rpc->fds[rpc->n_fds++] = fd;
    return NULL;
}

/* Takes handles out of the list. How many values are left, or -1 with `$@` set. */
static SSize_t take_handles(pTHX_ struct afork__rpc *rpc, SSize_t n)
{
    SV **list = PL_stack_sp - n + 1;
    SSize_t left = 0;
    const char *wrong = NULL;

    rpc->n_fds = 0;
    if (!rpc->own)
        return n;
    for (SSize_t i = 0; i < n; i++) {
        if (!is_handle(list[i]))
            list[left++] = list[i];
        else if (!wrong)
            wrong = add_handle(aTHX_ rpc, list[i]);
    }
    PL_stack_sp = list + left - 1;
    if (!wrong)
        return left;
    PL_stack_sp = list - 1;
    sv_setpvf(ERRSV, "%s\n", wrong);
    return -1;
}

static bool all_plain(pTHX_ const struct afork__rpc *rpc, SSize_t n)
{
    SV **list = PL_stack_sp - n + 1;

    if (!rpc->octets)
        return false;
    for (SSize_t i = 0; i < n; i++)
        if (!is_plain(list[i]))
            return false;
    return true;
}

/* The size of the payload; false with `$@` set if no frame can be that long. */
static bool measure(pTHX_ struct afork__rpc *rpc, SSize_t n, struct afork__rpc_list *ret)
{
    SV **list = PL_stack_sp - n + 1;
    uint8_t length[AFORK__BER_MAX];
    uint64_t total = 0;

    for (SSize_t i = 0; i < n; i++) {
        STRLEN len;
        plain_octets(aTHX_ list[i], &len);
        total += len + (!rpc->octets ? 0 : len < 128 ? 1 : afork__ber_put(length, len));
    }
    *ret = (struct afork__rpc_list){n, (size_t)total};
    if (total <= UINT32_MAX)
        return true;
    PL_stack_sp -= n;
    sv_setpvs(ERRSV, "a result or event is longer than 4 GiB\n");
    return false;
}

static bool pack_list(pTHX_ struct afork__rpc *rpc, SSize_t n, U8 flags,
                      struct afork__rpc_list *ret)
{
    if ((n = take_handles(aTHX_ rpc, n)) < 0)
        return false;
    if (!all_plain(aTHX_ rpc, n)) {
        PUSHMARK(PL_stack_sp - n);
        n = call_sv((SV *)rpc->pack, flags);
        if (flags & G_EVAL && (SvROK(ERRSV) || SvCUR(ERRSV))) {
            PL_stack_sp -= n;
            return false;
        }
    }
    return measure(aTHX_ rpc, n, ret);
}

bool afork__rpc_pack(pTHX_ struct afork__rpc *rpc, SSize_t n, struct afork__rpc_list *ret)
{
    return pack_list(aTHX_ rpc, n, G_LIST | G_EVAL, ret);
}

void afork__rpc_pack_or_die(pTHX_ struct afork__rpc *rpc, SSize_t n, struct afork__rpc_list *ret)
{
    if (!pack_list(aTHX_ rpc, n, G_LIST, ret))
        croak_sv(ERRSV);
}

/* False, with `$@` set: the descriptors cannot be sent, and nothing was written. */
static bool put_own_header(pTHX_ struct afork__rpc *rpc, const struct afork__rpc_header *fields)
{
    uint8_t header[AFORK__RPC_HEADER_SIZE];

    afork__rpc_put_header(header, fields);
    if (!rpc->n_fds) {
        afork__rpc_io_put(aTHX_ &rpc->io, header, sizeof header);
        return true;
    }
    int error = afork__rpc_io_put_fds(aTHX_ &rpc->io, header, sizeof header, rpc->fds, rpc->n_fds);
    if (error)
        sv_setpvf(ERRSV, "handles cannot be sent: %s\n", Strerror(error));
    return !error;
}

static bool put_header(pTHX_ struct afork__rpc *rpc, unsigned kind, uint32_t id, size_t len)
{
    uint8_t header[AFORK__RPC_ASYNC_HEADER_SIZE];

    if (rpc->own) {
        bool holding = kind == AFORK__RPC_RESULT && rpc->holding;
        struct afork__rpc_header fields = {
            .kind = kind,
            .n_fds = (unsigned)rpc->n_fds,
            .flags = holding ? AFORK__RPC_HOLDING : 0,
            .id = id,
            .len = (uint32_t)len,
        };
        return put_own_header(aTHX_ rpc, &fields);
    }
    afork__rpc_put_number(header, kind == AFORK__RPC_EVENT ? 0 : 1);
    afork__rpc_put_number(header + 4, (uint32_t)len);
    afork__rpc_io_put(aTHX_ &rpc->io, header, sizeof header);
    return true;
}

bool afork__rpc_send(pTHX_ struct afork__rpc *rpc, unsigned kind, uint32_t id,
                     const struct afork__rpc_list *list)
{
    SV **strings = PL_stack_sp - list->n + 1;
    bool now = rpc->n_fds || kind == AFORK__RPC_EVENT;

    bool sent = put_header(aTHX_ rpc, kind, id, list->len);
    for (SSize_t i = 0; sent && i < list->n; i++) {
        uint8_t length[AFORK__BER_MAX];
        STRLEN len;
        const char *data = plain_octets(aTHX_ strings[i], &len);
        if (rpc->octets)
            afork__rpc_io_put(aTHX_ &rpc->io, length, afork__ber_put(length, len));
        afork__rpc_io_put(aTHX_ &rpc->io, data, len);
    }
    PL_stack_sp -= list->n;
    if (now)
        afork__rpc_io_flush(aTHX_ &rpc->io);
    rpc->n_fds = 0;
    return sent;
}
