/* SPDX-License-Identifier: MIT
 *
 * own-perl: a program that runs an interpreter of its own, and makes a template of it. The worker has
 * what only this interpreter has: a table that it has computed.
 */
#include <EXTERN.h>
#include <perl.h>

#include <afork/afork-perl.h>
#include <stdio.h>
#include <unistd.h>

static void must(int result)
{
    if (result < 0) {
        fprintf(stderr, "own-perl: %s %s\n", strerror(-result), afork_perl_error());
        exit(1);
    }
}

static void on_entered(struct afork_process *worker, int fd, const struct afork_exit *failure,
                       void *channel)
{
    if (failure)
        fprintf(stderr, "own-perl: %s\n", failure->message);
    *(int *)channel = fd;
}

static void on_exit_notice(struct afork_process *worker, const struct afork_exit *end,
                           void *channel)
{
    char text[256];
    ssize_t n = read(*(int *)channel, text, sizeof text);

    if (n > 0)
        printf("%.*s\n", (int)n, text);
}

static void use_worker(PerlInterpreter *my_perl)
{
    struct afork_poll *poll;
    struct afork_context *context;
    struct afork_process *template, *worker;
    int channel = -1;

    must(afork_poll_new(&poll));
    must(afork_context_new(afork_poll_loop(poll), NULL, &context));
    must(afork_process_new_launched(context, afork_perl_template_launch, my_perl, &template));
    must(afork_process_fork(template, &worker));
    must(afork_process_eval(worker, "sub look { print { $_[0] } qq(7 x 6 = $table[7][6]) }", NULL));
    must(afork_process_on_exit(worker, on_exit_notice, &channel));
    must(afork_process_run(worker, "look", on_entered, &channel));
    afork_process_unref(worker);
    afork_process_unref(template);
    must(afork_poll_run(poll));
    afork_context_close(context);
    afork_poll_free(poll);
}

int main(int argc, char **argv, char **environment)
{
    char *arguments[] = {"", "-e0", NULL};

    PERL_SYS_INIT3(&argc, &argv, &environment);
    PerlInterpreter *my_perl = perl_alloc();
    perl_construct(my_perl);
    if (perl_parse(my_perl, NULL, 2, arguments, NULL) || perl_run(my_perl))
        return 1;
    eval_pv("for my $i (0 .. 9) { $table[$i][$_] = $i * $_ for 0 .. 9 }", TRUE);

    use_worker(my_perl);

    perl_destruct(my_perl);
    perl_free(my_perl);
    PERL_SYS_TERM();
    return 0;
}
