/* SPDX-License-Identifier: MIT
 *
 * Standard error of a process, kept as far as an exit notice tells it: a pipe, and the last octets
 * that came through it.
 */
#ifndef AFORK_TAIL_H
#define AFORK_TAIL_H

#include <stddef.h>

struct afork_context;
struct afork__tail;

enum { AFORK__TAIL_MAX = 4096 };

/* Makes a pipe that the loop of `context` reads. `*write_end`, returned, is for the process. 0 or a
 * negative errno. */
int afork__tail_new(struct afork_context *context, struct afork__tail **ret, int *write_end);

/* Reads all that waits in the pipe, and copies the last of all that came to `text`; returns its
 * length. */
size_t afork__tail_get(struct afork__tail *tail, char text[AFORK__TAIL_MAX]);

/* Gives it up. It is read, and dropped, until nobody can write any more: what the process left
 * behind shall not be stopped by a full or a broken pipe. NULL is allowed. */
void afork__tail_release(struct afork__tail *tail);

/* Closes all there are, in a copy of the host without a word to the loop. */
void afork__tail_close_all(struct afork_context *context);

#endif
