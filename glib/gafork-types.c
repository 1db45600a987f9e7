/* SPDX-License-Identifier: MIT
 *
 * The enumerations and errors of the GObject layer, and how the core's become these.
 */
#define AFORK_GLIB_COMPILATION

#include "gafork-types.h"

#include <errno.h>
#include <string.h>

#include "gafork-call-private.h"

/**
 * GAforkPeer:
 * @GAFORK_PEER_OWN: `afork-perl`, which reports pids, entries, errors and ends
 * @GAFORK_PEER_ORIGINAL: any perl with `AFork::Serve` or `AnyEvent::Fork::Serve`, which only obeys
 *
 * The program at the other end of a command socket. It is stated by the user, never guessed.
 *
 * Since: 0.1
 */

/**
 * GAforkStdio:
 * @GAFORK_STDIO_DEFAULT: standard input is null, output and error are inherited
 * @GAFORK_STDIO_INHERIT: that of this program
 * @GAFORK_STDIO_NULL: `/dev/null`
 * @GAFORK_STDIO_FD: a descriptor, named by a property of its own
 * @GAFORK_STDIO_TAIL: standard error only: the last 4 KiB are kept for
 *   [method@Afork.Exit.get_stderr_tail]; who outlives the context finds the pipe broken
 *
 * What standard input, output or error of an executed perl, and of all that is forked from it, is.
 *
 * Since: 0.1
 */

/**
 * GAforkThreads:
 * @GAFORK_THREADS_WARN: fork, and warn, naming the command that started them
 * @GAFORK_THREADS_REFUSE: do not fork; the new process fails with %GAFORK_ERROR_FORK
 *
 * What a server does when it is told to fork while it runs more than one thread. Only the forking
 * thread exists in the child; locks held by the others stay locked there for ever.
 *
 * Since: 0.1
 */

/**
 * GAforkExitMode:
 * @GAFORK_EXIT_MODE_PERL: as perl ends: END blocks and destructors, inherited ones too
 * @GAFORK_EXIT_MODE_QUICK: output is flushed; of END blocks and destructors only those that were
 *   added after the fork run
 *
 * What runs when a forked process ends, which has copies of what its template had loaded and made.
 *
 * Since: 0.1
 */

/**
 * GAforkUnsupported:
 * @GAFORK_UNSUPPORTED_ERROR: the process ends with %GAFORK_CAUSE_LIMITS
 * @GAFORK_UNSUPPORTED_WARN: a warning says what is missing; the rest is done
 *
 * What happens when the kernel, or the `afork-perl`, cannot do what limits ask for.
 *
 * Since: 0.1
 */

/**
 * GAforkCause:
 * @GAFORK_CAUSE_UNKNOWN: it is gone, and nobody knows how
 * @GAFORK_CAUSE_EXITED: it exited
 * @GAFORK_CAUSE_SIGNALLED: a signal killed it
 * @GAFORK_CAUSE_START: the perl ended before it could serve
 * @GAFORK_CAUSE_EVAL: evaluated code, or a hook after the fork, died
 * @GAFORK_CAUSE_REQUIRE: a module could not be loaded
 * @GAFORK_CAUSE_FUNCTION: the function to run does not exist
 * @GAFORK_CAUSE_FORK: the template could not fork, or was gone before it did
 * @GAFORK_CAUSE_PROTOCOL: the peer sent or received what it cannot have been sent
 * @GAFORK_CAUSE_LIMITS: limits could not be set; the message names limit, path and error
 *
 * Why a process ended. The codes of [error@Afork.Error] begin with the same.
 *
 * Since: 0.1
 */

/**
 * GAforkFrames:
 * @GAFORK_FRAMES_OWN: those of `AFork::RPC`, with exceptions, events of calls, and descriptors
 * @GAFORK_FRAMES_ORIGINAL: those of `AnyEvent::Fork::RPC`, octet for octet: an exception ends the
 *   worker, and all events are the worker's
 *
 * What goes to and fro between the program and a worker that is called.
 *
 * Since: 0.1
 */

/**
 * GAforkSerialiser:
 * @GAFORK_SERIALISER_OCTETS: strings of octets, which are what Perl's strings are
 * @GAFORK_SERIALISER_JSON: JSON, by JSON::XS or JSON::PP
 * @GAFORK_SERIALISER_STORABLE: Storable's format of the perl and the machine
 * @GAFORK_SERIALISER_NSTORABLE: Storable's portable format
 * @GAFORK_SERIALISER_CUSTOM: Perl code of the program
 *
 * How lists of Perl values become octets. Only the first two are known on this side, too; of the
 * others a program sees the octets.
 *
 * Since: 0.1
 */

/**
 * GAforkCrash:
 * @GAFORK_CRASH_FAIL: it fails
 * @GAFORK_CRASH_RETRY_ONCE: it is given to another worker once, and fails the second time
 *
 * What becomes of a call whose worker ended while it worked on it. Calls that the worker had not
 * begun go back to the queue in any case.
 *
 * Since: 0.1
 */

/**
 * GAforkCancelMode:
 * @GAFORK_CANCEL_MODE_QUEUED: nothing: only a call that no worker has is cancelled; one that a worker
 *   has goes on and returns as if nothing had happened
 * @GAFORK_CANCEL_MODE_ABANDON: the call returns at once; a worker that has it goes on, and its answer
 *   is dropped
 * @GAFORK_CANCEL_MODE_KILL: pools only: the same, but a worker that is at work on it is killed and
 *   replaced
 *
 * What is done for the sake of a cancellation.
 *
 * Since: 0.1
 */

/**
 * GAforkError:
 * @GAFORK_ERROR_UNKNOWN: the process is gone, and nobody knows how
 * @GAFORK_ERROR_EXITED: it exited before it entered the function, or answered the call
 * @GAFORK_ERROR_SIGNALLED: a signal killed it before it entered the function, or answered the call
 * @GAFORK_ERROR_START: the perl ended before it could serve
 * @GAFORK_ERROR_EVAL: evaluated code, or a hook after the fork, died; the message is Perl's
 * @GAFORK_ERROR_REQUIRE: a module could not be loaded; the message is Perl's
 * @GAFORK_ERROR_FUNCTION: the function to run, or to call, does not exist; or what a worker needs
 *   before it is called, its serialiser or its `init`, failed; the message is Perl's
 * @GAFORK_ERROR_FORK: the template could not fork, or was gone before it did
 * @GAFORK_ERROR_PROTOCOL: the peer sent or received what it cannot have been sent
 * @GAFORK_ERROR_LIMITS: limits could not be set; the message names limit, path and error
 * @GAFORK_ERROR_DIED: the function that was called died; the message is Perl's. The worker lives
 * @GAFORK_ERROR_BROKEN: too many workers of the pool failed one after the other, and none began the
 *   call; see [property@Afork.Pool:failure] and [method@Afork.Pool.reset]
 *
 * Errors of a Perl process: what stopped it before it entered its function, or before it answered a
 * call. What a method itself could not do is an error of [error@Gio.IOErrorEnum].
 *
 * Since: 0.1
 */

/**
 * gafork_error_quark:
 *
 * The domain of the errors in [error@Afork.Error].
 *
 * Returns: the quark
 *
 * Since: 0.1
 */
GQuark gafork_error_quark(void)
{
    return g_quark_from_static_string("gafork-error-quark");
}

#define SAME(ours, core) G_STATIC_ASSERT((int)(ours) == (int)(core))

SAME(GAFORK_PEER_OWN, AFORK_PEER_OWN);
SAME(GAFORK_PEER_ORIGINAL, AFORK_PEER_ORIGINAL);

SAME(GAFORK_STDIO_DEFAULT, AFORK_STDIO_DEFAULT);
SAME(GAFORK_STDIO_INHERIT, AFORK_STDIO_INHERIT);
SAME(GAFORK_STDIO_NULL, AFORK_STDIO_NULL);
SAME(GAFORK_STDIO_FD, AFORK_STDIO_FD);
SAME(GAFORK_STDIO_TAIL, AFORK_STDIO_TAIL);

SAME(GAFORK_THREADS_WARN, AFORK_THREADS_WARN);
SAME(GAFORK_THREADS_REFUSE, AFORK_THREADS_REFUSE);

SAME(GAFORK_EXIT_MODE_PERL, AFORK_EXIT_PERL);
SAME(GAFORK_EXIT_MODE_QUICK, AFORK_EXIT_QUICK);

SAME(GAFORK_UNSUPPORTED_ERROR, AFORK_UNSUPPORTED_ERROR);
SAME(GAFORK_UNSUPPORTED_WARN, AFORK_UNSUPPORTED_WARN);

SAME(GAFORK_FRAMES_OWN, AFORK_RPC_FRAMES_OWN);
SAME(GAFORK_FRAMES_ORIGINAL, AFORK_RPC_FRAMES_ORIGINAL);

SAME(GAFORK_CRASH_FAIL, AFORK_CRASH_FAIL);
SAME(GAFORK_CRASH_RETRY_ONCE, AFORK_CRASH_RETRY_ONCE);

SAME(GAFORK_CANCEL_MODE_QUEUED, AFORK_CANCEL_QUEUED);
SAME(GAFORK_CANCEL_MODE_ABANDON, AFORK_CANCEL_ABANDON);
SAME(GAFORK_CANCEL_MODE_KILL, AFORK_CANCEL_KILL);

#define SAME_CAUSE(name)                                                                           \
    SAME(GAFORK_CAUSE_##name, AFORK_CAUSE_##name);                                                 \
    SAME(GAFORK_ERROR_##name, AFORK_CAUSE_##name)

SAME_CAUSE(UNKNOWN);
SAME_CAUSE(EXITED);
SAME_CAUSE(SIGNALLED);
SAME_CAUSE(START);
SAME_CAUSE(EVAL);
SAME_CAUSE(REQUIRE);
SAME_CAUSE(FUNCTION);
SAME_CAUSE(FORK);
SAME_CAUSE(PROTOCOL);
SAME_CAUSE(LIMITS);

char *gafork__text(const char *octets, gssize len)
{
    return g_strchomp(g_utf8_make_valid(octets, len));
}

GError *gafork__error_new(const struct afork_exit *failure)
{
    g_autofree char *text = gafork__text(failure->message, -1);

    return g_error_new_literal(GAFORK_ERROR, (int)failure->cause, text);
}

gboolean gafork__check(int result, GError **error)
{
    if (result >= 0)
        return TRUE;
    int code = g_io_error_from_errno(-result);
    const char *text = g_strerror(-result);
    if (result == -ESHUTDOWN) {
        code = G_IO_ERROR_CLOSED;
        text = "the process or its context was closed";
    } else if (result == -ESRCH) {
        code = G_IO_ERROR_NOT_FOUND;
        text = "the process has ended";
    } else if (result == -ECHILD) {
        text = "the object belongs to the program that this one was forked from";
    }
    g_set_error_literal(error, G_IO_ERROR, code, text);
    return FALSE;
}

GError *gafork__reply_error_new(int error, const char *message, const struct afork_exit *exit)
{
    g_autofree char *text = gafork__text(message, -1);

    if (error == -EREMOTEIO)
        return g_error_new_literal(GAFORK_ERROR, GAFORK_ERROR_DIED, text);
    if (error == -ESHUTDOWN) /* its process was closed */
        return g_error_new_literal(G_IO_ERROR, G_IO_ERROR_CLOSED, "the process was closed");
    if (exit && exit->cause > AFORK_CAUSE_SIGNALLED) /* it never began */
        return g_error_new_literal(GAFORK_ERROR, (int)exit->cause, text);
    if (error == -EPROTO)
        return g_error_new_literal(GAFORK_ERROR, GAFORK_ERROR_PROTOCOL, text);
    if (error == -ETIMEDOUT || error == -ECANCELED || error == -ENOMEM || error == -EMFILE ||
        (!exit && error != -ECONNRESET && error != -ENOEXEC))
        return g_error_new_literal(G_IO_ERROR, g_io_error_from_errno(-error), text);
    if (error == -ENOEXEC && (!exit || exit->cause == AFORK_CAUSE_EXITED)) /* it said why */
        return g_error_new_literal(GAFORK_ERROR, GAFORK_ERROR_FUNCTION, text);
    return g_error_new_literal(GAFORK_ERROR, exit ? (int)exit->cause : GAFORK_ERROR_UNKNOWN, text);
}

GUnixFDList *gafork__fd_list_new(int *fds, size_t n_fds)
{
    if (!n_fds)
        return NULL;
    GUnixFDList *list = g_unix_fd_list_new_from_array(fds, (int)n_fds);
    for (size_t i = 0; i < n_fds; i++)
        fds[i] = -1;
    return list;
}
