/* SPDX-License-Identifier: MIT
 *
 * Makes the tests it is linked to use a spawner.
 */
#include <afork/afork-perl.h>
#include <stdio.h>

#include "test-lib.h"

static pid_t only_child(void)
{
    int pid = 0;
    FILE *file = fopen("/proc/thread-self/children", "re");

    if (file && fscanf(file, "%d", &pid) != 1)
        pid = 0;
    if (file)
        fclose(file);
    return pid;
}

static void start_spawner(void)
{
    if (afork_perl_early_init() < 0) {
        printf("Bail out! %s\n", afork_perl_error());
        _exit(1);
    }
    test_spawner = only_child();
}

__attribute__((constructor)) static void init(void)
{
    start_spawner();
    test_launcher = afork_perl_early_launch;
    test_copied = start_spawner;
}
