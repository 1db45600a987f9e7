/* SPDX-License-Identifier: MIT
 *
 * Each limit is set and broken, and that is told; with afork-perl.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "limits-lib.h"

/* ---- each limit, broken ---- */

static const char *const no_paths[] = {NULL};

/* What a limited process says, however it is limited. */
static void assert_says(struct test *t, const struct afork_limits *limits, const char *code,
                        const char *expected)
{
    for (enum limits_way way = LIMITS_EXECUTED; way < LIMITS_N_WAYS; way++) {
        LIMITS_SUBJECT s;
        limits_run(t, way, limits, code, &s);
        g_assert_cmpstr(s.output, ==, expected);
        g_assert_cmpint(s.end.cause, ==, AFORK_CAUSE_EXITED);
        g_assert_cmpint(s.end.status, ==, 0);
    }
}

/* Which signal kills a limited process, however it is limited, and in which words that is told. */
static void assert_killed(struct test *t, const struct afork_limits *limits, const char *code,
                          int signal, const char *words)
{
    for (enum limits_way way = LIMITS_EXECUTED; way < LIMITS_N_WAYS; way++) {
        LIMITS_SUBJECT s;
        limits_run(t, way, limits, code, &s);
        g_assert_cmpint(s.run.fd, >=, 0);
        g_assert_cmpint(s.end.cause, ==, AFORK_CAUSE_SIGNALLED);
        g_assert_cmpint(s.end.status, ==, signal);
        g_assert_nonnull(strstr(s.end.message, words));
    }
}

/* One job fails, and only that one; the host does not grow. */
static void memory(struct test *t)
{
    struct afork_limits limits = AFORK_LIMITS_INIT;
    struct rusage before, after;

    limits.memory = 256 << 20;
    getrusage(RUSAGE_SELF, &before);
    for (enum limits_way way = LIMITS_EXECUTED; way < LIMITS_N_WAYS; way++) {
        LIMITS_SUBJECT s;
        limits_run(t, way, &limits, "my $n = 2 << 30; my $x = 'x' x $n; syswrite $ch, 'got it'",
                   &s);
        g_assert_cmpint(s.run.fd, >=, 0);
        g_assert_cmpstr(s.output, ==, "");
        g_assert_cmpint(s.end.cause, ==, AFORK_CAUSE_EXITED);
        g_assert_cmpint(s.end.status, ==, 1);
        g_assert_nonnull(strstr(s.end.stderr_tail, "Out of memory"));
    }
    assert_says(t, &limits, "my $n = 2 << 20; my $x = 'x' x $n; syswrite $ch, 'got it'", "got it");
    getrusage(RUSAGE_SELF, &after);
    g_assert_cmpint(after.ru_maxrss - before.ru_maxrss, <, 16 * 1024);
}

/* With hardly more memory than it has, a process ends in one way or another, and that is told. */
static void hardly_any_memory(struct test *t)
{
    struct afork_limits limits = AFORK_LIMITS_INIT;
    unsigned ran = 0, failed = 0;

    limits.memory = 7 << 20;
    for (unsigned i = 0; i < 40; i++) {
        LIMITS_SUBJECT s;
        limits.memory += limits.memory / 25;
        limits_run(t, i % LIMITS_N_WAYS, &limits,
                   "my @list = map { \"line $_\" } 1 .. 9000; syswrite $ch, 'ran'", &s);
        g_assert_cmpuint(s.end.calls, ==, 1);
        if (s.end.cause == AFORK_CAUSE_EXITED && s.end.status == 0) {
            g_assert_cmpstr(s.output, ==, "ran");
            ran++;
        } else {
            /* Perl does not check all that it allocates. */
            bool crashed = s.end.cause == AFORK_CAUSE_SIGNALLED && s.end.status == SIGSEGV;
            g_assert_true(crashed || *s.end.stderr_tail);
            g_assert_true(crashed || s.end.cause == AFORK_CAUSE_LIMITS || s.end.status == 1);
            failed++;
        }
    }
    g_assert_cmpuint(ran, >, 0);
    g_assert_cmpuint(failed, >, 0);
}

static void cpu(struct test *t)
{
    struct afork_limits limits = AFORK_LIMITS_INIT;

    limits.cpu_seconds = 1;
    assert_killed(t, &limits, "1 while 1", SIGXCPU, "at its limit of 1 s of CPU time");
}

static void cpu_with_a_handler(struct test *t)
{
    struct afork_limits limits = AFORK_LIMITS_INIT;
    LIMITS_SUBJECT s;

    limits.cpu_seconds = 1;
    limits_run(t, LIMITS_FORKED, &limits, "$SIG{XCPU} = sub { syswrite $ch, 'warned' }; 1 while 1",
               &s);
    g_assert_cmpstr(s.output, ==, "warned");
    g_assert_cmpint(s.end.cause, ==, AFORK_CAUSE_SIGNALLED);
    g_assert_cmpint(s.end.status, ==, SIGKILL);
    g_assert_nonnull(strstr(s.end.message, "beyond its limit of 1 s of CPU time"));
}

/* A signal that anybody could have sent is not taken for a limit. */
static void signals_of_others(struct test *t)
{
    struct afork_limits limits = AFORK_LIMITS_INIT;
    LIMITS_SUBJECT s;

    limits.cpu_seconds = 100;
    limits_run(t, LIMITS_FORKED, &limits, "kill KILL => $$", &s);
    g_assert_cmpint(s.end.status, ==, SIGKILL);
    g_assert_null(strstr(s.end.message, "limit"));
}

static void file_size(struct test *t)
{
    g_autofree char *path = g_build_filename(g_get_tmp_dir(), "afork-limits-XXXXXX", NULL);
    struct afork_limits limits = AFORK_LIMITS_INIT;

    close(g_mkstemp(path));
    g_autofree char *small = g_strdup_printf("open my $f, '>', '%s';"
                                             "syswrite $ch, syswrite $f, 'x' x 3000",
                                             path);
    g_autofree char *ignored = g_strdup_printf("$SIG{XFSZ} = 'IGNORE'; open my $f, '>', '%s';"
                                               "syswrite $f, 'x' x 4096; syswrite $f, 'x';"
                                               "syswrite $ch, $!{EFBIG}",
                                               path);
    limits.file_size = 4096;
    g_autofree char *thrice = g_strdup_printf(
        "open my $f, '>', '%s'; syswrite $f, 'x' x 3000 for 1..3", path);
    assert_killed(t, &limits, thrice, SIGXFSZ, "at its limit of 4096 octets a file");
    assert_says(t, &limits, small, "3000");
    assert_says(t, &limits, ignored, "27");
    unlink(path);
}

static void open_files(struct test *t)
{
    struct afork_limits limits = AFORK_LIMITS_INIT;

    limits.open_files = 32;
    assert_says(t, &limits,
                "my @all; while (open my $f, '<', '/dev/null') { push @all, $f; die if @all > 32 }"
                "syswrite $ch, int($!) == 24 && fileno $all[-1]; @all = ()",
                "31");
}

static void nice_value(struct test *t)
{
    struct afork_limits limits = AFORK_LIMITS_INIT;

    limits.nice = 19;
    assert_says(t, &limits, "syswrite $ch, getpriority 0, 0", "19");
}

static void no_new_privileges(struct test *t)
{
    struct afork_limits limits = AFORK_LIMITS_INIT;

    limits.no_new_privileges = true;
    assert_says(t, &limits,
                "open my $f, '<', '/proc/self/status'; print $ch grep /^NoNewPrivs/, <$f>",
                "NoNewPrivs:\t1\n");
}

/* A folder with something in it to read and to write. */
struct tree {
    char *top, *in, *out;
};

static void tree_new(struct tree *tree)
{
    tree->top = g_dir_make_tmp("afork-limits-XXXXXX", NULL);
    tree->in = g_build_filename(tree->top, "in", NULL);
    tree->out = g_build_filename(tree->top, "out", NULL);
    const char *dirs[] = {tree->in, tree->out};
    for (size_t i = 0; i < G_N_ELEMENTS(dirs); i++) {
        g_autofree char *file = g_build_filename(dirs[i], "file", NULL);
        test_ok(mkdir(dirs[i], 0700));
        g_assert_true(g_file_set_contents(file, "text\n", -1, NULL));
    }
}

static void tree_free(struct tree *tree)
{
    const char *argv[] = {"rm", "-rf", tree->top, NULL};

    g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL,
                 NULL);
    g_free(tree->top);
    g_free(tree->in);
    g_free(tree->out);
}

#define AUTO_TREE __attribute__((cleanup(tree_free))) struct tree

/* Says for each thing that is tried whether it worked: 1, or the name of the error. */
static const char try_files[] =
    "use strict; use warnings; our ($ch, $top);"
    "sub try { my ($name, $result) = @_;"
    "  my ($error) = grep $!{$_}, qw(EACCES EXDEV EPERM ENOENT);"
    "  syswrite $ch, \"$name \" . ($result ? 1 : $error // $!) . \"\\n\" }"
    "sub files { our $ch = shift; our $top = shift; require Errno; my $h;"
    "  for my $d (qw(in out)) {"
    "    try(\"$d read\", open $h, '<', \"$top/$d/file\");"
    "    try(\"$d list\", opendir my $l, \"$top/$d\");"
    "    try(\"$d append\", open $h, '>>', \"$top/$d/file\");"
    "    try(\"$d truncate\", truncate \"$top/$d/file\", 3);"
    "    try(\"$d make\", open $h, '>', \"$top/$d/new\");"
    "    try(\"$d mkdir\", mkdir \"$top/$d/dir\");"
    "    try(\"$d symlink\", symlink 'nowhere', \"$top/$d/link\");"
    "    try(\"$d rename\", rename \"$top/$d/file\", \"$top/$d/renamed\");"
    "    try(\"$d move\", rename \"$top/$d/new\", \"$top/$d/dir/new\");"
    "    try(\"$d remove\", unlink(\"$top/$d/renamed\") || unlink(\"$top/$d/file\"));"
    "  }"
    "  try('execute', !system { '/bin/true' } 'true'); }";

static char *run_files(struct test *t, enum limits_way way, const struct tree *tree,
                       const struct afork_limits *limits)
{
    struct afork_process *process = way == LIMITS_EXECUTED ? test_new_exec(t) : test_new(t);

    test_ok(afork_process_require(process, "Errno", NULL));
    test_ok(afork_process_eval(process, try_files, NULL));
    process = limits_set(process, way, limits);
    test_ok(afork_process_send_arg(process, tree->top, strlen(tree->top)));
    LIMITS_SUBJECT s;
    limits_run_to_end(t, process, "files", &s);
    g_test_message("%s", s.end.stderr_tail);
    g_assert_cmpint(s.end.status, ==, 0);
    return g_steal_pointer(&s.output);
}

#define READS(dir, result) dir " read " result "\n" dir " list " result "\n"
#define WRITES(dir, result)                                                                        \
    dir " append " result "\n" dir " truncate " result "\n" dir " make " result "\n" dir           \
        " mkdir " result "\n" dir " symlink " result "\n" dir " rename " result "\n"

static void read_paths(struct test *t)
{
    if (!limits_need_landlock())
        return;
    for (enum limits_way way = LIMITS_EXECUTED; way < LIMITS_N_WAYS; way++) {
        struct afork_limits limits = AFORK_LIMITS_INIT;
        AUTO_TREE tree;
        tree_new(&tree);
        const char *const paths[] = {tree.in, NULL};
        limits.read_paths = paths;
        g_autofree char *text = run_files(t, way, &tree, &limits);
        g_assert_cmpstr(text, ==,
                        READS("in", "1")
                            WRITES("in", "1") "in move 1\nin remove 1\n" READS("out", "EACCES")
                                WRITES("out", "1") "out move 1\nout remove 1\n"
                                                   "execute EACCES\n");
    }
}

static void write_paths(struct test *t)
{
    if (!limits_need_landlock())
        return;
    for (enum limits_way way = LIMITS_EXECUTED; way < LIMITS_N_WAYS; way++) {
        struct afork_limits limits = AFORK_LIMITS_INIT;
        AUTO_TREE tree;
        tree_new(&tree);
        const char *const paths[] = {tree.in, NULL};
        limits.write_paths = paths;
        g_autofree char *text = run_files(t, way, &tree, &limits);
        g_assert_cmpstr(text, ==,
                        READS("in", "1")
                            WRITES("in", "1") "in move 1\nin remove 1\n" READS("out", "1")
                                WRITES("out", "EACCES") "out move ENOENT\nout remove EACCES\n"
                                                        "execute 1\n");
    }
}

/* A file is named by itself; what is beside it is not meant. */
static void paths_of_files(struct test *t)
{
    if (!limits_need_landlock())
        return;
    struct afork_limits limits = AFORK_LIMITS_INIT;
    AUTO_TREE tree;

    tree_new(&tree);
    g_autofree char *file = g_build_filename(tree.in, "file", NULL);
    const char *const paths[] = {file, "/dev/null", NULL};
    limits.read_paths = limits.write_paths = paths;
    g_autofree char *code = g_strdup_printf(
        "syswrite $ch, join ' ', map { open(my $f, '+<', $_) ? 1 : $!{EACCES} ? 0 : $! }"
        "  '%s', '/dev/null', '%s/file', '/dev/zero'",
        file, tree.out);
    assert_says(t, &limits, code, "1 1 0 0");
}

static void empty_lists(struct test *t)
{
    if (!limits_need_landlock())
        return;
    struct afork_limits limits = AFORK_LIMITS_INIT;

    limits.read_paths = limits.write_paths = no_paths;
    assert_says(
        t, &limits,
        "syswrite $ch, join ' ', map { open(my $f, $_->[0], $_->[1]) ? 1 : $!{EACCES} ? 0 : $! }"
        "  ['<', '/dev/null'], ['>', '/dev/null'], ['<', '/']",
        "0 0 0");
}

static const char try_network[] =
    "require Socket; require Errno; Socket->import(qw(:DEFAULT SOCK_SEQPACKET));"
    "my @tried = map { my ($d, $type) = @$_; socket(my $s, $d, $type, 0) ? 1 : $!{EPERM} ? 0 : $! }"
    "  [AF_INET(), SOCK_STREAM()], [AF_INET6(), SOCK_DGRAM()], [AF_UNIX(), SOCK_STREAM()], [16, "
    "SOCK_RAW()];"
    "push @tried, map { socketpair(my $a, my $b, AF_UNIX(), $_, 0) ? 1 : $!{EPERM} ? 0 : $! }"
    "  SOCK_STREAM(), SOCK_SEQPACKET(), SOCK_DGRAM(), SOCK_STREAM() | 02000000;"
    "push @tried, (getpwuid 0)[0];"
    "syswrite $ch, \"@tried\"";

static void no_network(struct test *t)
{
    struct afork_limits limits = AFORK_LIMITS_INIT;

    if (!limits_need_filters())
        return;
    limits.no_network = true;
    assert_says(t, &limits, try_network, "0 0 0 0 1 1 0 1 root");
}

/* Sockets that are handed over work on, but do not connect. */
static void sockets_that_are_open(struct test *t)
{
    struct afork_limits limits = AFORK_LIMITS_INIT;

    if (!limits_need_filters())
        return;
    struct afork_process *process = test_new(t);
    test_ok(afork_process_eval(process,
                               "require Socket; Socket->import; require Errno;"
                               "socket our $listening, AF_INET(), SOCK_STREAM(), 0 or die;"
                               "bind $listening, pack_sockaddr_in(0, INADDR_LOOPBACK()) or die;"
                               "listen $listening, 1 or die; our $name = getsockname $listening;"
                               "socket our $client, AF_INET(), SOCK_STREAM(), 0 or die;"
                               "socket our $late, AF_INET(), SOCK_STREAM(), 0 or die;"
                               "connect $client, $name or die; syswrite $client, 'hello';"
                               "sub f { my $ch = shift; accept my $c, $listening or die;"
                               "  sysread $c, my $text, 5; syswrite $ch, $text;"
                               "  syswrite $ch, connect($late, $name) ? 1 : $!{EPERM} ? 0 : $! }",
                               NULL));
    limits.no_network = true;
    test_ok(afork_process_set_limits(process, &limits));
    LIMITS_SUBJECT s;
    limits_run_to_end(t, process, "f", &s);
    g_assert_cmpstr(s.output, ==, "hello0");
}

static void no_new_processes(struct test *t)
{
    struct afork_limits limits = AFORK_LIMITS_INIT;

    if (!limits_need_filters())
        return;
    limits.no_new_processes = true;
    assert_says(t, &limits,
                "no warnings; require Errno; my @tried;"
                "push @tried, defined fork ? 1 : $!{EPERM} ? 0 : $!;"
                "push @tried, system { '/bin/true' } 'true'; push @tried, $!{EPERM} ? 0 : $!;"
                "push @tried, open(my $f, '-|', '/bin/true') ? 1 : $!{EPERM} ? 0 : $!;"
                "syswrite $ch, \"@tried\"",
                "0 -1 0 0");
    /* What makes no process works. */
    assert_says(t, &limits, "open STDOUT, '>&', $ch; exec { '/bin/echo' } 'echo', 'there'",
                "there\n");
}

/* Itself and its own children can be killed; nobody else, whether there are paths or not. */
static void no_signals(struct test *t)
{
    enum { LANDLOCK_CREATE_RULESET = 444, ASK_VERSION = 1, VERSION = 6 };
    const char *const all[] = {"/", NULL};
    g_autofree char *code = g_strdup_printf(
        "require Errno; my $host = %d; my @tried = map { kill($_, $host) ? 1 : $!{EPERM} ? 0 : $! }"
        "  0, 'CONT';"
        "push @tried, kill(0, getppid) ? 1 : $!{EPERM} ? 0 : $!;"
        "local $SIG{USR1} = sub { push @tried, 'self' }; kill USR1 => $$;"
        "my $pid = fork // die; unless ($pid) { select undef, undef, undef, 1000; exit }"
        "kill KILL => $pid; waitpid $pid, 0; push @tried, $? & 127;"
        "open my $f, '>', \"/tmp/afork-signals-$$\"; mkdir \"/tmp/afork-signals-$$.d\";"
        "push @tried, rename(\"/tmp/afork-signals-$$\", \"/tmp/afork-signals-$$.d/f\") ? 'moved' : "
        "$!;"
        "unlink \"/tmp/afork-signals-$$\", \"/tmp/afork-signals-$$.d/f\";"
        "rmdir \"/tmp/afork-signals-$$.d\"; syswrite $ch, \"@tried\"",
        getpid());

    if (syscall(LANDLOCK_CREATE_RULESET, NULL, 0, ASK_VERSION) < VERSION) {
        g_test_skip("the Landlock of this kernel does not confine signals");
        return;
    }
    for (int paths = 0; paths < 2; paths++) {
        struct afork_limits limits = AFORK_LIMITS_INIT;
        limits.no_signals = true;
        if (paths)
            limits.read_paths = limits.write_paths = all;
        assert_says(t, &limits, code, "0 0 0 self 9 moved");
    }
}

/* Filters are put one on the other. */
static void several_at_once(struct test *t)
{
    struct afork_limits limits = AFORK_LIMITS_INIT;

    if (!limits_need_filters() || !limits_need_landlock())
        return;
    limits = (struct afork_limits){.size = sizeof limits,
                                   .cpu_seconds = 10,
                                   .file_size = 1 << 20,
                                   .open_files = 64,
                                   .nice = 19,
                                   .no_network = true,
                                   .no_new_processes = true,
                                   .read_paths = no_paths,
                                   .write_paths = no_paths};
    assert_says(t, &limits,
                "syswrite $ch, join ' ', defined fork ? 1 : 0, socket(my $s, 2, 1, 0) ? 1 : 0,"
                "  open(my $f, '<', '/dev/null') ? 1 : 0, getpriority 0, 0",
                "0 0 0 19");
}

/* What a process was limited with by its template it does not touch again when it is a template
 * itself. */
static void again_in_a_fork(struct test *t)
{
    static const char *const readable[] = {"/", NULL};
    struct afork_limits limits = AFORK_LIMITS_INIT;

    if (!limits_need_landlock())
        return;
    limits.read_paths = readable;
    limits.forks_only = true;
    struct afork_process *template = test_perl_new(t);
    for (int i = 0; i < 3; i++)
        test_ok(afork_process_set_limits(template, &limits));
    struct afork_process *child = test_fork(template);
    for (int i = 0; i < 6; i++)
        test_ok(afork_process_send_fd(child, STDERR_FILENO));
    limits = (struct afork_limits)AFORK_LIMITS_INIT;
    limits.cpu_seconds = 100;
    limits.forks_only = true;
    test_ok(afork_process_set_limits(child, &limits));
    g_autofree char *text = test_output(t, child, "list");
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    g_assert_cmpuint(g_strv_length(lines), ==, 8);
    for (int i = 2; i <= 6; i++)
        g_assert_cmpstr(lines[i], ==, lines[1]);
    afork_process_unref(template);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (!test_has_sanitizers()) { /* their shadow memory needs more than any limit */
        test_perl_add("/limits/memory", memory);
        test_perl_add("/limits/memory/hardly-any", hardly_any_memory);
    }
    test_perl_add("/limits/cpu", cpu);
    test_perl_add("/limits/cpu/with-a-handler", cpu_with_a_handler);
    test_perl_add("/limits/cpu/signals-of-others", signals_of_others);
    test_perl_add("/limits/file-size", file_size);
    test_perl_add("/limits/open-files", open_files);
    test_perl_add("/limits/nice", nice_value);
    test_perl_add("/limits/no-new-privileges", no_new_privileges);
    test_perl_add("/limits/read-paths", read_paths);
    test_perl_add("/limits/write-paths", write_paths);
    test_perl_add("/limits/paths/of-files", paths_of_files);
    test_perl_add("/limits/paths/empty-lists", empty_lists);
    test_perl_add("/limits/no-network", no_network);
    test_perl_add("/limits/no-network/open-sockets", sockets_that_are_open);
    test_perl_add("/limits/no-new-processes", no_new_processes);
    test_perl_add("/limits/no-signals", no_signals);
    test_perl_add("/limits/several", several_at_once);
    test_perl_add("/limits/again-in-a-fork", again_in_a_fork);
    return g_test_run();
}
