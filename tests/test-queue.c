/* SPDX-License-Identifier: MIT
 *
 * The outgoing queue: its octets and descriptors in order, however they are cut; how messages are
 * formed for the two kinds of peers; and that nothing of what is dropped stays open.
 */
#include "queue.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "fdpass.h"
#include "test-lib.h"
#include "util.h"

enum { NO_LIMIT = 1 << 30 };

static void make_pair(int type, int pair[2])
{
    test_ok(socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair));
}

static int file_of_size(unsigned n)
{
    int fd = memfd_create("test", MFD_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    test_ok(ftruncate(fd, n));
    return fd;
}

static unsigned size_of_file(int fd)
{
    struct stat st;

    test_ok(fstat(fd, &st));
    return (unsigned)st.st_size;
}

/* Where messages keep their borders: the next one has this many octets and descriptors. */
static void assert_message(int socket, size_t size, size_t n_fds)
{
    struct afork__fd_queue fds = {0};
    uint8_t data[256];

    g_assert_cmpint(afork__fd_receive(socket, data, sizeof data, &fds, 0), ==, (gssize)size);
    g_assert_cmpuint(fds.count, ==, n_fds);
    afork__fd_queue_clear(&fds);
}

static void fill(struct afork__queue *queue)
{
    struct iovec string = {NULL, 0};

    test_ok(afork__queue_strings(queue, AFORK__ARGS, &string, 1));   /* 6 octets */
    test_ok(afork__queue_handle(queue, file_of_size(0)));            /* 5, 1 */
    test_ok(afork__queue_handle(queue, file_of_size(0)));            /* 5, 1 */
    test_ok(afork__queue_fork(queue, file_of_size(0), -1, 42, 0));   /* 5, 1, 5 and 9 */
    test_ok(afork__queue_command(queue, AFORK__RUN, "function", 8)); /* 13 */
}

static void messages_to_an_original(struct test *t)
{
    struct afork__queue queue;
    int pair[2];

    make_pair(SOCK_SEQPACKET, pair);
    afork__queue_init(&queue, true);
    fill(&queue);
    g_assert_cmpint(afork__queue_send(&queue, pair[0], NO_LIMIT), ==, 1);
    assert_message(pair[1], 6 + 5, 0);
    assert_message(pair[1], 1, 1); /* each descriptor alone with its octet */
    assert_message(pair[1], 5, 0);
    assert_message(pair[1], 1, 1);
    assert_message(pair[1], 5, 0);
    assert_message(pair[1], 1, 1);
    assert_message(pair[1], 5 + 13, 0); /* fork without an identity */
    afork__close(&pair[0]);
    afork__close(&pair[1]);
}

static void messages_to_our_own(struct test *t)
{
    struct afork__queue queue;
    int pair[2];

    make_pair(SOCK_SEQPACKET, pair);
    afork__queue_init(&queue, false);
    fill(&queue);
    g_assert_cmpint(afork__queue_send(&queue, pair[0], NO_LIMIT), ==, 1);
    assert_message(pair[1], 6 + 6 + 6 + 6 + 14 + 13, 3); /* all at once */
    test_ok(afork__queue_fork(&queue, file_of_size(0), file_of_size(0), 42, 0));
    g_assert_cmpint(afork__queue_send(&queue, pair[0], NO_LIMIT), ==, 1);
    assert_message(pair[1], 6 + 6 + 14, 2); /* with its standard error */
    afork__close(&pair[0]);
    afork__close(&pair[1]);
}

/* Reads what there is; each 'h' must find its descriptor there. */
struct reader {
    int socket;
    GByteArray *octets;
    struct afork__fd_queue fds;
};

static void read_some(struct reader *reader)
{
    uint8_t data[8192];
    ssize_t got;

    while ((got = afork__fd_receive(reader->socket, data, sizeof data, &reader->fds, 0)) > 0)
        g_byte_array_append(reader->octets, data, (guint)got);
    g_assert_true(got == 0 || got == -EAGAIN);
}

/* Whatever is queued and however little is sent at a time, the stream is the same. */
static void stream_is_exact(bool original)
{
    struct afork__queue queue;
    g_autoptr(GByteArray) expected = g_byte_array_new();
    int pair[2], small = 1;
    struct reader reader = {.octets = g_byte_array_new()};
    unsigned n_files = 0;

    make_pair(SOCK_STREAM, pair);
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    reader.socket = pair[1];
    afork__queue_init(&queue, original);
    for (int step = 0; step < 300; step++) {
        size_t len = (size_t)g_test_rand_int_range(0, step % 10 ? 200 : 20000);
        g_autofree char *data = g_malloc(len + 1);
        uint8_t header[AFORK__HEADER_SIZE];

        memset(data, step, len);
        if (step % 3) {
            test_ok(afork__queue_command(&queue, AFORK__RUN, data, len));
            afork__wire_header(header, AFORK__RUN, (uint32_t)len);
            g_byte_array_append(expected, header, sizeof header);
            g_byte_array_append(expected, (guint8 *)data, (guint)len);
        } else {
            test_ok(afork__queue_handle(&queue, file_of_size(n_files++)));
            afork__wire_header(header, AFORK__HANDLE, 0);
            g_byte_array_append(expected, header, sizeof header);
            g_byte_array_append(expected, (const guint8 *)"", 1);
        }
        if (step % 2) {
            int result = afork__queue_send(&queue, pair[0], (size_t)g_test_rand_int_range(0, 999));
            g_assert_true(result == 0 || result == 1);
        }
        if (step % 7 == 0)
            read_some(&reader);
    }
    for (int result = 0; result != 1; read_some(&reader)) {
        result = afork__queue_send(&queue, pair[0], 777);
        g_assert_cmpint(result, >=, 0);
    }
    g_assert_true(afork__queue_is_empty(&queue));
    g_assert_cmpmem(reader.octets->data, reader.octets->len, expected->data, expected->len);
    g_assert_cmpuint(reader.fds.count, ==, n_files);
    for (unsigned i = 0; i < n_files; i++) {
        AFORK__AUTO_FD fd = afork__fd_queue_take(&reader.fds);
        g_assert_cmpuint(size_of_file(fd), ==, i);
    }
    afork__fd_queue_clear(&reader.fds);
    g_byte_array_free(reader.octets, TRUE);
    afork__close(&pair[0]);
    afork__close(&pair[1]);
}

static void stream_to_an_original(struct test *t)
{
    for (int i = 0; i < 10; i++)
        stream_is_exact(true);
}

static void stream_to_our_own(struct test *t)
{
    for (int i = 0; i < 10; i++)
        stream_is_exact(false);
}

static unsigned n_released;

static void count_release(void *data)
{
    n_released++;
}

static void dropped_things_are_released(struct test *t)
{
    struct afork__queue queue;
    char text[] = "taken";

    n_released = 0;
    afork__queue_init(&queue, false);
    unsigned fds = test_count_fds();
    fill(&queue);
    test_ok(afork__queue_take(&queue, text, 5, count_release));
    g_assert_cmpuint(test_count_fds(), ==, fds + 3);
    g_assert_false(afork__queue_is_empty(&queue));
    afork__queue_clear(&queue);
    g_assert_true(afork__queue_is_empty(&queue));
    g_assert_cmpuint(test_count_fds(), ==, fds);
    g_assert_cmpuint(n_released, ==, 1);
    afork__queue_clear(&queue);
}

static void too_long_is_refused(struct test *t)
{
    struct afork__queue queue;
    char octet = 0;
    struct iovec huge = {&octet, UINT32_MAX - 4}, two[] = {{&octet, 1U << 31}, {&octet, 1U << 31}};

    n_released = 0;
    afork__queue_init(&queue, false);
    g_assert_cmpint(afork__queue_strings(&queue, AFORK__ARGS, &huge, 1), ==, -EMSGSIZE);
    g_assert_cmpint(afork__queue_strings(&queue, AFORK__EVAL, two, 2), ==, -EMSGSIZE);
    g_assert_cmpint(afork__queue_take(&queue, &octet, UINT32_MAX - 4, count_release), ==,
                    -EMSGSIZE);
    g_assert_cmpint(afork__queue_take(&queue, &octet, SIZE_MAX, count_release), ==, -EMSGSIZE);
    g_assert_true(afork__queue_is_empty(&queue));
    test_ok(afork__queue_take(&queue, &octet, UINT32_MAX - 5, count_release)); /* 2^32 - 6 */
    afork__queue_clear(&queue);
    g_assert_cmpuint(n_released, ==, 1);
}

static void gone_peer_is_an_error(struct test *t)
{
    struct afork__queue queue;
    int pair[2];

    make_pair(SOCK_STREAM, pair);
    afork__close(&pair[1]);
    afork__queue_init(&queue, false);
    g_assert_cmpint(afork__queue_send(&queue, pair[0], NO_LIMIT), ==, 1); /* nothing to send */
    fill(&queue);
    g_assert_cmpint(afork__queue_send(&queue, pair[0], NO_LIMIT), ==, -EPIPE);
    afork__queue_clear(&queue);
    afork__close(&pair[0]);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_add_for(NULL, "/queue/messages/to-an-original", messages_to_an_original);
    test_add_for(NULL, "/queue/messages/to-our-own", messages_to_our_own);
    test_add_for(NULL, "/queue/stream/to-an-original", stream_to_an_original);
    test_add_for(NULL, "/queue/stream/to-our-own", stream_to_our_own);
    test_add_for(NULL, "/queue/clear/releases", dropped_things_are_released);
    test_add_for(NULL, "/queue/too-long/refused", too_long_is_refused);
    test_add_for(NULL, "/queue/peer/gone", gone_peer_is_an_error);
    return g_test_run();
}
