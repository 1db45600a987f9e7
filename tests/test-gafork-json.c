/* SPDX-License-Identifier: MIT
 *
 * Variants as JSON, and what a worker may send for JSON.
 */
#include <string.h>

#include "gafork-lib.h"

static GVariant *read_json(const char *text, const char *type, GError **error)
{
    g_autoptr(GBytes) bytes = g_bytes_new(text, strlen(text));

    g_test_message("%.20s as %s", text, type ? type : "whatever it is");
    return gafork_bytes_to_variant(bytes, GAFORK_SERIALISER_JSON,
                                   type ? G_VARIANT_TYPE(type) : NULL, error);
}

/* `expected` NULL: it cannot be read. */
static void assert_read(const char *text, const char *type, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GVariant) value = read_json(text, type, &error);

    if (!expected) {
        g_assert_null(value);
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA);
        return;
    }
    g_assert_no_error(error);
    g_assert_false(g_variant_is_floating(value));
    g_autofree char *found = g_variant_print(value, TRUE);
    g_assert_cmpstr(found, ==, expected);
}

static void syntax(G_GNUC_UNUSED struct gafork_test *f)
{
    static const char *const bad[] = {
        "",
        " ",
        "[",
        "[1",
        "[1,]",
        "[1 2]",
        "[1]x",
        "[1][2]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1",
        "{1:1}",
        "nothing",
        "[nan]",
        "[-Infinity]",
        "[01]",
        "[+1]",
        "[.5]",
        "[5.]",
        "[1e]",
        "[-]",
        "[- 5]",
        "[0x10]",
        "['a']",
        "[\"\n\"]",
        "[\"\\q\"]",
        "[\"a",
        "[\"\\",
        "[\"\\u",
        "[\"\\u12\"]",
        "[//\n1]",
        "[/**/1]",
        "[\"\xff\"]",
        "var x = [1];",
        "[\"\\ud83d \\ude00\"]",
        "[truex]",
        "[\"\\u0000\"]",
        "[\"\\ud800\"]",
        "[\"\\udc00\"]",
        "[\"\\ud800\\u0041\"]",
    };

    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++)
        assert_read(bad[i], NULL, NULL);
    assert_read(
        " [ \"\\ud83d\\ude00 \\u00E9\\\"\\/ [[\\t\" ,\r\n{ \"a\" : [null , true]},-0.5e+1] ", NULL,
        "[<'\xf0\x9f\x98\x80 \xc3\xa9\"/ [[\\t'>, <{'a': <[<@mv nothing>, <true>]>}>, "
        "<-5.0>]");
    assert_read("null", NULL, "@mv nothing");
}

/* Nothing hides it from a limit, and nothing is lost below the limit, not even where the variant is
 * serialised, which GLib does for 128 levels. */
static void depth(G_GNUC_UNUSED struct gafork_test *f)
{
    g_autofree char *deep = g_strnfill(100000, '[');
    g_autofree char *commented = g_strconcat("[/*\"*/", deep, NULL);
    g_autofree char *quoted = g_strconcat("['\"',", deep, NULL);
    g_autoptr(GString) fine = g_string_new("\"x\"");

    assert_read(deep, NULL, NULL);
    assert_read(commented, NULL, NULL);
    assert_read(quoted, NULL, NULL);
    for (int i = 0; i < 63; i++)
        g_string_append_c(g_string_prepend_c(fine, '['), ']');
    g_autoptr(GVariant) value = read_json(fine->str, NULL, NULL);
    g_autofree char *before = g_variant_print(value, FALSE);
    g_variant_get_data(value);
    g_autofree char *after = g_variant_print(value, FALSE);
    g_assert_cmpstr(before, ==, after);
    g_string_append_c(g_string_prepend_c(fine, '['), ']');
    assert_read(fine->str, NULL, NULL);
}

static void numbers(G_GNUC_UNUSED struct gafork_test *f)
{
    static const struct {
        const char *text, *type, *expected;
    } cases[] = {
        {"[9223372036854775807]", NULL, "[<int64 9223372036854775807>]"},
        {"[-9223372036854775808]", NULL, "[<int64 -9223372036854775808>]"},
        {"[18446744073709551615]", NULL, "[<uint64 18446744073709551615>]"},
        {"[18446744073709551616]", NULL, NULL},
        {"[-9223372036854775809]", NULL, NULL},
        {"[1e999]", NULL, NULL},
        {"[18446744073709551615]", "at", "[uint64 18446744073709551615]"},
        {"[18446744073709551616]", "at", NULL},
        {"[18446744073709551616]", "ad", "[1.8446744073709552e+19]"},
        {"[9223372036854775808]", "ax", NULL},
        {"[255]", "ay", "[byte 0xff]"},
        {"[256]", "ay", NULL},
        {"[-1]", "ay", NULL},
        {"[32768]", "an", NULL},
        {"[-32768]", "an", "[int16 -32768]"},
        {"[65536]", "aq", NULL},
        {"[2147483648]", "ai", NULL},
        {"[2147483648]", "ah", NULL},
        {"[4294967296]", "au", NULL},
        {"[-1]", "au", NULL},
        {"[-1]", "at", NULL},
        {"[5]", "ad", "[5.0]"},
        {"[5.5]", "ai", NULL},
        {"[\"5\"]", "ai", "[5]"},
        {"[\"256\"]", "ay", NULL},
        {"[\"\"]", "ad", NULL},
        {"[{\"256\":1}]", "aa{yi}", NULL},
        {"[{\"-1\":1}]", "aa{ti}", NULL},
        {"[{\"7\":1}]", "aa{ti}", "[{uint64 7: 1}]"},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++)
        assert_read(cases[i].text, cases[i].type, cases[i].expected);
}

static void types(G_GNUC_UNUSED struct gafork_test *f)
{
    static const struct {
        const char *text, *type, *expected;
    } cases[] = {
        {"[\"/a\"]", "ao", "[objectpath '/a']"},
        {"[\"a\"]", "ao", NULL},
        {"[{\"a\":1}]", "aa{oi}", NULL},
        {"[\"(\"]", "ag", NULL},
        {"[null, 1]", "ami", "[@mi nothing, 1]"},
        {"[null]", "as", NULL},
        {"[1]", "as", NULL},
        {"[1]", "ab", NULL},
        {"[{\"true\":1}]", "aa{bi}", "[{true: 1}]"},
        {"[{\"a\":1}]", "({si})", "({'a', 1},)"},
        {"[{\"a\":1,\"b\":2}]", "({si})", NULL},
        {"[{}]", "({si})", NULL},
        {"[1]", "(ii)", NULL},
        {"[1,2,3]", "(ii)", NULL},
        {"[1,2]", "(ii)", "(1, 2)"},
        {"[]", "()", "()"},
        {"[1]", "()", NULL},
        {"[]", "a{sv}", NULL},
        {"{}", "as", NULL},
        {"{}", "a{sv}", "@a{sv} {}"},
        {"[1]", "v", "<[<int64 1>]>"},
    };
    static const char *const indefinite[] = {"*", "a*", "r", "a{?*}", "m*", "(?)"};

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++)
        assert_read(cases[i].text, cases[i].type, cases[i].expected);
    for (gsize i = 0; i < G_N_ELEMENTS(indefinite); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(read_json("{\"a\":null}", indefinite[i], &error));
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
    }
}

static void written(G_GNUC_UNUSED struct gafork_test *f)
{
    static const struct {
        const char *value, *expected;
    } cases[] = {
        {"(uint64 9223372036854775807, {'a': <@mi nothing>})",
         "[9223372036854775807,{\"a\":null}]"},
        {"({uint64 18446744073709551615: 1},)", NULL},
        {"(uint64 9223372036854775808,)", NULL},
        {"({'a': <uint64 9223372036854775808>},)", NULL},
        {"({1.5: 1},)", NULL},
        {"(<{1.5: 1}>,)", NULL},
        {"({'a': <nan>},)", NULL},
        {"{'a': 1}", NULL},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GBytes) bytes = gafork_variant_to_bytes(g_variant_new_parsed(cases[i].value),
                                                          GAFORK_SERIALISER_JSON, &error);
        g_test_message("%s", cases[i].value);
        if (cases[i].expected) {
            gsize len;
            const void *data = g_bytes_get_data(bytes, &len);
            g_assert_cmpmem(data, len, cases[i].expected, strlen(cases[i].expected));
        } else {
            g_assert_null(bytes);
            g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
        }
    }
}

int main(int argc, char **argv)
{
    gafork_test_init(&argc, &argv);
    gafork_add("/gafork/json/syntax", syntax);
    gafork_add("/gafork/json/depth", depth);
    gafork_add("/gafork/json/numbers", numbers);
    gafork_add("/gafork/json/types", types);
    gafork_add("/gafork/json/written", written);
    return g_test_run();
}
