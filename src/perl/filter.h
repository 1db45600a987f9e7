/* SPDX-License-Identifier: MIT
 *
 * Filters of system calls: no network, no new processes.
 */
#ifndef AFORK_PERL_FILTER_H
#define AFORK_PERL_FILTER_H

#include <stdbool.h>
#include <stddef.h>

struct sock_filter;

struct afork__filter {
    struct sock_filter *code; /* NULL: none */
    unsigned short len;
};

/* To be called before files are out of reach: what makes filters is read from one. Returns whether
 * it is there. */
bool afork__filter_load(void);

/* Makes the filter for AFORK__NO_NETWORK, AFORK__NO_NEW_PROCESSES or both, by libseccomp. Returns 0
 * or a negative errno: -ENOSYS where there is no libseccomp or the kernel has no filters, `*why`
 * then being what is missing. */
int afork__filter_make(unsigned what, struct afork__filter *ret, const char **why);

void afork__filter_free(struct afork__filter *filter);

/* Puts a filter in force for this thread and all that it makes, which can gain no privileges. 0 or
 * a negative errno. */
int afork__filter_enforce(const struct afork__filter *filter);

#endif
