/* SPDX-License-Identifier: MIT
 *
 * Forks a second from a template with modules, made in each of the ways there are:
 *
 *     bench-embed exec|early|self|template COUNT IN-FLIGHT
 *
 * Each process runs CORE::exit; its end of file is waited for. `template` is there in a program
 * that was built with BENCH_INTERPRETER, which has an interpreter of its own.
 */
#ifdef BENCH_INTERPRETER
#include <EXTERN.h>
#include <XSUB.h>
#include <perl.h>
#undef _
#endif

#include <afork/afork-perl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench-leave.h"
#include "bench.h"

static const char modules[] = "use strict; use warnings; use POSIX; use Socket; use List::Util;"
                              "use Data::Dumper; use File::Spec; use Scalar::Util; 1";

#ifdef BENCH_INTERPRETER
EXTERN_C void boot_DynaLoader(pTHX_ CV *cv);

static void boot(pTHX)
{
    newXS("DynaLoader::boot_DynaLoader", boot_DynaLoader, __FILE__);
}

static void start_interpreter(int argc, char **argv, char **env)
{
    static char name[] = "", dash_e[] = "-e", code[] = "1";
    static char *arguments[] = {name, dash_e, code, NULL};

    PERL_SYS_INIT3(&argc, &argv, &env);
    PerlInterpreter *my_perl = perl_alloc();
    perl_construct(my_perl);
    bench_check("perl",
                perl_parse(my_perl, boot, 3, arguments, NULL) || perl_run(my_perl) ? -1 : 0);
    eval_pv(modules, TRUE);
}
#endif

static int start_fork(void *data, struct afork_process **ret)
{
    return afork_process_fork(data, ret);
}

int main(int argc, char **argv, char **env)
{
    struct afork_poll *poll;
    struct afork_context *context;
    struct afork_process *template;
    afork_launch_cb *launch = NULL;

    if (argc > 1 && !strcmp(argv[1], "early")) {
        bench_check("early", afork_perl_early_init());
        launch = afork_perl_early_launch;
    }
    if (argc < 4 || !strcmp(argv[1], "self")) { /* fewer: as a server */
        bench_check("self", afork_perl_self_init(argc, argv));
        launch = afork_perl_self_launch;
    } else if (getenv("AFORK_PERL_SELF")) {
        bench_check("self", afork_perl_self_init(argc, argv));
    }
#ifdef BENCH_INTERPRETER
    if (!strcmp(argv[1], "template")) {
        start_interpreter(argc, argv, env);
        launch = afork_perl_template_launch;
    }
#endif
    bench_check("poll", afork_poll_new(&poll));
    bench_check("context", afork_context_new(afork_poll_loop(poll), NULL, &context));
    if (launch)
        bench_check("launcher", afork_context_set_launcher(context, launch, NULL));
    bench_check("template", afork_process_new_exec(context, &template));
    bench_check("eval", afork_process_eval(template, modules, NULL));
    bench_leave(poll, start_fork, template, 5, 1);
    size_t n = strtoul(argv[2], NULL, 10);
    double start = bench_now();
    bench_leave(poll, start_fork, template, n, strtoul(argv[3], NULL, 10));
    bench_print_rate(n, start);
    afork_process_unref(template);
    afork_context_close(context);
    afork_poll_free(poll);
    return 0;
}
