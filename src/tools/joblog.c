/* SPDX-License-Identifier: MIT
 *
 * See joblog.h.
 */
#include "joblog.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

/* What a perl that dies exits with, and what stands for an end that has no status. */
enum { EXIT_DIED = 255, EXIT_NONE = -1 };

struct joblog {
    FILE *file;
    const struct options *options;
    int error;
};

int joblog_new(const struct options *options, struct joblog **ret)
{
    FILE *file = fopen(options->joblog, "we");

    if (!file)
        return -errno;
    struct joblog *log = allocate(sizeof *log);
    *log = (struct joblog){.file = file, .options = options};
    setvbuf(file, NULL, _IOLBF, BUFSIZ); /* it is looked at while it grows */
    fputs("Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n", file);
    *ret = log;
    return 0;
}

static int exit_value(const struct afork_reply *reply)
{
    const struct afork_exit *exit = reply->exit;

    if (!reply->error)
        return 0;
    if (reply->error == -EREMOTEIO)
        return EXIT_DIED;
    if (reply->error != -ECONNRESET || !exit || exit->status < 0)
        return EXIT_NONE;
    if (exit->cause == AFORK_CAUSE_SIGNALLED)
        return 0;
    return exit->status ? exit->status : EXIT_DIED; /* it should have answered */
}

static int signal_number(const struct afork_reply *reply)
{
    const struct afork_exit *exit = reply->exit;

    return reply->error && exit && exit->cause == AFORK_CAUSE_SIGNALLED ? exit->status : 0;
}

void joblog_add(struct joblog *log, const struct joblog_entry *entry)
{
    const struct options *options = log->options;
    FILE *file = log->file;

    fprintf(file, "%llu\t%s\t%.3f\t%.3f\t%zu\t%zu\t%d\t%d\t%s", (unsigned long long)entry->seq,
            entry->host, entry->start, entry->runtime, entry->sent, entry->received,
            exit_value(entry->reply), signal_number(entry->reply),
            options->function ? options->function : "-e");
    for (int i = 0; i < options->n_args; i++) {
        putc(' ', file);
        print_escaped(file, options->args[i], strlen(options->args[i]), 0);
    }
    putc(' ', file);
    print_escaped(file, entry->line, entry->sent, 0);
    if (putc('\n', file) == EOF && !log->error)
        log->error = errno;
}

int joblog_end(struct joblog *log)
{
    if (!log)
        return 0;
    if (fclose(log->file) == EOF && !log->error)
        log->error = errno;
    int result = -log->error;
    free(log);
    return result;
}
