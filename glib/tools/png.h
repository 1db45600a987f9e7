/* SPDX-License-Identifier: MIT
 *
 * The little of PNG that a thumbnail cache needs without decoding: text chunks.
 */
#ifndef PNG_H
#define PNG_H

#include <glib.h>

/* Reads the text chunks that precede the image data. Returned as key -> value, empty for a picture
 * without; NULL if the file cannot be read or is not PNG. Caller unrefs. */
GHashTable *png_read_text(const char *path);

/* A PNG of one transparent pixel with the given text: key, value, ..., NULL. Keys have at most 79
 * characters. Returned, caller frees. */
GByteArray *png_with_text(const char *key, ...) G_GNUC_NULL_TERMINATED;

#endif
