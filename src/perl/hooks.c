/* SPDX-License-Identifier: MIT
 *
 * Hooks: what code of the user wants done in each forked process before anything else.
 */
#include "hooks.h"
#include "server.h"

#include <string.h>

/* Runs its arguments and returns the first exception's text, or the empty string. The block keeps a
 * stray `last` from the loop. */
static const char runner_code[] =
    "package AnyEvent::Fork::Serve;"
    "sub {"
    " for my $hook (@_) {"
    "  my $error;"
    "  { local $@; eval { $hook->(); 1 } or $error = $@ }"
    "  next if !defined $error;"
    "  return eval { qq($error) } || qq(an exception that has no text\\n)"
    " }"
    " ''"
    "}";

/* Made when the first hook is registered: children then only read them. */
static AV *hooks;
static SV *runner;
static void *serving; /* the interpreter that serves: a thread's code is of another */

static SV *get_runner(pTHX)
{
    ENTER;
    SAVETMPS;
    SV *code = newSVsv(eval_pv(runner_code, TRUE));
    FREETMPS;
    LEAVE;
    PL_evalseq--; /* as if it were not there */
    return code;
}

static void check_usage(pTHX_ CV *cv, SV *code)
{
    if (code)
        SvGETMAGIC(code);
    if (!code || !SvROK(code) || SvTYPE(SvRV(code)) != SVt_PVCV)
        croak_xs_usage(cv, "code reference");
    if ((void *)PERL_GET_THX != serving)
        croak("hooks cannot be changed in a thread");
}

XS_INTERNAL(xs_after_fork)
{
    dXSARGS;

    check_usage(aTHX_ cv, items == 1 ? ST(0) : NULL);
    if (!hooks) {
        runner = get_runner(aTHX);
        hooks = newAV();
    }
    av_push(hooks, newRV_inc(SvRV(ST(0))));
    ST(0) = sv_mortalcopy(ST(0));
    XSRETURN(1);
}

/* The list without this hook, where it was registered last. */
XS_INTERNAL(xs_cancel_after_fork)
{
    dXSARGS;

    check_usage(aTHX_ cv, items == 1 ? ST(0) : NULL);
    for (SSize_t i = hooks ? (SSize_t)av_count(hooks) : 0; i-- > 0;) {
        if (SvRV(AvARRAY(hooks)[i]) != SvRV(ST(0)))
            continue;
        SvREFCNT_dec(AvARRAY(hooks)[i]);
        Move(AvARRAY(hooks) + i + 1, AvARRAY(hooks) + i, AvFILLp(hooks) - i, SV *);
        AvARRAY(hooks)[AvFILLp(hooks)--] = NULL;
        XSRETURN_YES;
    }
    XSRETURN_NO;
}

void afork__hooks_boot(pTHX)
{
    serving = (void *)PERL_GET_THX;
    newXS("AnyEvent::Fork::Serve::after_fork", xs_after_fork, __FILE__);
    newXS("AnyEvent::Fork::Serve::cancel_after_fork", xs_cancel_after_fork, __FILE__);
}

bool afork__hooks_exist(void)
{
    return hooks && AvFILLp(hooks) >= 0;
}

/* Returns the text of the exception that ended one of them. */
static SV *call_hooks(pTHX)
{
    dSP;
    SSize_t count = AvFILLp(hooks) + 1;

    PUSHMARK(SP);
    EXTEND(SP, count);
    for (SSize_t i = 0; i < count; i++) /* a hook may remove one */
        PUSHs(sv_mortalcopy(AvARRAY(hooks)[i]));
    PUTBACK;
    errno = 0;
    call_sv(runner, G_SCALAR);
    SPAGAIN;
    SV *error = POPs;
    PUTBACK;
    return error;
}

void afork__hooks_run(pTHX_ struct afork__server *server)
{
    dSP;

    afork__server_announce(aTHX_ server);
    afork__arguments_to_perl(aTHX_ &server->arguments);
    PUSHSTACKi(PERLSI_UNKNOWN); /* loops of whoever called serve() are out of reach */
    ENTER;
    SAVETMPS;
    afork__server_before_code(server);
    SV *error = call_hooks(aTHX);
    afork__server_after_code(aTHX_ server);
    afork__threads_note(&server->threads, STR_WITH_LEN("after_fork"));
    if (SvCUR(error))
        afork__server_fail(aTHX_ server, AFORK__PHASE_EVAL, SvPVX(error), SvCUR(error));
    FREETMPS;
    LEAVE;
    POPSTACK;
}
