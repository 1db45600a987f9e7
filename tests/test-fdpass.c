/* SPDX-License-Identifier: MIT
 *
 * Descriptors through a socket: their order, whatever the kernel merges; truncation; the queue.
 */
#include "fdpass.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "test-lib.h"
#include "util.h"

static void make_pair(int pair[2])
{
    int type = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
    g_assert_cmpint(socketpair(AF_UNIX, type, 0, pair), ==, 0);
}

static void close_pair(int pair[2])
{
    afork__close(&pair[0]);
    afork__close(&pair[1]);
}

/* A file of `n` octets: its size tells it from others. */
static int file_of_size(unsigned n)
{
    int fd = memfd_create("test", 0);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, n), ==, 0);
    return fd;
}

static unsigned size_of_file(int fd)
{
    struct stat st;

    g_assert_cmpint(fstat(fd, &st), ==, 0);
    return (unsigned)st.st_size;
}

/* Sends `text` with files of the sizes given, and closes them. */
static void send_files(int socket, const char *text, const unsigned *sizes, size_t n)
{
    struct iovec iov = {(char *)text, strlen(text)};
    int fds[AFORK__FDS_PER_MESSAGE] = {0};

    for (size_t i = 0; i < n; i++)
        fds[i] = file_of_size(sizes[i]);
    g_assert_cmpint(afork__fd_send(socket, &iov, 1, fds, n, 0), ==, (gssize)iov.iov_len);
    for (size_t i = 0; i < n; i++)
        close(fds[i]);
}

static void assert_takes(struct afork__fd_queue *queue, unsigned size)
{
    AFORK__AUTO_FD fd = afork__fd_queue_take(queue);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(fcntl(fd, F_GETFD), ==, FD_CLOEXEC);
    g_assert_cmpuint(size_of_file(fd), ==, size);
}

static void octets_and_files_keep_their_order(struct test *t)
{
    int pair[2];
    struct afork__fd_queue queue = {0};
    char buffer[100];

    make_pair(pair);
    send_files(pair[0], "plain", NULL, 0);
    send_files(pair[0], "a", (unsigned[]){1, 2}, 2);
    send_files(pair[0], "b", (unsigned[]){3}, 1);
    send_files(pair[0], "more", NULL, 0);
    send_files(pair[0], "c", (unsigned[]){4}, 1);
    close(pair[0]);
    pair[0] = -1;

    g_autoptr(GString) all = g_string_new(NULL);
    ssize_t got;
    while ((got = afork__fd_receive(pair[1], buffer, sizeof buffer, &queue, 0)) > 0)
        g_string_append_len(all, buffer, got);
    g_assert_cmpint(got, ==, 0);
    g_assert_cmpstr(all->str, ==, "plainabmorec");
    for (unsigned size = 1; size <= 4; size++)
        assert_takes(&queue, size);
    g_assert_cmpint(afork__fd_queue_take(&queue), ==, -1);
    afork__fd_queue_clear(&queue);
    close_pair(pair);
}

/* Read octet by octet, files come no later than the octet that claims them. */
static void small_reads_get_files_in_time(struct test *t)
{
    int pair[2];
    struct afork__fd_queue queue = {0};
    char octet;

    make_pair(pair);
    send_files(pair[0], "1..", (unsigned[]){1}, 1);
    send_files(pair[0], "2", (unsigned[]){2}, 1);
    for (const char *expected = "1..2"; *expected; expected++) {
        g_assert_cmpint(afork__fd_receive(pair[1], &octet, 1, &queue, 0), ==, 1);
        g_assert_cmpint(octet, ==, *expected);
        if (g_ascii_isdigit(octet))
            assert_takes(&queue, (unsigned)(octet - '0'));
    }
    g_assert_cmpint(afork__fd_receive(pair[1], &octet, 1, &queue, 0), ==, -EAGAIN);
    afork__fd_queue_clear(&queue);
    close_pair(pair);
}

static void full_message_fits(struct test *t)
{
    int pair[2];
    struct afork__fd_queue queue = {0};
    unsigned sizes[AFORK__FDS_PER_MESSAGE];
    char buffer[2];

    make_pair(pair);
    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++)
        sizes[i] = i;
    send_files(pair[0], "x", sizes, G_N_ELEMENTS(sizes));
    g_assert_cmpint(afork__fd_receive(pair[1], buffer, sizeof buffer, &queue, 0), ==, 1);
    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++)
        assert_takes(&queue, i);
    afork__fd_queue_clear(&queue);
    close_pair(pair);
}

/* What the sender could not send stays with it, and so do the descriptors. */
static void partial_send_keeps_count(struct test *t)
{
    int pair[2];
    g_autofree char *big = g_malloc0(4 << 20);
    char head_out[] = "head";
    struct iovec iov[] = {{head_out, 4}, {big, 4 << 20}};
    int fd = file_of_size(9);
    struct afork__fd_queue queue = {0};
    char head[4];

    make_pair(pair);
    ssize_t sent = afork__fd_send(pair[0], iov, 2, &fd, 1, 0);
    g_assert_cmpint(sent, >, 4);
    g_assert_cmpint(sent, <, 4 << 20);
    g_assert_cmpint(afork__fd_send(pair[0], iov, 2, &fd, 1, 0), ==, -EAGAIN);
    close(fd);
    g_assert_cmpint(afork__fd_receive(pair[1], head, sizeof head, &queue, 0), ==, 4);
    g_assert_cmpmem(head, 4, "head", 4);
    assert_takes(&queue, 9);
    g_assert_cmpuint(queue.count, ==, 0);
    afork__fd_queue_clear(&queue);
    close_pair(pair);
}

static void closed_peer_raises_no_signal(struct test *t)
{
    int pair[2];
    char octet = 0;
    struct iovec iov = {&octet, 1};

    make_pair(pair);
    afork__close(&pair[1]);
    g_assert_cmpint(afork__fd_send(pair[0], &iov, 1, NULL, 0, 0), ==, -EPIPE);
    close_pair(pair);
}

/* With no descriptor free, those sent are lost; the receiver says so and keeps none. */
static void truncation_closes_what_came(struct test *t)
{
    int pair[2];
    struct afork__fd_queue queue = {0};
    struct rlimit before, low;
    char buffer[4];

    make_pair(pair);
    send_files(pair[0], "x", (unsigned[]){1, 2, 3, 4, 5}, 5);
    unsigned open = test_count_fds();

    AFORK__AUTO_FD next = dup(0);
    g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &before), ==, 0);
    low = (struct rlimit){.rlim_cur = (rlim_t)next + 3, .rlim_max = before.rlim_max};
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &low), ==, 0);
    ssize_t got = afork__fd_receive(pair[1], buffer, sizeof buffer, &queue, 0);
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &before), ==, 0);

    g_assert_cmpint(got, ==, -EMFILE);
    g_assert_cmpuint(queue.count, ==, 0);
    g_assert_cmpuint(test_count_fds(), ==, open + 1);
    close_pair(pair);
}

static void clear_closes_the_rest(struct test *t)
{
    int pair[2];
    struct afork__fd_queue queue = {0};
    char buffer[10];

    make_pair(pair);
    unsigned open = test_count_fds();
    send_files(pair[0], "x", (unsigned[]){1, 2, 3}, 3);
    g_assert_cmpint(afork__fd_receive(pair[1], buffer, sizeof buffer, &queue, 0), ==, 1);
    g_assert_cmpuint(test_count_fds(), ==, open + 3);
    assert_takes(&queue, 1);
    afork__fd_queue_clear(&queue);
    g_assert_cmpuint(test_count_fds(), ==, open);
    afork__fd_queue_clear(&queue);
    close_pair(pair);
}

/* The memory of a queue that is filled and emptied for ever does not grow. */
static void queue_reuses_its_room(struct test *t)
{
    int pair[2];
    struct afork__fd_queue queue = {0};
    char buffer[1];

    make_pair(pair);
    send_files(pair[0], "0", (unsigned[]){0}, 1);
    g_assert_cmpint(afork__fd_receive(pair[1], buffer, 1, &queue, 0), ==, 1);
    for (unsigned i = 1; i < 1000; i++) {
        send_files(pair[0], "x", &i, 1);
        g_assert_cmpint(afork__fd_receive(pair[1], buffer, 1, &queue, 0), ==, 1);
        assert_takes(&queue, i - 1);
    }
    g_assert_cmpuint(queue.room, <, 16);
    afork__fd_queue_clear(&queue);
    close_pair(pair);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_add_for(NULL, "/fdpass/order/kept", octets_and_files_keep_their_order);
    test_add_for(NULL, "/fdpass/order/small-reads-in-time", small_reads_get_files_in_time);
    test_add_for(NULL, "/fdpass/send/full-message", full_message_fits);
    test_add_for(NULL, "/fdpass/send/partial", partial_send_keeps_count);
    test_add_for(NULL, "/fdpass/send/no-signal", closed_peer_raises_no_signal);
    test_add_for(NULL, "/fdpass/receive/truncation-closes", truncation_closes_what_came);
    test_add_for(NULL, "/fdpass/queue/clear-closes", clear_closes_the_rest);
    test_add_for(NULL, "/fdpass/queue/reuses-room", queue_reuses_its_room);
    return g_test_run();
}
