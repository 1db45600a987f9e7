/* SPDX-License-Identifier: MIT
 *
 * What the files of the core share: the two objects, and who may do what to them.
 *
 *   afork-context.c  options, the default template, start and end of everything
 *   afork-process.c  the public calls: they fill the queue of a process and change its intent
 *   call.c, rpc*.c   calls of a worker's function (call.h, rpc.h)
 *   copy.c           whether this is a forked copy of the host
 *   cpu-count.c      how many processors there are to use
 *   deadline.c       what happens at a time, or at the next turn of the loop
 *   dump.c           what there is, as JSON
 *   launch.c         processes that are not forked from another: executed or launched
 *   lifecycle.c      the states of a process: channel, end, orphans
 *   lifeline.c       how a process ends: by the exit mode, or with the host
 *   limits.c         what a process is confined to, and how that is told
 *   log.c            what happens, for who looks for a fault
 *   handover.c       servers that go to another host or come from one
 *   notice.c         the one way out: callbacks, from the loop only
 *   pool*.c          calls spread over workers (pool.h)
 *   monitor.c        the way in: status records and pidfds
 *   queue.c          what is to be sent to a process, in order (queue.h)
 *   remote*.c        processes that a command starts elsewhere (remote.h)
 *   spares.c         children forked in advance
 *   spawn.c          executing, and what the kernel has for it (spawn.h)
 *   tail.c           the end of what was written to standard error
 *   words.c          what is said of ends and errors
 */
#ifndef AFORK_INTERNAL_H
#define AFORK_INTERNAL_H

#include <sys/queue.h>

#include "afork-context.h"
#include "afork-launch.h"
#include "afork-loop.h"
#include "afork-process.h"
#include "deadline.h"
#include "log.h"
#include "queue.h"
#include "remote.h"
#include "spares.h"
#include "status.h"
#include "tail.h"

enum { AFORK__BUCKETS = 256, AFORK__SHARE_RECORDS = 16, AFORK__SHARE_OCTETS = 65536 };

struct afork__warning {
    STAILQ_ENTRY(afork__warning) link;
    struct afork_process *process; /* a reference, or NULL */
    char message[];
};

/* What is made on a context and ends with it. */
struct afork__attachment {
    LIST_ENTRY(afork__attachment) link;
    void (*close)(struct afork__attachment *attachment); /* takes it out of the list */
    void (*leave)(
        struct afork__attachment *attachment); /* before that, while all still works; or NULL */
};

struct afork__launcher {
    afork_launch_cb *cb; /* NULL: a perl is executed */
    void *data;
};

struct afork_context {
    unsigned refs; /* the user's, one of each process, one of each dispatch under way */
    uint32_t copy; /* of the host: in another one everything is inert */
    bool closed;

    struct afork_loop *loop;
    struct afork_timer *timer;
    bool retry;        /* the kernel was full: something must be sent again */
    bool poll;         /* ends have to be looked for without a descriptor */
    bool poll_orphans; /* the same for processes that nobody reports on */

    /* Options, copied. */
    char *perl, *serve_module, *directory, *found_perl;
    enum afork_peer peer;
    char **include_dirs, **environment, **environment_changes;
    struct afork_stdio stdio[3];
    struct afork__launcher launcher;
    bool new_session;
    enum afork_threads threads;
    void (*on_warning)(struct afork_context *, struct afork_process *, const char *, void *);
    void *warning_data;
    struct afork__log log;

    int status_fd, status_far_fd;
    int lifeline[2]; /* a pipe that only the host can write to; -1: nobody needs it yet */
    struct afork_io *status_io;
    unsigned n_busy; /* processes that keep the loop alive */
    bool recheck;    /* somebody ended: see who reports on its children now */

    struct afork_process *template; /* the default template: a user's reference, or NULL */
    unsigned templates_lost;        /* default templates that ended by themselves, in a row */
    int64_t retry_at;               /* none is executed before, where they keep doing that */
    char *last_error;               /* what went wrong with a process, for the dump */
    uint64_t last_identity;
    TAILQ_HEAD(, afork_process) processes; /* all not known to have ended; a reference each */
    LIST_HEAD(, afork_process) by_identity[AFORK__BUCKETS];
    TAILQ_HEAD(, afork_process) notices; /* whose callbacks are due; a reference each */
    STAILQ_HEAD(, afork__warning) warnings;
    LIST_HEAD(, afork__tail) tails; /* also of processes that have ended */
    LIST_HEAD(, afork__attachment) attachments;
    struct afork__deadlines deadlines;
    struct afork__turns turns;
    uint8_t
        *receive_buffer; /* of AFORK__SHARE_OCTETS, for whoever reads; NULL: in use, or not there */
    LIST_HEAD(, afork__spares) spares;
    unsigned n_spares;                    /* of the default template */
    struct afork_spare_stats spare_stats; /* of default templates that are gone */
    LIST_HEAD(, afork__untold) untold;    /* launched ones that ended before their pid was told */
    /* Children that were handed over, and are still to be reaped. */
    LIST_HEAD(, afork__left_child) left_children;
};

/* What became of afork_process_run().
 *
 *   NONE -> QUEUED -> READY -> DONE      the function was entered
 *              `----> FAILED -> DONE     it was not
 *
 * READY and FAILED wait for the callback; DONE means it was called, or is not wanted. */
enum afork__run {
    AFORK__RUN_NONE,
    AFORK__RUN_QUEUED,
    AFORK__RUN_READY,
    AFORK__RUN_FAILED,
    AFORK__RUN_DONE
};

/* Limits whose breach can be told by name; 0: none. */
struct afork__known_limits {
    uint64_t cpu_seconds, file_size;
    bool no_new_processes;
};

struct afork_process {
    unsigned refs;      /* of the memory: users, lists, children, callbacks under way */
    unsigned user_refs; /* of the handle */
    struct afork_context *context;
    struct afork_process *parent; /* what it was forked from; NULL: executed, launched or adopted */
    bool adopted;                 /* made by another program; nobody here knows its parent */
    unsigned n_children;          /* processes whose parent it is, as far as they have not ended */
    enum afork_peer peer;
    uint64_t identity;
    struct afork__remote *remote; /* NULL: not a remote process */

    /* The command socket: -1 once it is closed or handed out. */
    int fd;
    struct afork_io *io;
    struct afork__queue queue;
    struct afork__tail *tail; /* NULL: its standard error is not read */
    bool retry;               /* the kernel was full: the timer sends */
    bool poll;                /* the timer has yet to look at it */
    bool watch_end;           /* nobody would report its end: watch for end of file */
    bool hung_up; /* the peer was given end of file; the socket is kept until the pid is known */
    bool broken;  /* the peer closed it: what is queued from then on is never sent */
    bool leaving; /* the same, and nothing but looking at it tells of the end */

    char *perl;     /* of executed ones: what was started, for messages */
    char *function; /* that it was told to run, for the dump */
    int64_t made_at;
    bool is_default; /* it is a default template whose end nobody asked for */
    bool pid_due;    /* who launched it has yet to tell the pid, which may be known already */
    pid_t pid;       /* 0: not known to run */
    int pidfd;       /* of those without parent, and of orphans nobody reports on; else -1 */
    struct afork_io *pidfd_io;
    uint64_t pending_signals; /* sent once the pid is known */

    bool hello;    /* executed only: it reached the point where it obeys */
    bool released; /* no user's reference is left */
    bool closed;   /* afork_process_close() */
    bool entered;  /* the function owns it: it does not report on its children any more */
    bool vanished; /* its pid is gone; the record may still be in the socket */
    bool ended;
    bool busy; /* counted in n_busy */

    struct afork__known_limits limits;      /* of this process */
    struct afork__known_limits fork_limits; /* of what is forked from it, besides */

    bool handed_over; /* what `run` follows is afork_process_to_fd() */
    enum afork__run run;
    afork_run_cb *run_cb;
    void *run_data;
    void (*run_release)(void *data);
    afork_exit_cb *exit_cb;
    void *exit_data;
    bool exit_in_background; /* it does not keep the loop alive that this is to come */
    bool in_callback, noticed;

    int error; /* of a start that failed, for run's callback; 0: what exit.cause says */
    struct afork_exit exit;
    /* What exit.message and exit.stderr_tail point to, unless it is a constant. */
    char *message, *stderr_tail;

    struct afork__spares *spares;   /* forked from it; NULL: it never had any */
    struct afork__spares *spare_of; /* nobody has asked for it yet */
    bool unused;                    /* the same, also after it was dropped */

    TAILQ_ENTRY(afork_process) link, notice_link, spare_link;
    LIST_ENTRY(afork_process) identity_link;
};

/* afork-context.c */
struct afork_context *afork__context_ref(struct afork_context *context);
void afork__context_unref(struct afork_context *context);
/* 0, -EINVAL, -ECHILD or -ESHUTDOWN. */
int afork__context_check(const struct afork_context *context);
/* The perl that would be executed now; borrowed for the moment. */
const char *afork__context_perl(const struct afork_context *context);
/* Executes a perl that serves on `command_fd`, its standard error going to `error_fd`, or, if
 * that is -1, to where the options say; returns its pid or a negative errno. */
pid_t afork__context_start(struct afork_context *context, int command_fd, int error_fd,
                           uint64_t identity);
/* The environment of a start: one block, freed with free(). NULL: no memory. */
char **afork__context_environment(const struct afork_context *context);
/* What 0 to 2 of a start are; -1: /dev/null. */
void afork__context_stdio(const struct afork_context *context, int error_fd, int ret[3]);
/* The next afork_process_new() makes a new default template. */
void afork__context_drop_template(struct afork_context *context);
/* The default template, borrowed; executed if there is none, or it is lost. */
int afork__context_template(struct afork_context *context, struct afork_process **ret);
/* A default template has ended by itself. */
void afork__context_lost_template(struct afork_context *context,
                                  const struct afork_process *template);

/* afork-process.c */
/* Has `process` fork, with these AFORK__FORK_ flags. As afork_process_fork(), but never a spare. */
int afork__process_fork(struct afork_process *process, unsigned flags, struct afork_process **ret);
/* Whether the process may be given a command: 0 or the error of the call. */
int afork__process_check_server(const struct afork_process *process);
/* Ends a call that has put something into the queue: `result` if that failed, else sends what
 * the socket takes at once, and 0. */
int afork__process_queued(struct afork_process *process, int result);
/* Gives a server a command whose payload is not a list of strings, as the public calls do. */
int afork__process_command(struct afork_process *process, enum afork__command command,
                           const void *payload, size_t len);
/* Its life as a server ends when all is sent that was queued. */
void afork__process_leaves(struct afork_process *process, afork_run_cb *cb, void *data,
                           void (*release)(void *data));

/* limits.c */
/* A process that was just forked has the limits of its parent. */
void afork__limits_inherit(struct afork_process *process);
/* Adds to the words for an end, a string in `size` octets, which limit it was, where that is
 * certain. */
void afork__limits_describe(const struct afork_process *process, char *text, size_t size);

/* launch.c */
/* Reaps what was left to be reaped by the way, also by launchers. */
void afork__launched_reap(void);
/* A process at the top of a tree. */
int afork__process_new_root(struct afork_context *context, const struct afork__launcher *launcher,
                            struct afork_process **ret);
/* The pid of a launched process is known, maybe again. */
void afork__process_launched(struct afork_process *process, pid_t pid);
/* Who launched a process that is gone here tells its pid. */
void afork__launched_late(struct afork_context *context, uint64_t identity, pid_t pid);
/* A process with its pid is gone before that. */
void afork__launched_untold(struct afork_process *process);
void afork__launched_forget_all(struct afork_context *context);
/* Its socket was closed while its pid is not known. */
void afork__process_never_started(struct afork_process *process);

/* lifecycle.c */
/* A process with its command socket; `*far_fd` is the other end, returned. So is `*error_fd`,
 * the end of its standard error where that is read; else -1. */
int afork__process_make(struct afork_context *context, struct afork_process *parent,
                        struct afork_process **ret, int *far_fd, int *error_fd);
/* The parts of that: watches the command socket, taken on success; */
int afork__process_watch_socket(struct afork_process *process, struct afork_context *context,
                                int fd);
/* and makes a new one part of its context, with a reference of the user. */
void afork__process_join(struct afork_process *process, struct afork_context *context);
void afork__process_ref_memory(struct afork_process *process);
void afork__process_unref_memory(struct afork_process *process);
/* Tells a process without parent its pid, and watches it. */
void afork__process_started(struct afork_process *process, pid_t pid);
/* Watches for the end of file of the command socket. */
void afork__process_watch_end(struct afork_process *process);
/* The host has no more use for the socket. */
void afork__process_hang_up(struct afork_process *process);
/* Makes a descriptor for the end of a process part of the loop. 0 or a negative errno. */
int afork__process_watch_pid(struct afork_process *process);
void afork__process_unwatch_pid(struct afork_process *process);
/* An orphan's pid has ended. */
void afork__process_orphan_ended(struct afork_process *process);
/* Takes a process that could not be made or started out of the world again. */
void afork__process_abandon(struct afork_process *process);
/* Sends what is queued as far as the socket takes it, and does what waits for an empty queue. */
void afork__process_send(struct afork_process *process, size_t limit);
/* The handle's last reference is gone, or close: an unrun server ends after its queue. */
void afork__process_release(struct afork_process *process);
/* The callback of run is not to be called (any more). Releases its data, which may call the
 * library. */
void afork__process_drop_run(struct afork_process *process);
/* Takes the command socket out of the loop; the descriptor is returned. */
int afork__process_take_socket(struct afork_process *process);
/* The same, and closes it. */
void afork__process_forget_socket(struct afork_process *process);
/* Decides whether the loop must be kept alive for it. */
void afork__process_update_busy(struct afork_process *process);
/* In a forked copy of the host. */
bool afork__context_is_copy(const struct afork_context *context);
/* There, or closed: the loop may still call back while the host turns it in what closing releases,
 * and nothing is to be told any more. */
bool afork__context_is_over(const struct afork_context *context);
/* States: each is reached at most once and may be told in any order. */
void afork__process_set_pid(struct afork_process *process, pid_t pid);
void afork__process_entered(struct afork_process *process);
void afork__process_failed(struct afork_process *process, enum afork_cause cause,
                           const char *message, size_t len);
void afork__process_ended(struct afork_process *process, int wait_status,
                          const struct rusage *usage);
/* Whether it was executed by this host, which reaps it. */
static inline bool afork__process_is_child(const struct afork_process *process)
{
    return !process->parent && !process->adopted;
}
/* The executed or adopted process at the top of its tree; itself if it is one. */
struct afork_process *afork__process_root(struct afork_process *process);
/* Looks at all processes whose reporter may be gone. */
void afork__context_recheck(struct afork_context *context);

/* lifeline.c */
/* The end of the host for all that end with it. */
void afork__lifeline_close(struct afork_context *context);
/* handover.c */
/* The server is another program's now: it ends, as far as this host knows. */
void afork__process_handed_over(struct afork_process *process);
/* Whether nobody has the other end of its command socket. */
bool afork__process_is_deserted(const struct afork_process *process);
/* Leaves the children that were handed over to be reaped by the way; in a copy of the host, forgets
 * them. */
void afork__handover_close_all(struct afork_context *context);

/* words.c */
/* Remembers what went wrong last, for the dump; */
void afork__context_note_error(struct afork_context *context, const char *message);
/* with a process, unless nobody wanted it any more. */
void afork__process_note_error(const struct afork_process *process);
/* The negative errno for a cause. */
int afork__exit_error(const struct afork_exit *exit);
/* Says in words what the wait status says. */
void afork__process_describe_end(struct afork_process *process);

/* notice.c */
/* Makes the process's callbacks due; they run from the loop. */
void afork__notice(struct afork_process *process);
void afork__notice_warning(struct afork_context *context, struct afork_process *process,
                           const char *message, size_t len);
/* Runs due callbacks. From the loop only. */
void afork__notice_deliver(struct afork_context *context);
void afork__notice_timer_cb(void *context);
/* Sets the timer as the state of the context wants it. */
void afork__notice_set_timer(struct afork_context *context);
/* Drops what is due. */
void afork__notice_clear(struct afork_context *context);

/* monitor.c */
void afork__monitor_status_cb(unsigned events, void *context);
void afork__monitor_pidfd_cb(unsigned events, void *process);
/* Ends an executed process if the host's child has ended. */
void afork__monitor_reap(struct afork_process *process);
/* Reads all records there are; no callback runs. */
void afork__monitor_drain(struct afork_context *context);
/* The last look at the status socket: only the pids of children that nobody waited for matter. */
void afork__monitor_close(struct afork_context *context);

#endif
