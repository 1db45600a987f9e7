/* SPDX-License-Identifier: MIT
 *
 * Channels as each kind of loop has them: octets both ways, hang-up, failures, closing at awkward
 * moments. The same cases for every kind, against the fake server.
 */
#include "test-channel.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util.h"

#ifdef ENABLE_GLIB
#include <gio/gio.h>
#endif

static const struct test_channel_type *const types[] = {
    &test_channel_poll,
    &test_channel_foreign,
#ifdef ENABLE_GLIB
    &test_channel_glib,
#endif
#ifdef ENABLE_LIBEV
    &test_channel_ev,
#endif
#ifdef ENABLE_LIBUV
    &test_channel_uv,
#endif
};

static const struct test_channel_type *type_of(struct test *t)
{
    return *(const struct test_channel_type **)t->data;
}

/* Tells `process` to run `function`, and lets go of it. */
static struct test_channel *start(struct test *t, struct afork_process *process,
                                  const char *function)
{
    struct test_channel *channel = type_of(t)->run(t, process, function);

    channel->type = type_of(t);
    channel->t = t;
    afork_process_unref(process);
    return channel;
}

static struct test_channel *open_channel(struct test *t, struct afork_process *process,
                                         const char *function)
{
    struct test_channel *channel = start(t, process, function);

    test_wait(t, channel->opened || channel->error);
    test_ok(channel->error);
    return channel;
}

static void close_channel(struct test_channel *channel)
{
    channel->type->close(channel);
}

/* Octets that differ from place to place. */
static guint8 *make_octets(size_t len)
{
    guint8 *octets = g_malloc(len);

    for (size_t i = 0; i < len; i++)
        octets[i] = (guint8)(i * 2654435761U >> 16);
    return octets;
}

static void assert_received(const struct test_channel *channel, const void *octets, size_t len)
{
    g_assert_cmpuint(channel->received->len, ==, len);
    g_assert_cmpint(memcmp(channel->received->data, octets, len), ==, 0);
}

/* A megabyte through sockets that hold four kilobytes; neither side waits for the other to end. */
static void megabyte_both_ways(struct test *t)
{
    enum { LEN = 1 << 20 };
    const int size = 4096;
    g_autofree guint8 *octets = make_octets(LEN);
    struct test_channel *channel = open_channel(t, test_new(t), "echo-small");

    test_ok(setsockopt(channel->type->get_fd(channel), SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
    channel->type->read(channel, true);
    channel->type->write(channel, octets, LEN / 2);
    channel->type->write(channel, octets + LEN / 2, LEN / 2);
    channel->type->shut(channel);
    test_wait(t, channel->ended);
    test_ok(channel->error);
    g_assert_cmpuint(channel->unwritten, ==, 0);
    assert_received(channel, octets, LEN);
    close_channel(channel);
}

static void question_and_answer(struct test *t)
{
    struct test_channel *channel = open_channel(t, test_new(t), "echo");

    channel->type->read(channel, true);
    for (unsigned i = 0; i < 100; i++) {
        g_autofree char *text = g_strdup_printf("question %6u", i);
        channel->type->write(channel, text, 16);
        test_wait(t, channel->received->len == 16);
        assert_received(channel, text, 16);
        g_byte_array_set_size(channel->received, 0);
    }
    close_channel(channel);
}

/* What the worker wrote comes before its end, also if it is long gone. */
static void hang_up_with_data_pending(struct test *t)
{
    enum { LEN = 100000 };
    struct afork_process *process = test_new(t);
    struct test_exit end = {0};
    g_autofree guint8 *zeros = g_malloc0(LEN);

    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    test_ok(afork_process_send_arg(process, "100000", 6));
    struct test_channel *channel = open_channel(t, process, "flood");
    test_wait(t, end.calls);
    test_turn_for(t, 20 * 1000);
    g_assert_cmpuint(channel->received->len, ==, 0); /* nobody asked */
    channel->type->read(channel, true);
    test_wait(t, channel->ended);
    test_ok(channel->error);
    g_assert_cmpuint(channel->received->len, ==, LEN);
    assert_received(channel, zeros, LEN);
    close_channel(channel);
}

/* Whether it reads or not, a channel whose worker has gone does not keep the loop busy. */
static void hang_up_is_quiet(struct test *t)
{
    for (int reads = 0; reads < 2; reads++) {
        struct afork_process *process = test_new(t);
        struct test_exit end = {0};

        test_ok(afork_process_on_exit(process, test_on_exit, &end));
        struct test_channel *channel = open_channel(t, process, "return");
        channel->type->read(channel, reads);
        test_wait(t, end.calls && channel->ended == reads);
        test_assert_idle(t, 200 * 1000);
        close_channel(channel);
    }
}

/* Reading is switched off and on while there is something to read. */
static void reading_pauses(struct test *t)
{
    enum { LEN = 300000 };
    struct afork_process *process = test_new(t);

    test_ok(afork_process_send_arg(process, "300000", 6));
    struct test_channel *channel = open_channel(t, process, "flood");
    while (!channel->ended) {
        guint before = channel->received->len;
        channel->type->read(channel, true);
        test_wait(t, channel->received->len > before || channel->ended);
        channel->type->read(channel, false);
        test_turn_for(t, 1000);
        before = channel->received->len; /* what was on its way came */
        test_turn_for(t, 5000);
        g_assert_cmpuint(channel->received->len, ==, before);
    }
    test_ok(channel->error);
    g_assert_cmpuint(channel->received->len, ==, LEN);
    close_channel(channel);
}

/* One error, no signal, and quiet afterwards. */
static void worker_gone_while_writing(struct test *t)
{
    g_autofree guint8 *octets = make_octets(4 << 20);
    struct afork_process *process = test_new(t);
    struct test_exit end = {0};

    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    struct test_channel *channel = open_channel(t, process, "hang");
    channel->type->write(channel, octets, 4 << 20);
    test_turn_for(t, 10 * 1000);
    g_assert_cmpuint(channel->unwritten, >, 0);
    afork_process_ref(process); /* start() let go of it */
    test_ok(afork_process_kill(process, 9));
    test_wait(t, channel->error && end.calls);
    g_assert_true(channel->error == -EPIPE || channel->error == -ECONNRESET);
    test_assert_idle(t, 100 * 1000);
    close_channel(channel);
    afork_process_unref(process);
}

static void failures_are_told(struct test *t)
{
    struct test_channel *channel = start(t, test_new(t), "nope");

    test_wait(t, channel->error);
    if (channel->error != -ECONNABORTED) /* libuv has no word for the other */
        g_assert_cmpint(channel->error, ==, -ENOEXEC);
    g_assert_false(channel->opened);
    close_channel(channel);
}

static void perl_that_ends_at_once(struct test *t)
{
    test_fake_start(t, "exit 3");
    struct test_channel *of_exec = start(t, test_new_exec(t), "echo"),
                        *of_new = start(t, test_new(t), "echo");

    test_wait(t, of_exec->error && of_new->error);
    g_assert_cmpint(of_exec->error, ==, -ECONNRESET);
    g_assert_cmpint(of_new->error, ==, -ECONNRESET);
    close_channel(of_exec);
    close_channel(of_new);
}

/* In the callback that matters, the channel is closed: nothing comes of it afterwards. */
static struct {
    bool (*is_due)(const struct test_channel *channel);
    unsigned calls, closed;
} closer;

static void close_when_due(struct test_channel *channel)
{
    closer.calls++;
    g_assert_cmpuint(closer.closed, ==, 0);
    if (!closer.is_due(channel))
        return;
    closer.closed++;
    close_channel(channel);
}

static bool is_open(const struct test_channel *channel)
{
    return channel->opened;
}

static bool has_read(const struct test_channel *channel)
{
    return channel->received->len > 0;
}

static bool has_written(const struct test_channel *channel)
{
    return channel->unwritten == 0;
}

static bool has_ended(const struct test_channel *channel)
{
    return channel->ended;
}

static bool has_failed(const struct test_channel *channel)
{
    return channel->error != 0;
}

static void closed_in_each_callback(struct test *t)
{
    static const struct {
        const char *function;
        bool (*is_due)(const struct test_channel *channel);
        size_t to_write;
        bool reads;
    } scenes[] = {
        {"echo", is_open, 0, false},
        {"nope", has_failed, 0, false},
        {"echo", has_read, 1000, true},
        {"echo", has_read, 1 << 20, true},
        {"hold", has_written, 1 << 20, false},
        {"return", has_ended, 0, true},
        {"return", has_failed, 4 << 20, false},
    };
    g_autofree guint8 *octets = make_octets(4 << 20);

    for (size_t i = 0; i < G_N_ELEMENTS(scenes); i++) {
        closer.is_due = scenes[i].is_due;
        closer.calls = closer.closed = 0;
        struct test_channel *channel = start(t, test_new(t), scenes[i].function);
        if (scenes[i].to_write || scenes[i].reads) {
            test_wait(t, channel->opened);
            channel->news = close_when_due;
            channel->type->read(channel, scenes[i].reads);
            if (scenes[i].to_write)
                channel->type->write(channel, octets, scenes[i].to_write);
            if (!closer.closed && channel->error) /* at once */
                close_when_due(channel);
        } else {
            channel->news = close_when_due;
        }
        test_wait(t, closer.closed);
        unsigned calls = closer.calls;
        test_turn_for(t, 20 * 1000);
        g_assert_cmpuint(closer.calls, ==, calls);
    }
}

/* Two descriptors become ready in one turn; the first to be called closes the other as well. */
static struct test_channel *pair[2];
static unsigned n_pair_calls;

static void close_both(struct test_channel *channel)
{
    n_pair_calls++;
    close_channel(pair[0]);
    close_channel(pair[1]);
}

static void closed_in_the_callback_of_another(struct test *t)
{
    struct test_exit ends[2] = {0};

    n_pair_calls = 0;
    for (size_t i = 0; i < G_N_ELEMENTS(pair); i++) {
        struct afork_process *process = test_new(t);
        test_ok(afork_process_on_exit(process, test_on_exit, &ends[i]));
        test_ok(afork_process_send_arg(process, "1000", 4));
        pair[i] = open_channel(t, process, "flood");
    }
    test_wait(t, ends[0].calls && ends[1].calls);
    for (size_t i = 0; i < G_N_ELEMENTS(pair); i++) {
        pair[i]->news = close_both;
        pair[i]->type->read(pair[i], true);
    }
    test_wait(t, n_pair_calls);
    test_turn_for(t, 20 * 1000);
    g_assert_cmpuint(n_pair_calls, ==, 1);
}

/* Before it is open, and with both orders of process and channel. */
static void closed_early(struct test *t)
{
    for (int order = 0; order < 3; order++) {
        struct afork_process *process = test_new(t);
        struct test_exit end = {0};

        test_ok(afork_process_on_exit(process, test_on_exit, &end));
        afork_process_ref(process);
        struct test_channel *channel = start(t, process, "echo");
        if (order == 0) {
            close_channel(channel);
            afork_process_unref(process);
        } else if (order == 1) {
            afork_process_unref(process);
            test_wait(t, channel->opened);
            close_channel(channel);
        } else {
            test_wait(t, channel->opened);
            close_channel(channel);
            test_wait(t, end.calls);
            afork_process_unref(process);
        }
        test_wait(t, end.calls);
        g_assert_cmpint(end.cause, ==, AFORK_CAUSE_EXITED);
    }
}

static unsigned n_ended;

static void count_end(struct test_channel *channel)
{
    test_ok(channel->error);
    if (!channel->ended)
        return;
    g_assert_cmpuint(channel->received->len, ==, 100);
    n_ended++;
    close_channel(channel);
}

static void start_reading(struct test_channel *channel)
{
    test_ok(channel->error);
    channel->news = count_end;
    channel->type->read(channel, true);
}

/* Ten at a time. */
static void many_short_lives(struct test *t)
{
    enum { N = 200, AT_ONCE = 10 };
    struct afork_process *template = test_new(t);

    n_ended = 0;
    test_ok(afork_process_send_arg(template, "100", 3));
    for (unsigned started = 0; started < N; started++) {
        struct test_channel *channel = start(t, test_fork(template), "flood");
        channel->news = start_reading;
        test_wait(t, n_ended + AT_ONCE > started);
    }
    test_wait(t, n_ended == N);
    afork_process_unref(template);
}

static void add(const char *path, test_func *func)
{
    for (size_t i = 0; i < G_N_ELEMENTS(types); i++)
        test_add_data(types[i]->loop, path, func, g_memdup2(&types[i], sizeof types[i]));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#ifdef ENABLE_GLIB
    g_type_ensure(G_TYPE_TASK); /* starts a thread that has descriptors */
#endif
    add("/channel/megabyte-both-ways", megabyte_both_ways);
    add("/channel/question-and-answer", question_and_answer);
    add("/channel/hang-up/data-pending", hang_up_with_data_pending);
    add("/channel/hang-up/quiet", hang_up_is_quiet);
    add("/channel/hang-up/while-writing", worker_gone_while_writing);
    add("/channel/reading-pauses", reading_pauses);
    add("/channel/failure/function", failures_are_told);
    add("/channel/failure/perl", perl_that_ends_at_once);
    add("/channel/close/in-each-callback", closed_in_each_callback);
    add("/channel/close/in-the-callback-of-another", closed_in_the_callback_of_another);
    add("/channel/close/early", closed_early);
    add("/channel/many-short-lives", many_short_lives);
    return g_test_run();
}
