/* SPDX-License-Identifier: MIT
 *
 * Environments that perls meet: none at all, one of another perl, one for debugging. Each server
 * works, or fails with one error that names the cause.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test-perl-lib.h"

/* A folder that goes with everything in it. */
static char *make_folder(void)
{
    return g_dir_make_tmp("afork-XXXXXX", NULL);
}

static void remove_folder(char *path)
{
    const char *argv[] = {"rm", "-rf", path, NULL};

    g_assert_true(g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL,
                               NULL, NULL, NULL));
    g_free(path);
}

typedef char folder;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(folder, remove_folder)

/* Writes FOLDER/NAME, with folders above it. */
static void write_file(const char *directory, const char *name, const char *content, int mode)
{
    g_autofree char *path = g_build_filename(directory, name, NULL);
    g_autofree char *above = g_path_get_dirname(path);

    g_mkdir_with_parents(above, 0700);
    g_assert_true(g_file_set_contents(path, content, -1, NULL));
    chmod(path, (mode_t)mode);
}

/* The options' changes to the environment, with the mark that the fixture put there. */
static void set_changes(struct test *t, const char *const *changes)
{
    static const char *list[8];
    size_t n = 0;

    list[n++] = t->environment[0];
    for (; *changes; changes++)
        list[n++] = *changes;
    list[n] = NULL;
    t->options.environment_changes = list;
}

/* The next one is made with the options as they are then. */
static void close_context(struct test *t)
{
    afork_context_close(t->context);
    t->context = NULL;
}

static void works(struct test *t)
{
    struct afork_process *template = test_perl_new(t);

    test_ok(afork_process_require(template, "Cwd", "List::Util", "POSIX", NULL));
    test_ok(
        afork_process_eval(template, "push @seen, POSIX::floor(2.5), List::Util::sum(1, 2)", NULL));
    g_autofree char *text = test_output(t, test_fork(template), "list");
    g_assert_cmpstr(text, ==, "seen 2 3\n");
    afork_process_unref(template);
}

/* As test_on_exit(), but the original writes NULs with its errors. */
static void on_exit_with_nuls(struct afork_process *process, const struct afork_exit *exit,
                              void *data)
{
    struct test_exit *end = data;
    size_t len = MIN(exit->stderr_tail_len, sizeof end->stderr_tail - 1);

    end->calls++;
    end->cause = exit->cause;
    end->status = exit->status;
    g_strlcpy(end->message, exit->message, sizeof end->message);
    for (size_t i = 0; i < len; i++)
        end->stderr_tail[i] = exit->stderr_tail[i] ? exit->stderr_tail[i] : ' ';
    end->stderr_tail[len] = '\0';
}

/* A process that loads Cwd, as far as it comes. */
static struct test_exit failure(struct test *t)
{
    struct test_exit end = {0};
    struct test_run run = {0};

    t->options.standard_error.mode = AFORK_STDIO_TAIL;
    struct afork_process *process = test_new_exec(t);
    test_ok(afork_process_on_exit(process, on_exit_with_nuls, &end));
    int result = afork_process_require(process, "Cwd", NULL); /* it may be gone already */
    if (!result)
        result = afork_process_eval(process, "sub f { 1 }", NULL);
    if (!result)
        result = afork_process_run(process, "f", test_on_run, &run);
    test_wait(t, end.calls);
    g_test_message("cause %d: %s; standard error: %s", end.cause, end.message, end.stderr_tail);
    g_assert_true(!result || result == -ESRCH);
    g_assert_cmpuint(run.calls, ==, !result);
    if (run.calls && run.fd >= 0)
        close(run.fd);
    afork_process_unref(process);
    return end;
}

/* Nothing is set, and the perl is nowhere in PATH. */
static void empty_environment(struct test *t)
{
    static const char *const nothing[] = {NULL};
    static const char *dirs[3];
    g_autoptr(folder) place = make_folder();
    g_autofree char *perl = g_build_filename(place, "another-name", NULL);
    g_autofree char *lib = g_build_filename(place, "lib", NULL);
    g_auto(GStrv) before = g_get_environ();
    g_autofree char *real = g_find_program_in_path(t->options.perl);

    write_file(lib, "Private/Module.pm", "package Private::Module; sub here { 'here' } 1", 0600);
    test_ok(symlink(real, perl));
    dirs[0] = lib;
    dirs[1] = t->options.include_dirs ? t->options.include_dirs[0] : NULL;
    t->options.include_dirs = dirs;
    t->options.perl = perl;
    t->options.environment = nothing;
    struct afork_process *template = test_perl_new(t);
    test_ok(afork_process_require(template, "Private::Module", "POSIX", NULL));
    test_ok(afork_process_eval(template,
                               "push @seen, Private::Module::here(), POSIX::floor(2.5), "
                               "grep !/^AFORK_TEST_MARK$/, sort keys %ENV",
                               NULL));
    g_autofree char *text = test_output(t, test_fork(template), "list");
    g_assert_cmpstr(text, ==, "seen here 2\n");
    afork_process_unref(template);
    g_auto(GStrv) after = g_get_environ();
    g_assert_true(g_strv_equal((const char *const *)before, (const char *const *)after));
}

/* A perl that is named by its path is not looked for. */
static void fake_perl_in_path(struct test *t)
{
    static const char fake[] = "#!/bin/sh\necho this is no perl >&2\nexit 3\n";
    g_autoptr(folder) place = make_folder();
    g_autofree char *real = g_find_program_in_path(t->options.perl);
    g_autofree char *before = g_strdup(g_getenv("PATH"));
    g_autofree char *path = g_strdup_printf("%s:%s", place, before);

    write_file(place, "perl", fake, 0700);
    write_file(place, "afork-perl", fake, 0700);
    g_setenv("PATH", path, TRUE);
    t->options.perl = real;
    works(t);
    close_context(t);
    t->options.perl = "perl"; /* this one is */
    struct test_exit end = failure(t);
    g_setenv("PATH", before, TRUE);
    g_assert_nonnull(strstr(end.stderr_tail, "this is no perl"));
    g_assert_cmpint(end.status, ==, 3);
    if (t->options.peer == AFORK_PEER_OWN) {
        g_assert_cmpint(end.cause, ==, AFORK_CAUSE_START);
        g_assert_nonnull(strstr(end.message, "perl exited with status 3 before it could serve"));
    }
}

/* What fails with a variable works when the options drop it. */
static void fails_with(struct test *t, const char *variable, const char *value, const char *text,
                       bool in_message)
{
    g_autofree char *setting = g_strdup_printf("%s=%s", variable, value);
    const char *const with[] = {setting, NULL}, *const without[] = {variable, NULL};

    set_changes(t, with);
    struct test_exit end = failure(t);
    close_context(t);
    if (text) {
        g_assert_nonnull(strstr(end.stderr_tail, text));
        if (t->options.peer == AFORK_PEER_OWN) /* the original exits with 0 */
            g_assert_cmpint(end.status, !=, 0);
    }
    if (in_message && t->options.peer == AFORK_PEER_OWN)
        g_assert_nonnull(strstr(end.message, text));
    if (!text)
        g_assert_true(end.status == 0 || *end.stderr_tail);

    g_autofree char *before = g_strdup(g_getenv(variable));
    g_setenv(variable, value, TRUE); /* as a bundle does it that holds the host */
    set_changes(t, without);
    works(t);
    close_context(t);
    if (before)
        g_setenv(variable, before, TRUE);
    else
        g_unsetenv(variable);
}

static void modules_of_another_perl(struct test *t)
{
    static const char cwd[] = "package Cwd; our $VERSION = '0.01'; require XSLoader; "
                              "XSLoader::load('Cwd', $VERSION); 1";
    g_autoptr(folder) junk = make_folder(), old = make_folder();

    write_file(old, "Cwd.pm", cwd, 0600);
    fails_with(t, "PERL5LIB", old, "Cwd object version", true);
    write_file(junk, "Cwd.pm", cwd, 0600);
    write_file(junk, "auto/Cwd/Cwd.so", "junk", 0600);
    fails_with(t, "PERL5LIB", junk, "auto/Cwd/Cwd.so", true);
}

static void libraries_of_another_perl(struct test *t)
{
    g_autoptr(folder) junk = make_folder(), broken = make_folder();

    /* Needed by some perls: those fail, and say so. */
    for (int minor = 28; minor < 46; minor++) {
        g_autofree char *name = g_strdup_printf("libperl.so.5.%d", minor);
        write_file(junk, name, "junk", 0700);
    }
    fails_with(t, "LD_LIBRARY_PATH", junk, NULL, false);
    write_file(broken, "libc.so.6", "junk", 0700);
    fails_with(t, "LD_LIBRARY_PATH", broken, "libc.so.6", false);
}

static void variables_for_debugging(struct test *t)
{
    g_autoptr(folder) place = make_folder();
    g_autofree char *lib = g_strdup_printf("PERL5LIB=%s", place);
    const char *const settings[][3] = {
        {"PERL5OPT=-Mdiagnostics", NULL}, {"PERL5OPT=-d", NULL},
        {"PERL5OPT=-MNoisy", lib, NULL},  {"PERL5OPT=-w", "PERL5DB=die 'debugger'", NULL},
        {"PERL_UNICODE=SDA", NULL},       {"PERLIO=:utf8", "PERL_UNICODE=", NULL},
        {"PERL_DESTRUCT_LEVEL=2", NULL},  {"PERL_HASH_SEED=0", NULL},
    };

    write_file(place, "Noisy.pm",
               "package Noisy; $| = 1; print 'out '; print STDERR 'err '; END { print 'end' } 1",
               0600);
    t->options.standard_error.mode = AFORK_STDIO_NULL;
    t->options.standard_output.mode = AFORK_STDIO_NULL;
    for (size_t i = 0; i < G_N_ELEMENTS(settings); i++) {
        if (t->options.serve_module && g_str_has_prefix(settings[i][0], "PERLIO="))
            continue; /* the original reads commands through those layers */
        g_test_message("%s", settings[i][0]);
        set_changes(t, settings[i]);
        works(t);
        close_context(t);
    }
}

/* A host at a terminal of its own, under a debugger that is meant for it. */
static G_GNUC_NORETURN void debug_at_terminal(const struct test *t, const char *terminal)
{
    static const char *const settings[] = {"PERL5OPT=-d", NULL};
    struct test copy = {.type = &test_loop_poll, .options = t->options};

    setsid();
    g_assert_cmpint(open(terminal, O_RDWR | O_CLOEXEC), >=, 0);
    copy.loop_self = copy.type->new ();
    copy.loop = copy.type->get(copy.loop_self);
    copy.environment[0] = t->environment[0];
    set_changes(&copy, settings);
    works(&copy);
    afork_context_close(copy.context);
    _exit(0);
}

static void debugger_does_not_wait_at_the_terminal(struct test *t)
{
    int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), status;

    g_assert_cmpint(terminal, >=, 0);
    test_ok(grantpt(terminal));
    test_ok(unlockpt(terminal));
    pid_t host = fork();
    if (!host)
        debug_at_terminal(t, ptsname(terminal));
    test_wait(t, waitpid(host, &status, WNOHANG) == host);
    g_assert_cmpint(status, ==, 0);
    close(terminal);
}

static void switches_that_perl_refuses(struct test *t)
{
    fails_with(t, "PERL5OPT", "-e1", "PERL5OPT", false);
    fails_with(t, "PERL5OPT", "-MNo::Such", "No/Such.pm", false);
}

static void closed_standard_input(struct test *t)
{
    int saved = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 10);

    close(STDIN_FILENO);
    works(t);
    t->options.standard_input.mode = AFORK_STDIO_INHERIT;
    close_context(t);
    works(t);
    if (saved >= 0)
        dup2(saved, STDIN_FILENO);
    close(saved);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_perl_add_all("/environment/empty", empty_environment);
    test_perl_add_all("/environment/fake-perl-in-path", fake_perl_in_path);
    test_perl_add_all("/environment/modules-of-another-perl", modules_of_another_perl);
    test_perl_add_all("/environment/libraries-of-another-perl", libraries_of_another_perl);
    test_perl_add_all("/environment/for-debugging", variables_for_debugging);
    test_perl_add_all("/environment/debugger-at-terminal", debugger_does_not_wait_at_the_terminal);
    test_perl_add_all("/environment/refused-switches", switches_that_perl_refuses);
    test_perl_add_all("/environment/closed-standard-input", closed_standard_input);
    return g_test_run();
}
