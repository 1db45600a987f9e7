/* SPDX-License-Identifier: MIT
 *
 * Spares of afork-perl: made ready without a trace in what users see, and gone without one.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "test-perl-lib.h"

enum { WARM_USEC = 50 * 1000 }; /* they are ready long before */

static unsigned ready_of(struct afork_process *template)
{
    struct afork_spare_stats stats;

    test_ok(afork_process_get_spare_stats(template, &stats));
    return stats.ready;
}

static uint64_t hits_of(struct afork_process *template)
{
    struct afork_spare_stats stats;

    test_ok(afork_process_get_spare_stats(template, &stats));
    return stats.hits;
}

static void fill(struct test *t, struct afork_process *template, unsigned n)
{
    test_ok(afork_process_set_spares(template, n));
    test_wait(t, ready_of(template) == n);
    test_turn_for(t, WARM_USEC);
}

static unsigned count(const char *text, const char *word)
{
    unsigned n = 0;

    for (const char *pos = text; (pos = strstr(pos, word)); pos++)
        n++;
    return n;
}

/* END blocks and destructors run for the template and for what was used, not for spares. */
static void unused_leave_no_trace(struct test *t)
{
    static const char code[] =
        "our $file = $_[0]; package Mark; sub note { open my $f, '>>', $main::file or die; "
        "syswrite $f, \"$_[0]\\n\" } sub DESTROY { note('destroyed') } our $mark = bless []; "
        "END { note('end') } $| = 0; print 'once'";
    g_autofree char *directory = g_dir_make_tmp("afork-XXXXXX", NULL);
    g_autofree char *file = g_build_filename(directory, "notes", NULL);
    struct test_exit ends[2] = {0};
    FILE *printed_to = tmpfile();
    int output = fileno(printed_to);

    t->options.standard_output = (struct afork_stdio){AFORK_STDIO_FD, output};
    struct afork_process *template = test_perl_new(t);
    test_ok(afork_process_on_exit(template, test_on_exit, &ends[0]));
    test_ok(afork_process_eval(template, code, file, NULL));
    fill(t, template, 3);
    struct afork_process *used = test_fork(template);
    g_assert_cmpuint(hits_of(template), ==, 1);
    test_ok(afork_process_on_exit(used, test_on_exit, &ends[1]));
    g_free(test_output(t, used, "list"));
    test_wait(t, ends[1].calls);
    test_ok(afork_process_eval(template, "1", NULL)); /* those there are out of date */
    fill(t, template, 3);
    afork_process_unref(template);
    test_wait(t, ends[0].calls);
    test_turn_for(t, WARM_USEC);

    g_autofree char *notes = NULL;
    g_assert_true(g_file_get_contents(file, &notes, NULL, NULL));
    g_assert_cmpuint(count(notes, "end\n"), ==, 2);
    g_assert_cmpuint(count(notes, "destroyed\n"), ==, 2);
    char printed[16] = "";
    g_assert_cmpint(pread(output, printed, sizeof printed, 0), ==, 4);
    g_assert_cmpstr(printed, ==, "once");
    fclose(printed_to);
    unlink(file);
    rmdir(directory);
}

/* What the rehearsal does shows nowhere. */
static void look_as_others(struct test *t)
{
    static const char code[] =
        "our $count = () = %main::; our @at_fork = ($@, $!, $_, $,, $\\, scalar @ARGV); rand;"
        "sub look { my ($socket, @rest) = @_; local $\" = '|'; no warnings;"
        " syswrite $socket, join qq(\\n), \"@rest\", (eval 'die' , $@ =~ /\\(eval (\\d+)\\)/)[-1],"
        " scalar(() = %main::) - $count, $0 =~ s/^\\d+ //r, getppid(), ''; }"
        "sub number { syswrite $_[0], rand }";
    struct afork_process *template = test_new(t);
    g_autoptr(GHashTable) numbers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    test_ok(afork_process_eval(template, code, NULL));
    test_ok(afork_process_send_arg(template, "argument", 8));
    g_autofree char *ordinary = test_output(t, test_fork(template), "look");
    fill(t, template, 4);
    g_autofree char *spare = test_output(t, test_fork(template), "look");
    g_assert_cmpstr(spare, ==, ordinary);
    for (int i = 0; i < 3; i++)
        g_hash_table_add(numbers, test_output(t, test_fork(template), "number"));
    g_assert_cmpuint(g_hash_table_size(numbers), ==, 3);
    g_assert_cmpuint(hits_of(template), ==, 4);
    afork_process_unref(template);
}

/* A spare is a server like any other. */
static void serve_as_others(struct test *t)
{
    struct afork_process *template = test_perl_new(t);

    fill(t, template, 2);
    struct afork_process *server = test_fork(template);
    test_ok(afork_process_eval(server, "@seen = (1, 2)", NULL));
    test_ok(afork_process_send_arg(server, "x", 1));
    fill(t, server, 1);
    struct afork_process *worker = test_fork(server);
    g_assert_cmpuint(hits_of(server), ==, 1);
    g_autofree char *text = test_output(t, worker, "list");
    g_assert_cmpstr(text, ==, "seen 1 2\narg x\n");
    g_autofree char *again = test_output(t, server, "list");
    g_assert_cmpstr(again, ==, "seen 1 2\narg x\n");
    afork_process_unref(template);
}

/* A template that started threads and refuses to fork then: its own children fail, its spares do in
 * silence, and not again and again. */
static void refused_with_threads(struct test *t)
{
    struct afork_spare_stats stats;
    struct test_run run = {0};

    t->options.threads = AFORK_THREADS_REFUSE;
    t->options.standard_error.mode = AFORK_STDIO_NULL;
    struct afork_process *template = test_perl_new(t);
    test_ok(afork_process_eval(template,
                               "use Config; $Config{useithreads} or die 'no threads';"
                               "require threads; threads->create(sub { sleep 60 })->detach",
                               NULL));
    test_ok(afork_process_set_spares(template, 2));
    /* None is being tried: that one would be the child. */
    test_wait(t,
              !afork_process_get_spare_stats(template, &stats) && stats.lost >= 2 && !stats.ready);
    struct afork_process *child = test_fork(template);
    test_ok(afork_process_run(child, "list", test_on_run, &run));
    test_wait(t, run.calls);
    g_assert_cmpint(run.fd, ==, -EAGAIN);
    g_assert_cmpint(run.cause, ==, AFORK_CAUSE_FORK);
    g_assert_nonnull(strstr(run.message, "thread"));
    test_ok(afork_process_get_spare_stats(template, &stats));
    g_assert_cmpuint(stats.hits, ==, 0);
    g_assert_cmpuint(stats.lost, <=, 8);
    afork_process_unref(child);
    g_free(test_output(t, template, "list"));
}

/* A template that runs a function has no spares left, also not as children that its wait() finds:
 * neither those that are there, nor those that were dropped just before. */
static void no_children_of_the_worker(struct test *t)
{
    static const char code[] =
        "sub count { my ($socket, $n) = ($_[0], 0); my $pid = fork // die; POSIX::_exit(7) if "
        "!$pid;"
        " while ((my $got = wait) > 0) { $n++ if $got != $pid || $? != 7 << 8 }"
        " syswrite $socket, $n }";
    enum { THERE, OUT_OF_DATE, FEWER, NONE_WANTED, WAYS };

    for (int i = 0; i < 10 * WAYS; i++) {
        struct afork_process *template = test_perl_new(t);
        struct afork_spare_stats stats;
        int way = i % WAYS;
        test_ok(afork_process_require(template, "POSIX", NULL));
        test_ok(afork_process_eval(template, code, NULL));
        test_ok(afork_process_set_spares(template, 4));
        test_wait(t, ready_of(template) == 4);
        afork_process_ref(template);
        if (way == OUT_OF_DATE)
            test_ok(afork_process_send_arg(template, "x", 1));
        else if (way != THERE)
            test_ok(afork_process_set_spares(template, way == FEWER ? 2 : 0));
        g_autofree char *strangers = test_output(t, template, "count");
        g_assert_cmpstr(strangers, ==, "0");
        test_ok(afork_process_get_spare_stats(template, &stats));
        g_assert_cmpuint(stats.ready, ==, 0);
        g_assert_cmpuint(stats.renewals, ==, way == OUT_OF_DATE ? 4 : 0);
        afork_process_unref(template);
    }
}

/* A hook dies in one that was handed out meanwhile: it ends as any other child does. */
static void hook_that_dies(struct test *t)
{
    struct test_exit ends[2] = {0};

    t->options.standard_error.mode = AFORK_STDIO_NULL;
    struct afork_process *template = test_perl_new(t);
    test_ok(afork_process_eval(
        template,
        "AFork::Serve::after_fork(sub { close $go; sysread $end, my $x, 1; die 'in a hook' })",
        NULL));
    for (unsigned hits = 0; hits < 2; hits++) {
        test_ok(afork_process_eval(template, "pipe our $end, our $go", NULL));
        test_ok(afork_process_set_spares(template, hits));
        test_wait(t, ready_of(template) == hits);
        struct afork_process *child = test_fork(template);
        g_assert_cmpuint(hits_of(template), ==, hits);
        test_ok(afork_process_on_exit(child, test_on_exit, &ends[hits]));
        test_ok(afork_process_eval(template, "close $go", NULL));
        test_wait(t, ends[hits].calls);
        afork_process_unref(child);
        g_assert_cmpint(ends[hits].cause, ==, AFORK_CAUSE_EVAL);
        g_assert_cmpint(ends[hits].status, ==, 255);
        g_assert_nonnull(strstr(ends[hits].message, "in a hook"));
    }
    afork_process_unref(template);
}

/* It could not be handed over for want of descriptors. What is forked from it then is no spare to
 * be ended. */
static void not_handed_over(struct test *t)
{
    struct rlimit limit, none;
    struct test_run run = {0};

    t->options.standard_error.mode = AFORK_STDIO_TAIL;
    struct afork_process *template = test_perl_new(t);
    fill(t, template, 2);
    test_ok(getrlimit(RLIMIT_NOFILE, &limit));
    none = limit;
    none.rlim_cur = 3;
    test_ok(setrlimit(RLIMIT_NOFILE, &none));
    g_assert_cmpint(afork_process_to_fd(template, test_on_run, &run), ==, -EMFILE);
    test_ok(setrlimit(RLIMIT_NOFILE, &limit));
    struct afork_process *child = test_fork(template);
    fill(t, template, 2);
    test_ok(afork_process_eval(template, "1", NULL));
    fill(t, template, 2);
    g_autofree char *text = test_output(t, child, "list");
    g_assert_cmpstr(text, ==, "seen \n");
    g_assert_cmpuint(run.calls, ==, 0);
    afork_process_unref(template);
}

/* Stopped or slow, a spare is handed out all the same, and obeys when it can. */
static void one_that_is_not_ready(struct test *t)
{
    struct afork_process *template = test_perl_new(t), *children[4];

    test_ok(afork_process_set_spares(template, 4));
    test_wait(t, ready_of(template) == 4);
    for (size_t i = 0; i < G_N_ELEMENTS(children); i++)
        children[i] = test_fork(template);
    g_assert_cmpuint(hits_of(template), ==, 4);
    for (size_t i = 0; i < G_N_ELEMENTS(children); i++)
        g_free(test_output(t, children[i], "list"));
    afork_process_unref(template);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    test_perl_add("/perl-spares/unused", unused_leave_no_trace);
    test_perl_add("/perl-spares/look-as-others", look_as_others);
    test_perl_add("/perl-spares/serve-as-others", serve_as_others);
    test_perl_add("/perl-spares/threads", refused_with_threads);
    test_perl_add("/perl-spares/not-ready", one_that_is_not_ready);
    test_perl_add("/perl-spares/no-children-of-the-worker", no_children_of_the_worker);
    test_perl_add("/perl-spares/hook-dies", hook_that_dies);
    test_perl_add("/perl-spares/not-handed-over", not_handed_over);
    return g_test_run();
}
