/* SPDX-License-Identifier: MIT
 *
 * The walk over files and directories, in small steps from the main loop: the first thumbnails are
 * made while it still goes on, and Ctrl-C is heard in a folder of a million files. Knows nothing of
 * the cache.
 */
#include "walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib-unix.h>
#include <string.h>
#include <unistd.h>

struct walk {
    struct walk_callbacks callbacks;
    bool recursive;
    GQueue named;       /* char *: absolute paths the user gave, to look at */
    GQueue directories; /* char *: to be entered */
    DIR *open;          /* the one being read */
    char *open_path;

    char *list_path;
    int list_fd; /* -1: none */
    char separator;
    GString *list; /* octets after the last separator */

    guint step_source, list_source; /* 0: none */
};

static gboolean on_step(gpointer data);

struct walk *walk_new(bool recursive, const struct walk_callbacks *callbacks)
{
    struct walk *walk = g_new0(struct walk, 1);

    walk->callbacks = *callbacks;
    walk->recursive = recursive;
    walk->list_fd = -1;
    walk->list = g_string_new(NULL);
    return walk;
}

static void close_directory(struct walk *walk)
{
    if (walk->open)
        closedir(walk->open);
    walk->open = NULL;
}

void walk_free(struct walk *walk)
{
    if (walk->step_source)
        g_source_remove(walk->step_source);
    if (walk->list_source)
        g_source_remove(walk->list_source);
    g_queue_clear_full(&walk->named, g_free);
    g_queue_clear_full(&walk->directories, g_free);
    close_directory(walk);
    g_free(walk->open_path);
    g_string_free(walk->list, TRUE);
    g_free(walk->list_path);
    if (walk->list_fd >= 0)
        close(walk->list_fd);
    g_free(walk);
}

/* Lower than all else: workers that answered are served first. */
static void wake(struct walk *walk)
{
    if (!walk->step_source)
        walk->step_source = g_idle_add_full(G_PRIORITY_LOW, on_step, walk, NULL);
}

void walk_add(struct walk *walk, const char *name)
{
    g_autofree char *path = NULL;

    if (g_str_has_prefix(name, "file:"))
        path = g_filename_from_uri(name, NULL, NULL);
    g_queue_push_tail(&walk->named, g_canonicalize_filename(path ? path : name, NULL));
}

bool walk_add_list(struct walk *walk, const char *path, char separator, GError **error)
{
    bool is_stdin = strcmp(path, "-") == 0;

    walk->list_path = g_canonicalize_filename(is_stdin ? "/dev/stdin" : path, NULL);
    walk->list_fd = is_stdin ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
                             : open(path, O_RDONLY | O_CLOEXEC);
    walk->separator = separator;
    if (walk->list_fd >= 0)
        return true;
    int code = errno;
    g_set_error(error, G_FILE_ERROR, (gint)g_file_error_from_errno(code), "%s: %s", path,
                g_strerror(code));
    return false;
}

static void give_error(struct walk *walk, const char *path, const char *reason)
{
    struct job *job = job_new(path, NULL, true);

    job_settle(job, JOB_ERROR, "%s", reason);
    walk->callbacks.found(job, walk->callbacks.data);
}

static void give_file(struct walk *walk, const char *path, const struct stat *info, bool named)
{
    g_autofree char *base = g_path_get_basename(path);
    g_autofree char *type = named ? NULL : g_content_type_guess(base, NULL, 0, NULL);

    if (type && !g_str_has_prefix(type, "image/"))
        return;
    struct job *job = job_new(path, info, named);
    job->type = g_steal_pointer(&type);
    walk->callbacks.found(job, walk->callbacks.data);
}

static void look_at_named(struct walk *walk, char *path)
{
    struct stat info;

    if (stat(path, &info) < 0)
        give_error(walk, path, g_strerror(errno));
    else if (S_ISDIR(info.st_mode))
        g_queue_push_tail(&walk->directories, g_strdup(path));
    else if (S_ISREG(info.st_mode))
        give_file(walk, path, &info, true);
    else
        give_error(walk, path, "not a regular file");
}

/* Hidden files stay so; links to directories are not followed, as they may lead in a circle. */
static void look_at_found(struct walk *walk, const char *name)
{
    g_autofree char *path = g_build_filename(walk->open_path, name, NULL);
    struct stat info;

    if (*name == '.' || lstat(path, &info) < 0)
        return;
    if (S_ISDIR(info.st_mode) && walk->recursive)
        g_queue_push_tail(&walk->directories, g_steal_pointer(&path));
    else if (S_ISREG(info.st_mode))
        give_file(walk, path, &info, false);
    else if (S_ISLNK(info.st_mode) && stat(path, &info) == 0 && S_ISREG(info.st_mode))
        give_file(walk, path, &info, false);
}

static void enter(struct walk *walk, char *path)
{
    g_free(walk->open_path);
    walk->open_path = path;
    walk->open = opendir(path);
    if (!walk->open)
        give_error(walk, path, g_strerror(errno));
}

static gboolean on_step(gpointer data)
{
    struct walk *walk = data;
    const struct dirent *entry = walk->open ? readdir(walk->open) : NULL;
    g_autofree char *path = NULL;

    if (entry) {
        look_at_found(walk, entry->d_name);
        return G_SOURCE_CONTINUE;
    }
    close_directory(walk);
    if ((path = g_queue_pop_head(&walk->directories))) {
        enter(walk, g_steal_pointer(&path));
        return G_SOURCE_CONTINUE;
    }
    if ((path = g_queue_pop_head(&walk->named))) {
        look_at_named(walk, path);
        return G_SOURCE_CONTINUE;
    }
    walk->step_source = 0;
    if (!walk->list_source)
        walk->callbacks.ended(walk->callbacks.data);
    return G_SOURCE_REMOVE;
}

static void take_lines(struct walk *walk)
{
    char *start = walk->list->str, *end;

    while ((end = memchr(start, walk->separator,
                         (size_t)(walk->list->str + walk->list->len - start)))) {
        *end = '\0';
        if (*start)
            walk_add(walk, start);
        start = end + 1;
    }
    g_string_erase(walk->list, 0, start - walk->list->str);
    wake(walk);
}

static gboolean on_list(int fd, G_GNUC_UNUSED GIOCondition condition, gpointer data)
{
    struct walk *walk = data;
    char buffer[16384];
    ssize_t got = read(fd, buffer, sizeof buffer);

    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return G_SOURCE_CONTINUE;
    if (got > 0) {
        g_string_append_len(walk->list, buffer, got);
        take_lines(walk);
        return G_SOURCE_CONTINUE;
    }
    if (got < 0)
        give_error(walk, walk->list_path, g_strerror(errno));
    walk->list_source = 0;
    g_string_append_c(walk->list, walk->separator); /* the last line may lack it */
    take_lines(walk);
    return G_SOURCE_REMOVE;
}

void walk_start(struct walk *walk)
{
    if (walk->list_fd >= 0)
        walk->list_source = g_unix_fd_add_full(G_PRIORITY_LOW, walk->list_fd, G_IO_IN, on_list,
                                               walk, NULL);
    wake(walk);
}
