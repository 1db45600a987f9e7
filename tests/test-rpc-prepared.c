/* SPDX-License-Identifier: MIT
 *
 * What the synchronous back end is told where it is forked from, and processes that make use of it.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "test-pool-lib.h"

/* The first string of what one call returns. */
static void expect(struct test *t, struct afork_process *process, const char *function,
                   const struct afork_rpc_options *given, const char *expected)
{
    test_end_auto end = {0};
    test_reply_auto reply = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct afork_rpc *rpc;

    options.init = given ? given->init : NULL;
    options.serialiser = given ? given->serialiser : NULL;
    test_ok(afork_rpc_new(process, function, &options, &rpc));
    test_call(rpc, &reply, "x", NULL);
    test_wait(t, reply.calls);
    g_test_message("%s: %s", function, reply.message);
    test_ok(reply.error);
    if (options.serialiser) {
        gsize len;
        const void *data = g_bytes_get_data(reply.data, &len);
        g_assert_cmpmem(data, len, expected, strlen(expected));
    } else {
        g_assert_cmpstr(test_reply_string(&reply, 0), ==, expected);
    }
    test_finish(t, rpc, &end);
    test_ok(end.error);
}

static void functions_are_found(struct test *t)
{
    static const struct {
        const char *function, *expected;
    } cases[] = {
        {"one", "one x"},       {"main::one", "one x"}, {"Other::two", "two x"},
        {"loaded", "loaded x"}, {"later", "later x"},
    };
    struct afork_process *template = test_rpc_process(
        t, "require AFork::RPC::Sync; sub one { qq(one $_[0]) } sub Other::two { qq(two $_[0]) }"
           "sub AUTOLOAD { our $AUTOLOAD; return if $AUTOLOAD =~ /DESTROY/;"
           " $AUTOLOAD =~ s/.*:://; qq($AUTOLOAD $_[0]) }");

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct afork_process *process;
        test_ok(afork_process_fork(template, &process));
        expect(t, process, cases[i].function, NULL, cases[i].expected);
        afork_process_unref(process);
    }
    afork_process_unref(template);
}

/* What was prepared last counts; what was prepared is inherited, and defined when it is called. */
static void the_last_one_counts(struct test *t)
{
    struct afork_process *template = test_rpc_process(
        t, "sub one { 'one' } sub define { eval q(sub late { 'late' }) }");
    struct afork_process *child, *process;

    test_ok(afork_process_eval(template,
                               "require AFork::RPC::Sync;"
                               "AFork::RPC::prepare(function => 'late', init => 'missing');"
                               "AFork::RPC::prepare(function => 'one')",
                               NULL));
    test_ok(afork_process_fork(template, &child));
    test_ok(afork_process_fork(child, &process));
    expect(t, process, "late", &(struct afork_rpc_options){.init = "define"}, "late");
    afork_process_unref(process);
    test_ok(afork_process_fork(child, &process));
    expect(t, process, "one", NULL, "one");
    afork_process_unref(process);
    afork_process_unref(child);
    afork_process_unref(template);
}

static void init_has_the_arguments(struct test *t)
{
    struct afork_process *process = test_rpc_process(
        t, "our $all; sub start { $all = join '|', @_ } sub get { $all }");

    test_ok(afork_process_send_arg(process, "a", 1));
    test_ok(afork_process_send_arg(process, "-10", 3));
    expect(t, process, "get", &(struct afork_rpc_options){.init = "start"}, "a|-10");
    afork_process_unref(process);
}

static void the_title_is_that_of_the_function(struct test *t)
{
    static const char *const code[] = {"sub title { $0 }",
                                       "use English; sub title { $PROGRAM_NAME }"};
    g_autofree char *expected = g_strdup_printf("%d title", (int)getpid());

    for (size_t i = 0; i < G_N_ELEMENTS(code); i++) {
        struct test_pool pool = {0};
        test_reply_auto reply = {0};
        struct afork_pool_options options = test_pool_options(&pool);
        test_pool_new(t, &pool, code[i], "title", &options);
        test_ok(test_pool_call(&pool, &reply, NULL, NULL, NULL, NULL));
        test_wait(t, !pool.open);
        g_assert_cmpstr(test_reply_string(&reply, 0), ==, expected);
        test_pool_finish(&pool);
    }
}

/* Evaluated once in the template where that works, and where it does not, in the worker. */
static void the_serialiser_may_need_the_worker(struct test *t)
{
    static const char fails_first[] =
        "die qq(too early\\n) unless $main::ready; (sub { qq(in $_[0]) }, sub { $_[0] })";
    struct afork_process *process = test_rpc_process(
        t, "our $ready; sub start { $ready = 1 } sub one { 'worker' }");

    expect(t, process, "one",
           &(struct afork_rpc_options){.init = "start", .serialiser = fails_first}, "in worker");
    afork_process_unref(process);
}

/* A call that kills its process has begun. An init that dies has begun with none: the worker has
 * failed. */
static void crashes_are_blamed(struct test *t)
{
    struct test_pool pool = {0};
    test_reply_auto first = {0}, second = {0};
    struct afork_pool_options options = test_pool_options(&pool);

    options.single_call = true;
    options.max = options.max_failures = 1;
    test_pool_new(t, &pool, NULL, "act", &options);
    test_ok(test_pool_call(&pool, &first, "kill", "KILL", NULL, NULL));
    test_ok(test_pool_call(&pool, &second, "pid", NULL, NULL, NULL));
    test_wait(t, !pool.open);
    g_assert_cmpint(first.error, ==, -ECONNRESET);
    g_assert_cmpint(first.status, ==, SIGKILL);
    test_ok(second.error);
    test_pool_finish(&pool);
}

static void failed_starts_are_not_blamed(struct test *t)
{
    static const struct {
        const char *function, *init;
    } cases[] = {{"echo", "broken"}, {"missing", NULL}};

    t->options.standard_error.mode = AFORK_STDIO_NULL;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct test_pool pool = {0};
        test_reply_auto reply = {0};
        struct afork_pool_options options = test_pool_options(&pool);
        options.single_call = true;
        options.max = options.max_failures = 1;
        options.rpc.init = cases[i].init;
        test_pool_new(t, &pool, "sub broken { die qq(no database\\n) }", cases[i].function,
                      &options);
        test_ok(test_pool_call(&pool, &reply, "a", NULL, NULL, NULL));
        test_wait(t, !pool.open);
        g_assert_cmpint(reply.error, ==, -EIO);
        test_pool_finish(&pool);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_perl_add("/rpc/prepared/functions", functions_are_found);
    test_perl_add("/rpc/prepared/last", the_last_one_counts);
    test_perl_add("/rpc/prepared/init", init_has_the_arguments);
    test_perl_add("/rpc/prepared/title", the_title_is_that_of_the_function);
    test_perl_add("/rpc/prepared/serialiser", the_serialiser_may_need_the_worker);
    test_perl_add("/rpc/prepared/crash", crashes_are_blamed);
    test_perl_add("/rpc/prepared/failed-start", failed_starts_are_not_blamed);
    return g_test_run();
}
