/* SPDX-License-Identifier: MIT
 *
 * Remote processes: perls that are started by any command, on another machine for instance.
 *
 * All that is needed there is a perl (5.10 or later, with the modules every perl has); what it has
 * to run is sent to its standard input. A remote process is a struct afork_process like any other,
 * but commands are only recorded, and the perl is started by afork_process_run(): each process that
 * is run is a perl of its own, and afork_process_fork() copies the record. It cannot be handed
 * over, limited, sent descriptors, given an exit mode, made to end with the host or kept in spare
 * (-ENOTSUP).
 *
 * Its pid, its end and the signals it gets are those of the command; before run it has no pid, and
 * afork_process_kill() is -ENOTSUP. A record that is released or closed without having been run
 * ends with AFORK_CAUSE_UNKNOWN.
 *
 * The function is called with *STDIN, followed by the arguments. It writes to STDOUT, which is
 * binary and not buffered: `my $wfh = fileno $rfh ? $rfh : *STDOUT` works in any kind of worker.
 * The back ends of afork-rpc.h do that, so that RPC and pools work with remote processes. While
 * code is evaluated and modules are loaded, STDIN is /dev/null and STDOUT goes where STDERR goes,
 * also for other programs that are started then, so that nothing gets between.
 */
#ifndef AFORK_REMOTE_H
#define AFORK_REMOTE_H

#if !defined(AFORK_H_INSIDE) && !defined(AFORK_COMPILATION)
#error "include <afork/afork.h> instead of this header"
#endif

#include "afork-context.h"
#include "afork-process.h"

AFORK_BEGIN_DECLS

/* Supplies a connection to a perl that was started without arguments, and has the other end as
 * standard input and output. Called once for each process that is run, from the loop, and may call
 * the library. Returns a stream socket of any family, which is taken, and is made non-blocking and
 * close-on-exec; or a negative errno. It must not wait for anything. */
typedef int afork_remote_connect_cb(void *data);

/* Options of a remote process. Start from AFORK_REMOTE_OPTIONS_INIT. Strings are copied. */
struct afork_remote_options {
    size_t size; /* sizeof(struct afork_remote_options), set by the initialiser */

    /* The command, NULL-terminated, that ends in a perl with its standard input and output intact:
     * { "ssh", "host", "perl", NULL }. Searched in PATH if it holds no slash. A shell on the far
     * side has not to be quoted for: nothing is appended. */
    const char *const *argv;

    /* Or this, with its data, borrowed until the last copy of the record was run or is gone. Such a
     * process is no child of the host and has no pid; once its function was entered, nothing more
     * is known of it here: the notice of its end (AFORK_CAUSE_UNKNOWN) comes right behind the
     * callback of run. */
    afork_remote_connect_cb *connect;
    void *connect_data;

    /* `connect_release(connect_data)` is called once, when the process and all copies of its record
     * are gone: released, and run or closed. That may be inside a call of this library, which it must
     * not call itself. If no process is made, it is not called. May be NULL. */
    void (*connect_release)(void *connect_data);

    /* Microseconds until the perl must have answered; 0: 30 s. What it is told to evaluate and load
     * takes as long as it takes. */
    int64_t start_timeout;

    /* Octets of noise that the command may print on its standard output before the function is
     * entered (banners of login files): it is skipped, and quoted by errors. More is an error. 0:
     * 64 KiB. With `strict`, any noise is. */
    size_t noise_max;
    bool strict;
};

#define AFORK_REMOTE_OPTIONS_INIT                                                                  \
    {                                                                                              \
        .size = sizeof(struct afork_remote_options)                                                \
    }

/* A remote process. Returned; release with afork_process_unref(). Nothing is started yet.
 *
 * afork_process_run() starts the command, with the environment, working directory, session and
 * standard error of the context's options; AFORK_STDIO_TAIL keeps the last of what it, and thus the
 * far perl, writes there. It returns -EMFILE, -ENFILE, -ENOMEM or -EAGAIN if that could not be had;
 * then nothing has changed, and the process may be run again. All else is told by the callbacks of
 * afork_process_run() and afork_process_on_exit():
 *   - AFORK_CAUSE_START: the command could not be executed (-ENOENT, -EACCES, ...) or connected
 * (the errno of `connect`, -ENOTSOCK, -EPROTOTYPE), ended (-ECONNRESET), printed too much
 * (-EPROTO), did not answer in time (-ETIMEDOUT) or closed its standard streams (-ECONNRESET). The
 * message names the command and quotes, in printable form, up to 200 octets of what it printed.
 *   - AFORK_CAUSE_EVAL, AFORK_CAUSE_REQUIRE, AFORK_CAUSE_FUNCTION: as for any process, with Perl's
 * text.
 *   - AFORK_CAUSE_PROTOCOL: what came behind a right answer makes no sense.
 * A command that was started, but fails to start a perl or is closed before its function was
 * entered, is killed by SIGKILL; what it has started itself, here or elsewhere, finds its standard
 * input closed.
 *
 * Errors: -EINVAL (neither or both of `argv` and `connect`, an empty command, a negative time),
 * -EMFILE, -ENFILE. */
AFORK_EXPORT AFORK_NODISCARD int
afork_process_new_remote(struct afork_context *context, const struct afork_remote_options *options,
                         struct afork_process **ret);

AFORK_END_DECLS

#endif
