/* SPDX-License-Identifier: MIT
 *
 * Tests of limits: processes of afork-perl that are limited in one way or another and run to their
 * end.
 */
#ifndef LIMITS_LIB_H
#define LIMITS_LIB_H

#include "test-perl-lib.h"

/* A process that ran a function: what its callbacks were told, and what it wrote, or NULL. */
struct limits_subject {
    struct test_run run;
    struct test_exit end;
    char *output;
};

void limits_subject_clear(struct limits_subject *s);

#define LIMITS_SUBJECT __attribute__((cleanup(limits_subject_clear))) struct limits_subject

/* Runs `process`, which is released, to its end. */
void limits_run_to_end(struct test *t, struct afork_process *process, const char *function,
                       struct limits_subject *s);

/* Each way to be limited: in a process that was executed, in one that was forked, and by the
 * template. */
enum limits_way { LIMITS_EXECUTED, LIMITS_FORKED, LIMITS_BY_TEMPLATE, LIMITS_N_WAYS };

/* Limits `process`, taken; returned is what runs functions, itself or what it forked. */
struct afork_process *limits_set(struct afork_process *process, enum limits_way way,
                                 const struct afork_limits *limits);

/* Runs `code`, with the channel in $ch, in a process that was limited after it was evaluated. */
void limits_run(struct test *t, enum limits_way way, const struct afork_limits *limits,
                const char *code, struct limits_subject *s);

/* Whether afork-perl can filter system calls. */
bool limits_has_filters(void);

/* The same, or else the case is skipped. */
bool limits_need_filters(void);

/* Whether the kernel can confine files in full, or else the case is skipped. */
bool limits_need_landlock(void);

#endif
