/* SPDX-License-Identifier: MIT
 *
 * The peer libuv: `peer-uv MB CALLS COMMAND...` prints the us until uv_spawn() returned.
 */
#include <uv.h>

#include "bench.h"

struct call {
    char **command;
    uv_loop_t *loop;
    uv_process_t process;
};

static void on_exit_status(uv_process_t *process, int64_t status, int signal)
{
    if (status || signal)
        bench_fail("a child failed", 0);
    uv_close((uv_handle_t *)process, NULL);
}

static void call(void *data)
{
    struct call *self = data;
    const uv_process_options_t options = {
        .exit_cb = on_exit_status, .file = self->command[0], .args = self->command};

    int error = uv_spawn(self->loop, &self->process, &options);
    if (error < 0)
        bench_fail("uv_spawn", error);
}

static void settle(void *data)
{
    struct call *self = data;
    uv_run(self->loop, UV_RUN_DEFAULT);
}

int main(int argc, char **argv)
{
    if (argc < 4)
        bench_fail("arguments: MB CALLS COMMAND...", 0);
    bench_hold(bench_number(argv[1]));
    bench_stall(bench_number(argv[2]), call, settle,
                &(struct call){.command = argv + 3, .loop = uv_default_loop()});
    return uv_loop_close(uv_default_loop()) < 0;
}
