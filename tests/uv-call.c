/* SPDX-License-Identifier: MIT
 *
 * The calls of uv-call.h.
 */
#include "uv-call.h"

#include <string.h>

uv_loop_t *uv_call_loop(struct test *t)
{
    return t->loop_self;
}

void uv_call_on_run(struct afork_process *process, uv_pipe_t *pipe, int status,
                    const struct afork_exit *failure, void *data)
{
    struct uv_call *call = data;

    g_assert_true(pipe == &call->pipe);
    g_assert_true(!failure || status < 0);
    call->calls++;
    call->status = status;
    if (failure) {
        call->cause = failure->cause;
        g_strlcpy(call->message, failure->message, sizeof call->message);
    }
    if (call->action)
        call->action(call);
}

void uv_call_on_closed(uv_handle_t *handle)
{
    struct uv_call *call = (struct uv_call *)handle; /* its first member */
    call->closes++;
}

void uv_call_close(struct uv_call *call)
{
    uv_close((uv_handle_t *)&call->pipe, uv_call_on_closed);
}

void uv_call_start(struct uv_call *call, struct afork_process *process, const char *function)
{
    call->process = process;
    test_ok(afork_uv_run(process, function, &call->pipe, uv_call_on_run, call));
    g_assert_cmpuint(call->calls, ==, 0);
}

static void allocate(uv_handle_t *handle, size_t size, uv_buf_t *buffer)
{
    *buffer = uv_buf_init(g_malloc(size), (unsigned)size);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buffer)
{
    struct uv_call *call = (struct uv_call *)stream;

    if (got > 0)
        g_string_append_len(call->text, buffer->base, got);
    g_free(buffer->base);
    if (got >= 0)
        return;
    g_assert_cmpint(got, ==, UV_EOF);
    call->ended = true;
    if (call->on_end)
        call->on_end(call);
}

void uv_call_read(struct uv_call *call)
{
    g_assert_cmpint(call->status, ==, 0);
    call->text = g_string_new("");
    test_ok(uv_read_start((uv_stream_t *)&call->pipe, allocate, on_read));
}

static void on_shut(uv_shutdown_t *shut, int status)
{
    g_assert_cmpint(status, ==, 0);
    g_free(shut);
}

static void on_written(uv_write_t *write, int status)
{
    g_assert_cmpint(status, ==, 0);
    g_free(write);
}

void uv_call_say_hello(struct uv_call *call)
{
    uv_stream_t *stream = (uv_stream_t *)&call->pipe;
    uv_buf_t buffer = uv_buf_init((char *)"hello\n", 6);

    uv_call_read(call);
    test_ok(uv_write(g_new0(uv_write_t, 1), stream, &buffer, 1, on_written));
    test_ok(uv_shutdown(g_new0(uv_shutdown_t, 1), stream, on_shut));
}

void uv_call_finish(struct test *t, struct uv_call *call)
{
    if (!uv_is_closing((uv_handle_t *)&call->pipe))
        uv_call_close(call);
    test_wait(t, call->closes);
    g_assert_cmpuint(call->closes, ==, 1);
    if (call->text)
        g_string_free(call->text, TRUE);
}
