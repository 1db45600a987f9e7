/* SPDX-License-Identifier: MIT
 *
 * GAforkContext: its options reach the perls, everything arrives in its main context, its end.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gafork-lib.h"

static void count_notify(G_GNUC_UNUSED GObject *object, G_GNUC_UNUSED GParamSpec *pspec,
                         gpointer data)
{
    ++*(unsigned *)data;
}

static void options_reach_the_perl(struct gafork_test *f)
{
    const char *dirs[] = {"/first", "/second", NULL};
    const char *environment[] = {"ONE=1", "TWO=2", NULL};
    const char *changes[] = {f->t->environment[0], "TWO", "THREE=3", NULL};
    g_autofree char *directory = g_dir_make_tmp("afork-XXXXXX", NULL);
    g_autoptr(GError) error = NULL;

    f->context = g_object_new(GAFORK_TYPE_CONTEXT, "perl", f->t->options.perl, "include-dirs", dirs,
                              "environment", environment, "environment-changes", changes,
                              "working-directory", directory, "new-session", TRUE, "threads",
                              GAFORK_THREADS_REFUSE, NULL);
    g_autoptr(GAforkProcess) process = gafork_process_new_exec(f->context, &error);
    g_assert_no_error(error);
    g_autofree char *text = gafork_output(f, process, "surroundings");
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    g_autofree char *cwd = g_strdup_printf("cwd %s", directory);
    const char *expected[] = {
        "argv -I",     "argv /first", "argv /second", "argv refuse-threads", "env ONE=1",
        "env THREE=3", cwd,           "session 1"};
    for (gsize i = 0; i < G_N_ELEMENTS(expected); i++)
        g_assert_true(g_strv_contains((const char *const *)lines, expected[i]));
    g_assert_false(g_strv_contains((const char *const *)lines, "env TWO=2"));
    g_assert_cmpint(rmdir(directory), ==, 0);

    g_auto(GStrv) got_dirs = NULL, got_environment = NULL, got_changes = NULL;
    g_autofree char *got_directory = NULL, *got_perl = NULL;
    gboolean new_session;
    GAforkThreads threads;
    g_object_get(f->context, "include-dirs", &got_dirs, "environment", &got_environment,
                 "environment-changes", &got_changes, "working-directory", &got_directory, "perl",
                 &got_perl, "new-session", &new_session, "threads", &threads, NULL);
    g_assert_true(g_strv_equal((const char *const *)got_dirs, dirs));
    g_assert_true(g_strv_equal((const char *const *)got_environment, environment));
    g_assert_true(g_strv_equal((const char *const *)got_changes, changes));
    g_assert_cmpstr(got_directory, ==, directory);
    g_assert_cmpstr(got_perl, ==, f->t->options.perl);
    g_assert_true(new_session);
    g_assert_cmpint(threads, ==, GAFORK_THREADS_REFUSE);
}

static void standard_descriptors(struct gafork_test *f)
{
    g_autofree char *text = NULL;
    GAforkStdio input, output, error_output;
    int null = open("/dev/zero", O_RDWR | O_CLOEXEC), pair[2];

    g_assert_cmpint(pipe2(pair, O_CLOEXEC), ==, 0);
    f->context = g_object_new(GAFORK_TYPE_CONTEXT, "perl", f->t->options.perl,
                              "environment-changes", f->t->environment, "standard-input-fd", null,
                              "standard-output", GAFORK_STDIO_NULL, "standard-error",
                              GAFORK_STDIO_NULL, "standard-error-fd", pair[1], NULL);
    close(null); /* it was duplicated, although nothing was started yet */
    close(pair[1]);
    g_object_get(f->context, "standard-input", &input, "standard-output", &output, "standard-error",
                 &error_output, NULL);
    g_assert_cmpint(input, ==, GAFORK_STDIO_FD);
    g_assert_cmpint(output, ==, GAFORK_STDIO_NULL);
    g_assert_cmpint(error_output, ==, GAFORK_STDIO_FD);

    g_autoptr(GAforkProcess) process = gafork_new(f);
    text = gafork_output(f, process, "descriptors");
    g_assert_nonnull(strstr(text, "0 /dev/zero\n"));
    g_assert_nonnull(strstr(text, "1 /dev/null\n"));
    g_assert_nonnull(strstr(text, "2 pipe:"));
    close(pair[0]);
}

static void wrong_options_fail_at_first_use(struct gafork_test *f)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GAforkContext)
        bad_fd = g_object_new(GAFORK_TYPE_CONTEXT, "standard-output-fd", 9999, NULL);
    g_autoptr(GAforkContext)
        contradiction = g_object_new(GAFORK_TYPE_CONTEXT, "serve-module", "Some::Serve", NULL);

    g_assert_null(gafork_process_new(bad_fd, &error));
    g_assert_nonnull(error);
    g_assert_true(error->domain == G_IO_ERROR);
    g_clear_error(&error);
    g_assert_null(gafork_process_new_exec(contradiction, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
}

static void missing_perl_is_named(struct gafork_test *f)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GAforkContext)
        context = g_object_new(GAFORK_TYPE_CONTEXT, "perl", "/nowhere/perl", NULL);

    g_assert_null(gafork_process_new(context, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
    g_assert_nonnull(strstr(error->message, "/nowhere/perl"));
}

static void missing_directory_is_named(struct gafork_test *f)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GAforkContext) context = g_object_new(GAFORK_TYPE_CONTEXT, "perl", f->t->options.perl,
                                                    "working-directory", "/nowhere/at-all", NULL);

    g_assert_null(gafork_process_new(context, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
    g_assert_nonnull(strstr(error->message, "/nowhere/at-all"));
    g_assert_nonnull(strstr(error->message, f->t->options.perl));
}

static void perl_can_be_changed(struct gafork_test *f)
{
    GAforkContext *context = gafork_context(f);
    g_autoptr(GAforkProcess) process = gafork_new(f);
    g_autoptr(GError) error = NULL;
    g_autofree char *module = NULL;
    unsigned perls = 0, peers = 0, modules = 0;
    GAforkPeer peer;

    g_signal_connect(context, "notify::perl", G_CALLBACK(count_notify), &perls);
    g_signal_connect(context, "notify::peer", G_CALLBACK(count_notify), &peers);
    g_signal_connect(context, "notify::serve-module", G_CALLBACK(count_notify), &modules);
    g_assert_false(
        gafork_context_set_perl(context, "/nowhere/perl", GAFORK_PEER_OWN, "Module", &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
    g_clear_error(&error);
    g_assert_cmpuint(perls + peers + modules, ==, 0);

    g_assert_true(gafork_context_set_perl(context, "/nowhere/perl", GAFORK_PEER_ORIGINAL,
                                          "Some::Serve", &error));
    g_assert_no_error(error);
    g_assert_cmpuint(perls, ==, 1);
    g_assert_cmpuint(peers, ==, 1);
    g_assert_cmpuint(modules, ==, 1);
    g_object_get(context, "peer", &peer, "serve-module", &module, NULL);
    g_assert_cmpint(peer, ==, GAFORK_PEER_ORIGINAL);
    g_assert_cmpstr(module, ==, "Some::Serve");
    g_assert_cmpstr(gafork_context_get_perl(context), ==, "/nowhere/perl");
    g_assert_null(gafork_process_new(context, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);

    /* The template that ran serves those that were made from it. */
    g_autofree char *text = gafork_output(f, process, "dump");
    g_assert_cmpstr(text, ==, "");
}

/* A peer that does not report: it runs, and its end is unknown. */
static void original_peer(struct gafork_test *f)
{
    f->context = g_object_new(GAFORK_TYPE_CONTEXT, "perl", f->t->options.perl, "peer",
                              GAFORK_PEER_ORIGINAL, "serve-module", "AnyEvent::Fork::Serve",
                              "environment-changes", f->t->environment, NULL);
    g_autoptr(GAforkProcess) process = gafork_new(f);
    g_autoptr(GError) error = NULL;

    g_assert_false(gafork_process_kill(process, SIGTERM, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED);
    g_autofree char *text = gafork_output(f, process, "surroundings");
    g_assert_nonnull(strstr(text, "argv AnyEvent::Fork::Serve::me\n"));
    g_assert_cmpint(gafork_exit_get_cause(gafork_wait_exit(f, process)), ==, GAFORK_CAUSE_UNKNOWN);
    g_assert_cmpint(gafork_exit_get_status(gafork_process_get_exit(process)), ==, -1);
    g_assert_cmpint(gafork_exit_get_user_time(gafork_process_get_exit(process)), ==, -1);
    g_assert_cmpint(gafork_process_get_peer_pid(process), ==, 0);
}

static void default_is_one_for_each_main_context(struct gafork_test *f)
{
    GAforkContext *first = gafork_context_get_default();
    g_autoptr(GMainContext) other = g_main_context_new();

    g_assert_true(gafork_context_get_default() == first);
    g_assert_true(gafork_context_get_main_context(first) == f->main_context);
    g_main_context_push_thread_default(other);
    GAforkContext *second = gafork_context_get_default();
    g_assert_true(second != first);
    g_assert_true(gafork_context_get_main_context(second) == other);
    g_main_context_pop_thread_default(other);
    gafork_context_close(second);

    g_autoptr(GAforkContext) closed = g_object_ref(first);
    gafork_context_close(first);
    g_assert_true(gafork_context_get_default() != closed);
    gafork_context_close(gafork_context_get_default());
}

/* In a forked copy of the program, the default is a new one. */
static int copy_of_default(struct gafork_test *f, GAforkContext *original)
{
    g_autoptr(GAforkProcess) process = gafork_process_new(NULL, NULL);

    if (!process || gafork_process_get_context(process) == original)
        return 1;
    g_autofree char *text = gafork_output(f, process, "dump");
    gafork_context_close(gafork_context_get_default());
    return *text;
}

static void without_context_is_the_default(struct gafork_test *f)
{
    int status;
    g_autofree char *old = g_strdup(g_getenv("AFORK_PERL"));
    g_autoptr(GError) error = NULL;

    /* The children of a case are found by its mark, which the default would not give them. */
    g_setenv("AFORK_PERL", f->t->options.perl, TRUE);
    g_autoptr(GAforkProcess) forked = gafork_process_new(NULL, &error);
    g_assert_no_error(error);
    g_autoptr(GAforkProcess) executed = gafork_process_new_exec(NULL, &error);
    g_assert_no_error(error);
    g_assert_true(gafork_process_get_context(forked) == gafork_context_get_default());
    g_assert_true(gafork_process_get_context(executed) == gafork_context_get_default());
    g_assert_cmpstr(gafork_context_get_perl(gafork_context_get_default()), ==, f->t->options.perl);
    g_autofree char *text = gafork_output(f, forked, "dump");
    g_assert_cmpstr(text, ==, "");
    GAforkContext *original = gafork_context_get_default();
    pid_t pid = fork();
    if (!pid)
        _exit(copy_of_default(f, original));
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_cmpint(status, ==, 0);
    gafork_context_close(gafork_context_get_default());
    if (old)
        g_setenv("AFORK_PERL", old, TRUE);
    else
        g_unsetenv("AFORK_PERL");
}

static void on_warning(G_GNUC_UNUSED GAforkContext *context, GAforkProcess *process,
                       const char *message, gpointer text)
{
    g_string_append_printf(text, "%s%s\n", process ? "process " : "", message);
}

static void warnings(struct gafork_test *f)
{
    g_autoptr(GString) text = g_string_new(NULL);

    test_fake_start(f->t, "warn from the template");
    g_signal_connect(gafork_context(f), "warning", G_CALLBACK(on_warning), text);
    g_autoptr(GAforkProcess) process = gafork_new(f);
    gafork_process_eval(process, "warn not \xff UTF-8", NULL, NULL);
    gafork_wait(f->main_context, strstr(text->str, "UTF-8"));
    g_assert_cmpstr(text->str, ==, "from the template\nprocess not \xef\xbf\xbd UTF-8\n");
}

static void count_exit(G_GNUC_UNUSED GAforkProcess *process, G_GNUC_UNUSED GAforkExit *end,
                       gpointer data)
{
    ++*(unsigned *)data;
}

static void close_fails_what_waits(struct gafork_test *f)
{
    struct gafork_result run = {0}, wait = {0};
    g_autoptr(GAforkProcess) process = gafork_new(f);
    g_autoptr(GAforkProcess) worker = gafork_new(f);
    g_autoptr(GSocketConnection) connection = gafork_run(f, worker, "hold");
    g_assert_nonnull(connection);
    g_autoptr(GError) error = NULL;
    unsigned exits = 0, pids = 0;

    g_signal_connect(worker, "exited", G_CALLBACK(count_exit), &exits);
    g_signal_connect(worker, "notify::peer-pid", G_CALLBACK(count_notify), &pids);
    gafork_process_eval(process, "stop", NULL, NULL);
    gafork_process_run_async(process, "dump", NULL, gafork_on_run, &run);
    gafork_process_wait_async(worker, NULL, gafork_on_wait, &wait);
    int pid = gafork_process_get_peer_pid(worker);
    gafork_wait(f->main_context, gafork_process_get_peer_pid(process));
    int stopped = gafork_process_get_peer_pid(process);
    gafork_wait(f->main_context, test_process_state(stopped) == 'T');

    gafork_context_close(f->context);
    gafork_context_close(f->context);
    g_assert_cmpuint(run.calls + wait.calls, ==, 0); /* not from inside of the call */
    g_assert_cmpuint(pids, ==, 1);
    g_assert_cmpint(gafork_process_get_peer_pid(worker), ==, 0);
    gafork_wait(f->main_context, run.calls && wait.calls);
    g_assert_error(run.error, G_IO_ERROR, G_IO_ERROR_CLOSED);
    g_assert_error(wait.error, G_IO_ERROR, G_IO_ERROR_CLOSED);
    g_assert_false(gafork_process_eval(process, "1", NULL, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CLOSED);
    g_clear_error(&error);
    g_assert_null(gafork_process_new(f->context, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CLOSED);
    g_assert_null(gafork_context_get_perl(f->context));

    /* The worker's connection was handed out: it goes on until that is closed. */
    g_assert_true(test_is_running(pid));
    kill(stopped, SIGKILL);
    gafork_settle(f);
    g_assert_cmpuint(exits, ==, 0);
    g_assert_null(gafork_process_get_exit(worker));
    gafork_result_clear(&run);
    gafork_result_clear(&wait);
}

static void close_inside_task(struct gafork_result *result)
{
    struct gafork_test *f = result->data;

    gafork_context_close(f->context);
}

/* Closing in a callback must not call another one at once. */
static void close_in_a_callback(struct gafork_test *f)
{
    struct gafork_result run = {.action = close_inside_task, .data = f}, wait = {0};
    g_autoptr(GAforkProcess) process = gafork_new(f);

    gafork_process_run_async(process, "hold", NULL, gafork_on_run, &run);
    gafork_process_wait_async(process, NULL, gafork_on_wait, &wait);
    gafork_wait(f->main_context, run.calls);
    g_assert_nonnull(run.connection);
    g_assert_cmpuint(wait.calls, ==, 0);
    gafork_wait(f->main_context, wait.calls);
    g_assert_error(wait.error, G_IO_ERROR, G_IO_ERROR_CLOSED);
    gafork_result_clear(&run);
    gafork_result_clear(&wait);
}

static void last_reference_closes(struct gafork_test *f)
{
    GAforkProcess *process = gafork_new(f);

    gafork_wait(f->main_context, gafork_process_get_peer_pid(process));
    int pid = gafork_process_get_peer_pid(process);
    g_object_add_weak_pointer(G_OBJECT(f->context), (gpointer *)&f->context);
    g_object_unref(f->context);
    g_assert_nonnull(f->context); /* the process holds it */
    g_object_unref(process);
    g_assert_null(f->context);
    gafork_wait(f->main_context, !test_is_running(pid));
}

static gboolean count_and_go_on(gpointer data)
{
    return ++*(unsigned *)data < 1000 ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

/* A source that is always ready, with the priority of drawing, goes first. */
static void priority_is_obeyed(struct gafork_test *f)
{
    unsigned turns = 0;
    struct gafork_result run = {0};
    g_autoptr(GSource) busy = g_idle_source_new();

    f->context = g_object_new(GAFORK_TYPE_CONTEXT, "perl", f->t->options.perl,
                              "environment-changes", f->t->environment, "priority", G_PRIORITY_LOW,
                              NULL);
    g_assert_cmpint(gafork_context_get_priority(f->context), ==, G_PRIORITY_LOW);
    g_autoptr(GAforkProcess) process = gafork_new(f);
    gafork_process_run_async(process, "return", NULL, gafork_on_run, &run);
    g_source_set_callback(busy, count_and_go_on, &turns, NULL);
    g_source_attach(busy, f->main_context);
    while (turns < 1000) {
        g_main_context_iteration(f->main_context, TRUE);
        g_assert_cmpuint(run.calls, ==, 0);
    }
    gafork_wait(f->main_context, run.calls);
    gafork_result_clear(&run);
}

/* A thread that uses the library on a main context of its own, while the main thread waits for it
 * without running any. */
struct other_thread {
    struct gafork_test *f;
    GThread *exited_in, *notified_in;
};

static void note_thread(gpointer data)
{
    *(GThread **)data = g_thread_self();
}

static void on_exited_in(G_GNUC_UNUSED GAforkProcess *process, G_GNUC_UNUSED GAforkExit *end,
                         gpointer data)
{
    note_thread(data);
}

static void on_notified_in(G_GNUC_UNUSED GObject *object, G_GNUC_UNUSED GParamSpec *pspec,
                           gpointer data)
{
    note_thread(data);
}

static gpointer other_thread_main(gpointer data)
{
    struct other_thread *other = data;
    struct gafork_test f = {.t = other->f->t, .main_context = g_main_context_new()};
    struct gafork_result run = {.action = gafork_let_go}, wait = {0};

    g_main_context_push_thread_default(f.main_context);
    GAforkProcess *process = gafork_new(&f);
    g_signal_connect(process, "exited", G_CALLBACK(on_exited_in), &other->exited_in);
    g_signal_connect(process, "notify::peer-pid", G_CALLBACK(on_notified_in), &other->notified_in);
    gafork_process_run_async(process, "hold", NULL, gafork_on_run, &run);
    gafork_process_wait_async(process, NULL, gafork_on_wait, &wait);
    gafork_wait(f.main_context, run.calls && wait.calls);
    g_assert_true(run.thread == g_thread_self());
    g_assert_true(wait.thread == g_thread_self());
    g_assert_true(other->exited_in == g_thread_self());
    g_assert_true(other->notified_in == g_thread_self());
    gafork_result_clear(&run);
    gafork_result_clear(&wait);
    g_object_unref(process);
    g_object_unref(f.context);
    g_main_context_pop_thread_default(f.main_context);
    g_main_context_unref(f.main_context);
    return NULL;
}

static void thread_with_its_own_main_context(struct gafork_test *f)
{
    struct other_thread other = {.f = f};

    g_thread_join(g_thread_new("other", other_thread_main, &other));
}

/* The main context that was the default when the context was made counts, not that of a call. */
static void main_context_of_construction(struct gafork_test *f)
{
    struct gafork_result run = {0};
    g_autoptr(GMainContext) other = g_main_context_new();
    g_autoptr(GMainContext) third = g_main_context_new();

    f->context = g_object_new(GAFORK_TYPE_CONTEXT, "perl", f->t->options.perl, "main-context",
                              other, "environment-changes", f->t->environment, NULL);
    g_assert_true(gafork_context_get_main_context(f->context) == other);
    g_main_context_push_thread_default(third);
    g_autoptr(GAforkProcess) process = gafork_new(f);
    gafork_process_run_async(process, "return", NULL, gafork_on_run, &run);
    g_main_context_pop_thread_default(third);
    gafork_wait(other, run.calls);
    g_assert_no_error(run.error);
    gafork_result_clear(&run);
    g_assert_false(g_main_context_pending(third));
    g_assert_false(g_main_context_pending(f->main_context));
}

static gpointer drop_object(gpointer object)
{
    g_object_unref(object);
    return NULL;
}

/* As garbage collectors do: the last references go in a thread that has nothing to do with it. */
static void dropped_in_another_thread(struct gafork_test *f)
{
    GAforkProcess *process = gafork_new(f);
    GAforkContext *context = f->context;

    gafork_wait(f->main_context, gafork_process_get_peer_pid(process));
    int pid = gafork_process_get_peer_pid(process);
    g_object_add_weak_pointer(G_OBJECT(process), (gpointer *)&process);
    g_object_add_weak_pointer(G_OBJECT(context), (gpointer *)&context);
    g_thread_join(g_thread_new("collector", drop_object, process));
    g_assert_nonnull(process);
    gafork_settle(f);
    g_assert_null(process);
    gafork_wait(f->main_context, !test_is_running(pid));
    f->context = NULL;
    g_thread_join(g_thread_new("collector", drop_object, context));
    g_assert_nonnull(context);
    gafork_settle(f);
    g_assert_null(context);
}

/* What a forked copy of the program finds. */
static int copy_main(struct gafork_test *f, GAforkProcess *process)
{
    g_autoptr(GError) error = NULL;

    if (gafork_process_eval(process, "1", NULL, &error) || error->domain != G_IO_ERROR)
        return 1;
    gafork_context_close(f->context);
    g_object_unref(process);
    g_clear_object(&f->context);
    GAforkProcess *own = gafork_new(f);
    gafork_wait(f->main_context, gafork_process_get_peer_pid(own));
    g_object_unref(own);
    g_clear_object(&f->context);
    return 0;
}

static void forked_copy_is_inert(struct gafork_test *f)
{
    g_autoptr(GAforkProcess) process = gafork_new(f);
    int status;

    gafork_wait(f->main_context, gafork_process_get_peer_pid(process));
    pid_t pid = fork();
    if (!pid)
        _exit(copy_main(f, process));
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_cmpint(status, ==, 0);
    gafork_process_eval(process, "still here", NULL, NULL);
    g_autofree char *text = gafork_output(f, process, "dump");
    g_assert_cmpstr(text, ==, "code still here\n");
}

/* A worker that ended, with a connection that nobody reads, does not wake the loop again and
 * again. */
static void end_does_not_spin(struct gafork_test *f)
{
    g_autoptr(GAforkProcess) process = gafork_new(f);
    g_autoptr(GSocketConnection) connection = NULL;
    gint64 end = g_get_monotonic_time() + G_USEC_PER_SEC / 5;
    unsigned turns = 0;

    gafork_process_send_arg(process, "1000", NULL);
    connection = gafork_run(f, process, "flood");
    gafork_wait_exit(f, process);
    for (; g_get_monotonic_time() < end; turns++)
        gafork_turn(f->main_context, G_MAXINT64, "");
    g_assert_cmpuint(turns, <, 30); /* each waits for 10 ms */
    g_autofree char *text = gafork_slurp(f, connection);
    g_assert_cmpstr(text, ==, "");
}

static void quarks_and_types(struct gafork_test *f)
{
    g_autofree char *cause = g_enum_to_string(GAFORK_TYPE_CAUSE, GAFORK_CAUSE_REQUIRE);
    g_autofree char *error = g_enum_to_string(GAFORK_TYPE_ERROR, GAFORK_ERROR_PROTOCOL);

    g_assert_cmpstr(cause, ==, "GAFORK_CAUSE_REQUIRE");
    g_assert_cmpstr(error, ==, "GAFORK_ERROR_PROTOCOL");
    g_assert_cmpstr(g_type_name(GAFORK_TYPE_PEER), ==, "GAforkPeer");
    g_assert_cmpstr(g_quark_to_string(GAFORK_ERROR), ==, "gafork-error-quark");
    g_autoptr(GAforkContext) context = gafork_context_new();
    g_assert_true(gafork_context_get_main_context(context) == f->main_context);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        gafork_func *func;
    } cases[] = {
        {"/gafork/context/options", options_reach_the_perl},
        {"/gafork/context/standard-descriptors", standard_descriptors},
        {"/gafork/context/wrong-options", wrong_options_fail_at_first_use},
        {"/gafork/context/missing-perl-is-named", missing_perl_is_named},
        {"/gafork/context/missing-directory-is-named", missing_directory_is_named},
        {"/gafork/context/set-perl", perl_can_be_changed},
        {"/gafork/context/original-peer", original_peer},
        {"/gafork/context/default", default_is_one_for_each_main_context},
        {"/gafork/context/default-of-a-process", without_context_is_the_default},
        {"/gafork/context/warnings", warnings},
        {"/gafork/context/close/fails-what-waits", close_fails_what_waits},
        {"/gafork/context/close/in-a-callback", close_in_a_callback},
        {"/gafork/context/close/by-last-reference", last_reference_closes},
        {"/gafork/context/priority", priority_is_obeyed},
        {"/gafork/context/thread", thread_with_its_own_main_context},
        {"/gafork/context/main-context-of-construction", main_context_of_construction},
        {"/gafork/context/dropped-in-another-thread", dropped_in_another_thread},
        {"/gafork/context/forked-copy", forked_copy_is_inert},
        {"/gafork/context/end-does-not-spin", end_does_not_spin},
        {"/gafork/context/types", quarks_and_types},
    };

    gafork_test_init(&argc, &argv);
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++)
        gafork_add(cases[i].path, cases[i].func);
    return g_test_run();
}
