/* SPDX-License-Identifier: MIT
 *
 * The modules of RPC that are built in: found by `require` though there is no file, and compiled
 * only then. A server that never needs them pays a comparison for each `require`.
 */
#include "rpc-modules.h"
#include "rpc.h"

#include <string.h>

#include "args.h"
#include "memfd.h"
#include "rpc-module.h"

enum load {
    LOAD_SYNC,     /* functions in C */
    LOAD_ORIGINAL, /* the same, under the original's names alone */
    LOAD_ALL,      /* the text of AFork/RPC.pm */
    LOAD_ASYNC,    /* that, and AnyEvent */
    LOAD_HOST,     /* names of the original's host side, unless it is installed */
};

static const struct module {
    const char *file;
    enum load load;
} modules[] = {
    {"AFork/Pool.pm", LOAD_SYNC},
    {"AFork/RPC.pm", LOAD_SYNC},
    {"AFork/RPC/Sync.pm", LOAD_SYNC},
    {"AFork/RPC/Async.pm", LOAD_ASYNC},
    {"AnyEvent/Fork/RPC/Sync.pm", LOAD_ORIGINAL},
    {"AnyEvent/Fork/RPC/Async.pm", LOAD_ASYNC},
    {"AnyEvent/Fork/RPC.pm", LOAD_HOST},
    {"AnyEvent/Fork/Pool.pm", LOAD_HOST},
};

static Perl_ppaddr_t perls_require;

/* Evaluates text of ours, as if it were not counted. */
static void evaluate(pTHX_ const char *text)
{
    ENTER;
    SAVETMPS;
    eval_pv(text, TRUE);
    FREETMPS;
    LEAVE;
    PL_evalseq--;
}

/* Names that code may use without parentheses once a module is loaded. */
static void declare(pTHX)
{
    evaluate(aTHX_ "package AnyEvent::Fork::RPC;"
                   "sub event; sub flush;"
                   "package AFork::RPC;"
                   "sub event; sub event_for; sub flush;"
                   "for (map(qq(${_}::RPC::Sync), qw(AFork AnyEvent::Fork))) {"
                   " ${qq(${_}::VERSION)} = 2;"
                   " *{qq(${_}::do_exit)} = sub { exit };"
                   "}");
    if (!get_cvs("AFork::Pool::retire", 0)) /* else perl would tell of a mismatch of prototypes */
        evaluate(aTHX_ "sub AFork::Pool::retire;");
}

static void define_run(pTHX_ const char *name)
{
    if (!get_cv(name, 0))
        afork__rpc_define(aTHX_ name, strlen(name));
}

static void load_sync(pTHX_ bool own)
{
    define_run(aTHX_ "AFork::RPC::Sync::run");
    define_run(aTHX_ "AnyEvent::Fork::RPC::Sync::run");
    declare(aTHX);
    if (!own)
        return;
    afork__memfd_define(aTHX);
    afork__rpc_define_prepare(aTHX);
    afork__rpc_define_missing(aTHX); /* once for all that are forked from here */
}

/* What AFork/RPC.pm needs from C: send_octets(descriptor, octets, offset, descriptors...), and
 * receive_octets(descriptor, buffer, room), which appends, and returns the number of octets and the
 * handles that came. Both return undef and set `$!` when they fail. */
XS_INTERNAL(xs_send_octets)
{
    dXSARGS;
    int fds[AFORK__FDS_PER_MESSAGE];
    size_t n_fds = 0;
    STRLEN len;

    if (items < 3 || items - 3 > AFORK__FDS_PER_MESSAGE)
        croak_xs_usage(cv, "descriptor, octets, offset, descriptors");
    char *data = SvPVbyte(ST(1), len);
    STRLEN offset = SvUV(ST(2));
    if (offset > len)
        offset = len;
    for (SSize_t i = 3; i < items; i++)
        fds[n_fds++] = (int)SvIV(ST(i));
    struct iovec iov = {data + offset, len - offset};
    ssize_t sent = afork__fd_send((int)SvIV(ST(0)), &iov, 1, fds, n_fds, 0);
    if (sent >= 0)
        XSRETURN_IV(sent);
    errno = (int)-sent;
    XSRETURN_UNDEF;
}

XS_INTERNAL(xs_receive_octets)
{
    dXSARGS;
    static struct afork__fd_queue queue;

    if (items != 3)
        croak_xs_usage(cv, "descriptor, buffer, room");
    SV *buffer = ST(1);
    STRLEN len, room = (STRLEN)SvUV(ST(2));
    SvPV_force(buffer, len);
    SvGROW(buffer, len + room + 1);
    ssize_t got = afork__fd_receive_once((int)SvIV(ST(0)), SvPVX(buffer) + len, room, &queue, 0);
    if (got < 0) {
        errno = (int)-got;
        XSRETURN_UNDEF;
    }
    SvCUR_set(buffer, len + (STRLEN)got);
    *SvEND(buffer) = '\0';
    SvSETMAGIC(buffer);
    SP -= items;
    EXTEND(SP, 1 + (SSize_t)queue.count);
    mPUSHi(got);
    while (queue.count) {
        PUTBACK; /* opening a handle runs code of perl's */
        SV *handle = sv_2mortal(afork__handle_new(aTHX_ afork__fd_queue_take(&queue)));
        SPAGAIN;
        PUSHs(handle);
    }
    PUTBACK;
}

static void define_transport(pTHX)
{
    newXS("AFork::RPC::send_octets", xs_send_octets, __FILE__);
    newXS("AFork::RPC::receive_octets", xs_receive_octets, __FILE__);
}

/* The text of RPC.pm, once. What is defined already stays. */
static void load_all(pTHX)
{
    static bool loaded;

    if (loaded)
        return;
    loaded = true;
    define_run(aTHX_ "AFork::RPC::Sync::run");
    define_run(aTHX_ "AFork::RPC::Async::run");
    define_run(aTHX_ "AnyEvent::Fork::RPC::Sync::run");
    define_run(aTHX_ "AnyEvent::Fork::RPC::Async::run");
    define_transport(aTHX);
    afork__memfd_define(aTHX);
    evaluate(aTHX_ afork__rpc_module);
}

/* Whether the file could be loaded from @INC. That it is not there is no error. */
static bool load_installed(pTHX_ SV *file)
{
    dSP;
    bool found;

    ENTER;
    SAVETMPS;
    PUSHMARK(SP);
    XPUSHs(file);
    PUTBACK;
    SV *code = sv_2mortal(newSVpvs(
        "sub { local ($@, $SIG{__DIE__}); my $file = shift;"
        " eval { require $file; 1 } or $@ =~ /^Can't locate \\Q$file\\E in/ ? '' : die $@ }"));
    SV *function = sv_2mortal(newSVsv(eval_pv(SvPV_nolen(code), TRUE)));
    PL_evalseq--;
    call_sv(function, G_SCALAR);
    SPAGAIN;
    found = SvTRUE(TOPs);
    PL_stack_sp = SP - 1;
    FREETMPS;
    LEAVE;
    return found;
}

static void load(pTHX_ const struct module *module, SV *file)
{
    switch (module->load) {
    case LOAD_SYNC:
    case LOAD_ORIGINAL:
        load_sync(aTHX_ module->load == LOAD_SYNC);
        break;
    case LOAD_ASYNC:
        load_module(PERL_LOADMOD_NOIMPORT, newSVpvs("AnyEvent"), NULL);
        /* fall through */
    case LOAD_ALL:
        load_all(aTHX);
        break;
    case LOAD_HOST:
        if (load_installed(aTHX_ file))
            return;
        load_all(aTHX);
        evaluate(aTHX_ "AFork::RPC::define_host_names()");
    }
    (void)hv_store_ent(GvHVn(PL_incgv), file, newSVpv(PL_origargv[0], 0), 0);
}

static const struct module *find(pTHX_ SV *file)
{
    const struct module *found = NULL;

    if (!SvPOK(file) || SvCUR(file) < strlen("AFork/RPC.pm") || *SvPVX(file) != 'A')
        return NULL;
    for (size_t i = 0; !found && i < C_ARRAY_LENGTH(modules); i++)
        if (!strcmp(SvPVX(file), modules[i].file))
            found = &modules[i];
    return found && !hv_exists_ent(GvHVn(PL_incgv), file, 0) ? found : NULL;
}

/* Once the module is loaded perl finds it in %INC. */
static OP *require_built_in(pTHX)
{
    static const struct module *looking; /* for an installed one: what comes next is that */
    const struct module *module = find(aTHX_ *PL_stack_sp);

    if (module && module == looking) {
        looking = NULL;
    } else if (module) {
        SV *file = sv_mortalcopy(*PL_stack_sp);
        dSP;
        PUSHSTACKi(PERLSI_REQUIRE);
        PUTBACK;
        if (module->load == LOAD_HOST)
            looking = module;
        load(aTHX_ module, file);
        POPSTACK;
    }
    return perls_require(aTHX);
}

void afork__rpc_run_async(pTHX_ bool own, SSize_t ax, SSize_t items)
{
    dSP;

    load_all(aTHX);
    PUSHMARK(SP);
    EXTEND(SP, items + 2);
    mPUSHi(own);
    mPUSHi(1);
    for (SSize_t i = 0; i < items; i++)
        PUSHs(PL_stack_base[ax + i]);
    PUTBACK;
    call_pv("AFork::RPC::run_async", G_VOID | G_DISCARD);
}

void afork__rpc_boot(pTHX)
{
    if (perls_require)
        return;
    perls_require = PL_ppaddr[OP_REQUIRE];
    PL_ppaddr[OP_REQUIRE] = require_built_in;
}
