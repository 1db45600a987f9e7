/* SPDX-License-Identifier: MIT
 *
 * The program executes itself. A server is told by its name, and by a mark in the environment,
 * which all that is started below it inherits: what finds the mark but is not called as a server
 * was started by mistake, and starts nothing.
 */
#include "config.h"

#include "afork-perl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "plugin.h"
#include "spawn.h"
#include "util.h"

#define MARK "AFORK_PERL_SELF"
#define SERVER_NAME "afork-perl"
#define SERVE "AFork::Serve::me"

extern char **environ;

static int program = -1; /* its own file */

static bool is_server(int argc, char **argv)
{
    bool serves = false;

    for (int i = 1; i < argc; i++)
        serves |= !strcmp(argv[i], SERVE);
    return serves && !strcmp(argv[0], SERVER_NAME);
}

__attribute__((noreturn)) static void serve(int argc, char **argv)
{
    const struct afork__plugin *plugin;

    if (afork__plugin_get(&plugin) < 0) {
        dprintf(STDERR_FILENO, "%s\n", afork_perl_error());
        _exit(127);
    }
    plugin->serve(argc, argv, environ);
}

/* The kernel's link works after the file was deleted; where /proc is not there, the name that was
 * executed has to do. */
static int open_program(void)
{
    int fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);

    if (fd < 0)
        fd = open((const char *)getauxval(AT_EXECFN), O_PATH | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int copy = afork__duplicate(fd);
    close(fd);
    return copy;
}

int afork_perl_self_init(int argc, char **argv)
{
    if (program >= 0)
        return afork__error(-EALREADY, "afork_perl_self_init() was called before");
    if (argc < 1 || !argv || !argv[0])
        return afork__error(-EINVAL, "no arguments");
    if (getenv(MARK)) {
        if (is_server(argc, argv))
            serve(argc, argv);
        return afork__error(-ELOOP, "a server started its own program: " MARK
                                    " is in the environment");
    }
    int fd = open_program();
    if (fd < 0)
        return afork__error(fd, "the program's own file: %s", strerror(-fd));
    program = fd;
    return 0;
}

/* The server's numbers as strings. */
struct numbers {
    char command_fd[16], owner[16], status_fd[16], identity[24];
};

static char **make_arguments(const struct afork_launch *launch, struct numbers *numbers)
{
    size_t n_dirs = 0, n = 0;

    while (launch->include_dirs && launch->include_dirs[n_dirs])
        n_dirs++;
    const char **argv = calloc(2 * n_dirs + 9, sizeof *argv);
    if (!argv)
        return NULL;
    snprintf(numbers->command_fd, sizeof numbers->command_fd, "%d", AFORK__COMMAND_FD);
    snprintf(numbers->owner, sizeof numbers->owner, "%ld", (long)launch->owner);
    snprintf(numbers->status_fd, sizeof numbers->status_fd, "%d", AFORK__STATUS_FD);
    snprintf(numbers->identity, sizeof numbers->identity, "%llu",
             (unsigned long long)launch->identity);
    argv[n++] = SERVER_NAME;
    for (size_t i = 0; i < n_dirs; i++) {
        argv[n++] = "-I";
        argv[n++] = launch->include_dirs[i];
    }
    argv[n++] = "-e";
    argv[n++] = SERVE;
    argv[n++] = numbers->command_fd;
    argv[n++] = numbers->owner;
    argv[n++] = numbers->status_fd;
    argv[n++] = numbers->identity;
    argv[n++] = launch->refuse_threads ? "refuse-threads" : "";
    return (char **)argv;
}

static void free_list(char ***list)
{
    free(*list);
}

#define AUTO_LIST AFORK__CLEANUP(free_list) char **

pid_t afork_perl_self_launch(const struct afork_launch *launch, void *data)
{
    static char mark[] = MARK "=1";
    char *changes[] = {mark, NULL};
    struct numbers numbers;

    (void)data;
    if (program < 0)
        return afork__error(-ENOTCONN, "afork_perl_self_init() was not called, or failed");
    AUTO_LIST argv = make_arguments(launch, &numbers);
    AUTO_LIST environment = afork__environment((char *const *)launch->environment, changes);
    if (!argv || !environment)
        return -ENOMEM;
    pid_t pid = afork__spawn(&(struct afork__spawn){
        .executable_fd = program,
        .argv = argv,
        .environment = environment,
        .directory = launch->directory,
        .stdio = {launch->stdio[0], launch->stdio[1], launch->stdio[2]},
        .command_fd = launch->command_fd,
        .status_fd = launch->status_fd,
        .new_session = launch->new_session,
    });
    return pid < 0 ? afork__error(pid, "executing the program itself: %s", strerror(-pid)) : pid;
}
