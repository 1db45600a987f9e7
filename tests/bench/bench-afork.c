/* SPDX-License-Identifier: MIT
 *
 * A host on the core and its poll loop, as the benchmark measures it. It uses the public interface
 * only.
 *
 *     bench-afork spawn COUNT IN-FLIGHT   processes a second: new, run("CORE::exit"), end of file
 *     bench-afork confined COUNT IN-FLIGHT   the same from a template whose forks are limited: rlimits, files
 *     bench-afork unconfined COUNT IN-FLIGHT ... from one whose forks are not
 *     bench-afork exec COUNT              the same with new_exec, one at a time
 *     bench-afork stall-exec MB CALLS     us that one new_exec blocks a host that holds MB
 *     bench-afork stall-fork MB CALLS     us that one fork blocks it
 *     bench-afork memory COUNT            keeps COUNT idle workers until the end of its input
 *     bench-afork live COUNT CALLS        the same; us for one more worker to enter its function
 *     bench-afork latency COUNT PAUSE N   us from fork to the first octet of the function, COUNT times with
 *                                         PAUSE us between them, with N spares
 *     bench-afork spares COUNT            keeps COUNT spares until the end of its input
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <afork/afork.h>

#include "bench-leave.h"
#include "bench.h"

struct host {
    struct afork_poll *poll;
    struct afork_loop *loop;
    struct afork_context *context;
    struct afork_process *template; /* of what start_fork() starts */

    bench_start_func *start; /* of processes that leave at once */

    struct afork_process *called; /* what the call that is timed has started */
    int channel;                  /* of the last worker that stays */
};

struct channel {
    struct host *host;
    struct afork_io *io;
    int fd;
};

static int start_new(void *data, struct afork_process **ret)
{
    const struct host *host = data;
    return afork_process_new(host->context, ret);
}

static int start_exec(void *data, struct afork_process **ret)
{
    const struct host *host = data;
    return afork_process_new_exec(host->context, ret);
}

static int start_fork(void *data, struct afork_process **ret)
{
    const struct host *host = data;
    return afork_process_fork(host->template, ret);
}

/* ---- processes that leave at once ---- */

static void run_rate(struct host *host, size_t n, size_t in_flight)
{
    bench_leave(host->poll, host->start, host, 5, 1); /* the first executes the template */
    double start = bench_now();
    bench_leave(host->poll, host->start, host, n, in_flight);
    bench_print_rate(n, start);
}

/* ---- the time a call takes from the host ---- */

/* What the call left to the next turn of the loop counts too. */
static void call_start(void *data)
{
    struct host *host = data;
    bench_check("start", host->start(host, &host->called));
    bench_check("poll", afork_poll_turn(host->poll, 0));
}

static void on_exit_notice(struct afork_process *process, const struct afork_exit *exit, void *data)
{
    struct host *host = data;
    afork_poll_quit(host->poll);
}

/* The next call must not share the processors with what this one has started. */
static void settle_start(void *data)
{
    struct host *host = data;
    bench_check("on_exit", afork_process_on_exit(host->called, on_exit_notice, host));
    bench_check("run", afork_process_run(host->called, "CORE::exit", NULL, NULL));
    afork_process_unref(host->called);
    bench_check("poll", afork_poll_run(host->poll));
}

/* ---- workers that stay ---- */

static void on_idle(struct afork_process *process, int fd, const struct afork_exit *failure,
                    void *data)
{
    struct host *host = data;
    if (failure)
        bench_fail(*failure->message ? failure->message : "run", fd);
    host->channel = fd;
    afork_poll_quit(host->poll);
}

/* Returns when the worker has entered its function. */
static void start_idle(struct host *host, afork_exit_cb *cb)
{
    struct afork_process *process;

    bench_check("fork", afork_process_fork(host->template, &process));
    bench_check("on_exit", afork_process_on_exit(process, cb, host));
    bench_check("run", afork_process_run(process, "idle", on_idle, host));
    afork_process_unref(process);
    bench_check("poll", afork_poll_run(host->poll));
}

static void call_idle(void *data)
{
    start_idle(data, on_exit_notice);
}

static void settle_idle(void *data)
{
    struct host *host = data;
    close(host->channel);
    bench_check("poll", afork_poll_run(host->poll));
}

/* ---- the first octet ---- */

static void on_octet(unsigned events, void *data)
{
    struct channel *channel = data;
    char octet;

    if (read(channel->fd, &octet, 1) != 1)
        bench_fail("no octet", 0);
    afork_poll_quit(channel->host->poll);
}

static void on_started(struct afork_process *process, int fd, const struct afork_exit *failure,
                       void *data)
{
    struct channel *channel = data;

    if (failure)
        bench_fail(*failure->message ? failure->message : "run", fd);
    channel->fd = fd;
    struct afork_loop *loop = channel->host->loop;
    bench_check("io_new", loop->ops->io_new(loop, fd, AFORK_IN, on_octet, channel, &channel->io));
}

static double first_octet(struct host *host)
{
    struct channel channel = {.host = host};
    struct afork_process *process;

    double start = bench_now();
    bench_check("fork", afork_process_fork(host->template, &process));
    bench_check("run", afork_process_run(process, "octet", on_started, &channel));
    afork_process_unref(process);
    bench_check("poll", afork_poll_run(host->poll));
    double end = bench_now();
    host->loop->ops->io_free(channel.io);
    close(channel.fd);
    return end - start;
}

static void on_pause(void *data)
{
    struct host *host = data;
    afork_poll_quit(host->poll);
}

/* The loop goes on turning meanwhile. */
static void rest(struct host *host, struct afork_timer *timer, int64_t usec)
{
    host->loop->ops->timer_set(timer, usec);
    bench_check("poll", afork_poll_run(host->poll));
}

enum { SETTLE_USEC = 200 * 1000 };

static void run_latency(struct host *host, size_t n, size_t pause, size_t spares)
{
    double *samples = calloc(n, sizeof *samples);
    struct afork_timer *timer;

    bench_check("timer", host->loop->ops->timer_new(host->loop, on_pause, host, &timer));
    bench_check("eval",
                afork_process_eval(host->template, "sub octet { syswrite $_[0], 'x' }", NULL));
    bench_check("spares", afork_process_set_spares(host->template, (unsigned)spares));
    for (size_t i = 0; i < 5; i++)
        first_octet(host);
    rest(host, timer, SETTLE_USEC);
    for (size_t i = 0; i < n; i++) {
        samples[i] = first_octet(host);
        if (pause)
            rest(host, timer, (int64_t)pause);
    }
    bench_print_samples(samples, n);
    host->loop->ops->timer_free(timer);
    free(samples);
}

static void on_input(unsigned events, void *data)
{
    struct host *host = data;
    char octet;
    if (read(STDIN_FILENO, &octet, 1) == 0)
        afork_poll_quit(host->poll);
}

/* Until the end of the input. */
static void wait_for_input(struct host *host)
{
    struct afork_io *input;

    bench_check("io_new", host->loop->ops->io_new(host->loop, STDIN_FILENO, AFORK_IN, on_input,
                                                  host, &input));
    bench_check("poll", afork_poll_run(host->poll));
    host->loop->ops->io_free(input);
}

static void run_spares(struct host *host, size_t n)
{
    struct afork_timer *timer;

    bench_check("timer", host->loop->ops->timer_new(host->loop, on_pause, host, &timer));
    bench_check("eval", afork_process_eval(host->template,
                                           "sub idle { sysread $_[0], my $octet, 1 }", NULL));
    bench_check("spares", afork_process_set_spares(host->template, (unsigned)n));
    rest(host, timer, SETTLE_USEC);
    puts("ready");
    fflush(stdout);
    wait_for_input(host);
    host->loop->ops->timer_free(timer);
}

/* The channels of the workers stay open until the program ends. */
static void run_idle(struct host *host, size_t n, size_t calls)
{
    struct rlimit files = {0};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);

    bench_check("eval", afork_process_eval(host->template,
                                           "sub idle { sysread $_[0], my $octet, 1 }", NULL));
    while (n--)
        start_idle(host, NULL);
    if (calls)
        bench_stall(calls, call_idle, settle_idle, host);
    else
        puts("ready");
    fflush(stdout);
    wait_for_input(host);
}

/* ---- a template whose forks are limited ---- */

static void limit_forks(struct host *host)
{
    static const char *const readable[] = {"/usr", "/etc", NULL}, *const writable[] = {"/tmp",
                                                                                       NULL};
    struct afork_limits limits = AFORK_LIMITS_INIT;

    limits.memory = UINT64_C(1) << 30;
    limits.cpu_seconds = 60;
    limits.file_size = UINT64_C(1) << 30;
    limits.open_files = 64;
    limits.read_paths = readable;
    limits.write_paths = writable;
    limits.forks_only = true;
    bench_check("set_limits", afork_process_set_limits(host->template, &limits));
}

/* ---- */

static void open_host(struct host *host)
{
    bench_check("poll", afork_poll_new(&host->poll));
    host->loop = afork_poll_loop(host->poll);
    bench_check("context", afork_context_new(host->loop, NULL, &host->context));
    bench_check("template", afork_process_new(host->context, &host->template));
}

static void close_host(struct host *host)
{
    afork_process_unref(host->template);
    afork_context_close(host->context);
    afork_poll_free(host->poll);
}

static void run_stall(struct host *host, size_t megabytes, size_t calls)
{
    bench_hold(megabytes);
    bench_stall(calls, call_start, settle_start, host);
}

int main(int argc, char **argv)
{
    struct host host = {0};
    const char *what = argc > 2 ? argv[1] : "";
    size_t first = argc > 2 ? bench_number(argv[2]) : 0;
    size_t second = argc > 3 ? bench_number(argv[3]) : 0;

    open_host(&host);
    host.start = strstr(what, "exec")                               ? start_exec
                 : strstr(what, "fork") || strstr(what, "confined") ? start_fork
                                                                    : start_new;
    if (!strcmp(what, "confined"))
        limit_forks(&host);
    if (!strcmp(what, "spawn") || strstr(what, "confined"))
        run_rate(&host, first, second);
    else if (!strcmp(what, "exec"))
        run_rate(&host, first, 1);
    else if (!strncmp(what, "stall-", 6))
        run_stall(&host, first, second);
    else if (!strcmp(what, "memory") || !strcmp(what, "live"))
        run_idle(&host, first, second);
    else if (!strcmp(what, "latency") && argc > 4)
        run_latency(&host, first, second, bench_number(argv[4]));
    else if (!strcmp(what, "spares"))
        run_spares(&host, first);
    else
        bench_fail("see the head of bench-afork.c for the arguments", 0);
    close_host(&host);
    return 0;
}
