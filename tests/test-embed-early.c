/* SPDX-License-Identifier: MIT
 *
 * What is particular to the spawner (early.c, spawner.c): its own life, what it leaves of the
 * program, and what happens where it is gone. The rest is in test-perl-early and
 * test-perl-own-early.
 */
#include <afork/afork-perl.h>
#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test-perl-lib.h"
#include "util.h"

/* Runs `code` in a copy of the program that has no spawner yet; it must exit with 0. */
#define IN_A_COPY(t, code)                                                                         \
    do {                                                                                           \
        pid_t copy = fork();                                                                       \
        int copy_status;                                                                           \
        if (!copy) {                                                                               \
            code;                                                                                  \
            _exit(0);                                                                              \
        }                                                                                          \
        g_assert_cmpint(waitpid(copy, &copy_status, 0), ==, copy);                                 \
        g_assert_cmpint(copy_status, ==, 0);                                                       \
    } while (0)

static pid_t only_child(void)
{
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents("/proc/thread-self/children", &text, NULL, NULL));
    return atoi(text);
}

static void starts_once(struct test *t)
{
    g_assert_cmpint(afork_perl_early_init(), ==, -EALREADY);
    g_assert_cmpstr(afork_perl_error(), !=, "");
}

static void copy_has_none(struct test *t)
{
    struct afork_launch launch = {.size = sizeof launch};

    IN_A_COPY(t, g_assert_cmpint(afork_perl_early_launch(&launch, NULL), ==, -ECHILD));
}

/* In a copy, a loop and a context of its own. */
static struct test *own_test(struct test *t, bool spawner)
{
    static struct test own;

    own = (struct test){.type = t->type, .options = t->options};
    own.loop_self = own.type->new ();
    own.loop = own.type->get(own.loop_self);
    if (spawner)
        test_copied();
    return &own;
}

/* Killed: launches fail at once, what runs goes on, and its zombie is reaped by the way. */
static void spawner_is_killed(struct test *t)
{
    struct test *own = own_test(t, true);
    struct afork_process *before = test_perl_new_exec(own), *after;
    struct test_exit end = {0};
    pid_t spawner = test_spawner;

    int fd = test_run_function(own, before, "echo");
    kill(spawner, SIGKILL);
    while (test_process_state(spawner) != 'Z')
        g_usleep(1000);
    g_assert_cmpint(afork_process_new_exec(own->context, &after), ==, -ECONNRESET);
    g_assert_cmpstr(afork_perl_error(), ==, "the spawner has ended");
    g_assert_cmpint(afork_process_new(own->context, &after), ==, -ECONNRESET);
    g_assert_cmpint(test_process_state(spawner), ==, 0);
    test_write(own, fd, "still", 5);
    char text[5];
    test_read(own, fd, text, 5);
    test_ok(afork_process_on_exit(before, test_on_exit, &end));
    close(fd);
    test_wait(own, end.calls);
    g_assert_cmpint(end.cause, ==, AFORK_CAUSE_EXITED);
    g_assert_cmpint(end.status, ==, 0);
    g_assert_true(end.has_usage);
    afork_process_unref(before);
    test_ok(afork_perl_early_init() == -EALREADY ? 0 : -1);
    afork_context_close(own->context);
}

static void killed_spawner(struct test *t)
{
    IN_A_COPY(t, spawner_is_killed(t));
}

/* Killed while it is asked: each process is told of, with the cause. */
static void spawner_is_killed_at_work(struct test *t)
{
    enum { N = 8 };
    struct test *own = own_test(t, true);
    struct afork_process *processes[N];
    struct test_run runs[N] = {0};
    struct test_exit ends[N] = {0};

    kill(test_spawner, SIGSTOP); /* it answers none of them */
    for (int i = 0; i < N; i++) {
        processes[i] = test_new_exec(own);
        g_assert_cmpint(afork_process_pid(processes[i]), ==, 0);
        test_ok(afork_process_kill(processes[i], SIGTERM)); /* waits for a pid that never comes */
        test_ok(afork_process_on_exit(processes[i], test_on_exit, &ends[i]));
        if (i % 2)
            test_ok(afork_process_run(processes[i], "list", test_on_run, &runs[i]));
        else
            afork_process_unref(processes[i]);
    }
    kill(test_spawner, SIGKILL);
    for (int i = 0; i < N; i++) {
        test_wait(own, ends[i].calls);
        g_assert_cmpint(ends[i].cause, ==, AFORK_CAUSE_START);
        g_assert_cmpint(ends[i].wait_status, ==, -1);
        g_assert_cmpuint(runs[i].calls, ==, i % 2);
        g_assert_cmpint(runs[i].fd, ==, i % 2 ? -ECONNRESET : 0);
        if (i % 2)
            afork_process_unref(processes[i]);
    }
    afork_context_close(own->context);
}

static void killed_at_work(struct test *t)
{
    IN_A_COPY(t, spawner_is_killed_at_work(t));
}

/* A context that is closed before its process was made leaves no zombie behind. */
static void context_closed_before_the_pid(struct test *t)
{
    struct test *own = own_test(t, true);
    struct afork_process *process = test_new_exec(own);

    kill(test_spawner, SIGSTOP);
    afork_process_unref(process);
    process = test_new_exec(own);
    afork_process_close(process);
    afork_process_unref(process);
    afork_process_unref(test_new_exec(own));
    afork_context_close(own->context);
    kill(test_spawner, SIGCONT);
    own->context = NULL;

    /* The next launches reap what the spawner tells. */
    gint64 deadline = test_deadline_new();
    g_autofree char *alone = g_strdup_printf("%d ", test_spawner), *children = NULL;
    do {
        process = test_perl_new_exec(own);
        g_free(test_output(own, process, "list"));
        afork_context_close(own->context);
        own->context = NULL;
        g_clear_pointer(&children, g_free);
        g_assert_true(g_file_get_contents("/proc/thread-self/children", &children, NULL, NULL));
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
    } while (strlen(children) > strlen(alone) + 10);
}

static char *children_of_this_thread(void)
{
    char *text = NULL;

    g_assert_true(g_file_get_contents("/proc/thread-self/children", &text, NULL, NULL));
    return text;
}

/* The same if nothing is launched any more: contexts that come and go reap it. */
static void contexts_reap_what_is_late(struct test *t)
{
    struct test *own = own_test(t, true);
    struct afork_process *process = test_new_exec(own);
    g_autofree char *alone = g_strdup_printf("%d ", test_spawner), *children = NULL;
    gint64 deadline = test_deadline_new();

    kill(test_spawner, SIGSTOP);
    afork_process_unref(process);
    afork_process_unref(test_new_exec(own));
    afork_context_close(own->context);
    kill(test_spawner, SIGCONT);
    own->context = NULL;
    for (unsigned n = 0; n < 3;) { /* nobody reaps them in between */
        g_autofree char *text = children_of_this_thread();
        n = 0;
        for (const char *c = text; *c; c++)
            n += *c == ' ';
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
    }
    do {
        test_context(own);
        afork_context_close(own->context);
        own->context = NULL;
        g_free(children);
        children = children_of_this_thread();
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
    } while (strcmp(children, alone) != 0);
}

static void reaped_by_contexts(struct test *t)
{
    IN_A_COPY(t, contexts_reap_what_is_late(t));
}

static void closed_before_the_pid(struct test *t)
{
    IN_A_COPY(t, context_closed_before_the_pid(t));
}

/* The handle was closed, the context lives: the process is told to end, and reaped. */
static void handle_closed_before_the_pid(struct test *t)
{
    struct afork_process *process;

    kill(test_spawner, SIGSTOP);
    process = test_new_exec(t);
    afork_process_close(process);
    afork_process_unref(process);
    process = test_new_exec(t);
    afork_process_unref(process);
    kill(test_spawner, SIGCONT);
    g_free(test_output(t, test_perl_new_exec(t), "list"));
}

/* A signal that is sent before the pid is known. */
static void signal_before_the_pid(struct test *t)
{
    struct test_exit end = {0};

    kill(test_spawner, SIGSTOP);
    struct afork_process *process = test_new_exec(t);
    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    test_ok(afork_process_kill(process, SIGKILL));
    kill(test_spawner, SIGCONT);
    test_wait(t, end.calls);
    g_assert_cmpint(end.wait_status, ==, SIGKILL);
    afork_process_unref(process);
}

static unsigned sockets_of_the_spawner(void)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", test_spawner);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    unsigned sockets = 0;

    for (const char *name; (name = g_dir_read_name(dir));) {
        g_autofree char *file = g_build_filename(path, name, NULL);
        g_autofree char *target = g_file_read_link(file, NULL);
        if (!target)
            continue; /* it has just been closed */
        sockets += g_str_has_prefix(target, "socket:");
        if (atoi(name) < 2)
            g_assert_cmpstr(target, ==, "/dev/null");
    }
    return sockets;
}

/* The spawner has nothing of the program's open, but for what it is about to hand on, ignores the
 * terminal's signals, and ends with it. */
static void spawner_holds_nothing(struct test *t)
{
    test_wait(t, sockets_of_the_spawner() == 1);
    kill(test_spawner, SIGINT);
    kill(test_spawner, SIGHUP);
    kill(test_spawner, SIGTSTP);
    g_free(test_output(t, test_perl_new_exec(t), "list"));
}

static void ends_with_the_program(struct test *t)
{
    int ends[2], spawner;

    test_ok(pipe2(ends, O_CLOEXEC));
    pid_t copy = fork();
    if (!copy) {
        test_copied();
        dprintf(ends[1], "%d\n", test_spawner);
        if (fork()) /* a copy of the copy, which holds what it held */
            raise(SIGKILL);
        close(ends[1]);
        prctl(PR_SET_PDEATHSIG, 0);
        g_usleep(3 * G_USEC_PER_SEC);
        _exit(0);
    }
    spawner = test_read_number(t, ends[0]);
    g_assert_cmpint(waitpid(copy, NULL, 0), ==, copy);
    gint64 start = g_get_monotonic_time();
    test_wait(t, !test_is_running(spawner));
    g_assert_cmpint(g_get_monotonic_time() - start, <, G_USEC_PER_SEC);
    close(ends[0]);
    close(ends[1]);
}

/* Errors of a launch itself come from the call. */
static void directory_that_is_not_there(struct test *t)
{
    struct afork_process *process;

    t->options.working_directory = "/nonexistent/directory";
    g_assert_cmpint(afork_process_new_exec(test_context(t), &process), ==, -ENOENT);
    g_assert_nonnull(strstr(afork_perl_error(), "/nonexistent/directory"));
}

/* Far more than a message takes. */
static void large_environment(struct test *t)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *value = g_strnfill(2000, 'v');

    for (int i = 0; i < 500; i++)
        g_ptr_array_add(list, g_strdup_printf("VARIABLE_%d=%s%d", i, value, i));
    g_ptr_array_add(list, g_strdup("TWICE=first"));
    g_ptr_array_add(list, g_strdup("TWICE=second"));
    g_ptr_array_add(list, g_strdup("EMPTY="));
    g_ptr_array_add(list, NULL);
    t->options.environment = (const char *const *)list->pdata;
    struct afork_process *process = test_perl_new_exec(t);
    test_ok(
        afork_process_eval(process,
                           "push @seen, scalar(grep /^VARIABLE_/, keys %ENV),"
                           "substr($ENV{VARIABLE_499}, -4), $ENV{TWICE}, \"<$ENV{EMPTY}>\","
                           "exists $ENV{PATH} ? 'PATH' : 'none', `echo \\$VARIABLE_0` =~ /^v+0$/",
                           NULL));
    g_autofree char *text = test_output(t, process, "list");
    g_assert_cmpstr(text, ==, "seen 500 v499 first <> none 1\n");
}

static void *launch_in_thread(void *data)
{
    struct test *t = data;
    struct test own = {.type = t->type, .options = t->options};

    own.loop_self = own.type->new ();
    own.loop = own.type->get(own.loop_self);
    for (int i = 0; i < 10; i++) {
        g_autofree char *text = test_output(&own, test_perl_new_exec(&own), "list");
        g_assert_cmpstr(text, ==, "seen \n");
    }
    afork_context_close(own.context);
    own.type->free(own.loop_self);
    return NULL;
}

static void contexts_in_threads(struct test *t)
{
    pthread_t threads[4];

    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
        test_ok(pthread_create(&threads[i], NULL, launch_in_thread, t));
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
        test_ok(pthread_join(threads[i], NULL));
}

static void *wait_for_release(void *lock)
{
    pthread_mutex_lock(lock);
    return NULL;
}

static void not_with_threads(struct test *t)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_t thread;

    pthread_mutex_lock(&lock);
    IN_A_COPY(t, test_ok(pthread_create(&thread, NULL, wait_for_release, &lock));
              g_assert_cmpint(afork_perl_early_init(), ==, -EBUSY));
}

/* A plugin that cannot be had is an error with words, and leaves nothing behind. */
static void plugin_that_is_not_there(struct test *t)
{
    g_autofree char *plugin = g_strdup(g_getenv("AFORK_PERL_PLUGIN"));

    IN_A_COPY(t, g_setenv("AFORK_PERL_PLUGIN", "/nonexistent/plugin.so", TRUE);
              g_assert_cmpint(afork_perl_early_init(), ==, -ENOENT);
              g_assert_nonnull(strstr(afork_perl_error(), "/nonexistent/plugin.so"));
              g_setenv("AFORK_PERL_PLUGIN", "/etc/passwd", TRUE);
              g_assert_cmpint(afork_perl_early_init(), ==, -ELIBBAD);
              g_assert_cmpint(only_child(), ==, 0); g_setenv("AFORK_PERL_PLUGIN", plugin, TRUE);
              g_setenv("PERL5OPT", "-MNo::Such::Module", TRUE); close(STDERR_FILENO);
              g_assert_cmpint(afork_perl_early_init(), ==, -ENOEXEC));
}

/* Nothing of the program changes, whatever the locale. */
static void program_is_as_it_was(struct test *t)
{
    const char *const locales[] = {"C", "C.UTF-8", "de_DE.UTF-8", "xx_YY.ISO-1"};

    for (size_t i = 0; i < G_N_ELEMENTS(locales); i++) {
        struct sigaction before[NSIG] = {0}, after[NSIG] = {0};
        g_auto(GStrv) environment = g_get_environ();

        g_setenv("LC_ALL", locales[i], TRUE);
        setlocale(LC_ALL, "");
        g_autofree char *locale = g_strdup(setlocale(LC_ALL, NULL));
        g_autofree char *codeset = g_strdup(nl_langinfo(CODESET));
        for (int signal = 1; signal < NSIG; signal++)
            sigaction(signal, NULL, &before[signal]);
        IN_A_COPY(
            t, struct test *own = own_test(t, true);
            g_free(test_output(own, test_perl_new_exec(own), "list"));
            afork_context_close(own->context); g_assert_cmpstr(setlocale(LC_ALL, NULL), ==, locale);
            g_assert_cmpstr(nl_langinfo(CODESET), ==, codeset);
            g_assert_cmpstr(g_getenv("LC_ALL"), ==, locales[i]);
            g_assert_null(g_getenv("PERL_BADLANG")); for (int signal = 1; signal < NSIG; signal++) {
                sigaction(signal, NULL, &after[signal]);
                g_assert_true(before[signal].sa_handler == after[signal].sa_handler);
            });
        if (g_environ_getenv(environment, "LC_ALL"))
            g_setenv("LC_ALL", g_environ_getenv(environment, "LC_ALL"), TRUE);
        else
            g_unsetenv("LC_ALL");
    }
    setlocale(LC_ALL, "C");
}

/* `$^X` is a perl, and everything else as executed. */
static void perl_is_named(struct test *t)
{
    struct afork_process *process = test_perl_new_exec(t);
    g_autofree char *pid = g_strdup_printf("%d", getpid());

    test_ok(afork_process_eval(process, "push @seen, `$^X -e 'print 6 * 7'`, getppid == $_[0], $$",
                               pid, NULL));
    struct test_run run = {0};
    test_ok(afork_process_run(process, "list", test_on_run, &run));
    test_wait(t, run.calls);
    g_autofree char *expected = g_strdup_printf("seen 42 1 %d\n", run.pid);
    afork_process_unref(process);
    g_autofree char *text = test_slurp(t, run.fd, NULL);
    g_assert_cmpstr(text, ==, expected);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_perl_add("/early/once", starts_once);
    test_perl_add("/early/copy", copy_has_none);
    test_perl_add("/early/killed", killed_spawner);
    test_perl_add("/early/killed-at-work", killed_at_work);
    test_perl_add("/early/closed-before-the-pid/context", closed_before_the_pid);
    test_perl_add("/early/closed-before-the-pid/reaped-by-contexts", reaped_by_contexts);
    test_perl_add("/early/closed-before-the-pid/handle", handle_closed_before_the_pid);
    test_perl_add("/early/signal-before-the-pid", signal_before_the_pid);
    test_perl_add("/early/holds-nothing", spawner_holds_nothing);
    test_perl_add("/early/ends-with-the-program", ends_with_the_program);
    test_perl_add("/early/directory", directory_that_is_not_there);
    test_perl_add("/early/large-environment", large_environment);
    test_perl_add("/early/threads/contexts", contexts_in_threads);
    test_perl_add("/early/threads/refused", not_with_threads);
    test_perl_add("/early/no-plugin", plugin_that_is_not_there);
    test_perl_add("/early/program-as-it-was", program_is_as_it_was);
    test_perl_add("/early/perl-is-named", perl_is_named);
    return g_test_run();
}
