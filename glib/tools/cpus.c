/* SPDX-License-Identifier: MIT
 *
 * Counting processors. The number in the machine says little in a container: a quota of two
 * processors on a machine of 64 would have 64 workers stop and go.
 */
#include "cpus.h"

#include <glib.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Processors that may be used at a time; INFINITY without a quota. */
static double read_quota_v2(const char *directory)
{
    g_autofree char *file = g_build_filename(directory, "cpu.max", NULL);
    g_autofree char *text = NULL;
    double quota, period;

    if (!g_file_get_contents(file, &text, NULL, NULL) ||
        sscanf(text, "%lf %lf", &quota, &period) != 2 || period <= 0) /* or "max ..." */
        return INFINITY;
    return quota / period;
}

static double read_number(const char *directory, const char *name)
{
    g_autofree char *file = g_build_filename(directory, name, NULL);
    g_autofree char *text = NULL;

    return g_file_get_contents(file, &text, NULL, NULL) ? g_ascii_strtod(text, NULL) : -1;
}

static double read_quota_v1(const char *directory)
{
    double quota = read_number(directory, "cpu.cfs_quota_us"); /* -1: none */
    double period = read_number(directory, "cpu.cfs_period_us");

    return quota > 0 && period > 0 ? quota / period : INFINITY;
}

/* The least quota of a group and those around it. A container may not see the folders that its own
 * path names, but always the one at the top. */
static double least_quota(const char *top, char *path, double (*read_quota)(const char *))
{
    double least = INFINITY;

    for (;;) {
        g_autofree char *directory = g_build_filename(top, path, NULL);
        least = MIN(least, read_quota(directory));
        char *slash = strrchr(path, '/');
        if (!slash)
            return least;
        *slash = '\0';
    }
}

/* A line is "number:controllers:path"; version 2 has the number 0 and no controllers. */
static double line_quota(const char *root, const char *line)
{
    g_auto(GStrv) fields = g_strsplit(line, ":", 3);

    if (g_strv_length(fields) < 3)
        return INFINITY;
    if (!*fields[1]) {
        g_autofree char *top = g_build_filename(root, "sys/fs/cgroup", NULL);
        return least_quota(top, fields[2], read_quota_v2);
    }
    g_auto(GStrv) controllers = g_strsplit(fields[1], ",", -1);
    if (!g_strv_contains((const char *const *)controllers, "cpu"))
        return INFINITY;
    g_autofree char *top = g_build_filename(root, "sys/fs/cgroup/cpu", NULL);
    return least_quota(top, fields[2], read_quota_v1);
}

unsigned cpus_quota(const char *root)
{
    g_autofree char *file = g_build_filename(root, "proc/self/cgroup", NULL);
    g_autofree char *text = NULL;
    double least = INFINITY;

    if (!g_file_get_contents(file, &text, NULL, NULL))
        return 0;
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++)
        least = MIN(least, line_quota(root, *line));
    if (isinf(least))
        return 0;
    unsigned whole = (unsigned)least;
    return least > whole ? whole + 1 : whole;
}

unsigned cpus_allowed(void)
{
    unsigned affinity = g_get_num_processors(); /* of this thread's mask */
    unsigned quota = cpus_quota("/");

    return quota && quota < affinity ? quota : affinity;
}
