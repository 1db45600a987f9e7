/* SPDX-License-Identifier: MIT
 *
 * A process: the host's handle on one Perl process.
 *
 * It starts as a *server* that obeys commands: load this module, evaluate that code, keep this
 * string or descriptor as an argument, fork. It becomes a *worker* when it is told to run a
 * function, which then owns it: the function is called with a socket to the host, followed by all
 * arguments that were sent. A server kept in order to be forked is a *template*.
 *
 * Commands are queued, in order, and never block. What goes wrong in the Perl process is told to
 * the callback of afork_process_run() and to that of afork_process_on_exit().
 */
#ifndef AFORK_PROCESS_H
#define AFORK_PROCESS_H

#if !defined(AFORK_H_INSIDE) && !defined(AFORK_COMPILATION)
#error "include <afork/afork.h> instead of this header"
#endif

#include <sys/resource.h>
#include <sys/uio.h>

#include "afork-context.h"
#include "afork-types.h"

AFORK_BEGIN_DECLS

/* Why a process ended, or could not run its function. */
enum afork_cause {
    AFORK_CAUSE_UNKNOWN,   /* gone; nobody knows how (handed over, reaped by others, ...) */
    AFORK_CAUSE_EXITED,    /* it exited; `status` is its exit status */
    AFORK_CAUSE_SIGNALLED, /* a signal killed it; `status` is the signal's number */
    AFORK_CAUSE_START,     /* the perl ended before it could serve */
    AFORK_CAUSE_EVAL,      /* evaluated code, or a hook after the fork, died; `message` is Perl's */
    AFORK_CAUSE_REQUIRE,   /* a module could not be loaded; `message` is Perl's */
    AFORK_CAUSE_FUNCTION,  /* the function to run does not exist; `message` is Perl's */
    AFORK_CAUSE_FORK,      /* the template could not fork, or was gone before it did */
    AFORK_CAUSE_PROTOCOL,  /* the peer sent or received what it cannot have been sent */
    AFORK_CAUSE_LIMITS,    /* limits could not be set; `message` names limit, path and error */
};

/* What runs when a forked process ends: it has copies of what its template had loaded and made. */
enum afork_exit_mode {
    AFORK_EXIT_PERL,  /* as perl ends: END blocks and destructors, inherited ones too */
    AFORK_EXIT_QUICK, /* output is flushed; of END blocks and destructors only those that were added
                         after the fork run */
};

/* How a process ended. Valid during the callback. */
struct afork_exit {
    enum afork_cause cause;

    /* Text that explains the cause: Perl's own where it has any. Never NULL, may be empty. */
    const char *message;

    /* The exit status as waitpid() tells it, for WIFEXITED and friends; -1 if it is not known (also
     * in afork_run_cb, when the process has failed but not ended yet). */
    int wait_status;

    /* The exit status or signal number of `wait_status`; -1 if it is not known. */
    int status;

    /* Resources used, as wait4() tells them; all zero unless `has_usage`. */
    bool has_usage;
    struct rusage usage;

    /* With AFORK_STDIO_TAIL, the last 4 KiB at most that it wrote to its standard error until
     * now; of a process whose template could not start, what the template wrote. Octets, with a
     * NUL behind them. Never NULL, may be empty. */
    const char *stderr_tail;
    size_t stderr_tail_len;
};

/* Called once for each afork_process_run(), with either
 *   - `fd` >= 0 and `failure` NULL: the function was entered. The descriptor is the host's end of
 *     the channel, a stream socket, non-blocking and close-on-exec; the callback owns it, and
 *     afork does not know it any more. What the worker wrote meanwhile waits in it.
 *   - `fd` a negative errno and `failure` saying why the function was not entered: the error of the
 *     start, -ENOEXEC (code, module or function), -ECONNRESET (it ended), -EAGAIN (it could not be
 *     forked), -EPROTO, -EPERM (limits could not be set). */
typedef void afork_run_cb(struct afork_process *process, int fd, const struct afork_exit *failure,
                          void *data);

/* Called once for each process that ended, after the callback of its run. */
typedef void afork_exit_cb(struct afork_process *process, const struct afork_exit *exit,
                           void *data);

/* A new empty server, forked from the context's default template, which is executed when first
 * needed. One that has ended is replaced then, which a warning tells once; where they keep ending
 * within seconds, not before 0.1 to 10 s have passed. Returned; release with afork_process_unref().
 * Errors: as afork_process_new_exec(); -EAGAIN (the default templates keep ending). */
AFORK_EXPORT AFORK_NODISCARD int afork_process_new(struct afork_context *context,
                                                   struct afork_process **ret);

/* A new server from a freshly executed perl. Returned; release with afork_process_unref().
 * Errors: what the start itself could not do (-ENOENT, -EACCES, -ENOEXEC, ... for the perl or the
 * working directory; -EAGAIN, -EMFILE, -ENFILE). What fails later is told by the callbacks. */
AFORK_EXPORT AFORK_NODISCARD int afork_process_new_exec(struct afork_context *context,
                                                        struct afork_process **ret);

/* A new server forked from `process`, which must not have been told to run. It starts with a copy
 * of all that was sent to `process` so far: code, strings and descriptors; `process` keeps its own.
 * Returned; release with afork_process_unref().
 * Errors: -EMFILE, -ENFILE. */
AFORK_EXPORT AFORK_NODISCARD int afork_process_fork(struct afork_process *process,
                                                    struct afork_process **ret);

/* Keeps up to `n` spares: children of `process` that are forked in advance, each with its socket,
 * and made ready while nothing else is to be done. afork_process_fork() hands one out where there
 * is one. A command to `process` makes them out of date; those are replaced, and end without a
 * trace, no END block or destructor runs. One that is killed before it is used is replaced
 * silently, but where they keep ending only when somebody asks for a process. Each costs a
 * descriptor, with AFORK_STDIO_TAIL two, and some hundred kilobytes. They do not keep the loop
 * alive, and are gone when `process` runs, is handed over, ends, or is released. 0: none, the
 * default. For the default template see the options of the context. Errors: -ENOTSUP (a peer of the
 * original kind). */
AFORK_EXPORT int afork_process_set_spares(struct afork_process *process, unsigned n);

/* What became of calls of afork_process_fork() for a process with spares, and of the spares. */
struct afork_spare_stats {
    unsigned ready;    /* there now, or being forked */
    uint64_t hits;     /* a spare was handed out */
    uint64_t misses;   /* there was none: it was forked when asked for */
    uint64_t renewals; /* spares that were out of date */
    uint64_t lost;     /* spares that ended, or could not be forked */
};

/* The numbers since the first afork_process_set_spares(), also after run; all zero without. */
AFORK_EXPORT int afork_process_get_spare_stats(struct afork_process *process,
                                               struct afork_spare_stats *ret);

/* Evaluates `code` in package main, with the strings that follow, up to a NULL, in @_ and the
 * pending arguments in @arg. If it dies, so does the process (AFORK_CAUSE_EVAL). */
AFORK_EXPORT int afork_process_eval(struct afork_process *process, const char *code,
                                    ...) AFORK_SENTINEL;

/* The same for octets: `strings[0]` is the code, the other `n` - 1 are @_. Copied.
 * Errors: -EMSGSIZE (4 GiB or more in all). */
AFORK_EXPORT int afork_process_eval_iov(struct afork_process *process, const struct iovec *strings,
                                        size_t n);

/* Loads the modules named, up to a NULL. A name is of the form Some::Module (-EINVAL otherwise). If
 * one cannot be loaded, the process dies (AFORK_CAUSE_REQUIRE). */
AFORK_EXPORT int afork_process_require(struct afork_process *process, const char *module,
                                       ...) AFORK_SENTINEL;

/* The same with a NULL-terminated list. */
AFORK_EXPORT int afork_process_require_list(struct afork_process *process,
                                            const char *const *modules);

/* Appends a descriptor to the arguments of the function; it arrives as a Perl file handle. `fd` is
 * duplicated: the caller may close its own at once. The flags of the open file are left alone.
 * Errors: -EBADF, -EMFILE. */
AFORK_EXPORT int afork_process_send_fd(struct afork_process *process, int fd);

/* Appends a string of `len` octets to the arguments of the function. Copied. `data` may be NULL if
 * `len` is 0. Errors: -EMSGSIZE (more than 2^32 - 6 octets). */
AFORK_EXPORT int afork_process_send_arg(struct afork_process *process, const void *data,
                                        size_t len);

/* The same without the copy: `data` is taken, and `release(data)` called once it was sent or
 * dropped, possibly before this call returns. */
AFORK_EXPORT int afork_process_send_arg_take(struct afork_process *process, void *data, size_t len,
                                             void (*release)(void *data));

/* Says what runs when the process, and what will be forked from it, ends: by return, exit, die or
 * end of file. An executed process has inherited nothing. To be told to a template before the
 * forks: a forked process that is told later counts what it has then as inherited. Initially
 * AFORK_EXIT_PERL.
 * Errors: -EINVAL (no such mode), -ENOTSUP (AFORK_PEER_ORIGINAL). */
AFORK_EXPORT int afork_process_set_exit_mode(struct afork_process *process,
                                             enum afork_exit_mode mode);

/* Makes the process, and what will be forked from it, end with the host: by SIGKILL at once, also
 * in the middle of a computation or a sleep, however the host ends, SIGKILL included. Without this,
 * a worker ends when it finds its channel closed.
 *
 * afork_context_close() of its context is the end of the host as well, whoever has the channel. The
 * process must not close the descriptor that this takes in it, as code does that closes all it
 * finds; an exec closes it: other programs that a worker starts are not ended, nor are its plain
 * forks. As long as a forked copy of the host lives that has not closed the context and did not
 * execute another program, the host has not ended. Where the process has no /proc, or the kernel is
 * older than Linux 5.6, it dies (AFORK_CAUSE_EVAL). Errors: -ENOTSUP (AFORK_PEER_ORIGINAL),
 * -EMFILE, -ENFILE. */
AFORK_EXPORT int afork_process_end_with_host(struct afork_process *process);
/* What happens when the kernel, or this afork-perl, cannot do what limits ask for. */
enum afork_unsupported {
    AFORK_UNSUPPORTED_ERROR, /* the process ends with AFORK_CAUSE_LIMITS */
    AFORK_UNSUPPORTED_WARN,  /* a warning says what is missing; the rest is done */
};

/* What a process may use and do. Start from AFORK_LIMITS_INIT: whatever is zero, false or NULL
 * is left as it is. Once set, limits are inherited by all that the process forks or executes,
 * and cannot be lifted. */
struct afork_limits {
    size_t size; /* sizeof(struct afork_limits), set by the initialiser */

    /* Octets of address space (RLIMIT_AS). What needs more fails; perl then says "Out of
     * memory!" on its standard error and exits with status 1. Where it, or a library, does not
     * look whether it was given memory, and where the stack has to grow, the end is SIGSEGV. The
     * copy-on-write memory of a forked process counts in full, and so does what a mapped file
     * takes. At most INT64_MAX. */
    uint64_t memory;

    /* Seconds of CPU time of each process by itself (RLIMIT_CPU); a fork starts at 0. SIGXCPU ends
     * what used them up, and one second later SIGKILL what had a handler for that. At most
     * UINT32_MAX. */
    uint64_t cpu_seconds;

    /* Octets that a file may have after a write (RLIMIT_FSIZE), also one that is standard output or
     * error. SIGXFSZ ends who wants to write more. At most INT64_MAX. */
    uint64_t file_size;

    /* Descriptors (RLIMIT_NOFILE), all that afork uses in the process included: at least 16. */
    unsigned open_files;

    /* The nice value: 1 to 19, the least favoured. One that is higher already stays, and is no
     * error: whoever runs a program under nice(1) wants just that. */
    int nice;

    /* No privileges are gained by executing set-user-ID programs and the like. Implied by
     * everything below this, as the kernel demands. */
    bool no_new_privileges;

    /* No sockets are made but pairs of connected ones (AF_UNIX, not datagrams), and none is
     * bound or connected, whatever its family: neither another machine nor another program here
     * is reached. -EPERM is what the process sees. Sockets that are open when this is set, or
     * are handed over later, work on: one that listens accepts. io_uring, which goes around all
     * this, is refused. */
    bool no_network;

    /* No processes are made: fork, system and the like fail with EPERM; threads can be made.
     * exec, which makes none, works. If it is set without `forks_only`, the server itself cannot
     * be forked any more: that fails with AFORK_CAUSE_FORK. With it, what is forked cannot be. A pool
     * forks twice, and is refused in both cases: its workers get this by the pool's options. */
    bool no_new_processes;

    /* No signals are sent to processes that are not confined with this one: only to itself and to
     * what it forks, unless that is given `no_signals` once more. EPERM is what it sees, also where
     * it asks with signal 0 whether another is there. Signals to it are not touched. By Landlock,
     * from Linux 6.12 on. */
    bool no_signals;

    /* Confinement of files (Landlock): NULL-terminated lists of absolute paths, of files or of
     * directories with all below them. NULL: not confined; an empty list: nothing at all. They are
     * looked up when the limits are set, in the process: one that is not there is an error.
     * Descriptors that are open, or are handed over later, are not touched.
     *   - To read is to read files, to list directories, and to execute. Modules that are loaded
     *     later are read; so require first, then confine.
     *   - To write is to write to files, to truncate, make, remove, rename and link them, and to
     *     control devices (from Linux 6.10 on). It does not include reading. A program that writes to
     *     /dev/null needs that path here.
     * Not covered by the kernel: stat, chdir, chmod, chown, utime, setxattr, access to sockets. */
    const char *const *read_paths, *const *write_paths;

    enum afork_unsupported unsupported;

    /* False: the process itself is limited, when it comes to this command; all it forks later
     * inherits that. True: it stays free, also if it is told to run, so that a template can go
     * on loading modules and its CPU time does not count; what is forked from it from now on
     * limits itself before any code runs. Everything that can be is checked and prepared once,
     * by the template. */
    bool forks_only;
};

#define AFORK_LIMITS_INIT                                                                          \
    {                                                                                              \
        .size = sizeof(struct afork_limits)                                                        \
    }

/* Limits the process from this place in the queue on. `limits` is copied. Limits only ever become
 * narrower: each call adds to those before, and one that asks for more than is in force (of all but
 * the nice value), also where the kernel would allow it to root, is an error of the process, as is a
 * path that is not there, more than 16 calls with paths, less memory or fewer descriptors than are in
 * use already, and what the kernel cannot do. The process then ends with AFORK_CAUSE_LIMITS.
 * Errors: -EINVAL (a value that is out of range, a path that is not absolute), -ENAMETOOLONG,
 * -ENOTSUP (a peer of kind AFORK_PEER_ORIGINAL). */
AFORK_EXPORT int afork_process_set_limits(struct afork_process *process,
                                          const struct afork_limits *limits);

/* Ends the life as a server: calls `function`, looked up in package main unless it is qualified,
 * with the channel and the arguments sent. Later commands return -EINVAL; pid, kill, on_exit, ref
 * and unref stay legal.
 *
 * `cb` may be NULL: then the host's end of the channel is closed when all was sent. With a peer of
 * kind AFORK_PEER_ORIGINAL, which does not report, `cb` comes when every command has been written.
 * If the function dies or returns, the process exits as Perl does; that is an exit, told by
 * afork_process_on_exit(), not a failure to run. */
AFORK_EXPORT int afork_process_run(struct afork_process *process, const char *function,
                                   afork_run_cb *cb, void *data);

/* The same with data that is owned, for adapters and bindings: `release(data)` is called once,
 * after `cb` has returned, or from afork_process_close() or afork_context_close(), when `cb`
 * will not be called any more. If this call fails, it is not called. `cb` must not be NULL;
 * `release` may. */
AFORK_EXPORT int afork_process_run_full(struct afork_process *process, const char *function,
                                        afork_run_cb *cb, void *data, void (*release)(void *data));

/* Called once for each afork_process_to_fd(), with either
 *   - `fd` >= 0 and `failure` NULL: the command socket, a stream socket, non-blocking and
 *     close-on-exec, which the callback owns. Closing it ends the server.
 *   - `fd` a negative errno and `failure`, as afork_run_cb. */
typedef void afork_to_fd_cb(struct afork_process *process, int fd, const struct afork_exit *failure,
                            void *data);

/* Hands the server over to another program, which gets the socket that `cb` is given (over a Unix
 * socket with SCM_RIGHTS, say) and makes a process of it: with afork_process_new_from_fd(), or with
 * `new_from_fh` of Perl's AnyEvent::Fork. The server keeps all that was sent to it. Later commands
 * return -EINVAL; on_exit, ref and unref stay legal.
 *
 * `cb` comes when a peer of kind AFORK_PEER_OWN has obeyed all that was queued, and from then on
 * depends on nothing of this host; with AFORK_PEER_ORIGINAL when all was written. By then the
 * process has ended as far as this host knows: the notice of its end is AFORK_CAUSE_UNKNOWN, its
 * pid 0, and afork_process_kill() returns -ESRCH. Nothing is told of what becomes of it; a child of
 * this host is still reaped by it. What was forked from it before stays here, and its end is told
 * without the status. A standard error of mode AFORK_STDIO_TAIL, which nobody reads any more,
 * becomes /dev/null; that of AFORK_PEER_ORIGINAL is a pipe that breaks with this context.
 *
 * The server outlives the host and its context. If the context or the process is closed before `cb`
 * came, it ends. Errors: -EINVAL (it was told to run or handed over; no `cb`), -ESRCH (it ended). */
AFORK_EXPORT int afork_process_to_fd(struct afork_process *process, afork_to_fd_cb *cb, void *data);

/* The same with data that is owned, as afork_process_run_full() has it. */
AFORK_EXPORT int afork_process_to_fd_full(struct afork_process *process, afork_to_fd_cb *cb,
                                          void *data, void (*release)(void *data));

/* Adopts a server that another program has handed over: with afork_process_to_fd(), or with `to_fh`
 * of Perl's AnyEvent::Fork. It is as that program left it: code, pending arguments and all.
 *
 * `fd`, its command socket, is taken on success. It is made close-on-exec, moved above 2, and made
 * non-blocking, which also concerns whoever else has this socket; nobody should.
 *
 * `peer` says what the server is, not who handed it over:
 *   - AFORK_PEER_OWN: afork-perl, also one that served an AnyEvent::Fork program. It reports here from
 *     now on: its pid, its errors, and all about what is forked from it. Only its own end is known
 *     without the status, since another program reaps it. Host and server must be in one pid
 *     namespace.
 *   - AFORK_PEER_ORIGINAL: any. It is given commands only.
 * A wrong AFORK_PEER_OWN is AFORK_CAUSE_PROTOCOL, told by the callbacks, and ends the server. So
 * is, and does, the attempt to adopt one that has a host already, by a copy of its socket.
 *
 * Returned; release with afork_process_unref(). Its end is as that of any server: the last
 * reference or the context's end, before run. Errors: -EBADF, -ENOTSOCK, -EAFNOSUPPORT (not a Unix
 * socket), -EPROTOTYPE (not a stream), -ENOTCONN (listening, or not connected), -ECONNRESET (the
 * server is gone), -EPROTO (octets wait in it, which no server sends), -EMFILE. */
AFORK_EXPORT AFORK_NODISCARD int afork_process_new_from_fd(struct afork_context *context, int fd,
                                                           enum afork_peer peer,
                                                           struct afork_process **ret);

/* Asks for a notice of the end of `process`, whatever it is: one callback, also if it ended long
 * ago, also after run, also after the handle was released. A second call replaces the first
 * callback as long as it has not run; `cb` NULL removes it.
 *
 * What AFORK_PEER_ORIGINAL does not report is AFORK_CAUSE_UNKNOWN; it comes right after run's
 * callback for a process that is not a direct child. */
AFORK_EXPORT int afork_process_on_exit(struct afork_process *process, afork_exit_cb *cb,
                                       void *data);

/* The loop of the context that `process` was made on, for adapters; borrowed, lives as long as its
 * user keeps it. NULL once the context was closed, and in a forked copy of the host. */
AFORK_EXPORT struct afork_loop *afork_process_get_loop(struct afork_process *process);

/* The pid of a direct child of the host (afork_process_new_exec(); the command of a remote process)
 * that has not ended; else 0. */
AFORK_EXPORT pid_t afork_process_pid(struct afork_process *process);

/* The pid of any process of AFORK_PEER_OWN that is known to run, else 0: it is reported when the
 * process was forked, and ends with its exit. */
AFORK_EXPORT pid_t afork_process_peer_pid(struct afork_process *process);

/* Sends a signal. It cannot hit another process that was given the same pid, unless code evaluated
 * in a template reaps processes that it did not make. A signal to a process that is not known to
 * run yet is sent as soon as it is.
 * Errors: -EINVAL (no such signal), -EPERM, -ESRCH (it ended), -ENOTSUP (a process whose peer
 * does not report pids). */
AFORK_EXPORT int afork_process_kill(struct afork_process *process, int signal);

/* Adds a reference; returns `process`. */
AFORK_EXPORT struct afork_process *afork_process_ref(struct afork_process *process);

/* Releases a reference. With the last one, before run: the server ends after all that was queued,
 * forks included; after run: the worker is left alone. Callbacks that were asked for still come. */
AFORK_EXPORT void afork_process_unref(struct afork_process *process);

/* Drops the queue, ends a server that was not told to run, and makes sure that no callback for
 * `process` comes any more. Does not release the reference. A second call does nothing. */
AFORK_EXPORT void afork_process_close(struct afork_process *process);

AFORK_END_DECLS

#endif
