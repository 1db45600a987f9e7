/* SPDX-License-Identifier: MIT
 *
 * What is particular to a program that executes itself (self.c): its file may be gone, and nothing
 * it starts by mistake can multiply. The latter is bounded here by variant-self.c: what finds
 * AFORK_TEST_DEPTH is a server or ends at once. The rest is in test-perl-self and
 * test-perl-own-self.
 */
#include <afork/afork-perl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "test-perl-lib.h"

static char program[4096];

/* Executed as a copy of this program: deletes its file, then uses it. */
static void be_deleted(struct test *t)
{
    test_ok(unlink(program));
    for (int i = 0; i < 2; i++) {
        g_autofree char *text = test_output(t, test_perl_new_exec(t), "list");
        g_assert_cmpstr(text, ==, "seen \n");
    }
}

static void works_after_its_file_was_deleted(struct test *t)
{
    g_autofree char *directory = g_dir_make_tmp("afork-XXXXXX", NULL);
    g_autofree char *copy = g_build_filename(directory, "program", NULL);
    g_autofree char *content = NULL, *output = NULL;
    const char *argv[] = {copy, "-p", "/self/deleted", NULL};
    g_auto(GStrv) environment = g_environ_setenv(g_get_environ(), "AFORK_TEST_DELETE", "1", TRUE);
    gsize len;
    int status;

    environment = g_environ_unsetenv(environment, "AFORK_TEST_DEPTH");
    environment = g_environ_unsetenv(environment, "G_SLICE"); /* GLib keeps what it does not run */
    g_assert_true(g_file_get_contents(program, &content, &len, NULL));
    g_assert_true(
        g_file_set_contents_full(copy, content, (gssize)len, G_FILE_SET_CONTENTS_NONE, 0755, NULL));
    g_assert_true(g_spawn_sync(NULL, (char **)argv, environment, G_SPAWN_DEFAULT, NULL, NULL,
                               &output, NULL, &status, NULL));
    g_test_message("%s", output);
    g_assert_cmpint(status, ==, 0);
    g_assert_nonnull(strstr(output, "\nok 1 /self/deleted"));
    g_assert_null(strstr(output, "SKIP"));
    g_assert_false(g_file_test(copy, G_FILE_TEST_EXISTS));
    rmdir(directory);
}

static void is_initialised_once(struct test *t)
{
    char *argv[] = {program, NULL};

    g_assert_cmpint(afork_perl_self_init(1, argv), ==, -EALREADY);
    g_assert_null(g_getenv("AFORK_PERL_SELF"));
}

/* In a worker: the program, under its own name and under that of a server, starts nothing. */
static void started_by_mistake(struct test *t)
{
    struct afork_process *process = test_perl_new_exec(t);

    test_ok(afork_process_eval(
        process,
        "my ($program) = @_; push @seen, system($program),"
        "system({$program} 'afork-perl'), system({$program} 'afork-perl', '-e1'),"
        "system($program, 'AFork::Serve::me'), $ENV{AFORK_PERL_SELF}",
        program, NULL));
    g_autofree char *text = test_output(t, process, "list");
    g_assert_cmpstr(text, ==, "seen 0 0 0 0 1\n");
}

/* `$^X` is a perl from the first line of code on, also for what PERL5OPT loads. */
static void perl_is_named_from_the_start(struct test *t)
{
    g_autofree char *directory = g_dir_make_tmp("afork-XXXXXX", NULL);
    g_autofree char *module = g_build_filename(directory, "Early.pm", NULL);
    g_autofree char *lib = g_strdup_printf("PERL5LIB=%s", directory);
    const char *const changes[] = {t->environment[0], lib, "PERL5OPT=-MEarly", NULL};

    g_assert_true(g_file_set_contents(
        module,
        "package Early; delete $ENV{PERL5OPT}; " /* which would reach the perl that is started */
        "our ($name, $answer) = ($^X, `$^X -e 'print 6 * 7'`); 1",
        -1, NULL));
    t->options.environment_changes = changes;
    struct afork_process *process = test_perl_new_exec(t);
    test_ok(afork_process_eval(process, "push @seen, $Early::name eq $^X, $Early::answer", NULL));
    g_autofree char *text = test_output(t, process, "list");
    g_assert_cmpstr(text, ==, "seen 1 42\n");
    unlink(module);
    rmdir(directory);
}

static void errors_of_the_start(struct test *t)
{
    struct afork_process *process;

    t->options.working_directory = "/nonexistent/directory";
    g_assert_cmpint(afork_process_new_exec(test_context(t), &process), ==, -ENOENT);
}

/* A plugin that is not there, and a signal that comes before or after that is known. */
static void servers_that_do_not_start(struct test *t)
{
    const char *const changes[] = {t->environment[0], "AFORK_PERL_PLUGIN=/nonexistent/plugin.so",
                                   NULL};
    struct test_exit ends[2] = {0};

    t->options.environment_changes = changes;
    t->options.standard_error.mode = AFORK_STDIO_TAIL;
    for (int i = 0; i < 2; i++) {
        struct afork_process *process = test_new_exec(t);
        test_ok(afork_process_on_exit(process, test_on_exit, &ends[i]));
        if (i)
            test_ok(afork_process_kill(process, 9));
        afork_process_unref(process);
        test_wait(t, ends[i].calls);
        g_assert_cmpint(ends[i].cause, ==, AFORK_CAUSE_START);
    }
    g_assert_cmpint(ends[0].status, ==, 127);
    g_assert_nonnull(strstr(ends[0].stderr_tail, "/nonexistent/plugin.so"));
    g_assert_true(ends[1].wait_status == 9 || ends[1].status == 127);
}

int main(int argc, char **argv)
{
    ssize_t len = readlink("/proc/self/exe", program, sizeof program - 1);

    g_assert_cmpint(len, >, 0);
    g_test_init(&argc, &argv, NULL);
    if (g_getenv("AFORK_TEST_DELETE"))
        test_perl_add("/self/deleted", be_deleted);
    test_perl_add("/self/works-after-its-file-was-deleted", works_after_its_file_was_deleted);
    test_perl_add("/self/once", is_initialised_once);
    test_perl_add("/self/started-by-mistake", started_by_mistake);
    test_perl_add("/self/perl-is-named", perl_is_named_from_the_start);
    test_perl_add("/self/errors", errors_of_the_start);
    test_perl_add("/self/does-not-start", servers_that_do_not_start);
    return g_test_run();
}
