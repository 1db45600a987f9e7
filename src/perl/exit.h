/* SPDX-License-Identifier: MIT
 *
 * The end of an afork-perl process.
 */
#ifndef AFORK_PERL_EXIT_H
#define AFORK_PERL_EXIT_H

#include "perl-api.h"

/* To be called before anything is loaded. */
void afork__exit_init(void);

/* Looks at what afork__exit() will look at, so that perl's caches know the answers in forked
 * processes. */
void afork__exit_prepare(pTHX);

/* In quick mode what a process inherited at its fork does not end with it. The mode is inherited.
 * `forked`: this process was forked itself, and what it has now counts as inherited. */
void afork__exit_set_quick(pTHX_ bool quick, bool forked);

/* What quick mode needs around a fork: before it, and in the child. `code_ran` since the last
 * time. */
void afork__exit_before_fork(pTHX_ bool code_ran);
void afork__exit_forked(pTHX);
/* What the server itself loads has nothing to do at the end. To be called before, and after with
 * what that returned. */
unsigned long long afork__exit_count_loads(void);
void afork__exit_ignore_loads(unsigned long long before);

/* Ends a process whose function has returned, with status 0 and without leaving its scopes, if no
 * code would run for that. Returns if some would. Without `flush`, there is no output to be
 * flushed. */
void afork__exit_if_unnoticed(pTHX_ bool flush);

/* Has a function called before anything else of the end, in this process and those forked from
 * it. */
void afork__exit_set_first(void (*function)(pTHX));

/* Ends the interpreter and the process, with the status perl_run() left. */
void afork__exit(pTHX) __attribute__((noreturn));

#endif
