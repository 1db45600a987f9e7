/* SPDX-License-Identifier: MIT
 *
 * The spawner: an interpreter that has run nothing, and waits for requests. What it forks are
 * children of the program (CLONE_PARENT), so that they are all that executed ones are, also when
 * the spawner is gone. It has one thread and never more, which is what a raw clone needs.
 */
#include "spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "exit.h"
#include "fdpass.h"
#include "interpreter.h"
#include "launched.h"
#include "note-forks.h"
#include "spawner-wire.h"
#include "status.h"
#include "util.h"

#undef strerror /* perl's own needs an interpreter */

/* A request as it came. */
struct request {
    struct afork__request head;
    struct afork_launch launch;
    int directory_fd;
    struct afork__fd_queue fds; /* those of the launch are out of it, and in `taken` */
    int taken[AFORK__REQUEST_FDS];
    size_t n_taken;
    char *strings; /* in `data`, or a map of a file */
    const char **lists;
    bool mapped;
};

static int control, host = -1; /* the other end's pidfd */
static void *tid_address; /* where libc remembers the number of the thread */

__attribute__((noreturn)) static void cannot(int32_t error, const char *what)
{
    struct iovec parts[] = {{&error, sizeof error}, {(char *)what, strlen(what)}};

    ssize_t sent = writev(control, parts, 2);
    PERL_UNUSED_VAR(sent); /* nobody is there to be told */
    _exit(127);
}

/* In the program's shape no more: 0 and 1 would keep a pipe open that the program closes. */
static void let_go(void)
{
    struct afork_launch nothing = {.stdio = {-1, -1, STDERR_FILENO}};
    const int ignored[] = {SIGINT, SIGQUIT, SIGHUP, SIGTSTP, SIGPIPE};

    if (fcntl(STDERR_FILENO, F_GETFD) < 0)
        nothing.stdio[STDERR_FILENO] = -1;
    if (afork__launched_place(&nothing))
        cannot(EMFILE, "no descriptors");
    afork__launched_let_go(&control, 1);
    afork__launched_reset_signals(NULL);
    for (size_t i = 0; i < C_ARRAY_LENGTH(ignored); i++) /* of a terminal: meant for the program */
        signal(ignored[i], SIG_IGN);
}

/* The program: not by -e, for which perl would open /dev/null, which a bare root directory has
 * not. */
static int open_script(void)
{
    static const char code[] = "AFork::Serve::me\n";
    int pair[2];

    if (pipe2(pair, O_CLOEXEC) < 0 || write(pair[1], code, sizeof code - 1) < 0)
        cannot(errno, "no pipe");
    close(pair[1]);
    return pair[0];
}

static PerlInterpreter *start_perl(void)
{
    static char name[] = "afork-perl", script[32];
    static char *argv[] = {name, script, NULL};
    extern char **environ;
    int failed;

    snprintf(script, sizeof script, "/dev/fd/%d", open_script());
    bool quiet = !getenv("PERL_BADLANG"); /* a locale that is not there is not worth our words */
    if (quiet)
        setenv("PERL_BADLANG", "0", 1);
    PerlInterpreter *my_perl =
        afork__interpreter_new(2, argv, environ, AFORK_FOREIGN_PERL, &failed);
    if (!my_perl || failed)
        cannot(ENOEXEC, "perl could not start; its standard error says why");
    afork__hook_forks(aTHX_ false);
    if (quiet)
        hv_deletes(GvHVn(PL_envgv), "PERL_BADLANG", G_DISCARD);
    return my_perl;
}

/* Like fork(), but the child is the program's, and no handler of pthread_atfork() runs. */
static pid_t fork_sibling(void)
{
    const unsigned long flags = CLONE_PARENT | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
    struct clone_args arguments = {.flags = flags, .child_tid = (uintptr_t)tid_address};

    long pid = syscall(SYS_clone3, &arguments, sizeof arguments);
    if (pid < 0 && errno == ENOSYS) /* some sandboxes refuse it */
#if defined(__x86_64__)
        pid = syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, tid_address, NULL);
#elif !defined(__s390__) && !defined(__sparc__)
        pid = syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, tid_address);
#endif
    return (pid_t)pid;
}

/* ---- Requests ---- */

static int take_fd(struct request *request)
{
    int fd = afork__fd_queue_take(&request->fds);

    if (fd >= 0 && request->n_taken < C_ARRAY_LENGTH(request->taken))
        request->taken[request->n_taken++] = fd;
    return fd;
}

static void release(struct request *request)
{
    for (size_t i = 0; i < request->n_taken; i++)
        close(request->taken[i]);
    afork__fd_queue_clear(&request->fds);
    if (request->mapped)
        munmap(request->strings, request->head.strings_size);
    free(request->lists);
}

static bool take_fds(struct request *request)
{
    struct afork_launch *launch = &request->launch;

    launch->command_fd = take_fd(request);
    launch->status_fd = take_fd(request);
    request->directory_fd = take_fd(request);
    if (request->directory_fd < 0)
        return false;
    for (int i = 0; i < 3; i++) {
        launch->stdio[i] = request->head.stdio & 1 << i ? take_fd(request) : -1;
        if (request->head.stdio & 1 << i && launch->stdio[i] < 0)
            return false;
    }
    return true;
}

static bool map_strings(struct request *request)
{
    int file = take_fd(request);
    struct stat info;

    if (file < 0 || fstat(file, &info) < 0 || (uint64_t)info.st_size != request->head.strings_size)
        return false;
    void *map = mmap(NULL, request->head.strings_size, PROT_READ, MAP_PRIVATE, file, 0);
    if (map == MAP_FAILED)
        return false;
    request->strings = map;
    request->mapped = true;
    return true;
}

/* Points at `n` strings, and at a NULL. Returns false if there are not so many. */
static bool point(const char **list, size_t n, const char **from, const char *end)
{
    for (size_t i = 0; i < n; i++) {
        const char *nul = memchr(*from, '\0', (size_t)(end - *from));
        if (!nul)
            return false;
        list[i] = *from;
        *from = nul + 1;
    }
    list[n] = NULL;
    return true;
}

/* Makes sense of a message; false: it is none of ours. */
static bool parse(struct request *request, char *data, size_t len)
{
    struct afork__request *head = &request->head;
    struct afork_launch *launch = &request->launch;

    if (len < sizeof *head)
        return false;
    memcpy(head, data, sizeof *head);
    request->strings = data + sizeof *head;
    if (!take_fds(request))
        return false;
    if (head->in_file ? !map_strings(request) : head->strings_size != len - sizeof *head)
        return false;
    size_t n = (size_t)head->n_include_dirs + head->n_environment;
    if (n > head->strings_size)
        return false;
    request->lists = calloc(n + 2, sizeof *request->lists);
    if (!request->lists)
        return false;
    const char **environment = request->lists + head->n_include_dirs + 1;
    const char *from = request->strings, *end = from + head->strings_size;
    if (!point(request->lists, head->n_include_dirs, &from, end) ||
        !point(environment, head->n_environment, &from, end))
        return false;
    launch->identity = head->identity;
    launch->owner = head->owner;
    launch->refuse_threads = head->refuse_threads;
    launch->new_session = head->new_session;
    launch->include_dirs = request->lists;
    launch->environment = environment;
    return true;
}

/* ---- Launches ---- */

__attribute__((noreturn)) static void become_server(pTHX_ struct request *request)
{
    const struct afork_launch *launch = &request->launch;
    int error = afork__launched_place(launch);

    if (!error)
        error = afork__launched_enter(launch, request->directory_fd);
    if (error)
        afork__launched_fail("descriptors, directory or session", error);
    close(control);
    afork__close(&host);
    for (size_t i = 0; i < request->n_taken; i++)
        if (request->taken[i] != launch->command_fd && request->taken[i] != launch->status_fd)
            close(request->taken[i]);
    afork__launched_reset_signals(NULL);
    afork__launched_prepare(aTHX_ launch);
    perl_run(my_perl);
    afork__exit(aTHX);
}

/* The program must hear of its child. It is waited for, since it waits for nobody; if it has closed
 * the context, what listens at the other end of the control socket reaps it. */
static void tell(const struct afork_launch *launch, pid_t pid, int error)
{
    char text[128] = "";
    uint8_t record[AFORK__RECORD_FIXED_SIZE + sizeof text];
    int32_t number = pid;
    struct afork__status status = {.type = AFORK__FORKED,
                                   .identity = launch->identity,
                                   .pid = (uint32_t)pid,
                                   .value = AFORK__FORKED_ROOT};

    if (pid < 0) {
        snprintf(text, sizeof text, "fork: %s", strerror(error));
        status = (struct afork__status){
            .type = AFORK__ERROR, .phase = AFORK__PHASE_FORK, .identity = launch->identity};
    }
    size_t len = afork__status_encode(&status, record);
    memcpy(record + len, text, strlen(text));
    len += strlen(text);
    while (send(launch->status_fd, record, len, MSG_NOSIGNAL) < 0) {
        if (errno == EINTR || errno == ENOBUFS || errno == ENOMEM)
            continue;
        if (pid > 0)
            send(control, &number, sizeof number, MSG_NOSIGNAL);
        return;
    }
}

static void launch(pTHX_ char *data, size_t len, struct afork__fd_queue *fds)
{
    struct request request = {.fds = *fds};
    sigset_t all, before;

    *fds = (struct afork__fd_queue){0};
    if (parse(&request, data, len)) {
        sigfillset(&all);
        sigprocmask(SIG_SETMASK, &all, &before);
        pid_t pid = fork_sibling();
        int error = errno;
        if (pid == 0)
            become_server(aTHX_ &request);
        sigprocmask(SIG_SETMASK, &before, NULL);
        tell(&request.launch, pid, error);
    }
    release(&request);
}

void afork__spawner(int control_fd)
{
    static char data[sizeof(struct afork__request) + AFORK__INLINE_MAX];
    struct afork__fd_queue fds = {0};
    pid_t program = getppid();
    const int32_t ready = 0;

    control = control_fd;
    let_go();
    if (prctl(PR_GET_TID_ADDRESS, &tid_address, 0, 0, 0) < 0)
        cannot(ENOSYS, "the kernel does not tell the address that libc needs set in a forked "
                       "process (CONFIG_CHECKPOINT_RESTORE)");
    PerlInterpreter *my_perl = start_perl();
    afork__launched_own_title(aTHX);
    afork__exit_prepare(aTHX);
    send(control, &ready, sizeof ready, MSG_NOSIGNAL);

    host = (int)syscall(SYS_pidfd_open, program, 0);
    while (getppid() == program) {
        struct pollfd ends[] = {{.fd = control, .events = POLLIN}, {.fd = host, .events = POLLIN}};
        if (poll(ends, 2, -1) < 0 && errno != EINTR)
            break;
        if (ends[1].revents)
            break; /* a copy of the program may hold the socket still */
        if (!ends[0].revents)
            continue;
        ssize_t got = afork__fd_receive(control, data, sizeof data, &fds, MSG_DONTWAIT);
        if (got == -EAGAIN)
            continue;
        if (got == 0)
            break;
        if (got > 0)
            launch(aTHX_ data, (size_t)got, &fds);
        afork__fd_queue_clear(&fds);
    }
    _exit(0);
}
