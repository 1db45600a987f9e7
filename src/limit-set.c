/* SPDX-License-Identifier: MIT */
#include "limit-set.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

void afork__limit_set_encode(const struct afork__limit_set *set,
                             uint8_t out[AFORK__LIMIT_SET_FIXED_SIZE])
{
    memcpy(out, &set->flags, 4);
    memcpy(out + 4, &set->nice, 4);
    memcpy(out + 8, set->values, sizeof set->values);
}

/* Whether the paths are paths of lists that there are. */
static int check_paths(struct afork__strings paths, uint32_t flags)
{
    const void *data;
    size_t len;
    int more;

    while ((more = afork__strings_next(&paths, &data, &len)) > 0) {
        const char *text = data;
        if (len < 2 || len > PATH_MAX || text[1] != '/' || memchr(text, '\0', len) ||
            !((*text == 'r' && flags & AFORK__LIMIT_READ) ||
              (*text == 'w' && flags & AFORK__LIMIT_WRITE)))
            return -EPROTO;
    }
    return more;
}

int afork__limit_set_decode(const void *data, size_t len, struct afork__limit_set *ret)
{
    const uint8_t *in = data;

    if (len < AFORK__LIMIT_SET_FIXED_SIZE)
        return -EPROTO;
    memcpy(&ret->flags, in, 4);
    memcpy(&ret->nice, in + 4, 4);
    memcpy(ret->values, in + 8, sizeof ret->values);
    ret->paths = (struct afork__strings){in + AFORK__LIMIT_SET_FIXED_SIZE, in + len};
    if (ret->flags & ~(uint32_t)AFORK__LIMIT_FLAGS || ret->nice > AFORK__NICE_MAX)
        return -EPROTO;
    for (size_t i = 0; i < AFORK__N_LIMITS; i++)
        if (ret->values[i] > AFORK__LIMIT_MAX)
            return -EPROTO;
    return check_paths(ret->paths, ret->flags);
}
