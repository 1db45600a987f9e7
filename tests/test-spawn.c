/* SPDX-License-Identifier: MIT
 *
 * Starting programs: what they inherit and what not, threaded hosts, and the small parts around it.
 */
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "test-lib.h"
#include "util.h"

static char *const no_environment[] = {NULL};

/* Starts `sh -c SCRIPT` with standard output in `out`, which may be -1. */
static pid_t spawn_shell(const char *script, int out)
{
    char *argv[] = {g_strdup("sh"), g_strdup("-c"), g_strdup(script), NULL};
    int pair[2];

    test_ok(afork__socketpair(SOCK_STREAM, pair));
    struct afork__spawn spawn = {
        .path = "sh",
        .argv = argv,
        .environment = no_environment,
        .stdio = {-1, out, -1},
        .command_fd = pair[1],
        .status_fd = -1,
    };
    pid_t pid = afork__spawn(&spawn);
    afork__close(&pair[0]);
    afork__close(&pair[1]);
    for (int i = 0; argv[i]; i++)
        g_free(argv[i]);
    return pid;
}

static char *output_of(const char *script)
{
    char text[65536];
    int ends[2], status;
    gsize len = 0;

    test_ok(pipe2(ends, O_CLOEXEC));
    pid_t pid = spawn_shell(script, ends[1]);
    g_assert_cmpint(pid, >, 0);
    close(ends[1]);
    for (ssize_t n; (n = read(ends[0], text + len, sizeof text - len)) > 0;)
        len += (gsize)n;
    close(ends[0]);
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    return g_strndup(text, len);
}

/* A value of /proc/PID/status in hexadecimal. */
static guint64 mask_of(const char *text, const char *name)
{
    const char *found = strstr(text, name);

    g_assert_nonnull(found);
    return g_ascii_strtoull(found + strlen(name), NULL, 16);
}

/* Signals 32 and 33, which glibc keeps to itself and ignores in what it starts. */
#define OF_LIBC (UINT64_C(3) << 31)

static void signals_are_clean(struct test *t)
{
    sigset_t all, before, after;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_IGN);
    sigprocmask(SIG_SETMASK, NULL, &all);
    struct afork_process *template = test_new_exec(t), *worker = test_fork(template);
    struct test_exit end = {0};
    g_autofree char *text = test_output(t, test_fork(template), "status");
    test_ok(afork_process_on_exit(worker, test_on_exit, &end));
    close(test_run_function(t, worker, "hang"));
    test_ok(afork_process_kill(worker, SIGTERM));
    test_wait(t, end.calls);
    sigprocmask(SIG_SETMASK, NULL, &after);
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGCHLD, SIG_DFL);
    sigprocmask(SIG_SETMASK, &before, NULL);

    for (int signal = 1; signal < NSIG; signal++) /* the host's own */
        g_assert_cmpint(sigismember(&after, signal), ==, sigismember(&all, signal));
    g_assert_cmpuint(mask_of(text, "SigBlk:"), ==, 0);
    g_assert_cmpuint(mask_of(text, "SigIgn:") & ~OF_LIBC, ==, 0);
    g_assert_cmpint(end.status, ==, SIGTERM);
    afork_process_unref(template);
    afork_process_unref(worker);
}

static void only_the_socket_is_inherited(struct test *t)
{
    int careless = dup(0), far = fcntl(0, F_DUPFD, 900);
    g_autofree char *text = output_of("i=0; while [ $i -lt 1024 ]; do [ -e /proc/self/fd/$i ] && "
                                      "echo $i; i=$((i + 1)); done");

    g_assert_cmpstr(text, ==, "0\n1\n2\n3\n");
    close(careless);
    close(far);
}

struct noise {
    int stop;
    GMutex lock;
};

/* What other threads of a program do all the time. */
static gpointer make_noise(gpointer data)
{
    struct noise *noise = data;
    FILE *log = fopen("/dev/null", "w");

    for (unsigned i = 0; !g_atomic_int_get(&noise->stop); i++) {
        void *memory[16];
        for (size_t j = 0; j < 16; j++)
            memory[j] = malloc(j * 1000 + i % 100);
        g_mutex_lock(&noise->lock);
        fprintf(log, "%p\n", memory[0]);
        setenv("AFORK_TEST_NOISE", i % 2 ? "1" : "2", 1);
        g_mutex_unlock(&noise->lock);
        for (size_t j = 0; j < 16; j++)
            free(memory[j]);
        if (i % 64 == 0)
            g_usleep(100); /* or two processors would do nothing else */
    }
    fclose(log);
    return NULL;
}

static void threaded_host_never_hangs(struct test *t)
{
    enum { N_THREADS = 8, AT_ONCE = 8 };
    struct noise noise = {0};
    GThread *threads[N_THREADS];

    t->options.perl = "true";
    setenv("AFORK_TEST_NOISE", "0", 1);
    g_mutex_init(&noise.lock);
    for (int i = 0; i < N_THREADS; i++)
        threads[i] = g_thread_new("noise", make_noise, &noise);
    for (int n = 0; n < 2000; n += AT_ONCE) {
        struct test_exit ends[AT_ONCE] = {{0}};
        for (int i = 0; i < AT_ONCE; i++) {
            struct afork_process *process = test_new_exec(t);
            test_ok(afork_process_on_exit(process, test_on_exit, &ends[i]));
            afork_process_unref(process);
        }
        for (int i = 0; i < AT_ONCE; i++)
            test_wait(t, ends[i].calls);
    }
    g_atomic_int_set(&noise.stop, 1);
    for (int i = 0; i < N_THREADS; i++)
        g_thread_join(threads[i]);
    g_mutex_clear(&noise.lock);
    unsetenv("AFORK_TEST_NOISE");
}

static void assert_environment(char *const *base, char *const *changes, const char *expected)
{
    char **result = afork__environment(base, changes);
    g_autofree char *text = g_strjoinv(" ", result);

    g_assert_cmpstr(text, ==, expected);
    free(result);
}

#define LIST(...) ((char *const *)(const char *const[]){__VA_ARGS__, NULL})

static void environment_is_merged(struct test *t)
{
    char *const *base = LIST("A=1", "B=2", "AB=3");

    assert_environment(base, NULL, "A=1 B=2 AB=3");
    assert_environment(base, LIST("A"), "B=2 AB=3");
    assert_environment(base, LIST("A=9"), "B=2 AB=3 A=9");
    assert_environment(base, LIST("C="), "A=1 B=2 AB=3 C=");
    assert_environment(base, LIST("A=8", "A=9"), "B=2 AB=3 A=9");
    assert_environment(base, LIST("A=8", "A"), "B=2 AB=3");
    assert_environment(base, LIST("A", "A=8"), "B=2 AB=3 A=8");
    assert_environment(base, LIST("A", "B", "AB", "X"), "");
    assert_environment(LIST("=odd", "noequals"), LIST("B=1"), "=odd noequals B=1");
    assert_environment(no_environment, NULL, "");
}

static void reaping_takes_own_children_only(struct test *t)
{
    struct rusage usage;
    int status = 99;

    pid_t pid = spawn_shell("exec sleep 100", -1);
    AFORK__AUTO_FD pidfd = afork__pidfd_open(pid);
    g_assert_cmpint(pidfd, >=, 0);
    g_assert_cmpint(afork__reap(pid, pidfd, &status, &usage), ==, 0);
    g_assert_cmpint(afork__reap(pid, -1, &status, &usage), ==, 0);
    g_assert_cmpint(status, ==, 99);
    test_ok(afork__pidfd_signal(pidfd, SIGTERM));
    while (test_is_running(pid))
        g_thread_yield();
    g_assert_cmpint(afork__reap(pid, pidfd, &status, &usage), ==, 1);
    g_assert_true(WIFSIGNALED(status));
    g_assert_cmpint(WTERMSIG(status), ==, SIGTERM);
    g_assert_cmpint(afork__reap(pid, pidfd, &status, &usage), ==, -ECHILD);
    g_assert_cmpint(afork__reap(pid, -1, &status, &usage), ==, -ECHILD);
    g_assert_cmpint(afork__pidfd_signal(pidfd, SIGTERM), ==, -ESRCH);
    g_assert_cmpint(afork__pidfd_open(pid), ==, -ESRCH);

    pid = spawn_shell("exit 44", -1);
    while (test_is_running(pid))
        g_thread_yield();
    g_assert_cmpint(afork__reap(pid, -1, &status, &usage), ==, 1);
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, 44);
}

/* 0 if all that is made has a number above that of standard error. */
static int make_without_stdio(void)
{
    int pair[2];

    close(0);
    close(1);
    close(2);
    int zero = open("/dev/null", O_RDONLY); /* what there is may have any number */
    if (afork__duplicate(zero) < 3 || fcntl(zero, F_GETFD) < 0)
        return 1;
    if (afork__socketpair(SOCK_STREAM, pair) || pair[0] < 3 || pair[1] < 3)
        return 2;
    if (fcntl(1, F_GETFD) >= 0 || fcntl(2, F_GETFD) >= 0)
        return 3; /* left behind */
    if (afork__pidfd_open(getpid()) < 3)
        return 4;
    return 0;
}

static void numbers_are_above_stdio(struct test *t)
{
    int status, pair[2];

    pid_t pid = fork();
    if (!pid)
        _exit(make_without_stdio());
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_cmpint(status, ==, 0);

    test_ok(afork__socketpair(SOCK_STREAM, pair));
    g_assert_cmpint(fcntl(pair[0], F_GETFL) & O_NONBLOCK, ==, O_NONBLOCK);
    g_assert_cmpint(fcntl(pair[1], F_GETFL) & O_NONBLOCK, ==, 0);
    g_assert_cmpint(fcntl(pair[0], F_GETFD), ==, FD_CLOEXEC);
    g_assert_cmpint(fcntl(pair[1], F_GETFD), ==, FD_CLOEXEC);
    afork__close(&pair[0]);
    afork__close(&pair[1]);
    g_assert_cmpint(afork__duplicate(-1), ==, -EBADF);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_add_for(&test_loop_poll, "/spawn/inherited/signals", signals_are_clean);
    test_add_for(NULL, "/spawn/inherited/descriptors", only_the_socket_is_inherited);
    test_add_for(&test_loop_poll, "/spawn/threads/never-hangs", threaded_host_never_hangs);
    test_add_for(NULL, "/spawn/environment/merged", environment_is_merged);
    test_add_for(NULL, "/spawn/reap/own-children-only", reaping_takes_own_children_only);
    test_add_for(NULL, "/spawn/numbers/above-stdio", numbers_are_above_stdio);
    return g_test_run();
}
