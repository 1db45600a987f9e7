/* SPDX-License-Identifier: MIT
 *
 * What the programs of the benchmark share. Each of them measures one thing once: it prints its
 * result as one line on standard output, and `run` calls it in turn with its peers.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdnoreturn.h>

/* Ends the program with a message. `error` is an errno, negative or not, or 0. */
noreturn void bench_fail(const char *what, int error);

/* A non-negative number given on the command line. */
size_t bench_number(const char *argument);

/* Microseconds on the monotonic clock. */
double bench_now(void);

/* Holds `megabytes` of touched memory until the end of the program. */
void bench_hold(size_t megabytes);

/* Calls `call` and then `settle` `n` times, after a few that do not count, and prints the median,
 * the 99th percentile and the greatest of the microseconds spent in `call`. */
void bench_stall(size_t n, void (*call)(void *data), void (*settle)(void *data), void *data);

/* Prints the median, the 99th percentile and the greatest of `n` samples, which are sorted. */
void bench_print_samples(double *samples, size_t n);

/* Prints how often something happened in a second: `n` times since `start`. */
void bench_print_rate(size_t n, double start);

/* Microseconds of processor time that this process has used, its children not. */
double bench_cpu(void);

/* The same as bench_print_rate(), and behind it the processor time of this process for each: `cpu`
 * is what it had used at `start`. */
void bench_print_calls(size_t n, double start, double cpu);

/* Starts `command` by posix_spawn() with one end of a socketpair as its standard input, and returns
 * the other end, which is non-blocking. Nothing waits for the process. */
int bench_start_on_socket(char **command);

#endif
