/* SPDX-License-Identifier: MIT
 *
 * A script of calls, and for each boundary between two of them each process that takes part killed
 * there: the default template, the template, its spares, a child, its child, the host. The rest of
 * the script is called nevertheless. Nothing may hang or be left, each run that was accepted is
 * told once, each process ends once, and the next process works.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test-perl-lib.h"

enum who { TEMPLATE, CHILD, GRANDCHILD, LEAVER, N_SUBJECTS };

struct subject {
    struct afork_process *process;
    bool told_to_run;
    struct test_run run;
    struct test_exit end;
};

struct script {
    struct test *t;
    struct subject subjects[N_SUBJECTS];
    int fd; /* that is sent around */
};

/* --- The script --- */

static int keep(struct script *s, enum who who, struct afork_process *process)
{
    s->subjects[who].process = process;
    return afork_process_on_exit(process, test_on_exit, &s->subjects[who].end);
}

static int make_template(struct script *s)
{
    struct afork_process *process;
    int result = afork_process_new(test_context(s->t), &process);

    return result ? result : keep(s, TEMPLATE, process);
}

static int fork_from(struct script *s, enum who from, enum who to)
{
    struct afork_process *process;
    int result = afork_process_fork(s->subjects[from].process, &process);

    return result ? result : keep(s, to, process);
}

static int fork_child(struct script *s)
{
    return fork_from(s, TEMPLATE, CHILD);
}

static int fork_grandchild(struct script *s)
{
    return fork_from(s, CHILD, GRANDCHILD);
}

static const char code[] =
    "sub echo { my $ch = shift; syswrite $ch, $_ while sysread $ch, $_, 4096 }";

static int eval_in_template(struct script *s)
{
    return afork_process_eval(s->subjects[TEMPLATE].process, code, NULL);
}

static int send_to_template(struct script *s)
{
    return afork_process_send_fd(s->subjects[TEMPLATE].process, s->fd);
}

static int spares_of_template(struct script *s)
{
    return afork_process_set_spares(s->subjects[TEMPLATE].process, 2);
}

static int limit_forks_of_template(struct script *s)
{
    static const char *const readable[] = {"/", NULL};
    struct afork_limits limits = AFORK_LIMITS_INIT;

    limits.cpu_seconds = 1000;
    limits.read_paths = readable;
    limits.unsupported = AFORK_UNSUPPORTED_WARN;
    limits.forks_only = true;
    return afork_process_set_limits(s->subjects[TEMPLATE].process, &limits);
}

static int end_with_host(struct script *s)
{
    return afork_process_end_with_host(s->subjects[TEMPLATE].process);
}

static int fork_leaver(struct script *s)
{
    return fork_from(s, TEMPLATE, LEAVER);
}

static int hand_leaver_over(struct script *s)
{
    struct subject *leaver = &s->subjects[LEAVER];
    int result = afork_process_to_fd(leaver->process, test_on_run, &leaver->run);

    leaver->told_to_run = !result;
    return result;
}

static int quick_child(struct script *s)
{
    return afork_process_set_exit_mode(s->subjects[CHILD].process, AFORK_EXIT_QUICK);
}

static int require_in_child(struct script *s)
{
    return afork_process_require(s->subjects[CHILD].process, "Fcntl", NULL);
}

static int send_to_child(struct script *s)
{
    return afork_process_send_arg(s->subjects[CHILD].process, "argument", 8);
}

static int run(struct subject *subject)
{
    int result = afork_process_run(subject->process, "echo", test_on_run, &subject->run);

    subject->told_to_run = !result;
    return result;
}

static int run_child(struct script *s)
{
    return run(&s->subjects[CHILD]);
}

static int run_grandchild(struct script *s)
{
    return run(&s->subjects[GRANDCHILD]);
}

static int run_template(struct script *s)
{
    return run(&s->subjects[TEMPLATE]);
}

static int (*const steps[])(struct script *s) = {
    make_template,      eval_in_template, send_to_template, end_with_host, limit_forks_of_template,
    spares_of_template, fork_child,       require_in_child, quick_child,   send_to_child,
    fork_leaver,        fork_grandchild,  hand_leaver_over, run_child,     run_grandchild,
    run_template,
};

/* Where nobody was killed, every call succeeds; else one may find its process gone, or never
 * made. */
static void call_steps(struct script *s, size_t from, size_t to, bool killed)
{
    for (size_t i = from; i < to; i++) {
        int result = steps[i](s);
        g_assert_true(result == 0 ||
                      (killed && (result == -ESRCH || result == -EAGAIN || result == -EINVAL)));
    }
}

/* --- Those who take part --- */

static GArray *children_of(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/children", pid, pid);
    g_autofree char *text = NULL;
    GArray *pids = g_array_new(FALSE, FALSE, sizeof(pid_t));

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return pids;
    g_auto(GStrv) words = g_strsplit(g_strchomp(text), " ", -1);
    for (char **word = words; *word; word++) {
        pid_t child = atoi(*word);
        if (child)
            g_array_append_val(pids, child);
    }
    return pids;
}

static void kill_all(GArray *pids, const struct script *s)
{
    for (guint i = 0; i < pids->len; i++) {
        pid_t pid = g_array_index(pids, pid_t, i);
        bool known = false;
        for (int who = 0; who < N_SUBJECTS; who++)
            known |= pid == afork_process_peer_pid(s->subjects[who].process);
        if (!known)
            kill(pid, SIGKILL);
    }
    g_array_free(pids, TRUE);
}

enum party { ROOT = N_SUBJECTS, SPARES, N_PARTIES };

/* Returns whether there was anybody to be killed, as far as is known. */
static bool kill_party(struct script *s, int party)
{
    pid_t template = afork_process_peer_pid(s->subjects[TEMPLATE].process);

    if (party == ROOT)
        kill_all(children_of(getpid()), s);
    else if (party == SPARES && template)
        kill_all(children_of(template), s);
    else if (party < N_SUBJECTS && s->subjects[party].process)
        afork_process_kill(s->subjects[party].process, SIGKILL);
    else
        return false;
    return true;
}

/* --- What must hold --- */

static bool is_settled(const struct subject *subject)
{
    return !subject->process || (subject->end.calls && subject->run.calls == subject->told_to_run);
}

/* Lets go of all: servers end by that, workers when their channel is closed. */
static void let_go(struct script *s)
{
    for (int who = 0; who < N_SUBJECTS; who++) {
        struct subject *subject = &s->subjects[who];
        if (subject->told_to_run)
            test_wait(s->t, subject->run.calls);
        if (subject->run.calls && subject->run.fd >= 0)
            close(subject->run.fd);
        afork_process_unref(subject->process);
    }
}

static void check(struct script *s)
{
    for (int who = 0; who < N_SUBJECTS; who++)
        test_wait(s->t, is_settled(&s->subjects[who]));
    test_turn_for(s->t, 1000);
    for (int who = 0; who < N_SUBJECTS; who++) {
        struct subject *subject = &s->subjects[who];
        g_assert_cmpuint(subject->run.calls, ==, subject->told_to_run);
        g_assert_cmpuint(subject->end.calls, ==, subject->process != NULL);
    }
}

static void check_that_it_works(struct script *s)
{
    struct afork_process *process;
    char octet = 'x';

    test_wait(s->t, afork_process_new(test_context(s->t), &process) == 0);
    test_ok(afork_process_eval(process, code, NULL));
    int fd = test_run_and_unref(s->t, process, "echo");
    test_write(s->t, fd, &octet, 1);
    test_read(s->t, fd, &octet, 1);
    close(fd);
}

/* The moment: right after the call, or when what it led to has begun or is done. */
static const gint64 moments[] = {0, 200, 3000};

static void sweep(struct test *t)
{
    for (size_t at = 1; at <= G_N_ELEMENTS(steps); at++) {
        for (size_t i = 0; i < G_N_ELEMENTS(moments) * N_PARTIES; i++) {
            struct script s = {.t = t, .fd = STDERR_FILENO};
            int party = (int)(i % N_PARTIES);
            gint64 moment = moments[i / N_PARTIES];

            g_test_message("step %zu, party %d, %d us later", at, party, (int)moment);
            call_steps(&s, 0, at, false);
            if (moment)
                test_turn_for(t, moment);
            bool killed = kill_party(&s, party);
            call_steps(&s, at, G_N_ELEMENTS(steps), killed);
            let_go(&s);
            check(&s);
            if (!moment)
                check_that_it_works(&s);
            afork_context_close(t->context);
            t->context = NULL;
        }
    }
}

/* A host of its own, whose loop is not the test's. */
static G_GNUC_NORETURN void host(struct test *t, size_t at, gint64 moment)
{
    struct test own = *t;
    struct script s = {.t = &own, .fd = STDERR_FILENO};

    own.loop_self = t->type->new ();
    own.loop = t->type->get(own.loop_self);
    own.context = NULL;
    call_steps(&s, 0, at, false);
    if (moment)
        test_turn_for(&own, moment);
    raise(SIGKILL);
    _exit(1);
}

/* All that it left becomes ours, and ends by itself. */
static void host_killed(struct test *t)
{
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    for (size_t at = 1; at <= G_N_ELEMENTS(steps); at++) {
        for (size_t i = 0; i < G_N_ELEMENTS(moments); i++) {
            pid_t pid = fork();
            if (!pid)
                host(t, at, moments[i]);
            gint64 deadline = test_deadline_new();
            while ((pid = waitpid(-1, NULL, WNOHANG)) >= 0) {
                g_assert_cmpint(g_get_monotonic_time(), <, deadline);
                if (!pid)
                    g_usleep(500); /* no loop of ours knows of them */
            }
        }
    }
    prctl(PR_SET_CHILD_SUBREAPER, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    test_add_for(&test_loop_poll, "/sweep/fake", sweep);
    test_perl_add("/sweep/perl", sweep);
    test_perl_add("/sweep/host", host_killed);
    return g_test_run();
}
