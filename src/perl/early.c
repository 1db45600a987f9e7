/* SPDX-License-Identifier: MIT
 *
 * The host's side of the spawner: starting it, and asking it for processes. A request is one
 * message that is sent without blocking, so that several threads need no lock. Knows nothing of
 * Perl.
 */
#include "config.h"

#include "afork-perl.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fdpass.h"
#include "plugin.h"
#include "spawn.h"
#include "spawner-wire.h"
#include "threads.h"
#include "util.h"

enum { READY_MSEC = 10000 };

static int control = -1;
static pid_t spawner, owner;
static pthread_mutex_t reap_lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((noreturn)) static void run_spawner(int fd)
{
    const struct afork__plugin *plugin;
    int32_t error = -afork__plugin_get(&plugin);

    if (!error)
        plugin->spawner(fd);
    const char *text = afork_perl_error();
    struct iovec parts[] = {{&error, sizeof error}, {(char *)text, strlen(text)}};
    ssize_t sent = writev(fd, parts, 2);
    (void)sent; /* nobody is there to be told */
    _exit(127);
}

/* Waits for the first message. Returns 0 or a negative errno. */
static int wait_until_ready(int fd)
{
    char message[sizeof(int32_t) + AFORK__READY_TEXT_MAX + 1] = "";
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    int64_t end = afork__now() + READY_MSEC * AFORK__USEC_PER_MSEC, left;
    int ready = 0;
    int32_t error;

    while (ready <= 0 && (left = (end - afork__now()) / AFORK__USEC_PER_MSEC) > 0)
        ready = poll(&pollfd, 1, (int)left);
    if (ready <= 0)
        return afork__error(-ETIMEDOUT, "the spawner's perl did not start in time");
    ssize_t got = recv(fd, message, sizeof message - 1, 0);
    if (got < (ssize_t)sizeof error)
        return afork__error(-ENOEXEC, "the spawner ended before its perl had started");
    memcpy(&error, message, sizeof error);
    return error ? afork__error(-error, "%s", message + sizeof error) : 0;
}

static void end_spawner(pid_t pid)
{
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

int afork_perl_early_init(void)
{
    sigset_t all, before;
    int pair[2];

    if (control >= 0 && owner == getpid())
        return afork__error(-EALREADY, "there is a spawner already");
    if (afork__threads_count() > 1)
        return afork__error(-EBUSY, "threads run already: a copy would miss them");
    int result = afork__socketpair(SOCK_SEQPACKET, pair);
    if (result < 0)
        return afork__error(result, "socketpair: %s", strerror(-result));

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* a handler must not run in the copy */
    pid_t pid = fork();
    if (pid == 0) {
        close(pair[0]);
        run_spawner(pair[1]);
    }
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(pair[1]);
    result = pid < 0 ? afork__error(-error, "fork: %s", strerror(error))
                     : wait_until_ready(pair[0]);
    if (result < 0) {
        if (pid > 0)
            end_spawner(pid);
        close(pair[0]);
        return result;
    }
    afork__close(&control); /* that of the process this one was forked from */
    control = pair[0];
    spawner = pid;
    owner = getpid();
    return 0;
}

/* The spawner's own end, and the pids it tells. */
static void reap(void)
{
    int32_t pid;

    if (control < 0 || owner != getpid())
        return;
    pthread_mutex_lock(&reap_lock);
    while (recv(control, &pid, sizeof pid, MSG_DONTWAIT) == sizeof pid)
        afork__leave_to_reap(pid);
    if (spawner > 0 && waitpid(spawner, NULL, WNOHANG) != 0)
        spawner = 0;
    pthread_mutex_unlock(&reap_lock);
    afork__reap_left();
}

static size_t count(const char *const *list)
{
    size_t n = 0;

    while (list && list[n])
        n++;
    return n;
}

static size_t lengths(const char *const *list)
{
    size_t total = 0;

    for (; list && *list; list++)
        total += strlen(*list) + 1;
    return total;
}

static char *append(char *to, const char *const *list)
{
    for (; list && *list; list++)
        to = stpcpy(to, *list) + 1;
    return to;
}

/* The strings as a file, sealed by nobody: the spawner is of our making. A descriptor or a negative
 * errno. */
static int strings_file(const struct afork_launch *launch, size_t size)
{
    int fd = memfd_create("afork-launch", MFD_CLOEXEC);

    if (fd < 0)
        return -errno;
    char *map = MAP_FAILED;
    if (ftruncate(fd, (off_t)size) == 0)
        map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        afork__close(&fd);
        return -errno;
    }
    append(append(map, launch->include_dirs), launch->environment);
    munmap(map, size);
    return fd;
}

static int send_request(const struct afork_launch *launch, int directory)
{
    int fds[AFORK__REQUEST_FDS] = {launch->command_fd, launch->status_fd, directory};
    size_t n_fds = 3;
    char strings[AFORK__INLINE_MAX];
    AFORK__AUTO_FD file = -1;
    struct afork__request request = {
        .identity = launch->identity,
        .strings_size = lengths(launch->include_dirs) + lengths(launch->environment),
        .n_include_dirs = (uint32_t)count(launch->include_dirs),
        .n_environment = (uint32_t)count(launch->environment),
        .owner = launch->owner,
        .refuse_threads = launch->refuse_threads,
        .new_session = launch->new_session,
    };

    for (int i = 0; i < 3; i++) {
        if (launch->stdio[i] < 0)
            continue;
        request.stdio |= (uint8_t)(1 << i);
        fds[n_fds++] = launch->stdio[i];
    }
    request.in_file = request.strings_size > sizeof strings;
    if (request.in_file) {
        file = strings_file(launch, request.strings_size);
        if (file < 0)
            return file;
        fds[n_fds++] = file;
    } else {
        append(append(strings, launch->include_dirs), launch->environment);
    }
    struct iovec parts[] = {{&request, sizeof request},
                            {strings, request.in_file ? 0 : request.strings_size}};
    ssize_t sent = afork__fd_send(control, parts, 2, fds, n_fds, MSG_DONTWAIT);
    return sent < 0 ? (int)sent : 0;
}

pid_t afork_perl_early_launch(const struct afork_launch *launch, void *data)
{
    (void)data;
    if (control < 0)
        return afork__error(-ENOTCONN,
                            "there is no spawner: afork_perl_early_init() was not called");
    if (owner != getpid())
        return afork__error(-ECHILD, "the spawner belongs to the process that this is a copy of");
    reap();
    if (launch->call_to_reap && launch->call_to_reap(reap) < 0)
        return afork__error(-ENOMEM, "out of memory");

    const char *path = launch->directory ? launch->directory : ".";
    AFORK__AUTO_FD directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        return afork__error(-errno, "%s: %s", path, strerror(errno));
    int result = send_request(launch, directory);
    if (result == -EPIPE || result == -ECONNRESET || result == -ECONNREFUSED)
        return afork__error(-ECONNRESET, "the spawner has ended");
    if (result == -ETOOMANYREFS || result == -ENOBUFS)
        result = -EAGAIN;
    return result < 0 ? afork__error(result, "asking the spawner: %s", strerror(-result)) : 0;
}
