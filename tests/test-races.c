/* SPDX-License-Identifier: MIT
 *
 * Moments at which the host could be told too early, too late, twice, or what is not so: children
 * that introduce themselves late, records that wait while sockets end, calls from inside a release.
 * Against the fake server.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test-lib.h"
#include "util.h"

/* A pipe whose one end a process gets: its end of file says that the process is gone. */
struct witness {
    int fd;
    struct test_exit end;
    bool was_gone; /* when the exit notice came */
};

static bool is_gone(const struct witness *witness)
{
    char octet;

    return read(witness->fd, &octet, 1) == 0;
}

static void on_end(struct afork_process *process, const struct afork_exit *end, void *data)
{
    struct witness *witness = data;

    witness->was_gone = is_gone(witness);
    test_on_exit(process, end, &witness->end);
}

static void witness_start(struct witness *witness, struct afork_process *process)
{
    int ends[2];

    *witness = (struct witness){0};
    test_ok(pipe2(ends, O_CLOEXEC | O_NONBLOCK));
    witness->fd = ends[0];
    test_ok(afork_process_send_fd(process, ends[1]));
    close(ends[1]);
    test_ok(afork_process_on_exit(process, on_end, witness));
}

static void witness_end(struct test *t, struct witness *witness)
{
    test_wait(t, witness->end.calls);
    test_turn_for(t, 20 * 1000);
    g_assert_cmpuint(witness->end.calls, ==, 1);
    g_assert_true(witness->was_gone);
    close(witness->fd);
}

static struct afork_process *late_template(struct test *t)
{
    struct afork_process *template = test_new(t);

    test_ok(afork_process_eval(template, "late 50", NULL));
    return template;
}

/* A template that became a worker does not report on its children, and the host, which wants no
 * channel, does not know the pid yet. */
static void child_of_a_template_that_runs(struct test *t)
{
    struct afork_process *template = late_template(t), *process = test_fork(template);
    struct witness witness;

    witness_start(&witness, process);
    test_ok(afork_process_run(process, "hold", NULL, NULL));
    afork_process_unref(process);
    int fd = test_run_and_unref(t, template, "hold");
    witness_end(t, &witness);
    close(fd);
}

static void child_that_is_dropped(struct test *t)
{
    struct afork_process *template = late_template(t), *process = test_fork(template);
    struct witness witness;

    witness_start(&witness, process);
    afork_process_unref(process);
    afork_process_unref(template);
    witness_end(t, &witness);
    g_assert_cmpint(witness.end.cause, ==, AFORK_CAUSE_EXITED);
}

/* The template is killed after it forked; the children say all they have to say before the host
 * looks. The ends of their sockets must not hide it. */
static void template_killed_after_the_forks(struct test *t)
{
    enum { N = 8 };
    struct test_run runs[N] = {0};
    struct witness witnesses[N];
    struct test_exit end = {0};
    int said[2];

    test_ok(pipe2(said, O_CLOEXEC));
    t->options.standard_error = (struct afork_stdio){.mode = AFORK_STDIO_FD, .fd = said[1]};
    struct afork_process *template = late_template(t);
    close(said[1]);
    test_wait(t, afork_process_peer_pid(template));
    pid_t pid = afork_process_peer_pid(template);
    test_ok(afork_process_on_exit(template, test_on_exit, &end));
    for (int i = 0; i < N; i++) {
        struct afork_process *process = test_fork(template);
        witness_start(&witnesses[i], process);
        test_ok(afork_process_run(process, "return", test_on_run, &runs[i]));
        afork_process_unref(process);
    }
    test_ok(afork_process_eval(template, "say forked", NULL));
    char line[7];
    g_assert_cmpint(read(said[0], line, sizeof line), ==, sizeof line); /* not in the loop */
    close(said[0]);
    kill(pid, SIGKILL);
    for (int i = 0; i < N; i++)
        while (!is_gone(&witnesses[i]))
            g_thread_yield();
    for (int i = 0; i < N; i++) {
        test_wait(t, runs[i].calls);
        g_assert_cmpuint(runs[i].calls, ==, 1);
        g_assert_cmpint(runs[i].fd, >=, 0);
        close(runs[i].fd);
        witness_end(t, &witnesses[i]);
        g_assert_cmpint(witnesses[i].end.cause, ==, AFORK_CAUSE_EXITED);
    }
    test_wait(t, end.calls);
    afork_process_unref(template);
}

/* The pid that a signal waits for becomes known by a call for another process. */
static void pending_signal_is_sent(struct test *t)
{
    struct afork_process *known = test_new(t);
    struct witness witness;

    test_wait(t, afork_process_peer_pid(known));
    struct afork_process *other = test_new(t);
    witness_start(&witness, other);
    test_ok(afork_process_kill(other, SIGTERM));
    gint64 deadline = test_deadline_new();
    while (!afork_process_peer_pid(other)) { /* the loop does not turn */
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        test_ok(afork_process_kill(known, 0));
    }
    witness_end(t, &witness);
    g_assert_cmpint(witness.end.status, ==, SIGTERM);
    afork_process_unref(known);
    afork_process_unref(other);
}

/* Nothing but the signal waits for anything: a loop that ends by itself must not end before. */
static void pending_signal_keeps_the_loop(struct test *t)
{
    struct afork_process *process = test_new(t);
    struct witness witness;

    witness_start(&witness, process);
    test_ok(afork_process_on_exit(process, NULL, NULL));
    test_ok(afork_process_run(process, "hang", NULL, NULL));
    test_ok(afork_process_kill(process, SIGKILL));
    afork_process_unref(process);
    test_ok(afork_poll_run(t->loop_self));
    test_wait(t, is_gone(&witness));
    close(witness.fd);
}

/* Said twice before the host tells the user. */
static void entered_twice(struct test *t)
{
    struct afork_process *process = test_new(t);
    struct test_run run = {0};
    struct test_exit end = {0};

    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    test_wait(t, afork_process_peer_pid(process));
    pid_t pid = afork_process_peer_pid(process);
    test_ok(afork_process_eval(process, "entered", NULL));
    test_ok(afork_process_eval(process, "entered", NULL));
    test_ok(afork_process_eval(process, "exit 0", NULL));
    test_ok(afork_process_run(process, "hold", test_on_run, &run));
    while (test_is_running(pid))
        g_thread_yield(); /* both records are there when the loop looks */
    test_wait(t, end.calls);
    test_turn_for(t, 20 * 1000);
    g_assert_cmpuint(run.calls, ==, 1);
    g_assert_cmpint(run.fd, ==, -EPROTO);
    g_assert_cmpint(run.cause, ==, AFORK_CAUSE_PROTOCOL);
    g_assert_cmpuint(end.calls, ==, 1);
    afork_process_unref(process);
}

struct nested {
    struct test *t;
    struct test_load load;
    struct test_exit end;
    unsigned ends_inside;
};

static void turn_inside(struct afork_process *process, int fd, const struct afork_exit *failure,
                        void *data)
{
    struct nested *nested = data;

    test_ok(afork_process_on_exit(process, test_on_exit, &nested->end));
    close(fd);
    nested->load = test_turn_for(nested->t, 100 * 1000);
    nested->ends_inside = nested->end.calls;
}

/* A loop that is turned inside a callback rests, although there is more to tell of that process. */
static void nested_loop_rests(struct test *t)
{
    struct afork_process *process = test_new(t);
    struct nested nested = {.t = t};

    test_ok(afork_process_run(process, "return", turn_inside, &nested));
    test_wait(t, nested.end.calls);
    g_assert_cmpuint(nested.ends_inside, ==, 0);
    g_assert_cmpuint(nested.load.turns, <, 20);
    afork_process_unref(process);
}

/* It reported an error, and stays only because of its child: the next call starts another. */
static void failed_default_template_is_replaced(struct test *t)
{
    struct test_run runs[2] = {0};

    test_fake_start(t, "error 1 broken");
    for (size_t i = 0; i < G_N_ELEMENTS(runs); i++) {
        struct afork_process *process = test_new(t);
        test_ok(afork_process_run(process, "hold", test_on_run, &runs[i]));
        test_wait(t, runs[i].calls);
        g_assert_cmpint(runs[i].fd, >=, 0);
        afork_process_unref(process);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(runs); i++)
        close(runs[i].fd);
}

/* What the release functions below call. */
static struct {
    struct afork_process *process;
    unsigned left, released;
    int error; /* of the last call that failed */
} feeder;

enum { MEAL = 100 * 1000 };

static void feed(void);

static void release_and_feed(void *data)
{
    g_free(data);
    feeder.released++;
    if (feeder.left)
        feed();
}

static void feed(void)
{
    char *meal = g_malloc(MEAL);

    memset(meal, 'a' + (int)(feeder.left % 26), MEAL);
    feeder.left--;
    int result = afork_process_send_arg_take(feeder.process, meal, MEAL, release_and_feed);
    if (result < 0) {
        feeder.error = result;
        g_free(meal);
    }
}

static void feed_first(struct afork_process *process, unsigned n)
{
    feeder.process = process;
    feeder.left = n;
    feeder.released = 0;
    feeder.error = 0;
    feed();
}

/* Each buffer that is released sends the next. */
static void release_sends_the_next(struct test *t)
{
    enum { N = 40 };

    feed_first(test_new(t), N);
    test_wait(t, feeder.released == N);
    test_ok(feeder.error);
    g_autofree char *text = test_output(t, feeder.process, "digest");
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    g_assert_cmpuint(g_strv_length(lines), ==, N + 1);
    for (unsigned i = 0; i < N; i++) {
        g_autofree char *meal = g_strnfill(MEAL, (char)('a' + (N - i) % 26));
        g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_MD5, meal, MEAL);
        g_autofree char *line = g_strdup_printf("%d %s", MEAL, sum);
        g_assert_cmpstr(lines[i], ==, line);
    }
}

/* The same to a peer that is gone, before the host knows: nothing is released after that until its
 * end is told, and nothing is taken then; not one after the other. */
static void release_when_the_peer_is_gone(struct test *t)
{
    struct afork_process *process = test_new_exec(t);
    pid_t pid = afork_process_pid(process);

    kill(pid, SIGKILL);
    while (test_is_running(pid))
        g_thread_yield();
    feed_first(process, 1000);
    test_ok(feeder.error);
    g_assert_cmpuint(feeder.released, ==, 1);
    g_assert_cmpuint(feeder.left, ==, 998);
    test_wait(t, feeder.error);
    g_assert_cmpint(feeder.error, ==, -ESRCH);
    g_assert_cmpuint(feeder.released, ==, 2);
    g_assert_cmpuint(feeder.left, ==, 997);
    afork_process_unref(process);
}

/* The context ends while a process, released already, still has much to send. */
static void context_closed_over_a_full_queue(struct test *t)
{
    struct test_run run = {0};

    t->options.peer = AFORK_PEER_ORIGINAL;
    test_fake_start(t, "stop");
    struct afork_process *template = test_new_exec(t), *process = test_fork(template);
    pid_t pid = afork_process_pid(template);
    g_autofree char *big = g_malloc0(10 << 20);

    test_ok(afork_process_send_arg(process, big, 10 << 20));
    test_ok(afork_process_run(process, "hold", test_on_run, &run));
    afork_process_unref(process);
    afork_process_unref(template);
    test_turn_for(t, 10 * 1000);
    afork_context_close(t->context);
    t->context = NULL;
    test_turn_for(t, 10 * 1000);
    g_assert_cmpuint(run.calls, ==, 0);
    test_wait(t, test_process_state(pid) == 'T');
    kill(pid, SIGCONT);
}

/* One of many that are started and killed at random. */
struct life {
    struct afork_process *process;
    bool is_template;
    struct test_run run;
    struct test_exit end;
};

static void life_start(struct test *t, struct life *lives, unsigned n)
{
    static const char *const functions[] = {"hold", "return", "echo", "nope"};
    struct life *life = &lives[n];
    struct life *parent = &lives[g_test_rand_int_range(0, (gint)n + 1)];
    int result = -ESRCH;

    if (parent->is_template) /* it may be gone */
        result = afork_process_fork(parent->process, &life->process);
    if (result < 0)
        life->process = n % 7 ? test_new(t) : test_new_exec(t);
    test_ok(afork_process_on_exit(life->process, test_on_exit, &life->end));
    life->is_template = g_test_rand_int_range(0, 4) == 0;
    if (!life->is_template)
        test_ok(afork_process_run(life->process, functions[g_test_rand_int_range(0, 4)],
                                  test_on_run, &life->run));
}

/* A worker's channel is closed, or anybody is killed, or told to end. */
static void life_hurt(struct life *life)
{
    switch (g_test_rand_int_range(0, 4)) {
    case 0:
        if (life->run.calls && life->run.fd >= 0)
            afork__close(&life->run.fd);
        break;
    case 1:
        afork_process_kill(life->process, SIGKILL);
        break;
    case 2:
        if (afork_process_peer_pid(life->process))
            kill(afork_process_peer_pid(life->process), SIGKILL);
        break;
    default:
        if (life->is_template)
            (void)!afork_process_eval(life->process, "exit 1", NULL);
    }
}

/* Whatever happens to whom: one answer to each run, one notice of each end. */
static void random_deaths(struct test *t)
{
    enum { N = 80 };
    g_autofree struct life *lives = g_new0(struct life, N);

    for (unsigned n = 0; n < N; n++) {
        life_start(t, lives, n);
        if (n % 3 == 0)
            life_hurt(&lives[g_test_rand_int_range(0, (gint)n + 1)]);
        if (n % 5 == 0)
            test_turn_for(t, g_test_rand_int_range(0, 3000));
    }
    for (unsigned n = 0; n < N; n++)
        if (!lives[n].is_template)
            test_wait(t, lives[n].run.calls);
    for (unsigned n = 0; n < N; n++) {
        if (lives[n].run.calls && lives[n].run.fd >= 0)
            afork__close(&lives[n].run.fd);
        afork_process_unref(lives[n].process);
    }
    for (unsigned n = 0; n < N; n++)
        test_wait(t, lives[n].end.calls);
    test_turn_for(t, 20 * 1000);
    for (unsigned n = 0; n < N; n++) {
        g_assert_cmpuint(lives[n].run.calls, ==, !lives[n].is_template);
        g_assert_cmpuint(lives[n].end.calls, ==, 1);
    }
}

/* A copy of the host cannot disturb the loop that both share; it releases what it has. */
static int release_in_copy(struct test *t, struct afork_process *process)
{
    if (afork_poll_turn(t->loop_self, 0) != -ECHILD)
        return 1;
    afork_process_unref(process);
    afork_context_close(t->context);
    afork_poll_free(t->loop_self);
    return 0;
}

static void copy_releases_the_loop(struct test *t)
{
    struct afork_process *process = test_new(t);
    struct test_run run = {0};
    int status;

    test_ok(afork_process_run(process, "hold", test_on_run, &run));
    pid_t pid = fork();
    if (!pid)
        _exit(release_in_copy(t, process));
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_cmpint(status, ==, 0);
    test_wait(t, run.calls);
    g_assert_cmpint(run.fd, >=, 0);
    close(run.fd);
    afork_process_unref(process);
}

struct waiter {
    struct test *t;
    struct test_exit *other;
    unsigned calls;
};

static void turn_until_other(struct afork_process *process, const struct afork_exit *exit,
                             void *data)
{
    struct waiter *waiter = data;

    (void)process, (void)exit;
    test_wait(waiter->t, waiter->other->calls == 2);
    waiter->calls++;
}

/* Callbacks that are due at the same turn: the first turns the loop until the second has come. */
static void nested_loop_brings_others(struct test *t)
{
    struct afork_process *a = test_new(t), *b = test_new(t);
    struct test_exit a_end = {0}, b_end = {0};
    struct waiter waiter = {t, &b_end, 0};

    test_ok(afork_process_on_exit(a, test_on_exit, &a_end));
    test_ok(afork_process_on_exit(b, test_on_exit, &b_end));
    test_ok(afork_process_kill(a, SIGKILL));
    test_ok(afork_process_kill(b, SIGKILL));
    test_wait(t, a_end.calls && b_end.calls);
    test_ok(afork_process_on_exit(a, turn_until_other, &waiter));
    test_ok(afork_process_on_exit(b, test_on_exit, &b_end));
    test_wait(t, waiter.calls);
    afork_process_unref(a);
    afork_process_unref(b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_add("/races/late-child/of-a-template-that-runs", child_of_a_template_that_runs);
    test_add("/races/late-child/dropped", child_that_is_dropped);
    test_add("/races/late-child/template-killed", template_killed_after_the_forks);
    test_add("/races/pending-signal", pending_signal_is_sent);
    test_add_for(&test_loop_poll, "/races/pending-signal/keeps-the-loop",
                 pending_signal_keeps_the_loop);
    test_add("/races/entered-twice", entered_twice);
    test_add("/races/nested-loop-rests", nested_loop_rests);
    test_add("/races/nested-loop-brings-others", nested_loop_brings_others);
    test_add("/races/failed-default-template", failed_default_template_is_replaced);
    test_add("/races/release/sends-the-next", release_sends_the_next);
    test_add("/races/release/peer-gone", release_when_the_peer_is_gone);
    test_add("/races/full-queue", context_closed_over_a_full_queue);
    test_add("/races/random-deaths", random_deaths);
    test_add_for(&test_loop_poll, "/races/copy-releases-the-loop", copy_releases_the_loop);
    return g_test_run();
}
