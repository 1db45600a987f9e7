/* SPDX-License-Identifier: MIT
 *
 * PNG as a sequence of chunks: length, type, data, checksum. Knows nothing of thumbnails.
 */
#include "png.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const char signature[8] = "\x89PNG\r\n\x1a\n";

/* A longer text is not one of ours, and not worth the memory. */
#define TEXT_MAX (64 * 1024)

static void close_file(FILE **file)
{
    if (*file)
        fclose(*file);
}

static bool add_text(FILE *file, uint32_t length, GHashTable *text)
{
    g_autofree char *data = g_malloc(length + 1);

    if (fread(data, 1, length, file) != length)
        return false;
    data[length] = '\0';
    size_t key_length = strlen(data);
    if (key_length < length)
        g_hash_table_insert(text, g_strdup(data), g_strdup(data + key_length + 1));
    return true;
}

GHashTable *png_read_text(const char *path)
{
    __attribute__((cleanup(close_file))) FILE *file = fopen(path, "re");
    char magic[sizeof signature];

    if (!file || fread(magic, sizeof magic, 1, file) != 1 ||
        memcmp(magic, signature, sizeof magic) != 0)
        return NULL;

    g_autoptr(GHashTable) text = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    for (;;) {
        struct {
            uint32_t length;
            char type[4];
        } header;
        if (fread(&header, sizeof header, 1, file) != 1)
            return NULL;
        uint32_t length = GUINT32_FROM_BE(header.length);

        if (memcmp(header.type, "IDAT", 4) == 0 || memcmp(header.type, "IEND", 4) == 0)
            return g_steal_pointer(&text);
        if (memcmp(header.type, "tEXt", 4) == 0 && length <= TEXT_MAX) {
            if (!add_text(file, length, text))
                return NULL;
            length = 0;
        }
        if (fseek(file, (long)length + 4, SEEK_CUR) < 0) /* the rest and the checksum */
            return NULL;
    }
}

/* The CRC of PNG (and zlib), bit by bit: there are a few hundred octets to sum. */
static uint32_t checksum(const guint8 *data, size_t length)
{
    uint32_t sum = UINT32_MAX;

    while (length--) {
        sum ^= *data++;
        for (int bit = 0; bit < 8; bit++)
            sum = sum >> 1 ^ (sum & 1 ? 0xedb88320 : 0);
    }
    return ~sum;
}

static void append_number(GByteArray *png, uint32_t number)
{
    number = GUINT32_TO_BE(number);
    g_byte_array_append(png, (const guint8 *)&number, sizeof number);
}

static void append_chunk(GByteArray *png, const char *type, const void *data, size_t length)
{
    append_number(png, (uint32_t)length);
    guint start = png->len;
    g_byte_array_append(png, (const guint8 *)type, 4);
    g_byte_array_append(png, data, (guint)length);
    append_number(png, checksum(png->data + start, png->len - start));
}

GByteArray *png_with_text(const char *key, ...)
{
    static const guint8 header[] = {0, 0, 0, 1, 0, 0, 0, 1, 8, 6, 0, 0, 0}; /* 1 x 1, 8 bit, RGBA */
    /* zlib's form of five zeros: the filter of the one row and its one pixel. */
    static const guint8 pixel[] = {0x78, 0x9c, 0x63, 0x60, 0x00, 0x02,
                                   0x00, 0x00, 0x05, 0x00, 0x01};
    GByteArray *png = g_byte_array_new();
    va_list arguments;

    g_byte_array_append(png, (const guint8 *)signature, sizeof signature);
    append_chunk(png, "IHDR", header, sizeof header);
    va_start(arguments, key);
    for (; key; key = va_arg(arguments, const char *)) {
        g_autoptr(GString) text = g_string_new(key);
        g_string_append_c(text, '\0');
        g_string_append(text, va_arg(arguments, const char *));
        append_chunk(png, "tEXt", text->str, text->len);
    }
    va_end(arguments);
    append_chunk(png, "IDAT", pixel, sizeof pixel);
    append_chunk(png, "IEND", "", 0);
    return png;
}
