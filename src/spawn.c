/* SPDX-License-Identifier: MIT
 *
 * Starting a program by vfork: the child borrows the host's memory until the exec, so that the time
 * does not grow with the host, and what could hang in a forked copy of a threaded program does not
 * run. It does what posix_spawn does, in two thirds of its time. Knows nothing of Perl or of the
 * protocol.
 */
#include "config.h"

#include "spawn.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "util.h"

/* Descriptors are put in place in ascending order: a source below its target would have been
 * overwritten by then, so it is moved to this number or above first. */
enum {
    EXECUTABLE_FD = AFORK__STATUS_FD + 1,
    N_TARGETS = AFORK__STATUS_FD + 1,
    FIRST_SAFE_FD = EXECUTABLE_FD + 1,
};

/* ---- In the child, until the exec: it uses the host's memory, and the thread that started it
 * waits. So these functions allocate nothing, take no lock, and change nothing but the child's
 * own kernel state. They return 0 or an errno. ---- */

/* No handler of the host may run here, and what the host ignores is not ignored by the program.
 * Caught signals, too: the exec would reset them, but the mask is opened before. */
static void reset_signals(void)
{
    const struct sigaction reset = {.sa_handler = SIG_DFL};
    struct sigaction action;
    sigset_t none;

    for (int signal = 1; signal < NSIG; signal++)
        if (sigaction(signal, NULL, &action) == 0 && action.sa_handler != SIG_DFL)
            sigaction(signal, &reset, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static int place_fd(int fd, int target)
{
    if (fd < 0)
        fd = open("/dev/null", target == STDIN_FILENO ? O_RDONLY : O_WRONLY);
    if (fd < 0)
        return errno;
    int result = fd == target ? fcntl(fd, F_SETFD, 0) : dup2(fd, target);
    return result < 0 ? errno : 0;
}

static int number_of_fds(const struct afork__spawn *spawn)
{
    if (spawn->command_fd < 0)
        return AFORK__COMMAND_FD;
    return spawn->status_fd < 0 ? AFORK__STATUS_FD : N_TARGETS;
}

static int place_fds(const struct afork__spawn *spawn)
{
    int sources[N_TARGETS] = {spawn->stdio[0], spawn->stdio[1], spawn->stdio[2], spawn->command_fd,
                              spawn->status_fd};
    int n = number_of_fds(spawn);

    for (int i = 0; i < n; i++) {
        if (sources[i] >= 0 && sources[i] < i)
            sources[i] = fcntl(sources[i], F_DUPFD_CLOEXEC, FIRST_SAFE_FD);
        if (sources[i] < 0 && (i >= 3 || spawn->stdio[i] >= 0))
            return errno;
    }
    for (int i = 0; i < n; i++) {
        int error = place_fd(sources[i], i);
        if (error)
            return error;
    }
    return 0;
}

struct directory_entry {
    uint64_t inode;
    int64_t offset;
    unsigned short length;
    unsigned char type;
    char name[];
};

/* The same by hand, for kernels before 5.9; readdir() would allocate. */
static void close_listed(int first)
{
    _Alignas(struct directory_entry) char block[1024];
    int directory = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    long size;

    while (directory >= 0 && (size = syscall(SYS_getdents64, directory, block, sizeof block)) > 0) {
        for (long pos = 0; pos < size;) {
            const struct directory_entry *entry = (const void *)(block + pos);
            int fd = 0;
            for (const char *c = entry->name; *c >= '0' && *c <= '9'; c++)
                fd = 10 * fd + (*c - '0');
            if (fd >= first && fd != directory)
                close(fd);
            pos += entry->length;
        }
    }
}

static void close_from(int first)
{
    if (syscall(SYS_close_range, first, ~0U, 0) < 0)
        close_listed(first);
}

/* Out of the way of the numbers that are set. Returns the descriptor, or -1. */
static int lift_executable(const struct afork__spawn *spawn)
{
    if (spawn->path || spawn->executable_fd >= EXECUTABLE_FD)
        return spawn->executable_fd;
    return fcntl(spawn->executable_fd, F_DUPFD_CLOEXEC, FIRST_SAFE_FD);
}

/* Becomes the program; returns only if that failed. */
static int become(const struct afork__spawn *spawn)
{
    int executable = lift_executable(spawn);
    int error = executable < 0 ? errno : place_fds(spawn);

    if (error)
        return error;
    if (!spawn->path && executable != EXECUTABLE_FD)
        dup3(executable, EXECUTABLE_FD, O_CLOEXEC);
    close_from(spawn->path ? number_of_fds(spawn) : FIRST_SAFE_FD);
    if (spawn->directory && chdir(spawn->directory) < 0)
        return errno;
    if (spawn->new_session && setsid() < 0)
        return errno;
    reset_signals();
    if (!spawn->path)
        syscall(SYS_execveat, EXECUTABLE_FD, "", spawn->argv, spawn->environment, AT_EMPTY_PATH);
    else if (strchr(spawn->path, '/'))
        execve(spawn->path, spawn->argv, spawn->environment);
    else
        execvpe(spawn->path, spawn->argv, spawn->environment);
    return errno;
}

/* ---- In the host ---- */

/* Not inlined: the child's frames lie below this one only. */
__attribute__((noinline)) static pid_t start(const struct afork__spawn *spawn, volatile int *error)
{
    pid_t pid = vfork();

    if (pid == 0) {
        *error = become(spawn);
        _exit(127);
    }
    return pid;
}

pid_t afork__spawn(const struct afork__spawn *spawn)
{
    sigset_t all, before;
    volatile int error = 0;

    afork__reap_left();
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* a handler must not run in the child */
    pid_t pid = start(spawn, &error);
    if (pid < 0)
        error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pid > 0 && error)
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
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

int afork__lift(int *fd)
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

/* Both ends at safe numbers, the first non-blocking; or both closed. */
static int settle_pair(int pair[2], int ret[2])
{
    int result = afork__lift(&pair[0]);
    if (!result)
        result = afork__lift(&pair[1]);
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

int afork__socketpair(int type, int ret[2])
{
    int pair[2];

    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    return settle_pair(pair, ret);
}

int afork__pipe(int ret[2])
{
    int pair[2];

    if (pipe2(pair, O_CLOEXEC) < 0)
        return -errno;
    return settle_pair(pair, ret);
}

int afork__pidfd_open(pid_t pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);

    if (fd < 0)
        return -errno;
    int result = afork__lift(&fd);
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
