/* SPDX-License-Identifier: MIT
 *
 * The one way out: every callback to the user is called here, from the loop. The timer of a context
 * lives here too: it brings what became due inside a call of the library, and what has to be tried
 * again because the kernel could not say when.
 *
 * A user may turn the loop inside a callback. Callbacks of other processes come then; those of the
 * same process wait until the first has returned.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "spawn.h"
#include "util.h"

enum { POLL_USEC = 20000 };

/* Notices of a process that is in a callback wait for its end, which comes without the timer. */
static bool is_due(const struct afork_context *context)
{
    const struct afork_process *process;

    if (!STAILQ_EMPTY(&context->warnings) || !TAILQ_EMPTY(&context->turns) || context->recheck)
        return true;
    TAILQ_FOREACH (process, &context->notices, notice_link)
        if (!process->in_callback)
            return true;
    return false;
}

void afork__notice_set_timer(struct afork_context *context)
{
    bool look = context->retry || (context->poll && context->n_busy);
    int64_t usec = look ? POLL_USEC : -1;
    int64_t spares = afork__spares_wait(context);

    if (spares >= 0 && (usec < 0 || spares < usec))
        usec = spares;
    if (is_due(context))
        usec = 0;
    if (context->timer && !afork__context_is_copy(context))
        context->loop->ops->timer_set(context->timer, usec);
}

void afork__notice(struct afork_process *process)
{
    struct afork_context *context = process->context;

    if (process->noticed || context->closed)
        return;
    process->noticed = true;
    afork__process_ref_memory(process);
    TAILQ_INSERT_TAIL(&context->notices, process, notice_link);
    afork__notice_set_timer(context);
}

void afork__notice_warning(struct afork_context *context, struct afork_process *process,
                           const char *message, size_t len)
{
    struct afork__warning *warning;

    if (!context->on_warning || !(warning = malloc(sizeof *warning + len + 1)))
        return;
    warning->process = process;
    if (process)
        afork__process_ref_memory(process);
    memcpy(warning->message, message, len);
    warning->message[len] = '\0';
    STAILQ_INSERT_TAIL(&context->warnings, warning, link);
    afork__notice_set_timer(context);
}

/* What is told of a failure does not change under the user's eyes, who may turn the loop and
 * have the end come in meanwhile. */
static void tell_failure(struct afork_process *process, afork_run_cb *cb)
{
    struct afork_exit failure = process->exit;
    char tail[AFORK__TAIL_MAX + 1];

    memcpy(tail, failure.stderr_tail, failure.stderr_tail_len + 1);
    failure.stderr_tail = tail;
    int error = process->error ? process->error : afork__exit_error(&process->exit);
    cb(process, error, &failure, process->run_data);
}

static void deliver_run(struct afork_process *process)
{
    afork_run_cb *cb = process->run_cb;
    bool ready = process->run == AFORK__RUN_READY;

    process->run = AFORK__RUN_DONE;
    process->run_cb = NULL;
    if (!cb) { /* nobody wants the channel any more */
        afork__process_forget_socket(process);
        return;
    }
    void (*release)(void *data) = process->run_release;
    process->run_release = NULL;
    if (ready)
        cb(process, afork__process_take_socket(process), NULL, process->run_data);
    else
        tell_failure(process, cb);
    if (release)
        release(process->run_data);
}

static void deliver_exit(struct afork_process *process)
{
    afork_exit_cb *cb = process->exit_cb;

    process->exit_cb = NULL;
    if (cb)
        cb(process, &process->exit, process->exit_data);
}

static void deliver(struct afork_process *process)
{
    process->in_callback = true;
    if (process->run == AFORK__RUN_READY || process->run == AFORK__RUN_FAILED)
        deliver_run(process);
    if (process->ended && !process->closed && !process->context->closed)
        deliver_exit(process);
    process->in_callback = false;
}

static void deliver_warning(struct afork_context *context, struct afork__warning *warning)
{
    struct afork_process *process = warning->process;

    if (process && (process->released || process == context->template))
        process = NULL; /* the user has no handle on it */
    if (!process || !process->closed)
        context->on_warning(context, process, warning->message, context->warning_data);
    afork__process_unref_memory(warning->process);
    free(warning);
}

/* The first process in line that is not in a callback; out of the list, with its reference. */
static struct afork_process *next_notice(struct afork_context *context)
{
    struct afork_process *process;

    TAILQ_FOREACH (process, &context->notices, notice_link) {
        if (process->in_callback)
            continue;
        TAILQ_REMOVE(&context->notices, process, notice_link);
        process->noticed = false;
        return process;
    }
    return NULL;
}

/* The timer may be what brought us: what else is due comes, too, if a callback turns the loop. */
static void set_timer_for_others(struct afork_context *context)
{
    if (!STAILQ_EMPTY(&context->warnings) || !TAILQ_EMPTY(&context->notices))
        afork__notice_set_timer(context);
}

void afork__notice_deliver(struct afork_context *context)
{
    struct afork__warning *warning;
    struct afork_process *process;

    afork__context_ref(context);
    for (int share = AFORK__SHARE_RECORDS; share > 0 && !context->closed; share--) {
        if ((warning = STAILQ_FIRST(&context->warnings))) {
            STAILQ_REMOVE_HEAD(&context->warnings, link);
            set_timer_for_others(context);
            deliver_warning(context, warning);
        } else if ((process = next_notice(context))) {
            set_timer_for_others(context);
            deliver(process);
            afork__process_unref_memory(process);
        } else {
            break;
        }
    }
    afork__notice_set_timer(context);
    afork__context_unref(context);
}

/* Tries again what the kernel had no room for, and looks after ends that no descriptor tells.
 * Either may take any process out of the list. */
static void poll_processes(struct afork_context *context)
{
    struct afork_process *process;

    context->recheck |= context->poll_orphans;
    context->retry = context->poll = context->poll_orphans = false;
    TAILQ_FOREACH (process, &context->processes, link)
        process->poll = process->retry ||
                        (afork__process_is_child(process) && process->pid && process->pidfd < 0);
again:
    TAILQ_FOREACH (process, &context->processes, link) {
        if (!process->poll)
            continue;
        process->poll = false;
        if (process->retry)
            afork__process_send(process, AFORK__SHARE_OCTETS);
        else
            afork__monitor_reap(process);
        goto again;
    }
}

void afork__notice_timer_cb(void *data)
{
    struct afork_context *context = data;

    if (afork__context_is_over(context))
        return;
    afork__context_ref(context);
    if (context->retry || context->poll)
        poll_processes(context);
    afork__context_recheck(context);
    afork__spares_fill(context);
    afork__turns_run(context);
    afork__notice_deliver(context);
    afork__context_unref(context);
}

void afork__notice_clear(struct afork_context *context)
{
    struct afork_process *process;
    struct afork__warning *warning;

    while ((process = TAILQ_FIRST(&context->notices))) {
        TAILQ_REMOVE(&context->notices, process, notice_link);
        process->noticed = false;
        afork__process_forget_socket(process);
        afork__process_drop_run(process);
        afork__process_unref_memory(process);
    }
    while ((warning = STAILQ_FIRST(&context->warnings))) {
        STAILQ_REMOVE_HEAD(&context->warnings, link);
        afork__process_unref_memory(warning->process);
        free(warning);
    }
}
