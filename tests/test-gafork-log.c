/* SPDX-License-Identifier: MIT
 *
 * What contexts of the GObject layer tell, in GLib's structured log.
 */
#include <string.h>

#include "gafork-lib.h"

/* Lines of "level topic: message" of our domain. */
static GString *logged;

static const char *field(const GLogField *fields, gsize n, const char *key)
{
    for (gsize i = 0; i < n; i++)
        if (!strcmp(fields[i].key, key))
            return fields[i].value;
    return NULL;
}

static GLogWriterOutput note(GLogLevelFlags level, const GLogField *fields, gsize n, gpointer data)
{
    if (g_strcmp0(field(fields, n, "GLIB_DOMAIN"), "afork-glib") != 0)
        return g_log_writer_default(level, fields, n, data);
    g_string_append_printf(logged, "%s %s %s\n", level == G_LOG_LEVEL_MESSAGE ? "message" : "debug",
                           field(fields, n, "AFORK_TOPIC"), field(fields, n, "MESSAGE"));
    return G_LOG_WRITER_HANDLED;
}

static bool told(const char *pattern)
{
    return g_regex_match_simple(pattern, logged->str, G_REGEX_MULTILINE, 0);
}

/* What is logged while a process on a context of its own is made and runs. */
static void run_one(struct gafork_test *f)
{
    g_autoptr(GAforkProcess) process = gafork_new(f);
    g_autoptr(GError) error = NULL;

    g_string_truncate(logged, 0);
    gafork_process_eval(process, "warn careful", NULL, &error);
    g_assert_no_error(error);
    g_free(gafork_output(f, process, "surroundings"));
    g_test_message("%s", logged->str);
}

static void nobody_asks(struct gafork_test *f)
{
    run_one(f);
    g_assert_cmpstr(logged->str, ==, "message warning careful\n");
}

static void environment_asks(struct gafork_test *f)
{
    g_setenv("AFORK_DEBUG", "spawn", TRUE);
    run_one(f);
    g_unsetenv("AFORK_DEBUG");
    g_assert_true(told("^message spawn spawn: #\\d+/\\d+ runs surroundings$"));
    g_assert_false(told("wire"));
}

static void debug_messages_are_asked_for(struct gafork_test *f)
{
    g_setenv("G_MESSAGES_DEBUG", "afork-glib", TRUE);
    run_one(f);
    g_unsetenv("G_MESSAGES_DEBUG");
    g_assert_true(told("^debug spawn spawn: "));
    g_assert_true(told("^debug wire wire: to #"));
}

static void count(G_GNUC_UNUSED GAforkContext *context, G_GNUC_UNUSED GAforkProcess *process,
                  G_GNUC_UNUSED const char *message, gpointer data)
{
    ++*(unsigned *)data;
}

static void somebody_listens_to_warnings(struct gafork_test *f)
{
    unsigned n = 0;

    g_signal_connect(gafork_context(f), "warning", G_CALLBACK(count), &n);
    run_one(f);
    g_assert_cmpuint(n, ==, 1);
    g_assert_cmpstr(logged->str, ==, "");
}

int main(int argc, char **argv)
{
    gafork_test_init(&argc, &argv);
    g_unsetenv("G_MESSAGES_DEBUG");
    logged = g_string_new(NULL);
    g_log_set_writer_func(note, NULL, NULL);
    gafork_add("/gafork-log/nobody", nobody_asks);
    gafork_add("/gafork-log/environment", environment_asks);
    gafork_add("/gafork-log/debug", debug_messages_are_asked_for);
    gafork_add("/gafork-log/warnings", somebody_listens_to_warnings);
    int result = g_test_run();
    g_string_free(logged, TRUE);
    return result;
}
