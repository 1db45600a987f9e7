/* SPDX-License-Identifier: MIT
 *
 * Variants as JSON, and back.
 *
 * What is read comes from a worker, which is not trusted: it is JSON to the letter, and numbers,
 * paths and signatures are what the type can hold. json-glib, which writes, would read comments,
 * wrap numbers around, and complain on the program's standard error.
 */
#define AFORK_GLIB_COMPILATION

#include <json-glib/json-glib.h>
#include <math.h>
#include <string.h>

#include "gafork-call-private.h"

/* --- Writing --- */

/* What JSON cannot say of `value`, or json-glib does not; NULL: nothing. */
static const char *find_unsayable(GVariant *value)
{
    if (g_variant_is_of_type(value, G_VARIANT_TYPE_DOUBLE))
        return isfinite(g_variant_get_double(value)) ? NULL
                                                     : "JSON has no numbers that are not finite";
    if (g_variant_is_of_type(value, G_VARIANT_TYPE_UINT64))
        return g_variant_get_uint64(value) <= G_MAXINT64 ? NULL
                                                         : "the JSON would have too large a number";
    if (!g_variant_is_container(value))
        return NULL;
    const char *type = g_variant_get_type_string(value);
    if (g_str_has_prefix(type, "a{d") || g_str_has_prefix(type, "{d"))
        return "keys in JSON are no numbers with a fraction";
    if (!strpbrk(type, "dtv"))
        return NULL;
    const char *problem = NULL;
    for (gsize i = 0, n = g_variant_n_children(value); i < n && !problem; i++) {
        g_autoptr(GVariant) child = g_variant_get_child_value(value, i);
        problem = find_unsayable(child);
    }
    return problem;
}

char *gafork__variant_to_json(GVariant *values, gsize *ret_len, GError **error)
{
    if (!gafork__is_list(values, error))
        return NULL;
    const char *problem = find_unsayable(values);
    if (problem) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, problem);
        return NULL;
    }
    g_autoptr(JsonNode) node = json_gvariant_serialize(values);
    g_autoptr(JsonGenerator) generator = json_generator_new();
    json_generator_set_root(generator, node);
    return json_generator_to_data(generator, ret_len);
}

/* --- Reading --- */

/* How deep containers may stand in each other: GLib's limit, below which it forgets what there is
 * once a variant is serialised. */
enum { DEPTH_MAX = 127 };

struct reader {
    const char *start, *pos, *end; /* UTF-8 without NUL */
    unsigned depth;
    GError **error;
};

static GVariant *read_value(struct reader *r, const GVariantType *type);

/* Returns NULL, for whoever says that. */
static gpointer fail(struct reader *r, const char *what)
{
    g_set_error(r->error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "%s at octet %zu of the JSON", what,
                (size_t)(r->pos - r->start));
    return NULL;
}

static gpointer fail_type(struct reader *r, const GVariantType *type)
{
    g_autofree char *name = g_variant_type_dup_string(type);
    g_autofree char *what = g_strdup_printf("there is no %s", name);

    return fail(r, what);
}

static gboolean enter(struct reader *r)
{
    if (++r->depth > DEPTH_MAX)
        fail(r, "it is too deep");
    return r->depth <= DEPTH_MAX;
}

/* What comes next; NUL at the end. */
static char peek(struct reader *r)
{
    while (r->pos < r->end && strchr(" \t\r\n", *r->pos))
        r->pos++;
    return r->pos < r->end ? *r->pos : '\0';
}

static gboolean skip(struct reader *r, char c)
{
    if (peek(r) != c)
        return FALSE;
    r->pos++;
    return TRUE;
}

static gboolean skip_word(struct reader *r, const char *word)
{
    gsize len = strlen(word);

    peek(r);
    if ((gsize)(r->end - r->pos) < len || memcmp(r->pos, word, len) != 0)
        return FALSE;
    r->pos += len;
    return TRUE;
}

static gboolean skip_one_of(struct reader *r, const char *characters)
{
    if (r->pos == r->end || !strchr(characters, *r->pos))
        return FALSE;
    r->pos++;
    return TRUE;
}

static gboolean read_hex(struct reader *r, gunichar *ret)
{
    *ret = 0;
    if (r->end - r->pos < 4)
        return FALSE;
    for (int i = 0; i < 4; i++, r->pos++) {
        if (!g_ascii_isxdigit(*r->pos))
            return FALSE;
        *ret = *ret * 16 + (gunichar)g_ascii_xdigit_value(*r->pos);
    }
    return TRUE;
}

/* Behind `\u`. No string of GLib can hold a NUL, or half a character. */
static gboolean read_character(struct reader *r, GString *string)
{
    gunichar c, second;

    if (!read_hex(r, &c) || !c || (c >= 0xdc00 && c < 0xe000))
        return FALSE;
    if (c >= 0xd800 && c < 0xdc00) {
        if (!skip_one_of(r, "\\") || !skip_one_of(r, "u") || !read_hex(r, &second) ||
            second < 0xdc00 || second >= 0xe000)
            return FALSE;
        c = 0x10000 + ((c - 0xd800) << 10) + (second - 0xdc00);
    }
    g_string_append_unichar(string, c);
    return TRUE;
}

/* Behind the backslash. */
static gboolean read_escape(struct reader *r, GString *string)
{
    static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    char letter = '\0';

    if (r->pos < r->end)
        letter = *r->pos++;
    if (letter == 'u')
        return read_character(r, string);
    const char *found = letter ? strchr(letters, letter) : NULL;
    if (found)
        g_string_append_c(string, meant[found - letters]);
    return found != NULL;
}

/* The caller frees it. */
static char *read_string(struct reader *r)
{
    g_autoptr(GString) string = g_string_new(NULL);

    if (!skip(r, '"'))
        return fail(r, "a string is missing");
    for (;;) {
        const char *run = r->pos;
        while (r->pos < r->end && (guchar)*r->pos >= ' ' && *r->pos != '"' && *r->pos != '\\')
            r->pos++;
        g_string_append_len(string, run, r->pos - run);
        if (r->pos == r->end || (guchar)*r->pos < ' ')
            return fail(r, "a string does not end");
        if (*r->pos++ == '"')
            return g_string_free(g_steal_pointer(&string), FALSE);
        if (!read_escape(r, string))
            return fail(r, "a string has what no string can hold");
    }
}

static gboolean skip_digits(struct reader *r)
{
    const char *start = r->pos;

    while (r->pos < r->end && g_ascii_isdigit(*r->pos))
        r->pos++;
    return r->pos > start;
}

/* The caller frees it. */
static char *read_number(struct reader *r)
{
    peek(r);
    const char *start = r->pos;
    skip_one_of(r, "-");
    gboolean good = skip_one_of(r, "0") || skip_digits(r);
    if (good && skip_one_of(r, "."))
        good = skip_digits(r);
    if (good && skip_one_of(r, "eE")) {
        skip_one_of(r, "+-");
        good = skip_digits(r);
    }
    return good ? g_strndup(start, (gsize)(r->pos - start)) : fail(r, "a value is missing");
}

static GVariant *signed_of(const char *text, const GVariantType *type)
{
    gint64 n;
    char class = *g_variant_type_peek_string(type);
    gint64 max = class == 'n' ? G_MAXINT16 : class == 'x' ? G_MAXINT64 : G_MAXINT32;

    if (!g_ascii_string_to_signed(text, 10, -max - 1, max, &n, NULL))
        return NULL;
    return class == 'n'   ? g_variant_new_int16((gint16)n)
           : class == 'i' ? g_variant_new_int32((gint32)n)
           : class == 'h' ? g_variant_new_handle((gint32)n)
                          : g_variant_new_int64(n);
}

static GVariant *unsigned_of(const char *text, const GVariantType *type)
{
    guint64 n;
    char class = *g_variant_type_peek_string(type);
    guint64 max = class == 'y'   ? G_MAXUINT8
                  : class == 'q' ? G_MAXUINT16
                  : class == 'u' ? G_MAXUINT32
                                 : G_MAXUINT64;

    if (!g_ascii_string_to_unsigned(text, 10, 0, max, &n, NULL))
        return NULL;
    return class == 'y'   ? g_variant_new_byte((guchar)n)
           : class == 'q' ? g_variant_new_uint16((guint16)n)
           : class == 'u' ? g_variant_new_uint32((guint32)n)
                          : g_variant_new_uint64(n);
}

static GVariant *double_of(const char *text)
{
    char *end;
    double n = g_ascii_strtod(text, &end);

    return *text && !*end && isfinite(n) ? g_variant_new_double(n) : NULL;
}

/* `text` is what a string holds: Perl's numbers often are strings, and keys are nothing else; or a
 * number. NULL if it is no such value. */
static GVariant *text_to_value(const char *text, const GVariantType *type)
{
    switch (*g_variant_type_peek_string(type)) {
    case 's':
        return g_variant_new_string(text);
    case 'o':
        return g_variant_is_object_path(text) ? g_variant_new_object_path(text) : NULL;
    case 'g':
        return g_variant_is_signature(text) ? g_variant_new_signature(text) : NULL;
    case 'b':
        if (!strcmp(text, "true") || !strcmp(text, "false"))
            return g_variant_new_boolean(*text == 't');
        return NULL;
    case 'd':
        return double_of(text);
    case 'y':
    case 'q':
    case 'u':
    case 't':
        return unsigned_of(text, type);
    default:
        return signed_of(text, type);
    }
}

static GVariant *read_key(struct reader *r, const GVariantType *type)
{
    g_autofree char *text = read_string(r);
    GVariant *key = text ? text_to_value(text, type) : NULL;

    return key || !text ? key : fail_type(r, type);
}

static GVariant *read_basic(struct reader *r, const GVariantType *type)
{
    const char *class = g_variant_type_peek_string(type);
    g_autofree char *text = NULL;

    if (skip_word(r, "true") || skip_word(r, "false"))
        return *class == 'b' ? g_variant_new_boolean(r->pos[-2] == 'u') : fail_type(r, type);
    if (peek(r) == '"')
        text = read_string(r);
    else if (strchr("sogb", *class) || !strchr("-0123456789", peek(r)))
        return fail_type(r, type);
    else
        text = read_number(r);
    GVariant *value = text ? text_to_value(text, type) : NULL;
    return value || !text ? value : fail_type(r, type);
}

static GVariant *read_any_number(struct reader *r)
{
    g_autofree char *text = read_number(r);

    if (!text)
        return NULL;
    GVariant *value = strpbrk(text, ".eE") ? double_of(text)
                                           : signed_of(text, G_VARIANT_TYPE_INT64);
    if (!value && !strpbrk(text, ".eE"))
        value = unsigned_of(text, G_VARIANT_TYPE_UINT64);
    return value ? value : fail(r, "a number is too large");
}

/* Whatever it is. */
static GVariant *read_any(struct reader *r)
{
    switch (peek(r)) {
    case '[':
        return read_value(r, G_VARIANT_TYPE("av"));
    case '{':
        return read_value(r, G_VARIANT_TYPE_VARDICT);
    case '"':
        return read_basic(r, G_VARIANT_TYPE_STRING);
    case 't':
    case 'f':
        return read_basic(r, G_VARIANT_TYPE_BOOLEAN);
    default:
        if (skip_word(r, "null"))
            return g_variant_new_maybe(G_VARIANT_TYPE_VARIANT, NULL);
        return read_any_number(r);
    }
}

/* Adds the value that comes to the builder. */
static gboolean add_value(struct reader *r, GVariantBuilder *builder, const GVariantType *type)
{
    GVariant *value = read_value(r, type);

    if (value)
        g_variant_builder_add_value(builder, value);
    return value != NULL;
}

static GVariant *read_array(struct reader *r, const GVariantType *type)
{
    g_auto(GVariantBuilder) builder = G_VARIANT_BUILDER_INIT(type);

    if (!skip(r, '['))
        return fail_type(r, type);
    if (skip(r, ']'))
        return g_variant_builder_end(&builder);
    do {
        if (!add_value(r, &builder, g_variant_type_element(type)))
            return NULL;
    } while (skip(r, ','));
    return skip(r, ']') ? g_variant_builder_end(&builder) : fail(r, "an array does not end");
}

static GVariant *read_tuple(struct reader *r, const GVariantType *type)
{
    g_auto(GVariantBuilder) builder = G_VARIANT_BUILDER_INIT(type);

    if (!skip(r, '['))
        return fail_type(r, type);
    for (const GVariantType *item = g_variant_type_first(type), *next; item; item = next) {
        next = g_variant_type_next(item);
        if (!add_value(r, &builder, item))
            return NULL;
        if (next && !skip(r, ','))
            return fail_type(r, type);
    }
    return skip(r, ']') ? g_variant_builder_end(&builder) : fail_type(r, type);
}

/* A key and its value. */
static GVariant *read_member(struct reader *r, const GVariantType *type)
{
    if (!enter(r))
        return NULL;
    g_autoptr(GVariant) key = read_key(r, g_variant_type_key(type));
    if (!key)
        return NULL;
    g_variant_ref_sink(key);
    if (!skip(r, ':'))
        return fail(r, "a colon is missing");
    GVariant *value = read_value(r, g_variant_type_value(type));
    r->depth--;
    return value ? g_variant_new_dict_entry(key, value) : NULL;
}

static GVariant *read_dictionary(struct reader *r, const GVariantType *type)
{
    g_auto(GVariantBuilder) builder = G_VARIANT_BUILDER_INIT(type);

    if (!skip(r, '{'))
        return fail_type(r, type);
    if (skip(r, '}'))
        return g_variant_builder_end(&builder);
    do {
        GVariant *member = read_member(r, g_variant_type_element(type));
        if (!member)
            return NULL;
        g_variant_builder_add_value(&builder, member);
    } while (skip(r, ','));
    return skip(r, '}') ? g_variant_builder_end(&builder) : fail(r, "an object does not end");
}

/* An object of one member. */
static GVariant *read_entry(struct reader *r, const GVariantType *type)
{
    if (!skip(r, '{'))
        return fail_type(r, type);
    r->depth--; /* which the member enters */
    GVariant *member = read_member(r, type);
    r->depth++;
    if (!member || skip(r, '}'))
        return member;
    g_variant_unref(g_variant_ref_sink(member));
    return fail_type(r, type);
}

static GVariant *read_maybe(struct reader *r, const GVariantType *type)
{
    const GVariantType *element = g_variant_type_element(type);

    if (skip_word(r, "null"))
        return g_variant_new_maybe(element, NULL);
    GVariant *value = read_value(r, element);
    return value ? g_variant_new_maybe(element, value) : NULL;
}

static GVariant *read_variant(struct reader *r)
{
    GVariant *value = read_any(r);

    return value ? g_variant_new_variant(value) : NULL;
}

static GVariant *read_container(struct reader *r, const GVariantType *type)
{
    if (g_variant_type_is_variant(type))
        return read_variant(r);
    if (g_variant_type_is_maybe(type))
        return read_maybe(r, type);
    if (g_variant_type_is_tuple(type))
        return read_tuple(r, type);
    if (g_variant_type_is_dict_entry(type))
        return read_entry(r, type);
    if (g_variant_type_is_dict_entry(g_variant_type_element(type)))
        return read_dictionary(r, type);
    return read_array(r, type);
}

/* Floating, as all of these; NULL with the error set. */
static GVariant *read_value(struct reader *r, const GVariantType *type)
{
    if (g_variant_type_is_basic(type))
        return read_basic(r, type);
    if (!enter(r))
        return NULL;
    GVariant *value = read_container(r, type);
    r->depth--;
    return value;
}

GVariant *gafork__json_to_variant(const char *json, gsize len, const GVariantType *type,
                                  GError **error)
{
    if (!len)
        json = ""; /* what is NULL has no end to compute */
    struct reader r = {json, json, json + len, 0, error};

    if (type && !g_variant_type_is_definite(type)) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                            "the type that is expected is not definite");
        return NULL;
    }
    if (!g_utf8_validate_len(json, len, NULL))
        return fail(&r, "there is what is not UTF-8");
    g_autoptr(GVariant) value = type ? read_value(&r, type) : read_any(&r);
    if (!value)
        return NULL;
    g_variant_ref_sink(value);
    return peek(&r) ? fail(&r, "there is more than a value") : g_steal_pointer(&value);
}
