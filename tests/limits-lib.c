/* SPDX-License-Identifier: MIT */
#include "limits-lib.h"

#include <sys/syscall.h>
#include <unistd.h>

void limits_subject_clear(struct limits_subject *s)
{
    g_free(s->output);
}

void limits_run_to_end(struct test *t, struct afork_process *process, const char *function,
                       struct limits_subject *s)
{
    *s = (struct limits_subject){0};
    test_ok(afork_process_on_exit(process, test_on_exit, &s->end));
    test_ok(afork_process_run(process, function, test_on_run, &s->run));
    test_wait(t, s->run.calls);
    if (s->run.fd >= 0)
        s->output = test_slurp(t, s->run.fd, NULL);
    test_wait(t, s->end.calls);
    g_test_message("%s: %s", function, s->end.message);
    if (*s->end.stderr_tail)
        g_test_message("%s", s->end.stderr_tail);
    afork_process_unref(process);
}

struct afork_process *limits_set(struct afork_process *process, enum limits_way way,
                                 const struct afork_limits *limits)
{
    struct afork_limits copy = *limits;

    copy.forks_only = way == LIMITS_BY_TEMPLATE;
    test_ok(afork_process_set_limits(process, &copy));
    if (way != LIMITS_BY_TEMPLATE)
        return process;
    struct afork_process *child = test_fork(process);
    afork_process_unref(process);
    return child;
}

void limits_run(struct test *t, enum limits_way way, const struct afork_limits *limits,
                const char *code, struct limits_subject *s)
{
    g_autofree char *function = g_strdup_printf("sub f { my $ch = shift; %s }", code);

    t->options.standard_error.mode = AFORK_STDIO_TAIL;
    struct afork_process *process = way == LIMITS_EXECUTED ? test_new_exec(t) : test_new(t);
    test_ok(afork_process_eval(process, function, NULL));
    limits_run_to_end(t, limits_set(process, way, limits), "f", s);
}

bool limits_has_filters(void)
{
#ifdef ENABLE_SECCOMP
    return true;
#else
    return false;
#endif
}

bool limits_need_filters(void)
{
    if (!limits_has_filters())
        g_test_skip("afork-perl was built without libseccomp");
    return limits_has_filters();
}

bool limits_need_landlock(void)
{
    enum { LANDLOCK_CREATE_RULESET = 444, ASK_VERSION = 1, VERSION = 3 };

    if (syscall(LANDLOCK_CREATE_RULESET, NULL, 0, ASK_VERSION) >= VERSION)
        return true;
    g_test_skip("the Landlock of this kernel does less, or there is none");
    return false;
}
