/* SPDX-License-Identifier: MIT
 *
 * The rules of limits, with afork-perl: they act in order, are inherited, never widened, and what
 * cannot be set is told in words.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "limits-lib.h"

static const char *const no_paths[] = {NULL};

static struct afork_limits nice_limits(int nice)
{
    struct afork_limits limits = AFORK_LIMITS_INIT;

    limits.nice = nice;
    return limits;
}

/* What `process`, released, says of its nice value; 0: that of this program. */
static void assert_nice(struct test *t, struct afork_process *process, int expected)
{
    g_autofree char *text = g_strdup_printf("%d",
                                            expected ? expected : getpriority(PRIO_PROCESS, 0));
    LIMITS_SUBJECT s;

    test_ok(afork_process_eval(process, "sub f { syswrite $_[0], getpriority 0, 0 }", NULL));
    limits_run_to_end(t, process, "f", &s);
    g_assert_cmpstr(s.output, ==, text);
}

/* ---- in order ---- */

static void require_first(struct test *t)
{
    if (!limits_need_landlock())
        return;
    struct afork_limits limits = AFORK_LIMITS_INIT;
    struct afork_process *process = test_new(t);
    LIMITS_SUBJECT s;

    t->options.standard_error.mode = AFORK_STDIO_NULL;
    limits.read_paths = no_paths;
    test_ok(afork_process_require(process, "Text::Wrap", NULL));
    test_ok(afork_process_set_limits(process, &limits));
    struct afork_process *child = test_fork(process);
    test_ok(afork_process_eval(
        process, "sub f { syswrite $_[0], Text::Wrap::wrap('', '', 'still there') }", NULL));
    limits_run_to_end(t, process, "f", &s);
    g_assert_cmpstr(s.output, ==, "still there");

    LIMITS_SUBJECT late;
    test_ok(afork_process_require(child, "Text::Abbrev", NULL));
    limits_run_to_end(t, child, "f", &late);
    g_assert_cmpint(late.run.fd, ==, -ENOEXEC);
    g_assert_cmpint(late.end.cause, ==, AFORK_CAUSE_REQUIRE);
    g_assert_nonnull(strstr(late.end.message, "Text/Abbrev.pm"));
}

static void what_was_forked_before(struct test *t)
{
    struct afork_process *template = test_new(t), *before = test_fork(template);
    struct afork_limits limits = nice_limits(17);

    test_ok(afork_process_set_limits(template, &limits));
    struct afork_process *after = test_fork(template);
    assert_nice(t, before, 0);
    assert_nice(t, after, 17);
    assert_nice(t, template, 17);
}

/* Several of them, of both kinds, at each step of a family. */
static void inherited(struct test *t)
{
    struct afork_process *template = test_new(t);
    struct afork_limits limits = nice_limits(16);

    limits.forks_only = true;
    test_ok(afork_process_set_limits(template, &limits));
    struct afork_process *child = test_fork(template);
    limits.nice = 18;
    test_ok(afork_process_set_limits(child, &limits));
    struct afork_process *grandchild = test_fork(child);
    limits.nice = 19;
    limits.forks_only = false;
    test_ok(afork_process_set_limits(grandchild, &limits));
    struct afork_process *last = test_fork(grandchild);
    assert_nice(t, last, 19);
    assert_nice(t, grandchild, 19);
    assert_nice(t, child, 16);
    assert_nice(t, template, 0);
}

/* A template that limits its forks only is free. */
static void template_is_free(struct test *t)
{
    if (!limits_need_landlock())
        return;
    struct afork_limits limits = AFORK_LIMITS_INIT;
    struct afork_process *template = test_new(t);

    t->options.standard_error.mode = AFORK_STDIO_NULL;
    limits.read_paths = limits.write_paths = no_paths;
    limits.no_network = limits.no_new_processes = limits_has_filters();
    limits.cpu_seconds = 1;
    limits.file_size = 1;
    limits.open_files = 32;
    limits.nice = 15;
    limits.forks_only = true;
    test_ok(afork_process_set_limits(template, &limits));
    test_ok(afork_process_require(template, "Text::Wrap", "Socket", NULL));
    test_ok(afork_process_eval(template,
                               "system { '/bin/true' } 'true' and die;"
                               "open my $f, '+>', undef or die; syswrite $f, 'x' x 100 or die;"
                               "socket my $s, Socket::AF_INET(), Socket::SOCK_STREAM(), 0 or die;"
                               "sub used { my @t = times; $t[0] + $t[1] }"
                               "my $until = used() + 1.2; 1 while used() < $until;"
                               "sub f { syswrite $_[0], join ' ', open(my $g, '<', '/') ? 1 : 0,"
                               "  grep /landlock/, map { readlink \"/proc/self/fd/$_\" } 0 .. 63 }",
                               NULL));
    struct afork_process *child = test_fork(template);
    LIMITS_SUBJECT s, of_template;
    limits_run_to_end(t, child, "f", &s);
    g_assert_cmpstr(s.output, ==, "0");
    limits_run_to_end(t, template, "f", &of_template);
    g_assert_cmpstr(of_template.output, ==, "1");
}

/* A template under all that does not keep it from forking: its workers run, and are reported. */
static void confined_template(struct test *t)
{
    if (!limits_need_landlock())
        return;
    struct afork_limits limits = AFORK_LIMITS_INIT;
    struct afork_process *template = test_new_exec(t);

    limits.read_paths = limits.write_paths = no_paths;
    limits.no_network = limits_has_filters();
    limits.cpu_seconds = 100;
    limits.file_size = 1;
    limits.open_files = 32;
    limits.nice = 15;
    test_ok(afork_process_set_limits(template, &limits));
    test_ok(afork_process_eval(template, "sub f { syswrite $_[0], 'ran'; exit 3 }", NULL));
    for (int i = 0; i < 20; i++) {
        LIMITS_SUBJECT s;
        limits_run_to_end(t, test_fork(template), "f", &s);
        g_assert_cmpstr(s.output, ==, "ran");
        g_assert_cmpint(s.end.status, ==, 3);
        g_assert_true(s.end.has_usage);
    }
    afork_process_unref(template);
}

/* A root that may read no files reports orphans all the same, also when a child of the user's code,
 * which he does not wait for, ended before. */
static void confined_root(struct test *t)
{
    if (!limits_need_landlock())
        return;
    struct afork_limits limits = AFORK_LIMITS_INIT;
    struct afork_process *root = test_new_exec(t);
    struct test_exit end = {0}, end_of_middle = {0};

    limits.read_paths = no_paths;
    test_ok(afork_process_require(root, "POSIX", NULL));
    test_ok(afork_process_set_limits(root, &limits));
    test_ok(afork_process_eval(root,
                               "my $pid = fork // die; POSIX::_exit(0) if !$pid;"
                               "sub hold { sysread $_[0], my $octet, 1; exit 3 }",
                               NULL));
    for (int i = 0; i < 2; i++) {
        struct afork_process *middle = test_fork(root), *orphan = test_fork(middle);
        end = end_of_middle = (struct test_exit){0};
        test_ok(afork_process_on_exit(middle, test_on_exit, &end_of_middle));
        test_ok(afork_process_on_exit(orphan, test_on_exit, &end));
        int fd = test_run_function(t, orphan, "hold");
        afork_process_unref(middle);
        test_wait(t, end_of_middle.calls);
        close(fd);
        test_wait(t, end.calls);
        g_assert_cmpint(end.cause, ==, AFORK_CAUSE_EXITED);
        g_assert_cmpint(end.status, ==, 3);
        afork_process_unref(orphan);
    }
    afork_process_unref(root);
}

static void template_that_cannot_fork(struct test *t)
{
    struct afork_limits limits = AFORK_LIMITS_INIT;
    struct afork_process *template = test_new(t);

    if (!limits_need_filters()) {
        afork_process_unref(template);
        return;
    }
    LIMITS_SUBJECT s, of_template;
    limits.no_new_processes = true;
    test_ok(afork_process_set_limits(template, &limits));
    limits_run_to_end(t, test_fork(template), "CORE::exit", &s);
    g_assert_cmpint(s.run.fd, ==, -EAGAIN);
    g_assert_cmpint(s.end.cause, ==, AFORK_CAUSE_FORK);
    g_assert_cmpstr(s.end.message, ==, "fork: Operation not permitted, limits: no_new_processes");
    limits_run_to_end(t, template, "CORE::exit", &of_template);
    g_assert_cmpint(of_template.end.status, ==, 0);
}

/* The pool's template would be a fork of it, and its workers forks of that. */
static void no_pool_of_what_cannot_fork(struct test *t)
{
    for (unsigned i = 0; i < 4; i++) {
        struct afork_limits limits = AFORK_LIMITS_INIT;
        struct afork_process *process = test_new(t);
        struct afork_pool *pool;
        limits.no_new_processes = true;
        limits.forks_only = i;
        if (i == 3)
            limits.unsupported = AFORK_UNSUPPORTED_WARN; /* whether it is so is not known here */
        test_ok(afork_process_set_limits(process, &limits));
        limits = (struct afork_limits)AFORK_LIMITS_INIT;
        test_ok(afork_process_set_limits(process, &limits)); /* which lifts nothing */
        struct afork_process *subject = i == 2 ? test_fork(process) : afork_process_ref(process);
        afork_process_unref(process);
        int result = afork_pool_new(subject, "CORE::exit", NULL, &pool);
        g_assert_cmpint(result, ==, i == 3 ? 0 : -EPERM);
        afork_process_unref(subject);
        if (!result) {
            afork_pool_close(pool);
            afork_pool_unref(pool);
        }
    }
}

/* ---- what cannot be set ---- */

/* A process that is told `first` and then `second` fails for the reason of `words`. */
static void assert_refused(struct test *t, const struct afork_limits *first,
                           const struct afork_limits *second, const char *words)
{
    for (enum limits_way way = LIMITS_EXECUTED; way < LIMITS_N_WAYS; way++) {
        struct afork_process *process = way == LIMITS_EXECUTED ? test_new_exec(t) : test_new(t);
        struct afork_limits copy = *first;
        LIMITS_SUBJECT s;

        copy.forks_only = way == LIMITS_BY_TEMPLATE;
        test_ok(afork_process_set_limits(process, &copy));
        limits_run_to_end(t, limits_set(process, way, second), "CORE::exit", &s);
        g_assert_cmpint(s.run.fd, ==, -EPERM);
        g_assert_cmpint(s.run.cause, ==, AFORK_CAUSE_LIMITS);
        g_assert_cmpint(s.end.cause, ==, AFORK_CAUSE_LIMITS);
        g_assert_cmpstr(s.run.message, ==, s.end.message);
        if (!strstr(s.end.message, words))
            g_error("'%s' instead of '%s'", s.end.message, words);
    }
}

static void never_widened(struct test *t)
{
    static const struct afork_limits none = AFORK_LIMITS_INIT;
    struct afork_limits first = none, second = none;

    t->options.standard_error.mode = AFORK_STDIO_NULL;
    first.cpu_seconds = 10;
    second.cpu_seconds = 11;
    assert_refused(t, &first, &second, "limits: cpu_seconds: 11 asked for, but 10 is in force");
    first = second = none;
    first.file_size = 1000;
    second.file_size = 1001;
    assert_refused(t, &first, &second, "limits: file_size: 1001 asked for, but 1000 is in force");
    first = second = none;
    first.open_files = 64;
    second.open_files = 65;
    assert_refused(t, &first, &second, "limits: open_files: 65 asked for, but 64 is in force");
    if (test_has_sanitizers())
        return;
    first = second = none;
    first.memory = 1 << 30;
    second.memory = (1 << 30) + 1;
    assert_refused(t, &first, &second,
                   "limits: memory: 1073741825 asked for, but 1073741824 is in force");
}

/* Less and the same is more narrow, or as it is. */
static void narrowed(struct test *t)
{
    struct afork_limits first = AFORK_LIMITS_INIT, second = first;
    struct afork_process *process = test_new(t);
    LIMITS_SUBJECT s;

    first.cpu_seconds = first.file_size = second.cpu_seconds = 100;
    second.file_size = 10;
    first.open_files = 64;
    second.open_files = 60;
    first.nice = second.nice = 19;
    test_ok(
        afork_process_eval(process,
                           "sub f { my $ch = shift; open my $f, '<', '/proc/self/limits';"
                           "  print $ch map { s/ +/ /gr } grep /^Max (cpu|file size|open)/, <$f> }",
                           NULL));
    test_ok(afork_process_set_limits(process, &first));
    test_ok(afork_process_set_limits(process, &second));
    test_ok(afork_process_set_limits(process, &second));
    limits_run_to_end(t, process, "f", &s);
    g_assert_cmpstr(s.output, ==,
                    "Max cpu time 100 101 seconds \nMax file size 10 10 bytes \n"
                    "Max open files 60 60 files \n");
}

/* A program that runs under nice(1) already is as nice as it is asked to be, and more. */
static void nicer(struct test *t)
{
    struct afork_limits first = nice_limits(18), second = nice_limits(17);

    for (enum limits_way way = LIMITS_EXECUTED; way < LIMITS_N_WAYS; way++) {
        struct afork_process *process = way == LIMITS_EXECUTED ? test_new_exec(t) : test_new(t);

        first.forks_only = way == LIMITS_BY_TEMPLATE;
        test_ok(afork_process_set_limits(process, &first));
        assert_nice(t, limits_set(process, way, &second), 18);
    }
}

/* What is in force by the time of a fork counts, also when the plan was made before. */
static void plan_and_template(struct test *t)
{
    struct afork_process *template = test_new(t);
    struct afork_limits limits = nice_limits(16);

    limits.open_files = 100;
    limits.forks_only = true;
    test_ok(afork_process_set_limits(template, &limits));
    limits.nice = 18;
    limits.open_files = 50;
    limits.forks_only = false;
    test_ok(afork_process_set_limits(template, &limits));
    LIMITS_SUBJECT s;
    test_ok(
        afork_process_eval(template,
                           "sub f { my $ch = shift; open my $f, '<', '/proc/self/limits';"
                           "  print $ch getpriority(0, 0), map { / (\\d+) / } grep /open/, <$f> }",
                           NULL));
    limits_run_to_end(t, test_fork(template), "f", &s);
    g_assert_cmpstr(s.output, ==, "1850");
    afork_process_unref(template);
}

static void missing_paths(struct test *t)
{
    if (!limits_need_landlock())
        return;
    static const char *const gone[] = {"/", "/no/such/path", NULL};
    static const char *const not_a_directory[] = {"/dev/null/x", NULL};
    struct afork_limits none = AFORK_LIMITS_INIT, limits = none;

    t->options.standard_error.mode = AFORK_STDIO_NULL;
    limits.read_paths = gone;
    assert_refused(t, &none, &limits,
                   "limits: read_paths: /no/such/path: No such file or directory");
    limits.read_paths = NULL;
    limits.write_paths = gone;
    assert_refused(t, &none, &limits,
                   "limits: write_paths: /no/such/path: No such file or directory");
    limits.write_paths = not_a_directory;
    assert_refused(t, &none, &limits, "limits: write_paths: /dev/null/x: Not a directory");
}

static void in_use_already(struct test *t)
{
    struct afork_limits limits = AFORK_LIMITS_INIT;
    struct afork_process *process = test_new(t);
    LIMITS_SUBJECT s;

    t->options.standard_error.mode = AFORK_STDIO_NULL;
    limits.open_files = 16;
    test_ok(afork_process_eval(process, "our @f; open $f[$_], '<', '/dev/null' for 0 .. 20", NULL));
    test_ok(afork_process_set_limits(process, &limits));
    limits_run_to_end(t, process, "CORE::exit", &s);
    g_assert_cmpint(s.end.cause, ==, AFORK_CAUSE_LIMITS);
    g_assert_nonnull(strstr(s.end.message, "limits: open_files: 16 asked for, but "));

    struct afork_limits none = AFORK_LIMITS_INIT, memory = none;
    memory.memory = 1 << 20;
    assert_refused(t, &none, &memory, "limits: memory: 1048576 asked for, but ");
}

/* The kernel takes sixteen rulesets, whoever made them. */
static void too_many_rulesets(struct test *t)
{
    if (!limits_need_landlock())
        return;
    static const char *const root[] = {"/", NULL};
    struct afork_limits limits = AFORK_LIMITS_INIT;

    t->options.standard_error.mode = AFORK_STDIO_NULL;
    limits.read_paths = root;
    for (int forks_only = 0; forks_only < 2; forks_only++) {
        struct afork_process *process = test_new(t), *last = NULL;
        limits.forks_only = forks_only;
        for (int i = 0; i < 17; i++) {
            if (i == 16)
                last = test_fork(process);
            test_ok(afork_process_set_limits(process, &limits));
        }
        LIMITS_SUBJECT s, at_most;
        limits_run_to_end(t, forks_only ? test_fork(process) : process, "CORE::exit", &s);
        g_assert_cmpint(s.end.cause, ==, AFORK_CAUSE_LIMITS);
        g_assert_nonnull(strstr(s.end.message, "too many confinements"));
        limits_run_to_end(t, last, "CORE::exit", &at_most);
        g_assert_cmpint(at_most.end.status, ==, 0);
        if (forks_only)
            afork_process_unref(process);
    }
}

/* A plan that was right when it was made, and is one too many in the fork. That tells it, and the
 * template goes on. */
static void plan_that_fails(struct test *t)
{
    if (!limits_need_landlock())
        return;
    static const char *const root[] = {"/", NULL};
    struct afork_limits limits = AFORK_LIMITS_INIT;
    struct afork_process *template = test_new(t);

    t->options.standard_error.mode = AFORK_STDIO_NULL;
    limits.read_paths = root;
    for (int i = 0; i < 18; i++) {
        limits.forks_only = i < 9;
        test_ok(afork_process_set_limits(template, &limits));
    }
    for (int i = 0; i < 2; i++) {
        LIMITS_SUBJECT s;
        limits_run_to_end(t, test_fork(template), "CORE::exit", &s);
        g_assert_cmpint(s.run.fd, ==, -EPERM);
        g_assert_cmpint(s.end.cause, ==, AFORK_CAUSE_LIMITS);
        g_assert_nonnull(strstr(s.end.message, "too many confinements"));
    }
    LIMITS_SUBJECT s;
    limits_run_to_end(t, template, "CORE::exit", &s);
    g_assert_cmpint(s.end.status, ==, 0);
}

/* What the kernel limits by thread does not hold others that run already. */
static void other_threads(struct test *t)
{
    struct afork_limits limits = nice_limits(17);
    struct afork_process *process = test_new_exec(t);
    LIMITS_SUBJECT s;

    t->options.standard_error.mode = AFORK_STDIO_NULL;
    test_ok(afork_process_require(process, "threads", NULL));
    test_ok(afork_process_eval(process, "threads->create(sub { sleep 60 })->detach", NULL));
    test_ok(afork_process_set_limits(process, &limits));
    limits_run_to_end(t, process, "CORE::exit", &s);
    if (s.end.cause == AFORK_CAUSE_REQUIRE) {
        g_test_skip("this perl has no threads");
        return;
    }
    g_assert_cmpint(s.end.cause, ==, AFORK_CAUSE_LIMITS);
    g_assert_cmpstr(s.end.message, ==,
                    "limits: threads: 2 threads run here, only one can be confined");
}

/* Each call adds to those before: what a filter is made with is not read from a file any more. */
static void filter_after_files(struct test *t)
{
    if (!limits_need_landlock() || !limits_need_filters())
        return;
    for (int by_template = 0; by_template < 2; by_template++) {
        struct afork_limits files = AFORK_LIMITS_INIT, filter = AFORK_LIMITS_INIT;
        struct afork_process *process = test_new(t);
        LIMITS_SUBJECT s;

        files.read_paths = no_paths;
        filter.no_network = true;
        test_ok(afork_process_require(process, "Socket", NULL));
        test_ok(afork_process_eval(process,
                                   "sub f { socket my $s, Socket::AF_INET(),"
                                   "  Socket::SOCK_STREAM(), 0 and die;"
                                   "  syswrite $_[0], $!{EPERM} ? 'refused' : $! }"
                                   "1 if $!{EPERM}",
                                   NULL));
        process = limits_set(process, by_template ? LIMITS_BY_TEMPLATE : LIMITS_FORKED, &files);
        test_ok(afork_process_set_limits(process, &filter));
        limits_run_to_end(t, process, "f", &s);
        g_assert_cmpstr(s.run.message, ==, "");
        g_assert_cmpstr(s.output, ==, "refused");
    }
}

/* All that waits below learns why. */
static void template_that_cannot_be_limited(struct test *t)
{
    if (!limits_need_landlock())
        return;
    static const char *const gone[] = {"/no/such/path", NULL};
    struct afork_limits limits = AFORK_LIMITS_INIT;
    struct afork_process *template = test_new(t);
    struct limits_subject subjects[3] = {0};

    t->options.standard_error.mode = AFORK_STDIO_NULL;
    limits.read_paths = gone;
    limits.forks_only = true;
    test_ok(afork_process_set_limits(template, &limits));
    for (size_t i = 0; i < G_N_ELEMENTS(subjects); i++) {
        struct afork_process *process = test_fork(template);
        test_ok(afork_process_on_exit(process, test_on_exit, &subjects[i].end));
        test_ok(afork_process_run(process, "f", test_on_run, &subjects[i].run));
        afork_process_unref(process);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(subjects); i++) {
        test_wait(t, subjects[i].end.calls);
        g_assert_cmpint(subjects[i].run.fd, ==, -EPERM);
        g_assert_cmpint(subjects[i].run.cause, ==, AFORK_CAUSE_LIMITS);
        g_assert_nonnull(strstr(subjects[i].run.message, "/no/such/path"));
    }
    afork_process_unref(template);
}

/* More descriptors than the limit come as arguments. */
static void handles_beyond_the_limit(struct test *t)
{
    struct afork_limits limits = AFORK_LIMITS_INIT;
    struct afork_process *process = test_new(t);
    LIMITS_SUBJECT s;

    t->options.standard_error.mode = AFORK_STDIO_NULL;
    limits.open_files = 16;
    test_ok(afork_process_set_limits(process, &limits));
    for (int i = 0; i < 20; i++)
        test_ok(afork_process_send_fd(process, STDIN_FILENO));
    limits_run_to_end(t, process, "CORE::exit", &s);
    g_assert_cmpint(s.run.cause, ==, AFORK_CAUSE_PROTOCOL);
    g_assert_nonnull(strstr(s.run.message, "Too many open files"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (getpriority(PRIO_PROCESS, 0) > 14) {
        g_print("1..0 # SKIP this program has hardly any nice value left to take\n");
        return 0;
    }
    test_perl_add("/limits/order/require-first", require_first);
    test_perl_add("/limits/order/forked-before", what_was_forked_before);
    test_perl_add("/limits/inherited", inherited);
    test_perl_add("/limits/template/free", template_is_free);
    test_perl_add("/limits/template/confined", confined_template);
    test_perl_add("/limits/template/confined-root", confined_root);
    test_perl_add("/limits/template/cannot-fork", template_that_cannot_fork);
    test_perl_add("/limits/template/no-pool", no_pool_of_what_cannot_fork);
    test_perl_add("/limits/template/cannot-be-limited", template_that_cannot_be_limited);
    test_perl_add("/limits/never-widened", never_widened);
    test_perl_add("/limits/narrowed", narrowed);
    test_perl_add("/limits/nicer", nicer);
    test_perl_add("/limits/filter-after-files", filter_after_files);
    test_perl_add("/limits/plan-and-template", plan_and_template);
    test_perl_add("/limits/refused/missing-path", missing_paths);
    test_perl_add("/limits/refused/in-use", in_use_already);
    test_perl_add("/limits/refused/too-many-rulesets", too_many_rulesets);
    test_perl_add("/limits/refused/plan-that-fails", plan_that_fails);
    test_perl_add("/limits/refused/other-threads", other_threads);
    test_perl_add("/limits/handles-beyond", handles_beyond_the_limit);
    return g_test_run();
}
