/* SPDX-License-Identifier: MIT
 *
 * A limit for pools: GThreadPool, two threads in the host itself, jobs in C.
 * `peer-busy-threads COUNT USEC` prints how many jobs that need USEC microseconds of processor time
 * are done in a second, and the microseconds of processor time that the process used for each.
 */
#include <glib.h>
#include <time.h>

#include "bench.h"

#define THREADS 2

static gint64 job_ns;
static GAsyncQueue *done;

static gint64 thread_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * G_GINT64_CONSTANT(1000000000) + now.tv_nsec;
}

static void work(gpointer job, gpointer unused)
{
    gint64 end = thread_ns() + job_ns;
    while (thread_ns() < end)
        continue;
    g_async_queue_push(done, job);
}

static void run(GThreadPool *threads, size_t n)
{
    for (size_t i = 0; i < n; i++)
        g_thread_pool_push(threads, GINT_TO_POINTER(1), NULL);
    for (size_t i = 0; i < n; i++)
        g_async_queue_pop(done);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        bench_fail("arguments: COUNT USEC", 0);
    size_t n = bench_number(argv[1]);
    job_ns = (gint64)bench_number(argv[2]) * 1000;

    done = g_async_queue_new();
    GThreadPool *threads = g_thread_pool_new(work, NULL, THREADS, TRUE, NULL);
    run(threads, n / 10);
    double start = bench_now(), cpu = bench_cpu();
    run(threads, n);
    bench_print_calls(n, start, cpu);
    g_thread_pool_free(threads, FALSE, TRUE);
    g_async_queue_unref(done);
    return 0;
}
