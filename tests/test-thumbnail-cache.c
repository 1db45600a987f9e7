/* SPDX-License-Identifier: MIT
 *
 * The parts of afork-thumbnails that need no Perl: names and validity in the cache, PNG text, and
 * the count of processors.
 */
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "cache.h"
#include "job.h"
#include "png.h"

static char *home; /* a directory for this run; the cache is in it */

static char *in_home(const char *name)
{
    return g_build_filename(home, name, NULL);
}

static void write_file(const char *name, const void *data, gssize length)
{
    g_autofree char *path = in_home(name);
    g_autofree char *directory = g_path_get_dirname(path);

    g_assert_cmpint(g_mkdir_with_parents(directory, 0700), ==, 0);
    g_assert_true(g_file_set_contents(path, data, length, NULL));
}

/* The example of the Thumbnail Managing Standard. */
static void test_name(void)
{
    g_autofree char *name = job_thumbnail_name("file:///home/jens/photos/me.png");
    g_assert_cmpstr(name, ==, "c6ee772d9e49320e97ec29a7eb5b1697.png");

    struct job *job = job_new("/home/jens/photos/me.png", NULL, true);
    g_assert_cmpstr(job->name, ==, name);
    job_free(job);
    job = job_new("/tmp/a b%\n\xff", NULL, true);
    g_assert_cmpstr(job->uri, ==, "file:///tmp/a%20b%25%0A%FF");
    job_free(job);
}

static void test_png(void)
{
    g_autoptr(GByteArray) png = png_with_text("One", "1", "Empty", "", NULL);
    g_autofree char *path = in_home("text.png");

    write_file("text.png", png->data, png->len);
    g_autoptr(GHashTable) text = png_read_text(path);
    g_assert_cmpuint(g_hash_table_size(text), ==, 2);
    g_assert_cmpstr(g_hash_table_lookup(text, "One"), ==, "1");
    g_assert_cmpstr(g_hash_table_lookup(text, "Empty"), ==, "");

    /* Cut anywhere before the header of the picture data, it is none; nor is it with nonsense. */
    guint data = png->len - (12 + 0) - (12 + 11);
    for (guint length = 0; length < data + 8; length++) {
        write_file("text.png", png->data, length);
        g_assert_null(png_read_text(path));
    }
    memset(png->data + 8, 0xff, png->len - 8);
    write_file("text.png", png->data, png->len);
    g_assert_null(png_read_text(path));
    g_assert_null(png_read_text("/nowhere"));
}

static void assert_mode(const char *path, mode_t mode)
{
    GStatBuf info;

    g_assert_cmpint(g_stat(path, &info), ==, 0);
    g_assert_cmphex(info.st_mode & 07777, ==, mode);
}

static void test_open(void)
{
    g_autoptr(GError) error = NULL;

    struct cache *cache = cache_open("512", &error);
    g_assert_no_error(error);
    g_assert_cmpuint(cache->box, ==, 512);
    g_assert_true(g_str_has_suffix(cache->directory, "/thumbnails/x-large"));
    assert_mode(cache->root, 0700);
    assert_mode(cache->directory, 0700);
    assert_mode(cache->failures, 0700);
    cache_free(cache);

    g_assert_null(cache_open("129", &error));
    g_assert_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL);
}

static enum job_state examine(struct cache *cache, const char *path, bool force)
{
    GStatBuf info;

    g_assert_cmpint(g_stat(path, &info), ==, 0);
    struct job *job = job_new(path, &info, true);
    cache_examine(cache, job, force);
    enum job_state state = job->state;
    job_free(job);
    return state;
}

/* A thumbnail or a record of failure for a file, as if it had this time and size. */
static void pretend(const char *directory, const char *path, gint64 mtime, gint64 size)
{
    struct job *job = job_new(path, NULL, true);
    g_autofree char *target = g_build_filename(directory, job->name, NULL);
    g_autofree char *mtime_text = g_strdup_printf("%" G_GINT64_FORMAT, mtime);
    g_autofree char *size_text = g_strdup_printf("%" G_GINT64_FORMAT, size);
    g_autoptr(GByteArray) png = png_with_text("Thumb::URI", job->uri, "Thumb::MTime", mtime_text,
                                              "Thumb::Size", size_text, NULL);

    g_assert_true(g_file_set_contents(target, (const char *)png->data, png->len, NULL));
    job_free(job);
}

static void test_validity(void)
{
    struct cache *cache = cache_open("large", NULL);
    g_autofree char *path = in_home("picture");
    GStatBuf info;

    write_file("picture", "1234", 4);
    g_stat(path, &info);
    g_assert_cmpint(examine(cache, path, false), ==, JOB_WAITING);
    pretend(cache->directory, path, info.st_mtime, 4);
    g_assert_cmpint(examine(cache, path, false), ==, JOB_VALID);
    g_assert_cmpint(examine(cache, path, true), ==, JOB_WAITING);
    pretend(cache->directory, path, info.st_mtime + 1, 4);
    g_assert_cmpint(examine(cache, path, false), ==, JOB_WAITING);
    pretend(cache->directory, path, info.st_mtime - 1, 4);
    g_assert_cmpint(examine(cache, path, false), ==, JOB_WAITING);
    pretend(cache->directory, path, info.st_mtime, 5);
    g_assert_cmpint(examine(cache, path, false), ==, JOB_WAITING);

    pretend(cache->failures, path, info.st_mtime, 4);
    g_assert_cmpint(examine(cache, path, false), ==, JOB_FAILED);
    g_assert_cmpint(examine(cache, path, true), ==, JOB_WAITING);
    pretend(cache->failures, path, info.st_mtime + 1, 4);
    g_assert_cmpint(examine(cache, path, false), ==, JOB_WAITING);

    /* The cache itself, directly and through a link. */
    g_autofree char *link = in_home("link");
    g_assert_cmpint(symlink(cache->root, link), ==, 0);
    struct job *job = job_new(path, NULL, true);
    g_autofree char *direct = g_build_filename(cache->directory, job->name, NULL);
    g_autofree char *linked = g_build_filename(link, "large", job->name, NULL);
    job_free(job);
    g_assert_cmpint(examine(cache, direct, true), ==, JOB_ERROR);
    g_assert_cmpint(examine(cache, linked, true), ==, JOB_ERROR);
    cache_free(cache);
}

static void test_finish(void)
{
    struct cache *cache = cache_open("normal", NULL);
    struct job *job = job_new("/somewhere", NULL, true);
    g_autofree char *final = cache_thumbnail_path(cache, job);
    g_autofree char *record = g_build_filename(cache->failures, job->name, NULL);

    cache_begin(cache, job);
    g_autofree char *temporary = g_build_filename(cache->directory, job->temporary, NULL);
    g_assert_true(g_file_set_contents(temporary, "x", 1, NULL));
    job_settle(job, JOB_CANCELLED, "cancelled");
    cache_finish(cache, job);
    g_assert_false(g_file_test(temporary, G_FILE_TEST_EXISTS));
    g_assert_false(g_file_test(record, G_FILE_TEST_EXISTS));

    job_settle(job, JOB_FAILED, "corrupt");
    cache_finish(cache, job);
    assert_mode(record, 0600);

    g_assert_true(g_file_set_contents(temporary, "x", 1, NULL));
    job->state = JOB_MADE;
    cache_finish(cache, job);
    g_assert_cmpint(job->state, ==, JOB_MADE);
    g_assert_false(g_file_test(temporary, G_FILE_TEST_EXISTS));
    g_assert_true(g_file_test(final, G_FILE_TEST_EXISTS));

    cache_finish(cache, job); /* it is gone: cannot be renamed */
    g_assert_cmpint(job->state, ==, JOB_ERROR);
    job_free(job);
    cache_free(cache);
}

int main(int argc, char **argv)
{
    g_autofree char *cache_home = NULL;

    home = g_dir_make_tmp("afork-XXXXXX", NULL);
    cache_home = in_home("cache");
    g_setenv("XDG_CACHE_HOME", cache_home, TRUE);
    umask(077);
    g_test_init(&argc, &argv, NULL);

    g_test_add_func("/thumbnails/name", test_name);
    g_test_add_func("/thumbnails/png", test_png);
    g_test_add_func("/thumbnails/cache/open", test_open);
    g_test_add_func("/thumbnails/cache/validity", test_validity);
    g_test_add_func("/thumbnails/cache/finish", test_finish);
    int status = g_test_run();

    const char *remove[] = {"rm", "-rf", home, NULL};
    g_spawn_sync(NULL, (char **)remove, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL,
                 NULL);
    return status;
}
