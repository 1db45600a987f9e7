/* SPDX-License-Identifier: MIT
 *
 * The children of a server: noticing their ends, reporting them, reaping them.
 */
#ifndef AFORK_PERL_REAP_H
#define AFORK_PERL_REAP_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct afork__reporter;

struct afork__child {
    pid_t pid;
    uint64_t identity; /* 0: nobody is told of it */
};

enum { AFORK__FEW_CHILDREN = 32 };

struct afork__children {
    struct afork__child *own; /* forked by commands: `few`, or memory when there are more */
    size_t n_own, own_room;
    pid_t *foreign; /* forked by user code that was evaluated: never ours to reap */
    size_t n_foreign, foreign_room;
    bool root;     /* reaps orphans */
    bool watching; /* SIGCHLD is blocked */
    int signal_fd; /* -1 until there are children; so set at the start */
    int list_fd;   /* the kernel's list of children, or -1 as it can be opened; set at the start */
    bool due;      /* a child may have ended since the last look */
    bool verify;   /* user code ran: it may have reaped children of ours */
    sigset_t mask; /* what user code expects, while watching */
    bool ignored;  /* user code ignores SIGCHLD: `action` is to be restored */
    struct sigaction action;
    struct afork__child few[AFORK__FEW_CHILDREN];
};

/* Makes this process the reaper of orphans below it, or gives that up. */
void afork__children_set_root(struct afork__children *children, bool root);

/* Before files are out of reach: what a root will read, or a server that may be adopted, is kept
 * open. */
void afork__children_keep_list(struct afork__children *children);

/* Blocks SIGCHLD and lets it arrive at `signal_fd`, as long as no user code runs. Returns 0 or a
 * negative errno. */
int afork__children_watch(struct afork__children *children);

/* Gives SIGCHLD back to user code. */
void afork__children_unwatch(struct afork__children *children);

/* Watches again after user code ran, if there is anything to watch. */
void afork__children_resume(struct afork__children *children);

/* Makes room for one more child, so that adding it cannot fail. Returns 0 or -ENOMEM. */
int afork__children_reserve(struct afork__children *children);
void afork__children_add(struct afork__children *children, pid_t pid, uint64_t identity);

/* From now on another host is told of children, which knows nothing of those there are. */
void afork__children_disown(struct afork__children *children);

/* Makes this process the reaper of orphans, also when it had children before; those that commands
 * did not fork are user code's. */
void afork__children_become_root(struct afork__children *children);

/* In a forked child: nothing of the parent's is ours, and SIGCHLD is user code's. */
void afork__children_forked(struct afork__children *children);

/* Makes the next afork__children_reap() look at the children: asking the kernel takes time for each
 * of them. A signal that was drained does the same. */
void afork__children_suspect(struct afork__children *children);

/* Reports and reaps what has ended, if that is due. An exit that finds no room in the status socket
 * stays a zombie: no status is lost, even if this process dies. Returns whether nothing stayed for
 * that reason. */
bool afork__children_reap(struct afork__children *children, struct afork__reporter *reporter);

/* Ends the child with that identity, if there is one, reports and reaps it: nobody has a use for
 * it. */
void afork__children_end(struct afork__children *children, struct afork__reporter *reporter,
                         uint64_t identity);

/* Empties `signal_fd`. */
void afork__children_drain_signals(struct afork__children *children);

/* Whether there are children left that a root has to wait for. */
bool afork__children_left(const struct afork__children *children);

/* Whether one has ended that user code is to reap. */
bool afork__children_foreign_ended(const struct afork__children *children);

/* While set, every fork of this process is noted as one of user code. NULL: no noting. */
void afork__children_note_forks(struct afork__children *children);

/* What a fork of this process returned, in both processes. */
void afork__children_forked_by_user(pid_t pid);

/* Lets go of children, descriptor and SIGCHLD. Memory stays for a later server of this process: in
 * a forked one, freeing it would copy pages. */
void afork__children_close(struct afork__children *children);

#endif
