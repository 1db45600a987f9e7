/* SPDX-License-Identifier: MIT
 *
 * What the programs of the benchmark that are hosts on the poll loop share.
 */
#ifndef BENCH_LEAVE_H
#define BENCH_LEAVE_H

#include <afork/afork.h>

/* Ends the program with a message if a call of the library failed. */
void bench_check(const char *what, int result);

/* Makes a process; returns 0 or a negative errno. */
typedef int bench_start_func(void *data, struct afork_process **ret);

/* Starts `n` processes that leave at once, `in_flight` at a time, and returns when there is the end
 * of file of each. */
void bench_leave(struct afork_poll *poll, bench_start_func *start, void *data, size_t n,
                 size_t in_flight);

#endif
