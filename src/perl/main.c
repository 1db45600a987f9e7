/* SPDX-License-Identifier: MIT
 *
 * afork-perl: a complete perl that also has AnyEvent::Fork::Serve and AFork::Serve built in.
 *
 * Does what the main program of a stock perl does (ExtUtils::Miniperl prints that one), but for the end,
 * which is in exit.c.
 */
#define PERL_NO_GET_CONTEXT
#define PERL_IN_MINIPERLMAIN_C
#define PERL_CORE 1

#include <EXTERN.h>
#include <perl.h>
#include <XSUB.h>

#include "exit.h"
#include "serve.h"

EXTERN_C void boot_DynaLoader(pTHX_ CV *cv);

static void xs_init(pTHX)
{
    dXSUB_SYS;
    newXS("DynaLoader::boot_DynaLoader", boot_DynaLoader, __FILE__);
    afork__serve_boot(aTHX);
}

int main(int argc, char **argv, char **env)
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
        return 1;
    perl_construct(my_perl);
    PL_perl_destruct_level = 0;
    PL_exit_flags |= PERL_EXIT_DESTRUCT_END;
    if (!perl_parse(my_perl, xs_init, argc, argv, NULL))
        perl_run(my_perl);
    afork__exit(aTHX);
}
