/* SPDX-License-Identifier: MIT
 *
 * What the tests of afork-viewer share: pictures, a window, and waiting for things.
 */
#ifndef VIEWER_LIB_H
#define VIEWER_LIB_H

#include "viewer-clock.h"
#include "viewer-window.h"

struct viewer {
    char *folder; /* of pictures; removed with all that is in it */
    ViewerThumbnailer *thumbnailer;
    ViewerWindow *window;
};

/* Runs the main loop until `condition` holds; fails if it does not within the time of a test. */
#define UNTIL(condition)                                                                           \
    G_STMT_START                                                                                   \
    {                                                                                              \
        gint64 viewer__deadline = viewer_deadline();                                               \
        while (!(condition)) {                                                                     \
            if (g_get_monotonic_time() > viewer__deadline)                                         \
                g_error("%s:%d: never true: %s", __FILE__, __LINE__, #condition);                  \
            viewer_turn();                                                                         \
        }                                                                                          \
    }                                                                                              \
    G_STMT_END

gint64 viewer_deadline(void);

/* One turn of the loop, of at most 10 ms. */
void viewer_turn(void);

/* Runs the main loop for so long, to see that something does not happen. */
void viewer_settle(guint milliseconds);

/* Whether all takes longer. */
gboolean viewer_is_sanitized(void);

/* What takes so long takes at most so long, in milliseconds, in this build. */
gint64 viewer_patience(gint64 milliseconds);

/* Measures until it takes less than so many milliseconds, a few times at most, and then fails. What is the
 * viewer's own is there each time. What is not are locks that another thread has, and a display that
 * has no processor, either: viewer_clock_now() does not know that the machine is busy with something
 * else then. */
void viewer_check_time(struct viewer *viewer, const char *what, gint64 limit,
                       double (*measure)(struct viewer *viewer));

/* Initialises GTK and the test framework, or skips all where there is no display. */
void viewer_test_init(int *argc, char ***argv);

/* A case with a fresh folder and cache, a window that is not open yet, and at the end a check that no
 * descriptor, mapping or temporary file is left. */
void viewer_test_add(const char *path, void (*test)(struct viewer *viewer));

/* Opens the folder, and waits until it is read and tiles are in view. */
void viewer_open(struct viewer *viewer);

/* Whether the folder is known, and all of it. */
gboolean viewer_is_read(struct viewer *viewer);

/* Whether nothing in view waits for its thumbnail. */
gboolean viewer_is_complete(struct viewer *viewer);

/* The state of a tile, which has to be there. */
ViewerTileState viewer_state(struct viewer *viewer, const char *name);
guint viewer_n_items(struct viewer *viewer);

/* Makes a picture of one colour, 0xRRGGBB, by its suffix, at once complete. */
void viewer_picture(struct viewer *viewer, const char *name, int width, int height, guint32 colour);
/* Makes many that are the same: 000000.png, ...; small ones, or of that size. */
void viewer_pictures(struct viewer *viewer, guint n);
void viewer_pictures_of(struct viewer *viewer, guint n, int width, int height);
void viewer_file(struct viewer *viewer, const char *name, const char *content);
char *viewer_path(struct viewer *viewer, const char *name);

/* Whether a label that is to be seen reads so, all of it. */
gboolean viewer_shows(struct viewer *viewer, const char *text);
gboolean viewer_shows_match(struct viewer *viewer, const char *pattern); /* a regular expression */

/* The first widget of a type in another, which it may be itself. */
GtkWidget *viewer_find(GtkWidget *widget, GType type);

/* Actions of the window: one without a parameter, and the one that shows a picture in full. */
void viewer_act(struct viewer *viewer, const char *action);
void viewer_view(struct viewer *viewer, guint position);

/* The colour in the middle of a texture. */
guint32 viewer_colour(GdkTexture *texture);

/* Thumbnails in the cache. */
guint viewer_n_cached(void);

/* Where a picture's thumbnail is kept. */
char *viewer_cached_path(struct viewer *viewer, const char *name);

/* Thumbnails, and what is remembered of pictures that have none. */
void viewer_empty_cache(void);

/* Pictures of workers that are mapped. */
guint viewer_n_mapped(void);

/* Of the pool that makes thumbnails; NULL before it is needed. */
GAforkPoolStats *viewer_stats(struct viewer *viewer);

/* Calls that wait in it. */
guint viewer_n_queued(struct viewer *viewer);

/* AFork::Thumbnail of workers that start from now on: its reduce(), which decodes, first runs `code`, with
 * the picture's URI and the box it has to fit into in @_. There, gate() waits until it is released. */
struct viewer_module {
    char *real, *lib, *folder, *file, *log, *gate;
    int fd;
};

void viewer_module_begin(struct viewer_module *module, const char *code);
void viewer_module_end(struct viewer_module *module);

/* Some thousand times gate() does not wait any more. */
void viewer_module_release(struct viewer_module *module);

struct viewer_module_call {
    int pid, box;
    char path[4096];
};

/* The n-th call of reduce() that was begun, from 0 on; FALSE: there was none yet. */
gboolean viewer_module_call(struct viewer_module *module, guint n, struct viewer_module_call *call);

/* After viewer_close(): another window, with workers of its own. */
void viewer_reopen(struct viewer *viewer);

/* Ends it all before the end of the case; returns the microseconds that took, on
 * viewer_clock_now(). */
gint64 viewer_close(struct viewer *viewer);

#endif
