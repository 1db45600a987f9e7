/* SPDX-License-Identifier: MIT
 *
 * Descriptors: those that are sent, in order and by inode; their flags; the limits of the kernel;
 * those that must not be seen by others; and that each is closed once. Against the fake server.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test-lib.h"
#include "util.h"

enum { MEGABYTE = 1 << 20 };

/* Sends a new file, and notes the line by which "dump" names it. */
static void send_new_file(struct afork_process *process, GString *expected)
{
    AFORK__AUTO_FD fd = memfd_create("test", MFD_CLOEXEC);
    struct stat st;

    g_assert_cmpint(fd, >=, 0);
    test_ok(fstat(fd, &st));
    test_ok(afork_process_send_fd(process, fd));
    g_string_append_printf(expected, "fd %lu:%lu\n", (unsigned long)st.st_dev,
                           (unsigned long)st.st_ino);
}

static void send_text(struct afork_process *process, const char *text, gsize len, GString *expected)
{
    test_ok(afork_process_send_arg(process, text, len));
    g_string_append(expected, "arg ");
    g_string_append_len(expected, text, (gssize)len);
    g_string_append_c(expected, '\n');
}

/* The least that sockets of this process can hold on their way out. */
static void shrink_sockets(void)
{
    const int one = 1;

    for (int fd = 3; fd < 256; fd++)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &one, sizeof one);
}

/* How the stream is made difficult. */
struct difficulty {
    enum afork_peer peer;
    bool small, stopped;
    const char *chunk;
};

static void mix_arguments_and_files(struct test *t, const struct difficulty *d)
{
    g_autofree char *big = g_malloc(MEGABYTE);
    g_autoptr(GString) expected = g_string_new(NULL);

    memset(big, 'x', MEGABYTE);
    t->options.peer = d->peer;
    struct afork_process *process = test_new_exec(t);
    pid_t pid = afork_process_pid(process);
    if (d->small)
        shrink_sockets();
    if (d->chunk) {
        test_ok(afork_process_eval(process, d->chunk, NULL));
        g_string_append_printf(expected, "code %s\n", d->chunk);
    }
    if (d->stopped) {
        kill(pid, SIGSTOP);
        test_wait(t, test_process_state(pid) == 'T');
    }
    send_text(process, "one", 3, expected);
    send_new_file(process, expected);
    send_text(process, "", 0, expected);
    send_new_file(process, expected);
    send_new_file(process, expected);
    send_text(process, big, MEGABYTE, expected);
    send_new_file(process, expected);
    struct afork_process *child = test_fork(process);
    send_new_file(child, expected);
    kill(pid, SIGCONT);
    g_autofree char *text = test_output(t, child, "dump");
    g_assert_cmpstr(text, ==, expected->str);
    afork_process_unref(process);
    afork_context_close(t->context);
    t->context = NULL;
}

static void files_and_arguments_keep_their_order(struct test *t)
{
    static const struct difficulty difficulties[] = {
        {.peer = AFORK_PEER_OWN},
        {.peer = AFORK_PEER_OWN, .small = true, .stopped = true},
        {.peer = AFORK_PEER_OWN, .small = true, .chunk = "chunk 37"},
        {.peer = AFORK_PEER_ORIGINAL},
        {.peer = AFORK_PEER_ORIGINAL, .small = true, .stopped = true},
        {.peer = AFORK_PEER_ORIGINAL, .small = true, .chunk = "chunk 37"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(difficulties); i++)
        mix_arguments_and_files(t, &difficulties[i]);
}

static void flags_are_left_alone(struct test *t)
{
    struct afork_process *process = test_new(t);
    int ends[2];

    test_ok(pipe2(ends, O_NONBLOCK));
    test_ok(fcntl(ends[1], F_SETFL, 0)); /* one end is blocking, one is not */
    int in = fcntl(ends[0], F_GETFL), out = fcntl(ends[1], F_GETFL);
    test_ok(afork_process_send_fd(process, ends[0]));
    test_ok(afork_process_send_fd(process, ends[1]));
    int fd = test_run_and_unref(t, process, "flags");
    g_assert_cmpint(fcntl(fd, F_GETFL) & O_NONBLOCK, ==, O_NONBLOCK);
    g_assert_cmpint(fcntl(fd, F_GETFD), ==, FD_CLOEXEC);
    g_autofree char *text = test_slurp(t, fd, NULL);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

    int number, flags, fd_flags;
    g_assert_cmpint(sscanf(lines[0], "channel %d %d %d", &number, &flags, &fd_flags), ==, 3);
    g_assert_cmpint(number, >=, 3);
    g_assert_cmpint(flags & O_NONBLOCK, ==, 0); /* a worker may read and wait */
    g_assert_cmpint(fd_flags, ==, FD_CLOEXEC);
    g_assert_cmpint(sscanf(lines[1], "handle %*d %d", &flags), ==, 1);
    g_assert_cmpint(flags, ==, in);
    g_assert_cmpint(sscanf(lines[2], "handle %*d %d", &flags), ==, 1);
    g_assert_cmpint(flags, ==, out);
    g_assert_cmpint(fcntl(ends[0], F_GETFL), ==, in);
    g_assert_cmpint(fcntl(ends[1], F_GETFL), ==, out);
    g_assert_cmpint(fcntl(ends[0], F_GETFD), ==, 0);
    close(ends[0]);
    close(ends[1]);
}

/* The host killed the template with megabytes and descriptors on their way to it. */
static void killed_with_a_full_queue(struct test *t)
{
    g_autofree char *big = g_malloc0(MEGABYTE);
    g_autoptr(GString) names = g_string_new(NULL);
    struct sigaction before, after;
    struct test_run run = {0};
    struct test_exit end = {0};

    signal(SIGPIPE, SIG_DFL);
    sigaction(SIGPIPE, NULL, &before);
    test_context(t);
    unsigned fds = test_count_fds();
    struct afork_process *process = test_new_exec(t);
    pid_t pid = afork_process_pid(process);
    kill(pid, SIGSTOP);
    test_wait(t, test_process_state(pid) == 'T');
    for (int i = 0; i < 10; i++) {
        test_ok(afork_process_send_arg(process, big, MEGABYTE));
        send_new_file(process, names);
        send_new_file(process, names);
    }
    g_assert_cmpuint(test_count_fds(), >=, fds + 15);
    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    test_ok(afork_process_run(process, "hold", test_on_run, &run));
    kill(pid, SIGKILL);
    test_wait(t, end.calls);
    g_assert_cmpuint(run.calls, ==, 1);
    g_assert_cmpint(run.fd, ==, -ECONNRESET);
    g_assert_cmpint(run.wait_status, ==, SIGKILL);
    g_assert_cmpuint(test_count_fds(), ==, fds);
    test_assert_idle(t, 100 * 1000);
    g_assert_cmpuint(run.calls, ==, 1);
    g_assert_cmpuint(end.calls, ==, 1);
    g_assert_cmpint(afork_process_kill(process, SIGTERM), ==, -ESRCH);
    g_assert_cmpint(afork_process_send_arg(process, "x", 1), <, 0);
    sigaction(SIGPIPE, NULL, &after);
    g_assert_true(after.sa_handler == before.sa_handler);
    afork_process_unref(process);
}

/* In a copy of this process that is not root: runs `func`, which exits with 0. */
static void as_nobody(struct test *t, test_func *func)
{
    int status;

    pid_t pid = fork();
    if (!pid) {
        struct test copy = {.type = t->type, .options = t->options};
        if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setresgid(65534, 65534, 65534) < 0 ||
                               setresuid(65534, 65534, 65534) < 0))
            _exit(77);
        prctl(PR_SET_DUMPABLE, 1);
        if (access(t->options.perl, X_OK) < 0)
            _exit(77);
        copy.loop_self = copy.type->new ();
        copy.loop = copy.type->get(copy.loop_self);
        func(&copy);
        afork_context_close(copy.context);
        _exit(0);
    }
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        g_test_skip("another user cannot reach the build directory");
    else
        g_assert_cmpint(WEXITSTATUS(status), ==, 0);
}

static void limit_descriptors(rlim_t n)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = n;
    test_ok(setrlimit(RLIMIT_NOFILE, &limit));
}

/* One that has room for what is sent to it, while the host has less. */
static struct afork_process *stopped_server(struct test *t, rlim_t limit_of_host)
{
    limit_descriptors(1024);
    struct afork_process *process = test_new_exec(t);
    pid_t pid = afork_process_pid(process);
    test_ok(afork_process_eval(process, "stop", NULL));
    test_wait(t, test_process_state(pid) == 'T');
    limit_descriptors(limit_of_host);
    return process;
}

/* 500 handles where there is room for 64: a clear error, and what was accepted arrives. */
static void more_handles_than_descriptors(struct test *t)
{
    struct afork_process *process = stopped_server(t, 64);
    int accepted = 0;

    for (int i = 0; i < 500; i++) {
        int result = afork_process_send_fd(process, 0);
        accepted += result == 0;
        g_assert_true(result == 0 || result == -EMFILE);
    }
    g_assert_cmpint(accepted, >, 64);
    g_assert_cmpint(accepted, <, 500);
    kill(afork_process_pid(process), SIGCONT);
    g_autofree char *text = test_output(t, process, "dump");
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    g_assert_cmpint((int)g_strv_length(lines), ==, accepted + 2); /* the code, and the end */
}

/* More in flight than the kernel allows a user: "too many references" only means later. */
static void more_handles_in_flight_than_allowed(struct test *t)
{
    struct afork_process *process = stopped_server(t, 260);
    g_autoptr(GString) expected = g_string_new("code stop\n");
    struct test_run run = {0};

    for (int i = 0; i < 450; i++)
        send_new_file(process, expected);
    test_ok(afork_process_run(process, "dump", test_on_run, &run));
    struct test_load load = test_turn_for(t, 300 * 1000);
    g_assert_cmpint(load.cpu_usec, <, 60 * 1000);
    g_assert_cmpuint(run.calls, ==, 0);
    kill(afork_process_pid(process), SIGCONT);
    test_wait(t, run.calls);
    g_assert_cmpint(run.fd, >=, 0);
    g_autofree char *text = test_slurp(t, run.fd, NULL);
    g_assert_cmpstr(text, ==, expected->str);
    afork_process_unref(process);
}

static void descriptor_limit(struct test *t)
{
    as_nobody(t, more_handles_than_descriptors);
}

static void in_flight_limit(struct test *t)
{
    as_nobody(t, more_handles_in_flight_than_allowed);
}

/* All of the library's are close-on-exec from birth. */
static void host_keeps_its_own(struct test *t)
{
    bool before[256];

    for (int fd = 0; fd < 256; fd++)
        before[fd] = fcntl(fd, F_GETFD) >= 0;
    struct afork_process *process = test_new(t), *direct = test_new_exec(t);
    struct afork_process *worker = test_fork(process);
    int channel = test_run_function(t, worker, "echo");
    for (int fd = 0; fd < 256; fd++) {
        int flags = fcntl(fd, F_GETFD);
        if (!before[fd] && flags >= 0)
            g_assert_cmpint(flags, ==, FD_CLOEXEC);
    }
    close(channel);
    afork_process_unref(worker);
    afork_process_unref(process);
    afork_process_unref(direct);
}

/* A program of ours that is careless with close-on-exec gives nothing to the servers. */
static void servers_get_nothing_else(struct test *t)
{
    int careless = dup(0), high = fcntl(0, F_DUPFD, 200);

    struct afork_process *template = test_new_exec(t), *others[20];
    int channels[20];
    for (int i = 0; i < 20; i++) {
        others[i] = test_fork(template);
        channels[i] = test_run_function(t, others[i], "hold");
    }
    g_autofree char *of_fork = test_output(t, test_fork(template), "descriptors");
    g_autofree char *of_exec = test_output(t, template, "descriptors");
    const char *const texts[] = {of_fork, of_exec};
    for (size_t i = 0; i < 2; i++) {
        g_auto(GStrv) lines = g_strsplit(texts[i], "\n", -1);
        g_assert_cmpint((int)g_strv_length(lines), ==, 5); /* 0 to 2, the channel, the end */
        g_assert_true(g_str_has_prefix(lines[0], "0 /dev/null"));
        g_assert_true(strstr(lines[3], "socket:") != NULL);
    }

    /* Each channel ends alone. */
    struct test_exit first = {0};
    test_ok(afork_process_on_exit(others[0], test_on_exit, &first));
    close(channels[0]);
    test_wait(t, first.calls);
    for (int i = 1; i < 20; i++) {
        g_assert_cmpint(afork_process_peer_pid(others[i]), >, 0);
        close(channels[i]);
    }
    for (int i = 0; i < 20; i++)
        afork_process_unref(others[i]);
    close(careless);
    close(high);
}

/* A channel belongs to the user alone: its number may be another descriptor's by the time the
 * process is let go. */
static void channel_is_closed_by_its_owner_only(struct test *t)
{
    for (int way = 0; way < 4; way++) {
        struct afork_process *process = way % 2 ? test_new(t) : test_new_exec(t);
        int fd = test_run_function(t, process, "hold");

        close(fd);
        g_assert_cmpint(fcntl(0, F_DUPFD_CLOEXEC, fd), ==, fd);
        if (way >= 2)
            afork_process_close(process);
        afork_process_unref(process);
        test_turn_for(t, 20 * 1000);
        afork_context_close(t->context);
        t->context = NULL;
        test_ok(close(fd)); /* it is still there */
    }
}

/* And the other way round: the process goes first, the channel lives. */
static void channel_outlives_its_process(struct test *t)
{
    int fd = test_run_and_unref(t, test_new(t), "echo");
    char answer[2];

    afork_context_close(t->context);
    t->context = NULL;
    test_write(t, fd, "ok", 2);
    test_read(t, fd, answer, 2);
    g_assert_cmpmem(answer, 2, "ok", 2);
    test_ok(close(fd));
}

/* What was not handed out because the context was closed first is closed by it. */
static void channel_that_nobody_took(struct test *t)
{
    struct afork_process *process = test_new(t);
    struct test_run run = {0};

    test_ok(afork_process_run(process, "hold", test_on_run, &run));
    g_usleep(50 * 1000); /* it enters, but the loop does not turn */
    afork_process_close(process);
    afork_process_unref(process);
    test_turn_for(t, 50 * 1000);
    g_assert_cmpuint(run.calls, ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_add("/descriptors/order", files_and_arguments_keep_their_order);
    test_add("/descriptors/flags/left-alone", flags_are_left_alone);
    test_add("/descriptors/queue/killed-while-full", killed_with_a_full_queue);
    test_add_for(&test_loop_poll, "/descriptors/limit/of-numbers", descriptor_limit);
    test_add_for(&test_loop_poll, "/descriptors/limit/in-flight", in_flight_limit);
    test_add("/descriptors/inherited/host-keeps-its-own", host_keeps_its_own);
    test_add("/descriptors/inherited/nothing-else", servers_get_nothing_else);
    test_add("/descriptors/channel/closed-by-owner-only", channel_is_closed_by_its_owner_only);
    test_add("/descriptors/channel/outlives-process", channel_outlives_its_process);
    test_add("/descriptors/channel/nobody-took", channel_that_nobody_took);
    return g_test_run();
}
