/* SPDX-License-Identifier: MIT
 *
 * What a copy of a process does to become the server that a launch describes.
 */
#ifndef AFORK_PERL_LAUNCHED_H
#define AFORK_PERL_LAUNCHED_H

#include <afork/afork.h>

#include "perl-api.h"

/* No handler of the program's, and nothing ignored, but what %SIG says where there is an
 * interpreter; an empty mask. my_perl may be NULL. */
void afork__launched_reset_signals(PerlInterpreter *my_perl);

/* Puts descriptors 0 to 2 in place. Returns 0 or an errno. */
int afork__launched_place(const struct afork_launch *launch);

/* Makes /dev/null of all other descriptors, but of the `n_keep` in `keep`. Their numbers stay
 * taken: libraries of the program may believe to own them, and close them in the child of the next
 * fork (pthread_atfork()). */
void afork__launched_let_go(const int *keep, size_t n_keep);

/* Directory, session. Returns 0 or an errno. */
int afork__launched_enter(const struct afork_launch *launch, int directory_fd);

/* What the server's program sees: %ENV, @INC, @ARGV. */
void afork__launched_prepare(pTHX_ const struct afork_launch *launch);

/* Lets perl change the title of the process, wherever its arguments came from. */
void afork__launched_own_title(pTHX);

/* The process cannot become a server. */
void afork__launched_fail(const char *what, int error) __attribute__((noreturn));

#endif
