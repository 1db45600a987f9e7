/* SPDX-License-Identifier: MIT
 *
 * A context: what a host sets up once per event loop. It knows which perl to execute and how, owns
 * the default template behind afork_process_new(), and receives what the Perl processes report.
 */
#ifndef AFORK_CONTEXT_H
#define AFORK_CONTEXT_H

#if !defined(AFORK_H_INSIDE) && !defined(AFORK_COMPILATION)
#error "include <afork/afork.h> instead of this header"
#endif

#include "afork-types.h"

AFORK_BEGIN_DECLS

/* The program at the other end of a command socket. Stated by the user, never guessed. */
enum afork_peer {
    AFORK_PEER_OWN,      /* afork-perl: reports pids, entries, errors and exits */
    AFORK_PEER_ORIGINAL, /* any perl with AFork::Serve or AnyEvent::Fork::Serve: the commands only */
};

/* What a descriptor 0, 1 or 2 of an executed perl, and of all that is forked from it, is. */
enum afork_stdio_mode {
    AFORK_STDIO_DEFAULT, /* standard input: null; output and error: inherit */
    AFORK_STDIO_INHERIT, /* the host's; /dev/null where the host has it closed */
    AFORK_STDIO_NULL,    /* /dev/null */
    AFORK_STDIO_FD,      /* the descriptor in `fd`, duplicated when the context is made */
    AFORK_STDIO_TAIL, /* standard error only: for each process a pipe that the loop reads; the last
                            4 KiB are in the notice of its end. It takes a descriptor of the host for
                            each process. What AFORK_PEER_ORIGINAL forks shares its template's. A
                            worker that outlives the context finds the pipe broken (SIGPIPE). */
};

struct afork_stdio {
    enum afork_stdio_mode mode;
    int fd; /* used with AFORK_STDIO_FD only */
};

/* What a server does when it is told to fork while it runs more than one thread: only the forking
 * thread exists in the child, and locks held by the others stay locked for ever. */
enum afork_threads {
    AFORK_THREADS_WARN,   /* fork, and report a warning that names the command that started them */
    AFORK_THREADS_REFUSE, /* do not fork; the new process fails with AFORK_CAUSE_FORK */
};

/* Options of a context. Start from AFORK_CONTEXT_OPTIONS_INIT: whatever is zero or NULL has its
 * default. All strings, lists and descriptors are copied. */
struct afork_context_options {
    size_t size; /* sizeof(struct afork_context_options), set by the initialiser */

    /* The perl to execute; searched in PATH if it holds no slash. NULL: the environment variable
     * AFORK_PERL, else the afork-perl of this installation, else the perl that configure found. A
     * perl that is not afork-perl needs `peer` set. */
    const char *perl;
    enum afork_peer peer;

    /* The module whose function `me` serves, for AFORK_PEER_ORIGINAL only. NULL: AFork::Serve,
     * which is part of afork and needs IO::FDPass; or "AnyEvent::Fork::Serve". */
    const char *serve_module;

    /* Directories that are put in front of @INC; NULL-terminated list or NULL. */
    const char *const *include_dirs;

    /* The environment as NULL-terminated list of NAME=value. NULL: the host's, taken anew at each
     * start. */
    const char *const *environment;

    /* Changes to that environment: NAME=value adds or replaces, NAME drops. NULL-terminated list or
     * NULL. */
    const char *const *environment_changes;

    /* Working directory; NULL: the host's at the time of the start. */
    const char *working_directory;

    struct afork_stdio standard_input, standard_output, standard_error;

    /* Start each executed perl in a session of its own, so that signals from a terminal (Ctrl-C)
     * reach the host alone. */
    bool new_session;

    enum afork_threads threads;

    /* Spares of the default template, for afork_process_new(); see afork_process_set_spares().
     * Not with AFORK_PEER_ORIGINAL. */
    unsigned spares;

    /* Called for every warning of a server, and when a default template has ended by itself;
     * NULL: warnings are dropped. `process` is NULL where the server is the default template or
     * its handle was released. `message` is NUL-terminated and valid during the call. */
    void (*on_warning)(struct afork_context *context, struct afork_process *process,
                       const char *message, void *data);
    void *warning_data;
};

#define AFORK_CONTEXT_OPTIONS_INIT                                                                 \
    {                                                                                              \
        .size = sizeof(struct afork_context_options)                                               \
    }

/* Makes a context on `loop`, which is borrowed until afork_context_close(). `options` is copied;
 * NULL: defaults. Nothing is executed yet. Returned; end with afork_context_close().
 * Errors: -EINVAL (an option that contradicts another, a list entry without a name, a loop whose
 * operations are incomplete), -EBADF (a bad descriptor), -EMFILE, -ENFILE. */
AFORK_EXPORT AFORK_NODISCARD int afork_context_new(struct afork_loop *loop,
                                                   const struct afork_context_options *options,
                                                   struct afork_context **ret);

/* Ends everything of this context and releases it: queues are dropped, servers end, workers see
 * the end of file only if their channel was not handed out. On return no descriptor, watcher or
 * callback of it is left; handles on its processes stay valid for afork_process_unref(), and
 * other calls on them return -ESHUTDOWN. In a forked copy of the host only memory is released:
 * the watchers stay in the loop, which must be released there as well before it turns. Never
 * waits: an executed perl that has not ended by then is reaped when a context is made or closed,
 * or a perl executed, the next time. May be called from any callback. */
AFORK_EXPORT void afork_context_close(struct afork_context *context);

/* What there is of this context now, as JSON: the tree of its processes with state, pid,
 * function, age, memory and spares, and the last error; for people who look for a fault. The
 * format may grow. It looks at each process in /proc, which takes the time of about a fork.
 * `*ret` is UTF-8, returned; release it with free(). */
AFORK_EXPORT int afork_context_dump(struct afork_context *context, char **ret);

/* The perl that the next start would execute, as found by the rules of the options; for messages.
 * Borrowed until the next call of this function or of afork_context_set_perl(). */
AFORK_EXPORT const char *afork_context_get_perl(struct afork_context *context);

/* What became of calls of afork_process_new() with spares, over all default templates there
 * were. */
AFORK_EXPORT int afork_context_get_spare_stats(struct afork_context *context,
                                               struct afork_spare_stats *ret);

/* Changes the perl for later starts. The default template that runs is kept for its children, and
 * replaced at the next afork_process_new(). `perl` and `serve_module` as in the options. */
AFORK_EXPORT AFORK_NODISCARD int afork_context_set_perl(struct afork_context *context,
                                                        const char *perl, enum afork_peer peer,
                                                        const char *serve_module);

AFORK_END_DECLS

#endif
