/* SPDX-License-Identifier: MIT
 *
 * The library with real Perls: what all peers do alike. Each case runs with afork-perl, with
 * afork-perl taken for an original, and, where they are installed, with the system's perl and the
 * original's server or our own in pure Perl.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test-perl-lib.h"
#include "util.h"

static void arguments_are_cloned(struct test *t)
{
    AFORK__AUTO_FD file = memfd_create("test", MFD_CLOEXEC);
    struct stat st;

    test_ok(fstat(file, &st));
    struct afork_process *template = test_perl_new_exec(t);
    test_ok(afork_process_eval(template, "push @seen, 'first'", NULL));
    test_ok(afork_process_send_arg(template, "a", 1));
    test_ok(afork_process_send_fd(template, file));
    struct afork_process *a = test_fork(template);
    test_ok(afork_process_eval(template, "push @seen, @_", "second", "third", NULL));
    test_ok(afork_process_send_arg(template, "b", 1));
    struct afork_process *b = test_fork(template);
    test_ok(afork_process_send_arg(a, "only a", 6));

    g_autofree char *handle = g_strdup_printf("fd %lu:%lu", (unsigned long)st.st_dev,
                                              (unsigned long)st.st_ino);
    g_autofree char *all = g_strdup_printf("seen first second third\narg a\n%s\narg b\n", handle);
    g_autofree char *early = g_strdup_printf("seen first\narg a\n%s\narg only a\n", handle);
    g_autofree char *of_a = test_output(t, a, "list");
    g_autofree char *of_template = test_output(t, template, "list");
    g_autofree char *of_b = test_output(t, b, "list");
    g_assert_cmpstr(of_template, ==, all);
    g_assert_cmpstr(of_a, ==, early);
    g_assert_cmpstr(of_b, ==, all);
}

static void arguments_are_octets(struct test *t)
{
    struct afork_process *process = test_perl_new(t);
    g_autofree guint8 *big = test_octets(20 << 20);
    const struct iovec arguments[] = {{big, 256}, {big, 0}, {big, 1}, {big, 300}, {big, 20 << 20}};
    g_autoptr(GString) expected = g_string_new(NULL);

    test_send_digested(process, arguments, G_N_ELEMENTS(arguments), expected);
    g_autofree char *text = test_output(t, process, "digest");
    g_assert_cmpstr(text, ==, expected->str);
}

/* Code is octets as well, and so are its arguments. */
static void code_is_octets(struct test *t)
{
    struct afork_process *process = test_perl_new(t);
    static char code[] = "push @seen, map { join '.', map ord, split //, $_ } qw(\xe4), @_";
    static char argument[] = "\0\xff\xe2\x82\xac";
    const struct iovec strings[] = {{code, sizeof code - 1}, {argument, sizeof argument - 1}};

    test_ok(afork_process_eval_iov(process, strings, 2));
    g_autofree char *text = test_output(t, process, "list");
    g_assert_cmpstr(text, ==, "seen 228 0.255.226.130.172\n");
}

static void pending_arguments_are_seen_by_code(struct test *t)
{
    struct afork_process *process = test_perl_new(t);

    test_ok(afork_process_send_arg(process, "x", 1));
    test_ok(afork_process_send_arg(process, "y", 1));
    test_ok(afork_process_eval(process, "use strict; push @main::seen, \"@arg\"; pop @arg", NULL));
    g_autofree char *text = test_output(t, process, "list");
    g_assert_cmpstr(text, ==, "seen x y\narg x\n");
}

static void code_runs_in_main_and_numbers_its_lines(struct test *t)
{
    struct afork_process *process = test_perl_new(t);

    test_ok(afork_process_eval(process, "push @seen, __PACKAGE__,\n__LINE__", NULL));
    g_autofree char *text = test_output(t, process, "list");
    g_assert_cmpstr(text, ==, "seen main 2\n");
}

static void modules_are_loaded(struct test *t)
{
    struct afork_process *process = test_perl_new(t);
    const char *const modules[] = {"Text::Wrap", "List::Util", NULL};

    test_ok(afork_process_require_list(process, modules));
    test_ok(afork_process_eval(
        process, "push @seen, List::Util::sum(1, 2), exists $INC{'Text/Wrap.pm'}", NULL));
    g_autofree char *text = test_output(t, process, "list");
    g_assert_cmpstr(text, ==, "seen 3 1\n");
}

static void handles_work(struct test *t)
{
    struct afork_process *process = test_perl_new(t);
    int pair[2];
    char text[6] = "";

    test_ok(pipe(pair));
    test_ok(afork_process_send_fd(process, pair[1]));
    close(pair[1]);
    test_ok(
        afork_process_eval(process, "sub tell { my ($ch, $fh) = @_; print $fh 'hello' }", NULL));
    g_free(test_output(t, process, "tell"));
    g_assert_cmpint(read(pair[0], text, 6), ==, 5); /* flushed when it ended */
    g_assert_cmpstr(text, ==, "hello");
    g_assert_cmpint(read(pair[0], text, 6), ==, 0); /* and nobody else holds it */
    close(pair[0]);
}

static void channel_works_both_ways(struct test *t)
{
    int fd = test_run_and_unref(t, test_perl_new(t), "echo");
    g_autofree char *data = g_malloc(100000), *answer = g_malloc(100000);

    memset(data, 'z', 100000);
    test_write(t, fd, data, 100000);
    test_read(t, fd, answer, 100000);
    g_assert_cmpmem(answer, 100000, data, 100000);
    g_assert_cmpint(fcntl(fd, F_GETFL) & O_NONBLOCK, ==, O_NONBLOCK);
    close(fd);
}

/* In the worker the channel is blocking and close-on-exec; nothing of the library's is open but it
 * and the handles that were sent. */
static void worker_has_what_it_was_given(struct test *t)
{
    struct afork_process *template = test_perl_new(t);
    int holding[3];

    for (int i = 0; i < 3; i++)
        holding[i] = test_run_and_unref(t, test_fork(template), "echo");
    test_ok(afork_process_send_fd(template, 0));
    g_autofree char *text = test_output(t, template, "descriptors");
    g_assert_true(g_str_has_prefix(text, "channel blocking cloexec\n"));
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    unsigned sockets = 0;
    for (char **line = lines + 1; *line; line++)
        sockets += g_str_has_prefix(*line, "socket:");
    if (t->options.peer == AFORK_PEER_OWN)
        g_assert_cmpuint(sockets, ==, 1);
    for (int i = 0; i < 3; i++)
        close(holding[i]);
}

static void program_name_tells(struct test *t)
{
    struct afork_process *process = test_perl_new(t);

    test_ok(afork_process_eval(process, "sub Some::name { syswrite $_[0], $0 }", NULL));
    g_autofree char *text = test_output(t, process, "Some::name");
    g_autofree char *owner = g_strdup_printf("%d", getpid());
    g_assert_nonnull(strstr(text, owner));
    g_assert_true(g_str_has_suffix(text, "Some::name"));
}

static void many_short_lives(struct test *t)
{
    struct afork_process *template = test_perl_new(t);

    for (int i = 0; i < 50; i++) {
        g_autofree char *number = g_strdup_printf("%d", i);
        struct afork_process *process = test_fork(template);
        test_ok(afork_process_send_arg(process, number, strlen(number)));
        g_autofree char *text = test_output(t, process, "list");
        g_autofree char *expected = g_strdup_printf("seen \narg %d\n", i);
        g_assert_cmpstr(text, ==, expected);
    }
    afork_process_unref(template);
}

/* What was printed before a fork is printed once. */
static void output_is_printed_once(struct test *t)
{
    AFORK__AUTO_FD file = memfd_create("test", MFD_CLOEXEC);

    t->options.standard_output = (struct afork_stdio){.mode = AFORK_STDIO_FD, .fd = file};
    struct afork_process *template = test_perl_new(t);
    test_ok(afork_process_eval(template, "print 'once'", NULL));
    for (int i = 0; i < 10; i++)
        g_free(test_output(t, test_fork(template), "list"));
    g_free(test_output(t, template, "list"));
    if (t->options.peer == AFORK_PEER_OWN) {
        struct stat st;
        test_ok(fstat(file, &st));
        g_assert_cmpint(st.st_size, ==, 4);
    }
}

/* The position in a file is shared; children that end without reading leave it alone. */
static void reading_on_after_a_child_ended(struct test *t)
{
    g_autofree char *directory = g_dir_make_tmp("afork-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(directory, "lines", NULL);
    g_autoptr(GString) lines = g_string_new(NULL);

    for (int i = 0; i < 1000; i++)
        g_string_append_printf(lines, "line %d\n", i);
    g_assert_true(g_file_set_contents(path, lines->str, -1, NULL));
    struct afork_process *template = test_perl_new(t);
    test_ok(afork_process_eval(template,
                               "open our $in, '<', $_[0] or die; <$in>; "
                               "sub next_line { syswrite $_[0], scalar <$in> }",
                               path, NULL));
    for (int i = 0; i < 3; i++)
        g_free(test_output(t, test_fork(template), "list"));
    g_autofree char *text = test_output(t, template, "next_line");
    g_assert_cmpstr(text, ==, "line 1\n");
    unlink(path);
    rmdir(directory);
}

/* system, backticks and waitpid do in a worker what they do anywhere. */
static void programs_run_in_a_worker(struct test *t)
{
    struct afork_process *process = test_perl_new(t);

    test_ok(afork_process_eval(
        process,
        "sub programs { my $ch = shift; my $pid = fork // die; CORE::exit 5 unless $pid;"
        " my @r = (system(q(sh -c 'exit 3')) >> 8, `echo out`, waitpid($pid, 0) == $pid, $? >> 8);"
        " chomp @r; syswrite $ch, \"@r\" }",
        NULL));
    g_autofree char *text = test_output(t, process, "programs");
    g_assert_cmpstr(text, ==, "3 out 1 5");
}

/* A program that a worker leaves behind does not hold the channel. */
static void background_program(struct test *t)
{
    struct afork_process *process = test_perl_new(t);

    test_ok(afork_process_eval(
        process, "sub leave { syswrite $_[0], `sleep 60 </dev/null >/dev/null 2>&1 & echo \\$!` }",
        NULL));
    g_autofree char *text = test_output(t, process, "leave"); /* its end comes at once */
    pid_t pid = atoi(text);
    g_assert_cmpint(pid, >, 1);
    g_assert_true(test_is_running(pid));
    kill(pid, SIGKILL);
}

/* As Perl does it: in each process that has them. */
static void end_blocks_and_destructors_run(struct test *t)
{
    AFORK__AUTO_FD file = memfd_create("test", MFD_CLOEXEC);
    struct afork_process *template = test_perl_new(t);
    struct test_exit end = {0};
    struct stat st;

    /* Without it two that write at once may do so at the same place: a memfd's is not locked. */
    test_ok(fcntl(file, F_SETFL, O_APPEND));
    test_ok(afork_process_send_fd(template, file));
    test_ok(afork_process_eval(template,
                               "our $mark = pop @arg; our $object = bless [];"
                               "sub DESTROY { syswrite $mark, 'D' } END { syswrite $mark, 'E' }",
                               NULL));
    for (int i = 0; i < 3; i++)
        g_free(test_output(t, test_fork(template), "list"));
    test_ok(afork_process_on_exit(template, test_on_exit, &end));
    g_free(test_output(t, template, "list"));
    test_wait(t, end.calls);
    test_wait(t, fstat(file, &st) == 0 && st.st_size == 8);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        test_func *func;
    } cases[] = {
        {"/perl/arguments/cloned", arguments_are_cloned},
        {"/perl/arguments/octets", arguments_are_octets},
        {"/perl/arguments/seen-by-code", pending_arguments_are_seen_by_code},
        {"/perl/code/octets", code_is_octets},
        {"/perl/code/main-and-line", code_runs_in_main_and_numbers_its_lines},
        {"/perl/code/modules", modules_are_loaded},
        {"/perl/handles/work", handles_work},
        {"/perl/channel/both-ways", channel_works_both_ways},
        {"/perl/worker/has-what-it-was-given", worker_has_what_it_was_given},
        {"/perl/worker/name", program_name_tells},
        {"/perl/worker/runs-programs", programs_run_in_a_worker},
        {"/perl/worker/background-program", background_program},
        {"/perl/worker/end-and-destroy", end_blocks_and_destructors_run},
        {"/perl/fork/many", many_short_lives},
        {"/perl/fork/output-once", output_is_printed_once},
        {"/perl/fork/shared-file", reading_on_after_a_child_ended},
    };

    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
        test_perl_add_all(cases[i].path, cases[i].func);
    return g_test_run();
}
