/* SPDX-License-Identifier: MIT
 *
 * Threads of a process that forks.
 */
#ifndef AFORK_PERL_THREADS_H
#define AFORK_PERL_THREADS_H

#include <stdbool.h>
#include <stddef.h>

#define AFORK__THREADS_LABEL_MAX 80

struct afork__threads {
    unsigned count;  /* when last looked at */
    unsigned warned; /* the user was told of so many */
    char label[AFORK__THREADS_LABEL_MAX + 1]; /* the command after which there were more */
};

/* How many threads this process has. */
unsigned afork__threads_count(void);

/* Looks again before a fork. Returns whether the user has to be told. */
bool afork__threads_rose(struct afork__threads *threads);

/* Looks again after a command that ran code, and remembers it if there are more threads. */
void afork__threads_note(struct afork__threads *threads, const char *code, size_t len);

#endif
