/* SPDX-License-Identifier: MIT
 *
 * Limits on the wire: what is encoded comes out again, and what nobody can have encoded is refused.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "limit-set.h"
#include "test-lib.h"

/* A payload: the fixed part, and paths with the letter of their list. */
static GByteArray *payload_new(const struct afork__limit_set *set, const char *const *paths)
{
    GByteArray *payload = g_byte_array_new();
    uint8_t fixed[AFORK__LIMIT_SET_FIXED_SIZE], prefix[AFORK__BER_MAX];

    afork__limit_set_encode(set, fixed);
    g_byte_array_append(payload, fixed, sizeof fixed);
    for (; paths && *paths; paths++) {
        size_t len = strlen(*paths);
        g_byte_array_append(payload, prefix, (guint)afork__ber_put(prefix, len));
        g_byte_array_append(payload, (const guint8 *)*paths, (guint)len);
    }
    return payload;
}

static const struct afork__limit_set full = {
    .flags = AFORK__LIMIT_FLAGS,
    .nice = 19,
    .values = {1, 2, UINT64_C(1) << 40, AFORK__LIMIT_MAX},
};

static void all_comes_out(struct test *t)
{
    const char *const paths[] = {"r/", "w/a b", "r/\xff", NULL};
    g_autoptr(GByteArray) payload = payload_new(&full, paths);
    struct afork__limit_set set;
    const void *data;
    size_t len;

    test_ok(afork__limit_set_decode(payload->data, payload->len, &set));
    g_assert_cmpuint(set.flags, ==, full.flags);
    g_assert_cmpuint(set.nice, ==, full.nice);
    g_assert_cmpmem(set.values, sizeof set.values, full.values, sizeof full.values);
    for (size_t i = 0; paths[i]; i++) {
        g_assert_cmpint(afork__strings_next(&set.paths, &data, &len), ==, 1);
        g_assert_cmpmem(data, len, paths[i], strlen(paths[i]));
    }
    g_assert_cmpint(afork__strings_next(&set.paths, &data, &len), ==, 0);
}

static void refuse(const struct afork__limit_set *set, const char *const *paths)
{
    g_autoptr(GByteArray) payload = payload_new(set, paths);
    struct afork__limit_set ret;

    g_assert_cmpint(afork__limit_set_decode(payload->data, payload->len, &ret), ==, -EPROTO);
}

static void values_out_of_range(struct test *t)
{
    for (size_t i = 0; i < AFORK__N_LIMITS; i++) {
        struct afork__limit_set set = {0};
        set.values[i] = AFORK__LIMIT_MAX + UINT64_C(1);
        refuse(&set, NULL);
    }
    refuse(&(struct afork__limit_set){.nice = 20}, NULL);
    refuse(&(struct afork__limit_set){.nice = UINT32_MAX}, NULL);
    refuse(&(struct afork__limit_set){.flags = AFORK__LIMIT_FLAGS + 1}, NULL);
}

static void paths_that_are_none(struct test *t)
{
    g_autofree char *longest = g_strnfill(PATH_MAX, 'x'), *longer = g_strnfill(PATH_MAX + 1, 'x');
    const char *bad[] = {"", "r", "rx", "r./x", "x/", "/", longer};
    struct afork__limit_set set = full, ret;

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        const char *const paths[] = {bad[i], NULL};
        memcpy(longer, "r/", 2);
        refuse(&full, paths);
    }
    memcpy(longest, "r/", 2); /* the letter and what a path may have without its NUL */
    const char *const good[] = {longest, NULL};
    g_autoptr(GByteArray) payload = payload_new(&full, good);
    test_ok(afork__limit_set_decode(payload->data, payload->len, &ret));
    payload->data[payload->len - 1] = '\0';
    g_assert_cmpint(afork__limit_set_decode(payload->data, payload->len, &ret), ==, -EPROTO);

    /* Of a list that is not there. */
    set.flags = AFORK__LIMIT_WRITE;
    refuse(&set, (const char *const[]){"r/", NULL});
    set.flags = AFORK__LIMIT_READ;
    refuse(&set, (const char *const[]){"w/", NULL});
}

/* Only what ends with a whole path is a payload. */
static void cut_anywhere(struct test *t)
{
    const char *const paths[] = {"r/one", "w/two", NULL};
    g_autoptr(GByteArray) payload = payload_new(&full, paths);
    struct afork__limit_set ret;
    unsigned good = 0;

    for (guint len = 0; len <= payload->len; len++) {
        g_autofree guint8 *copy = g_memdup2(payload->data, len); /* nothing behind it may be read */
        good += afork__limit_set_decode(copy, len, &ret) == 0;
    }
    g_assert_cmpuint(good, ==, 3);
}

/* Whatever comes, the answer is one or the other, and what was taken has a path's form. */
static void garbage(struct test *t)
{
    for (unsigned round = 0; round < 100000; round++) {
        guint len = (guint)g_test_rand_int_range(0, 64);
        g_autofree guint8 *data = g_malloc(len);
        struct afork__limit_set set;
        const void *path;
        size_t path_len;

        for (guint i = 0; i < len; i++) /* mostly zeros: else flags and values are refused first */
            data[i] = g_test_rand_int_range(0, 4) && i < AFORK__LIMIT_SET_FIXED_SIZE
                          ? (i == 0 ? 0x18 : 0)
                          : (guint8)(i % 3 ? "rw/"[g_test_rand_int_range(0, 3)]
                                           : (char)g_test_rand_int_range(0, 256));
        if (afork__limit_set_decode(data, len, &set) < 0)
            continue;
        while (afork__strings_next(&set.paths, &path, &path_len) > 0)
            g_assert_cmpint(((const char *)path)[1], ==, '/');
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_add_for(NULL, "/limit-set/comes-out", all_comes_out);
    test_add_for(NULL, "/limit-set/values", values_out_of_range);
    test_add_for(NULL, "/limit-set/paths", paths_that_are_none);
    test_add_for(NULL, "/limit-set/cut", cut_anywhere);
    test_add_for(NULL, "/limit-set/garbage", garbage);
    return g_test_run();
}
