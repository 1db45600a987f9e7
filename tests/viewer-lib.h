/* SPDX-License-Identifier: MIT
 *
 * What the tests of afork-viewer share: pictures, a window, and waiting for things.
 */
#ifndef VIEWER_LIB_H
#define VIEWER_LIB_H

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

/* Whether a label of the window reads so. */
gboolean viewer_shows(struct viewer *viewer, const char *text);

/* The colour in the middle of a texture. */
guint32 viewer_colour(GdkTexture *texture);

/* Thumbnails in the cache. */
guint viewer_n_cached(void);

/* Pictures of workers that are mapped. */
guint viewer_n_mapped(void);

/* Of the pool that makes thumbnails; NULL before it is needed. */
GAforkPoolStats *viewer_stats(struct viewer *viewer);

/* Calls that wait in it. */
guint viewer_n_queued(struct viewer *viewer);

/* Ends it all before the end of the case; returns the microseconds that took. */
gint64 viewer_close(struct viewer *viewer);

#endif
