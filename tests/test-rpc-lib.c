/* SPDX-License-Identifier: MIT
 *
 * Calls, and what became of them.
 */
#include "test-rpc-lib.h"

#include <stdarg.h>
#include <string.h>
#include <unistd.h>

static const char functions[] =
    "no strict; no warnings; require POSIX;"
    "sub echo { @_ }"
    "sub nap { select undef, undef, undef, $_[0]; $$ }"
    "sub act { my ($what, @how) = @_;"
    "  die $how[0] if $what eq 'die'; exit $how[0] if $what eq 'exit';"
    "  POSIX::_exit($how[0]) if $what eq '_exit'; kill $how[0], $$ if $what eq 'kill';"
    "  AFork::RPC::event($_) for $what eq 'event' ? @how : ();"
    "  AFork::RPC::event('here'), AFork::RPC::flush() if $what eq 'stay';"
    "  select undef, undef, undef, 1000 if $what =~ /^(?:sleep|stay)$/;"
    "  $what eq 'pid' ? $$ : $what eq 'nothing' ? () : 'done' }";

const char test_holding[] =
    "no warnings; sub frame { my $p = pop; pack('CCnNN', @_, length $p) . $p }"
    "sub get { my ($fh, $n) = @_; my $b = '';"
    "  while (length $b < $n) { my $got = sysread $fh, $b, $n - length $b, length $b;"
    "    exit 0 if defined $got ? !$got : $! != 4 } $b }" /* not if a signal came */
    "$SIG{USR1} = sub { $main::go = 1 };"
    "sub nap { select undef, undef, undef, .01 }"
    "*AFork::RPC::Sync::run = sub { my $fh = shift; syswrite $fh, frame(2, 0, 0, 1, qq(\\5afork));"
    "  while (1) { my ($kind, $fds, $flags, $id, $len) = unpack 'CCnNN', get($fh, 12);"
    "    my $what = substr get($fh, $len), 1, 4;"
    "    if ($what eq 'wait') { nap() until $main::go; exit 3 }"
    "    if ($what eq 'nap') { nap() until $main::go }"
    "    if ($what eq 'hang') { nap() while 1 }"
    "    syswrite $fh, frame(3, 0, 1, $id, '') } }";

static void run_case(struct test *t)
{
    test_func *func = *(test_func **)t->data;

    t->options.perl = g_getenv("AFORK_PERL");
    func(t);
}

void test_calls_add(const char *path, test_func *func)
{
#ifdef ENABLE_PERL
    for (size_t i = 0; test_loop_types[i]; i++)
        test_add_data(test_loop_types[i], path, run_case, g_memdup2(&func, sizeof func));
#else
    (void)path, (void)func, (void)run_case;
#endif
}

static void tell_strings(GString **told, const void *data, size_t len)
{
    struct afork_strings list = {data, len};
    const void *string;
    size_t size;

    if (!*told)
        *told = g_string_new(NULL);
    while (afork_strings_next(&list, &string, &size) > 0) {
        g_string_append_len(*told, string, (gssize)size);
        g_string_append_c(*told, '\n');
    }
}

void test_on_reply(const struct afork_reply *reply, void *result)
{
    struct test_reply *r = result;
    struct afork_strings list = {reply->data, reply->len};
    const void *string;
    size_t size;
    int more;

    r->calls++;
    r->error = reply->error;
    g_strlcpy(r->message, reply->message, sizeof r->message);
    r->has_exit = reply->exit;
    r->cause = reply->exit ? reply->exit->cause : AFORK_CAUSE_UNKNOWN;
    r->status = reply->exit ? reply->exit->status : -1;
    r->data = g_bytes_new(reply->data, reply->len);
    r->strings = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    while ((more = afork_strings_next(&list, &string, &size)) > 0)
        g_ptr_array_add(r->strings, g_bytes_new(string, size));
    if (more < 0)
        g_clear_pointer(&r->strings, g_ptr_array_unref);
    for (; r->n_fds < reply->n_fds && r->n_fds < G_N_ELEMENTS(r->fds); r->n_fds++) {
        r->fds[r->n_fds] = reply->fds[r->n_fds];
        reply->fds[r->n_fds] = -1;
    }
    if (r->order)
        g_string_append_c(r->order, r->tag);
}

void test_on_reply_event(const struct afork_event *event, void *result)
{
    struct test_reply *r = result;

    g_assert_cmpuint(r->calls, ==, 0); /* before the result */
    r->events++;
    tell_strings(&r->told, event->data, event->len);
}

void test_on_release(void *result)
{
    ((struct test_reply *)result)->released++;
}

void test_reply_clear(struct test_reply *reply)
{
    g_clear_pointer(&reply->strings, g_ptr_array_unref);
    g_clear_pointer(&reply->data, g_bytes_unref);
    for (size_t i = 0; i < reply->n_fds; i++)
        close(reply->fds[i]);
    if (reply->told)
        g_string_free(reply->told, TRUE);
    *reply = (struct test_reply){0};
}

const char *test_reply_string(struct test_reply *reply, guint i)
{
    static char text[4096];
    gsize size;

    g_assert_cmpint(reply->error, ==, 0);
    g_assert_nonnull(reply->strings);
    g_assert_cmpuint(i, <, reply->strings->len);
    const void *data = g_bytes_get_data(g_ptr_array_index(reply->strings, i), &size);
    g_assert_cmpuint(size, <, sizeof text);
    if (size) /* or there is no `data` */
        memcpy(text, data, size);
    text[size] = '\0';
    return text;
}

static void on_event(struct afork_rpc *rpc, const struct afork_event *event, void *data)
{
    struct test_end *end = data;

    (void)rpc;
    g_assert_cmpuint(end->calls, ==, 0);
    end->events++;
    tell_strings(&end->told, event->data, event->len);
}

static void on_end(struct afork_rpc *rpc, int error, const char *message,
                   const struct afork_exit *exit, void *data)
{
    struct test_end *end = data;

    (void)rpc;
    end->calls++;
    end->error = error;
    g_strlcpy(end->message, message, sizeof end->message);
    end->has_exit = exit;
    end->cause = exit ? exit->cause : AFORK_CAUSE_UNKNOWN;
    end->status = exit ? exit->status : -1;
    if (end->order)
        g_string_append_c(end->order, '.');
}

void test_end_clear(struct test_end *end)
{
    if (end->told)
        g_string_free(end->told, TRUE);
    end->told = NULL;
}

struct afork_rpc_options test_rpc_options(struct test_end *end)
{
    struct afork_rpc_options options = AFORK_RPC_OPTIONS_INIT;

    options.on_event = on_event;
    options.on_end = on_end;
    options.data = end;
    return options;
}

struct afork_process *test_rpc_process(struct test *t, const char *code)
{
    struct afork_process *process = test_new(t);

    test_ok(afork_process_eval(process, functions, NULL));
    if (code)
        test_ok(afork_process_eval(process, code, NULL));
    return process;
}

struct afork_rpc *test_rpc(struct test *t, const char *code, const char *function,
                           const struct afork_rpc_options *options)
{
    struct afork_process *process = test_rpc_process(t, code);
    struct afork_rpc *rpc;

    test_ok(afork_rpc_new(process, function, options, &rpc));
    afork_process_unref(process);
    return rpc;
}

int test_call_full(struct afork_rpc *rpc, struct test_reply *reply,
                   struct afork_call_options *options, const char *const *list,
                   struct afork_call **ret)
{
    g_autoptr(GArray) strings = g_array_new(FALSE, FALSE, sizeof(struct iovec));

    for (; *list; list++) {
        struct iovec string = {(void *)*list, strlen(*list)};
        g_array_append_val(strings, string);
    }
    options->on_event = test_on_reply_event;
    options->release = test_on_release;
    return afork_rpc_call_strings(rpc, (struct iovec *)(void *)strings->data, strings->len, options,
                                  test_on_reply, reply, ret);
}

void test_call(struct afork_rpc *rpc, struct test_reply *reply, ...)
{
    struct afork_call_options options = AFORK_CALL_OPTIONS_INIT;
    g_autoptr(GPtrArray) list = g_ptr_array_new();
    va_list arguments;
    char *string;

    va_start(arguments, reply);
    do
        g_ptr_array_add(list, string = va_arg(arguments, char *));
    while (string);
    va_end(arguments);
    test_ok(test_call_full(rpc, reply, &options, (const char *const *)list->pdata, NULL));
}

void test_rpc_wait(struct test *t, struct afork_rpc *rpc)
{
    test_reply_auto reply = {0};

    test_call(rpc, &reply, "pid", NULL);
    test_wait(t, reply.calls);
    test_ok(reply.error);
}

void test_finish(struct test *t, struct afork_rpc *rpc, struct test_end *end)
{
    afork_rpc_unref(rpc);
    test_wait(t, end->calls);
    g_assert_cmpuint(end->calls, ==, 1);
}
