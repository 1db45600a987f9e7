/* SPDX-License-Identifier: MIT
 *
 * What a copy of a process does to become the server that a launch describes.
 */
#ifndef AFORK_PERL_LAUNCHED_H
#define AFORK_PERL_LAUNCHED_H

#include <afork/afork.h>

#include "perl-api.h"

/* No handler of the program's, and nothing ignored, but what %SIG says where there is an interpreter;
 * an empty mask. my_perl may be NULL. */
void afork__launched_reset_signals(PerlInterpreter *my_perl);

/* Puts descriptors 0 to 2 in place and closes all others, but the sockets of `launch` and the `n_keep`
 * in `keep`, which has room for two more and is sorted. With `occupy`, what would be closed becomes
 * /dev/null: libraries of the program may believe to own the number, and close it in the child of the
 * next fork (pthread_atfork()). Returns 0 or an errno. */
int afork__launched_settle(const struct afork_launch *launch, int *keep, size_t n_keep,
                           bool occupy);

/* Directory, session. Returns 0 or an errno. */
int afork__launched_enter(const struct afork_launch *launch, int directory_fd);

/* What the server's program sees: %ENV, @INC, @ARGV. */
void afork__launched_prepare(pTHX_ const struct afork_launch *launch);

/* Lets perl change the title of the process, wherever its arguments came from. */
void afork__launched_own_title(pTHX);

/* The process cannot become a server. */
void afork__launched_fail(const char *what, int error) __attribute__((noreturn));

#endif
