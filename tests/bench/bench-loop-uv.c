/* SPDX-License-Identifier: MIT
 *
 * A host on libuv, as the benchmark measures it: what bench-afork does on the poll loop, and what
 * libuv does by itself.
 *
 *     bench-loop-uv spawn COUNT IN-FLIGHT      processes a second: new, run("CORE::exit"), end of
 *     file bench-loop-uv uv_spawn COUNT COMMAND...  the same with uv_spawn(), one at a time
 */
#include <afork/afork-uv.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

struct host {
    uv_loop_t uv;
    struct afork_context *context;
    size_t to_start;
    char **command;
    uv_process_t child;
};

static void check(const char *what, int result)
{
    if (result < 0)
        bench_fail(what, result);
}

static void start_next(struct host *host);

static void on_closed(uv_handle_t *pipe)
{
    struct host *host = pipe->data;

    free(pipe);
    if (host->to_start)
        start_next(host);
}

static void give_buffer(uv_handle_t *pipe, size_t size, uv_buf_t *buffer)
{
    static char octets[64];
    *buffer = uv_buf_init(octets, sizeof octets);
}

static void on_read(uv_stream_t *pipe, ssize_t got, const uv_buf_t *buffer)
{
    if (got > 0)
        bench_fail("a worker wrote", 0);
    if (got < 0)
        uv_close((uv_handle_t *)pipe, on_closed);
}

static void on_entered(struct afork_process *process, uv_pipe_t *pipe, int status,
                       const struct afork_exit *failure, void *data)
{
    if (status < 0)
        bench_fail(failure ? failure->message : "run", status);
    check("read", uv_read_start((uv_stream_t *)pipe, give_buffer, on_read));
}

static void start_next(struct host *host)
{
    struct afork_process *process;
    uv_pipe_t *pipe = malloc(sizeof *pipe);

    if (!pipe)
        bench_fail("pipe", UV_ENOMEM);
    host->to_start--;
    pipe->data = host;
    check("start", afork_process_new(host->context, &process));
    check("run", afork_uv_run(process, "CORE::exit", pipe, on_entered, NULL));
    afork_process_unref(process);
}

static void start_all(struct host *host, size_t n, size_t in_flight)
{
    host->to_start = n;
    while (host->to_start && in_flight--)
        start_next(host);
    uv_run(&host->uv, UV_RUN_DEFAULT);
}

static void run_afork(struct host *host, size_t n, size_t in_flight)
{
    struct afork_uv_loop *loop;

    check("loop", afork_uv_loop_new(&host->uv, &loop));
    check("context", afork_context_new(afork_uv_loop_get(loop), NULL, &host->context));
    start_all(host, 5, 1); /* the first executes the template */
    double start = bench_now();
    start_all(host, n, in_flight);
    bench_print_rate(n, start);
    afork_context_close(host->context);
    afork_uv_loop_free(loop);
    uv_run(&host->uv, UV_RUN_DEFAULT);
}

static void spawn_next(uv_handle_t *child);

static void on_exit_status(uv_process_t *child, int64_t status, int signal)
{
    if (status || signal)
        bench_fail("a child failed", 0);
    uv_close((uv_handle_t *)child, spawn_next);
}

static void spawn_next(uv_handle_t *child)
{
    struct host *host = child->data;
    const uv_process_options_t options = {
        .exit_cb = on_exit_status, .file = host->command[0], .args = host->command};

    if (!host->to_start)
        return;
    host->to_start--;
    check("uv_spawn", uv_spawn(&host->uv, (uv_process_t *)child, &options));
}

static void run_uv_spawn(struct host *host, size_t n)
{
    double start = bench_now();

    host->to_start = n;
    host->child.data = host;
    spawn_next((uv_handle_t *)&host->child);
    uv_run(&host->uv, UV_RUN_DEFAULT);
    bench_print_rate(n, start);
}

int main(int argc, char **argv)
{
    struct host host = {0};

    if (argc < 4)
        bench_fail("see the head of bench-loop-uv.c for the arguments", 0);
    check("uv_loop_init", uv_loop_init(&host.uv));
    host.command = argv + 3;
    if (!strcmp(argv[1], "spawn"))
        run_afork(&host, bench_number(argv[2]), bench_number(argv[3]));
    else
        run_uv_spawn(&host, bench_number(argv[2]));
    check("uv_loop_close", uv_loop_close(&host.uv));
    return 0;
}
