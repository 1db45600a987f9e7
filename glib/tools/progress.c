/* SPDX-License-Identifier: MIT
 *
 * Output. The bar is redrawn by a timer, not with each picture: a terminal at the other end of a
 * slow line must not slow down the work.
 */
#include "progress.h"

#include <json-glib/json-glib.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define REDRAW_MSEC 100
#define BAR_MAX 40

struct progress {
    enum progress_mode mode;
    unsigned counts[JOB_CANCELLED + 1]; /* by state */
    unsigned found, settled;
    gint64 start;
    guint redraw; /* timer; 0: there is no bar */
    bool deaf;    /* nobody reads standard output any more */
};

static double seconds(const struct progress *progress)
{
    return (double)(g_get_monotonic_time() - progress->start) / G_USEC_PER_SEC;
}

static double rate(const struct progress *progress)
{
    return progress->counts[JOB_MADE] / MAX(seconds(progress), 0.001);
}

unsigned progress_failures(const struct progress *progress)
{
    return progress->counts[JOB_FAILED] + progress->counts[JOB_ERROR];
}

bool progress_is_heard(const struct progress *progress)
{
    return !progress->deaf;
}

static void clear_bar(void)
{
    fputs("\r\033[K", stderr);
}

static gboolean draw_bar(gpointer data)
{
    const struct progress *progress = data;
    struct winsize size;
    g_autoptr(GString) text = g_string_new(NULL);

    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || !size.ws_col)
        size.ws_col = 80;
    g_string_printf(text, " %u/%u  %.0f/s", progress->settled, progress->found, rate(progress));
    if (progress_failures(progress))
        g_string_append_printf(text, "  %u failed", progress_failures(progress));

    /* One column is left free: many terminals wrap when the last one is written. */
    unsigned room = size.ws_col > text->len + 4 ? size.ws_col - (unsigned)text->len - 3 : 0;
    unsigned width = MIN(room, BAR_MAX);
    unsigned full = progress->found
                        ? (unsigned)((guint64)width * progress->settled / progress->found)
                        : 0;
    clear_bar();
    if (width) {
        fputc('[', stderr);
        for (unsigned i = 0; i < width; i++)
            fputc(i < full ? '#' : '.', stderr);
        fputc(']', stderr);
    }
    fprintf(stderr, "%.*s", size.ws_col - 1, text->str + !width);
    fflush(stderr);
    return G_SOURCE_CONTINUE;
}

struct progress *progress_new(enum progress_mode mode)
{
    struct progress *progress = g_new0(struct progress, 1);

    progress->mode = mode;
    progress->start = g_get_monotonic_time();
    if (mode == PROGRESS_PLAIN && isatty(STDERR_FILENO))
        progress->redraw = g_timeout_add(REDRAW_MSEC, draw_bar, progress);
    return progress;
}

void progress_free(struct progress *progress)
{
    if (progress->redraw)
        g_source_remove(progress->redraw);
    g_free(progress);
}

void progress_found(struct progress *progress)
{
    progress->found++;
}

/* Names and messages are the files': they must not drive the terminal. */
static char *printable(const char *octets)
{
    g_autofree char *text = g_filename_display_name(octets);
    g_autoptr(GString) result = g_string_new(NULL);

    for (const char *c = text; *c; c = g_utf8_next_char(c)) {
        gunichar character = g_utf8_get_char(c);
        g_string_append_unichar(result, g_unichar_iscntrl(character) ? 0xfffd : character);
    }
    return g_string_free(g_steal_pointer(&result), FALSE);
}

static void flush(struct progress *progress)
{
    if (fflush(stdout) == EOF)
        progress->deaf = true;
}

static void print_json(struct progress *progress, JsonBuilder *builder)
{
    g_autoptr(JsonNode) root = json_builder_get_root(builder);
    g_autoptr(JsonGenerator) generator = json_generator_new();

    json_generator_set_root(generator, root);
    g_autofree char *line = json_generator_to_data(generator, NULL);
    puts(line);
    flush(progress);
}

static void add_string(JsonBuilder *builder, const char *name, const char *value)
{
    if (!value)
        return;
    g_autofree char *valid = g_utf8_make_valid(value, -1);
    json_builder_set_member_name(builder, name);
    json_builder_add_string_value(builder, valid);
}

static void add_number(JsonBuilder *builder, const char *name, gint64 value)
{
    json_builder_set_member_name(builder, name);
    json_builder_add_int_value(builder, value);
}

static void print_job(struct progress *progress, const struct job *job, const char *thumbnail)
{
    static const char *const names[] = {
        [JOB_MADE] = "made",     [JOB_VALID] = "valid",  [JOB_SKIPPED] = "skipped",
        [JOB_FAILED] = "failed", [JOB_ERROR] = "failed",
    };
    g_autoptr(JsonBuilder) builder = json_builder_new();

    json_builder_begin_object(builder);
    add_string(builder, "uri", job->uri);
    add_string(builder, "status", names[job->state]);
    add_string(builder, "reason", job->reason);
    if (job->state == JOB_MADE || job->state == JOB_VALID)
        add_string(builder, "thumbnail", thumbnail);
    if (job->state == JOB_MADE) {
        add_number(builder, "width", job->width);
        add_number(builder, "height", job->height);
        add_string(builder, "type", job->type);
    }
    json_builder_end_object(builder);
    print_json(progress, builder);
}

void progress_settled(struct progress *progress, const struct job *job, const char *thumbnail)
{
    progress->counts[job->state]++;
    progress->settled++;
    if (job->state == JOB_CANCELLED)
        return;
    if (progress->mode == PROGRESS_JSON) {
        print_job(progress, job, thumbnail);
        return;
    }
    if (job->state != JOB_FAILED && job->state != JOB_ERROR)
        return;
    g_autofree char *path = printable(job->path);
    g_autofree char *reason = printable(job->reason);
    if (progress->redraw)
        clear_bar();
    g_printerr("%s: %s\n", path, reason);
}

static void print_summary_json(struct progress *progress, bool interrupted)
{
    g_autoptr(JsonBuilder) builder = json_builder_new();

    json_builder_begin_object(builder);
    json_builder_set_member_name(builder, "summary");
    json_builder_begin_object(builder);
    add_number(builder, "made", progress->counts[JOB_MADE]);
    add_number(builder, "valid", progress->counts[JOB_VALID]);
    add_number(builder, "skipped", progress->counts[JOB_SKIPPED]);
    add_number(builder, "failed", progress_failures(progress));
    json_builder_set_member_name(builder, "seconds");
    json_builder_add_double_value(builder, seconds(progress));
    json_builder_set_member_name(builder, "interrupted");
    json_builder_add_boolean_value(builder, interrupted);
    json_builder_end_object(builder);
    json_builder_end_object(builder);
    print_json(progress, builder);
}

void progress_end(struct progress *progress, bool interrupted)
{
    if (progress->redraw)
        clear_bar();
    if (progress->mode == PROGRESS_JSON)
        print_summary_json(progress, interrupted);
    if (progress->mode != PROGRESS_PLAIN)
        return;
    printf("%u made, %u valid already, %u failed, in %.1f s (%.1f/s)%s\n",
           progress->counts[JOB_MADE], progress->counts[JOB_VALID], progress_failures(progress),
           seconds(progress), rate(progress), interrupted ? ", interrupted" : "");
    flush(progress);
}
