/* SPDX-License-Identifier: MIT
 *
 * Workers that send what is no answer. Each is one error, and the worker is dropped; nothing is
 * allocated because it was claimed.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "test-rpc-lib.h"

/* Replaces the back end by one that writes these octets when the first call came. */
static const char back_end[] =
    "no warnings; *AFork::RPC::Sync::run = *AnyEvent::Fork::RPC::Sync::run = sub {"
    "  my ($fh) = @_; sysread $fh, my $call, 65536; syswrite $fh, $main::octets;"
    "  1 while sysread $fh, $call, 65536 };"
    "sub header { pack 'CCnNN', @_ } sub frame { my $p = pop; header(@_, length $p) . $p }"
    "my $ready = frame(2, 0, 0, 1, qq(\\5afork)); ";

static const struct broken {
    const char *name;
    const char *octets; /* a Perl expression */
    const char *words;  /* part of what is said */
    enum afork_rpc_frames frames;
    uint32_t reply_max;
} broken[] = {
    {"unknown-kind", "$ready . header(7, 0, 0, 1, 0)", "not an answer", 0, 0},
    {"kind-0", "header(0, 0, 0, 0, 0)", "not an answer", 0, 0},
    {"call", "$ready . header(1, 0, 0, 1, 0)", "not an answer", 0, 0},
    {"not-zero", "$ready . header(3, 0, 9, 1, 0)", "not an answer", 0, 0},
    {"text", "qq(Welcome to this host, please log in\\n)", "not an answer", 0, 0},
    {"other-id", "$ready . frame(3, 0, 0, 77, '')", "not given", 0, 0},
    {"id-0", "$ready . frame(3, 0, 0, 0, '')", "not given", 0, 0},
    {"twice", "$ready . frame(3, 0, 0, 1, '') x 2", "not given", 0, 0},
    {"error-without-text", "$ready . frame(4, 0, 0, 1, '')", "no text", 0, 0},
    {"error-malformed", "$ready . frame(4, 0, 0, 1, qq(\\x20abc))", "no text", 0, 0},
    {"missing-descriptor", "$ready . frame(3, 1, 0, 1, '')", "descriptors are missing", 0, 0},
    {"version", "frame(2, 0, 0, 9, qq(\\5afork))", "version", 0, 0},
    {"serialiser", "frame(2, 0, 0, 1, '[\"afork\"]')", "another serialiser", 0, 0},
    {"byte-order", "frame(2, 0, 0, 1, qq(\\x04\\x0b\\x0812345678\\x04\\x08\\x08\\x08\\x02))",
     "another serialiser", 0, 0},
    {"too-long", "$ready . frame(3, 0, 0, 1, 'x' x 2000)", "more than it may", 0, 1000},
    {"original-other", "pack('NN/a*', 1, '') x 3", "not given",
     AFORK_RPC_FRAMES_ORIGINAL, 0},
};

static void broken_worker_is_dropped(struct test *t)
{
    for (size_t i = 0; i < G_N_ELEMENTS(broken); i++) {
        const struct broken *b = &broken[i];
        test_end_auto end = {0};
        test_reply_auto first = {0}, second = {0};
        struct afork_rpc_options options = test_rpc_options(&end);
        g_autofree char *code = g_strdup_printf("%s $octets = do { %s };", back_end, b->octets);
        g_test_message("%s", b->name);
        options.frames = b->frames;
        options.reply_max = b->reply_max;
        struct afork_rpc *rpc = test_rpc(t, code, "echo", &options);
        test_call(rpc, &first, "a", NULL);
        test_call(rpc, &second, "b", NULL);
        test_wait(t, end.calls);
        g_assert_cmpint(end.error, ==, -EPROTO);
        g_assert_nonnull(strstr(end.message, b->words));
        g_assert_cmpuint(first.calls, ==, 1);
        g_assert_cmpuint(second.calls, ==, 1);
        g_assert_cmpint(second.error, ==, b->frames ? second.error : -EPROTO);
        afork_rpc_unref(rpc);
    }
}

/* It claims almost 4 GiB, and ends. */
static void claimed_length_is_not_believed(struct test *t)
{
    test_end_auto end = {0};
    test_reply_auto reply = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    g_autofree char *code = g_strdup_printf(
        "%s $octets = $ready . header(3, 0, 0, 1, 0xfffffffe) . 'x' x 1000; "
        "*AFork::RPC::Sync::run = sub { sysread $_[0], my $x, 9999; syswrite $_[0], $octets }",
        back_end);
    struct rusage before, after;

    getrusage(RUSAGE_SELF, &before);
    struct afork_rpc *rpc = test_rpc(t, code, "echo", &options);
    test_call(rpc, &reply, "a", NULL);
    test_wait(t, end.calls);
    getrusage(RUSAGE_SELF, &after);
    g_assert_cmpint(reply.error, ==, -ECONNRESET);
    g_assert_cmpint(after.ru_maxrss - before.ru_maxrss, <, 64 * 1024); /* KiB */
    afork_rpc_unref(rpc);
}

/* Frames that come an octet at a time are frames. */
static void octets_may_come_alone(struct test *t)
{
    test_end_auto end = {0};
    test_reply_auto reply = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    g_autofree char *code = g_strdup_printf(
        "%s $octets = $ready . frame(5, 0, 0, 1, qq(\\2hi)) . frame(3, 0, 0, 1, qq(\\4good)); "
        "*AFork::RPC::Sync::run = sub { my $fh = shift; sysread $fh, my $x, 9999;"
        "  for (split //, $octets) { syswrite $fh, $_; select undef, undef, undef, .001 }"
        "  1 while sysread $fh, $x, 9999 }",
        back_end);
    struct afork_rpc *rpc = test_rpc(t, code, "echo", &options);

    test_call(rpc, &reply, "a", NULL);
    test_wait(t, reply.calls);
    g_assert_cmpstr(reply.told->str, ==, "hi\n");
    g_assert_cmpstr(test_reply_string(&reply, 0), ==, "good");
    test_finish(t, rpc, &end);
    test_ok(end.error);
}

/* The worker closes its channel, and lives. */
static void closed_channel_is_an_end(struct test *t)
{
    test_end_auto end = {0};
    test_reply_auto reply = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_process *process = test_rpc_process(
        t, "no warnings; *AFork::RPC::Sync::run = sub { close $_[0]; sleep 1000 }");
    struct afork_rpc *rpc;

    test_ok(afork_rpc_new(process, "echo", &options, &rpc));
    test_call(rpc, &reply, "a", NULL);
    test_wait(t, end.calls);
    g_assert_cmpint(reply.error, ==, -ECONNRESET);
    g_assert_false(reply.has_exit);
    test_ok(afork_process_kill(process, SIGKILL));
    afork_rpc_unref(rpc);
    afork_process_unref(process);
}

/* Its child holds the channel open when it ends. */
static void child_does_not_hide_the_end(struct test *t)
{
    test_end_auto end = {0};
    test_reply_auto reply = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_rpc *rpc = test_rpc(t,
                                     "sub f { my $pid = fork // die; sleep 60 unless $pid;"
                                     "  AFork::RPC::event($pid); AFork::RPC::flush();"
                                     "  POSIX::_exit(3) }",
                                     "f", &options);

    test_call(rpc, &reply, "a", NULL);
    test_wait(t, end.calls);
    g_assert_cmpint(reply.cause, ==, AFORK_CAUSE_EXITED);
    g_assert_cmpint(reply.status, ==, 3);
    g_assert_nonnull(reply.told);
    test_ok(kill((pid_t)atoi(reply.told->str), SIGKILL));
    afork_rpc_unref(rpc);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_perl_add("/rpc/broken/dropped", broken_worker_is_dropped);
    test_perl_add("/rpc/broken/claimed-length", claimed_length_is_not_believed);
    test_perl_add("/rpc/broken/octets", octets_may_come_alone);
    test_perl_add("/rpc/broken/closed-channel", closed_channel_is_an_end);
    test_perl_add("/rpc/broken/child", child_does_not_hide_the_end);
    return g_test_run();
}
