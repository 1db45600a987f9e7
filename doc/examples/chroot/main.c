/* SPDX-License-Identifier: MIT
 *
 * Perl where there is no perl: a program that runs in a root directory with nothing in it but itself,
 * libc and libperl.so, and has the Perl modules of its workers inside.
 *
 * Built with libafork-perl-embed (pkg-config afork-perl-embed-1.0) and, by embed.pl, the modules.
 */
#include <afork/afork-perl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Made by embed.pl: name and source, name and source, ... */
extern const char *const modules[];

/* A hook in @INC hands out the sources, through pipes, which hold 64 KiB: a reference to a string would
 * need /dev/null, and a handle on a string needs a module. */
static const char hook[] = "my %source = @_;"
                           "unshift @INC, sub {"
                           "    my $source = $source{$_[1]} or return;"
                           "    pipe my $out, my $in or die qq(pipe: $!\n);"
                           "    print $in $source;"
                           "    close $in;"
                           "    return $out"
                           "};";

static const char worker[] =
    "use strict;"
    "sub greet { my ($channel, $name) = @_; syswrite $channel, Greeting->new($name)->text }";

_Noreturn static void fail(const char *what, int error)
{
    fprintf(stderr, "%s: %s (%s)\n", what, strerror(-error), afork_perl_error());
    exit(1);
}

static void on_run(struct afork_process *process, int fd, const struct afork_exit *failure,
                   void *data)
{
    (void)process;
    if (failure)
        fprintf(stderr, "%s\n", failure->message);
    *(int *)data = fd;
}

static void on_exit_notice(struct afork_process *process, const struct afork_exit *end, void *loop)
{
    (void)process;
    printf("the worker %s\n", end->message);
    afork_poll_quit(loop);
}

/* The hook first, so that the modules can be loaded, then the worker's code. */
static int prepare(struct afork_process *process)
{
    struct iovec strings[64] = {{(char *)hook, sizeof hook - 1}};
    size_t n = 1;

    for (size_t i = 0; modules[i] && n < 64; i++)
        strings[n++] = (struct iovec){(char *)modules[i], strlen(modules[i])};
    int result = afork_process_eval_iov(process, strings, n);
    if (!result)
        result = afork_process_require(process, "Greeting", NULL);
    return result ? result : afork_process_eval(process, worker, NULL);
}

int main(int argc, char **argv)
{
    struct afork_poll *loop;
    struct afork_context *context;
    struct afork_process *process;
    char text[256];
    int channel = -1;

    /* Before anything else: what launches Perl processes from now on is a copy of what is here. */
    int result = afork_perl_early_init();
    if (result < 0)
        fail("afork_perl_early_init", result);

    result = afork_poll_new(&loop);
    if (!result)
        result = afork_context_new(afork_poll_loop(loop), NULL, &context);
    if (!result)
        result = afork_context_set_launcher(context, afork_perl_early_launch, NULL);
    if (!result)
        result = afork_process_new(context, &process);
    if (!result)
        result = prepare(process);
    const char *name = argc > 1 ? argv[1] : "world";
    if (!result)
        result = afork_process_send_arg(process, name, strlen(name));
    if (!result)
        result = afork_process_on_exit(process, on_exit_notice, loop);
    if (!result)
        result = afork_process_run(process, "greet", on_run, &channel);
    if (result < 0)
        fail("afork", result);
    afork_process_unref(process);
    afork_poll_run(loop);

    ssize_t n = channel < 0 ? -1 : read(channel, text, sizeof text);
    if (n > 0)
        printf("%.*s\n", (int)n, text);
    if (channel >= 0)
        close(channel);
    afork_context_close(context);
    afork_poll_free(loop);
    return n > 0 ? 0 : 1;
}
