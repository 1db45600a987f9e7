/* SPDX-License-Identifier: MIT
 *
 * GAforkExit: what the core tells of an end, kept. It is opaque, so that it can grow.
 */
#define AFORK_GLIB_COMPILATION

#include "gafork-exit.h"

#include "gafork-private.h"

/**
 * GAforkExit:
 *
 * How a process ended: why, with which status, and what it used. It does not change any more.
 *
 * Since: 0.1
 */
struct _GAforkExit {
    gatomicrefcount refs;
    GAforkCause cause;
    char *message, *stderr_tail;
    int wait_status, status;
    gint64 user_time, system_time, max_rss; /* -1: not known */
};

G_DEFINE_BOXED_TYPE(GAforkExit, gafork_exit, gafork_exit_ref, gafork_exit_unref)

static gint64 usec(struct timeval time)
{
    return (gint64)time.tv_sec * G_USEC_PER_SEC + time.tv_usec;
}

GAforkExit *gafork__exit_new(const struct afork_exit *core)
{
    GAforkExit *self = g_new0(GAforkExit, 1);

    g_atomic_ref_count_init(&self->refs);
    self->cause = (GAforkCause)core->cause;
    self->message = gafork__text(core->message, -1);
    self->stderr_tail = gafork__text(core->stderr_tail, (gssize)core->stderr_tail_len);
    self->wait_status = core->wait_status;
    self->status = core->status;
    self->user_time = core->has_usage ? usec(core->usage.ru_utime) : -1;
    self->system_time = core->has_usage ? usec(core->usage.ru_stime) : -1;
    self->max_rss = core->has_usage ? (gint64)core->usage.ru_maxrss * 1024 : -1;
    return self;
}

/**
 * gafork_exit_ref:
 * @self: an exit
 *
 * Adds a reference.
 *
 * Returns: (transfer full): @self
 *
 * Since: 0.1
 */
GAforkExit *gafork_exit_ref(GAforkExit *self)
{
    g_return_val_if_fail(self != NULL, NULL);
    g_atomic_ref_count_inc(&self->refs);
    return self;
}

/**
 * gafork_exit_unref:
 * @self: (transfer full): an exit
 *
 * Releases a reference.
 *
 * Since: 0.1
 */
void gafork_exit_unref(GAforkExit *self)
{
    g_return_if_fail(self != NULL);
    if (!g_atomic_ref_count_dec(&self->refs))
        return;
    g_free(self->message);
    g_free(self->stderr_tail);
    g_free(self);
}

/**
 * gafork_exit_get_cause:
 * @self: an exit
 *
 * Tells why the process ended. Code, a module or a function that failed is a cause of its own,
 * whatever the exit status was.
 *
 * Returns: the cause
 *
 * Since: 0.1
 */
GAforkCause gafork_exit_get_cause(GAforkExit *self)
{
    g_return_val_if_fail(self != NULL, GAFORK_CAUSE_UNKNOWN);
    return self->cause;
}

/**
 * gafork_exit_get_message:
 * @self: an exit
 *
 * Explains the cause in words: Perl's own where it has any, without the newline at the end. What is
 * not UTF-8 is replaced.
 *
 * Returns: (transfer none): the text, may be empty
 *
 * Since: 0.1
 */
const char *gafork_exit_get_message(GAforkExit *self)
{
    g_return_val_if_fail(self != NULL, NULL);
    return self->message;
}

/**
 * gafork_exit_get_stderr_tail:
 * @self: an exit
 *
 * The last 4 KiB at most that the process wrote to its standard error, if that is kept
 * ([enum@Afork.Stdio]). Of a process whose template could not start it is what the template wrote.
 * Without the newline at the end; what is not UTF-8 is replaced.
 *
 * Returns: (transfer none): the text, may be empty
 *
 * Since: 0.1
 */
const char *gafork_exit_get_stderr_tail(GAforkExit *self)
{
    g_return_val_if_fail(self != NULL, NULL);
    return self->stderr_tail;
}

/**
 * gafork_exit_get_status:
 * @self: an exit
 *
 * The exit status, or the number of the signal that killed the process; which of them the
 * [method@Afork.Exit.get_wait_status] tells, and the cause unless something else went wrong before.
 *
 * Returns: the exit status or signal number, or -1 if it is not known
 *
 * Since: 0.1
 */
int gafork_exit_get_status(GAforkExit *self)
{
    g_return_val_if_fail(self != NULL, -1);
    return self->status;
}

/**
 * gafork_exit_get_wait_status:
 * @self: an exit
 *
 * The status as `waitpid()` tells it, for [func@GLib.spawn_check_wait_status] and the like.
 *
 * Returns: the wait status, or -1 if it is not known
 *
 * Since: 0.1
 */
int gafork_exit_get_wait_status(GAforkExit *self)
{
    g_return_val_if_fail(self != NULL, -1);
    return self->wait_status;
}

/**
 * gafork_exit_get_user_time:
 * @self: an exit
 *
 * The processor time that the process, and children it waited for, spent in user code.
 *
 * Returns: microseconds, or -1 if it is not known
 *
 * Since: 0.1
 */
gint64 gafork_exit_get_user_time(GAforkExit *self)
{
    g_return_val_if_fail(self != NULL, -1);
    return self->user_time;
}

/**
 * gafork_exit_get_system_time:
 * @self: an exit
 *
 * The processor time that the process, and children it waited for, spent in the kernel.
 *
 * Returns: microseconds, or -1 if it is not known
 *
 * Since: 0.1
 */
gint64 gafork_exit_get_system_time(GAforkExit *self)
{
    g_return_val_if_fail(self != NULL, -1);
    return self->system_time;
}

/**
 * gafork_exit_get_max_rss:
 * @self: an exit
 *
 * The most memory that the process, or a child it waited for, had resident.
 *
 * Returns: octets, or -1 if it is not known
 *
 * Since: 0.1
 */
gint64 gafork_exit_get_max_rss(GAforkExit *self)
{
    g_return_val_if_fail(self != NULL, -1);
    return self->max_rss;
}
