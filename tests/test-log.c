/* SPDX-License-Identifier: MIT
 *
 * What a context tells of what it does: by topics, to a callback or to standard error.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "test-pool-lib.h"

/* Lines of "topic: message". */
static void on_log(enum afork_log_topic topic, const char *message, void *data)
{
    g_string_append_printf(data, "%s: %s\n", afork_log_topic_name(topic), message);
}

static bool told(const GString *log, const char *pattern)
{
    return g_regex_match_simple(pattern, log->str, G_REGEX_MULTILINE, 0);
}

#define assert_told(log, pattern)                                                                  \
    do {                                                                                           \
        if (!told(log, pattern))                                                                   \
            g_error("no line like '%s' in\n%s", pattern, (log)->str);                              \
    } while (0)

static void topics_have_names(void)
{
    static const enum afork_log_topic all[] = {AFORK_LOG_SPAWN, AFORK_LOG_WIRE, AFORK_LOG_POOL};
    unsigned mask = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(all); i++) {
        const char *name = afork_log_topic_name(all[i]);
        g_assert_cmpuint(afork_log_topics(name), ==, all[i]);
        mask |= all[i];
    }
    g_assert_cmpuint(afork_log_topics("all"), ==, mask);
    g_assert_cmpuint(afork_log_topics(" wire,, nonsense pool,"), ==,
                     AFORK_LOG_WIRE | AFORK_LOG_POOL);
    g_assert_cmpuint(afork_log_topics("wir"), ==, 0);
    g_assert_cmpuint(afork_log_topics("wires"), ==, 0);
    g_assert_cmpuint(afork_log_topics(""), ==, 0);
    g_assert_cmpuint(afork_log_topics(NULL), ==, 0);
    g_assert_null(afork_log_topic_name(0));
    g_assert_null(afork_log_topic_name(AFORK_LOG_SPAWN | AFORK_LOG_WIRE));
}

static void misuse(struct test *t)
{
    g_assert_cmpint(afork_context_set_log(NULL, 0, on_log, NULL), ==, -EINVAL);
    g_assert_cmpint(afork_context_set_log(test_context(t), 1u << 31, on_log, NULL), ==, -EINVAL);
}

static void life_of_processes(struct test *t)
{
    g_autoptr(GString) log = g_string_new(NULL);
    struct test_exit end = {0};

    test_ok(afork_context_set_log(test_context(t), AFORK_LOG_SPAWN, on_log, log));
    struct afork_process *template = test_perl_new(t), *worker = test_fork(template);
    test_ok(afork_process_on_exit(worker, test_on_exit, &end));
    int fd = test_run_function(t, worker, "echo");
    test_ok(afork_process_kill(worker, SIGUSR1));
    test_wait(t, end.calls);
    close(fd);
    assert_told(log, "^spawn: #1/[1-9]\\d* is started: .*afork-perl$");
    assert_told(log, "^spawn: #\\d+/0 is to be forked from #\\d+/[1-9]\\d*$");
    assert_told(log, "^spawn: #\\d+/[1-9]\\d* runs echo$");
    assert_told(log, "^spawn: signal 10 to #\\d+/[1-9]\\d*$");
    assert_told(log, "^spawn: #\\d+/[1-9]\\d* has ended: killed by signal 10");
    g_assert_false(told(log, "^(wire|pool):"));
    afork_process_unref(worker);
    afork_process_unref(template);
    afork_context_close(t->context);
    t->context = NULL; /* which still tells */
}

static void failures(struct test *t)
{
    g_autoptr(GString) log = g_string_new(NULL);
    struct test_run run = {0};

    t->options.standard_error.mode = AFORK_STDIO_NULL;
    test_ok(afork_context_set_log(test_context(t), afork_log_topics("all"), on_log, log));
    struct afork_process *process = test_perl_new_exec(t);
    test_ok(afork_process_eval(process, "die qq(two\\nlines\\x{1})", NULL));
    test_ok(afork_process_run(process, "list", test_on_run, &run));
    test_wait(t, run.calls);
    assert_told(log, "^wire: to #1/\\d+: eval, \\d+ octets: die qq\\(two.nlines");
    assert_told(log, "^wire: to #1/\\d+: run, 4 octets: list$");
    assert_told(log, "^wire: from #1/\\d+: hello, version 1$");
    assert_told(log, "^spawn: #1/\\d+ failed: two\\.lines\\.");
    afork_process_unref(process);

    test_ok(afork_context_set_perl(t->context, "/nonexistent/perl", AFORK_PEER_OWN, NULL));
    g_assert_cmpint(afork_process_new_exec(t->context, &process), ==, -ENOENT);
    assert_told(log, "^spawn: cannot start /nonexistent/perl: ");
    afork_context_close(t->context);
    t->context = NULL;
}

static void calls_of_a_pool(struct test *t)
{
    static const char code[] = "sub f { die 'no' if $_[0] eq 'die'; exit 3 if $_[0] eq 'exit'; 1 }";
    static const char *const arguments[] = {"a", "die", "exit", "b"};
    struct test_pool pool = {.t = t};
    struct afork_pool_options options = test_pool_options(&pool);
    struct test_reply replies[G_N_ELEMENTS(arguments)] = {0};
    g_autoptr(GString) log = g_string_new(NULL);

    t->options.standard_error.mode = AFORK_STDIO_NULL;
    options.max = options.load = 1;
    test_ok(afork_context_set_log(test_context(t), afork_log_topics("all"), on_log, log));
    test_pool_new(t, &pool, code, "f", &options);
    for (size_t i = 0; i < G_N_ELEMENTS(arguments); i++)
        test_ok(test_pool_call(&pool, &replies[i], arguments[i], NULL, NULL, NULL));
    test_wait(t, !pool.open);
    assert_told(log, "^pool: f: worker #\\d+/0 is starting$");
    assert_told(log, "^pool: f: worker #\\d+/[1-9]\\d* is ready$");
    assert_told(log, "^pool: f: call 2 waits, with 1 others$");
    assert_told(log, "^pool: f: call 1 goes to #\\d+/[1-9]\\d*$");
    assert_told(log, "^wire: to #\\d+/[1-9]\\d*: call 1, 2 octets, 0 descriptors$");
    assert_told(log, "^wire: from #\\d+/[1-9]\\d*: result 1, 2 octets, 0 descriptors$");
    assert_told(log, "^pool: f: call 1: done$");
    assert_told(log, "^pool: f: call 2: .*: no at ");
    assert_told(log, "^pool: f: call 3: ");
    assert_told(log, "^pool: f: worker #\\d+/[1-9]\\d* is leaving$");
    assert_told(log, "^pool: f: call 4: done$");
    for (size_t i = 0; i < G_N_ELEMENTS(replies); i++)
        test_reply_clear(&replies[i]);
    test_pool_finish(&pool);
    assert_told(log, "^pool: f: over, 3 calls completed$");
    afork_context_close(t->context);
    t->context = NULL;
}

/* What is written to standard error while `work` is done. */
static char *standard_error_of(struct test *t, void (*work)(struct test *t))
{
    int saved = dup(STDERR_FILENO), file = memfd_create("stderr", MFD_CLOEXEC);
    char text[4096] = "";

    g_assert_cmpint(dup2(file, STDERR_FILENO), ==, STDERR_FILENO);
    work(t);
    dup2(saved, STDERR_FILENO);
    close(saved);
    g_assert_cmpint(pread(file, text, sizeof text - 1, 0), >=, 0);
    close(file);
    return g_strdup(text);
}

static void start_one(struct test *t)
{
    g_free(test_output(t, test_perl_new_exec(t), "list"));
    afork_context_close(t->context);
    t->context = NULL;
}

static void environment_asks(struct test *t)
{
    g_autofree char *pattern = g_strdup_printf(
        "^afork\\[%d\\] \\d+\\.\\d{6} spawn: #1/\\d+ runs list$", getpid());

    g_setenv("AFORK_DEBUG", "spawn,nonsense", TRUE);
    g_autofree char *text = standard_error_of(t, start_one);
    g_unsetenv("AFORK_DEBUG");
    g_assert_true(g_regex_match_simple(pattern, text, G_REGEX_MULTILINE, 0));
    g_assert_null(strstr(text, "wire"));
    g_autofree char *nothing = standard_error_of(t, start_one);
    g_assert_cmpstr(nothing, ==, "");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/log/topics", topics_have_names);
    test_add("/log/misuse", misuse);
    test_perl_add("/log/processes", life_of_processes);
    test_perl_add("/log/failures", failures);
    test_perl_add("/log/pool", calls_of_a_pool);
    test_perl_add("/log/environment", environment_asks);
    return g_test_run();
}
