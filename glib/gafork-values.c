/* SPDX-License-Identifier: MIT
 *
 * Lists of Perl values as octets, and back: those serialisers that both ends know. What a worker
 * sends is not trusted.
 */
#define AFORK_GLIB_COMPILATION

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gafork-call-private.h"

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

gboolean gafork__is_list(GVariant *values, GError **error)
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
    if (!gafork__is_list(values, error))
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

/* --- Both --- */

GVariant *gafork__octets_to_variant(const void *data, gsize len, GAforkSerialiser serialiser,
                                    const GVariantType *type, GError **error)
{
    if (serialiser == GAFORK_SERIALISER_JSON)
        return gafork__json_to_variant(data, len, type, error);
    if (type && g_variant_type_equal(type, G_VARIANT_TYPE_STRING_ARRAY)) {
        g_auto(GStrv) strings = gafork__octets_to_strv(data, len, error);
        return strings ? g_variant_ref_sink(g_variant_new_strv((const char *const *)strings, -1))
                       : NULL;
    }
    if (type && !g_variant_type_equal(type, G_VARIANT_TYPE_BYTESTRING_ARRAY)) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                            "a list of octet strings becomes aay or as");
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
 * Perl gets; with %GAFORK_SERIALISER_JSON anything that JSON can say: no infinity, no keys with a
 * fraction, and integers up to those of `x`.
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
 * of %GAFORK_SERIALISER_JSON @type or, without one, `av` with `x`, `t` where that is too small, `d`,
 * `b`, `s`, `av`, `a{sv}` and `mv` inside. Where @type has a number, a string may hold it.
 *
 * Returns: (transfer full): the values, or %NULL with @error set: %G_IO_ERROR_INVALID_DATA if they
 *   are no such variant or more than 127 deep, %G_IO_ERROR_INVALID_ARGUMENT for a @type that is not
 *   definite
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
