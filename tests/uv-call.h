/* SPDX-License-Identifier: MIT
 *
 * One afork_uv_run() and what came of it, for the tests of the libuv adapter.
 */
#ifndef UV_CALL_H
#define UV_CALL_H

#include <afork/afork-uv.h>

#include "test-lib.h"

struct uv_call {
    uv_pipe_t pipe; /* first: a handle's callback takes the call from it */
    struct afork_process *process;
    unsigned calls, closes; /* of the callback, of the close callback */
    int status;
    enum afork_cause cause; /* if it was a failure */
    char message[256];
    void (*action)(struct uv_call *call); /* in the callback */
    GString *text;                        /* read from the pipe */
    bool ended;                           /* the end was read, too */
    void (*on_end)(struct uv_call *call); /* then */
};

/* The loop of a test on test_loop_uv. */
uv_loop_t *uv_call_loop(struct test *t);

/* The callbacks of afork_uv_run() and uv_close(). */
void uv_call_on_run(struct afork_process *process, uv_pipe_t *pipe, int status,
                    const struct afork_exit *failure, void *call);
void uv_call_on_closed(uv_handle_t *pipe);

void uv_call_start(struct uv_call *call, struct afork_process *process, const char *function);
void uv_call_close(struct uv_call *call);

/* Reads what comes, to the end. */
void uv_call_read(struct uv_call *call);

/* Writes a line, ends the direction, and reads. */
void uv_call_say_hello(struct uv_call *call);

/* Closes the pipe, if it is not yet, and turns the loop until it is. */
void uv_call_finish(struct test *t, struct uv_call *call);

#endif
