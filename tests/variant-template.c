/* SPDX-License-Identifier: MIT
 *
 * Makes the tests it is linked to fork an interpreter of their own.
 */
#include <EXTERN.h>
#include <XSUB.h>
#include <perl.h>
#undef _

#include <afork/afork-perl.h>

#include "test-lib.h"

EXTERN_C void boot_DynaLoader(pTHX_ CV *cv);

static void boot(pTHX)
{
    newXS("DynaLoader::boot_DynaLoader", boot_DynaLoader, __FILE__);
}

/* As programs do it: with strings that may not be written to. */
__attribute__((constructor)) static void init(int argc, char **argv, char **env)
{
    char *arguments[] = {(char *)"", (char *)"-e", (char *)"1", NULL};

    PERL_SYS_INIT3(&argc, &argv, &env);
    PerlInterpreter *my_perl = perl_alloc();
    perl_construct(my_perl);
    if (perl_parse(my_perl, boot, 3, arguments, NULL) || perl_run(my_perl)) {
        printf("Bail out! no interpreter\n");
        _exit(1);
    }
    test_launcher = afork_perl_template_launch;
}
