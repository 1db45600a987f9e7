/* SPDX-License-Identifier: MIT
 *
 * Code of the user: commands `e` and `r`.
 */
#include "exit.h"
#include "note-forks.h"
#include "rpc.h"
#include "server.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "wire.h"

/* Evaluates its first argument and returns the exception's text, or the empty string. `our` makes
 * @arg visible in the code even under `use strict`. An exception may be an object that dies when it
 * is asked for its text. */
static const char evaluator[] =
    "package AnyEvent::Fork::Serve;"
    "sub {"
    " our @arg;"
    " package main;"
    " eval shift;"
    " my $error = $@;"
    " eval { $error ? qq($error) : '' } // qq(an exception that has no text\\n)"
    "}";

static CV *get_evaluator(pTHX)
{
    static SV *code;

    if (!code) {
        ENTER;
        SAVETMPS;
        code = newSVsv(eval_pv(evaluator, TRUE));
        FREETMPS;
        LEAVE;
        CV *cv = (CV *)SvRV(code);
        /* The code must not see variables of whoever called serve(). */
        if (!CvWEAKOUTSIDE(cv))
            SvREFCNT_dec(CvOUTSIDE(cv));
        CvOUTSIDE(cv) = NULL;
        PL_evalseq--; /* the user's first code is "(eval 1)", as in the original */
    }
    return (CV *)SvRV(code);
}

/* Pushes all strings of a list as mortal values. Returns false if the list is malformed. */
static bool push_strings(pTHX_ struct afork__strings list)
{
    dSP;
    const void *data;
    size_t len;
    int more;

    while ((more = afork__strings_next(&list, &data, &len)) > 0)
        mXPUSHp(data, len);
    PUTBACK;
    return more == 0;
}

/* "require" and the modules that a list names, as far as they fit; returns the length. */
static size_t name_modules(struct afork__strings list, char label[AFORK__THREADS_LABEL_MAX])
{
    size_t used = strlen("require"), len;
    const void *name;

    memcpy(label, "require", used);
    afork__strings_next(&list, &name, &len); /* the code */
    while (afork__strings_next(&list, &name, &len) > 0 &&
           used + len + 2 < AFORK__THREADS_LABEL_MAX) {
        label[used++] = ' ';
        memcpy(label + used, name, len);
        used += len;
    }
    return used;
}

static bool is_require(struct afork__strings list)
{
    const void *code;
    size_t len;

    return afork__strings_next(&list, &code, &len) > 0 && len == strlen(AFORK__REQUIRE_CODE) &&
           !memcmp(code, AFORK__REQUIRE_CODE, len);
}

/* Notes threads that a command started, under a name its user will recognise. */
static void note_threads(struct afork__server *server, struct afork__strings list)
{
    const void *code;
    size_t len;
    char label[AFORK__THREADS_LABEL_MAX];

    if (afork__threads_count() <= server->threads.count)
        return;
    if (is_require(list)) {
        len = name_modules(list, label);
        afork__threads_note(&server->threads, label, len);
        return;
    }
    afork__strings_next(&list, &code, &len);
    afork__threads_note(&server->threads, code, len);
}

/* What is being evaluated. Where that loads a module that was built for a perl with another
 * interpreter, perl itself calls exit(), which the host would see as an end without a reason. */
static struct {
    struct afork__server *server;
    struct afork__strings list;
} evaluated;

static void tell_of_exit(void)
{
    static const char why[] =
        ": something called exit(), as perl does for a module that was built for another perl\n";
    struct afork__server *server = evaluated.server;
    char text[AFORK__THREADS_LABEL_MAX + sizeof why] = "eval";

    if (!server || (pid_t)server->reporter.pid != getpid())
        return;
    bool require = is_require(evaluated.list);
    size_t len = require ? name_modules(evaluated.list, text) : strlen(text);
    memcpy(text + len, why, sizeof why - 1);
    afork__report(&server->reporter, AFORK__ERROR, require ? AFORK__PHASE_REQUIRE : AFORK__PHASE_EVAL,
                  text, len + sizeof why - 1);
    afork__report_drain(&server->reporter);
}

void afork__server_set_evaluated(struct afork__server *server, struct afork__strings list)
{
    static bool registered;

    if (server && !registered)
        registered = !atexit(tell_of_exit);
    evaluated.server = server;
    evaluated.list = list;
}

void afork__server_before_code(struct afork__server *server)
{
    afork__children_unwatch(&server->children);
    afork__children_note_forks(&server->children); /* if it is a root, or becomes one */
    server->code_ran = true;
}

void afork__server_after_code(pTHX_ struct afork__server *server)
{
    if (getpid() != (pid_t)server->reporter.pid)
        my_exit(0);
    afork__children_note_forks(NULL);
    if (server->children.root)
        afork__note_pipes(aTHX_ &server->children);
    afork__children_resume(&server->children);
}

void afork__server_eval(pTHX_ struct afork__server *server, const char *payload, size_t len)
{
    const uint8_t *start = (const uint8_t *)payload;
    struct afork__strings list = {start, start + len};

    afork__server_announce(aTHX_ server);
    afork__arguments_to_perl(aTHX_ &server->arguments);
    CV *evaluate = get_evaluator(aTHX);

    dSP;
    PUSHSTACKi(PERLSI_UNKNOWN); /* loops of whoever called serve() are out of reach */
    ENTER;
    SAVETMPS;
    PUSHMARK(SP);
    PUTBACK;
    if (!push_strings(aTHX_ list))
        afork__server_fail(aTHX_ server, AFORK__PHASE_PROTOCOL,
                           STR_WITH_LEN("malformed list of strings - stream corrupted?"));

    afork__server_before_code(server);
    afork__server_set_evaluated(server, list);
    errno = 0;
    call_sv((SV *)evaluate, G_SCALAR);
    afork__server_set_evaluated(NULL, list);
    SPAGAIN;
    SV *error = POPs;
    PUTBACK;
    afork__server_after_code(aTHX_ server);
    note_threads(server, list);

    if (SvCUR(error))
        afork__server_fail(aTHX_ server,
                           is_require(list) ? AFORK__PHASE_REQUIRE : AFORK__PHASE_EVAL,
                           SvPVX(error), SvCUR(error));
    FREETMPS;
    LEAVE;
    POPSTACK;
}

/* A function of package main, or one with the name of its package; NULL if there is none. Nothing
 * is changed in symbol tables, which a forked process would pay for. */
static CV *find_function(pTHX_ const char *name, size_t len, bool qualified)
{
    CV *cv = NULL;

    if (qualified) {
        cv = get_cvn_flags(name, len, GV_NOEXPAND);
    } else {
        SV **entry = hv_fetch(PL_defstash, name, (I32)len, 0);
        if (entry && SvROK(*entry))
            cv = (CV *)SvRV(*entry);
        else if (entry && isGV_with_GP(*entry))
            cv = GvCV((GV *)*entry);
    }
    return cv && SvTYPE(cv) == SVt_PVCV && (CvROOT(cv) || CvXSUB(cv)) ? cv : NULL;
}

/* What to call for a name: a function, or a name that perl has to resolve. Where that would fail,
 * the server does, in perl's own words. */
static SV *resolve(pTHX_ struct afork__server *server, const char *function, size_t len)
{
    bool qualified = memchr(function, '\'', len) || memmem(function, len, "::", 2);
    CV *found = find_function(aTHX_ function, len, qualified);

    if (!found && qualified && afork__rpc_define(aTHX_ function, len))
        found = find_function(aTHX_ function, len, qualified);
    if (found)
        return (SV *)found;
    SV *name = newSVpvf("%s%.*s", qualified ? "" : "main::", (int)len, function);
    GV *gv = gv_fetchsv(name, GV_ADD, SVt_PVCV);
    CV *cv = gv ? GvCV(gv) : NULL;
    if ((!cv || !(CvROOT(cv) || CvXSUB(cv))) &&
        (!gv || !gv_autoload_pvn(GvSTASH(gv), GvNAME(gv), GvNAMELEN(gv), 0))) {
        SV *text = mess("Undefined subroutine &%" SVf " called", SVfARG(name));
        afork__server_fail(aTHX_ server, AFORK__PHASE_FUNCTION, SvPVX(text), SvCUR(text));
    }
    return name;
}

/* The channel is the function's from now on. It expects it to block. */
static void make_blocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags >= 0 && flags & O_NONBLOCK)
        fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
}

void afork__server_report_entered(struct afork__server *server)
{
    /* Children first: once the host has read `entered`, it looks for their ends itself, and does
     * not learn how they came. */
    afork__children_suspect(&server->children);
    while (!afork__children_reap(&server->children, &server->reporter))
        afork__report_wait(&server->reporter);
    afork__report(&server->reporter, AFORK__ENTERED, AFORK__PHASE_NONE, NULL, 0);
    afork__report_drain(&server->reporter);
}

/* Many processes are run for CORE::exit, so it needs no lookup. (As any function it would be given
 * the handle, and take that for the status.) */
__attribute__((noreturn))
static void run_exit(pTHX_ struct afork__server *server, const char *function, size_t len)
{
    afork__server_report_entered(server);
    afork__exit_if_unnoticed(aTHX_ server->code_ran);
    afork__server_title(aTHX_ server, function, len);
    afork__server_release(aTHX_ server);
    my_exit(0);
}

/* Many processes are run for a single call, so what was prepared for it needs neither a lookup nor
 * a handle, and arguments only if somebody is given them. The channel blocks when it has to. */
__attribute__((noreturn))
static void run_prepared(pTHX_ struct afork__server *server)
{
    STRLEN len;
    const char *name = SvPV(afork__rpc_prepared_name(), len);
    AV *args = NULL;

    afork__server_title_use(aTHX_ server, *afork__rpc_prepared_title(), name, len);
    if (av_count(server->args))
        afork__rpc_keep_handle(aTHX_ AvARRAY(server->args)[0]);
    if (afork__rpc_prepared_init())
        afork__arguments_move(aTHX_ &server->arguments, args = newAV());
    afork__server_report_entered(server);
    afork__server_release(aTHX_ server);
    afork__rpc_run_prepared(aTHX_ server->command, args);
}

void afork__server_run(pTHX_ struct afork__server *server, const char *function, size_t len)
{
    PL_dowarn = server->warn;
    if (len == strlen("CORE::exit") && !memcmp(function, "CORE::exit", len))
        run_exit(aTHX_ server, function, len);
    if (afork__rpc_is_prepared(aTHX_ function, len))
        run_prepared(aTHX_ server);
    SV *called = resolve(aTHX_ server, function, len);
    afork__server_title(aTHX_ server, function, len);

    /* Handles are closed when the function drops them, because nothing but @_ owns them: values on
     * the stack would live until it returns. */
    afork__server_need_handle(aTHX_ server);
    afork__arguments_move(aTHX_ &server->arguments, server->args);
    make_blocking(server->command);
    /* Last of all: the host takes a moment to wake up, in which the function can begin. */
    afork__server_report_entered(server);
    afork__server_release(aTHX_ server);

    dSP;
    PUSHMARK(SP);
    errno = 0;
    call_sv(called, G_VOID | G_DISCARD | G_NOARGS);
    afork__exit_if_unnoticed(aTHX_ true);
    my_exit(0);
}
