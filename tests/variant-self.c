/* SPDX-License-Identifier: MIT
 *
 * Makes the tests it is linked to execute themselves as servers. What they could multiply to is
 * bounded.
 */
#include <afork/afork-perl.h>
#include <stdio.h>
#include <stdlib.h>

#include "test-lib.h"

__attribute__((constructor)) static void init(int argc, char **argv)
{
    const char *depth = getenv("AFORK_TEST_DEPTH");

    if (depth) /* below a server; a server itself, or nothing that goes on */
        _exit(afork_perl_self_init(argc, argv) == 0);
    if (afork_perl_self_init(argc, argv) < 0) {
        printf("Bail out! %s\n", afork_perl_error());
        _exit(1);
    }
    setenv("AFORK_TEST_DEPTH", "1", 1);
    test_launcher = afork_perl_self_launch;
}
