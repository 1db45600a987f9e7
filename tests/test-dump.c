/* SPDX-License-Identifier: MIT
 *
 * afork_context_dump(): it is JSON whatever the names and messages are, and says what is so. Perl's
 * own JSON::PP reads it. Against the fake server.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "test-lib.h"

/* Prints each value as a line, "processes.0.pid=123". */
static const char flatten[] =
    "use JSON::PP; binmode STDOUT, ':utf8';"
    "sub show { my ($at, $v) = @_;"
    "  if (ref $v eq 'HASH') { show(\"$at.$_\", $v->{$_}) for sort keys %$v }"
    "  elsif (ref $v eq 'ARRAY') { show(\"$at.$_\", $v->[$_]) for 0 .. $#$v }"
    "  else { print substr($at, 1), '=', $v // 'null', qq(\\n) } }"
    "show('', JSON::PP->new->utf8->decode($ARGV[0]))";

/* The dump of the test's context as such lines. The caller frees them. */
static char *dump(struct test *t)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *problems = NULL;
    char *json, *lines;
    int status;

    test_ok(afork_context_dump(t->context, &json));
    g_test_message("%s", json);
    const char *argv[] = {"perl", "-e", flatten, json, NULL};
    g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &lines, &problems,
                 &status, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(problems, ==, "");
    g_assert_cmpint(status, ==, 0);
    free(json);
    return lines;
}

static void assert_line(const char *lines, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void assert_line(const char *lines, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    g_autofree char *wanted = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    g_auto(GStrv) all = g_strsplit(lines, "\n", -1);
    if (!g_strv_contains((const char *const *)all, wanted))
        g_error("no line '%s' in\n%s", wanted, lines);
}

static void empty_context(struct test *t)
{
    test_context(t);
    g_autofree char *lines = dump(t);
    assert_line(lines, "host=%d", getpid());
    assert_line(lines, "perl=%s", t->options.perl);
    assert_line(lines, "last_error=null");
    g_assert_null(strstr(lines, "processes"));
}

/* A template with a worker and a server below it. */
static void tree(struct test *t)
{
    struct afork_process *template = test_new(t);
    struct afork_process *worker = test_fork(template), *server = test_fork(worker);
    int channel = test_run_function(t, worker, "hold");

    test_wait(t, afork_process_peer_pid(server) && afork_process_peer_pid(template));
    g_autofree char *lines = dump(t);
    assert_line(lines, "processes.0.default=1");
    assert_line(lines, "processes.0.state=template");
    assert_line(lines, "processes.0.children.0.pid=%d", (int)afork_process_peer_pid(template));
    assert_line(lines, "processes.0.children.0.state=template");
    assert_line(lines, "processes.0.children.0.function=null");
    assert_line(lines, "processes.0.children.0.children.0.state=worker");
    assert_line(lines, "processes.0.children.0.children.0.function=hold");
    assert_line(lines, "processes.0.children.0.children.0.children.0.state=server");
    assert_line(lines, "processes.0.children.0.children.0.children.0.pid=%d",
                (int)afork_process_peer_pid(server));
    g_assert_nonnull(strstr(lines, "processes.0.age_s="));
    g_assert_null(strstr(lines, "private_kb=null"));

    /* What an ended process left is found above. */
    struct test_exit end = {0};
    test_ok(afork_process_on_exit(template, test_on_exit, &end));
    afork_process_unref(template);
    test_wait(t, end.calls);
    g_autofree char *later = dump(t);
    assert_line(later, "processes.0.children.0.function=hold");
    close(channel);
    afork_process_unref(worker);
    afork_process_unref(server);
}

static void spares(struct test *t)
{
    t->options.spares = 1;
    struct afork_process *process = test_new(t);
    struct afork_spare_stats stats;

    test_wait(t, !afork_context_get_spare_stats(t->context, &stats) && stats.ready);
    g_autofree char *lines = dump(t);
    assert_line(lines, "spares.misses=1");
    assert_line(lines, "processes.0.spares.ready=1");
    assert_line(lines, "processes.0.children.1.state=spare");
    afork_process_unref(process);
}

/* Messages and names that are no text. */
static void octets(struct test *t)
{
    static const char odd[] =
        "die \"\\ \t \x01 \xc3\xa9 \xff \xc0\x80 \xed\xa0\x80 \xf0\x9f\x90\xaa "
        "\xf8\x88\x80\x80\x80 \xe2\x82";
    struct afork_process *process = test_new(t), *other = test_new(t);
    struct test_run run = {0};
    struct test_exit end = {0};

    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    test_ok(afork_process_eval(process, odd, NULL));
    test_ok(afork_process_run(process, "x\n\"\xff", test_on_run, &run));
    test_ok(afork_process_run(other, "a\n\"\xff", NULL, NULL));
    g_autofree char *before = dump(t);
    test_wait(t, end.calls);
    g_autofree char *after = dump(t);
    g_assert_nonnull(strstr(before, ".function=a\n\"\xef\xbf\xbd\n"));
    g_assert_nonnull(strstr(after, "last_error="));
    afork_process_unref(process);
    afork_process_unref(other);
}

/* The message of the first of the cases above. */
static void text_of_errors(struct test *t)
{
    struct afork_process *process = test_new(t);
    struct test_run run = {0};

    test_ok(afork_process_eval(process, "die \"\\ \t \x01 \xc3\xa9 \xff \xf0\x9f\x90\xaa", NULL));
    test_ok(afork_process_run(process, "dump", test_on_run, &run));
    test_wait(t, run.calls);
    g_autofree char *lines = dump(t);
    assert_line(lines, "last_error=\"\\ \t \x01 \xc3\xa9 \xef\xbf\xbd \xf0\x9f\x90\xaa");
    afork_process_unref(process);
}

/* What the host gives up is no error. */
static void spares_are_no_error(struct test *t)
{
    struct afork_process *process = test_new(t);
    struct afork_spare_stats stats;
    struct test_exit end = {0};

    test_ok(afork_process_set_spares(process, 2));
    test_wait(t, !afork_process_get_spare_stats(process, &stats) && stats.ready == 2);
    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    g_free(test_output(t, process, "dump"));
    test_wait(t, end.calls);
    test_turn_for(t, 20 * 1000);
    g_autofree char *lines = dump(t);
    assert_line(lines, "last_error=null");
}

static void start_that_failed(struct test *t)
{
    struct afork_process *process;

    t->options.perl = "/nonexistent";
    g_assert_cmpint(afork_process_new_exec(test_context(t), &process), ==, -ENOENT);
    g_autofree char *lines = dump(t);
    assert_line(lines, "last_error=cannot start /nonexistent: No such file or directory");
}

static void refused(struct test *t)
{
    char *json = NULL;

    g_assert_cmpint(afork_context_dump(NULL, &json), ==, -EINVAL);
    g_assert_cmpint(afork_context_dump(test_context(t), NULL), ==, -EINVAL);
    g_assert_null(json);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    test_add_for(&test_loop_poll, "/dump/empty", empty_context);
    test_add_for(&test_loop_poll, "/dump/tree", tree);
    test_add_for(&test_loop_poll, "/dump/spares", spares);
    test_add_for(&test_loop_poll, "/dump/octets", octets);
    test_add_for(&test_loop_poll, "/dump/errors", text_of_errors);
    test_add_for(&test_loop_poll, "/dump/spares-are-no-error", spares_are_no_error);
    test_add_for(&test_loop_poll, "/dump/start-that-failed", start_that_failed);
    test_add_for(&test_loop_poll, "/dump/refused", refused);
    return g_test_run();
}
