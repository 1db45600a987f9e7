/* SPDX-License-Identifier: MIT
 *
 * Landlock: what the kernel lets a process forbid itself about files and signals.
 */
#ifndef AFORK_PERL_LANDLOCK_H
#define AFORK_PERL_LANDLOCK_H

#include <stdbool.h>

/* The version of the kernel's interface, or a negative errno: -ENOSYS, or -EOPNOTSUPP where it was
 * turned off at boot. */
int afork__landlock_version(void);

/* The first version that keeps files from being truncated. */
enum { AFORK__LANDLOCK_TRUNCATE = 3 };

/* The first version that confines signals. */
enum { AFORK__LANDLOCK_SIGNALS = 6 };

/* Makes a ruleset that forbids reading or writing, but for what is allowed, and signals to processes
 * that are not under it; at least one of these. Returns a descriptor or a negative errno. */
int afork__landlock_new(bool read, bool write, bool signals);

/* Makes a ruleset that forbids what this version can forbid of networks: to bind and connect TCP
 * sockets, and to reach abstract sockets of others. Returns a descriptor, -ENOSYS if it can nothing
 * of that, or another negative errno. */
int afork__landlock_new_network(void);

/* Allows a ruleset that is about reading, or writing, to do so with a file, or with a directory and
 * all below it. 0 or a negative errno, that of the path. */
int afork__landlock_allow_read(int ruleset, const char *path);
int afork__landlock_allow_write(int ruleset, const char *path);

/* Puts a ruleset in force for this thread and all that it makes, which can gain no privileges. 0 or
 * a negative errno. */
int afork__landlock_enforce(int ruleset);

#endif
