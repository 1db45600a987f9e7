/* SPDX-License-Identifier: MIT
 *
 * The start of a back end, and the functions that are there while it runs.
 */
#include "rpc.h"
#include "args.h"
#include "exit.h"
#include "rpc-modules.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "afork-rpc.h"
#include "rpc-wire.h"

struct afork__rpc afork__the_rpc;

/* What run() was told. */
struct parameters {
    SV *function, *init, *serialiser;
    SSize_t n_args; /* before the parameters, the handle among them */
};

static void check_active(pTHX_ const char *function)
{
    if (afork__the_rpc.perl != (void *)PERL_GET_THX)
        croak("%s: there is no RPC back end that runs", function);
}

/* Descriptors of a list that is being packed, by code that sends an event meanwhile. */
struct kept {
    size_t n;
    int fds[];
};

static void give_back(pTHX_ void *data)
{
    struct kept *kept = data;

    PERL_UNUSED_CONTEXT;
    afork__the_rpc.n_fds = kept ? kept->n : 0;
    if (kept)
        memcpy(afork__the_rpc.fds, kept->fds, kept->n * sizeof *kept->fds);
    Safefree(kept);
}

/* They come back at LEAVE, or where an exception ends that scope. */
static void keep_fds(pTHX_ const struct afork__rpc *rpc)
{
    char *memory = NULL;

    if (rpc->n_fds)
        Newx(memory, sizeof(struct kept) + rpc->n_fds * sizeof *rpc->fds, char);
    struct kept *kept = (struct kept *)memory;
    if (kept) {
        kept->n = rpc->n_fds;
        memcpy(kept->fds, rpc->fds, kept->n * sizeof *kept->fds);
    }
    SAVEDESTRUCTOR_X(give_back, kept);
}

XS_INTERNAL(xs_event)
{
    dXSARGS;
    struct afork__rpc *rpc = &afork__the_rpc;
    struct afork__rpc_list list;

    check_active(aTHX_ "event");
    ENTER;
    keep_fds(aTHX_ rpc);
    afork__rpc_pack_or_die(aTHX_ rpc, items, &list);
    if (!afork__rpc_send(aTHX_ rpc, AFORK__RPC_EVENT, rpc->id, &list))
        croak_sv(ERRSV);
    LEAVE;
    XSRETURN_EMPTY;
}

XS_INTERNAL(xs_flush)
{
    dXSARGS;

    PERL_UNUSED_VAR(items);
    if (afork__the_rpc.perl == (void *)PERL_GET_THX)
        afork__rpc_io_flush(aTHX_ &afork__the_rpc.io);
    XSRETURN_YES;
}

XS_INTERNAL(xs_retire)
{
    dXSARGS;
    struct afork__rpc *rpc = &afork__the_rpc;
    uint8_t header[AFORK__RPC_HEADER_SIZE];

    PERL_UNUSED_VAR(items);
    check_active(aTHX_ "retire");
    if (!rpc->own)
        croak("retire: the host does not know of it");
    afork__rpc_put_header(header, &(struct afork__rpc_header){.kind = AFORK__RPC_RETIRE});
    afork__rpc_io_put(aTHX_ &rpc->io, header, sizeof header);
    afork__rpc_io_flush(aTHX_ &rpc->io);
    XSRETURN_EMPTY;
}

XS_INTERNAL(xs_event_for)
{
    dXSARGS;

    PERL_UNUSED_VAR(items);
    croak("event_for is for the asynchronous back end");
    XSRETURN_EMPTY;
}

static bool is_defined(const CV *cv)
{
    return cv && (CvROOT(cv) || CvXSUB(cv));
}

static void define(pTHX_ const char *name, XSUBADDR_t code)
{
    CV *cv = get_cv(name, 0);

    if (cv && CvISXSUB(cv) && CvXSUB(cv) == code)
        return;
    if (is_defined(cv)) {
        GV *gv = gv_fetchpv(name, 0, SVt_PVCV); /* without a warning */
        SvREFCNT_dec(GvCV(gv));
        GvCV_set(gv, NULL);
    }
    newXS(name, code, __FILE__);
}

/* With the original's frames, retire() is code that its host has sent. */
static void alias_retire(pTHX)
{
    CV *cv = get_cvs("AnyEvent::Fork::Pool::retire", 0);

    if (is_defined(cv)) {
        GV *gv = gv_fetchpvs("AFork::Pool::retire", GV_ADD, SVt_PVCV);
        SvREFCNT_dec(GvCV(gv));
        GvCV_set(gv, (CV *)SvREFCNT_inc(cv));
    }
}

static const struct {
    const char *name;
    XSUBADDR_t code;
} functions[] = {
    {"AFork::RPC::event", xs_event},
    {"AFork::RPC::event_for", xs_event_for},
    {"AFork::RPC::flush", xs_flush},
    {"AnyEvent::Fork::RPC::event", xs_event},
    {"AnyEvent::Fork::RPC::flush", xs_flush},
    {"AFork::Pool::retire", xs_retire},
    {"AnyEvent::Fork::Pool::retire", xs_retire},
};

void afork__rpc_define_functions(pTHX_ bool own)
{
    for (size_t i = 0; i < C_ARRAY_LENGTH(functions); i++)
        if (own || functions[i].code != xs_retire)
            define(aTHX_ functions[i].name, functions[i].code);
    if (!own)
        alias_retire(aTHX);
    afork__rpc_values_init(aTHX_ &afork__the_rpc);
}

/* What is there is that of a back end that runs, or of the host. */
void afork__rpc_define_missing(pTHX)
{
    for (size_t i = 0; i < C_ARRAY_LENGTH(functions); i++)
        if (!is_defined(get_cv(functions[i].name, 0)))
            define(aTHX_ functions[i].name, functions[i].code);
    afork__rpc_values_init(aTHX_ &afork__the_rpc);
}

/* Answers that wait are written before the process ends. */
static void leave(pTHX)
{
    struct afork__rpc *rpc = &afork__the_rpc;

    if (rpc->perl == (void *)PERL_GET_THX)
        afork__rpc_io_flush(aTHX_ &rpc->io);
}

/* Somebody else may have the channel, too. */
static void note_copy(void)
{
    afork__the_rpc.shared = afork__the_rpc.serving;
}

static void after_fork(void)
{
    if (afork__the_rpc.serving)
        afork__rpc_io_copied(&afork__the_rpc.io);
}

/* The original reads from the handle, and writes to it, too, unless it is standard input. Then
 * standard streams are moved out of the way of code that prints or closes them. */
static void open_channel(pTHX_ struct afork__rpc *rpc, int rfd)
{
    int wfd = rfd;

    if (rfd == 0) {
        PerlIO_flush(PerlIO_stdout());
        rfd = fcntl(0, F_DUPFD_CLOEXEC, 3);
        wfd = fcntl(1, F_DUPFD_CLOEXEC, 3);
        int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (rfd < 0 || wfd < 0 || null < 0 || dup2(null, 0) < 0 || dup2(2, 1) < 0)
            croak("AFork::RPC: cannot move standard streams: %s", Strerror(errno));
        close(null);
    }
    afork__rpc_io_init(&rpc->io, rfd, wfd);
}

static void open_handle(pTHX_ struct afork__rpc *rpc, SV *handle)
{
    int fd = afork__handle_fd(aTHX_ handle);

    if (fd < 0)
        croak("AFork::RPC: run needs an open handle");
    if (fd > 0)
        rpc->handle = newSVsv(handle);
    open_channel(aTHX_ rpc, fd);
}

/* `$0` is the host's pid and the function. */
static void set_title(pTHX_ SV *function)
{
    SV *title = get_sv("0", GV_ADD);
    const char *old = SvPV_nolen(title);
    size_t digits = strspn(old, "0123456789");

    if (digits)
        sv_setsv_mg(title, sv_2mortal(newSVpvf("%.*s %" SVf, (int)digits, old, SVfARG(function))));
}

/* The name of a function, in package main unless it is qualified. */
static SV *full_name(pTHX_ SV *name)
{
    STRLEN len;
    const char *data = SvPV(name, len);
    bool qualified = memchr(data, '\'', len) || memmem(data, len, "::", 2);

    return qualified ? name : sv_2mortal(newSVpvf("main::%" SVf, SVfARG(name)));
}

/* A function by its name; perhaps one that is not defined yet. */
static CV *function_named(pTHX_ SV *name)
{
    STRLEN len;
    SV *full = full_name(aTHX_ name);
    const char *data = SvPV(full, len);

    return get_cvn_flags(data, len, GV_ADD | SvUTF8(full));
}

static bool is_callable(pTHX_ const CV *cv)
{
    const GV *gv = CvGV(cv);

    return CvROOT(cv) || CvXSUB(cv) ||
           gv_autoload_pvn(GvSTASH(gv), GvNAME(gv), GvNAMELEN(gv), 0);
}

static bool failed(pTHX)
{
    return SvROK(ERRSV) || SvCUR(ERRSV);
}

/* In the words of perl, and as what keeps the back end from its start. */
__attribute__((noreturn))
static void start_failed(pTHX_ struct afork__rpc *rpc)
{
    SV *exception = sv_mortalcopy(ERRSV);

    if (!rpc->own)
        croak_sv(exception);
    afork__rpc_send_error(aTHX_ rpc, 0, exception);
    afork__rpc_io_flush(aTHX_ &rpc->io);
    afork__rpc_die(aTHX_ afork__rpc_text(aTHX_ rpc, exception));
}

/* Calls init, which has `args` as its @_. */
static void call_init(pTHX_ struct afork__rpc *rpc, SV *name, AV *args)
{
    dSP;
    CV *init = function_named(aTHX_ name);

    ENTER;
    SAVETMPS;
    SAVEGENERICSV(GvAV(PL_defgv)); /* `&init`: its @_ is the list itself */
    GvAV(PL_defgv) = args;
    PUSHMARK(SP);
    errno = 0;
    call_sv((SV *)init, G_VOID | G_DISCARD | G_NOARGS | (rpc->own ? G_EVAL : 0));
    FREETMPS;
    LEAVE;
    if (rpc->io.copied)
        afork__rpc_end_copy(aTHX);
    if (rpc->own && failed(aTHX))
        start_failed(aTHX_ rpc);
}

/* The arguments but for the handle. If @_ is where they are, it is emptied, so that they are gone
 * when init drops them. */
static AV *arguments_of_init(pTHX_ const struct parameters *parameters, SSize_t ax)
{
    AV *args = newAV(), *all = GvAV(PL_defgv);
    bool is_all = all && AvFILLp(all) > 0 && AvARRAY(all)[0] == PL_stack_base[ax];

    for (SSize_t i = 1; i < parameters->n_args; i++)
        av_push(args, SvREFCNT_inc(PL_stack_base[ax + i]));
    if (is_all)
        av_clear(all);
    return args;
}

/* Evaluates the serialiser. False: `$@` says what is wrong with it. */
static bool make_serialiser(pTHX_ struct afork__rpc *rpc, SV *code)
{
    STRLEN len;
    const char *text = SvPV(code, len);

    SvREFCNT_dec(rpc->freeze);
    SvREFCNT_dec(rpc->thaw);
    rpc->freeze = rpc->thaw = NULL;
    rpc->octets = !len || (len == strlen(AFORK_SERIALISER_OCTETS) &&
                           !memcmp(text, AFORK_SERIALISER_OCTETS, len));
    if (rpc->octets)
        return true;

    SV *packaged = sv_2mortal(newSVpvs("package main; "));
    sv_catsv(packaged, code);
    I32 n = eval_sv(packaged, G_LIST);
    dSP;
    SV *thaw = n > 0 ? POPs : NULL, *freeze = n > 1 ? POPs : NULL;
    if (n > 2)
        SP -= n - 2;
    PUTBACK;
    if (!failed(aTHX) &&
        (n != 2 || !SvROK(freeze) || SvTYPE(SvRV(freeze)) != SVt_PVCV || !SvROK(thaw) ||
         SvTYPE(SvRV(thaw)) != SVt_PVCV))
        sv_setpvs(ERRSV, "the serialiser does not give two functions\n");
    if (failed(aTHX))
        return false;
    rpc->freeze = newSVsv(freeze);
    rpc->thaw = newSVsv(thaw);
    return true;
}

/* It is written when the back end waits, or with the first answer: unless code of the user ran,
 * the host does not need it to know that a call may have begun. */
static void say_ready(pTHX_ struct afork__rpc *rpc, bool now)
{
    if (rpc->octets) {
        uint8_t frame[AFORK__RPC_HEADER_SIZE] = {0};
        static const char packed[] = "\5" AFORK__RPC_PROBE;
        afork__rpc_put_header(frame, &(struct afork__rpc_header){.kind = AFORK__RPC_READY,
                                                                 .id = AFORK__RPC_VERSION,
                                                                 .len = sizeof packed - 1});
        afork__rpc_io_put(aTHX_ &rpc->io, frame, sizeof frame);
        afork__rpc_io_put(aTHX_ &rpc->io, packed, sizeof packed - 1);
    } else {
        struct afork__rpc_list list;
        dSP;
        mXPUSHs(newSVpvs(AFORK__RPC_PROBE));
        PUTBACK;
        if (!afork__rpc_pack(aTHX_ rpc, 1, &list))
            start_failed(aTHX_ rpc);
        afork__rpc_send(aTHX_ rpc, AFORK__RPC_READY, AFORK__RPC_VERSION, &list);
    }
    if (now)
        afork__rpc_io_flush(aTHX_ &rpc->io);
    else
        rpc->io.may_wait = true;
}

/* Two forms: keys and values followed by minus their number; or, as it was once, four
 * parameters. */
static void parse(pTHX_ struct afork__rpc *rpc, SSize_t ax, SSize_t items, struct parameters *ret)
{
    SV **all = PL_stack_base + ax, *last = items ? all[items - 1] : &PL_sv_undef;
    const char *text;
    STRLEN len;
    UV number;

    if (!SvPOK(last) && !SvIOK(last))
        croak("AFork::RPC: run lacks parameters");
    *ret = (struct parameters){.init = &PL_sv_undef, .serialiser = &PL_sv_undef};
    text = SvPV(last, len);
    if (grok_number(text, len, &number) != (IS_NUMBER_IN_UV | IS_NUMBER_NEG)) {
        if (items < 5)
            croak("AFork::RPC: run lacks parameters");
        ret->n_args = items - 4;
        ret->function = all[items - 4];
        ret->init = all[items - 3];
        ret->serialiser = all[items - 2];
        return;
    }
    if (number % 2 || number > (UV)items - 2)
        croak("AFork::RPC: run has a wrong number of parameters");
    ret->n_args = items - 1 - (SSize_t)number;
    for (SSize_t i = ret->n_args; i < items - 1; i += 2) {
        const char *key = SvPV_nolen(all[i]);
        if (!strcmp(key, "function"))
            ret->function = all[i + 1];
        else if (!strcmp(key, "init"))
            ret->init = all[i + 1];
        else if (!strcmp(key, "serialiser"))
            ret->serialiser = all[i + 1];
        else if (!strcmp(key, "die"))
            rpc->exceptions_end |= SvTRUE(all[i + 1]);
    }
    if (!ret->function)
        croak("AFork::RPC: run lacks the function");
}

static bool is_given(pTHX_ const SV *init)
{
    return SvOK(init) && (!SvPOK(init) || SvCUR(init));
}

static SV *copy_of(pTHX_ SV *sv)
{
    return sv_2mortal(newSVsv(sv));
}

/* What a process does once, whether it becomes a back end or its children do. */
static void be_prepared(pTHX_ struct afork__rpc *rpc, bool own)
{
    static bool watching_forks;

    afork__rpc_define_functions(aTHX_ own);
    afork__exit_set_first(leave);
    if (!watching_forks)
        pthread_atfork(NULL, note_copy, after_fork);
    watching_forks = true;
}

/* The rest of the start, from where init was called, if there is one. `function` has been looked
 * up, or is NULL. */
__attribute__((noreturn))
static void start(pTHX_ struct afork__rpc *rpc, CV *function, SV *name, bool had_init)
{
    if (!function)
        function = function_named(aTHX_ name);
    rpc->function = (SV *)function; /* which is not released any more */
    if (rpc->own && !is_callable(aTHX_ function)) {
        sv_setsv(ERRSV, mess("Undefined subroutine &%" SVf " called",
                             SVfARG(cv_name(function, NULL, 0))));
        start_failed(aTHX_ rpc);
    }
    if (rpc->own)
        say_ready(aTHX_ rpc, had_init || !rpc->octets);
    rpc->perl = (void *)PERL_GET_THX;
    afork__rpc_serve(aTHX_ rpc);
}

__attribute__((noreturn))
static void run_sync(pTHX_ bool own, SSize_t ax, SSize_t items)
{
    struct afork__rpc *rpc = &afork__the_rpc;
    struct parameters parameters;

    rpc->own = own;
    rpc->exceptions_end = !own;
    parse(aTHX_ rpc, ax, items, &parameters);
    parameters.function = copy_of(aTHX_ parameters.function);
    parameters.init = copy_of(aTHX_ parameters.init);
    parameters.serialiser = copy_of(aTHX_ parameters.serialiser);
    open_handle(aTHX_ rpc, PL_stack_base[ax]);
    set_title(aTHX_ parameters.function);
    be_prepared(aTHX_ rpc, own);
    rpc->serving = true;

    bool has_init = is_given(aTHX_ parameters.init);
    if (has_init)
        call_init(aTHX_ rpc, parameters.init, arguments_of_init(aTHX_ &parameters, ax));
    CV *function = (CV *)SvREFCNT_inc(function_named(aTHX_ parameters.function));
    if (!make_serialiser(aTHX_ rpc, parameters.serialiser))
        start_failed(aTHX_ rpc);
    dSP;
    PUSHSTACKi(PERLSI_UNKNOWN); /* loops of whoever called run() are out of reach */
    PUTBACK;
    start(aTHX_ rpc, function, NULL, has_init);
}

/* ---- What was prepared in a template ---- */

/* Children of the template only read it. */
static struct {
    SV *function;   /* its name; NULL: nothing was prepared */
    GV *gv;         /* where that is; NULL: it was not defined yet */
    SV *init;       /* NULL: none */
    SV *serialiser; /* its code; NULL: it is ready */
    SV *title;      /* the server's */
    GV *run;        /* of the back end, which code may have replaced */
    bool exceptions_end;
} prepared;

static void forget_prepared(pTHX)
{
    SvREFCNT_dec(prepared.function);
    SvREFCNT_dec(prepared.gv);
    SvREFCNT_dec(prepared.init);
    SvREFCNT_dec(prepared.serialiser);
    SvREFCNT_dec(prepared.run);
    if (!afork__the_rpc.serving) /* else it is `$0` */
        SvREFCNT_dec(prepared.title);
    Zero(&prepared, 1, prepared);
}

/* Where a function is that is defined. */
static GV *find_defined(pTHX_ SV *name)
{
    SV *full = full_name(aTHX_ name);
    GV *gv = gv_fetchsv(full, 0, SVt_PVCV);
    const CV *cv = gv && isGV_with_GP(gv) ? GvCV(gv) : NULL;

    return cv && (CvROOT(cv) || CvXSUB(cv)) ? (GV *)SvREFCNT_inc(gv) : NULL;
}

/* What fails here is tried again by run(), which tells of it. */
static void prepare_serialiser(pTHX_ struct afork__rpc *rpc, SV *code)
{
    if (make_serialiser(aTHX_ rpc, code))
        return;
    CLEAR_ERRSV();
    prepared.serialiser = newSVsv(code);
}

/* Takes the parameters as keys and values. With an init, that alone may load what the function or
 * the serialiser need. */
XS_INTERNAL(xs_prepare)
{
    dXSARGS;
    struct afork__rpc *rpc = &afork__the_rpc;
    SV *serialiser = &PL_sv_no;

    PL_evalseq--; /* of the code that calls this: it is as if it were not counted */
    forget_prepared(aTHX);
    for (SSize_t i = 0; i + 1 < items; i += 2) {
        const char *key = SvPV_nolen(ST(i));
        if (!strcmp(key, "function"))
            prepared.function = newSVsv(ST(i + 1));
        else if (!strcmp(key, "init"))
            prepared.init = is_given(aTHX_ ST(i + 1)) ? newSVsv(ST(i + 1)) : NULL;
        else if (!strcmp(key, "serialiser"))
            serialiser = ST(i + 1);
        else if (!strcmp(key, "die"))
            prepared.exceptions_end = SvTRUE(ST(i + 1));
    }
    if (!prepared.function)
        croak("AFork::RPC: prepare lacks the function");
    prepared.run = (GV *)SvREFCNT_inc(gv_fetchpvs(AFORK__RPC_SYNC_RUN, GV_ADD, SVt_PVCV));
    be_prepared(aTHX_ rpc, true);
    if (prepared.init) {
        prepared.serialiser = newSVsv(serialiser);
    } else {
        prepared.gv = find_defined(aTHX_ prepared.function);
        prepare_serialiser(aTHX_ rpc, serialiser);
    }
    XSRETURN_EMPTY;
}

void afork__rpc_keep_handle(pTHX_ SV *handle)
{
    struct afork__rpc *rpc = &afork__the_rpc;

    if (rpc->handle && SvRV(rpc->handle) == SvRV(handle))
        return;
    SvREFCNT_dec(rpc->handle);
    rpc->handle = newSVsv(handle);
}

SV *afork__rpc_prepared_name(void)
{
    return prepared.function;
}

SV **afork__rpc_prepared_title(void)
{
    return prepared.function ? &prepared.title : NULL;
}

bool afork__rpc_prepared_init(void)
{
    return prepared.init;
}

void afork__rpc_run_prepared(pTHX_ int fd, AV *args)
{
    struct afork__rpc *rpc = &afork__the_rpc;

    rpc->own = true;
    rpc->exceptions_end = prepared.exceptions_end;
    if (fd == 0)
        open_channel(aTHX_ rpc, fd);
    else
        afork__rpc_io_init_socket(&rpc->io, fd); /* commands came through it */
    rpc->serving = true;
    if (prepared.init)
        call_init(aTHX_ rpc, prepared.init, args);
    if (prepared.serialiser && !make_serialiser(aTHX_ rpc, prepared.serialiser))
        start_failed(aTHX_ rpc);
    start(aTHX_ rpc, prepared.gv ? GvCV(prepared.gv) : NULL, prepared.function, prepared.init);
}

enum { OWN = 1, ASYNC = 2 };

XS_INTERNAL(xs_run)
{
    dXSARGS;

    if (XSANY.any_i32 & ASYNC)
        afork__rpc_run_async(aTHX_ XSANY.any_i32 & OWN, ax, items);
    else
        run_sync(aTHX_ XSANY.any_i32 & OWN, ax, items);
}

void afork__rpc_define_prepare(pTHX)
{
    define(aTHX_ "AFork::RPC::prepare", xs_prepare);
}

bool afork__rpc_is_prepared(pTHX_ const char *function, size_t len)
{
    if (!prepared.function || len != strlen(AFORK__RPC_SYNC_RUN) ||
        memcmp(function, AFORK__RPC_SYNC_RUN, len) != 0)
        return false;
    const CV *cv = GvCV(prepared.run);
    return cv && CvISXSUB(cv) && CvXSUB(cv) == xs_run;
}

bool afork__rpc_define(pTHX_ const char *name, size_t len)
{
    static const struct {
        const char *name;
        I32 kind;
    } all[] = {
        {AFORK__RPC_SYNC_RUN, OWN},
        {"AFork::RPC::Async::run", OWN | ASYNC},
        {"AnyEvent::Fork::RPC::Sync::run", 0},
        {"AnyEvent::Fork::RPC::Async::run", ASYNC},
    };

    for (size_t i = 0; i < C_ARRAY_LENGTH(all); i++) {
        if (strlen(all[i].name) != len || memcmp(all[i].name, name, len))
            continue;
        CvXSUBANY(newXS(all[i].name, xs_run, __FILE__)).any_i32 = all[i].kind;
        return true;
    }
    return false;
}
