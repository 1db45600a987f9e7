/* SPDX-License-Identifier: MIT
 *
 * GAforkProcess: servers handed over and adopted. Against the fake server; what the core does is in
 * test-handover.c and test-adopt.c.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "gafork-lib.h"

/* What handing over returned. */
struct handover {
    unsigned calls;
    int fd;
    GError *error;
};

static void on_fd(GObject *process, GAsyncResult *result, gpointer data)
{
    struct handover *handover = data;

    handover->calls++;
    handover->fd = gafork_process_to_fd_finish(GAFORK_PROCESS(process), result, &handover->error);
    g_assert_true((handover->fd < 0) == !!handover->error);
}

static GAforkContext *other_context(void)
{
    return g_object_new(GAFORK_TYPE_CONTEXT, "perl", test_built_file("fake-server"), NULL);
}

static void changes_hosts(struct gafork_test *f)
{
    g_autoptr(GAforkContext) other = other_context();
    g_autoptr(GAforkProcess) process = gafork_new(f);
    g_autoptr(GError) error = NULL;
    struct handover handover = {0};

    g_assert_true(gafork_process_eval(process, "code", NULL, NULL));
    gafork_process_to_fd_async(process, NULL, on_fd, &handover);
    g_assert_false(gafork_process_eval(process, "late", NULL, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
    g_assert_nonnull(strstr(error->message, "handed over"));
    GAforkExit *end = gafork_wait_exit(f, process);
    gafork_wait(f->main_context, handover.calls);
    g_assert_no_error(handover.error);
    g_assert_cmpint(gafork_exit_get_cause(end), ==, GAFORK_CAUSE_UNKNOWN);
    g_assert_nonnull(strstr(gafork_exit_get_message(end), "handed over"));
    g_assert_cmpint(gafork_process_get_peer_pid(process), ==, 0);

    g_autoptr(GAforkProcess)
        adopted = gafork_process_new_from_fd(other, handover.fd, GAFORK_PEER_OWN, NULL);
    g_assert_nonnull(adopted);
    g_autoptr(GAforkProcess) child = gafork_fork(adopted);
    g_autofree char *text = gafork_output(f, child, "dump");
    g_assert_cmpstr(text, ==, "code code\n");
    g_assert_cmpint(gafork_exit_get_status(gafork_wait_exit(f, child)), ==, 0);
    g_assert_cmpint(gafork_process_get_pid(adopted), ==, 0);
    g_assert_cmpint(gafork_process_get_peer_pid(adopted), >, 0);
    gafork_context_close(other);
}

static void errors_are_told(struct gafork_test *f)
{
    g_autoptr(GAforkProcess) process = gafork_new(f);
    g_autoptr(GError) error = NULL;
    struct handover handover = {0};

    g_assert_true(gafork_process_eval(process, "die it hurts", NULL, NULL));
    gafork_process_to_fd_async(process, NULL, on_fd, &handover);
    gafork_wait(f->main_context, handover.calls);
    g_assert_error(handover.error, GAFORK_ERROR, GAFORK_ERROR_EVAL);
    g_clear_error(&handover.error);

    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    g_assert_null(gafork_process_new_from_fd(gafork_context(f), null, GAFORK_PEER_OWN, &error));
    g_assert_nonnull(strstr(error->message, "no server can be adopted here: "));
    close(null);
}

/* Before the call nothing happens; later the socket is closed, and the server ends. */
static void cancelled(struct gafork_test *f)
{
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_autoptr(GAforkProcess) process = gafork_new(f);
    struct handover handover = {0};

    g_cancellable_cancel(cancellable);
    gafork_process_to_fd_async(process, cancellable, on_fd, &handover);
    gafork_wait(f->main_context, handover.calls);
    g_assert_error(handover.error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    g_clear_error(&handover.error);
    g_cancellable_reset(cancellable);

    gafork_process_to_fd_async(process, cancellable, on_fd, &handover);
    g_cancellable_cancel(cancellable);
    gafork_wait(f->main_context, handover.calls == 2);
    g_assert_error(handover.error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    g_clear_error(&handover.error);
    gafork_wait_exit(f, process);
}

/* Cancelled between the answer and the callback. */
static void cancelled_at_the_end(struct gafork_test *f)
{
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_autoptr(GAforkProcess) process = gafork_new(f);
    struct handover handover = {0};

    gafork_process_to_fd_async(process, cancellable, on_fd, &handover);
    g_signal_connect_swapped(process, "notify::exit", G_CALLBACK(g_cancellable_cancel),
                             cancellable);
    gafork_wait(f->main_context, handover.calls);
    if (handover.fd >= 0) /* it had returned before */
        close(handover.fd);
    else
        g_assert_error(handover.error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    g_clear_error(&handover.error);
}

static void closed_while_it_waits(struct gafork_test *f)
{
    g_autoptr(GAforkProcess) process = gafork_new(f);
    struct handover handover = {0};

    gafork_process_to_fd_async(process, NULL, on_fd, &handover);
    gafork_process_close(process);
    gafork_wait(f->main_context, handover.calls);
    g_assert_error(handover.error, G_IO_ERROR, G_IO_ERROR_CLOSED);
    g_clear_error(&handover.error);
}

int main(int argc, char **argv)
{
    gafork_test_init(&argc, &argv);
    gafork_add("/gafork/handover/changes-hosts", changes_hosts);
    gafork_add("/gafork/handover/errors", errors_are_told);
    gafork_add("/gafork/handover/cancelled", cancelled);
    gafork_add("/gafork/handover/cancelled-at-the-end", cancelled_at_the_end);
    gafork_add("/gafork/handover/closed", closed_while_it_waits);
    return g_test_run();
}
