/* SPDX-License-Identifier: MIT
 *
 * Children of a server. Knows nothing of Perl and of commands.
 *
 * The kernel's list of zombies is the queue: a child is peeked at (WNOWAIT), reported, and reaped
 * only then, so that a pid seen by the host is not given to another process before the record is
 * there. Only own pids are waited for; what user code forked is left to it. A root also gets the
 * orphans of its tree, which it cannot know; so there every pid is its own that user code did not
 * fork.
 */
#include "reap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "report.h"
#include "util.h"

void afork__children_set_root(struct afork__children *children, bool root)
{
    if (children->root == root)
        return;
    children->root = root;
    prctl(PR_SET_CHILD_SUBREAPER, root, 0, 0, 0);
}

int afork__children_watch(struct afork__children *children)
{
    if (children->watching)
        return 0;

    sigset_t chld;
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    if (children->signal_fd < 0) {
        children->signal_fd = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
        if (children->signal_fd < 0)
            return -errno;
    }
    sigprocmask(SIG_BLOCK, &chld, &children->mask);
    children->watching = true;
    children->due = true; /* signals of before were not seen */

    /* Ignored, it would make the kernel drop the exit status. */
    sigaction(SIGCHLD, NULL, &children->action);
    children->ignored = children->action.sa_handler == SIG_IGN;
    if (children->ignored)
        sigaction(SIGCHLD, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
    return 0;
}

void afork__children_unwatch(struct afork__children *children)
{
    if (!children->watching)
        return;
    children->watching = false;
    if (children->ignored)
        sigaction(SIGCHLD, &children->action, NULL);
    sigprocmask(SIG_SETMASK, &children->mask, NULL);
}

/* The raw call fills resource usage, which the library's leaves out. Returns the pid of a child
 * that has ended, 0 if there is none, or a negative errno. */
static pid_t peek(idtype_t type, pid_t pid, siginfo_t *info, struct rusage *usage)
{
    info->si_pid = 0;
    long result = syscall(SYS_waitid, type, pid, info, WEXITED | WNOHANG | WNOWAIT | __WALL, usage);
    return result < 0 ? -errno : info->si_pid;
}

void afork__children_resume(struct afork__children *children)
{
    siginfo_t info;

    children->verify = children->n_own > 0;
    for (size_t i = children->n_foreign; i-- > 0;)
        if (peek(P_PID, children->foreign[i], &info, NULL) < 0)
            children->foreign[i] = children->foreign[--children->n_foreign];
    if (children->n_own || (children->root && peek(P_ALL, 0, &info, NULL) != -ECHILD))
        afork__children_watch(children);
}

int afork__children_reserve(struct afork__children *children)
{
    if (!children->own) {
        children->own = children->few;
        children->own_room = AFORK__FEW_CHILDREN;
    }
    if (children->n_own < children->own_room)
        return 0;

    struct afork__child *own = reallocarray(NULL, children->own_room, 2 * sizeof *own);
    if (!own)
        return -ENOMEM;
    memcpy(own, children->own, children->n_own * sizeof *own);
    if (children->own != children->few)
        free(children->own);
    children->own = own;
    children->own_room *= 2;
    return 0;
}

void afork__children_add(struct afork__children *children, pid_t pid, uint64_t identity)
{
    children->own[children->n_own++] = (struct afork__child){pid, identity};
}

void afork__children_forked(struct afork__children *children)
{
    afork__children_unwatch(children);
    /* The memory stays for the children's own use: freeing would only copy pages. */
    children->n_own = 0;
    children->n_foreign = 0;
    children->root = false;
    afork__close(&children->list_fd);
}

static struct afork__child *find_own(const struct afork__children *children, pid_t pid)
{
    for (size_t i = 0; i < children->n_own; i++)
        if (children->own[i].pid == pid)
            return &children->own[i];
    return NULL;
}

static bool is_foreign(const struct afork__children *children, pid_t pid)
{
    for (size_t i = 0; i < children->n_foreign; i++)
        if (children->foreign[i] == pid)
            return true;
    return false;
}

static bool is_ours(const struct afork__children *children, pid_t pid)
{
    return children->root ? !is_foreign(children, pid) : find_own(children, pid) != NULL;
}

static uint32_t wait_status(const siginfo_t *info)
{
    uint32_t status = (uint32_t)info->si_status;

    if (info->si_code == CLD_EXITED)
        return (status & 0xff) << 8;
    return info->si_code == CLD_DUMPED ? status | 0x80 : status;
}

/* An orphan is; a child forked for another host is not. */
static bool is_told(const struct afork__child *child)
{
    return !child || child->identity;
}

/* Reports and reaps one that has ended. Returns whether there was room for the record. */
static bool reap(struct afork__children *children, struct afork__reporter *reporter,
                 const siginfo_t *info, const struct rusage *usage)
{
    struct afork__child *child = find_own(children, info->si_pid);

    if (is_told(child) && !afork__report_now(reporter, &(struct afork__status){
            .type = AFORK__EXITED,
            .identity = child ? child->identity : 0,
            .pid = (uint32_t)info->si_pid,
            .value = wait_status(info),
            .usage = *usage,
        }))
        return false;
    waitpid(info->si_pid, NULL, WNOHANG | __WALL);
    if (child)
        *child = children->own[--children->n_own];
    return true;
}

void afork__children_end(struct afork__children *children, struct afork__reporter *reporter,
                         uint64_t identity)
{
    siginfo_t info;
    struct rusage usage;

    for (size_t i = 0; i < children->n_own; i++) {
        pid_t pid = children->own[i].pid;
        if (children->own[i].identity != identity || peek(P_PID, pid, &info, &usage) < 0)
            continue; /* user code may have reaped it */
        kill(pid, SIGKILL);
        while (syscall(SYS_waitid, P_PID, pid, &info, WEXITED | WNOWAIT | __WALL, &usage) < 0)
            if (errno != EINTR) /* a signal that perl handles */
                return;
        afork__report_drain(reporter);
        reap(children, reporter, &info, &usage);
        return;
    }
}

/* The kernel's list of the children of this thread, which made them. */
static int open_list(void)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/self/task/%ld/children", syscall(SYS_gettid));
    return open(path, O_RDONLY | O_CLOEXEC);
}

void afork__children_keep_list(struct afork__children *children)
{
    if (children->list_fd < 0)
        children->list_fd = open_list();
}

/* Calls `each` with the pid of every child, until it returns false. Returns whether it never
 * did. */
static bool each_child(const struct afork__children *children,
                       bool (*each)(pid_t pid, void *data), void *data)
{
    AFORK__AUTO_FD fd = children->list_fd < 0 ? open_list() : dup(children->list_fd);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "r");

    if (!file) {
        for (size_t i = children->n_own; i-- > 0;)
            if (!each(children->own[i].pid, data))
                return false;
        return true;
    }

    afork__steal_fd(&fd);
    rewind(file); /* a list that was kept was read before */
    bool all = true;
    int pid;
    while (all && fscanf(file, "%d", &pid) == 1)
        all = each(pid, data);
    fclose(file);
    return all;
}

struct scan {
    struct afork__children *children;
    struct afork__reporter *reporter;
};

static bool reap_if_ended(pid_t pid, void *data)
{
    struct scan *scan = data;
    siginfo_t info;
    struct rusage usage;

    if (!is_ours(scan->children, pid) || peek(P_PID, pid, &info, &usage) <= 0)
        return true;
    return reap(scan->children, scan->reporter, &info, &usage);
}

/* User code has reaped it, or let the kernel do so. */
static bool report_gone(struct afork__children *children, struct afork__reporter *reporter,
                        struct afork__child *child)
{
    if (is_told(child) && !afork__report_now(reporter, &(struct afork__status){
            .type = AFORK__EXITED,
            .identity = child->identity,
            .pid = (uint32_t)child->pid,
            .value = AFORK__STATUS_UNKNOWN,
        }))
        return false;
    *child = children->own[--children->n_own];
    return true;
}

/* For when a zombie of user code stands before ours, or user code may have taken one of ours. */
static bool reap_one_by_one(struct afork__children *children, struct afork__reporter *reporter)
{
    struct scan scan = {children, reporter};
    siginfo_t info;
    struct rusage usage;

    for (size_t i = children->n_own; i-- > 0;) {
        pid_t pid = peek(P_PID, children->own[i].pid, &info, &usage);
        if (pid == -ECHILD && !report_gone(children, reporter, &children->own[i]))
            return false;
        if (pid > 0 && !reap(children, reporter, &info, &usage))
            return false;
    }
    return !children->root || each_child(children, reap_if_ended, &scan);
}

static bool reap_all(struct afork__children *children, struct afork__reporter *reporter)
{
    siginfo_t info;
    struct rusage usage;

    if (children->verify) {
        children->verify = !reap_one_by_one(children, reporter);
        return !children->verify;
    }
    for (;;) {
        pid_t pid = peek(P_ALL, 0, &info, &usage);
        if (pid == 0 || (pid < 0 && !children->n_own))
            return true;
        if (pid < 0 || !is_ours(children, pid))
            return reap_one_by_one(children, reporter);
        if (!reap(children, reporter, &info, &usage))
            return false;
    }
}

void afork__children_suspect(struct afork__children *children)
{
    children->due = true;
}

bool afork__children_reap(struct afork__children *children, struct afork__reporter *reporter)
{
    if (!children->due || (!children->n_own && !children->root))
        return true;
    children->due = !reap_all(children, reporter);
    return !children->due;
}

void afork__children_drain_signals(struct afork__children *children)
{
    struct signalfd_siginfo info;

    while (read(children->signal_fd, &info, sizeof info) > 0)
        ;
    children->due = true;
}

static bool is_not_ours(pid_t pid, void *data)
{
    return !is_ours(data, pid);
}

bool afork__children_left(const struct afork__children *children)
{
    siginfo_t info;

    if (peek(P_ALL, 0, &info, NULL) == -ECHILD)
        return false;
    return !children->n_foreign || !each_child(children, is_not_ours, (void *)children);
}

bool afork__children_foreign_ended(const struct afork__children *children)
{
    siginfo_t info;
    pid_t pid = peek(P_ALL, 0, &info, NULL);

    return pid > 0 && !is_ours(children, pid);
}

static struct afork__children *noting;

void afork__children_note_forks(struct afork__children *children)
{
    noting = children;
}

void afork__children_forked_by_user(pid_t pid)
{
    if (!noting)
        return;
    if (!pid)
        noting = NULL;
    if (!pid || is_foreign(noting, pid))
        return;
    if (noting->n_foreign == noting->foreign_room) {
        size_t room = noting->foreign_room + 16;
        pid_t *foreign = reallocarray(noting->foreign, room, sizeof *foreign);
        if (!foreign)
            return;
        noting->foreign = foreign;
        noting->foreign_room = room;
    }
    noting->foreign[noting->n_foreign++] = pid;
}

void afork__children_disown(struct afork__children *children)
{
    for (size_t i = 0; i < children->n_own; i++)
        children->own[i].identity = 0;
}

static bool note_foreign(pid_t pid, void *data)
{
    if (!find_own(data, pid))
        afork__children_forked_by_user(pid);
    return true;
}

void afork__children_become_root(struct afork__children *children)
{
    /* Those noted so far stay: in a confined server the list may be out of reach. */
    noting = children;
    each_child(children, note_foreign, children);
    noting = NULL;
    afork__children_set_root(children, true);
    afork__children_suspect(children);
    afork__children_resume(children);
}

void afork__children_close(struct afork__children *children)
{
    afork__children_unwatch(children);
    afork__close(&children->signal_fd);
    afork__close(&children->list_fd);
    children->n_own = children->n_foreign = 0;
}
