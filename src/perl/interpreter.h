/* SPDX-License-Identifier: MIT
 *
 * The interpreter of a program that is a server or can become one.
 */
#ifndef AFORK_PERL_INTERPRETER_H
#define AFORK_PERL_INTERPRETER_H

#include "perl-api.h"

/* Starts perl, once in a process, and compiles what its arguments say. NULL: no memory. `*failed`
 * is what perl_parse() returned. `caretx`, unless it is NULL, becomes `$^X`: where this is not a
 * perl, its own name must not be taken for one. It is read again after a fork. */
PerlInterpreter *afork__interpreter_new(int argc, char **argv, char **env, const char *caretx,
                                        int *failed);

#endif
