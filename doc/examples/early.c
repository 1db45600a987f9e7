/* SPDX-License-Identifier: MIT
 *
 * early: Perl processes from libperl.so, without a perl binary. The program itself never maps perl: a
 * small process that is forked before anything else does.
 */
#include <afork/afork-perl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void must(int result)
{
    if (result < 0) {
        fprintf(stderr, "early: %s %s\n", strerror(-result), afork_perl_error());
        exit(1);
    }
}

static bool maps_perl(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512];
    bool found = false;

    while (maps && fgets(line, sizeof line, maps))
        found |= strstr(line, "libperl") != NULL;
    if (maps)
        fclose(maps);
    return found;
}

static void on_entered(struct afork_process *worker, int fd, const struct afork_exit *failure,
                       void *channel)
{
    if (failure)
        fprintf(stderr, "early: %s\n", failure->message);
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

int main(void)
{
    struct afork_poll *poll;
    struct afork_context *context;
    struct afork_process *worker;
    int channel = -1;

    must(afork_perl_early_init()); /* first thing: no threads, nothing open */

    must(afork_poll_new(&poll));
    must(afork_context_new(afork_poll_loop(poll), NULL, &context));
    must(afork_context_set_launcher(context, afork_perl_early_launch, NULL));
    must(afork_process_new(context, &worker));
    must(afork_process_eval(worker, "sub version { print { $_[0] } qq(perl $^V) }", NULL));
    must(afork_process_on_exit(worker, on_exit_notice, &channel));
    must(afork_process_run(worker, "version", on_entered, &channel));
    afork_process_unref(worker);
    must(afork_poll_run(poll));
    printf("the host maps libperl: %s\n", maps_perl() ? "yes" : "no");
    afork_context_close(context);
    afork_poll_free(poll);
    return 0;
}
