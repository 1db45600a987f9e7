/* SPDX-License-Identifier: MIT
 *
 * What a context holds, as JSON for people. Changes nothing.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "util.h"

/* The length of the UTF-8 character that `text` starts with; 0 if it starts with none. */
static size_t character(const unsigned char *text)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = *text < 0x80 ? 1 : *text < 0xc0 ? 0 : *text < 0xe0 ? 2 : *text < 0xf0 ? 3 : 4;
    uint32_t code = len > 1 ? *text & (0x7fu >> len) : *text;

    for (size_t i = 1; i < len; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (text[i] & 0x3f);
    }
    bool valid = len < 2 || (code >= least[len] && code < 0x110000 && code >> 11 != 0x1b);
    return *text < 0xf8 && valid ? len : 0;
}

/* A string, or null. What is not UTF-8 is shown as replacement characters. */
static void put_string(FILE *out, const char *text)
{
    const unsigned char *pos = (const unsigned char *)text;

    if (!text) {
        fputs("null", out);
        return;
    }
    fputc('"', out);
    while (*pos) {
        size_t len = character(pos);
        if (!len)
            fputs("\\ufffd", out);
        else if (*pos == '"' || *pos == '\\')
            fprintf(out, "\\%c", *pos);
        else if (*pos < 0x20)
            fprintf(out, "\\u%04x", *pos);
        else
            fwrite(pos, 1, len, out);
        pos += len ? len : 1;
    }
    fputc('"', out);
}

static const char *state_of(const struct afork_process *process)
{
    if (process->ended)
        return "ended";
    if (process->exit.cause != AFORK_CAUSE_UNKNOWN)
        return "failed";
    if (process->handed_over)
        return "leaving";
    if (process->entered)
        return "worker";
    if (process->run != AFORK__RUN_NONE)
        return "running"; /* told to, not known to have entered */
    if (process->released)
        return "leaving";
    if (process->remote)
        return "record";
    if (process->spare_of)
        return "spare";
    return process->n_children || process->spares ? "template" : "server";
}

/* Kilobytes that the process shares with nobody, and those that it shares. */
static void put_memory(FILE *out, pid_t pid)
{
    unsigned long alone = 0, shared = 0, kilobytes;
    char path[64], line[256], name[32];

    snprintf(path, sizeof path, "/proc/%ld/smaps_rollup", (long)pid);
    FILE *file = pid ? fopen(path, "re") : NULL;
    if (!file) {
        fputs(", \"private_kb\": null, \"shared_kb\": null", out);
        return;
    }
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%31[^:]: %lu", name, &kilobytes) != 2)
            continue;
        if (!strncmp(name, "Private_C", 9) || !strncmp(name, "Private_D", 9))
            alone += kilobytes;
        else if (!strncmp(name, "Shared_C", 8) || !strncmp(name, "Shared_D", 8))
            shared += kilobytes;
    }
    fclose(file);
    fprintf(out, ", \"private_kb\": %lu, \"shared_kb\": %lu", alone, shared);
}

static void put_spares(FILE *out, const struct afork_spare_stats *stats)
{
    fprintf(out,
            "{\"ready\": %u, \"hits\": %" PRIu64 ", \"misses\": %" PRIu64 ", \"renewals\": %" PRIu64
            ", \"lost\": %" PRIu64 "}",
            stats->ready, stats->hits, stats->misses, stats->renewals, stats->lost);
}

/* The nearest process above that has not ended. */
static const struct afork_process *living_parent(const struct afork_process *process)
{
    do
        process = process->parent;
    while (process && process->ended);
    return process;
}

static void put_tree(FILE *out, const struct afork_context *context,
                     const struct afork_process *parent, int depth);

static void put_process(FILE *out, const struct afork_process *process, int depth)
{
    const struct afork_context *context = process->context;

    fprintf(out, "{\"identity\": %" PRIu64 ", \"pid\": ", process->identity);
    if (process->pid)
        fprintf(out, "%ld", (long)process->pid);
    else
        fputs("null", out);
    fprintf(out, ", \"state\": \"%s\"", state_of(process));
    if (process == context->template)
        fputs(", \"default\": true", out);
    if (process->remote)
        fputs(", \"peer\": \"remote\"", out);
    else if (process->peer == AFORK_PEER_ORIGINAL)
        fputs(", \"peer\": \"original\"", out);
    fputs(", \"function\": ", out);
    put_string(out, process->function);
    int64_t age = (afork__now() - process->made_at) / AFORK__USEC_PER_MSEC; /* no locale's comma */
    fprintf(out, ", \"age_s\": %" PRId64 ".%03" PRId64, age / 1000, age % 1000);
    put_memory(out, process->pid);
    if (process->spares) {
        struct afork_spare_stats stats = {0};
        afork__spares_count(process, &stats);
        fputs(", \"spares\": ", out);
        put_spares(out, &stats);
    }
    if (process->exit.cause != AFORK_CAUSE_UNKNOWN) {
        fputs(", \"error\": ", out);
        put_string(out, process->exit.message);
    }
    fputs(", \"children\": ", out);
    put_tree(out, context, process, depth + 1);
    fputc('}', out);
}

/* All whose nearest living process above is `parent`. */
static void put_tree(FILE *out, const struct afork_context *context,
                     const struct afork_process *parent, int depth)
{
    const struct afork_process *process;
    const char *before = "";

    fputc('[', out);
    TAILQ_FOREACH (process, &context->processes, link) {
        if (living_parent(process) != parent)
            continue;
        fprintf(out, "%s\n%*s", before, 4 * depth, "");
        put_process(out, process, depth);
        before = ",";
    }
    fputc(']', out);
}

int afork_context_dump(struct afork_context *context, char **ret)
{
    struct afork_spare_stats stats;
    int result = ret ? afork_context_get_spare_stats(context, &stats) : -EINVAL;
    char *text = NULL;
    size_t size;

    if (result < 0)
        return result;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return -ENOMEM;
    fprintf(out, "{\n  \"host\": %ld,\n  \"perl\": ", (long)getpid());
    put_string(out, context->launcher.cb ? NULL : afork__context_perl(context));
    fputs(",\n  \"last_error\": ", out);
    put_string(out, context->last_error);
    fputs(",\n  \"spares\": ", out);
    put_spares(out, &stats);
    fputs(",\n  \"processes\": ", out);
    put_tree(out, context, NULL, 1);
    fputs("\n}\n", out);
    bool complete = !ferror(out);
    if (fclose(out) || !complete) {
        free(text);
        return -ENOMEM;
    }
    *ret = text;
    return 0;
}
