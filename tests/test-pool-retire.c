/* SPDX-License-Identifier: MIT
 *
 * Workers that retire themselves, whatever perl, frames, back end and serialiser; and events that
 * are not that.
 */
#include <errno.h>
#include <string.h>

#include "test-pool-lib.h"

static const char code[] =
    "sub f { my $what = shift;"
    "  AnyEvent::Fork::Pool::retire() if $what eq 'anyevent'; AFork::Pool::retire() if $what eq "
    "'afork';"
    "  AnyEvent::Fork::RPC::event(@_) if $what eq 'event'; $what eq 'event' ? 'sent' : $$ }"
    "sub g { my $done = shift; $done->(f(@_)) }";

/* A serialiser whose octets are like nothing that goes in, in a file of its own so to say. */
#define HEX                                                                                        \
    "return (sub { unpack 'H*', pack '(w/a*)*', @_ },"                                             \
    " sub { unpack '(w/a*)*', pack 'H*', shift }) # and no more"

/* ---- What is told ---- */

struct told {
    struct test_pool pool; /* first */
    GPtrArray *events;     /* GBytes */
};

static void on_event(struct afork_pool *pool, pid_t pid, const struct afork_event *event,
                     void *data)
{
    struct told *told = data;

    (void)pool, (void)pid;
    g_ptr_array_add(told->events, g_bytes_new(event->data, event->len));
}

/* The results as they came. */
static void on_reply(const struct afork_reply *reply, void *data)
{
    g_assert_cmpint(reply->error, ==, 0);
    *(GBytes **)data = g_bytes_new(reply->data, reply->len);
}

static GBytes *call(struct test *t, struct told *told, const void *data, size_t len)
{
    GBytes *result = NULL;

    test_ok(afork_pool_call(told->pool.pool, data, len, NULL, on_reply, &result, NULL));
    test_wait(t, result);
    return result;
}

/* ---- Each serialiser ---- */

struct serialiser {
    const char *code;
    /* A list of one string, packed; NULL: by the perl of the test. */
    const char *pid, *anyevent, *afork;
};

static const struct serialiser serialisers[] = {
    {AFORK_SERIALISER_OCTETS, "\3pid", "\10anyevent", "\5afork"},
    {AFORK_SERIALISER_JSON, "[\"pid\"]", "[\"anyevent\"]", "[\"afork\"]"},
    {HEX, "03706964", "08616e796576656e74", "0561666f726b"},
};

/* A worker that has retired answers its call, and is replaced. */
static void retires(struct test *t, const struct serialiser *with, bool async)
{
    struct told told = {.events = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref)};
    struct afork_pool_options options = test_pool_options(&told.pool);
    const char *const acts[] = {with->anyevent, with->afork};

    options.rpc.frames = AFORK_RPC_FRAMES_ORIGINAL;
    options.rpc.async = async;
    options.rpc.serialiser = with->code;
    options.on_event = on_event;
    options.max = options.load = 1;
    test_pool_new(t, &told.pool, code, async ? "g" : "f", &options);
    for (unsigned i = 0; i < G_N_ELEMENTS(acts); i++) {
        g_autoptr(GBytes) before = call(t, &told, with->pid, strlen(with->pid));
        g_autoptr(GBytes) retiring = call(t, &told, acts[i], strlen(acts[i]));
        g_autoptr(GBytes) after = call(t, &told, with->pid, strlen(with->pid));
        g_assert_true(g_bytes_equal(before, retiring));
        g_assert_false(g_bytes_equal(before, after));
        g_assert_cmpuint(test_pool_stats(&told.pool).retired, ==, i + 1);
    }
    g_assert_cmpuint(told.events->len, ==, 0);
    g_assert_cmpuint(test_pool_stats(&told.pool).crashed, ==, 0);
    test_pool_finish(&told.pool);
    g_ptr_array_unref(told.events);
}

static void synchronous(struct test *t)
{
    for (size_t i = 0; i < G_N_ELEMENTS(serialisers); i++)
        retires(t, &serialisers[i], false);
}

static void asynchronous(struct test *t)
{
    if (!test_pool_has_any_event(t, code))
        return;
    for (size_t i = 0; i < G_N_ELEMENTS(serialisers); i++)
        retires(t, &serialisers[i], true);
}

/* ---- Events ---- */

/* What the user sends is the user's, also where it looks like what hosts of the original send
 * themselves. */
static void events_are_events(struct test *t)
{
    static const char *const strings[] = {"", "quit", "retire", "AFork::Pool::Retire",
                                          ":t6Z@HK1N%Dx@_7?=~-7NQgWDdAs6a,jFN=wLO0*jD*1%P"};
    struct told told = {.events = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref)};
    struct afork_pool_options options = test_pool_options(&told.pool);

    options.rpc.frames = AFORK_RPC_FRAMES_ORIGINAL;
    options.on_event = on_event;
    options.max = options.load = 1;
    test_pool_new(t, &told.pool, code, "f", &options);
    for (guint i = 0; i < G_N_ELEMENTS(strings); i++) {
        test_reply_auto reply = {0};
        test_ok(test_pool_call(&told.pool, &reply, "event", strings[i], NULL, NULL));
        test_wait(t, !told.pool.open);
        g_assert_cmpint(reply.error, ==, 0);
        g_assert_cmpuint(told.events->len, ==, i + 1);
        struct afork_strings list = {0};
        const void *text;
        size_t len;
        list.data = g_bytes_get_data(told.events->pdata[i], &list.len);
        g_assert_cmpint(afork_strings_next(&list, &text, &len), ==, 1);
        g_assert_cmpmem(text, len, strings[i], strlen(strings[i]));
    }
    g_assert_cmpuint(test_pool_stats(&told.pool).retired, ==, 0);
    test_pool_finish(&told.pool);
    g_ptr_array_unref(told.events);
}

/* Those who ask for our names late get them, and change nothing of what is there. */
static void modules_may_come_late(struct test *t)
{
    for (int i = 0; i < 4; i++) {
        struct test_pool pool = {0};
        struct afork_pool_options options = test_pool_options(&pool);
        test_reply_auto before = {0}, retiring = {0}, after = {0};
        options.rpc.frames = i & 1 ? AFORK_RPC_FRAMES_ORIGINAL : AFORK_RPC_FRAMES_OWN;
        options.max = options.load = 1;
        options.rpc.init = i & 2 ? "late" : NULL;
        test_pool_new(
            t, &pool,
            "sub late { require AFork::RPC; require AFork::Pool; require AFork::RPC::Sync }"
            "sub h { late(); AFork::RPC::event('x'); AnyEvent::Fork::RPC::event('x');"
            "  AFork::Pool::retire() if $_[0] eq 'r';"
            "  AnyEvent::Fork::Pool::retire() if $_[0] eq 'r'; $$ }",
            "h", &options);
        test_ok(test_pool_call(&pool, &before, "x", NULL, NULL, NULL));
        test_wait(t, !pool.open);
        test_ok(test_pool_call(&pool, &retiring, "r", NULL, NULL, NULL));
        test_wait(t, !pool.open);
        test_ok(test_pool_call(&pool, &after, "x", NULL, NULL, NULL));
        test_wait(t, !pool.open);
        g_assert_cmpstr(retiring.message, ==, "");
        g_assert_true(g_bytes_equal(before.data, retiring.data));
        g_assert_false(g_bytes_equal(before.data, after.data));
        g_assert_cmpuint(pool.events, ==, 6);
        test_pool_finish(&pool);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_perl_add_all("/pool/retire/synchronous", synchronous);
    test_perl_add_all("/pool/retire/asynchronous", asynchronous);
    test_perl_add_all("/pool/retire/events", events_are_events);
    test_calls_add("/pool/retire/synchronous", synchronous);
    test_calls_add("/pool/retire/events", events_are_events);
    test_calls_add("/pool/retire/late-modules", modules_may_come_late);
    return g_test_run();
}
