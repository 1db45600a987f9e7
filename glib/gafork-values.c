/* SPDX-License-Identifier: MIT
 *
 * Lists of Perl values as octets, and back: those serialisers that both ends know. What a worker
 * sends is not trusted.
 */
#define AFORK_GLIB_COMPILATION

#include <errno.h>
#include <json-glib/json-glib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gafork-call-private.h"

/* How deep arrays and objects of JSON may stand in each other: readers of it call themselves. */
enum { DEPTH_MAX = 512 };

static void set_invalid(GError **error, const char *what)
{
    g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, what);
}

/* --- Octet strings --- */

struct iovec *gafork__strv_to_iovec(const char *const *strings, gsize *ret_n)
{
    gsize n = g_strv_length((GStrv)strings);
    struct iovec *list = g_new(struct iovec, n + 1);

    for (gsize i = 0; i < n; i++)
        list[i] = (struct iovec){.iov_base = (char *)strings[i], .iov_len = strlen(strings[i])};
    *ret_n = n;
    return list;
}

/* The next string; FALSE at the end, or with `error` set. */
static gboolean next_string(struct afork_strings *list, gconstpointer *data, gsize *len,
                            GError **error)
{
    int result = afork_strings_next(list, data, len);

    if (result < 0)
        g_set_error_literal(error, GAFORK_ERROR, GAFORK_ERROR_PROTOCOL,
                            "this is no list of octet strings");
    return result > 0;
}

char **gafork__octets_to_strv(const void *data, gsize len, GError **error)
{
    struct afork_strings list = {data, len};
    g_autoptr(GPtrArray) strings = g_ptr_array_new_with_free_func(g_free);
    GError *problem = NULL;
    gconstpointer string;
    gsize string_len;

    while (next_string(&list, &string, &string_len, &problem)) {
        if (!g_utf8_validate_len(string, string_len, NULL)) {
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                        "string %u is not UTF-8 without NUL; it can be had as octets",
                        strings->len);
            return NULL;
        }
        g_ptr_array_add(strings, g_strndup(string, string_len));
    }
    if (problem) {
        g_propagate_error(error, problem);
        return NULL;
    }
    g_ptr_array_add(strings, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&strings), FALSE);
}

static GVariant *octets_to_byte_strings(const void *data, gsize len, GError **error)
{
    struct afork_strings list = {data, len};
    g_auto(GVariantBuilder) builder = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE_BYTESTRING_ARRAY);
    GError *problem = NULL;
    gconstpointer string;
    gsize string_len;

    while (next_string(&list, &string, &string_len, &problem))
        g_variant_builder_add_value(
            &builder, g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, string, string_len, 1));
    if (problem) {
        g_propagate_error(error, problem);
        return NULL;
    }
    return g_variant_ref_sink(g_variant_builder_end(&builder));
}

static gboolean is_list(GVariant *values, GError **error)
{
    if ((g_variant_is_of_type(values, G_VARIANT_TYPE_TUPLE) ||
         g_variant_is_of_type(values, G_VARIANT_TYPE_ARRAY)) &&
        !g_variant_is_of_type(values, G_VARIANT_TYPE_DICTIONARY))
        return TRUE;
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                "a variant of type %s is no list of values", g_variant_get_type_string(values));
    return FALSE;
}

/* Points into the variant that `value`, taken, is part of. */
static gboolean variant_to_string(GVariant *value, struct iovec *ret, GError **error)
{
    while (g_variant_is_of_type(value, G_VARIANT_TYPE_VARIANT)) {
        GVariant *inner = g_variant_get_variant(value);
        g_variant_unref(value);
        value = inner;
    }
    g_autoptr(GVariant) taken = value;
    if (g_variant_is_of_type(taken, G_VARIANT_TYPE_BYTESTRING)) {
        ret->iov_base = (gpointer)g_variant_get_fixed_array(taken, &ret->iov_len, 1);
        return TRUE;
    }
    if (g_variant_is_of_type(taken, G_VARIANT_TYPE_STRING)) {
        ret->iov_base = (gpointer)g_variant_get_string(taken, &ret->iov_len);
        return TRUE;
    }
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                "a variant of type %s is no string, which the octet serialiser is for",
                g_variant_get_type_string(taken));
    return FALSE;
}

struct iovec *gafork__variant_to_iovec(GVariant *values, gsize *ret_n, GError **error)
{
    if (!is_list(values, error))
        return NULL;
    g_variant_get_data(values); /* from now on all parts are in one place */
    gsize n = g_variant_n_children(values);
    g_autofree struct iovec *list = g_new(struct iovec, n + 1);
    for (gsize i = 0; i < n; i++)
        if (!variant_to_string(g_variant_get_child_value(values, i), &list[i], error))
            return NULL;
    *ret_n = n;
    return g_steal_pointer(&list);
}

/* --- JSON --- */

/* JSON has no words for infinity and what is not a number. */
static gboolean is_finite(GVariant *value)
{
    if (g_variant_is_of_type(value, G_VARIANT_TYPE_DOUBLE))
        return isfinite(g_variant_get_double(value));
    if (!g_variant_is_container(value))
        return TRUE;
    const char *type = g_variant_get_type_string(value);
    if (!strpbrk(type, "dv"))
        return TRUE;
    for (gsize i = 0, n = g_variant_n_children(value); i < n; i++) {
        g_autoptr(GVariant) child = g_variant_get_child_value(value, i);
        if (!is_finite(child))
            return FALSE;
    }
    return TRUE;
}

char *gafork__variant_to_json(GVariant *values, gsize *ret_len, GError **error)
{
    if (!is_list(values, error))
        return NULL;
    if (!is_finite(values)) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                            "JSON has no numbers that are not finite");
        return NULL;
    }
    g_autoptr(JsonNode) node = json_gvariant_serialize(values);
    g_autoptr(JsonGenerator) generator = json_generator_new();
    json_generator_set_root(generator, node);
    return json_generator_to_data(generator, ret_len);
}

/* Behind the escape at `pos`; NULL if the string would hold what no string of GLib can: a NUL, or
 * half a character. */
static const char *skip_escape(const char *pos, const char *end)
{
    gunichar code = 0;

    if (end - pos < 6 || pos[1] != 'u')
        return pos + 2;
    for (int i = 2; i < 6; i++)
        code = code * 16 + (g_ascii_isxdigit(pos[i]) ? (gunichar)g_ascii_xdigit_value(pos[i]) : 0);
    if (!code || (code >= 0xdc00 && code < 0xe000))
        return NULL;
    if (code < 0xd800 || code >= 0xdc00)
        return pos + 6;
    /* The first half of a character; the other has to follow. */
    if (end - pos < 12 || pos[6] != '\\' || pos[7] != 'u' || g_ascii_tolower(pos[8]) != 'd' ||
        !strchr("cdef", g_ascii_tolower(pos[9])))
        return NULL;
    return pos + 12;
}

/* Whether the parser may be given this. */
static gboolean is_harmless(const char *json, gsize len, GError **error)
{
    const char *end = json + len;
    unsigned depth = 0;
    gboolean in_string = FALSE;

    for (const char *pos = json; pos < end;) {
        if (*pos == '\\') {
            pos = skip_escape(pos, end);
            if (!pos) {
                set_invalid(error, "a string in the JSON has a NUL or half a character");
                return FALSE;
            }
            continue;
        }
        if (*pos == '"')
            in_string = !in_string;
        else if (!in_string && (*pos == '[' || *pos == '{'))
            depth++;
        else if (!in_string && (*pos == ']' || *pos == '}') && depth)
            depth--;
        if (depth > DEPTH_MAX) {
            set_invalid(error, "the JSON is too deep");
            return FALSE;
        }
        pos++;
    }
    return TRUE;
}

static GVariant *json_to_variant(const char *json, gsize len, const GVariantType *type,
                                 GError **error)
{
    g_autofree char *signature = type ? g_variant_type_dup_string(type) : NULL;
    g_autoptr(JsonParser) parser = json_parser_new_immutable();
    g_autoptr(GError) problem = NULL;

    if (!g_utf8_validate_len(json, len, NULL)) {
        set_invalid(error, "the JSON is not UTF-8");
        return NULL;
    }
    if (!is_harmless(json, len, error))
        return NULL;
    if (!len || !json_parser_load_from_data(parser, json, (gssize)len, &problem) ||
        !json_parser_get_root(parser)) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "this is no JSON: %s",
                    problem ? problem->message : "it is empty");
        return NULL;
    }
    GVariant *value = json_gvariant_deserialize(json_parser_get_root(parser), signature, &problem);
    if (!value) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "the JSON is no %s: %s",
                    signature ? signature : "variant", problem ? problem->message : "unknown type");
        return NULL;
    }
    return g_variant_take_ref(value);
}

/* --- Both --- */

GVariant *gafork__octets_to_variant(const void *data, gsize len, GAforkSerialiser serialiser,
                                    const GVariantType *type, GError **error)
{
    if (serialiser == GAFORK_SERIALISER_JSON)
        return json_to_variant(data, len, type, error);
    if (type && g_variant_type_equal(type, G_VARIANT_TYPE_STRING_ARRAY)) {
        g_auto(GStrv) strings = gafork__octets_to_strv(data, len, error);
        return strings ? g_variant_ref_sink(g_variant_new_strv((const char *const *)strings, -1))
                       : NULL;
    }
    if (type && !g_variant_type_equal(type, G_VARIANT_TYPE_BYTESTRING_ARRAY)) {
        set_invalid(error, "a list of octet strings becomes aay or as");
        return NULL;
    }
    return octets_to_byte_strings(data, len, error);
}

/**
 * gafork_strv_to_bytes:
 * @strings: (array zero-terminated=1): strings
 * @error: return location for an error
 *
 * Packs strings as %GAFORK_SERIALISER_OCTETS has them, for [method@Afork.Callable.call_bytes_async]
 * and the like. Perl gets their octets: non-ASCII text is UTF-8 that was not decoded.
 *
 * Returns: (transfer full): the octets, or %NULL with @error set: %G_IO_ERROR_MESSAGE_TOO_LARGE if
 *   they are 4 GiB or more
 *
 * Since: 0.1
 */
GBytes *gafork_strv_to_bytes(const char *const *strings, GError **error)
{
    gsize n, len;
    void *packed;

    g_return_val_if_fail(strings != NULL, NULL);
    g_autofree struct iovec *list = gafork__strv_to_iovec(strings, &n);
    if (!gafork__check(afork_strings_pack(list, n, &packed, &len), error))
        return NULL;
    return g_bytes_new_with_free_func(packed, len, free, packed);
}

/**
 * gafork_bytes_to_strv:
 * @bytes: what a worker with %GAFORK_SERIALISER_OCTETS has sent
 * @error: return location for an error
 *
 * Unpacks strings.
 *
 * Returns: (transfer full) (array zero-terminated=1): the strings, or %NULL with @error set:
 *   %G_IO_ERROR_INVALID_DATA if one is not UTF-8 or has a NUL, %GAFORK_ERROR_PROTOCOL for what is
 *   no such list
 *
 * Since: 0.1
 */
char **gafork_bytes_to_strv(GBytes *bytes, GError **error)
{
    gsize len;

    g_return_val_if_fail(bytes != NULL, NULL);
    gconstpointer data = g_bytes_get_data(bytes, &len);
    return gafork__octets_to_strv(data, len, error);
}

static gboolean is_known(GAforkSerialiser serialiser, GError **error)
{
    if (serialiser == GAFORK_SERIALISER_OCTETS || serialiser == GAFORK_SERIALISER_JSON)
        return TRUE;
    g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                        "the serialiser is not known on this side");
    return FALSE;
}

/**
 * gafork_variant_to_bytes:
 * @values: a tuple or an array; a floating one is consumed
 * @serialiser: %GAFORK_SERIALISER_OCTETS or %GAFORK_SERIALISER_JSON
 * @error: return location for an error
 *
 * Packs values. With %GAFORK_SERIALISER_OCTETS each is a string, or octets (`ay`), all of which
 * Perl gets; with %GAFORK_SERIALISER_JSON anything that JSON can say.
 *
 * Returns: (transfer full): the octets, or %NULL with @error set
 *
 * Since: 0.1
 */
GBytes *gafork_variant_to_bytes(GVariant *values, GAforkSerialiser serialiser, GError **error)
{
    gsize n, len;
    void *packed;

    g_return_val_if_fail(values != NULL, NULL);
    g_autoptr(GVariant) held = g_variant_ref_sink(values);
    if (!is_known(serialiser, error))
        return NULL;
    if (serialiser == GAFORK_SERIALISER_JSON) {
        char *json = gafork__variant_to_json(held, &len, error);
        return json ? g_bytes_new_take(json, len) : NULL;
    }
    g_autofree struct iovec *list = gafork__variant_to_iovec(held, &n, error);
    if (!list || !gafork__check(afork_strings_pack(list, n, &packed, &len), error))
        return NULL;
    return g_bytes_new_with_free_func(packed, len, free, packed);
}

/**
 * gafork_bytes_to_variant:
 * @bytes: what a worker has sent
 * @serialiser: %GAFORK_SERIALISER_OCTETS or %GAFORK_SERIALISER_JSON
 * @type: (nullable): what is expected, or %NULL for whatever it is
 * @error: return location for an error
 *
 * Unpacks values. Those of %GAFORK_SERIALISER_OCTETS become `aay`, or `as` if that is @type; those
 * of %GAFORK_SERIALISER_JSON @type or, without one, `av` with `x`, `d`, `b`, `s`, `av`, `a{sv}` and
 * `mv` inside.
 *
 * Returns: (transfer full): the values, or %NULL with @error set
 *
 * Since: 0.1
 */
GVariant *gafork_bytes_to_variant(GBytes *bytes, GAforkSerialiser serialiser,
                                  const GVariantType *type, GError **error)
{
    gsize len;

    g_return_val_if_fail(bytes != NULL, NULL);
    if (!is_known(serialiser, error))
        return NULL;
    gconstpointer data = g_bytes_get_data(bytes, &len);
    return gafork__octets_to_variant(data, len, serialiser, type, error);
}
