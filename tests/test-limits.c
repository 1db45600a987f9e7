/* SPDX-License-Identifier: MIT
 *
 * Limits, with afork-perl: each is set, broken and told; inherited; never widened; and what cannot be
 * set is told in words.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test-perl-lib.h"

/* A process that ran a function, and what its callbacks were told. */
struct subject {
    struct test_run run;
    struct test_exit end;
    char *output; /* of the function */
};

static void clear_subject(struct subject *s)
{
    g_free(s->output);
}

#define AUTO_SUBJECT __attribute__((cleanup(clear_subject))) struct subject

/* Runs `process`, which is released, to its end. */
static void run_to_its_end(struct test *t, struct afork_process *process, const char *function,
                           struct subject *s)
{
    *s = (struct subject){0};
    test_ok(afork_process_on_exit(process, test_on_exit, &s->end));
    test_ok(afork_process_run(process, function, test_on_run, &s->run));
    test_wait(t, s->run.calls);
    if (s->run.fd >= 0)
        s->output = test_slurp(t, s->run.fd, NULL);
    test_wait(t, s->end.calls);
    g_test_message("%s: %s", function, s->end.message);
    afork_process_unref(process);
}

/* Runs Perl code in a process that is limited. */
static void run_code(struct test *t, struct afork_process *process,
                     const struct afork_limits *limits, const char *code, struct subject *s)
{
    g_autofree char *function = g_strdup_printf("sub f { my $ch = shift; %s }", code);

    test_ok(afork_process_eval(process, function, NULL));
    test_ok(afork_process_set_limits(process, limits));
    run_to_its_end(t, process, "f", s);
}

static void keep_stderr(struct test *t)
{
    t->options.standard_error.mode = AFORK_STDIO_TAIL;
}

/* ---- each limit, broken ---- */

static void memory(struct test *t)
{
    struct afork_limits limits = AFORK_LIMITS_INIT;

#ifdef __SANITIZE_ADDRESS__
    g_test_skip("the shadow memory of the sanitizer needs more address space than any limit");
    return;
#endif
    keep_stderr(t);
    limits.memory = 256 << 20;
    for (int way = 0; way < 2; way++) {
        struct afork_process *process = way ? test_new_exec(t) : test_new(t);
        AUTO_SUBJECT s;

        run_code(t, process, &limits, "my $n = 2 << 30; my $all = 'x' x $n; syswrite $ch, 'got it'", &s);
        g_assert_cmpint(s.run.fd, >=, 0);
        g_assert_cmpstr(s.output, ==, "");
        g_assert_cmpint(s.end.cause, ==, AFORK_CAUSE_EXITED);
        g_assert_cmpint(s.end.status, ==, 1);
        g_assert_nonnull(strstr(s.end.stderr_tail, "Out of memory"));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_perl_add("/limits/memory", memory);
    return g_test_run();
}
