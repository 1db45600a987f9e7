/* SPDX-License-Identifier: MIT
 *
 * Calls of perls of any kind: with our frames and with the original's, which need nothing of afork
 * there.
 */
#include <errno.h>
#include <string.h>

#include "test-rpc-lib.h"

static void calls_work(struct test *t, const struct afork_rpc_options *options,
                       struct test_end *end, const char *code)
{
    test_reply_auto first = {0}, thrown = {0}, last = {0};
    struct afork_rpc *rpc = test_rpc(t, code, "f", options);

    test_call(rpc, &first, "a", "", "\xff", NULL);
    if (options->frames == AFORK_RPC_FRAMES_OWN)
        test_call(rpc, &thrown, "die", NULL);
    test_call(rpc, &last, "last", NULL);
    test_wait(t, last.calls);
    g_assert_cmpuint(first.strings->len, ==, 4);
    g_assert_cmpstr(test_reply_string(&first, 0), ==, "got");
    g_assert_cmpstr(test_reply_string(&first, 1), ==, "a");
    g_assert_cmpstr(test_reply_string(&first, 3), ==, "\xff");
    g_assert_cmpstr(test_reply_string(&last, 1), ==, "last");
    if (options->frames == AFORK_RPC_FRAMES_OWN) {
        g_assert_cmpint(thrown.error, ==, -EREMOTEIO);
        g_assert_cmpstr(thrown.message, ==, "no" TEST_EOL);
        g_assert_cmpstr(first.told->str, ==, "hi\n");
    } else {
        g_assert_cmpstr(end->told->str, ==, "hi\nhi\n");
    }
    test_finish(t, rpc, end);
    test_ok(end->error);
}

static void own_frames(struct test *t)
{
    test_end_auto end = {0};
    struct afork_rpc_options options = test_rpc_options(&end);

    calls_work(t, &options, &end,
               "sub f { AFork::RPC::event('hi'); die qq(no\\n) if $_[0] eq 'die'; ('got', @_) }");
}

static void original_frames(struct test *t)
{
    test_end_auto end = {0};
    struct afork_rpc_options options = test_rpc_options(&end);

    options.frames = AFORK_RPC_FRAMES_ORIGINAL;
    calls_work(t, &options, &end, "sub f { AnyEvent::Fork::RPC::event('hi'); ('got', @_) }");
}

static void large_calls(struct test *t)
{
    test_end_auto end = {0};
    test_reply_auto reply = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_rpc *rpc = test_rpc(t, NULL, "echo", &options);
    g_autofree char *big = g_strnfill(3 << 20, 'x');

    test_call(rpc, &reply, big, big, NULL);
    test_wait(t, reply.calls);
    test_ok(reply.error);
    g_assert_cmpuint(g_bytes_get_size(g_ptr_array_index(reply.strings, 1)), ==, 3 << 20);
    test_finish(t, rpc, &end);
}

/* Of descriptors and ends nobody tells there. */
static void ends_are_seen(struct test *t)
{
    test_end_auto end = {0};
    test_reply_auto reply = {0}, with_fd = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_call_options call = AFORK_CALL_OPTIONS_INIT;
    struct afork_rpc *rpc = test_rpc(t, NULL, "act", &options);

    call.fds = (int[]){0};
    call.n_fds = 1;
    int result = test_call_full(rpc, &with_fd, &call, (const char *[]){"nothing", NULL}, NULL);
    g_assert_cmpint(result, ==, t->options.peer == AFORK_PEER_ORIGINAL ? -ENOTSUP : 0);
    test_call(rpc, &reply, "exit", "3", NULL);
    test_wait(t, end.calls);
    g_assert_cmpint(reply.error, ==, -ECONNRESET);
    g_assert_cmpint(reply.has_exit, ==, t->options.peer != AFORK_PEER_ORIGINAL);
    g_assert_cmpint(end.error, ==, -ECONNRESET);
    afork_rpc_unref(rpc);
}

/* A module of the original before its version 2. */
static void old_original(struct test *t)
{
    static const char module[] =
        "$INC{'AnyEvent/Fork/RPC/Sync.pm'} = 1; package AnyEvent::Fork::RPC::Sync;"
        "no warnings; undef $AnyEvent::Fork::RPC::Sync::VERSION;"
        "*run = sub { my ($function, $init, $serialiser, $done) = splice @_, -4; my $fh = shift;"
        "  sysread $fh, my $call, 4096;"
        "  syswrite $fh, pack 'NN/a*', 1, pack '(w/a*)*', $function, $init, $done, scalar @_;"
        "  sysread $fh, $call, 4096 };";
    test_end_auto end = {0};
    test_reply_auto reply = {0};
    struct afork_rpc_options options = test_rpc_options(&end);

    options.frames = AFORK_RPC_FRAMES_ORIGINAL;
    struct afork_rpc *rpc = test_rpc(t, module, "f", &options);
    test_call(rpc, &reply, NULL);
    test_wait(t, reply.calls);
    g_assert_cmpstr(test_reply_string(&reply, 0), ==, "f");
    g_assert_cmpstr(test_reply_string(&reply, 1), ==, "");
    g_assert_cmpstr(test_reply_string(&reply, 2), ==, "AnyEvent::Fork::RPC::Sync::do_exit");
    g_assert_cmpstr(test_reply_string(&reply, 3), ==, "0");
    test_finish(t, rpc, &end);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_perl_add_all("/rpc/peers/own-frames", own_frames);
    test_perl_add_all("/rpc/peers/original-frames", original_frames);
    test_perl_add_all("/rpc/peers/large", large_calls);
    test_perl_add_all("/rpc/peers/ends", ends_are_seen);
    test_perl_add_peer("afork-perl-as-original", "/rpc/peers/old-original", old_original);
    test_perl_add_peer("original", "/rpc/peers/old-original", old_original);
    test_perl_add_peer("pure-perl", "/rpc/peers/old-original", old_original);
    return g_test_run();
}
