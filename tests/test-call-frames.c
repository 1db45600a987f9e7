/* SPDX-License-Identifier: MIT
 *
 * Frames of calls at their edges: numbers that wrap around, sizes about those of buffers,
 * descriptors that belong to nothing.
 */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rpc.h"
#include "test-rpc-lib.h"

/* A back end that answers a call `keep` only when `free` comes, and others at once. */
static const char keeping[] =
    "no warnings; sub frame { my $p = pop; pack('CCnNN', @_, length $p) . $p }"
    "sub get { my ($fh, $n) = @_; my $b = '';"
    "  while (length $b < $n) { sysread $fh, $b, $n - length $b, length $b or exit 0 } $b }"
    "*AFork::RPC::Sync::run = sub { my $fh = shift; syswrite $fh, frame(2, 0, 0, 1, qq(\\5afork));"
    "  while (1) { my ($kind, $fds, $flags, $id, $len) = unpack 'CCnNN', get($fh, 12);"
    "    my $what = substr get($fh, $len), 1;"
    "    if ($what eq 'keep') { push @main::kept, $id; next }"
    "    if ($what eq 'free') { syswrite $fh, frame(3, 0, 0, $_, '') for splice @main::kept }"
    "    syswrite $fh, frame(3, 0, 0, $id, '') } }";

static struct afork_rpc *open_rpc(struct test *t, const char *code, const char *function,
                                  const struct afork_rpc_options *options)
{
    struct afork_rpc *rpc = test_rpc(t, code, function, options);

    test_wait(t, rpc->begun);
    return rpc;
}

/* Numbers of calls begin anew, but for 0. */
static void numbers_wrap_around(struct test *t)
{
    test_end_auto end = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct test_reply replies[100] = {0};
    struct afork_rpc *rpc = open_rpc(t, NULL, "echo", &options);

    rpc->last_id = UINT32_MAX - 20;
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < G_N_ELEMENTS(replies); i++) {
            g_autofree char *text = g_strdup_printf("%zu", i);
            test_call(rpc, &replies[i], text, NULL);
        }
        test_wait(t, !rpc->n_calls);
        for (size_t i = 0; i < G_N_ELEMENTS(replies); i++) {
            g_autofree char *text = g_strdup_printf("%zu", i);
            g_assert_cmpstr(test_reply_string(&replies[i], 0), ==, text);
            test_reply_clear(&replies[i]);
        }
    }
    g_assert_cmpuint(rpc->last_id, ==, 180);
    g_assert_cmpuint(rpc->n_used, ==, 0);
    test_finish(t, rpc, &end);
    test_ok(end.error);
}

/* And but for those that an asynchronous worker has not answered. */
static void numbers_in_use_are_left(struct test *t)
{
    test_end_auto end = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct test_reply kept[3] = {0};
    struct afork_rpc *rpc = open_rpc(t, keeping, "f", &options);

    rpc->async = true; /* its answers are taken as they come */
    rpc->last_id = UINT32_MAX - 2;
    for (size_t i = 0; i < G_N_ELEMENTS(kept); i++)
        test_call(rpc, &kept[i], "keep", NULL);
    for (int i = 0; i < 100; i++) {
        test_reply_auto reply = {0};
        test_call(rpc, &reply, "good", NULL);
        test_wait(t, reply.calls);
        test_ok(reply.error);
    }
    g_assert_cmpuint(rpc->n_slots, ==, 16);
    rpc->last_id = UINT32_MAX - 3;
    test_reply_auto last = {0};
    test_call(rpc, &last, "free", NULL);
    test_wait(t, last.calls);
    test_ok(last.error);
    for (size_t i = 0; i < G_N_ELEMENTS(kept); i++) {
        g_assert_cmpuint(kept[i].calls, ==, 1);
        test_ok(kept[i].error);
        test_reply_clear(&kept[i]);
    }
    g_assert_cmpuint(rpc->n_used, ==, 0);
    test_finish(t, rpc, &end);
    test_ok(end.error);
}

/* Sizes of frames about those of buffers, both ways. */
static void sizes_about_the_buffers(struct test *t)
{
    static const size_t borders[] = {8192, 65536, 1024 * 1024};
    g_autofree char *text = g_malloc(borders[2] + 64);
    test_end_auto end = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_rpc *rpc = open_rpc(t, NULL, "echo", &options);

    memset(text, 'x', borders[2] + 64);
    for (size_t i = 0; i < G_N_ELEMENTS(borders); i++) {
        struct test_reply replies[64] = {0};
        for (size_t j = 0; j < G_N_ELEMENTS(replies); j++) {
            struct iovec string = {text, borders[i] - 40 + j};
            test_ok(
                afork_rpc_call_strings(rpc, &string, 1, NULL, test_on_reply, &replies[j], NULL));
        }
        test_wait(t, !rpc->n_calls);
        for (size_t j = 0; j < G_N_ELEMENTS(replies); j++) {
            test_ok(replies[j].error);
            g_assert_cmpuint(replies[j].strings->len, ==, 1);
            g_assert_cmpuint(g_bytes_get_size(g_ptr_array_index(replies[j].strings, 0)), ==,
                             borders[i] - 40 + j);
            test_reply_clear(&replies[j]);
        }
    }
    test_finish(t, rpc, &end);
    test_ok(end.error);
}

/* Descriptors that no frame has a use for are not piled up. */
static void descriptors_of_no_frame(struct test *t)
{
    test_end_auto end = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_rpc *rpc = open_rpc(t, NULL, "echo", &options);
    struct afork__rpc_header event = {.kind = AFORK__RPC_EVENT};
    uint8_t frame[AFORK__RPC_HEADER_SIZE];
    struct iovec iov = {frame, sizeof frame};
    int pair[2];

    test_ok(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
    unsigned n_fds = test_count_fds();
    g_assert_cmpint(dup2(pair[0], rpc->fd), >=, 0); /* the worker finds its channel ended */
    afork__rpc_put_header(frame, &event);
    for (int i = 0; i < 10 && rpc->state == AFORK__RPC_OPEN; i++) {
        g_assert_cmpint(afork__fd_send(pair[1], &iov, 1, pair, 2, MSG_DONTWAIT), ==, sizeof frame);
        afork__rpc_io_cb(AFORK_IN, rpc);
    }
    g_assert_cmpuint(test_count_fds(), <=, n_fds);
    test_wait(t, end.calls);
    g_assert_cmpint(end.error, ==, -EPROTO);
    afork_rpc_unref(rpc);
    close(pair[0]);
    close(pair[1]);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_perl_add("/call-frames/numbers", numbers_wrap_around);
    test_perl_add("/call-frames/numbers/in-use", numbers_in_use_are_left);
    test_perl_add("/call-frames/sizes", sizes_about_the_buffers);
    test_perl_add("/call-frames/descriptors", descriptors_of_no_frame);
    return g_test_run();
}
