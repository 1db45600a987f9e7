/* SPDX-License-Identifier: MIT
 *
 * Does what the main program of a stock perl does (ExtUtils::Miniperl prints that one).
 */
#define PERL_NO_GET_CONTEXT
#define PERL_IN_MINIPERLMAIN_C
#define PERL_CORE 1

#include <EXTERN.h>
#include <perl.h>
#include <XSUB.h>

#include "exit.h"
#include "interpreter.h"
#include "serve.h"

EXTERN_C void xs_init(pTHX);

static const char *caretx_wanted;

/* The first thing that perl compiles, before modules that PERL5OPT asks for: `$^X` is the program's
 * name by then. */
static void set_caretx_first(pTHX)
{
    SV *code = Perl_newSVpvf(aTHX_ "BEGIN { $^X = q\001%s\001 }", caretx_wanted);

    if (!PL_preambleav)
        PL_preambleav = newAV();
    av_unshift(PL_preambleav, 1);
    av_store(PL_preambleav, 0, code);
}

static void boot(pTHX)
{
    xs_init(aTHX);
    afork__serve_boot(aTHX);
    if (caretx_wanted)
        set_caretx_first(aTHX);
}

PerlInterpreter *afork__interpreter_new(int argc, char **argv, char **env, const char *caretx,
                                        int *failed)
{
#ifndef PERL_USE_SAFE_PUTENV
    PL_use_safe_putenv = FALSE;
#endif
    afork__exit_init();
    PERL_SYS_INIT3(&argc, &argv, &env);
#ifdef USE_ITHREADS
    PTHREAD_ATFORK(Perl_atfork_lock, Perl_atfork_unlock, Perl_atfork_unlock);
#endif
    PERL_SYS_FPU_INIT;

    PerlInterpreter *my_perl = perl_alloc();
    if (!my_perl)
        return NULL;
    perl_construct(my_perl);
    PL_perl_destruct_level = 0;
    PL_exit_flags |= PERL_EXIT_DESTRUCT_END;
    caretx_wanted = caretx;
    *failed = perl_parse(my_perl, boot, argc, argv, NULL);
    return my_perl;
}
