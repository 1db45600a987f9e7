/* SPDX-License-Identifier: MIT
 *
 * GAforkLimits: the properties, and what becomes of them. Against the fake server.
 */
#include "gafork-lib.h"

/* A value other than the default for each property. */
static const struct {
    const char *name, *words;
} numbers[] = {
    {"memory", "limits flags 0 nice 0 7 0 0 0\n"},
    {"cpu-seconds", "limits flags 0 nice 0 0 7 0 0\n"},
    {"file-size", "limits flags 0 nice 0 0 0 7 0\n"},
    {"nice", "limits flags 0 nice 7 0 0 0 0\n"},
};

static const struct {
    const char *name, *words;
} flags[] = {
    {"no-new-privileges", "limits flags 1 nice 0 0 0 0 0\n"},
    {"no-network", "limits flags 2 nice 0 0 0 0 0\n"},
    {"no-new-processes", "limits flags 4 nice 0 0 0 0 0\n"},
    {"forks-only", "limits flags 40 nice 0 0 0 0 0\n"},
    {"no-signals", "limits flags 80 nice 0 0 0 0 0\n"},
};

static const struct {
    const char *name, *words, *empty;
} lists[] = {
    {"read-paths", "limits flags 8 nice 0 0 0 0 0 r/a r/b c\n", "limits flags 8 nice 0 0 0 0 0\n"},
    {"write-paths", "limits flags 10 nice 0 0 0 0 0 w/a w/b c\n",
     "limits flags 10 nice 0 0 0 0 0\n"},
};

/* What a server is told by `limits`, which are released. */
static void assert_sent(struct gafork_test *f, GAforkLimits *limits, const char *words)
{
    g_autoptr(GAforkProcess) process = gafork_new(f);
    g_autoptr(GError) error = NULL;

    g_assert_true(gafork_process_set_limits(process, limits, &error));
    g_assert_no_error(error);
    g_object_unref(limits);
    g_autofree char *text = gafork_output(f, process, "dump");
    g_assert_cmpstr(text, ==, words);
}

static void nothing_by_default(struct gafork_test *f)
{
    assert_sent(f, gafork_limits_new(), "limits flags 0 nice 0 0 0 0 0\n");
}

static void each_property(struct gafork_test *f)
{
    const char *const paths[] = {"/a", "/b c", NULL}, *const none[] = {NULL};

    for (gsize i = 0; i < G_N_ELEMENTS(numbers); i++) {
        g_auto(GValue) value = G_VALUE_INIT, read = G_VALUE_INIT;
        GAforkLimits *limits = gafork_limits_new();

        g_value_set_int(g_value_init(&value, G_TYPE_INT), 7);
        g_object_set_property(G_OBJECT(limits), numbers[i].name, &value);
        g_value_init(&read, G_TYPE_INT);
        g_object_get_property(G_OBJECT(limits), numbers[i].name, &read);
        g_assert_cmpint(g_value_get_int(&read), ==, 7);
        assert_sent(f, limits, numbers[i].words);
    }
    for (gsize i = 0; i < G_N_ELEMENTS(flags); i++) {
        GAforkLimits *limits = g_object_new(GAFORK_TYPE_LIMITS, flags[i].name, TRUE, NULL);
        gboolean value;

        g_object_get(limits, flags[i].name, &value, NULL);
        g_assert_true(value);
        assert_sent(f, limits, flags[i].words);
    }
    for (gsize i = 0; i < G_N_ELEMENTS(lists); i++) {
        GAforkLimits *limits = g_object_new(GAFORK_TYPE_LIMITS, lists[i].name, paths, NULL);
        g_auto(GStrv) value = NULL;

        g_object_get(limits, lists[i].name, &value, NULL);
        g_assert_cmpuint(g_strv_length(value), ==, 2);
        assert_sent(f, g_object_ref(limits), lists[i].words);
        g_object_set(limits, lists[i].name, none, NULL);
        assert_sent(f, g_object_ref(limits), lists[i].empty);
        g_object_set(limits, lists[i].name, NULL, NULL);
        assert_sent(f, limits, "limits flags 0 nice 0 0 0 0 0\n");
    }
    GAforkUnsupported unsupported;
    GAforkLimits *limits = g_object_new(GAFORK_TYPE_LIMITS, "unsupported", GAFORK_UNSUPPORTED_WARN,
                                        "open-files", 16, NULL);
    g_object_get(limits, "unsupported", &unsupported, NULL);
    g_assert_cmpint(unsupported, ==, GAFORK_UNSUPPORTED_WARN);
    assert_sent(f, limits, "limits flags 20 nice 0 0 0 0 16\n");
}

static void errors(struct gafork_test *f)
{
    const char *const relative[] = {"a", NULL};
    g_autoptr(GAforkLimits) limits = gafork_limits_new();
    g_autoptr(GAforkProcess) process = gafork_new(f), closed = gafork_new(f);
    g_autoptr(GError) error = NULL;

    g_object_set(limits, "read-paths", relative, NULL);
    g_assert_false(gafork_process_set_limits(process, limits, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
    g_clear_error(&error);
    g_object_set(limits, "read-paths", NULL, "open-files", 3, NULL);
    g_assert_false(gafork_process_set_limits(process, limits, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
    g_clear_error(&error);
    g_object_set(limits, "open-files", 0, NULL);
    gafork_process_close(closed);
    g_assert_false(gafork_process_set_limits(closed, limits, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CLOSED);
    g_clear_error(&error);

    g_assert_true(gafork_process_eval(process, "error 6 limits: nice: no", NULL, NULL));
    error = gafork_run_error(f, process, "dump");
    g_assert_error(error, GAFORK_ERROR, GAFORK_ERROR_LIMITS);
    g_assert_cmpstr(error->message, ==, "limits: nice: no");
}

static void original(struct gafork_test *f)
{
    g_autoptr(GAforkContext) context = g_object_new(GAFORK_TYPE_CONTEXT, "perl", f->t->options.perl,
                                                    "peer", GAFORK_PEER_ORIGINAL, NULL);
    g_autoptr(GAforkLimits) limits = gafork_limits_new();
    g_autoptr(GError) error = NULL;
    g_autoptr(GAforkProcess) process = gafork_process_new(context, &error);

    g_assert_no_error(error);
    g_assert_false(gafork_process_set_limits(process, limits, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED);
    gafork_context_close(context);
}

int main(int argc, char **argv)
{
    gafork_test_init(&argc, &argv);
    gafork_add("/gafork/limits/nothing", nothing_by_default);
    gafork_add("/gafork/limits/each", each_property);
    gafork_add("/gafork/limits/errors", errors);
    gafork_add("/gafork/limits/original", original);
    return g_test_run();
}
