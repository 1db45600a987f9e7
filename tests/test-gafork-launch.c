/* SPDX-License-Identifier: MIT
 *
 * Launchers in the GObject layer: the spawner's, and ones that fail.
 */
#include <afork/afork-perl.h>
#include <errno.h>

#include "gafork-lib.h"

static const char code[] = "sub hold { sysread $_[0], my $octet, 1 }";

static void on_notify(GObject *object, GParamSpec *spec, gpointer count)
{
    (*(int *)count)++;
}

/* The pid of a launched process becomes known later, and is notified of. */
static void launched_is_like_executed(struct gafork_test *f)
{
    g_autoptr(GError) error = NULL;
    int notified = 0, pid;

    g_assert_true(
        gafork_context_set_launcher(gafork_context(f), afork_perl_early_launch, NULL, &error));
    g_assert_no_error(error);
    g_autoptr(GAforkProcess) process = gafork_process_new_exec(f->context, &error);
    g_assert_no_error(error);
    g_signal_connect(process, "notify::pid", G_CALLBACK(on_notify), &notified);
    gafork_process_eval(process, code, NULL, &error);
    g_assert_no_error(error);
    g_autoptr(GSocketConnection) connection = gafork_run(f, process, "hold");
    gafork_wait(f->main_context, notified);
    g_object_get(process, "pid", &pid, NULL);
    g_assert_cmpint(pid, >, 1);
    g_io_stream_close(G_IO_STREAM(connection), NULL, NULL);
    GAforkExit *end = gafork_wait_exit(f, process);
    g_assert_cmpstr(gafork_exit_get_message(end), ==, "exited with status 0");
}

static void one_launched_process(struct gafork_test *f)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GAforkProcess) template = gafork_process_new_launched(
        gafork_context(f), afork_perl_early_launch, NULL, &error);

    g_assert_no_error(error);
    gafork_process_eval(template, "sub hello { syswrite $_[0], 'hello' }", NULL, &error);
    g_autoptr(GAforkProcess) process = gafork_fork(template);
    g_autofree char *text = gafork_output(f, process, "hello");
    g_assert_cmpstr(text, ==, "hello");
}

static pid_t fail_to_launch(const struct afork_launch *launch, void *data)
{
    (void)launch;
    return *(const int *)data;
}

static void failing_launcher(struct gafork_test *f)
{
    g_autoptr(GError) error = NULL;
    int result = -EACCES;

    g_assert_null(gafork_process_new_launched(gafork_context(f), fail_to_launch, &result, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED);
    g_clear_error(&error);
    g_assert_true(gafork_context_set_launcher(f->context, fail_to_launch, &result, &error));
    g_assert_null(gafork_process_new(f->context, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED);
    g_clear_error(&error);
    g_assert_true(gafork_context_set_launcher(f->context, NULL, NULL, &error)); /* executes again */
    g_autoptr(GAforkProcess) process = gafork_new(f);
    g_assert_nonnull(process);
}

int main(int argc, char **argv)
{
    gafork_test_init(&argc, &argv);
    gafork_add("/gafork/launch/like-executed", launched_is_like_executed);
    gafork_add("/gafork/launch/one", one_launched_process);
    gafork_add("/gafork/launch/fails", failing_launcher);
    return g_test_run();
}
