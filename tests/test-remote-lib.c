/* SPDX-License-Identifier: MIT
 *
 * Remote processes over a command that works or misbehaves, and their ends.
 */
#include "test-remote-lib.h"

#include <string.h>
#include <unistd.h>

const char test_remote_functions[] =
    "sub echo {\n"
    "    my ($rfh, @args) = @_;\n"
    "    my $wfh = fileno $rfh ? $rfh : *STDOUT;\n"
    "    while (sysread $rfh, my $data, 65536) {\n"
    "        while ($data ne '') { substr $data, 0, syswrite($wfh, $data), '' }\n"
    "    }\n"
    "}\n"
    "sub digest {\n"
    "    my ($rfh, @args) = @_;\n"
    "    my $wfh = fileno $rfh ? $rfh : *STDOUT;\n"
    "    require Digest::MD5;\n"
    "    print $wfh length($_) . ' ' . Digest::MD5::md5_hex($_) . \"\\n\" for @args;\n"
    "}\n"
    "sub list {\n"
    "    my ($rfh, @args) = @_;\n"
    "    my $wfh = fileno $rfh ? $rfh : *STDOUT;\n"
    "    print $wfh join(' ', @main::seen, '-', @args), \"\\n\";\n"
    "}\n"
    "sub lines {\n"
    "    my ($rfh) = @_;\n"
    "    my $wfh = fileno $rfh ? $rfh : *STDOUT;\n"
    "    while (my $line = <$rfh>) { syswrite $wfh, \"got $line\" }\n"
    "}\n"
    "sub much { print 'x' x 300000, \"\\n\" }\n"
    "sub leave { exit 3 }\n"
    "sub bear { system 'echo from a child' }\n";

struct afork_process *test_remote_with(struct test *t, struct afork_remote_options *options)
{
    struct afork_process *process;

    test_ok(afork_process_new_remote(test_context(t), options, &process));
    return process;
}

struct afork_remote_options *test_remote_options(const char *behaviour, const char *argument)
{
    static struct afork_remote_options options;
    static const char *argv[5];

    const char *top = g_getenv("AFORK_TEST_SRCDIR");
    char *script = g_build_filename(top ? top : "..", "tests", "fake-ssh.sh", NULL);

    g_test_queue_free(script);
    argv[0] = "sh";
    argv[1] = script;
    argv[2] = behaviour;
    argv[3] = argument;
    options = (struct afork_remote_options)AFORK_REMOTE_OPTIONS_INIT;
    options.argv = argv;
    return &options;
}

struct afork_process *test_remote(struct test *t, const char *behaviour, const char *argument)
{
    return test_remote_with(t, test_remote_options(behaviour, argument));
}

struct afork_process *test_remote_any(struct test *t)
{
    const char *command = g_getenv("AFORK_TEST_REMOTE");
    g_auto(GStrv) words = g_strsplit(command ? command : "", " ", -1);
    struct afork_remote_options *options = test_remote_options("noise", "0");

    if (command)
        options->argv = (const char *const *)words;
    struct afork_process *process = test_remote_with(t, options);
    test_ok(afork_process_eval(process, test_remote_functions, NULL));
    return process;
}

struct test_remote_end test_remote_end_of(struct test *t, struct afork_process *process,
                                          const char *function)
{
    struct test_remote_end end = {0};

    test_ok(afork_process_on_exit(process, test_on_exit, &end.exit));
    test_ok(afork_process_run(process, function, test_on_run, &end.run));
    afork_process_unref(process);
    test_wait(t, end.run.calls);
    if (end.run.fd >= 0)
        close(end.run.fd);
    test_wait(t, end.exit.calls);
    g_assert_cmpuint(end.run.calls, ==, 1);
    g_assert_cmpuint(end.exit.calls, ==, 1);
    return end;
}

void test_assert_contains(const char *text, const char *part)
{
    if (!strstr(text, part))
        g_error("\"%s\" does not contain \"%s\"", text, part);
}

void test_with_tail(struct test *t)
{
    t->options.standard_error.mode = AFORK_STDIO_TAIL;
}
