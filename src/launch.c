/* SPDX-License-Identifier: MIT
 *
 * Processes at the top of a tree: executed, or started by a launcher. A launcher may not know the
 * pid when it returns. Until it is told, the socket stays open, because its end of file is all that
 * tells of a process that never came to be.
 */
#include "config.h"

#include "afork-launch.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "internal.h"
#include "spawn.h"
#include "util.h"

static pthread_mutex_t reapers_lock = PTHREAD_MUTEX_INITIALIZER;
static struct reaper {
    struct reaper *next;
    void (*reap)(void);
} * reapers;

static int call_to_reap(void (*reap)(void))
{
    struct reaper *reaper;
    int result = 0;

    pthread_mutex_lock(&reapers_lock);
    for (reaper = reapers; reaper && reaper->reap != reap; reaper = reaper->next)
        ;
    if (!reaper && (reaper = malloc(sizeof *reaper))) {
        *reaper = (struct reaper){reapers, reap};
        reapers = reaper;
    }
    if (!reaper)
        result = -ENOMEM;
    pthread_mutex_unlock(&reapers_lock);
    return result;
}

void afork__launched_reap(void)
{
    pthread_mutex_lock(&reapers_lock);
    for (struct reaper *reaper = reapers; reaper; reaper = reaper->next)
        reaper->reap();
    pthread_mutex_unlock(&reapers_lock);
    afork__reap_left();
}

static pid_t launch(struct afork_context *context, const struct afork__launcher *launcher,
                    int command_fd, int error_fd, uint64_t identity)
{
    char **environment = afork__context_environment(context);
    struct afork_launch launch = {
        .size = sizeof launch,
        .command_fd = command_fd,
        .status_fd = context->status_far_fd,
        .identity = identity,
        .owner = getpid(),
        .refuse_threads = context->threads == AFORK_THREADS_REFUSE,
        .new_session = context->new_session,
        .directory = context->directory,
        .include_dirs = (const char *const *)context->include_dirs,
        .environment = (const char *const *)environment,
        .call_to_reap = call_to_reap,
    };

    if (!environment)
        return -ENOMEM;
    afork__reap_left();
    afork__context_stdio(context, error_fd, launch.stdio);
    pid_t pid = launcher->cb(&launch, launcher->data);
    free(environment);
    return pid;
}

int afork__process_new_root(struct afork_context *context, const struct afork__launcher *launcher,
                            struct afork_process **ret)
{
    struct afork_process *process;
    char text[512];
    AFORK__AUTO_FD far_fd = -1, error_fd = -1;
    int result = afork__process_make(context, NULL, &process, &far_fd, &error_fd);

    if (result < 0)
        return result;
    pid_t pid = launcher->cb ? launch(context, launcher, far_fd, error_fd, process->identity)
                             : afork__context_start(context, far_fd, error_fd, process->identity);
    if (pid < 0) {
        afork__close(&error_fd); /* before the other end, which is then seen to be the last */
        afork__process_abandon(process);
        afork_process_unref(process);
        snprintf(text, sizeof text, "cannot start %.300s: %s",
                 launcher->cb ? "a launched perl" : afork__context_perl(context), strerror(-pid));
        afork__context_note_error(context, text);
        afork__log(context, SPAWN, "%s", text);
        return pid;
    }
    process->perl = strdup(launcher->cb ? "a launched perl" : afork__context_perl(context));
    afork__log(context, SPAWN, "#%llu/%ld is started: %s", (unsigned long long)process->identity,
               (long)pid, process->perl ? process->perl : "perl");
    process->pid_due = !pid;
    if (pid)
        afork__process_started(process, pid);
    else
        afork__process_watch_end(process);
    *ret = process;
    return 0;
}

static int check_launching(const struct afork_context *context)
{
    int result = afork__context_check(context);

    return !result && context->peer != AFORK_PEER_OWN ? -EINVAL : result;
}

int afork_context_set_launcher(struct afork_context *context, afork_launch_cb *cb, void *data)
{
    int result = cb ? check_launching(context) : afork__context_check(context);

    if (result < 0)
        return result;
    context->launcher = (struct afork__launcher){cb, data};
    context->templates_lost = 0;
    context->retry_at = 0;
    afork__context_drop_template(context);
    return 0;
}

int afork_process_new_launched(struct afork_context *context, afork_launch_cb *cb, void *data,
                               struct afork_process **ret)
{
    const struct afork__launcher launcher = {cb, data};
    int result = cb && ret ? check_launching(context) : -EINVAL;

    return result < 0 ? result : afork__process_new_root(context, &launcher, ret);
}

void afork__process_launched(struct afork_process *process, pid_t pid)
{
    if (!afork__process_is_child(process) || process->pid || process->ended || pid <= 0)
        return;
    afork__process_set_pid(process, pid);
    afork__process_started(process, pid);
}

/* A process whose pid was known by another record, and which is reaped by that: the number may be
 * another child's when it is told at last. */
struct afork__untold {
    LIST_ENTRY(afork__untold) link;
    uint64_t identity;
};

void afork__launched_untold(struct afork_process *process)
{
    struct afork__untold *untold = malloc(sizeof *untold);

    if (!untold)
        return;
    untold->identity = process->identity;
    LIST_INSERT_HEAD(&process->context->untold, untold, link);
}

static void untold_free(struct afork__untold *untold)
{
    LIST_REMOVE(untold, link);
    free(untold);
}

void afork__launched_forget_all(struct afork_context *context)
{
    struct afork__untold *untold;

    while ((untold = LIST_FIRST(&context->untold)))
        untold_free(untold);
}

void afork__launched_late(struct afork_context *context, uint64_t identity, pid_t pid)
{
    struct afork__untold *untold;
    struct rusage usage;
    int status;

    LIST_FOREACH (untold, &context->untold, link) {
        if (untold->identity == identity) {
            untold_free(untold);
            return;
        }
    }
    if (pid > 0 && !afork__reap(pid, -1, &status, &usage))
        afork__leave_to_reap(pid);
}

void afork__process_never_started(struct afork_process *process)
{
    static const char message[] = "the perl was not started: who was to start it is gone";

    afork__process_failed(process, AFORK_CAUSE_START, message, sizeof message - 1);
    afork__process_ended(process, -1, NULL);
}
