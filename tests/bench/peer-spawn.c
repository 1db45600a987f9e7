/* SPDX-License-Identifier: MIT
 *
 * Peers that need libc only: a program is started, and waited for, as C programs do it.
 *
 *     peer-spawn exec COUNT COMMAND...           posix_spawn and wait, a second, one at a time
 *     peer-spawn stall-fork MB CALLS COMMAND...  us until fork() returned; the child is COMMAND
 *     peer-spawn stall-vfork MB CALLS COMMAND... the same with vfork()
 *     peer-spawn thumbnails DIRECTORY PROGRAM OPTION SIZE
 *                                                PROGRAM for each file of a directory, two at a
 *                                                time; writes to $XDG_CACHE_HOME/thumbnails/large
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define IN_FLIGHT 2

extern char **environ;

struct child {
    char **command;
    pid_t pid;
};

static void collect(pid_t pid)
{
    int status;
    if (waitpid(pid, &status, 0) < 0)
        bench_fail("waitpid", errno);
    if (status)
        bench_fail("a child failed", 0);
}

static void settle(void *data)
{
    const struct child *child = data;
    collect(child->pid);
}

static void start(char **command)
{
    pid_t pid;
    int error = posix_spawnp(&pid, command[0], NULL, NULL, command, environ);
    if (error)
        bench_fail(command[0], error);
}

static void call_fork(void *data)
{
    struct child *child = data;
    child->pid = fork();
    if (child->pid < 0)
        bench_fail("fork", errno);
    if (!child->pid) {
        execvp(child->command[0], child->command);
        _exit(127);
    }
}

static void call_vfork(void *data)
{
    struct child *child = data;
    pid_t pid = vfork();
    if (!pid) {
        execvp(child->command[0], child->command);
        _exit(127);
    }
    if (pid < 0)
        bench_fail("vfork", errno);
    child->pid = pid;
}

static void run_exec(size_t count, char **command)
{
    double begin = bench_now();
    for (size_t i = 0; i < count; i++) {
        start(command);
        collect(-1);
    }
    bench_print_rate(count, begin);
}

static void run_thumbnails(const char *inputs, char *program, char *option, char *size)
{
    const char *cache = getenv("XDG_CACHE_HOME");
    DIR *directory = opendir(inputs);
    if (!directory || !cache)
        bench_fail(inputs, errno);

    int running = 0;
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (entry->d_name[0] == '.')
            continue;
        char input[PATH_MAX], output[PATH_MAX];
        snprintf(input, sizeof input, "%s/%s", inputs, entry->d_name);
        snprintf(output, sizeof output, "%s/thumbnails/large/%s.png", cache, entry->d_name);
        if (running == IN_FLIGHT)
            collect(-1);
        else
            running++;
        start((char *[]){program, option, size, input, output, NULL});
    }
    closedir(directory);
    while (running--)
        collect(-1);
}

int main(int argc, char **argv)
{
    if (argc > 3 && !strcmp(argv[1], "exec")) {
        run_exec(bench_number(argv[2]), argv + 3);
    } else if (argc > 4 && !strncmp(argv[1], "stall-", 6)) {
        bench_hold(bench_number(argv[2]));
        bench_stall(bench_number(argv[3]), strcmp(argv[1], "stall-fork") ? call_vfork : call_fork,
                    settle, &(struct child){.command = argv + 4});
    } else if (argc == 6 && !strcmp(argv[1], "thumbnails")) {
        run_thumbnails(argv[2], argv[3], argv[4], argv[5]);
    } else {
        bench_fail("see the head of peer-spawn.c for the arguments", 0);
    }
    return 0;
}
