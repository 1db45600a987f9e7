/* SPDX-License-Identifier: MIT
 *
 * A uv_pipe_t that is read into one buffer, and written by uv_write().
 */
#include "channel-uv.h"

#include <stdlib.h>

#include "bench-loop.h"
#include "bench.h"

uv_pipe_t channel;

void channel_buffer(uv_handle_t *pipe, size_t size, uv_buf_t *ret)
{
    static char buffer[LOOP_BUFFER];
    *ret = uv_buf_init(buffer, sizeof buffer);
}

static void on_read(uv_stream_t *pipe, ssize_t n, const uv_buf_t *buffer)
{
    if (n < 0)
        bench_fail("read", (int)n);
    if (n > 0)
        loop_got((size_t)n);
}

void channel_start(void)
{
    loop_check("uv_read_start", uv_read_start((uv_stream_t *)&channel, channel_buffer, on_read));
}

static void on_written(uv_write_t *request, int status)
{
    loop_check("uv_write", status);
    free(request);
}

void loop_send(const char *data, size_t len)
{
    uv_buf_t buffer = uv_buf_init((char *)data, (unsigned)len);
    uv_write_t *request = malloc(sizeof *request);

    if (!request)
        bench_fail("request", UV_ENOMEM);
    loop_check("uv_write", uv_write(request, (uv_stream_t *)&channel, &buffer, 1, on_written));
}

void loop_end_echo(void)
{
    uv_close((uv_handle_t *)&channel, NULL);
}
