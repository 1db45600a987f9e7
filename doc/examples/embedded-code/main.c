/* SPDX-License-Identifier: MIT
 *
 * Worker code that lives inside the executable: worker.pl is compiled into it as a resource,
 * evaluated in a template, and run by workers that are forked from that. Counts words and letters of
 * the line in its first argument, at the same time. */
#include <afork/afork-glib.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct count {
    const char *text;
    GSocketConnection *connection;
    unsigned *running;
};

static void fail(const char *message)
{
    g_printerr("%s\n", message);
    exit(EXIT_FAILURE);
}

static void on_counted(GObject *input, GAsyncResult *result, gpointer data)
{
    struct count *count = data;
    g_autoptr(GError) error = NULL;
    g_autofree char *line =
        g_data_input_stream_read_line_finish(G_DATA_INPUT_STREAM(input), result, NULL, &error);

    if (!line)
        fail(error ? error->message : "no answer");
    if (puts(line) < 0 || fflush(stdout) < 0)
        fail(g_strerror(errno));
    g_clear_object(&count->connection); /* the worker sees the end of file, and ends */
    --*count->running;
}

static void on_entered(GObject *worker, GAsyncResult *result, gpointer data)
{
    struct count *count = data;
    g_autoptr(GError) error = NULL;

    count->connection = gafork_process_run_finish(GAFORK_PROCESS(worker), result, &error);
    if (!count->connection)
        fail(error->message);
    GIOStream *stream = G_IO_STREAM(count->connection);
    g_autoptr(GDataInputStream) input =
        g_data_input_stream_new(g_io_stream_get_input_stream(stream));
    /* A line goes into any socket; what is longer takes g_output_stream_write_all_async(). */
    g_output_stream_printf(g_io_stream_get_output_stream(stream), NULL, NULL, NULL, "%s\n",
                           count->text);
    g_data_input_stream_read_line_async(input, G_PRIORITY_DEFAULT, NULL, on_counted, count);
}

/* A process that knows the code. */
static GAforkProcess *make_template(GError **error)
{
    g_autoptr(GBytes) code = g_resources_lookup_data("/org/example/count/worker.pl",
                                                     G_RESOURCE_LOOKUP_FLAGS_NONE, error);
    g_autoptr(GAforkProcess) template = code ? gafork_process_new(NULL, error) : NULL;

    if (!template || !gafork_process_eval_bytes(template, code, NULL, error))
        return NULL;
    return g_steal_pointer(&template);
}

int main(int argc, char **argv)
{
    const char *units[] = {"words", "letters"};
    struct count counts[G_N_ELEMENTS(units)];
    unsigned running = 0;
    g_autoptr(GError) error = NULL;
    g_autoptr(GAforkProcess) template = make_template(&error);

    for (gsize i = 0; template && i < G_N_ELEMENTS(units); i++) {
        counts[i] = (struct count){argc > 1 ? argv[1] : "", NULL, &running};
        g_autoptr(GAforkProcess) worker = gafork_process_fork(template, &error);
        if (!worker || !gafork_process_send_arg(worker, units[i], &error))
            break;
        gafork_process_run_async(worker, "Count::run", NULL, on_entered, &counts[i]);
        running++;
    }
    if (error)
        fail(error->message);
    while (running)
        g_main_context_iteration(NULL, TRUE);
    return EXIT_SUCCESS;
}
