/* SPDX-License-Identifier: MIT
 *
 * lines [CODE]: a Perl worker runs CODE for each line of standard input, which is in $_, and what
 * it prints is printed. The exit status is the worker's.
 *
 * Each direction has one buffer. The next input is read when the worker has taken the last, and the
 * next answers are read when the last are printed: whoever is slow slows the others down, and
 * nothing piles up.
 */
#include <afork/afork-uv.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char worker_code[] = "sub answer {\n"
                                  "    my ($host, $code) = @_;\n"
                                  "    my $answer = eval \"sub { $code }\" or die $@;\n"
                                  "    select $host;\n"
                                  "    $| = 1;\n"
                                  "    $answer->() while <$host>;\n"
                                  "}\n";

static uv_loop_t uv;
static uv_pipe_t worker;
static bool ended; /* the worker is */
static int status = 1;
static bool output_failed;

static uv_fs_t input, output;
static uv_write_t feeding;
static uv_shutdown_t end_of_input;
static char in[65536], out[65536];
static uv_buf_t answer; /* the part of `out` that is not printed yet */

static void close_worker(void)
{
    if (!uv_is_closing((uv_handle_t *)&worker))
        uv_close((uv_handle_t *)&worker, NULL);
    if (ended)
        uv_stop(&uv); /* even if standard input has more */
}

/* ---- from standard input to the worker ---- */

static void on_input(uv_fs_t *request);

static void on_fed(uv_write_t *request, int result)
{
    uv_buf_t buffer = uv_buf_init(in, sizeof in);
    if (result == 0) /* else it has ended: on_exit() tells */
        uv_fs_read(&uv, &input, STDIN_FILENO, &buffer, 1, -1, on_input);
}

static void on_shut(uv_shutdown_t *request, int result)
{
}

static void on_input(uv_fs_t *request)
{
    uv_buf_t buffer = uv_buf_init(in, request->result > 0 ? (unsigned)request->result : 0);
    uv_fs_req_cleanup(request);
    if (uv_is_closing((uv_handle_t *)&worker))
        return;
    if (buffer.len)
        uv_write(&feeding, (uv_stream_t *)&worker, &buffer, 1, on_fed);
    else
        uv_shutdown(&end_of_input, (uv_stream_t *)&worker, on_shut);
}

/* ---- from the worker to standard output ---- */

static void on_answer(uv_stream_t *stream, ssize_t got, const uv_buf_t *buffer);

static void give_buffer(uv_handle_t *handle, size_t size, uv_buf_t *buffer)
{
    *buffer = uv_buf_init(out, sizeof out);
}

static void on_printed(uv_fs_t *request)
{
    ssize_t put = request->result;
    uv_fs_req_cleanup(request);
    if (put < 0) {
        fprintf(stderr, "lines: standard output: %s\n", uv_strerror((int)put));
        output_failed = true;
        close_worker();
        return;
    }
    answer = uv_buf_init(answer.base + put, (unsigned)(answer.len - (size_t)put));
    if (answer.len)
        uv_fs_write(&uv, &output, STDOUT_FILENO, &answer, 1, -1, on_printed);
    else
        uv_read_start((uv_stream_t *)&worker, give_buffer, on_answer);
}

static void on_answer(uv_stream_t *stream, ssize_t got, const uv_buf_t *buffer)
{
    if (got < 0)
        close_worker();
    if (got <= 0)
        return;
    uv_read_stop(stream);
    answer = uv_buf_init(buffer->base, (unsigned)got);
    uv_fs_write(&uv, &output, STDOUT_FILENO, &answer, 1, -1, on_printed);
}

/* ---- the worker ---- */

static void on_entered(struct afork_process *process, uv_pipe_t *pipe, int result,
                       const struct afork_exit *failure, void *data)
{
    if (result < 0) {
        fprintf(stderr, "lines: %s: %s\n", uv_strerror(result), failure ? failure->message : "");
        close_worker();
        return;
    }
    uv_read_start((uv_stream_t *)pipe, give_buffer, on_answer);
    on_fed(&feeding, 0);
}

static void on_exit_notice(struct afork_process *process, const struct afork_exit *exit, void *data)
{
    ended = true;
    status = exit->cause == AFORK_CAUSE_SIGNALLED ? 128 + exit->status
             : exit->cause == AFORK_CAUSE_EXITED  ? exit->status
                                                  : 1;
    if (uv_is_closing((uv_handle_t *)&worker))
        close_worker();
}

int main(int argc, char **argv)
{
    const char *code = argc > 1 ? argv[1] : "print join(' ', sort split), \"\\n\"";
    struct afork_uv_loop *loop;
    struct afork_context *context;
    struct afork_process *process;
    int result;

    signal(SIGPIPE, SIG_IGN); /* libuv writes with it */
    if ((result = uv_loop_init(&uv)) < 0 || (result = afork_uv_loop_new(&uv, &loop)) < 0 ||
        (result = afork_context_new(afork_uv_loop_get(loop), NULL, &context)) < 0 ||
        (result = afork_process_new(context, &process)) < 0) {
        fprintf(stderr, "lines: %s\n", uv_strerror(result));
        return 1;
    }
    afork_process_eval(process, worker_code, NULL);
    afork_process_send_arg(process, code, strlen(code));
    afork_process_on_exit(process, on_exit_notice, NULL);
    if (afork_uv_run(process, "answer", &worker, on_entered, NULL) < 0)
        return 1;
    afork_process_unref(process); /* what was asked for still happens */

    uv_run(&uv, UV_RUN_DEFAULT);
    if (output_failed)
        status = 1;
    afork_context_close(context);
    afork_uv_loop_free(loop);
    uv_run(&uv, UV_RUN_NOWAIT); /* libuv lets go of what was closed */
    if (uv_loop_close(&uv) == UV_EBUSY)
        _exit(status); /* a thread of libuv's still waits for input, and cannot be told not to */
    return status;
}
