/* SPDX-License-Identifier: MIT
 *
 * A channel as a program on each kind of loop has it: a plain descriptor, libev's two watchers, a
 * uv_pipe_t, a GSocketConnection. The tests of test-channel.c are written over this and run
 * unchanged for every kind; channel-*.c are the kinds.
 */
#ifndef TEST_CHANNEL_H
#define TEST_CHANNEL_H

#include "test-lib.h"

struct test_channel {
    const struct test_channel_type *type;
    struct test *t;
    bool opened;          /* the function was entered: the channel is there */
    bool ended;           /* end of file was read */
    int error;            /* negative errno of the run, of a read or of a write; else 0 */
    size_t unwritten;     /* octets that were given to write() and not taken by the kernel yet */
    GByteArray *received; /* all that was read so far */

    /* Called from the loop when one of the above changed; NULL: nobody wants to know. It may call
     * close(). */
    void (*news)(struct test_channel *channel);
    void *data; /* of the test */
};

struct test_channel_type {
    const char *name;
    const struct test_loop_type *loop;

    /* Tells `process` to run `function`. The channel is released by close(). It does not read
     * before it is told to. */
    struct test_channel *(*run)(struct test *t, struct afork_process *process,
                                const char *function);

    /* The descriptor, for socket options; once it is open. */
    int (*get_fd)(struct test_channel *channel);

    /* Starts or stops to read; once it is open. */
    void (*read)(struct test_channel *channel, bool on);

    /* Queues a copy of `data` after what is queued already; once it is open. */
    void (*write)(struct test_channel *channel, const void *data, size_t len);

    /* Ends the direction to the worker, after all that was queued was written. */
    void (*shut)(struct test_channel *channel);

    /* Closes and releases it, whatever is under way; also before it is open. Where the loop needs
     * more turns for that, it may take them. */
    void (*close)(struct test_channel *channel);
};

extern const struct test_channel_type test_channel_poll, test_channel_foreign, test_channel_glib,
    test_channel_ev, test_channel_uv;

#endif
