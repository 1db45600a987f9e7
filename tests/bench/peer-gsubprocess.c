/* SPDX-License-Identifier: MIT
 *
 * The peer GLib: processes by GSubprocess, a socket by one of channel-g*.c. The arguments are those
 * of bench-loop.c, with a command at the end.
 */
#include <gio/gio.h>

#include "bench-loop.h"
#include "bench.h"
#include "channel-glib.h"

struct child {
    GSubprocess *process;
    GInputStream *output; /* if it talks */
    gboolean running;
    char octets[2];
};

static GMainLoop *main_loop;
static const char *const *command;

void loop_open(char **arguments)
{
    command = (const char *const *)arguments;
    main_loop = g_main_loop_new(NULL, FALSE);
}

void loop_close(void)
{
    g_main_loop_unref(main_loop);
}

void loop_run(void)
{
    g_main_loop_run(main_loop);
}

void loop_turn(void)
{
    g_main_context_iteration(NULL, FALSE);
}

void loop_quit(void)
{
    g_main_loop_quit(main_loop);
}

/* ---- processes that leave ---- */

static void end(struct child *child)
{
    if (child->running || child->output)
        return;
    g_object_unref(child->process);
    g_free(child);
    loop_left();
}

static void on_exit_status(GObject *process, GAsyncResult *result, gpointer data)
{
    struct child *child = data;
    g_autoptr(GError) error = NULL;

    if (!g_subprocess_wait_check_finish(child->process, result, &error))
        bench_fail(error->message, 0);
    child->running = FALSE;
    end(child);
}

static void read_output(struct child *child);

static void on_output(GObject *stream, GAsyncResult *result, gpointer data)
{
    struct child *child = data;
    g_autoptr(GError) error = NULL;
    gssize n = g_input_stream_read_finish(child->output, result, &error);

    if (n < 0)
        bench_fail(error->message, 0);
    if (n > 0) {
        loop_got((size_t)n);
        read_output(child);
        return;
    }
    child->output = NULL;
    end(child);
}

static void read_output(struct child *child)
{
    g_input_stream_read_async(child->output, child->octets, sizeof child->octets,
                              G_PRIORITY_DEFAULT, NULL, on_output, child);
}

void loop_start(bool talks)
{
    struct child *child = g_new0(struct child, 1);
    g_autoptr(GError) error = NULL;

    child->process = g_subprocess_newv(
        command, talks ? G_SUBPROCESS_FLAGS_STDOUT_PIPE : G_SUBPROCESS_FLAGS_NONE, &error);
    if (!child->process)
        bench_fail(error->message, 0);
    child->running = TRUE;
    g_subprocess_wait_check_async(child->process, NULL, on_exit_status, child);
    if (!talks)
        return;
    child->output = g_subprocess_get_stdout_pipe(child->process);
    read_output(child);
}

/* ---- the process that echoes ---- */

void loop_start_echo(void)
{
    channel_open(bench_start_on_socket((char **)command));
}
