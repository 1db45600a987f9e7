/* SPDX-License-Identifier: MIT
 *
 * Pixels from a worker as a texture.
 */
#ifndef VIEWER_PIXELS_H
#define VIEWER_PIXELS_H

#include <gtk/gtk.h>

/* Makes a texture of what Viewer::pixels() of decode.pl returns: four numbers and a descriptor,
 * which is not kept. The memory has to be sealed, so that the worker cannot change or shorten it any
 * more; it is mapped, not copied. NULL and `error`: it makes no sense, is wider or higher than `box`
 * pixels, or there is no memory. */
GdkTexture *viewer_pixels_to_texture(const char *const *numbers, int fd, guint box, GError **error);

#endif
