/* SPDX-License-Identifier: MIT
 *
 * What tests of remote processes share: commands that behave in some way, processes behind them,
 * and how they end.
 */
#ifndef TEST_REMOTE_LIB_H
#define TEST_REMOTE_LIB_H

#include "test-lib.h"

/* Code for functions that work in every process:
 *   echo    sends back what comes
 *   digest  tells length and MD5 of each argument
 *   list    tells @main::seen, a dash, and the arguments
 *   lines   answers each line
 *   much    prints a lot
 *   leave   exits with status 3
 *   bear    prints from a child */
extern const char test_remote_functions[];

struct afork_process *test_remote_with(struct test *t, struct afork_remote_options *options);

/* Options for fake-ssh.sh, which tells what behaviours there are; valid until the next call. */
struct afork_remote_options *test_remote_options(const char *behaviour, const char *argument);

/* A process behind such a command. */
struct afork_process *test_remote(struct test *t, const char *behaviour, const char *argument);

/* One that works, and knows the functions above: behind the command in AFORK_TEST_REMOTE, if that
 * is set. */
struct afork_process *test_remote_any(struct test *t);

struct test_remote_end {
    struct test_run run;
    struct test_exit exit;
};

/* Runs a process that fails or leaves by itself, to its end. */
struct test_remote_end test_remote_end_of(struct test *t, struct afork_process *process,
                                          const char *function);

void test_assert_contains(const char *text, const char *part);

/* Standard error is kept for exit notices. */
void test_with_tail(struct test *t);

#endif
