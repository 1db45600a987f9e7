/* SPDX-License-Identifier: MIT
 *
 * Remote processes: perls that are started by any command, on another machine for instance.
 *
 * All that is needed there is a perl; what it has to run is sent to its standard input. A remote
 * process is a struct afork_process like any other, but commands are only recorded, and the perl is
 * started by afork_process_run(): each process that is run is a perl of its own, and
 * afork_process_fork() copies the record. It cannot be handed over, limited, sent descriptors or
 * kept in spare (-ENOTSUP), and its end is that of the command.
 *
 * The function is called with a handle that is standard input, followed by the arguments. It writes
 * to STDOUT: `my $wfh = fileno $rfh ? $rfh : *STDOUT` works in any kind of worker. The back ends of
 * afork-rpc.h do that, so that RPC and pools work with remote processes.
 */
#ifndef AFORK_REMOTE_H
#define AFORK_REMOTE_H

#if !defined(AFORK_H_INSIDE) && !defined(AFORK_COMPILATION)
#error "include <afork/afork.h> instead of this header"
#endif

#include "afork-context.h"
#include "afork-process.h"

AFORK_BEGIN_DECLS

/* Supplies a connection to a perl that was started without arguments, and reads its program from the
 * other end: called for each process that is run, from the loop. Returns a stream socket, which is
 * taken, or a negative errno. */
typedef int afork_remote_connect_cb(void *data);

/* Options of a remote process. Start from AFORK_REMOTE_OPTIONS_INIT. Strings are copied. */
struct afork_remote_options {
    size_t size; /* sizeof(struct afork_remote_options), set by the initialiser */

    /* The command, NULL-terminated, that ends in a perl with its standard input and output intact:
     * { "ssh", "host", "perl", NULL }. Searched in PATH if it holds no slash. A shell on the far side
     * has not to be quoted for: nothing is appended. */
    const char *const *argv;

    /* Or this, with its data. */
    afork_remote_connect_cb *connect;
    void *connect_data;

    /* Microseconds until the perl must have answered; 0: 30 s. */
    int64_t start_timeout;

    /* Octets of noise that the command may print before the perl answers (banners of login files);
     * more is an error that quotes it. 0: 64 KiB. With `strict`, any noise is. */
    size_t noise_max;
    bool strict;
};

#define AFORK_REMOTE_OPTIONS_INIT                                                                  \
    {                                                                                              \
        .size = sizeof(struct afork_remote_options)                                                \
    }

/* A remote process. Returned; release with afork_process_unref(). What goes wrong when it is run is told
 * by the callbacks of afork_process_run() and afork_process_on_exit(): AFORK_CAUSE_START (the command
 * could not be executed, ended, printed noise, or did not answer in time), AFORK_CAUSE_EVAL,
 * AFORK_CAUSE_REQUIRE, AFORK_CAUSE_FUNCTION as for any process. The command's standard error goes
 * where the context's options say. Errors: -EINVAL (neither or both of `argv` and `connect`). */
AFORK_EXPORT AFORK_NODISCARD int afork_process_new_remote(
    struct afork_context *context, const struct afork_remote_options *options,
    struct afork_process **ret);

AFORK_END_DECLS

#endif
