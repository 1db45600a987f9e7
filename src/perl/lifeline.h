/* SPDX-License-Identifier: MIT
 *
 * Command `W`: a process that ends with its host, whatever it is doing.
 */
#ifndef AFORK_PERL_LIFELINE_H
#define AFORK_PERL_LIFELINE_H

#include <stddef.h>

/* Makes this process end, by SIGKILL, when nobody can write to the pipe `fd` any more: at once if
 * that is so already. `fd` stays the caller's; it may be what this function returned in the process
 * that this one was forked from. Returns a descriptor that must stay open, close-on-exec; or -1,
 * and `error` says why. */
int afork__lifeline_arm(int fd, char *error, size_t size);

/* Undoes that, and closes the descriptor, if it is not -1. */
void afork__lifeline_disarm(int *fd);

#endif
