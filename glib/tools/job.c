/* SPDX-License-Identifier: MIT
 *
 * A picture's URI and the name of its thumbnail. Touches no file.
 */
#include "job.h"

struct job *job_new(const char *path, const struct stat *info, bool named)
{
    struct job *job = g_new0(struct job, 1);

    job->path = g_strdup(path);
    job->uri = g_filename_to_uri(path, NULL, NULL); /* fails for relative paths only */
    job->name = job_thumbnail_name(job->uri);
    job->named = named;
    if (info) {
        job->mtime = info->st_mtime;
        job->size = info->st_size;
    }
    return job;
}

void job_free(struct job *job)
{
    g_free(job->path);
    g_free(job->uri);
    g_free(job->name);
    g_free(job->temporary);
    g_free(job->type);
    g_free(job->reason);
    g_free(job);
}

void job_settle(struct job *job, enum job_state state, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    g_free(job->reason);
    job->reason = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    job->state = state;
}

char *job_thumbnail_name(const char *uri)
{
    g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_MD5, uri, -1);

    return g_strconcat(sum, ".png", NULL);
}
