/* SPDX-License-Identifier: MIT
 *
 * Forks of user code in a process that is not afork-perl: fork() is libc's there, and the
 * program's.
 */
#define PERL_CORE 1
#include "note-forks.h"

#include "handles.h"
#include "reap.h"

static Perl_ppaddr_t perls_fork;

static OP *fork_noted(pTHX)
{
    OP *next = perls_fork(aTHX);
    SV *pid = *PL_stack_sp;

    if (SvIOK(pid))
        afork__children_forked_by_user((pid_t)SvIV(pid));
    return next;
}

static void replace(OP *op)
{
    if (op->op_type == OP_FORK && op->op_ppaddr == perls_fork)
        op->op_ppaddr = fork_noted;
    if (!(op->op_flags & OPf_KIDS))
        return;
    for (OP *kid = cUNOPx(op)->op_first; kid; kid = OpSIBLING(kid))
        replace(kid);
}

static bool replace_in_code(pTHX_ SV *sv, void *data)
{
    CV *cv = (CV *)sv;

    PERL_UNUSED_ARG(data);
    if (SvTYPE(sv) == SVt_PVCV && !CvISXSUB(cv) && CvROOT(cv))
        replace(CvROOT(cv));
    return false;
}

void afork__hook_forks(pTHX_ bool existing_code)
{
    if (perls_fork)
        return;
    perls_fork = PL_ppaddr[OP_FORK];
    PL_ppaddr[OP_FORK] = fork_noted;
    if (existing_code)
        afork__any_value(aTHX_ replace_in_code, NULL);
}

void afork__note_pipes(pTHX_ struct afork__children *children)
{
    if (!perls_fork || !PL_fdpid)
        return;
    afork__children_note_forks(children);
    for (SSize_t i = 0; i <= AvFILLp(PL_fdpid); i++) {
        const SV *pid = AvARRAY(PL_fdpid)[i];
        if (pid && SvTYPE(pid) == SVt_IV && SvIVX(pid) > 0) /* perl leaves IOK off */
            afork__children_forked_by_user((pid_t)SvIVX(pid));
    }
    afork__children_note_forks(NULL);
}
