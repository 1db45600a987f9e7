/* SPDX-License-Identifier: MIT
 *
 * See text.h.
 */
#include "text.h"

#include <stdlib.h>
#include <string.h>

/* A buffer that was larger is given back once it is empty. */
enum { KEEP = 1 << 20 };

void *allocate(size_t size)
{
    void *memory = malloc(size);

    if (memory)
        return memory;
    fputs("afork-run: out of memory\n", stderr);
    exit(EXIT_TROUBLE);
}

char *buffer_reserve(struct buffer *buffer, size_t len)
{
    if (buffer->start && buffer->size - buffer->start - buffer->len < len) {
        memmove(buffer->data, buffer->data + buffer->start, buffer->len);
        buffer->start = 0;
    }
    if (buffer->size - buffer->start - buffer->len < len) {
        size_t size = buffer->size ? buffer->size : 4096;
        while (size - buffer->len < len)
            size *= 2;
        char *data = allocate(size);
        if (buffer->len)
            memcpy(data, buffer->data, buffer->len);
        free(buffer->data);
        buffer->data = data;
        buffer->size = size;
    }
    return buffer->data + buffer->start + buffer->len;
}

void buffer_add(struct buffer *buffer, const void *data, size_t len)
{
    if (!len)
        return;
    memcpy(buffer_reserve(buffer, len), data, len);
    buffer->len += len;
}

void buffer_consume(struct buffer *buffer, size_t len)
{
    buffer->start += len;
    buffer->len -= len;
    if (buffer->len)
        return;
    buffer->start = 0;
    if (buffer->size > KEEP)
        buffer_free(buffer);
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer){0};
}

/* The first octet of a control character beyond ASCII, in UTF-8. */
static bool is_high_control(const char *text, size_t len)
{
    return len > 1 && (unsigned char)text[0] == 0xc2 && (unsigned char)text[1] >= 0x80 &&
           (unsigned char)text[1] < 0xa0;
}

/* Those in `plain` are no control characters. */
static void print_octets(FILE *file, const char *text, size_t len, const char *plain)
{
    static const char letters[] = {['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't', ['\\'] = '\\'};

    for (size_t i = 0; i < len; i++) {
        unsigned char octet = (unsigned char)text[i];
        if (is_high_control(text + i, len - i))
            fprintf(file, "\\x%02x\\x%02x", octet, (unsigned char)text[++i]);
        else if (octet && strchr(plain, octet))
            putc(octet, file);
        else if (octet < sizeof letters && letters[octet])
            fprintf(file, "\\%c", letters[octet]);
        else if (octet < ' ' || octet == 0x7f)
            fprintf(file, "\\x%02x", octet);
        else
            putc(octet, file);
    }
}

void print_escaped(FILE *file, const char *text, size_t len, size_t max)
{
    size_t end = max && len > max ? max : len;

    print_octets(file, text, end, "");
    if (end < len)
        fputs("...", file);
}

void print_message(FILE *file, const char *text)
{
    size_t len = strlen(text);

    if (len && text[len - 1] == '\n')
        len--;
    print_octets(file, text, len, "\n\t\\");
    putc('\n', file);
}
