/* SPDX-License-Identifier: MIT
 *
 * A program that uses GLib and libuv at once, each with children of its own and with afork: nobody
 * waits for another's. Against the fake server.
 */
#include <string.h>
#include <uv.h>

#include "test-lib.h"

enum { N = 8 }; /* of each kind */

/* Status that each kind exits with. */
enum { OF_GLIB = 10, OF_UV, OF_AFORK_ON_GLIB, OF_AFORK_ON_UV };

static unsigned n_glib, n_uv, n_afork;

static void on_glib_child(GPid pid, int status, gpointer data)
{
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, OF_GLIB);
    n_glib++;
}

static void start_with_glib(void)
{
    const char *argv[] = {"sh", "-c", "exit 10", NULL};
    GPid pid;

    g_assert_true(g_spawn_async(NULL, (char **)argv, NULL,
                                G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, &pid,
                                NULL));
    g_autoptr(GSource) source = g_child_watch_source_new(pid);
    g_source_set_callback(source, G_SOURCE_FUNC(on_glib_child), NULL, NULL);
    g_source_attach(source, g_main_context_get_thread_default());
}

static void on_uv_child(uv_process_t *process, int64_t status, int signal)
{
    g_assert_cmpint(status, ==, OF_UV);
    g_assert_cmpint(signal, ==, 0);
    n_uv++;
    uv_close((uv_handle_t *)process, NULL);
}

static void start_with_uv(uv_loop_t *uv, uv_process_t *process)
{
    char *argv[] = {(char *)"sh", (char *)"-c", (char *)"exit 11", NULL};
    const uv_process_options_t options = {.exit_cb = on_uv_child, .file = "sh", .args = argv};

    test_ok(uv_spawn(uv, process, &options));
}

static void on_afork_end(struct afork_process *process, const struct afork_exit *end, void *status)
{
    g_assert_cmpint(end->cause, ==, AFORK_CAUSE_EXITED);
    g_assert_cmpint(end->status, ==, GPOINTER_TO_INT(status));
    n_afork++;
}

static void start_with_afork(struct test *t, bool executed, int status)
{
    struct afork_process *process = executed ? test_new_exec(t) : test_new(t);
    g_autofree char *text = g_strdup_printf("%d", status);

    test_ok(afork_process_on_exit(process, on_afork_end, GINT_TO_POINTER(status)));
    test_ok(afork_process_send_arg(process, text, strlen(text)));
    test_ok(afork_process_run(process, "exit", NULL, NULL));
    afork_process_unref(process);
}

static void each_has_its_own_children(struct test *t)
{
    /* The fixture's loop is GLib's; the other is beside it. */
    struct test other = {.type = &test_loop_uv, .options = t->options};
    uv_process_t processes[N];

    other.loop_self = other.type->new ();
    uv_loop_t *uv = other.loop_self; /* its first member */
    other.loop = other.type->get(other.loop_self);
    n_glib = n_uv = n_afork = 0;
    for (int i = 0; i < N; i++) {
        start_with_glib();
        start_with_uv(uv, &processes[i]);
        start_with_afork(t, i % 2, OF_AFORK_ON_GLIB);
        start_with_afork(&other, i % 2, OF_AFORK_ON_UV);
    }
    gint64 deadline = test_deadline_new();
    while (n_glib < N || n_uv < N || n_afork < 2 * N) {
        test_turn_before(t, deadline, "all children were waited for");
        other.type->turn(other.loop_self, 1000);
    }
    test_turn_for(t, 10 * 1000);
    test_turn_for(&other, 10 * 1000);
    g_assert_cmpuint(n_glib, ==, N);
    g_assert_cmpuint(n_uv, ==, N);
    g_assert_cmpuint(n_afork, ==, 2 * N);
    afork_context_close(other.context);
    other.type->free(other.loop_self);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_add_for(&test_loop_glib, "/libraries/own-children", each_has_its_own_children);
    return g_test_run();
}
