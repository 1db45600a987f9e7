/* SPDX-License-Identifier: MIT
 *
 * Perl code that runs in each process that was forked: AFork::Serve::after_fork.
 */
#ifndef AFORK_PERL_HOOKS_H
#define AFORK_PERL_HOOKS_H

#include <stdbool.h>

#include "perl-api.h"

struct afork__server;

/* Defines the functions in the package. */
void afork__hooks_boot(pTHX);

/* Whether there are any. */
bool afork__hooks_exist(void);

/* Runs them, in the order they were registered, in a process that was just forked. One that dies
 * ends the process. */
void afork__hooks_run(pTHX_ struct afork__server *server);

#endif
