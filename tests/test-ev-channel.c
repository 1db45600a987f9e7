/* SPDX-License-Identifier: MIT
 *
 * The channel of the libev adapter, on plain socket pairs: reading, the queue, ends and errors, and
 * being closed at any moment.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "test-ev.h"
#include "util.h"

enum { SHORT_WHILE = 100 * 1000, SHARE = 256 * 1024 };

/* ---- what fails on request ---- */

static unsigned mallocs;
static bool malloc_fails;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

void *__wrap_malloc(size_t size)
{
    mallocs++;
    return malloc_fails ? NULL : __real_malloc(size);
}

static int epoll_error;

/* Stands before libc's. */
int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    if (epoll_error) {
        errno = epoll_error;
        return -1;
    }
    return (int)syscall(SYS_epoll_ctl, epoll, operation, fd, event);
}

/* ---- a channel under test ---- */

struct end {
    struct afork_ev_channel channel;
    struct test *t;
    int peer;
    unsigned reads, writes, errors; /* how often each was told */
    ssize_t result;                 /* of the last read */
    GByteArray *received;
    void (*action)(struct end *self);
    struct end *other;
};

static ssize_t get(struct end *self, void *data, size_t len)
{
    return afork_ev_channel_read(ev_of(self->t), &self->channel, data, len);
}

static void read_all(struct end *self)
{
    char buffer[10 * 1000];

    while ((self->result = get(self, buffer, sizeof buffer)) > 0)
        g_byte_array_append(self->received, (guint8 *)buffer, (guint)self->result);
}

static void on_channel(struct ev_loop *ev, struct afork_ev_channel *channel, int revents)
{
    struct end *self = (struct end *)channel;

    g_assert_true(ev == ev_of(self->t));
    g_assert_true(revents == EV_READ || revents == EV_WRITE || revents == EV_ERROR);
    self->reads += revents == EV_READ;
    self->writes += revents == EV_WRITE;
    self->errors += revents == EV_ERROR;
    if (self->action)
        self->action(self);
    else if (revents == EV_READ)
        read_all(self);
}

static void end_init(struct end *self)
{
    int pair[2];

    test_ok(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair));
    self->peer = pair[1];
    self->channel.data = self;
    afork_ev_channel_init(&self->channel, on_channel, pair[0]);
    g_assert_true(self->channel.data == self);
    g_assert_cmpint(self->channel.fd, ==, pair[0]);
}

static struct end *end_new(struct test *t)
{
    struct end *self = g_new0(struct end, 1);

    self->t = t;
    self->received = g_byte_array_new();
    end_init(self);
    return self;
}

static void end_free(struct end *self)
{
    afork_ev_channel_close(ev_of(self->t), &self->channel);
    g_assert_cmpint(self->channel.fd, ==, -1);
    g_byte_array_free(self->received, TRUE);
    afork__close(&self->peer);
    g_free(self);
}

static void start(struct end *self, int events)
{
    afork_ev_channel_start(ev_of(self->t), &self->channel, events);
}

static void stop(struct end *self, int events)
{
    afork_ev_channel_stop(ev_of(self->t), &self->channel, events);
}

static int put(struct end *self, const void *data, size_t len)
{
    return afork_ev_channel_write(ev_of(self->t), &self->channel, data, len);
}

static void turn(struct test *t)
{
    t->type->turn(t->loop_self, SHORT_WHILE);
}

/* Fills the socket and lets something wait. Returns how many octets were written in all. */
static size_t fill(struct end *self)
{
    static char zeros[100 * 1000];
    size_t len = 0;

    while (!self->channel.queued) {
        test_ok(put(self, zeros, sizeof zeros));
        len += sizeof zeros;
    }
    return len;
}

/* Takes what has arrived at the other side. */
static size_t peer_read(struct end *self, GByteArray *into)
{
    char buffer[10 * 1000];
    ssize_t n;
    size_t len = 0;

    while ((n = read(self->peer, buffer, sizeof buffer)) > 0) {
        if (into)
            g_byte_array_append(into, (guint8 *)buffer, (guint)n);
        len += (size_t)n;
    }
    return len;
}

/* Takes all that is written, at once or by the loop. */
static size_t peer_drain(struct end *self)
{
    size_t len = 0;

    while (self->channel.queued) {
        len += peer_read(self, NULL);
        turn(self->t);
    }
    return len + peer_read(self, NULL);
}

static void assert_peer_at_end(struct end *self)
{
    char octet;

    g_assert_cmpint(read(self->peer, &octet, 1), ==, 0);
}

static void poke(struct end *self)
{
    g_assert_cmpint(write(self->peer, "x", 1), ==, 1);
}

/* ---- reading ---- */

static void reads_until_the_end(struct test *t)
{
    struct end *a = end_new(t);

    start(a, EV_READ);
    g_assert_cmpint(write(a->peer, "hello", 5), ==, 5);
    test_wait(t, a->received->len == 5);
    g_assert_cmpmem(a->received->data, a->received->len, "hello", 5);
    g_assert_cmpint(a->result, ==, -EAGAIN);
    g_assert_cmpint(write(a->peer, "!", 1), ==, 1);
    afork__close(&a->peer);
    test_wait(t, a->result == 0);
    g_assert_cmpuint(a->received->len, ==, 6);

    /* The end is told once, and does not keep the loop going. */
    unsigned reads = a->reads;
    ev_run(ev_of(t), 0);
    g_assert_cmpuint(a->reads, ==, reads);
    end_free(a);
}

static void reset_is_an_end(struct test *t)
{
    struct end *a = end_new(t);

    test_ok(put(a, "unread", 6));
    start(a, EV_READ);
    afork__close(&a->peer);
    test_wait(t, a->reads);
    g_assert_cmpint(a->result, ==, -ECONNRESET);
    ev_run(ev_of(t), 0);
    g_assert_cmpuint(a->reads, ==, 1);
    end_free(a);
}

static void only_what_was_started_is_told(struct test *t)
{
    struct end *a = end_new(t);

    poke(a);
    ev_run(ev_of(t), 0); /* nothing is watched */
    start(a, EV_READ);
    start(a, EV_READ);
    turn(t);
    g_assert_cmpuint(a->reads, ==, 1);
    g_assert_cmpuint(a->writes, ==, 0);
    poke(a);
    stop(a, EV_READ);
    stop(a, EV_READ | EV_WRITE);
    ev_run(ev_of(t), 0);
    g_assert_cmpuint(a->reads, ==, 1);

    afork__close(&a->peer); /* hung up, and nobody asks */
    test_assert_idle(t, SHORT_WHILE);
    start(a, EV_READ);
    test_wait(t, a->result == 0);
    g_assert_cmpuint(a->received->len, ==, 2);
    end_free(a);
}

/* Whatever is read arrives anew. */
static void refill_action(struct end *self)
{
    char buffer[10 * 1000];
    size_t len = 0;
    ssize_t n;

    while ((n = get(self, buffer, sizeof buffer)) > 0) {
        len += (size_t)n;
        g_assert_cmpuint(len, <=, SHARE);
        g_assert_cmpint(write(self->peer, buffer, (size_t)n), ==, n);
    }
    g_assert_cmpint(n, ==, -EAGAIN);
    g_assert_cmpuint(len, >, 0);
}

static void flood_leaves_turns_to_others(struct test *t)
{
    struct end *a = end_new(t), *b = end_new(t);
    static const char octets[100 * 1000];

    a->action = refill_action;
    start(a, EV_READ);
    start(b, EV_READ);
    g_assert_cmpint(write(a->peer, octets, sizeof octets), ==, sizeof octets);
    for (unsigned i = 1; i <= 5; i++) {
        poke(b);
        turn(t);
        g_assert_cmpuint(a->reads, ==, i);
        g_assert_cmpuint(b->received->len, ==, i);
    }
    end_free(a);
    end_free(b);
}

/* Outside of a callback, too, reading comes to what is there. */
static void reads_without_the_loop(struct test *t)
{
    struct end *a = end_new(t);

    for (unsigned i = 1; i <= 3; i++) {
        poke(a);
        while (a->received->len < i)
            read_all(a);
    }
    end_free(a);
}

/* EV_READ does not come: what is there is read, also after a short read. */
static void each_read_counts_without_the_loop(struct test *t)
{
    struct end *a = end_new(t);
    char text[100];

    for (unsigned i = 0; i < 3; i++) {
        g_assert_cmpint(write(a->peer, "hello", 5), ==, 5);
        g_assert_cmpint(get(a, text, sizeof text), ==, 5);
    }
    g_assert_cmpint(get(a, text, sizeof text), ==, -EAGAIN);

    /* Once it was started, it may be left to that. */
    start(a, EV_READ);
    g_assert_cmpint(write(a->peer, "hello", 5), ==, 5);
    g_assert_cmpint(get(a, text, sizeof text), ==, 5);
    poke(a);
    g_assert_cmpint(get(a, text, sizeof text), ==, -EAGAIN);
    test_wait(t, a->received->len == 1);
    stop(a, EV_READ);
    afork__close(&a->peer);
    g_assert_cmpint(get(a, text, sizeof text), ==, 0);
    end_free(a);
}

/* ---- writing ---- */

static void written_at_once_without_memory(struct test *t)
{
    struct end *a = end_new(t);
    g_autoptr(GByteArray) text = g_byte_array_new();

    malloc_fails = true;
    mallocs = 0;
    for (int i = 0; i < 10; i++)
        test_ok(put(a, "hello", 5));
    test_ok(put(a, NULL, 0));
    malloc_fails = false;
    g_assert_cmpuint(mallocs, ==, 0);
    g_assert_cmpuint(a->channel.queued, ==, 0);
    g_assert_cmpuint(peer_read(a, text), ==, 50);
    ev_run(ev_of(t), 0);
    g_assert_cmpuint(a->reads + a->writes + a->errors, ==, 0);
    end_free(a);
}

/* Pieces of all lengths, read in others: the order is kept, and the loop writes them on its own. */
static void queue_keeps_the_order(struct test *t)
{
    struct end *a = end_new(t);
    g_autoptr(GByteArray) sent = g_byte_array_new(), got = g_byte_array_new();
    guint8 piece[70 * 1000];

    for (unsigned i = 0; i < 200; i++) {
        gsize len = i * 7919 % sizeof piece;
        for (gsize k = 0; k < len; k++)
            piece[k] = (guint8)(i + k * 31);
        test_ok(put(a, piece, len));
        g_byte_array_append(sent, piece, (guint)len);
        if (i % 5 == 4)
            peer_read(a, got); /* room in the socket, but others were first */
        if (i % 10 == 9) {
            bool running = ev_run(ev_of(t), EVRUN_NOWAIT);
            g_assert_cmpint(running, ==, a->channel.queued > 0); /* it keeps the loop going */
        }
    }
    g_assert_cmpuint(a->channel.queued, >, 1024 * 1024);
    start(a, EV_WRITE);
    while (!a->writes) {
        g_assert_cmpuint(a->channel.queued, >, 0);
        peer_read(a, got);
        turn(t);
    }
    g_assert_cmpuint(a->channel.queued, ==, 0);
    g_assert_cmpuint(a->channel.size, ==, 0); /* a long queue does not hold its memory */
    peer_read(a, got);
    g_assert_cmpmem(got->data, got->len, sent->data, sent->len);
    stop(a, EV_WRITE);
    ev_run(ev_of(t), 0);
    end_free(a);
}

static void writable_comes_until_it_is_stopped(struct test *t)
{
    struct end *a = end_new(t);

    start(a, EV_WRITE);
    test_wait(t, a->writes == 3);
    fill(a); /* something waits: not writable */
    test_assert_idle(t, SHORT_WHILE);
    g_assert_cmpuint(a->writes, ==, 3);
    peer_read(a, NULL);
    test_wait(t, a->writes > 3);
    stop(a, EV_WRITE);
    ev_run(ev_of(t), 0);
    end_free(a);
}

static void stop_action(struct end *self)
{
    stop(self, EV_WRITE);
}

/* That all was written is told once to who stops it. */
static void told_when_all_was_written(struct test *t)
{
    struct end *a = end_new(t);

    a->action = stop_action;
    for (unsigned i = 1; i <= 3; i++) {
        fill(a);
        start(a, EV_WRITE);
        peer_drain(a);
        test_wait(t, a->writes == i);
    }
    ev_run(ev_of(t), 0);
    g_assert_cmpuint(a->writes, ==, 3);
    end_free(a);
}

static void nobody_reads(struct test *t)
{
    struct end *a = end_new(t);

    afork__close(&a->peer);
    g_assert_cmpint(put(a, "x", 1), ==, -EPIPE); /* and no signal */
    g_assert_cmpint(put(a, "x", 1), ==, -EPIPE);
    g_assert_cmpint(a->channel.error, ==, -EPIPE);
    start(a, EV_WRITE);
    ev_run(ev_of(t), 0);
    g_assert_cmpuint(a->writes + a->errors, ==, 0); /* the call has told it */
    end_free(a);
}

static void queue_that_nobody_reads_is_an_error(struct test *t)
{
    struct end *a = end_new(t);

    fill(a);
    start(a, EV_WRITE);
    g_assert_cmpint(write(a->peer, "bye", 3), ==, 3);
    afork__close(&a->peer);
    ev_run(ev_of(t), 0);
    g_assert_cmpuint(a->errors, ==, 1);
    g_assert_cmpuint(a->writes, ==, 0);
    g_assert_cmpuint(a->channel.queued, ==, 0);
    g_assert_true(a->channel.error == -EPIPE || a->channel.error == -ECONNRESET);
    g_assert_cmpint(put(a, "x", 1), ==, a->channel.error);

    start(a, EV_READ);
    ev_run(ev_of(t), 0);
    g_assert_cmpmem(a->received->data, a->received->len, "bye", 3);
    g_assert_cmpint(a->result, ==, -ECONNRESET);
    end_free(a);
}

static void shut_comes_after_the_queue(struct test *t)
{
    struct end *a = end_new(t);
    size_t sent = fill(a);

    afork_ev_channel_shut(ev_of(t), &a->channel);
    afork_ev_channel_shut(ev_of(t), &a->channel);
    g_assert_cmpint(put(a, "x", 1), ==, -EPIPE);
    g_assert_cmpuint(peer_drain(a), ==, sent);
    assert_peer_at_end(a);
    g_assert_cmpint(a->channel.error, ==, 0);

    /* The other direction is open. */
    start(a, EV_READ);
    poke(a);
    test_wait(t, a->received->len == 1);
    end_free(a);

    struct end *b = end_new(t);
    test_ok(put(b, "x", 1));
    afork_ev_channel_shut(ev_of(t), &b->channel);
    g_assert_cmpuint(peer_read(b, NULL), ==, 1);
    assert_peer_at_end(b);
    end_free(b);
}

/* ---- out of memory ---- */

static void no_memory_for_the_queue(struct test *t)
{
    struct end *a = end_new(t), *b = end_new(t);
    static const char octets[1000 * 1000];

    /* Nothing of it was taken: all goes on. */
    size_t sent = fill(a);
    malloc_fails = true;
    g_assert_cmpint(put(a, octets, sizeof octets), ==, -ENOMEM);
    malloc_fails = false;
    g_assert_cmpint(a->channel.error, ==, 0);
    test_ok(put(a, octets, sizeof octets));
    g_assert_cmpint(put(a, octets, SIZE_MAX), ==, -ENOMEM);
    g_assert_cmpuint(peer_drain(a), ==, sent + sizeof octets);

    /* Half of it went: the rest must not be replaced by something else. */
    malloc_fails = true;
    g_assert_cmpint(put(b, octets, sizeof octets), ==, -ENOMEM);
    malloc_fails = false;
    g_assert_cmpint(put(b, "x", 1), ==, -ENOMEM);
    g_assert_cmpuint(b->channel.queued, ==, 0);
    g_assert_cmpuint(peer_read(b, NULL), <, sizeof octets);
    ev_run(ev_of(t), 0);
    g_assert_cmpuint(peer_read(b, NULL) + b->errors, ==, 0);
    end_free(a);
    end_free(b);
}

/* ---- closing ---- */

static void free_action(struct end *self)
{
    bool *freed = (bool *)self->other;

    end_free(self);
    *freed = true;
}

static void nest_action(struct end *self)
{
    struct test *t = self->t;
    const bool *freed = (const bool *)self->other;

    self->action = free_action;
    test_wait(t, *freed);
}

/* Whatever is told, with all else pending. */
static void freed_by(struct test *t, void (*action)(struct end *self))
{
    for (int kind = 0; kind < 3; kind++) {
        struct end *a = end_new(t);
        bool freed = false;

        a->action = action;
        a->other = (struct end *)&freed;
        start(a, EV_READ | EV_WRITE);
        poke(a);
        if (kind > 0)
            fill(a);
        if (kind > 1)
            afork__close(&a->peer);
        test_wait(t, freed);
        ev_run(ev_of(t), 0);
    }
}

static void freed_in_its_callback(struct test *t)
{
    freed_by(t, free_action);
}

/* The loop is turned in the callback, and the channel ends there. */
static void freed_in_a_nested_turn(struct test *t)
{
    freed_by(t, nest_action);
}

static void close_other_action(struct end *self)
{
    afork_ev_channel_close(ev_of(self->t), &self->other->channel);
    stop(self, EV_READ);
}

static void closed_in_the_callback_of_another(struct test *t)
{
    struct end *a = end_new(t), *b = end_new(t);

    a->action = b->action = close_other_action;
    a->other = b;
    b->other = a;
    start(a, EV_READ);
    start(b, EV_READ);
    poke(a);
    poke(b);
    test_wait(t, a->reads + b->reads);
    ev_run(ev_of(t), 0);
    g_assert_cmpuint(a->reads + b->reads, ==, 1);
    end_free(a);
    end_free(b);
}

static void reopen_action(struct end *self)
{
    afork_ev_channel_close(ev_of(self->t), &self->channel);
    afork__close(&self->peer);
    end_init(self);
    self->action = NULL;
    start(self, EV_READ);
}

static void used_anew_in_its_callback(struct test *t)
{
    struct end *a = end_new(t);

    a->action = reopen_action;
    start(a, EV_READ | EV_WRITE);
    poke(a);
    test_wait(t, !a->action);
    g_assert_cmpint(ev_run(ev_of(t), EVRUN_NOWAIT), !=, 0);
    g_assert_cmpuint(a->received->len, ==, 0);
    poke(a);
    test_wait(t, a->received->len == 1);
    end_free(a);
}

static void closed_channels_are_left_alone(struct test *t)
{
    struct ev_loop *ev = ev_of(t);
    struct afork_ev_channel zero = {0};
    struct end *a = end_new(t);
    char octet;

    afork_ev_channel_close(ev, &zero);
    g_assert_cmpint(fcntl(0, F_GETFD), >=, 0);
    fill(a);
    afork_ev_channel_close(ev, &a->channel);
    peer_read(a, NULL);
    assert_peer_at_end(a);
    start(a, EV_READ | EV_WRITE);
    stop(a, EV_READ | EV_WRITE);
    afork_ev_channel_shut(ev, &a->channel);
    g_assert_cmpint(put(a, "x", 1), ==, -EINVAL);
    g_assert_cmpint(get(a, &octet, 1), ==, -EINVAL);
    ev_run(ev, 0);
    end_free(a);
}

static void missing_arguments_are_errors(struct test *t)
{
    struct end *a = end_new(t);
    char octet;

    g_assert_cmpint(put(a, NULL, 1), ==, -EINVAL);
    g_assert_cmpint(get(a, NULL, 1), ==, -EINVAL);
    g_assert_cmpint(get(a, &octet, 0), ==, -EINVAL);
    end_free(a);
}

/* ---- what libev cannot watch ---- */

static void what_cannot_be_watched_is_an_error(struct test *t)
{
    struct end *a = end_new(t);

    if (ev_backend(ev_of(t)) == EVBACKEND_EPOLL) {
        fill(a);
        epoll_error = ENOSPC;
        start(a, EV_READ | EV_WRITE);
        ev_run(ev_of(t), 0);
        epoll_error = 0;
        g_assert_cmpuint(a->errors, ==, 1);
        g_assert_cmpuint(a->writes + a->reads, ==, 0);
        g_assert_cmpint(put(a, "x", 1), ==, -EIO);
    } else {
        g_test_skip("the recommended back end is not epoll");
    }
    end_free(a);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        test_func *func;
    } cases[] = {
        {"/ev-channel/read/until-the-end", reads_until_the_end},
        {"/ev-channel/read/reset", reset_is_an_end},
        {"/ev-channel/read/only-when-started", only_what_was_started_is_told},
        {"/ev-channel/read/fair-share", flood_leaves_turns_to_others},
        {"/ev-channel/read/without-the-loop", reads_without_the_loop},
        {"/ev-channel/read/each-without-the-loop", each_read_counts_without_the_loop},
        {"/ev-channel/write/at-once-without-memory", written_at_once_without_memory},
        {"/ev-channel/write/queue-keeps-order", queue_keeps_the_order},
        {"/ev-channel/write/writable-until-stopped", writable_comes_until_it_is_stopped},
        {"/ev-channel/write/told-when-all-written", told_when_all_was_written},
        {"/ev-channel/write/nobody-reads", nobody_reads},
        {"/ev-channel/write/queue-nobody-reads", queue_that_nobody_reads_is_an_error},
        {"/ev-channel/shut/after-queue", shut_comes_after_the_queue},
        {"/ev-channel/memory/none-for-the-queue", no_memory_for_the_queue},
        {"/ev-channel/close/in-its-callback", freed_in_its_callback},
        {"/ev-channel/close/in-another-callback", closed_in_the_callback_of_another},
        {"/ev-channel/close/used-anew", used_anew_in_its_callback},
        {"/ev-channel/close/in-nested-turn", freed_in_a_nested_turn},
        {"/ev-channel/close/left-alone", closed_channels_are_left_alone},
        {"/ev-channel/misuse/missing-arguments", missing_arguments_are_errors},
        {"/ev-channel/error/not-watched", what_cannot_be_watched_is_an_error},
    };

    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
        test_add_for(&test_loop_ev, cases[i].path, cases[i].func);
    return g_test_run();
}
