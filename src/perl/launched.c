/* SPDX-License-Identifier: MIT
 *
 * Becoming the server that a launch describes: everything an exec would have set.
 */
#include "launched.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util.h"

#undef strerror /* perl's own needs an interpreter */

/* Where descriptors cannot be listed: those above are not looked for. */
enum { MOST_FDS = 65536 };

extern char **environ;

static bool is_perls(PerlInterpreter *my_perl, int signal, const struct sigaction *action)
{
    if (signal == SIGFPE && action->sa_handler == SIG_IGN) /* as perl's main program leaves it */
        return true;
    if (!my_perl || !PL_psig_ptr || !PL_psig_ptr[signal])
        return false;
    if (action->sa_handler != SIG_IGN)
        return action->sa_handler == (Sighandler_t)PL_csighandlerp;
    return SvPOK(PL_psig_ptr[signal]) && strEQ(SvPVX(PL_psig_ptr[signal]), "IGNORE");
}

void afork__launched_reset_signals(PerlInterpreter *my_perl)
{
    const struct sigaction reset = {.sa_handler = SIG_DFL};
    struct sigaction action;
    sigset_t none;

    for (int signal = 1; signal < NSIG; signal++)
        if (sigaction(signal, NULL, &action) == 0 && action.sa_handler != SIG_DFL &&
            !is_perls(my_perl, signal, &action))
            sigaction(signal, &reset, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* /dev/null; or, in a root directory that has none, an end of a pipe whose other end is closed. */
static int open_null(int target)
{
    int fd = open("/dev/null", (target == STDIN_FILENO ? O_RDONLY : O_WRONLY) | O_CLOEXEC);
    int pair[2];

    if (fd >= 0 || pipe2(pair, O_CLOEXEC) < 0)
        return fd;
    close(pair[target == STDIN_FILENO]);
    return pair[target != STDIN_FILENO];
}

static int place(int fd, int target)
{
    if (fd < 0)
        fd = open_null(target);
    int result = fd < 0 ? -1 : fd == target ? fcntl(fd, F_SETFD, 0) : dup2(fd, target);
    return result < 0 ? errno : 0;
}

int afork__launched_place(const struct afork_launch *launch)
{
    int sources[3];
    int error = 0;

    for (int i = 0; i < 3; i++) {
        sources[i] = launch->stdio[i];
        if (sources[i] >= 0 && sources[i] < i) /* it will have been overwritten */
            sources[i] = fcntl(sources[i], F_DUPFD_CLOEXEC, 3);
        if (sources[i] < 0 && launch->stdio[i] >= 0)
            return errno;
    }
    for (int i = 0; i < 3 && !error; i++)
        error = place(sources[i], i);
    return error;
}

/* In a root directory without /dev/null its number cannot be kept. */
static void let_go(int fd, int null)
{
    if (null < 0 || dup3(null, fd, O_CLOEXEC) < 0)
        close(fd);
}

static bool is_kept(const int *keep, size_t n_keep, int fd)
{
    for (size_t i = 0; i < n_keep; i++)
        if (keep[i] == fd)
            return true;
    return false;
}

void afork__launched_let_go(const int *keep, size_t n_keep)
{
    AFORK__AUTO_FD null = open("/dev/null", O_RDWR | O_CLOEXEC);
    DIR *directory = opendir("/proc/self/fd");
    const struct dirent *entry;

    while (directory && (entry = readdir(directory))) {
        int fd = atoi(entry->d_name);
        if (fd > STDERR_FILENO && fd != dirfd(directory) && fd != null &&
            !is_kept(keep, n_keep, fd))
            let_go(fd, null);
    }
    if (directory)
        closedir(directory);
    for (int fd = STDERR_FILENO + 1; !directory && fd < MOST_FDS; fd++)
        if (fd != null && !is_kept(keep, n_keep, fd) && fcntl(fd, F_GETFD) >= 0)
            let_go(fd, null);
}

int afork__launched_enter(const struct afork_launch *launch, int directory_fd)
{
    if (directory_fd >= 0 && fchdir(directory_fd) < 0)
        return errno;
    if (directory_fd < 0 && launch->directory && chdir(launch->directory) < 0)
        return errno;
    return launch->new_session && setsid() < 0 ? errno : 0;
}

static bool same_environment(const char *const *a, char *const *b)
{
    for (; *a && *b; a++, b++)
        if (strcmp(*a, *b) != 0)
            return false;
    return !*a && !*b;
}

/* Through %ENV, whose magic does the rest: perl may have strings of its own in `environ`. The first
 * of two with one name counts, as for getenv(). */
static void set_environment(pTHX_ const char *const *environment)
{
    HV *env = GvHVn(PL_envgv);

    if (environ && same_environment(environment, environ))
        return;
    hv_clear(env);
    for (; *environment; environment++) {
        const char *equals = strchr(*environment, '=');
        I32 len = equals ? (I32)(equals - *environment) : 0;
        if (!len || hv_exists(env, *environment, len))
            continue;
        SV **value = hv_fetch(env, *environment, len, TRUE);
        if (value) {
            sv_setpv(*value, equals + 1);
            SvSETMAGIC(*value);
        }
    }
}

static void set_include_dirs(pTHX_ const char *const *dirs)
{
    SSize_t n = 0;

    while (dirs && dirs[n])
        n++;
    if (!n)
        return;
    AV *inc = GvAVn(PL_incgv);
    av_unshift(inc, n);
    for (SSize_t i = 0; i < n; i++)
        av_store(inc, i, newSVpv(dirs[i], 0));
}

void afork__launched_prepare(pTHX_ const struct afork_launch *launch)
{
    AV *argv = GvAVn(PL_argvgv);

    set_environment(aTHX_ launch->environment);
    set_include_dirs(aTHX_ launch->include_dirs);
    av_clear(argv);
    av_push(argv, newSViv(launch->command_fd));
    av_push(argv, newSViv(launch->owner));
    av_push(argv, newSViv(launch->status_fd));
    av_push(argv, newSVpvf("%" UVuf, (UV)launch->identity));
    av_push(argv, newSVpv(launch->refuse_threads ? "refuse-threads" : "", 0));
}

/* The kernel knows where the arguments of the program are; perl was perhaps given others. */
void afork__launched_own_title(pTHX)
{
    static char nowhere[2];
    static char *title[2];
    unsigned long start = 0, end = 0;
    char line[2048] = "";

    int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, line, sizeof line - 1);
    if (fd >= 0)
        close(fd);
    char *field = got > 0 ? strrchr(line, ')') : NULL; /* the second; arguments are 48 and 49 */
    for (int i = 2; field && i < 48; i++)
        field = strchr(field + 1, ' ');
    if (!field || sscanf(field, "%lu %lu", &start, &end) != 2 || end <= start)
        start = end = 0;
    title[0] = start ? (char *)start : nowhere;
    PL_origargv = title;
    PL_origargc = 1;
    PL_origalen = start ? (U32)(end - start) : 1;
}

void afork__launched_fail(const char *what, int error)
{
    dprintf(STDERR_FILENO, "afork: a server cannot start: %s: %s\n", what, strerror(error));
    _exit(127);
}
