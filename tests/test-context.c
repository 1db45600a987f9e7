/* SPDX-License-Identifier: MIT
 *
 * Contexts: what their options do to the servers, which of them are refused, perls that change, and
 * peers of the original kind. Against the fake server.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test-lib.h"
#include "util.h"

static void assert_refused(struct test *t, const struct afork_context_options *options, int error)
{
    struct afork_context *context;

    g_assert_cmpint(afork_context_new(t->loop, options, &context), ==, error);
}

static void short_table_is_refused(struct test *t)
{
    struct afork_loop_ops ops = *t->loop->ops;
    struct afork_loop loop = {.ops = &ops};
    struct afork_context *context;

    g_assert_cmpint(afork_context_new(NULL, NULL, &context), ==, -EINVAL);
    g_assert_cmpint(afork_context_new(t->loop, NULL, NULL), ==, -EINVAL);
    ops.size--;
    g_assert_cmpint(afork_context_new(&loop, NULL, &context), ==, -EINVAL);
    ops.size = 0;
    g_assert_cmpint(afork_context_new(&loop, NULL, &context), ==, -EINVAL);
    loop.ops = NULL;
    g_assert_cmpint(afork_context_new(&loop, NULL, &context), ==, -EINVAL);
    afork_context_close(NULL);
}

static void contradictions_are_refused(struct test *t)
{
    static const char *const no_value[] = {"A=1", "B", NULL}, *const no_name[] = {"=1", NULL},
                             *const empty[] = {"", NULL};
    const struct afork_context_options good = AFORK_CONTEXT_OPTIONS_INIT;
    struct afork_context_options bad;

    bad = (struct afork_context_options){0}; /* without the initialiser */
    assert_refused(t, &bad, -EINVAL);
    bad = good;
    bad.serve_module = "AnyEvent::Fork::Serve"; /* our own server has no other */
    assert_refused(t, &bad, -EINVAL);
    bad = good;
    bad.peer = (enum afork_peer)7;
    assert_refused(t, &bad, -EINVAL);
    bad = good;
    bad.threads = (enum afork_threads)7;
    assert_refused(t, &bad, -EINVAL);
    bad = good;
    bad.standard_input.mode = (enum afork_stdio_mode)7;
    assert_refused(t, &bad, -EINVAL);
    bad = good;
    bad.standard_output = (struct afork_stdio){.mode = AFORK_STDIO_FD, .fd = 9999};
    assert_refused(t, &bad, -EBADF);
    bad = good;
    bad.environment = no_value;
    assert_refused(t, &bad, -EINVAL);
    bad.environment = no_name;
    assert_refused(t, &bad, -EINVAL);
    bad = good;
    bad.environment_changes = no_name;
    assert_refused(t, &bad, -EINVAL);
    bad.environment_changes = empty;
    assert_refused(t, &bad, -EINVAL);
}

/* The surroundings of a server, as lines; the caller frees them. */
static char *surroundings(struct test *t)
{
    return test_output(t, test_new_exec(t), "surroundings");
}

static bool has_line(const char *text, const char *line)
{
    g_autofree char *first = g_strdup_printf("%s\n", line),
                    *other = g_strdup_printf("\n%s\n", line);

    return g_str_has_prefix(text, first) || strstr(text, other);
}

static void environment_is_inherited(struct test *t)
{
    g_setenv("AFORK_TEST_A", "early", TRUE);
    test_context(t);
    g_setenv("AFORK_TEST_A", "late", TRUE); /* taken anew at each start */
    g_autofree char *text = surroundings(t);
    g_assert_true(has_line(text, "env AFORK_TEST_A=late"));
    g_unsetenv("AFORK_TEST_A");
}

static void environment_is_changed(struct test *t)
{
    g_setenv("AFORK_TEST_A", "a", TRUE);
    g_setenv("AFORK_TEST_B", "b", TRUE);
    g_setenv("AFORK_TEST_AB", "ab", TRUE);
    const char *const changes[] = {t->environment[0],
                                   "AFORK_TEST_A",
                                   "AFORK_TEST_B=first",
                                   "AFORK_TEST_B=second",
                                   "AFORK_TEST_NEW=x=y",
                                   "AFORK_TEST_NONE",
                                   NULL};
    t->options.environment_changes = changes;
    g_autofree char *text = surroundings(t);
    g_assert_null(strstr(text, "AFORK_TEST_A="));
    g_assert_null(strstr(text, "first"));
    g_assert_null(strstr(text, "AFORK_TEST_NONE"));
    g_assert_true(has_line(text, "env AFORK_TEST_B=second"));
    g_assert_true(has_line(text, "env AFORK_TEST_AB=ab"));
    g_assert_true(has_line(text, "env AFORK_TEST_NEW=x=y"));
    g_assert_cmpstr(g_getenv("AFORK_TEST_A"), ==, "a"); /* the host's own is as it was */
    g_unsetenv("AFORK_TEST_A");
    g_unsetenv("AFORK_TEST_B");
    g_unsetenv("AFORK_TEST_AB");
}

static void environment_is_replaced(struct test *t)
{
    const char *const environment[] = {"ONE=1", "TWO=2", t->environment[0], NULL};
    const char *const changes[] = {"TWO", "THREE=3", NULL};

    t->options.environment = environment;
    t->options.environment_changes = changes;
    g_autofree char *text = surroundings(t);
    unsigned n = 0;
    for (const char *line = text; (line = strstr(line, "\nenv ")); line++)
        n++;
    g_assert_cmpuint(n, ==, 3);
    g_assert_true(has_line(text, "env ONE=1"));
    g_assert_true(has_line(text, "env THREE=3"));
}

static void directory_and_session(struct test *t)
{
    g_autofree char *plain = surroundings(t);
    g_autofree char *here = g_get_current_dir(), *line = g_strdup_printf("cwd %s", here);

    g_assert_true(has_line(plain, line));
    g_assert_true(has_line(plain, "session 0"));
    afork_context_close(t->context);
    t->context = NULL;

    t->options.working_directory = "/proc";
    t->options.new_session = true;
    g_autofree char *text = surroundings(t);
    g_assert_true(has_line(text, "cwd /proc"));
    g_assert_true(has_line(text, "session 1"));
    afork_context_close(t->context);
    t->context = NULL;

    struct afork_process *process;
    t->options.working_directory = "/nowhere/at/all";
    g_assert_cmpint(afork_process_new_exec(test_context(t), &process), ==, -ENOENT);
    g_assert_cmpint(afork_process_new(t->context, &process), ==, -ENOENT);
}

static void command_line_of_our_own(struct test *t)
{
    const char *const dirs[] = {"/one", "/two words", NULL};

    t->options.include_dirs = dirs;
    t->options.threads = AFORK_THREADS_REFUSE;
    g_autofree char *text = surroundings(t);
    g_autofree char *owner = g_strdup_printf("argv %d", getpid());
    g_assert_true(has_line(text, "argv /one"));
    g_assert_true(has_line(text, "argv /two words"));
    g_assert_true(has_line(text, "argv AFork::Serve::me"));
    g_assert_true(has_line(text, owner));
    g_assert_true(has_line(text, "argv refuse-threads"));
}

static void command_line_of_an_original(struct test *t)
{
    t->options.peer = AFORK_PEER_ORIGINAL;
    t->options.serve_module = "AnyEvent::Fork::Serve";
    g_autofree char *text = surroundings(t);
    g_autofree char *last = g_strdup_printf("argv -MAnyEvent::Fork::Serve\nargv -e\n"
                                            "argv AnyEvent::Fork::Serve::me\nargv 3\nargv %d\nenv ",
                                            getpid());
    g_assert_nonnull(strstr(text, last));
    g_assert_null(strstr(text, "argv refuse-threads"));
}

/* What `number` is in a server; the caller frees it. */
static char *descriptor_of(const char *text, int number)
{
    g_autofree char *start = g_strdup_printf("\n%d ", number), *all = g_strdup_printf("\n%s", text);
    const char *found = strstr(all, start);

    g_assert_nonnull(found);
    found += strlen(start);
    return g_strndup(found, strcspn(found, "\n"));
}

static void assert_descriptors(struct test *t, const char *const expected[3])
{
    g_autofree char *text = test_output(t, test_new_exec(t), "descriptors");

    for (int i = 0; i < 3; i++) {
        g_autofree char *target = descriptor_of(text, i);
        g_assert_cmpstr(target, ==, expected[i]);
    }
    afork_context_close(t->context);
    t->context = NULL;
}

static void standard_descriptors(struct test *t)
{
    const char *const null = "/dev/null";
    g_autofree char *in = g_file_read_link("/proc/self/fd/0", NULL);
    g_autofree char *out = g_file_read_link("/proc/self/fd/1", NULL);
    g_autofree char *err = g_file_read_link("/proc/self/fd/2", NULL);
    int ends[2];

    assert_descriptors(t, (const char *[]){null, out, err});
    t->options.standard_input.mode = AFORK_STDIO_INHERIT;
    t->options.standard_output.mode = t->options.standard_error.mode = AFORK_STDIO_NULL;
    assert_descriptors(t, (const char *[]){in, null, null});

    /* Exchanged numbers, and one descriptor for two. */
    test_ok(pipe(ends));
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", ends[0]);
    g_autofree char *pipe_name = g_file_read_link(path, NULL);
    t->options.standard_input = (struct afork_stdio){.mode = AFORK_STDIO_FD, .fd = ends[0]};
    t->options.standard_output = t->options.standard_error = (struct afork_stdio){
        .mode = AFORK_STDIO_FD, .fd = ends[1]};
    test_context(t);
    close(ends[0]); /* duplicated when the context was made */
    close(ends[1]);
    assert_descriptors(t, (const char *[]){pipe_name, pipe_name, pipe_name});
    t->options.standard_input = t->options.standard_error = (struct afork_stdio){
        .mode = AFORK_STDIO_FD, .fd = 1};
    t->options.standard_output = (struct afork_stdio){.mode = AFORK_STDIO_FD, .fd = 2};
    assert_descriptors(t, (const char *[]){out, err, out});
}

/* 0 if servers and channels are as they must be in a host without standard descriptors. */
static int use_without_stdio(struct test *t, int n_closed)
{
    struct test copy = {.type = &test_loop_poll, .options = t->options};

    for (int fd = 0; fd < n_closed; fd++)
        close(fd);
    copy.loop_self = copy.type->new ();
    copy.loop = copy.type->get(copy.loop_self);
    for (int way = 0; way < 2; way++) {
        int fd = test_run_and_unref(&copy, way ? test_new(&copy) : test_new_exec(&copy),
                                    "descriptors");
        if (fd < 3)
            return 1;
        g_autofree char *text = test_slurp(&copy, fd, NULL);
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        if (g_strv_length(lines) != 5)
            return 2;
        for (int i = 0; i < n_closed; i++)
            if (!g_str_has_suffix(lines[i], " /dev/null"))
                return 3;
        if (!strstr(lines[3], "socket:") || atoi(lines[3]) < 3)
            return 4;
    }
    afork_context_close(copy.context);
    copy.type->free(copy.loop_self);
    return 0;
}

static void host_without_standard_descriptors(struct test *t)
{
    int status;

    for (int n_closed = 1; n_closed <= 3; n_closed++) {
        pid_t pid = fork();
        if (!pid)
            _exit(use_without_stdio(t, n_closed));
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_true(WIFEXITED(status));
        g_assert_cmpint(WEXITSTATUS(status), ==, 0);
    }
}

/* What the user does with options and lists after the call is nothing to the context. */
static void options_are_copied(struct test *t)
{
    char perl[4096], variable[] = "AFORK_TEST_A=1", directory[] = "/proc";
    const char *changes[] = {t->environment[0], variable, NULL};

    g_strlcpy(perl, t->options.perl, sizeof perl);
    t->options.perl = perl;
    t->options.environment_changes = changes;
    t->options.working_directory = directory;
    test_context(t);
    memset(perl, 'x', sizeof perl - 1);
    memset(variable, 'x', sizeof variable - 1);
    memset(directory, 'x', sizeof directory - 1);
    changes[1] = "broken";
    memset(&t->options, 0xee, sizeof t->options);
    g_autofree char *text = surroundings(t);
    g_assert_true(has_line(text, "env AFORK_TEST_A=1"));
    g_assert_true(has_line(text, "cwd /proc"));
}

static void perl_by_environment_and_path(struct test *t)
{
    g_autofree char *path = g_strdup(g_getenv("PATH"));
    g_autofree char *directory = g_path_get_dirname(t->options.perl);
    g_autofree char *absolute = g_canonicalize_filename(directory, NULL);
    g_autofree char *saved = g_strdup(g_getenv("AFORK_PERL"));

    g_setenv("AFORK_PERL", "fake-server", TRUE);
    g_setenv("PATH", absolute, TRUE);
    t->options.perl = NULL;
    g_assert_cmpstr(afork_context_get_perl(test_context(t)), ==, "fake-server");
    g_free(test_output(t, test_new(t), "return"));
    g_setenv("PATH", path, TRUE);
    g_unsetenv("AFORK_PERL");
    g_assert_true(g_str_has_suffix(afork_context_get_perl(t->context), "/afork-perl"));
    if (saved)
        g_setenv("AFORK_PERL", saved, TRUE);
}

/* The parent of the default template's fork. */
static int template_of(struct test *t)
{
    g_autofree char *text = test_output(t, test_new(t), "status");
    return atoi(strstr(text, "\nPPid:") + strlen("\nPPid:"));
}

static void perl_is_changed_for_later_starts(struct test *t)
{
    struct afork_process *before = test_new(t), *late;
    int first = template_of(t);

    g_assert_cmpint(template_of(t), ==, first);
    test_ok(afork_context_set_perl(t->context, "/nowhere/perl", AFORK_PEER_OWN, NULL));
    g_assert_cmpint(afork_process_new(t->context, &late), ==, -ENOENT);
    g_assert_cmpint(afork_context_set_perl(t->context, NULL, AFORK_PEER_OWN, "X"), ==, -EINVAL);
    g_assert_cmpint(afork_context_set_perl(NULL, NULL, AFORK_PEER_OWN, NULL), ==, -EINVAL);
    test_ok(afork_context_set_perl(t->context, t->options.perl, AFORK_PEER_OWN, NULL));
    g_assert_cmpint(template_of(t), !=, first);

    struct afork_process *child = test_fork(before); /* what was made before goes on */
    g_free(test_output(t, child, "return"));
    g_free(test_output(t, before, "return"));
}

static void contexts_share_a_loop(struct test *t)
{
    struct test second = *t;

    struct afork_process *a = test_new(t), *b = test_new(&second);
    test_ok(afork_process_eval(a, "one", NULL));
    test_ok(afork_process_eval(b, "two", NULL));
    g_autofree char *of_b = test_output(&second, b, "dump");
    afork_context_close(second.context);
    g_autofree char *of_a = test_output(t, a, "dump");
    g_assert_cmpstr(of_a, ==, "code one\n");
    g_assert_cmpstr(of_b, ==, "code two\n");
}

/* An original does not report: the run is told when all is written, the end only of direct
 * children, and no pids. */
static void original_peer(struct test *t)
{
    t->options.peer = AFORK_PEER_ORIGINAL;
    struct afork_process *direct = test_new_exec(t), *forked = test_fork(direct);
    struct test_exit end_direct = {0}, end_forked = {0};

    g_assert_cmpint(afork_process_pid(direct), >, 0);
    g_assert_cmpint(afork_process_peer_pid(forked), ==, 0);
    g_assert_cmpint(afork_process_kill(forked, SIGTERM), ==, -ENOTSUP);
    test_ok(afork_process_on_exit(direct, test_on_exit, &end_direct));
    test_ok(afork_process_on_exit(forked, test_on_exit, &end_forked));
    test_ok(afork_process_eval(forked, "note", NULL));
    int fd = test_run_and_unref(t, forked, "dump");
    test_wait(t, end_forked.calls);
    g_assert_cmpint(end_forked.cause, ==, AFORK_CAUSE_UNKNOWN);
    g_autofree char *text = test_slurp(t, fd, NULL);
    g_assert_cmpstr(text, ==, "code note\n");

    test_ok(afork_process_send_arg(direct, "9", 1));
    g_free(test_output(t, direct, "exit"));
    test_wait(t, end_direct.calls);
    g_assert_cmpint(end_direct.cause, ==, AFORK_CAUSE_EXITED);
    g_assert_cmpint(end_direct.status, ==, 9);
}

/* Errors of an original are ends of file. */
static void original_peer_that_fails(struct test *t)
{
    struct test_exit end_direct = {0}, end_forked = {0};

    t->options.peer = AFORK_PEER_ORIGINAL;
    struct afork_process *direct = test_new_exec(t), *forked = test_fork(direct);
    test_ok(afork_process_on_exit(direct, test_on_exit, &end_direct));
    test_ok(afork_process_on_exit(forked, test_on_exit, &end_forked));
    test_ok(afork_process_eval(forked, "exit 3", NULL));
    test_wait(t, end_forked.calls);
    g_assert_cmpint(end_forked.cause, ==, AFORK_CAUSE_UNKNOWN);
    test_ok(afork_process_eval(direct, "exit 3", NULL));
    test_wait(t, end_direct.calls);
    g_assert_cmpint(end_direct.status, ==, 3);
    afork_process_unref(direct);
    afork_process_unref(forked);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_add("/context/loop/short-table", short_table_is_refused);
    test_add_for(&test_loop_poll, "/context/options/contradictions", contradictions_are_refused);
    test_add_for(&test_loop_poll, "/context/options/copied", options_are_copied);
    test_add_for(&test_loop_poll, "/context/environment/inherited", environment_is_inherited);
    test_add_for(&test_loop_poll, "/context/environment/changed", environment_is_changed);
    test_add_for(&test_loop_poll, "/context/environment/replaced", environment_is_replaced);
    test_add_for(&test_loop_poll, "/context/directory-and-session", directory_and_session);
    test_add_for(&test_loop_poll, "/context/command-line/own", command_line_of_our_own);
    test_add_for(&test_loop_poll, "/context/command-line/original", command_line_of_an_original);
    test_add_for(&test_loop_poll, "/context/stdio/modes", standard_descriptors);
    test_add_for(&test_loop_poll, "/context/stdio/host-has-none",
                 host_without_standard_descriptors);
    test_add_for(&test_loop_poll, "/context/perl/by-environment", perl_by_environment_and_path);
    test_add("/context/perl/changed", perl_is_changed_for_later_starts);
    test_add("/context/two-on-a-loop", contexts_share_a_loop);
    test_add("/context/original/works", original_peer);
    test_add("/context/original/fails", original_peer_that_fails);
    return g_test_run();
}
