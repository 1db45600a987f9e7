/* SPDX-License-Identifier: MIT
 *
 * The end of an afork-perl process.
 */
#ifndef AFORK_PERL_EXIT_H
#define AFORK_PERL_EXIT_H

#include "perl-api.h"

/* Ends the interpreter and the process, with the status perl_run() left. */
void afork__exit(pTHX) __attribute__((noreturn));

#endif
