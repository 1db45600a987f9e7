/* SPDX-License-Identifier: MIT
 *
 * What is said of ends and errors, in words, and as errno.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

void afork__context_note_error(struct afork_context *context, const char *message)
{
    char *copy = strdup(message);

    if (!copy)
        return;
    free(context->last_error);
    context->last_error = copy;
}

void afork__process_note_error(const struct afork_process *process)
{
    if (!process->released || process->run != AFORK__RUN_NONE)
        afork__context_note_error(process->context, process->exit.message);
}

int afork__exit_error(const struct afork_exit *exit)
{
    switch (exit->cause) {
    case AFORK_CAUSE_EVAL:
    case AFORK_CAUSE_REQUIRE:
    case AFORK_CAUSE_FUNCTION:
        return -ENOEXEC;
    case AFORK_CAUSE_FORK:
        return -EAGAIN;
    case AFORK_CAUSE_PROTOCOL:
        return -EPROTO;
    case AFORK_CAUSE_LIMITS:
        return -EPERM;
    default:
        return -ECONNRESET;
    }
}

void afork__process_describe_end(struct afork_process *process)
{
    struct afork_exit *end = &process->exit;
    char how[160], text[2048];

    if (end->cause == AFORK_CAUSE_SIGNALLED)
        snprintf(how, sizeof how, "killed by signal %d (%s)", end->status, strsignal(end->status));
    else if (end->cause == AFORK_CAUSE_EXITED)
        snprintf(how, sizeof how, "exited with status %d", end->status);
    else
        snprintf(how, sizeof how, "gone, nobody knows how");
    afork__limits_describe(process, how, sizeof how);
    bool started = !afork__process_is_child(process) || process->hello ||
                   (process->peer == AFORK_PEER_ORIGINAL && !process->remote);
    if (process->remote && process->run == AFORK__RUN_NONE) {
        process->message = strdup("it was never run");
    } else if (started) {
        process->message = strdup(how);
    } else {
        snprintf(text, sizeof text, "%.300s %s before it could serve",
                 process->perl ? process->perl : "perl", how);
        if (process->remote)
            afork__remote_describe(process, text, sizeof text);
        end->cause = AFORK_CAUSE_START;
        process->message = strdup(text);
    }
    end->message = process->message ? process->message : "";
    if (end->cause != AFORK_CAUSE_EXITED)
        afork__process_note_error(process);
}
