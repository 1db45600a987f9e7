/* SPDX-License-Identifier: MIT
 *
 * The end of an afork-perl process. A worker's end costs as much as its start: perl unties all
 * data, and in a forked process every write to it copies a page. Mostly nobody could notice whether
 * it did. So END blocks run and output is flushed as perl does it, and then the data is only read:
 * if nothing in it waits for its destruction, the process exits. Else perl goes its whole way.
 */
#define PERL_CORE 1
#include "exit.h"
#include "handles.h"
#include "inherited.h"
#include "serve.h"

#include <link.h>

/* Signals get their default action before END blocks run, as in perl's own main program. That one
 * asks the kernel about every signal; a handler of perl's is where %SIG has one. */
static void reset_signals(pTHX)
{
    for (int i = 1; PL_sig_name[i]; i++) {
        int number = PL_sig_num[i];
        if (PL_psig_ptr && PL_psig_ptr[number] &&
            rsignal_state(number) == (Sighandler_t)PL_csighandlerp)
            rsignal(number, (Sighandler_t)SIG_DFL);
    }
}

static void run_end_blocks(pTHX)
{
    dJMPENV;
    int jumped;

    JMPENV_PUSH(jumped); /* an exit in a block comes back here, to the next block */
    PERL_UNUSED_VAR(jumped);
    if (PL_endav && !PL_minus_c) {
        PERL_SET_PHASE(PERL_PHASE_END);
        call_list(PL_scopestack_ix, PL_endav);
    }
    JMPENV_POP;
}

static const CV *find_method(pTHX_ HV *stash, const char *name)
{
    const GV *gv = gv_fetchmeth_pvn(stash, name, strlen(name), -1, 0);

    return gv ? GvCV(gv) : NULL;
}

/* Perl's cache of the class's destructor. Filled before a fork, it saves each child the lookup. */
static const CV *find_destructor(pTHX_ HV *stash)
{
    struct mro_meta *meta = HvMROMETA(stash);

    if (!meta->destroy_gen || meta->destroy_gen != PL_sub_generation) {
        const CV *cv = find_method(aTHX_ stash, "DESTROY");
        if (!cv && (cv = find_method(aTHX_ stash, "AUTOLOAD")))
            return cv; /* perl does not cache these either */
        meta->destroy = (CV *)cv;
        meta->destroy_gen = PL_sub_generation;
    }
    return meta->destroy;
}

/* Whether objects of the class have a destructor that does anything. */
static bool has_destructor(pTHX_ HV *stash)
{
    const CV *cv = find_destructor(aTHX_ stash);

    if (!cv)
        return false;
    if (CvISXSUB(cv))
        return !CvCONST(cv);
    return CvSTART(cv) && CvSTART(cv)->op_next->op_type != OP_LEAVESUB;
}

static bool has_free_hook(const SV *sv)
{
    if (SvTYPE(sv) < SVt_PVMG)
        return false;
    for (const MAGIC *magic = SvMAGIC(sv); magic; magic = magic->mg_moremagic)
        if (magic->mg_type == PERL_MAGIC_ext && magic->mg_virtual && magic->mg_virtual->svt_free)
            return true;
    return false;
}

static bool destruct_level_given; /* in the environment */

struct objects {
    HV *harmless; /* the class seen last: most objects are handles */
    bool containers; /* there are objects whose end would free others */
};

static bool waits_for_destruction(pTHX_ SV *sv, void *data)
{
    struct objects *objects = data;

    if (!SvOBJECT(sv) || SvTYPE(sv) == SVt_REGEXP ||
        (afork__inherited_noted() && afork__is_inherited(sv)))
        return false;
    if (SvTYPE(sv) != SVt_PVIO)
        objects->containers = true;
    else if (!afork__is_plain_handle((const IO *)sv))
        return true;
    if (SvSTASH(sv) != objects->harmless) {
        if (has_destructor(aTHX_ SvSTASH(sv)))
            return true;
        objects->harmless = SvSTASH(sv);
    }
    return has_free_hook(sv);
}

static bool is_hooked(pTHX_ SV *sv, void *data)
{
    return has_free_hook(sv);
}

/* Whether the end of the data could be noticed by anyone. */
static bool needs_destruction(pTHX)
{
    struct objects objects = {NULL, false};

    if (PL_perl_destruct_level || PL_perldb || PL_exitlistlen > afork__inherited_exit_functions() ||
        destruct_level_given || PL_threadhook != Perl_nothreadhook)
        return true;
    return afork__any_value(aTHX_ waits_for_destruction, &objects) ||
           (objects.containers && afork__any_value(aTHX_ is_hooked, NULL));
}

static void flush_all(pTHX)
{
    PerlIO *output = PerlIO_stdout();

    afork__settle_input(aTHX);
    if (*output && PerlIO_flush(output)) {
        PerlIO_restore_errno(output);
        if (errno)
            PerlIO_printf(PerlIO_stderr(), "Unable to flush stdout: %s\n", Strerror(errno));
        if (!STATUS_UNIX)
            STATUS_ALL_FAILURE;
    }
    PerlIO_flush(NULL);
}

static bool quick;
static bool prepared;    /* nothing came since values were looked at for children */
static bool quick_noted; /* what is inherited was noted for this reason */

static void note_for_quick(pTHX_ void (*note)(pTHX))
{
    quick_noted = true;
    note(aTHX);
}

void afork__exit_set_quick(pTHX_ bool set, bool forked)
{
    prepared &= set == quick;
    if (set && !quick && forked)
        note_for_quick(aTHX_ afork__inherited_note);
    if (!set && quick_noted) {
        afork__inherited_forget();
        quick_noted = false;
    }
    quick = set;
}

void afork__exit_before_fork(pTHX_ bool code_ran)
{
    if (!quick || (prepared && !code_ran))
        return;
    afork__inherited_prepare(aTHX);
    prepared = true;
}

void afork__exit_forked(pTHX)
{
    if (quick)
        note_for_quick(aTHX_ afork__inherited_copied);
}

void afork__exit_prepare(pTHX)
{
    needs_destruction(aTHX);
}

static int count_loads(struct dl_phdr_info *info, size_t size, void *data)
{
    *(unsigned long long *)data = info->dlpi_adds;
    return 1;
}

/* How many shared objects were ever loaded. */
unsigned long long afork__exit_count_loads(void)
{
    unsigned long long count = 0;

    dl_iterate_phdr(count_loads, &count);
    return count;
}

static unsigned long long loads_at_start; /* or ignored since */

void afork__exit_ignore_loads(unsigned long long before)
{
    loads_at_start += afork__exit_count_loads() - before;
}

void afork__exit_init(void)
{
    loads_at_start = afork__exit_count_loads();
    destruct_level_given = getenv("PERL_DESTRUCT_LEVEL") != NULL;
}

/* Nobody can have registered anything with atexit() but what was loaded later; or the program that
 * this process is a copy of, whose it is. */
__attribute__((noreturn))
static void exit_fast(pTHX_ bool flush)
{
    if (flush)
        flush_all(aTHX);
    if (afork__inherited_noted() && flush)
        afork__flush(aTHX); /* streams of stdio, too */
    if (afork__exit_count_loads() == loads_at_start || afork__inherited_noted())
        _exit(STATUS_EXIT);
    exit(STATUS_EXIT);
}

void afork__exit_if_unnoticed(pTHX_ bool flush)
{
    STATUS_EXIT_SET(0); /* `$?` is left from the last process the function waited for */
    if (PL_endav && av_count(PL_endav) > afork__inherited_end_blocks())
        return;
    if (!needs_destruction(aTHX))
        exit_fast(aTHX_ flush);
}

static void end_own(pTHX)
{
    dJMPENV;
    int jumped;

    JMPENV_PUSH(jumped); /* a destructor may exit */
    if (!jumped)
        afork__inherited_finish(aTHX);
    JMPENV_POP;
}

/* Here, where memory is in use at the end anyway. */
static void (*first_of_all)(pTHX);

void afork__exit_set_first(void (*function)(pTHX))
{
    first_of_all = function;
}

void afork__exit(pTHX)
{
    afork__serve_leave();
    if (first_of_all)
        first_of_all(aTHX);
    reset_signals(aTHX);
    afork__inherited_disarm(aTHX);
    run_end_blocks(aTHX);
    if (!needs_destruction(aTHX))
        exit_fast(aTHX_ true);
    if (afork__inherited_noted()) {
        end_own(aTHX);
        exit_fast(aTHX_ true);
    }

    afork__settle_input(aTHX);
    int status = perl_destruct(aTHX);
    perl_free(aTHX);
    PERL_SYS_TERM();
    exit(status);
}
