/* SPDX-License-Identifier: MIT
 *
 * Starting a program: the only place where a process is made. Also what belongs to the start: the
 * environment, descriptors at safe numbers, the handle on the process.
 */
#ifndef AFORK_SPAWN_H
#define AFORK_SPAWN_H

#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

/* Numbers of the sockets in the started program. */
enum { AFORK__COMMAND_FD = 3, AFORK__STATUS_FD = 4 };

struct afork__spawn {
    const char *path;  /* searched in PATH if it holds no slash; NULL: `executable_fd` */
    int executable_fd; /* an open file, above 2; needs `status_fd` */
    char *const *argv;
    char *const *environment;
    const char *directory; /* NULL: the host's */
    int stdio[3];          /* descriptors for 0 to 2; -1: /dev/null */
    int command_fd; /* -1: none, and no `status_fd` either */
    int status_fd;  /* -1: none */
    bool new_session;
};

/* Starts a program with an empty signal mask, default dispositions, and no descriptors but 0 to 2
 * and the sockets. The host does not fork in the sense that memory is copied. Returns the pid, or a
 * negative errno; then nothing is left of it. */
pid_t afork__spawn(const struct afork__spawn *spawn);

/* The environment `base` with `changes` (NAME=value or NAME) applied, both NULL-terminated, changes
 * may be NULL. The result is one block, freed with free(); its strings are borrowed. NULL: no
 * memory. */
char **afork__environment(char *const *base, char *const *changes);

/* A stream or other socket pair, close-on-exec, both ends above 2; ret[0] is non-blocking. */
int afork__socketpair(int type, int ret[2]);

/* The same for a pipe: ret[0] is read, and is non-blocking; ret[1] is written. */
int afork__pipe(int ret[2]);

/* Duplicates a descriptor, close-on-exec, above 2. Returns it or a negative errno. */
int afork__duplicate(int fd);

/* Moves a descriptor above standard error: where the host has closed its own, the lowest free
 * numbers are those that programs print to. 0 or a negative errno; then it is where it was. */
int afork__lift(int *fd);

/* A descriptor for a process that becomes readable when that ends; -ESRCH, -ENOSYS, ... */
int afork__pidfd_open(pid_t pid);

/* Sends a signal through one. 0 or a negative errno. */
int afork__pidfd_signal(int pidfd, int signal);

/* Reaps the host's own child `pid` if it has ended; `pidfd`, unless it is -1, makes sure that it
 * is that child. Returns 1 with its wait status and usage, 0 if it lives, -ECHILD if it is not
 * there to be reaped. */
int afork__reap(pid_t pid, int pidfd, int *wait_status, struct rusage *usage);

/* Remembers a child of the host that nothing watches any more. */
void afork__leave_to_reap(pid_t pid);

/* Reaps those of them that have ended. */
void afork__reap_left(void);

#endif
