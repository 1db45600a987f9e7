/* SPDX-License-Identifier: MIT
 *
 * Paths, validity and names in the thumbnail cache. Knows nothing of workers or pictures.
 *
 * Others write to the cache at the same time: a thumbnail appears under its name by a rename only.
 */
#include "cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <afork/afork.h>

#include "png.h"

#define FAILURES "fail/afork-thumbnails-" AFORK_VERSION

static const struct {
    const char *name;
    unsigned box;
} sizes[] = {{"normal", 128}, {"large", 256}, {"x-large", 512}, {"xx-large", 1024}};

static char *make_directory(const char *root, const char *name, GError **error)
{
    g_autofree char *path = g_build_filename(root, name, NULL);

    if (g_mkdir_with_parents(path, 0700) < 0) {
        int code = errno;
        g_set_error(error, G_FILE_ERROR, (gint)g_file_error_from_errno(code), "cannot make %s: %s",
                    path, g_strerror(code));
        return NULL;
    }
    return g_steal_pointer(&path);
}

static bool is_number(const char *text, gint64 number)
{
    char *end;
    errno = 0;
    return *text && g_ascii_strtoll(text, &end, 10) == number && !*end && !errno;
}

struct cache *cache_open(const char *size, GError **error)
{
    size_t i = 0;

    while (i < G_N_ELEMENTS(sizes) && strcmp(size, sizes[i].name) != 0 &&
           !is_number(size, sizes[i].box))
        i++;
    if (i == G_N_ELEMENTS(sizes)) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "there is no size “%s”", size);
        return NULL;
    }

    struct cache *cache = g_new0(struct cache, 1);
    cache->box = sizes[i].box;
    cache->root = make_directory(g_get_user_cache_dir(), "thumbnails", error);
    if (cache->root)
        cache->directory = make_directory(cache->root, sizes[i].name, error);
    if (cache->directory)
        cache->failures = make_directory(cache->root, FAILURES, error);
    if (cache->failures)
        return cache;
    cache_free(cache);
    return NULL;
}

void cache_free(struct cache *cache)
{
    g_free(cache->root);
    g_free(cache->directory);
    g_free(cache->failures);
    g_free(cache);
}

char *cache_thumbnail_path(struct cache *cache, const struct job *job)
{
    return g_build_filename(cache->directory, job->name, NULL);
}

/* Whether a file is below the cache's root, by whatever links it was reached. */
static bool holds(struct cache *cache, const char *path)
{
    g_autofree char *real_root = realpath(cache->root, NULL);
    g_autofree char *real_path = realpath(path, NULL);

    if (!real_root || !real_path || !g_str_has_prefix(real_path, real_root))
        return false;
    return real_path[strlen(real_root)] == '/';
}

/* Whether a PNG in the cache is about this state of this file. A time that differs, earlier or
 * later, means another state: files are also restored and copied with their old times. */
static bool is_about(const char *directory, const struct job *job)
{
    g_autofree char *path = g_build_filename(directory, job->name, NULL);
    g_autoptr(GHashTable) text = png_read_text(path);

    if (!text)
        return false;
    const char *uri = g_hash_table_lookup(text, "Thumb::URI");
    const char *mtime = g_hash_table_lookup(text, "Thumb::MTime");
    const char *size = g_hash_table_lookup(text, "Thumb::Size");
    return uri && strcmp(uri, job->uri) == 0 && mtime && is_number(mtime, job->mtime) &&
           (!size || is_number(size, job->size));
}

void cache_examine(struct cache *cache, struct job *job, bool force)
{
    if (holds(cache, job->path))
        job_settle(job, job->named ? JOB_ERROR : JOB_SKIPPED, "it is part of the thumbnail cache");
    else if (faccessat(AT_FDCWD, job->path, R_OK, AT_EACCESS) < 0)
        job_settle(job, JOB_ERROR, "%s", g_strerror(errno));
    else if (force)
        return;
    else if (is_about(cache->directory, job))
        job->state = JOB_VALID;
    else if (is_about(cache->failures, job))
        job_settle(job, JOB_FAILED, "it failed before and did not change since");
}

void cache_begin(G_GNUC_UNUSED struct cache *cache, struct job *job)
{
    static unsigned serial; /* one file may be named twice */

    job->temporary = g_strdup_printf("%s.%d-%u.tmp", job->name, (int)getpid(), ++serial);
}

static void record_failure(struct cache *cache, const struct job *job)
{
    g_autofree char *path = g_build_filename(cache->failures, job->name, NULL);
    g_autofree char *mtime = g_strdup_printf("%" G_GINT64_FORMAT, job->mtime);
    g_autofree char *size = g_strdup_printf("%" G_GINT64_FORMAT, job->size);
    g_autoptr(GByteArray)
        png = png_with_text("Software", "afork-thumbnails", "Thumb::URI", job->uri, "Thumb::MTime",
                            mtime, "Thumb::Size", size, NULL);

    /* Without a record the picture is tried again another time, no more. */
    g_file_set_contents(path, (const char *)png->data, png->len, NULL);
}

void cache_finish(struct cache *cache, struct job *job)
{
    g_autofree char *temporary = g_build_filename(cache->directory, job->temporary, NULL);
    g_autofree char *final = cache_thumbnail_path(cache, job);

    if (job->state == JOB_MADE && rename(temporary, final) < 0)
        job_settle(job, JOB_ERROR, "cannot name the thumbnail: %s", g_strerror(errno));
    if (job->state != JOB_MADE)
        unlink(temporary);
    if (job->state == JOB_FAILED)
        record_failure(cache, job);
}
