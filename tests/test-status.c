/* SPDX-License-Identifier: MIT
 *
 * Status records: round trips of every type, and records that cannot have come from a server.
 */
#include "status.h"

#include <errno.h>
#include <string.h>

#include "test-lib.h"

/* A record as it travels. */
static GByteArray *encode(const struct afork__status *status)
{
    uint8_t fixed[AFORK__RECORD_FIXED_SIZE];
    GByteArray *record = g_byte_array_new();

    g_byte_array_append(record, fixed, (guint)afork__status_encode(status, fixed));
    g_byte_array_append(record, (const guint8 *)status->text, (guint)status->text_len);
    return record;
}

static void numbers_and_text_come_back(struct test *t)
{
    static const enum afork__record types[] = {AFORK__HELLO, AFORK__FORKED, AFORK__ENTERED,
                                               AFORK__ERROR, AFORK__WARNING};

    for (size_t i = 0; i < G_N_ELEMENTS(types); i++) {
        struct afork__status in = {
            .type = types[i],
            .phase = types[i] == AFORK__ERROR ? AFORK__PHASE_FUNCTION : AFORK__PHASE_NONE,
            .identity = UINT64_MAX - i,
            .pid = 4194304,
            .value = UINT32_MAX,
            .text = "it \0 died",
            .text_len = 9,
        };
        g_autoptr(GByteArray) record = encode(&in);
        struct afork__status out;

        g_assert_cmpint(afork__status_decode(record->data, record->len, &out), ==, 0);
        g_assert_cmpint(out.type, ==, in.type);
        g_assert_cmpint(out.phase, ==, in.phase);
        g_assert_cmpuint(out.identity, ==, in.identity);
        g_assert_cmpuint(out.pid, ==, in.pid);
        g_assert_cmpuint(out.value, ==, in.value);
        g_assert_cmpmem(out.text, out.text_len, in.text, in.text_len);
    }
}

static void usage_comes_back(struct test *t)
{
    struct afork__status in = {
        .type = AFORK__EXITED,
        .identity = 7,
        .pid = 8,
        .value = 0x2a00,
        .usage = {.ru_utime = {1, 2},
                  .ru_stime = {3, 4},
                  .ru_maxrss = 5,
                  .ru_ixrss = 6,
                  .ru_idrss = 7,
                  .ru_isrss = 8,
                  .ru_minflt = 9,
                  .ru_majflt = 10,
                  .ru_nswap = 11,
                  .ru_inblock = 12,
                  .ru_oublock = 13,
                  .ru_nsignals = 15,
                  .ru_nvcsw = 16,
                  .ru_nivcsw = LONG_MAX},
    };
    g_autoptr(GByteArray) record = encode(&in);
    struct afork__status out;

    g_assert_cmpuint(record->len, ==, AFORK__RECORD_FIXED_SIZE);
    g_assert_cmpint(afork__status_decode(record->data, record->len, &out), ==, 0);
    g_assert_cmpuint(out.value, ==, 0x2a00);
    g_assert_cmpint(out.usage.ru_utime.tv_sec, ==, 1);
    g_assert_cmpint(out.usage.ru_stime.tv_usec, ==, 4);
    g_assert_cmpint(out.usage.ru_maxrss, ==, 5);
    g_assert_cmpint(out.usage.ru_nsignals, ==, 15);
    g_assert_cmpint(out.usage.ru_nivcsw, ==, LONG_MAX);
    g_assert_cmpuint(out.text_len, ==, 0);
}

static void without_usage_is_short(struct test *t)
{
    struct afork__status in = {.type = AFORK__FORKED, .identity = 1, .pid = 2};
    g_autoptr(GByteArray) record = encode(&in);

    g_assert_cmpuint(record->len, ==, 24);
}

static void malformed_is_refused(struct test *t)
{
    struct afork__status in = {.type = AFORK__EXITED, .identity = 1, .pid = 2};
    g_autoptr(GByteArray) exited = encode(&in);
    struct afork__status out = {.identity = 42};

    for (guint len = 0; len < exited->len; len++) {
        g_autofree guint8 *copy = g_memdup2(exited->data, len);
        g_assert_cmpint(afork__status_decode(copy, len, &out), ==, -EPROTO);
    }

    /* An exit with text, an unknown type, an unknown phase. */
    g_byte_array_append(exited, (const guint8 *)"x", 1);
    g_assert_cmpint(afork__status_decode(exited->data, exited->len, &out), ==, -EPROTO);
    in.type = AFORK__ERROR;
    g_autoptr(GByteArray) error = encode(&in);
    for (int type = 0; type < 256; type++) {
        bool known = type >= AFORK__HELLO && type <= AFORK__WARNING && type != AFORK__EXITED;
        error->data[0] = (guint8)type;
        struct afork__status scratch;
        g_assert_cmpint(afork__status_decode(error->data, error->len, &scratch), ==,
                        known ? 0 : -EPROTO);
    }
    error->data[0] = AFORK__ERROR;
    error->data[1] = AFORK__PHASE_LIMITS + 1;
    g_assert_cmpint(afork__status_decode(error->data, error->len, &out), ==, -EPROTO);
    g_assert_cmpuint(out.identity, ==, 42); /* untouched by failures */
}

static void too_long_is_refused(struct test *t)
{
    g_autofree guint8 *record = g_malloc0(AFORK__RECORD_MAX + 1);
    struct afork__status out;

    record[0] = AFORK__WARNING;
    g_assert_cmpint(afork__status_decode(record, 24 + AFORK__RECORD_TEXT_MAX, &out), ==, 0);
    g_assert_cmpint(afork__status_decode(record, AFORK__RECORD_MAX + 1, &out), ==, -EPROTO);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_add_for(NULL, "/status/numbers-and-text-come-back", numbers_and_text_come_back);
    test_add_for(NULL, "/status/usage-comes-back", usage_comes_back);
    test_add_for(NULL, "/status/without-usage-is-short", without_usage_is_short);
    test_add_for(NULL, "/status/malformed-refused", malformed_is_refused);
    test_add_for(NULL, "/status/too-long-refused", too_long_is_refused);
    return g_test_run();
}
