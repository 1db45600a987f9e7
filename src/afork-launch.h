/* SPDX-License-Identifier: MIT
 *
 * Launchers: other ways to start a Perl process than to execute a perl. libafork-perl has three,
 * for programs that have perl's library but cannot rely on a perl binary; see <afork/afork-perl.h>.
 *
 * A launched process is one at the top of a tree, like an executed one: afork_process_pid() tells
 * its pid, its end comes with the exit status, and the host's library reaps it. What it is told,
 * reports and forks is the same.
 */
#ifndef AFORK_LAUNCH_H
#define AFORK_LAUNCH_H

#if !defined(AFORK_H_INSIDE) && !defined(AFORK_COMPILATION)
#error "include <afork/afork.h> instead of this header"
#endif

#include "afork-types.h"

AFORK_BEGIN_DECLS

/* What a launcher is to start: a server that speaks the extended protocol
 * (doc/wire-protocol.md), as afork-perl does. All borrowed for the call: a descriptor that is
 * needed longer is duplicated. */
struct afork_launch {
    size_t size; /* sizeof(struct afork_launch) of the library that calls */

    int command_fd; /* the server's end of its command socket */
    int status_fd;  /* the servers' end of the context's status socket */
    int stdio[3];   /* its descriptors 0 to 2; -1: /dev/null */

    uint64_t identity; /* what it calls itself on the status socket */
    pid_t owner;       /* the host */

    /* Options of the context, with its rules applied. The lists end with a NULL. */
    bool refuse_threads;
    bool new_session;
    const char *directory;           /* NULL: the host's */
    const char *const *include_dirs; /* may be NULL */
    const char *const *environment;  /* the whole of it */

    /* For a launcher that may learn of children by a way of its own, after their context was
     * closed: has `reap` called whenever a context is made or closed, in any thread, as long as the
     * program lives; `reap` must not call this library. Does nothing for one that it was given
     * before. 0 or -ENOMEM. */
    int (*call_to_reap)(void (*reap)(void));
};

/* Starts one process, a child of the host whose end is signalled by SIGCHLD, without blocking. It
 * has nothing open but what `launch` names.
 *
 * Returns its pid. Or 0: the pid will be told on the status socket, by a record *forked* with the
 * value 1, which whoever forks it sends at once, or by the process itself; if the last copy of the
 * server's end of the command socket is closed before, the process was never started
 * (AFORK_CAUSE_START). Or a negative errno: then nothing is left of it. */
typedef pid_t afork_launch_cb(const struct afork_launch *launch, void *data);

/* What starts the processes of afork_process_new_exec() and the default template from now on; NULL:
 * they are executed again, as in the beginning. The default template that runs is kept for its
 * children, and replaced at the next afork_process_new(). afork_context_set_perl() takes it back.
 * `data` is borrowed until then, or until the context is closed. `cb` is called inside of those
 * functions, and must not call this library.
 * Errors: -EINVAL (also for a context whose peer is not AFORK_PEER_OWN). */
AFORK_EXPORT AFORK_NODISCARD int afork_context_set_launcher(struct afork_context *context,
                                                            afork_launch_cb *cb, void *data);

/* A new server that `cb` starts. Returned; release with afork_process_unref().
 * Errors: -EINVAL (also for a context whose peer is not AFORK_PEER_OWN), -EMFILE, -ENFILE, those of
 * `cb`. */
AFORK_EXPORT AFORK_NODISCARD int afork_process_new_launched(struct afork_context *context,
                                                            afork_launch_cb *cb, void *data,
                                                            struct afork_process **ret);

AFORK_END_DECLS

#endif
