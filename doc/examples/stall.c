/* SPDX-License-Identifier: MIT
 *
 * stall MEGABYTES: how long a program with so much memory stands still when it makes a process: by fork
 * and exec, by executing a perl through afork, and by a fork that a template makes for it.
 */
#include <afork/afork.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 5 };

static struct afork_context *context;

static void must(int result)
{
    if (result < 0) {
        fprintf(stderr, "stall: %s\n", strerror(-result));
        exit(1);
    }
}

static void fork_and_exec(void)
{
    pid_t child = fork();

    if (child == 0) {
        execlp("true", "true", (char *)NULL);
        _exit(127);
    }
    waitpid(child, NULL, WNOHANG); /* whoever is not gone yet ends with this program */
}

static void execute(void)
{
    struct afork_process *process;

    must(afork_process_new_exec(context, &process));
    afork_process_unref(process);
}

static void fork_template(void)
{
    struct afork_process *process;

    must(afork_process_new(context, &process));
    afork_process_unref(process);
}

/* The shortest of some rounds: what the machine does besides is not meant. */
static void measure(const char *name, void (*make)(void))
{
    double least = 1e9;

    for (int i = 0; i < ROUNDS; i++) {
        struct timespec from, to;
        clock_gettime(CLOCK_MONOTONIC, &from);
        make();
        clock_gettime(CLOCK_MONOTONIC, &to);
        double ms = 1e3 * (double)(to.tv_sec - from.tv_sec) +
                    1e-6 * (double)(to.tv_nsec - from.tv_nsec);
        if (ms < least)
            least = ms;
    }
    printf("  %-18s %.2f ms\n", name, least);
}

/* In small pieces, as programs do; in one, the kernel would use huge pages, which are few. Each has the
 * address of the one before in front. */
static void *grow(size_t megabytes)
{
    enum { SIZE = 1 << 10 };
    void *last = NULL;

    for (size_t i = 0; i < megabytes << 10; i++) {
        char *piece = malloc(SIZE);
        if (!piece)
            must(-ENOMEM);
        memset(piece, 1, SIZE);
        memcpy(piece, &last, sizeof last);
        last = piece;
    }
    return last;
}

static void shrink(void *last)
{
    while (last) {
        void *piece = last;
        memcpy(&last, piece, sizeof last);
        free(piece);
    }
}

int main(int argc, char **argv)
{
    size_t megabytes = argc > 1 ? strtoul(argv[1], NULL, 10) : 256;
    struct afork_poll *poll;

    void *memory = grow(megabytes);
    must(afork_poll_new(&poll));
    must(afork_context_new(afork_poll_loop(poll), NULL, &context));
    printf("a host of %zu MB stands still for\n", megabytes);
    measure("fork and exec", fork_and_exec);
    measure("a perl by afork", execute);
    measure("a fork by afork", fork_template);
    afork_context_close(context);
    afork_poll_free(poll);
    shrink(memory);
    return 0;
}
