/* SPDX-License-Identifier: MIT
 *
 * The clock, the memory, the numbers and the sockets of the benchmark. Knows nothing of what is
 * measured.
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WARM_UP 3

extern char **environ;

noreturn void bench_fail(const char *what, int error)
{
    fprintf(stderr, "%s: %s%s%s\n", program_invocation_short_name, what, error ? ": " : "",
            error ? strerror(abs(error)) : "");
    exit(1);
}

size_t bench_number(const char *argument)
{
    char *end;
    unsigned long number = strtoul(argument, &end, 10);
    if (!*argument || *end)
        bench_fail("not a number", 0);
    return number;
}

double bench_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

void bench_hold(size_t megabytes)
{
    if (!megabytes)
        return;
    size_t size = megabytes << 20;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        bench_fail("memory", errno);

    /* Small pages, as a heap that grew little by little has them. With huge pages a fork copies
     * 512 times fewer entries, and there would be nothing to see. */
    madvise(memory, size, MADV_NOHUGEPAGE);
    size_t page = sysconf(_SC_PAGESIZE);
    for (size_t i = 0; i < size; i += page)
        memory[i] = 1;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void bench_print_samples(double *samples, size_t n)
{
    qsort(samples, n, sizeof *samples, compare);
    printf("%.2f %.2f %.2f\n", samples[n / 2], samples[n * 99 / 100], samples[n - 1]);
    fflush(stdout);
}

void bench_stall(size_t n, void (*call)(void *data), void (*settle)(void *data), void *data)
{
    double *samples = calloc(n + WARM_UP, sizeof *samples);
    if (!samples)
        bench_fail("samples", ENOMEM);

    for (size_t i = 0; i < n + WARM_UP; i++) {
        double start = bench_now();
        call(data);
        samples[i] = bench_now() - start;
        settle(data);
    }
    bench_print_samples(samples + WARM_UP, n);
    free(samples);
}

void bench_print_rate(size_t n, double start)
{
    printf("%.1f\n", n * 1e6 / (bench_now() - start));
    fflush(stdout);
}

static double microseconds(struct timeval time)
{
    return time.tv_sec * 1e6 + time.tv_usec;
}

double bench_cpu(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return microseconds(usage.ru_utime) + microseconds(usage.ru_stime);
}

void bench_print_calls(size_t n, double start, double cpu)
{
    double end = bench_now();
    printf("%.1f %.3f\n", n * 1e6 / (end - start), (bench_cpu() - cpu) / n);
    fflush(stdout);
}

int bench_start_on_socket(char **command)
{
    posix_spawn_file_actions_t actions;
    int ends[2];
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0 ||
        fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0)
        bench_fail("socketpair", errno);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDIN_FILENO);
    int error = posix_spawnp(&pid, command[0], &actions, NULL, command, environ);
    if (error)
        bench_fail(command[0], error);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    return ends[0];
}
