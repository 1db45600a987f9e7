#include <afork/afork-glib.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static void fail(const char *message)
{
    g_printerr("channel: %s\n", message);
    exit(EXIT_FAILURE);
}

static void on_answer(GObject *stream, GAsyncResult *result, gpointer loop)
{
    g_autoptr(GBytes) answer = g_input_stream_read_bytes_finish(G_INPUT_STREAM(stream), result, NULL);
    if (!answer || !g_bytes_get_size(answer))
        fail("no answer");
    gsize length;
    const char *text = g_bytes_get_data(answer, &length);
    if (printf("%.*s\n", (int)length, text) < 0 || fflush(stdout) < 0)
        fail(g_strerror(errno));
    g_main_loop_quit(loop);
}

static void on_entered(GObject *worker, GAsyncResult *result, gpointer loop)
{
    g_autoptr(GError) error = NULL;
    GSocketConnection *connection =
        gafork_process_run_finish(GAFORK_PROCESS(worker), result, &error);
    if (!connection)
        fail(error->message);
    g_object_set_data_full(worker, "connection", connection, g_object_unref);
    g_input_stream_read_bytes_async(g_io_stream_get_input_stream(G_IO_STREAM(connection)), 256,
                                    G_PRIORITY_DEFAULT, NULL, on_answer, loop);
}

int main(void)
{
    g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
    g_autoptr(GError) error = NULL;
    g_autoptr(GAforkProcess) worker = gafork_process_new(NULL, &error);
    if (!worker)
        fail(error->message);

    const char *modules[] = {"Digest::SHA", NULL};
    gafork_process_require(worker, modules, NULL);
    gafork_process_eval(worker, "sub digest { syswrite $_[0], Digest::SHA::sha1_hex($_[1]) }", NULL,
                        NULL);
    gafork_process_send_arg(worker, "hello", NULL);
    gafork_process_run_async(worker, "digest", NULL, on_entered, loop);
    g_main_loop_run(loop);
    return EXIT_SUCCESS;
}
