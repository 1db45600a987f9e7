/* SPDX-License-Identifier: MIT
 *
 * Frames and string lists. Knows nothing of sockets, processes or Perl, so that it can be tested
 * and fuzzed alone. Everything is bounded by the input's length; nothing is allocated.
 */
#include "wire.h"

#include <errno.h>
#include <string.h>

void afork__wire_header(uint8_t out[AFORK__HEADER_SIZE], enum afork__command command,
                        uint32_t length)
{
    out[0] = (uint8_t)command;
    memcpy(out + 1, &length, sizeof length);
}

void afork__wire_parse_header(const uint8_t in[AFORK__HEADER_SIZE], uint8_t *command,
                              uint32_t *length)
{
    *command = in[0];
    memcpy(length, in + 1, sizeof *length);
}

static size_t ber_size(uint64_t value)
{
    size_t size = 1;
    while (value >>= 7)
        size++;
    return size;
}

size_t afork__ber_put(uint8_t out[AFORK__BER_MAX], uint64_t value)
{
    size_t size = ber_size(value);

    for (size_t i = size; i-- > 0; value >>= 7)
        out[i] = (uint8_t)((value & 0x7f) | (i + 1 < size ? 0x80 : 0));
    return size;
}

size_t afork__strings_size(const struct iovec *strings, size_t n)
{
    size_t total = 0;

    for (size_t i = 0; i < n; i++) {
        size_t prefix = ber_size(strings[i].iov_len);
        if (strings[i].iov_len > SIZE_MAX - prefix - total)
            return SIZE_MAX;
        total += prefix + strings[i].iov_len;
    }
    return total;
}

void afork__strings_put(uint8_t *out, const struct iovec *strings, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint8_t prefix[AFORK__BER_MAX];
        size_t size = afork__ber_put(prefix, strings[i].iov_len);

        memcpy(out, prefix, size);
        out += size;
        if (strings[i].iov_len)
            memcpy(out, strings[i].iov_base, strings[i].iov_len);
        out += strings[i].iov_len;
    }
}

int afork__strings_next(struct afork__strings *list, const void **data, size_t *len)
{
    const uint8_t *pos = list->pos;
    uint64_t value = 0;

    if (pos == list->end)
        return 0;
    for (;;) {
        if (pos == list->end || value > UINT32_MAX)
            return -EPROTO;
        value = value << 7 | (*pos & 0x7f);
        if (!(*pos++ & 0x80))
            break;
    }
    if (value > (uint64_t)(list->end - pos))
        return -EPROTO;
    *data = pos;
    *len = (size_t)value;
    list->pos = pos + value;
    return 1;
}
