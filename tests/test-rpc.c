/* SPDX-License-Identifier: MIT
 *
 * Remote procedure calls over each kind of loop: arguments and results, exceptions, events,
 * descriptors, time limits, cancellation. The worker's side is afork-perl's.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef TEST_GOBJECT
#include "rpc.h"
#endif
#include "test-rpc-lib.h"
#include "util.h"

enum { MILLISECOND = 1000, MANY = 1000 };

/* ---- Arguments and results ---- */

static void values_are_octets(struct test *t)
{
    test_end_auto end = {0};
    test_reply_auto reply = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_rpc *rpc = test_rpc(t, NULL, "echo", &options);
    g_autofree guint8 *octets = g_malloc(1 << 20);
    struct iovec strings[] = {
        {octets, 256}, {octets, 0}, {octets, 1}, {octets, 130}, {octets, 1 << 20}};

    for (guint i = 0; i < 1 << 20; i++)
        octets[i] = (guint8)(i < 256 ? i : i * 2654435761U >> 13);
    test_ok(afork_rpc_call_strings(rpc, strings, G_N_ELEMENTS(strings), NULL, test_on_reply, &reply,
                                   NULL));
    g_assert_cmpuint(reply.calls, ==, 0); /* never inside the call */
    g_assert_cmpuint(afork_rpc_get_pending(rpc), ==, 1);
    test_wait(t, reply.calls);
    test_ok(reply.error);
    g_assert_cmpuint(reply.strings->len, ==, G_N_ELEMENTS(strings));
    for (guint i = 0; i < reply.strings->len; i++) {
        gsize size;
        const void *data = g_bytes_get_data(g_ptr_array_index(reply.strings, i), &size);
        g_assert_cmpmem(data, size, strings[i].iov_base, strings[i].iov_len);
    }
    test_finish(t, rpc, &end);
    test_ok(end.error);
    g_assert_cmpint(end.cause, ==, AFORK_CAUSE_EXITED);
    g_assert_cmpint(end.status, ==, 0);
}

static void lists_may_be_empty(struct test *t)
{
    test_end_auto end = {0};
    test_reply_auto none = {0}, nothing = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_rpc *rpc = test_rpc(t, NULL, "act", &options);

    test_ok(afork_rpc_call(rpc, NULL, 0, NULL, test_on_reply, &none, NULL));
    test_call(rpc, &nothing, "nothing", NULL);
    test_wait(t, none.calls && nothing.calls);
    g_assert_cmpstr(test_reply_string(&none, 0), ==, "done");
    test_ok(nothing.error);
    g_assert_cmpuint(nothing.strings->len, ==, 0);
    g_assert_cmpuint(nothing.released, ==, 1);
    test_finish(t, rpc, &end);
}

static void data_is_taken(struct test *t)
{
    test_end_auto end = {0};
    test_reply_auto reply = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_rpc *rpc = test_rpc(t, NULL, "echo", &options);
    const size_t size = 20 << 20;
    g_autofree char *big = g_strnfill(size, 'x');
    const struct iovec string = {big, size};
    void *packed;
    size_t len;

    test_ok(afork_strings_pack(&string, 1, &packed, &len));
    test_ok(afork_rpc_call_take(rpc, packed, len, free, packed, NULL, test_on_reply, &reply, NULL));
    test_wait(t, reply.calls);
    test_ok(reply.error);
    gsize got;
    const void *data = g_bytes_get_data(g_ptr_array_index(reply.strings, 0), &got);
    g_assert_cmpmem(data, got, big, size);
    test_finish(t, rpc, &end);
}

static void steal(const struct afork_reply *reply, void *data)
{
    GBytes **stolen = data;
    void *octets = afork_reply_steal(reply);

    g_assert_nonnull(octets);
    g_assert_true(octets == reply->data || reply->len < 65536); /* what is long is not copied */
    g_assert_cmpmem(octets, reply->len, reply->data, reply->len);
    *stolen = g_bytes_new_with_free_func(octets, reply->len, free, octets);
}

static void results_can_be_stolen(struct test *t)
{
    test_end_auto end = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_rpc *rpc = test_rpc(t, NULL, "echo", &options);
    g_autofree char *big = g_strnfill(1 << 20, 'x');
    const struct iovec strings[] = {{big, 1 << 20}, {big, 10}};

    for (size_t i = 0; i < G_N_ELEMENTS(strings); i++) {
        g_autoptr(GBytes) stolen = NULL;
        test_ok(afork_rpc_call_strings(rpc, &strings[i], 1, NULL, steal, &stolen, NULL));
        test_wait(t, stolen);
        g_assert_cmpuint(g_bytes_get_size(stolen), >, strings[i].iov_len);
    }
    test_finish(t, rpc, &end);
}

static void calls_are_answered_in_order(struct test *t)
{
    test_end_auto end = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_rpc *rpc = test_rpc(t, NULL, "echo", &options);
    g_autofree struct test_reply *replies = g_new0(struct test_reply, MANY);

    for (guint i = 0; i < MANY; i++) {
        g_autofree char *number = g_strdup_printf("%u", i);
        test_call(rpc, &replies[i], number, NULL);
    }
    g_assert_cmpuint(afork_rpc_get_pending(rpc), ==, MANY);
    test_wait(t, replies[MANY - 1].calls);
    for (guint i = 0; i < MANY; i++) {
        g_assert_cmpuint(replies[i].calls, ==, 1);
        g_assert_cmpint(atoi(test_reply_string(&replies[i], 0)), ==, i);
        test_reply_clear(&replies[i]);
    }
    test_finish(t, rpc, &end);
}

/* Neither side waits for the other to read. */
static void both_sides_may_be_large(struct test *t)
{
    enum { CALLS = 50 };
    test_end_auto end = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_rpc *rpc = test_rpc(t, "sub large { AFork::RPC::event('so far'); @_ }", "large",
                                     &options);
    struct test_reply replies[CALLS] = {0};
    g_autofree char *big = g_strnfill(1 << 20, 'x');

    test_rpc_wait(t, rpc);
    test_inside(test_ok(setsockopt(rpc->fd, SOL_SOCKET, SO_SNDBUF, &(int){4096}, sizeof(int))));
    for (guint i = 0; i < CALLS; i++)
        test_call(rpc, &replies[i], big, NULL);
    for (guint i = 0; i < CALLS; i++) {
        test_wait(t, replies[i].calls);
        g_assert_cmpuint(replies[i].events, ==, 1);
        g_assert_cmpuint(g_bytes_get_size(g_ptr_array_index(replies[i].strings, 0)), ==, 1 << 20);
        test_reply_clear(&replies[i]);
    }
    test_finish(t, rpc, &end);
}

static void json_carries_structures(struct test *t)
{
    test_end_auto end = {0};
    test_reply_auto reply = {0}, thrown = {0};
    struct afork_rpc_options options = test_rpc_options(&end);

    options.serialiser = AFORK_SERIALISER_JSON;
    struct afork_rpc *rpc = test_rpc(
        t, "sub f { die { code => 7 } if $_[0] eq 'die'; { sum => $_[0][0] + $_[0][1] } }", "f",
        &options);
    const char arguments[] = "[[1,2]]", die[] = "[\"die\"]";
    test_ok(afork_rpc_call(rpc, arguments, strlen(arguments), NULL, test_on_reply, &reply, NULL));
    test_ok(afork_rpc_call(rpc, die, strlen(die), NULL, test_on_reply, &thrown, NULL));
    test_wait(t, thrown.calls);
    test_ok(reply.error);
    const char result[] = "[{\"sum\":3}]", object[] = "[{\"code\":7}]";
    gsize size;
    const void *data = g_bytes_get_data(reply.data, &size);
    g_assert_cmpmem(data, size, result, strlen(result));
    g_assert_cmpint(thrown.error, ==, -EREMOTEIO);
    g_assert_true(g_str_has_prefix(thrown.message, "HASH("));
    data = g_bytes_get_data(thrown.data, &size);
    g_assert_cmpmem(data, size, object, strlen(object));
    test_finish(t, rpc, &end);
}

/* ---- Exceptions and ends ---- */

static void exception_fails_its_call(struct test *t)
{
    test_end_auto end = {0};
    test_reply_auto before = {0}, thrown = {0}, after = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_rpc *rpc = test_rpc(t, NULL, "act", &options);

    test_call(rpc, &before, "pid", NULL);
    test_call(rpc, &thrown, "die", "no such picture\n", NULL);
    test_call(rpc, &after, "pid", NULL);
    test_wait(t, after.calls);
    g_assert_cmpint(thrown.error, ==, -EREMOTEIO);
    g_assert_cmpstr(thrown.message, ==, "no such picture" TEST_EOL);
    g_assert_false(thrown.has_exit);
    g_autofree char *pid = g_strdup(test_reply_string(&before, 0));
    g_assert_cmpstr(test_reply_string(&after, 0), ==, pid);
    test_finish(t, rpc, &end);
    test_ok(end.error);
}

static void exception_may_end_the_worker(struct test *t)
{
    test_end_auto end = {0};
    test_reply_auto thrown = {0}, after = {0};
    struct afork_rpc_options options = test_rpc_options(&end);

    options.exceptions_end = true;
    t->options.standard_error.mode = AFORK_STDIO_NULL;
    struct afork_rpc *rpc = test_rpc(t, NULL, "act", &options);
    test_call(rpc, &thrown, "die", "enough\n", NULL);
    test_call(rpc, &after, "pid", NULL);
    test_wait(t, end.calls);
    g_assert_cmpint(thrown.error, ==, -ECONNRESET);
    g_assert_cmpint(thrown.cause, ==, AFORK_CAUSE_EXITED);
    g_assert_cmpint(thrown.status, ==, 255);
    g_assert_cmpint(after.error, ==, -ECONNRESET);
    g_assert_cmpint(end.error, ==, -ECONNRESET);
    afork_rpc_unref(rpc);
}

static void wide_characters_fail_their_call(struct test *t)
{
    test_end_auto end = {0};
    test_reply_auto wide = {0}, upgraded = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_rpc *rpc = test_rpc(
        t,
        "sub f { $_[0] eq 'wide' ? chr 0x263a : do { my $x = qq(\\xe9); utf8::upgrade($x); $x } }",
        "f", &options);

    test_call(rpc, &wide, "wide", NULL);
    test_call(rpc, &upgraded, "upgraded", NULL);
    test_wait(t, upgraded.calls);
    g_assert_cmpint(wide.error, ==, -EREMOTEIO);
    g_assert_nonnull(strcasestr(wide.message, "wide character"));
    g_assert_cmpstr(test_reply_string(&upgraded, 0), ==, "\xe9");
    test_finish(t, rpc, &end);
}

static void init_gets_the_arguments(struct test *t)
{
    test_end_auto end = {0};
    test_reply_auto reply = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_process *process = test_rpc_process(t,
                                                     "sub init { $got = qq(@_) } sub got { $got }");
    struct afork_rpc *rpc;

    options.init = "init";
    test_ok(afork_process_send_arg(process, "one", 3));
    test_ok(afork_process_send_arg(process, "two", 3));
    test_ok(afork_rpc_new(process, "got", &options, &rpc));
    afork_process_unref(process);
    test_call(rpc, &reply, NULL);
    test_wait(t, reply.calls);
    g_assert_cmpstr(test_reply_string(&reply, 0), ==, "one two");
    test_finish(t, rpc, &end);
}

/* ---- Events and descriptors ---- */

static void events_belong_to_calls(struct test *t)
{
    test_end_auto end = {0};
    test_reply_auto first = {0}, second = {0};
    struct afork_rpc_options options = test_rpc_options(&end);

    struct afork_rpc *rpc = test_rpc(t, NULL, "act", &options);
    test_call(rpc, &first, "event", "one", "two", NULL);
    test_call(rpc, &second, "event", "three", NULL);
    test_wait(t, second.calls);
    g_assert_cmpstr(first.told->str, ==, "one\ntwo\n");
    g_assert_cmpstr(second.told->str, ==, "three\n");
    g_assert_cmpuint(end.events, ==, 0);

    test_reply_auto plain = {0};
    const struct iovec strings[] = {{(void *)"event", 5}, {(void *)"general", 7}};
    test_ok(afork_rpc_call_strings(rpc, strings, 2, NULL, test_on_reply, &plain, NULL));
    test_wait(t, plain.calls);
    g_assert_cmpstr(end.told->str, ==, "general\n");
    test_finish(t, rpc, &end);
}

static void descriptors_go_both_ways(struct test *t)
{
    test_end_auto end = {0};
    test_reply_auto reply = {0}, after = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_call_options with_fd = AFORK_CALL_OPTIONS_INIT;
    struct afork_rpc *rpc = test_rpc(
        t,
        "sub f { my ($word, $in) = @_; return 'none' unless ref $in; my $line = <$in>;"
        "  pipe my $r, my $w; syswrite $w, qq($word $line); ('first', $r, 'last') }",
        "f", &options);
    int pair[2];

    test_ok(pipe2(pair, O_CLOEXEC));
    with_fd.fds = pair;
    with_fd.n_fds = 1;
    test_ok(test_call_full(rpc, &reply, &with_fd, (const char *[]){"hello", NULL}, NULL));
    close(pair[0]);
    test_call(rpc, &after, "x", NULL);
    g_assert_cmpint(write(pair[1], "world\n", 6), ==, 6);
    close(pair[1]);
    test_wait(t, after.calls);
    g_assert_cmpstr(test_reply_string(&after, 0), ==, "none");
    g_assert_cmpstr(test_reply_string(&reply, 0), ==, "first");
    g_assert_cmpstr(test_reply_string(&reply, 1), ==, "last");
    g_assert_cmpuint(reply.n_fds, ==, 1);
    g_assert_cmpint(fcntl(reply.fds[0], F_GETFD) & FD_CLOEXEC, ==, FD_CLOEXEC);
    char text[64] = "";
    g_assert_cmpint(read(reply.fds[0], text, sizeof text - 1), ==, 12);
    g_assert_cmpstr(text, ==, "hello world\n");
    test_finish(t, rpc, &end);
}

/* Octets as memory, sealed. */
static void memory_is_a_descriptor(struct test *t)
{
    enum { LEN = 100000, SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };
    test_end_auto end = {0};
    test_reply_auto reply = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_rpc *rpc = test_rpc(t, "sub f { ($_[0], AFork::memfd('x' x $_[0])) }", "f",
                                     &options);
    g_autofree char *text = g_malloc(LEN + 1);

    test_call(rpc, &reply, G_STRINGIFY(100000), NULL);
    test_wait(t, reply.calls);
    g_assert_cmpstr(test_reply_string(&reply, 0), ==, "100000");
    g_assert_cmpuint(reply.n_fds, ==, 1);
    g_assert_cmpint(read(reply.fds[0], text, LEN + 1), ==, LEN);
    g_assert_cmpint(fcntl(reply.fds[0], F_GET_SEALS), ==, SEALS);
    for (int i = 0; i < LEN; i++)
        g_assert_cmpint(text[i], ==, 'x');
    test_finish(t, rpc, &end);
}

static void bad_descriptors_are_refused(struct test *t)
{
    test_end_auto end = {0};
    test_reply_auto reply = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_call_options bad = AFORK_CALL_OPTIONS_INIT;
    struct afork_rpc *rpc = test_rpc(t, NULL, "echo", &options);
    const char *const none[] = {NULL};

    bad.fds = (int[]){-1};
    bad.n_fds = 1;
    g_assert_cmpint(test_call_full(rpc, &reply, &bad, none, NULL), ==, -EBADF);
    bad.n_fds = 0;
    bad.timeout = -1;
    g_assert_cmpint(test_call_full(rpc, &reply, &bad, none, NULL), ==, -EINVAL);
    g_assert_cmpuint(reply.released, ==, 0);
    g_assert_cmpuint(afork_rpc_get_pending(rpc), ==, 0);
    test_finish(t, rpc, &end);
}

static void many_descriptors_are_refused(struct test *t)
{
    test_end_auto end = {0};
    test_reply_auto reply = {0}, most = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_call_options call = AFORK_CALL_OPTIONS_INIT;
    struct afork_rpc *rpc = test_rpc(t, "sub f { scalar @_ }", "f", &options);
    const char *const none[] = {NULL};
    int fds[AFORK_CALL_FDS_MAX + 1] = {0};

    call.fds = fds;
    call.n_fds = G_N_ELEMENTS(fds);
    g_assert_cmpint(test_call_full(rpc, &reply, &call, none, NULL), ==, -EINVAL);
    g_assert_cmpuint(reply.calls + reply.released, ==, 0);
    g_assert_cmpuint(afork_rpc_get_pending(rpc), ==, 0);
    call.n_fds--;
    test_ok(test_call_full(rpc, &most, &call, none, NULL));
    test_wait(t, most.calls);
    g_assert_cmpint(atoi(test_reply_string(&most, 0)), ==, AFORK_CALL_FDS_MAX);
    test_finish(t, rpc, &end);
}

/* ---- Time and cancellation ---- */

static void time_limit_completes(struct test *t)
{
    test_end_auto end = {0};
    test_reply_auto late = {0}, good = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_rpc *rpc = test_rpc(t, "sub f { sysread $_[1], my $x, 1 if $_[1]; $_[0] }", "f",
                                     &options);
    struct afork_call_options limited = AFORK_CALL_OPTIONS_INIT;
    int pair[2];

    test_ok(pipe2(pair, O_CLOEXEC));
    limited.timeout = 50 * MILLISECOND;
    limited.fds = pair;
    limited.n_fds = 1;
    test_ok(test_call_full(rpc, &late, &limited, (const char *[]){"late", NULL}, NULL));
    test_call(rpc, &good, "good", NULL);
    test_wait(t, late.calls);
    g_assert_cmpint(late.error, ==, -ETIMEDOUT);
    g_assert_cmpuint(late.released, ==, 1);
    g_assert_cmpuint(good.calls, ==, 0);
    close(pair[0]);
    close(pair[1]); /* its answer comes now, and goes nowhere */
    test_wait(t, good.calls);
    g_assert_cmpstr(test_reply_string(&good, 0), ==, "good");
    g_assert_cmpuint(late.calls, ==, 1);
    test_finish(t, rpc, &end);
    test_ok(end.error);
}

static void cancelled_calls_complete(struct test *t)
{
    test_end_auto end = {0};
    test_reply_auto sent = {0}, unsent = {0}, good = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_call_options none = AFORK_CALL_OPTIONS_INIT;
    struct afork_rpc *rpc = test_rpc(t, NULL, "echo", &options);
    const char *const strings[] = {"x", NULL};
    struct afork_call *first, *second;

    test_rpc_wait(t, rpc);
    test_ok(test_call_full(rpc, &sent, &none, strings, &first));
    test_ok(test_call_full(rpc, &unsent, &none, strings, &second));
    test_ok(afork_call_cancel(first, AFORK_CANCEL_ABANDON));
    g_assert_cmpint(afork_call_cancel(first, AFORK_CANCEL_ABANDON), ==, -EALREADY);
    test_ok(afork_call_cancel(second, AFORK_CANCEL_QUEUED));
    g_assert_cmpuint(sent.calls + unsent.calls, ==, 0);
    test_call(rpc, &good, "good", NULL);
    test_wait(t, good.calls);
    g_assert_cmpint(sent.error, ==, -ECANCELED);
    g_assert_cmpint(unsent.error, ==, -ECANCELED);
    g_assert_cmpuint(sent.calls + unsent.calls + good.calls, ==, 3);
    g_assert_cmpuint(sent.released + unsent.released, ==, 2);
    g_assert_cmpstr(test_reply_string(&good, 0), ==, "good");
    test_finish(t, rpc, &end);
}

static void late_cancellation_is_refused(struct test *t)
{
    test_end_auto end = {0};
    test_reply_auto sent = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_call_options none = AFORK_CALL_OPTIONS_INIT;
    struct afork_rpc *rpc = test_rpc(t, NULL, "echo", &options);
    struct afork_call *call;

    test_rpc_wait(t, rpc);
    test_ok(test_call_full(rpc, &sent, &none, (const char *[]){"x", NULL}, &call));
    g_assert_cmpint(afork_call_cancel(call, AFORK_CANCEL_QUEUED), ==, -EBUSY);
    g_assert_cmpint(afork_call_cancel(call, AFORK_CANCEL_KILL), ==, -EINVAL);
    test_wait(t, sent.calls);
    g_assert_cmpstr(test_reply_string(&sent, 0), ==, "x");
    test_finish(t, rpc, &end);
}

/* A call that is cancelled while half of it is written must be written on. */
static void half_written_call_may_be_cancelled(struct test *t)
{
    test_end_auto end = {0};
    test_reply_auto big = {0}, good = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_call_options none = AFORK_CALL_OPTIONS_INIT;
    struct afork_rpc *rpc = test_rpc(t, NULL, "echo", &options);
    g_autofree char *text = g_strnfill(4 << 20, 'x');
    struct afork_call *call;

    test_rpc_wait(t, rpc);
    test_ok(test_call_full(rpc, &big, &none, (const char *[]){text, NULL}, &call));
    test_inside(g_assert_true(rpc->writing == call));
    test_ok(afork_call_cancel(call, AFORK_CANCEL_ABANDON));
    test_call(rpc, &good, "good", NULL);
    test_wait(t, good.calls);
    g_assert_cmpint(big.error, ==, -ECANCELED);
    g_assert_cmpstr(test_reply_string(&good, 0), ==, "good");
    test_finish(t, rpc, &end);
}

/* ---- The original's frames, and the asynchronous back end ---- */

static void original_frames(struct test *t)
{
    for (int async = 0; async < 2; async++) {
        test_end_auto end = {0};
        test_reply_auto first = {0}, second = {0};
        struct afork_rpc_options options = test_rpc_options(&end);
        options.frames = AFORK_RPC_FRAMES_ORIGINAL;
        options.async = async;
        struct afork_rpc *rpc = test_rpc(
            t,
            "sub sync { AnyEvent::Fork::RPC::event('hi', @_); reverse @_ }"
            "sub async { my $done = shift; AnyEvent::Fork::RPC::event('hi', @_);"
            "  $done->(reverse @_) }",
            async ? "async" : "sync", &options);
        test_call(rpc, &first, "a", "b", NULL);
        test_call(rpc, &second, "c", NULL);
        test_wait(t, second.calls);
        g_assert_cmpstr(test_reply_string(&first, 0), ==, "b");
        g_assert_cmpstr(test_reply_string(&second, 0), ==, "c");
        g_assert_cmpstr(end.told->str, ==, "hi\na\nb\nhi\nc\n");
        test_finish(t, rpc, &end);
        test_ok(end.error);
    }
}

static void asynchronous_calls_overlap(struct test *t)
{
    test_end_auto end = {0};
    test_reply_auto first = {0}, second = {0}, third = {0};
    g_autoptr(GString) order = g_string_new(NULL);
    struct afork_rpc_options options = test_rpc_options(&end);

    options.async = true;
    struct afork_rpc *rpc = test_rpc(
        t,
        "sub f { my ($done, $what) = @_; die qq(no\\n) if $what eq 'die';"
        "  if ($what eq 'wait') { push @waiting, $done; return }"
        "  $done->('now'); $_->('later') for splice @waiting }",
        "f", &options);
    first.order = second.order = third.order = order;
    first.tag = '1', second.tag = '2', third.tag = '3';
    test_call(rpc, &first, "wait", NULL);
    test_call(rpc, &second, "die", NULL);
    test_call(rpc, &third, "go", NULL);
    test_wait(t, first.calls);
    g_assert_cmpstr(order->str, ==, "231");
    g_assert_cmpstr(test_reply_string(&first, 0), ==, "later");
    g_assert_cmpint(second.error, ==, -EREMOTEIO);
    g_assert_cmpstr(second.message, ==, "no" TEST_EOL);
    test_finish(t, rpc, &end);
    test_ok(end.error);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        test_func *func;
    } cases[] = {
        {"/rpc/values-are-octets", values_are_octets},
        {"/rpc/lists-may-be-empty", lists_may_be_empty},
        {"/rpc/data-is-taken", data_is_taken},
        {"/rpc/results-can-be-stolen", results_can_be_stolen},
        {"/rpc/order", calls_are_answered_in_order},
        {"/rpc/both-sides-large", both_sides_may_be_large},
        {"/rpc/json", json_carries_structures},
        {"/rpc/exception/fails-its-call", exception_fails_its_call},
        {"/rpc/exception/may-end-the-worker", exception_may_end_the_worker},
        {"/rpc/wide-characters", wide_characters_fail_their_call},
        {"/rpc/init", init_gets_the_arguments},
        {"/rpc/events", events_belong_to_calls},
        {"/rpc/descriptors/both-ways", descriptors_go_both_ways},
        {"/rpc/descriptors/memory", memory_is_a_descriptor},
        {"/rpc/descriptors/bad", bad_descriptors_are_refused},
        {"/rpc/descriptors/many", many_descriptors_are_refused},
        {"/rpc/timeout", time_limit_completes},
        {"/rpc/cancel/complete", cancelled_calls_complete},
        {"/rpc/cancel/refused", late_cancellation_is_refused},
        {"/rpc/cancel/half-written", half_written_call_may_be_cancelled},
        {"/rpc/original-frames", original_frames},
        {"/rpc/async", asynchronous_calls_overlap},
    };

    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
        test_calls_add(cases[i].path, cases[i].func);
    return g_test_run();
}
