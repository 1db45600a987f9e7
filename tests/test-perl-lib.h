/* SPDX-License-Identifier: MIT
 *
 * Tests with real Perls: which there are, and processes that know the functions the tests run.
 */
#ifndef TEST_PERL_LIB_H
#define TEST_PERL_LIB_H

#include "test-lib.h"

/* Adds a case for afork-perl; it is skipped where that was not built. */
void test_perl_add(const char *path, test_func *func);

/* Adds a case for afork-perl and for each other peer, the peer's name appended to the path; skipped
 * where it is not installed. */
void test_perl_add_all(const char *path, test_func *func);

/* Adds a case for the peer of that name, which is appended to the path: afork-perl,
 * afork-perl-as-original, original, pure-perl. */
void test_perl_add_peer(const char *peer, const char *path, test_func *func);

/* Processes that know these functions:
 *   list         tells @main::seen and the arguments, a line each
 *   digest       tells length and MD5 of each argument
 *   echo         sends back what comes
 *   descriptors  tells the flags of the channel, then what is open, a line each */
struct afork_process *test_perl_new(struct test *t);
struct afork_process *test_perl_new_exec(struct test *t);

/* Octets of each value, twice, then others; the caller frees them. */
guint8 *test_octets(gsize len);

/* Sends arguments, and adds to `expected` what `digest` tells of them. */
void test_send_digested(struct afork_process *process, const struct iovec *arguments, size_t n,
                        GString *expected);

#endif
