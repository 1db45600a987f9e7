/* SPDX-License-Identifier: MIT
 *
 * The peers of test-perl-lib.h, and the Perl code that their processes are given.
 */
#include "test-perl-lib.h"

struct peer {
    const char *name;
    bool is_afork_perl;
    enum afork_peer kind;
    const char *serve_module; /* NULL: ours */
    const char *needs;        /* a module that must be installed, or NULL */
};

static const struct peer peers[] = {
    {"afork-perl", true, AFORK_PEER_OWN, NULL, NULL},
    {"afork-perl-as-original", true, AFORK_PEER_ORIGINAL, "AnyEvent::Fork::Serve", NULL},
    {"original", false, AFORK_PEER_ORIGINAL, "AnyEvent::Fork::Serve", "AnyEvent::Fork::Serve"},
    {"pure-perl", false, AFORK_PEER_ORIGINAL, NULL, "IO::FDPass"},
};

struct perl_case {
    const struct peer *peer;
    test_func *func;
};

static const char prelude[] =
    "no strict; no warnings; our @seen; require Digest::MD5;"
    "sub list { my $ch = shift; syswrite $ch, join '', \"seen @seen\\n\", "
    "  map { ref $_ ? 'fd ' . join(':', (stat $_)[0, 1]) . \"\\n\" : \"arg $_\\n\" } @_ }"
    "sub digest { my $ch = shift; syswrite $ch, join '', "
    "  map { length() . ' ' . Digest::MD5::md5_hex($_) . \"\\n\" } @_ }"
    "sub echo { my $ch = shift; syswrite $ch, $_ while sysread $ch, $_, 65536 }"
    "sub descriptors { my $ch = shift;"
    "  require Fcntl; my $text = 'channel '"
    "    . (fcntl($ch, Fcntl::F_GETFL(), 0) & Fcntl::O_NONBLOCK() ? 'nonblocking' : 'blocking')"
    "    . (fcntl($ch, Fcntl::F_GETFD(), 0) & Fcntl::FD_CLOEXEC() ? ' cloexec' : '') . \"\\n\";"
    "  opendir my $dir, '/proc/self/fd'; for (readdir $dir) {"
    "    my $to = readlink \"/proc/self/fd/$_\"; $text .= \"$to\\n\" if defined $to }"
    "  syswrite $ch, $text }";

static const char *system_perl(void)
{
    const char *perl = g_getenv("PERL");
    return perl && *perl ? perl : "perl";
}

static bool is_installed(const char *module)
{
    g_autofree char *use = g_strdup_printf("-M%s", module);
    const char *argv[] = {system_perl(), use, "-e1", NULL};
    int status;

    return g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDERR_TO_DEV_NULL,
                        NULL, NULL, NULL, NULL, &status, NULL) &&
           status == 0;
}

static void run_perl_case(struct test *t)
{
    static const char *dirs[2];
    const struct perl_case *c = t->data;
    const char *afork_perl = g_getenv("AFORK_PERL");

    if (c->peer->needs && !is_installed(c->peer->needs)) {
        g_autofree char *reason = g_strdup_printf("%s is not installed", c->peer->needs);
        g_test_skip(reason);
        return;
    }
    dirs[0] = g_getenv("AFORK_TEST_PERL_LIB");
    t->options.perl = c->peer->is_afork_perl ? afork_perl : system_perl();
    t->options.peer = c->peer->kind;
    t->options.serve_module = c->peer->serve_module;
    if (!c->peer->is_afork_perl)
        t->options.include_dirs = dirs;
    c->func(t);
}

static void add_for_peer(const struct peer *peer, const char *path, test_func *func)
{
#ifndef ENABLE_PERL
    if (peer->is_afork_perl)
        return;
#endif
    if (test_launcher && peer != &peers[0])
        return;
    struct perl_case *c = g_new(struct perl_case, 1);

    *c = (struct perl_case){.peer = peer, .func = func};
    test_add_data(&test_loop_poll, path, run_perl_case, c);
}

void test_perl_add(const char *path, test_func *func)
{
    add_for_peer(&peers[0], path, func);
}

void test_perl_add_all(const char *path, test_func *func)
{
    for (size_t i = 0; i < G_N_ELEMENTS(peers); i++)
        test_perl_add_peer(peers[i].name, path, func);
}

void test_perl_add_peer(const char *peer, const char *path, test_func *func)
{
    g_autofree char *full = g_strdup_printf("%s/%s", path, peer);

    for (size_t i = 0; i < G_N_ELEMENTS(peers); i++)
        if (g_str_equal(peers[i].name, peer))
            add_for_peer(&peers[i], full, func);
}

static struct afork_process *prepare(struct afork_process *process)
{
    test_ok(afork_process_eval(process, prelude, NULL));
    return process;
}

struct afork_process *test_perl_new(struct test *t)
{
    return prepare(test_new(t));
}

struct afork_process *test_perl_new_exec(struct test *t)
{
    return prepare(test_new_exec(t));
}

guint8 *test_octets(gsize len)
{
    guint8 *octets = g_malloc(len);

    for (gsize i = 0; i < len; i++)
        octets[i] = (guint8)(i < 512 ? i : (guint)i * 2654435761U >> 13);
    return octets;
}

void test_send_digested(struct afork_process *process, const struct iovec *arguments, size_t n,
                        GString *expected)
{
    for (; n; n--, arguments++) {
        test_ok(afork_process_send_arg(process, arguments->iov_base, arguments->iov_len));
        g_autofree char *sum = g_compute_checksum_for_data(G_CHECKSUM_MD5, arguments->iov_base,
                                                           arguments->iov_len);
        g_string_append_printf(expected, "%zu %s\n", arguments->iov_len, sum);
    }
}
