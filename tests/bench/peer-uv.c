/* SPDX-License-Identifier: MIT
 *
 * The peer libuv: processes by uv_spawn(), a socket by uv_pipe_open(). The arguments are those of
 * bench-loop.c, with a command at the end.
 */
#include <stdlib.h>
#include <uv.h>

#include "bench-loop.h"
#include "bench.h"
#include "channel-uv.h"

struct child {
    uv_process_t process;
    uv_pipe_t output; /* if it talks */
    int n_open;       /* handles of the two that are not closed yet */
};

static uv_loop_t uv;
static char **command;

void loop_open(char **arguments)
{
    command = arguments;
    loop_check("uv_loop_init", uv_loop_init(&uv));
}

void loop_close(void)
{
    uv_run(&uv, UV_RUN_DEFAULT);
    loop_check("uv_loop_close", uv_loop_close(&uv));
}

void loop_run(void)
{
    uv_run(&uv, UV_RUN_DEFAULT);
}

void loop_turn(void)
{
    uv_run(&uv, UV_RUN_NOWAIT);
}

void loop_quit(void)
{
    uv_stop(&uv);
}

/* ---- processes that leave ---- */

static void on_closed(uv_handle_t *handle)
{
    struct child *child = handle->data;

    if (--child->n_open)
        return;
    free(child);
    loop_left();
}

static void on_exit_status(uv_process_t *process, int64_t status, int signal)
{
    if (status || signal)
        bench_fail("a child failed", 0);
    uv_close((uv_handle_t *)process, on_closed);
}

static void on_output(uv_stream_t *output, ssize_t n, const uv_buf_t *buffer)
{
    if (n > 0)
        loop_got((size_t)n);
    else if (n < 0)
        uv_close((uv_handle_t *)output, on_closed);
}

void loop_start(bool talks)
{
    struct child *child = calloc(1, sizeof *child);
    if (!child)
        bench_fail("child", UV_ENOMEM);
    uv_stdio_container_t stdio[] = {
        {.flags = UV_INHERIT_FD, .data.fd = 0},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&child->output},
        {.flags = UV_INHERIT_FD, .data.fd = 2},
    };
    const uv_process_options_t options = {.exit_cb = on_exit_status,
                                          .file = command[0],
                                          .args = command,
                                          .stdio_count = talks ? 3 : 0,
                                          .stdio = talks ? stdio : NULL};

    child->n_open = talks ? 2 : 1;
    child->process.data = child->output.data = child;
    if (talks)
        uv_pipe_init(&uv, &child->output, 0);
    loop_check("uv_spawn", uv_spawn(&uv, &child->process, &options));
    if (talks)
        loop_check("uv_read_start",
                   uv_read_start((uv_stream_t *)&child->output, channel_buffer, on_output));
}

/* ---- the process that echoes ---- */

void loop_start_echo(void)
{
    uv_pipe_init(&uv, &channel, 0);
    loop_check("uv_pipe_open", uv_pipe_open(&channel, bench_start_on_socket(command)));
    channel_start();
}
