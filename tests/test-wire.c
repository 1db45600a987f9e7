/* SPDX-License-Identifier: MIT
 *
 * Frames, BER integers and string lists: known octets, round trips, and malformed input.
 */
#include "wire.h"

#include <errno.h>
#include <string.h>

#include "test-lib.h"

static void header_has_letter_and_native_length(struct test *t)
{
    const uint32_t lengths[] = {0, 1, 255, 256, 65536, UINT32_MAX};

    for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++) {
        uint8_t header[AFORK__HEADER_SIZE], command;
        uint32_t length;

        afork__wire_header(header, AFORK__RUN, lengths[i]);
        g_assert_cmpmem(header + 1, 4, &lengths[i], 4);
        afork__wire_parse_header(header, &command, &length);
        g_assert_cmpuint(command, ==, 'r');
        g_assert_cmpuint(length, ==, lengths[i]);
    }
}

/* The octets are those of perl -e 'print pack "w", N'. */
static void ber_is_perls(struct test *t)
{
    static const struct {
        uint64_t value;
        const char *octets;
        size_t size;
    } known[] = {
        {0, "\x00", 1},
        {1, "\x01", 1},
        {127, "\x7f", 1},
        {128, "\x81\x00", 2},
        {300, "\x82\x2c", 2},
        {16383, "\xff\x7f", 2},
        {16384, "\x81\x80\x00", 3},
        {UINT32_MAX, "\x8f\xff\xff\xff\x7f", 5},
        {UINT64_MAX, "\x81\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(known); i++) {
        uint8_t out[AFORK__BER_MAX];
        size_t size = afork__ber_put(out, known[i].value);
        g_assert_cmpmem(out, size, known[i].octets, known[i].size);
    }
}

/* Packs, checks the size, and reads back. */
static void assert_round_trip(const struct iovec *strings, size_t n)
{
    size_t size = afork__strings_size(strings, n);
    g_autofree uint8_t *packed = g_malloc(size + 1);

    packed[size] = 0xaa;
    afork__strings_put(packed, strings, n);
    g_assert_cmpuint(packed[size], ==, 0xaa);

    struct afork__strings list = {packed, packed + size};
    const void *data;
    size_t len;
    for (size_t i = 0; i < n; i++) {
        g_assert_cmpint(afork__strings_next(&list, &data, &len), ==, 1);
        g_assert_cmpmem(data, len, strings[i].iov_base, strings[i].iov_len);
    }
    g_assert_cmpint(afork__strings_next(&list, &data, &len), ==, 0);
    g_assert_cmpint(afork__strings_next(&list, &data, &len), ==, 0);
}

static void lists_come_back(struct test *t)
{
    const size_t lengths[] = {0, 1, 127, 128, 129, 16383, 16384, 2097151, 2097152};
    struct iovec strings[G_N_ELEMENTS(lengths)];
    g_autofree char *octets = g_malloc(2097152);

    for (size_t i = 0; i < 2097152; i++)
        octets[i] = (char)i;
    for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++)
        strings[i] = (struct iovec){octets + i % 7, lengths[i] - (i == 8 ? 7 : 0)};
    assert_round_trip(strings, G_N_ELEMENTS(strings));
    assert_round_trip(strings, 0);
    strings[0] = (struct iovec){NULL, 0};
    assert_round_trip(strings, 1);
}

static void sizes_do_not_overflow(struct test *t)
{
    char octet = 0;
    struct iovec huge[] = {{&octet, SIZE_MAX / 2}, {&octet, SIZE_MAX / 2}, {&octet, SIZE_MAX / 2}};
    struct iovec whole = {&octet, SIZE_MAX};

    g_assert_cmpuint(afork__strings_size(&whole, 1), ==, SIZE_MAX);
    g_assert_cmpuint(afork__strings_size(huge, 3), ==, SIZE_MAX);
    g_assert_cmpuint(afork__strings_size(huge, 1), ==, SIZE_MAX / 2 + 9);
}

static void malformed_lists_are_refused(struct test *t)
{
    static const struct {
        const char *octets;
        size_t size, good; /* how many strings precede the fault */
    } lists[] = {
        {"\x80", 1, 0},     /* ends inside the integer */
        {"\xff\xff", 2, 0}, /* likewise */
        {"\x01", 1, 0},     /* string missing */
        {"\x03"
         "ab",
         3, 0},                                                  /* string cut */
        {"\x01x\x02y", 4, 1},                                    /* the second one cut */
        {"\x90\x80\x80\x80\x00", 5, 0},                          /* 2^32 */
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 11, 0}, /* more than 64 bits */
        {"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80", 11, 0}, /* zeros without end */
    };

    for (size_t i = 0; i < G_N_ELEMENTS(lists); i++) {
        /* A copy of its exact size, so that tools see a read beyond it. */
        g_autofree uint8_t *copy = g_memdup2(lists[i].octets, lists[i].size);
        struct afork__strings list = {copy, copy + lists[i].size};
        const void *data;
        size_t len;

        for (size_t good = 0; good < lists[i].good; good++)
            g_assert_cmpint(afork__strings_next(&list, &data, &len), ==, 1);
        g_assert_cmpint(afork__strings_next(&list, &data, &len), ==, -EPROTO);
    }
}

/* Whatever the octets are, reading stays inside them and ends. */
static void random_lists_stay_in_bounds(struct test *t)
{
    for (unsigned round = 0; round < 20000; round++) {
        size_t size = (size_t)g_test_rand_int_range(0, 24);
        g_autofree uint8_t *octets = g_malloc(MAX(size, 1)); /* of none it would return NULL */
        for (size_t i = 0; i < size; i++)
            octets[i] = (uint8_t)(g_test_rand_int() & g_test_rand_int());

        struct afork__strings list = {octets, octets + size};
        const uint8_t *before = octets;
        const void *data;
        size_t len;
        int result;
        while ((result = afork__strings_next(&list, &data, &len)) == 1) {
            g_assert_true((const uint8_t *)data > before);
            g_assert_true((const uint8_t *)data + len <= octets + size);
            before = data;
        }
        g_assert_true(result == 0 || result == -EPROTO);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_add_for(NULL, "/wire/header/letter-and-native-length",
                 header_has_letter_and_native_length);
    test_add_for(NULL, "/wire/ber/is-perls", ber_is_perls);
    test_add_for(NULL, "/wire/strings/come-back", lists_come_back);
    test_add_for(NULL, "/wire/strings/sizes-do-not-overflow", sizes_do_not_overflow);
    test_add_for(NULL, "/wire/strings/malformed-refused", malformed_lists_are_refused);
    test_add_for(NULL, "/wire/strings/random-stays-in-bounds", random_lists_stay_in_bounds);
    return g_test_run();
}
