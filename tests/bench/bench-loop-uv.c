/* SPDX-License-Identifier: MIT
 *
 * The loop on libuv. A channel is the pipe that afork_uv_run() opened.
 */
#include <afork/afork-uv.h>

#include "bench-loop-host.h"
#include "bench.h"
#include "channel-uv.h"

static uv_loop_t uv;
static struct afork_uv_loop *adapter;

struct afork_loop *host_open_loop(void)
{
    loop_check("uv_loop_init", uv_loop_init(&uv));
    loop_check("loop", afork_uv_loop_new(&uv, &adapter));
    return afork_uv_loop_get(adapter);
}

void host_close_loop(void)
{
    afork_uv_loop_free(adapter);
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

static void on_entered(struct afork_process *process, uv_pipe_t *pipe, int status,
                       const struct afork_exit *failure, void *data)
{
    host_check_entered(status, failure);
    channel_start();
    host_is_open();
}

void host_run(struct afork_process *process, const char *function)
{
    loop_check("run", afork_uv_run(process, function, &channel, on_entered, NULL));
}
