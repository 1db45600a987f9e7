/* SPDX-License-Identifier: MIT
 *
 * Calls and pools of a host on the core and its poll loop, as the benchmark measures them. It uses
 * the public interface only.
 *
 *     bench-rpc echo COUNT SIZE IN-FLIGHT   calls a second of a function that returns its
 *                                           argument, a string of SIZE octets
 *     bench-rpc pool COUNT LOAD FUNCTION    jobs a second of a pool of two workers, which is given
 *                                           20,000 at once; FUNCTION is `empty`, or `burn`, which
 *                                           needs 1 ms of processor time
 *     bench-rpc single COUNT IN-FLIGHT      the same of one where each job has a process of its own
 *     bench-rpc fork COUNT IN-FLIGHT        processes a second that are forked from the same
 *                                           template, run CORE::exit, and end
 *
 * Behind them is printed the us of processor time that this process needed for each.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <unistd.h>

#include <afork/afork.h>

#include "bench-leave.h"
#include "bench.h"

enum {
    WORKERS = 2,
    BATCH = 20000, /* jobs that a pool is given at once */
    LONG = 65536,  /* octets from which on a string is not copied for each call */
};

static const char functions[] = "sub echo { @_ } sub empty { () }";

/* Apart, since a process that has loaded a module in C does not end as fast. */
static const char burn[] = "use Time::HiRes ();"
                           "sub burn {"
                           "    my $end = Time::HiRes::clock() + 0.001;"
                           "    1 while Time::HiRes::clock() < $end;"
                           "    ();"
                           "}";

struct host {
    struct afork_poll *poll;
    struct afork_loop *loop;
    struct afork_context *context;
    struct afork_process *template;

    struct afork_rpc *rpc;
    struct iovec string; /* of a call */
    void *packed;        /* the same */
    size_t packed_len;

    struct afork_pool *pool;
    size_t to_start, to_come;
};

/* Does `work` for a while, and then as often as is counted. */
static void measure(struct host *host, size_t n, void (*work)(struct host *host, size_t in_flight),
                    size_t in_flight)
{
    host->to_start = host->to_come = n / 10 + 2 * in_flight;
    work(host, in_flight);
    double start = bench_now(), cpu = bench_cpu();
    host->to_start = host->to_come = n;
    work(host, in_flight);
    bench_print_calls(n, start, cpu);
}

/* Until so many of those that are counted are left to come. */
static void wait_until_left(struct host *host, size_t left)
{
    while (host->to_come > left) {
        int result = afork_poll_turn(host->poll, -1);
        if (result != -EINTR)
            bench_check("poll", result);
    }
}

/* ---- calls of one worker ---- */

static void call_next(struct host *host);

static void on_echo(const struct afork_reply *reply, void *data)
{
    struct host *host = data;
    struct afork_strings list = {reply->data, reply->len};
    const void *string;
    size_t len;

    bench_check(reply->message, reply->error);
    if (afork_strings_next(&list, &string, &len) != 1 || len != host->string.iov_len)
        bench_fail("not what was sent", 0);
    host->to_come--;
    if (host->to_start)
        call_next(host);
}

static void keep(void *data)
{
}

static void call_next(struct host *host)
{
    host->to_start--;
    if (host->string.iov_len < LONG)
        bench_check("call",
                    afork_rpc_call_strings(host->rpc, &host->string, 1, NULL, on_echo, host, NULL));
    else
        bench_check("call", afork_rpc_call_take(host->rpc, host->packed, host->packed_len, keep,
                                                NULL, NULL, on_echo, host, NULL));
}

static void call_all(struct host *host, size_t in_flight)
{
    while (host->to_start && in_flight--)
        call_next(host);
    wait_until_left(host, 0);
}

static void run_echo(struct host *host, size_t n, size_t size, size_t in_flight)
{
    struct afork_rpc_options options = AFORK_RPC_OPTIONS_INIT;
    struct afork_process *process;

    host->string = (struct iovec){.iov_base = malloc(size + 1), .iov_len = size};
    if (!host->string.iov_base)
        bench_fail("string", ENOMEM);
    memset(host->string.iov_base, 'x', size);
    bench_check("pack", afork_strings_pack(&host->string, 1, &host->packed, &host->packed_len));
    bench_check("fork", afork_process_fork(host->template, &process));
    bench_check("rpc", afork_rpc_new(process, "echo", &options, &host->rpc));
    measure(host, n, call_all, in_flight);
    afork_rpc_close(host->rpc);
    afork_rpc_unref(host->rpc);
    afork_process_unref(process);
    free(host->string.iov_base);
    free(host->packed);
}

/* ---- pools ---- */

static void on_job(const struct afork_reply *reply, void *data)
{
    struct host *host = data;

    bench_check(reply->message, reply->error);
    host->to_come--;
}

static void give_all(struct host *host, size_t in_flight)
{
    while (host->to_start) {
        for (size_t n = MIN(host->to_start, BATCH); n; n--, host->to_start--)
            bench_check("call",
                        afork_pool_call_strings(host->pool, NULL, 0, NULL, on_job, host, NULL));
        wait_until_left(host, host->to_start);
    }
}

static void run_pool(struct host *host, size_t n, const char *function,
                     const struct afork_pool_options *options)
{
    bench_check("pool", afork_pool_new(host->template, function, options, &host->pool));
    measure(host, n, give_all, options->load);
    afork_pool_close(host->pool);
    afork_pool_unref(host->pool);
}

static void run_jobs(struct host *host, size_t n, size_t load, const char *function)
{
    struct afork_pool_options options = AFORK_POOL_OPTIONS_INIT;

    if (!strcmp(function, "burn"))
        bench_check("eval", afork_process_eval(host->template, burn, NULL));
    options.max = options.idle = WORKERS;
    options.load = (unsigned)load;
    options.start = -1;
    run_pool(host, n, function, &options);
}

static void run_single(struct host *host, size_t n, size_t in_flight)
{
    struct afork_pool_options options = AFORK_POOL_OPTIONS_INIT;

    options.max = (unsigned)in_flight;
    options.start = -1;
    options.single_call = true;
    run_pool(host, n, "empty", &options);
}

/* ---- processes that leave at once ---- */

static int start_fork(void *data, struct afork_process **ret)
{
    return afork_process_fork(((struct host *)data)->template, ret);
}

static void run_leaving(struct host *host, size_t in_flight)
{
    bench_leave(host->poll, start_fork, host, host->to_start, in_flight);
}

/* ---- */

static void open_host(struct host *host)
{
    bench_check("poll", afork_poll_new(&host->poll));
    host->loop = afork_poll_loop(host->poll);
    bench_check("context", afork_context_new(host->loop, NULL, &host->context));
    bench_check("template", afork_process_new(host->context, &host->template));
    bench_check("eval", afork_process_eval(host->template, functions, NULL));
}

static void close_host(struct host *host)
{
    afork_process_unref(host->template);
    afork_context_close(host->context);
    afork_poll_free(host->poll);
}

int main(int argc, char **argv)
{
    struct host host = {0};
    const char *what = argc > 3 ? argv[1] : "";
    size_t n = argc > 3 ? bench_number(argv[2]) : 0;
    size_t second = argc > 3 ? bench_number(argv[3]) : 0;

    open_host(&host);
    if (!strcmp(what, "echo") && argc > 4)
        run_echo(&host, n, second, bench_number(argv[4]));
    else if (!strcmp(what, "pool") && argc > 4)
        run_jobs(&host, n, second, argv[4]);
    else if (!strcmp(what, "single"))
        run_single(&host, n, second);
    else if (!strcmp(what, "fork"))
        measure(&host, n, run_leaving, second);
    else
        bench_fail("see the head of bench-rpc.c for the arguments", 0);
    close_host(&host);
    return 0;
}
