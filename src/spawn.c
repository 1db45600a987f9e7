/* SPDX-License-Identifier: MIT
 *
 * Starting a program by posix_spawn: its child borrows the host's memory until the exec, so that the
 * time does not grow with the host, and what could hang in a forked copy of a threaded program does
 * not run. Knows nothing of Perl or of the protocol.
 */
#include "config.h"

#include "spawn.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "util.h"

/* The file actions fill the targets in ascending order: a source below its target has been
 * overwritten by then, so it is moved to this number or above first. */
enum { FIRST_SAFE_FD = AFORK__STATUS_FD + 1 };

#define AUTO_ACTIONS AFORK__CLEANUP(destroy_actions) posix_spawn_file_actions_t
#define AUTO_ATTRIBUTES AFORK__CLEANUP(destroy_attributes) posix_spawnattr_t

static void destroy_actions(posix_spawn_file_actions_t *actions)
{
    posix_spawn_file_actions_destroy(actions);
}

static void destroy_attributes(posix_spawnattr_t *attributes)
{
    posix_spawnattr_destroy(attributes);
}

/* Adds the dup2 of `fd` to `target`. If a duplicate must be used, it is kept in `*moved`. */
static int add_fd(posix_spawn_file_actions_t *actions, int fd, int target, int *moved)
{
    if (fd < target) {
        *moved = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_SAFE_FD);
        if (*moved < 0)
            return errno;
        fd = *moved;
    }
    return posix_spawn_file_actions_adddup2(actions, fd, target);
}

static int add_stdio(posix_spawn_file_actions_t *actions, int fd, int target, int *moved)
{
    if (fd < 0)
        return posix_spawn_file_actions_addopen(actions, target, "/dev/null",
                                                target == 0 ? O_RDONLY : O_WRONLY, 0);
    return add_fd(actions, fd, target, moved);
}

static int set_actions(const struct afork__spawn *spawn, posix_spawn_file_actions_t *actions,
                       int moved[5])
{
    int error = 0;

    for (int i = 0; !error && i < 3; i++)
        error = add_stdio(actions, spawn->stdio[i], i, &moved[i]);
    if (!error)
        error = add_fd(actions, spawn->command_fd, AFORK__COMMAND_FD, &moved[3]);
    if (!error && spawn->status_fd >= 0)
        error = add_fd(actions, spawn->status_fd, AFORK__STATUS_FD, &moved[4]);
#ifdef HAVE_POSIX_SPAWN_FILE_ACTIONS_ADDCLOSEFROM_NP
    if (!error)
        error = posix_spawn_file_actions_addclosefrom_np(
            actions, spawn->status_fd >= 0 ? AFORK__STATUS_FD + 1 : AFORK__COMMAND_FD + 1);
#endif
    if (!error && spawn->directory)
        error = posix_spawn_file_actions_addchdir_np(actions, spawn->directory);
    return error;
}

static int set_attributes(const struct afork__spawn *spawn, posix_spawnattr_t *attributes)
{
    sigset_t none, all;
    short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;

    if (spawn->new_session)
        flags |= POSIX_SPAWN_SETSID;
    sigemptyset(&none);
    sigfillset(&all);
    int error = posix_spawnattr_setsigmask(attributes, &none);
    if (!error)
        error = posix_spawnattr_setsigdefault(attributes, &all);
    if (!error)
        error = posix_spawnattr_setflags(attributes, flags);
    return error;
}

pid_t afork__spawn(const struct afork__spawn *spawn)
{
    AUTO_ACTIONS actions;
    AUTO_ATTRIBUTES attributes;
    int moved[5] = {-1, -1, -1, -1, -1};
    pid_t pid = -1;

    afork__reap_left();
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    int error = set_actions(spawn, &actions, moved);
    if (!error)
        error = set_attributes(spawn, &attributes);
    if (!error)
        error = posix_spawnp(&pid, spawn->path, &actions, &attributes, spawn->argv,
                             spawn->environment);
    for (size_t i = 0; i < sizeof moved / sizeof *moved; i++)
        afork__close(&moved[i]);
    return error ? -error : pid;
}

static bool same_name(const char *a, const char *b)
{
    size_t len = strcspn(a, "=");
    return strcspn(b, "=") == len && !memcmp(a, b, len);
}

static size_t list_length(char *const *list)
{
    size_t n = 0;
    while (list && list[n])
        n++;
    return n;
}

char **afork__environment(char *const *base, char *const *changes)
{
    size_t n_base = list_length(base), n_changes = list_length(changes), n = 0;
    char **result = calloc(n_base + n_changes + 1, sizeof *result);

    if (!result)
        return NULL;
    for (size_t i = 0; i < n_base; i++) {
        bool changed = false;
        for (size_t j = 0; !changed && j < n_changes; j++)
            changed = same_name(base[i], changes[j]);
        if (!changed)
            result[n++] = base[i];
    }
    for (size_t j = 0; j < n_changes; j++) {
        bool again = !strchr(changes[j], '='); /* a name alone only drops */
        for (size_t k = j + 1; !again && k < n_changes; k++)
            again = same_name(changes[j], changes[k]); /* the last change of a name counts */
        if (!again)
            result[n++] = changes[j];
    }
    return result;
}

int afork__duplicate(int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    return copy < 0 ? -errno : copy;
}

/* Moves a descriptor above standard error: where the host has closed its own, the lowest free numbers
 * are those that programs print to. */
static int lift(int *fd)
{
    if (*fd > STDERR_FILENO)
        return 0;
    int copy = afork__duplicate(*fd);
    if (copy < 0)
        return copy;
    close(*fd);
    *fd = copy;
    return 0;
}

int afork__socketpair(int type, int ret[2])
{
    int pair[2];

    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    int result = lift(&pair[0]);
    if (!result)
        result = lift(&pair[1]);
    if (!result && fcntl(pair[0], F_SETFL, O_NONBLOCK) < 0)
        result = -errno;
    if (result < 0) {
        close(pair[0]);
        close(pair[1]);
        return result;
    }
    ret[0] = pair[0];
    ret[1] = pair[1];
    return 0;
}

int afork__pidfd_open(pid_t pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);

    if (fd < 0)
        return -errno;
    int result = lift(&fd);
    if (result < 0)
        close(fd);
    return result < 0 ? result : fd;
}

int afork__pidfd_signal(int pidfd, int signal)
{
    return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

static int wait_status_of(const siginfo_t *info)
{
    switch (info->si_code) {
    case CLD_EXITED:
        return W_EXITCODE(info->si_status, 0);
    case CLD_DUMPED:
        return W_EXITCODE(0, info->si_status) | WCOREFLAG;
    default:
        return W_EXITCODE(0, info->si_status);
    }
}

int afork__reap(pid_t pid, int pidfd, int *wait_status, struct rusage *usage)
{
    idtype_t type = pidfd >= 0 ? P_PIDFD : P_PID;
    id_t id = (id_t)(pidfd >= 0 ? pidfd : pid);
    siginfo_t info = {0};
    long result;

    do /* the system call, since the function has no usage */
        result = syscall(SYS_waitid, type, id, &info, WEXITED | WNOHANG | __WALL, usage);
    while (result < 0 && errno == EINTR);
    if (result < 0)
        return -errno;
    if (!info.si_pid)
        return 0;
    *wait_status = wait_status_of(&info);
    return 1;
}

/* Children whose context was closed before they ended; contexts may live in several threads. */
static pthread_mutex_t left_lock = PTHREAD_MUTEX_INITIALIZER;
static pid_t *left;
static size_t n_left;

void afork__leave_to_reap(pid_t pid)
{
    pthread_mutex_lock(&left_lock);
    pid_t *more = reallocarray(left, n_left + 1, sizeof *left);
    if (more) { /* else it stays a zombie until the host ends */
        left = more;
        left[n_left++] = pid;
    }
    pthread_mutex_unlock(&left_lock);
}

void afork__reap_left(void)
{
    pthread_mutex_lock(&left_lock);
    for (size_t i = 0; i < n_left;) {
        int status;
        struct rusage usage;

        if (afork__reap(left[i], -1, &status, &usage))
            left[i] = left[--n_left];
        else
            i++;
    }
    if (!n_left) {
        free(left);
        left = NULL;
    }
    pthread_mutex_unlock(&left_lock);
}
