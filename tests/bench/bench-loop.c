/* SPDX-License-Identifier: MIT
 *
 * Measures a program of bench-loop.h. ARGUMENTS are what it needs beyond that.
 *
 *     spawn COUNT IN-FLIGHT ARGUMENTS   processes that leave at once, a second, until that was seen
 *     stall MB CALLS ARGUMENTS          us that the start of one blocks the loop of a host that
 *                                       holds MB
 *     first CALLS ARGUMENTS             us from the start of a process to its first octet
 *     echo SIZE COUNT ARGUMENTS         messages a second that a process sends back, one at a time
 */
#include "bench-loop.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "bench.h"

/* Processes that are to be started one after another, and those that run. */
static size_t to_start, running;

/* The message that is under way, how much of it has not come back, how many are to follow. */
static char *message;
static size_t size, missing, to_send;

static bool got_octet; /* from the process that talks */
static bool waiting;   /* in loop_run() */

void loop_check(const char *what, int result)
{
    if (result < 0)
        bench_fail(what, result);
}

static void wait_for_quit(void)
{
    waiting = true;
    loop_run();
    waiting = false;
}

static void quit(void)
{
    if (waiting)
        loop_quit();
}

static void start(bool talks)
{
    running++;
    loop_start(talks);
}

void loop_left(void)
{
    running--;
    if (to_start) {
        to_start--;
        start(false);
    } else if (!running) {
        quit();
    }
}

/* ---- spawn ---- */

static void start_all(size_t n, size_t in_flight)
{
    if (in_flight > n)
        in_flight = n;
    to_start = n - in_flight;
    while (in_flight--)
        start(false);
    wait_for_quit();
}

static void run_spawn(size_t n, size_t in_flight)
{
    start_all(5, 1); /* ours executes its template */
    double begin = bench_now();
    start_all(n, in_flight);
    bench_print_rate(n, begin);
}

/* ---- stall ---- */

/* What the call left to the next turn of the loop counts too. */
static void call_start(void *data)
{
    start(false);
    loop_turn();
}

/* The next call must not share the processors with what this one has started. */
static void settle_left(void *data)
{
    if (running)
        wait_for_quit();
}

/* ---- first ---- */

static void call_first(void *data)
{
    got_octet = false;
    start(true);
    wait_for_quit();
    if (!got_octet)
        bench_fail("a process wrote nothing", 0);
}

/* ---- echo ---- */

static void send_next(void)
{
    to_send--;
    missing = size;
    loop_send(message, size);
}

void loop_got(size_t octets)
{
    if (!message) {
        if (octets != 1 || got_octet)
            bench_fail("a process wrote too much", 0);
        got_octet = true;
        quit();
        return;
    }
    if (octets > missing)
        bench_fail("too much came back", 0);
    missing -= octets;
    if (missing)
        return;
    if (to_send)
        send_next();
    else
        quit();
}

/* For this program and all that it starts. Whether the kernel puts those that talk to each other on
 * one processor or on two differs from run to run, and the time of a message by the factor two. */
static void stay_on_one_processor(void)
{
    cpu_set_t processors;

    CPU_ZERO(&processors);
    CPU_SET(sched_getcpu(), &processors);
    if (sched_setaffinity(0, sizeof processors, &processors) < 0)
        bench_fail("sched_setaffinity", errno);
}

static void exchange(size_t n)
{
    to_send = n;
    send_next();
    wait_for_quit();
}

static void run_echo(size_t length, size_t n)
{
    size = length;
    message = malloc(size);
    if (!message || !size)
        bench_fail("message", ENOMEM);
    memset(message, 'x', size);

    loop_start_echo();
    exchange(n / 10 + 1); /* warms up */
    double begin = bench_now();
    exchange(n);
    bench_print_rate(n, begin);
    loop_end_echo();
    free(message);
}

int main(int argc, char **argv)
{
    const char *what = argc > 2 ? argv[1] : "";
    bool first = !strcmp(what, "first");
    size_t one = argc > 2 ? bench_number(argv[2]) : 0;
    size_t two = argc > 3 && !first ? bench_number(argv[3]) : 0;

    if (!strcmp(what, "echo"))
        stay_on_one_processor();
    loop_open(argc > 3 ? argv + (first ? 3 : 4) : argv + argc);
    if (!strcmp(what, "spawn") && one && two) {
        run_spawn(one, two);
    } else if (!strcmp(what, "stall") && two) {
        bench_hold(one);
        bench_stall(two, call_start, settle_left, NULL);
    } else if (first && one) {
        bench_stall(one, call_first, settle_left, NULL);
    } else if (!strcmp(what, "echo") && two) {
        run_echo(one, two);
    } else {
        bench_fail("see the head of bench-loop.c for the arguments", 0);
    }
    loop_close();

    /* What still runs would share the processors with the next program. */
    while (wait(NULL) > 0)
        continue;
    return 0;
}
