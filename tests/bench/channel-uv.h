/* SPDX-License-Identifier: MIT
 *
 * How a libuv program sends to and reads from a process that echoes: the same for ours and the
 * peer, which differ in where the pipe comes from. Offers loop_send() and loop_end_echo().
 */
#ifndef CHANNEL_UV_H
#define CHANNEL_UV_H

#include <uv.h>

/* Of the process that echoes; is to be opened, and then started once. */
extern uv_pipe_t channel;
void channel_start(void);

/* A uv_alloc_cb: one buffer for all. */
void channel_buffer(uv_handle_t *pipe, size_t size, uv_buf_t *ret);

#endif
