/* SPDX-License-Identifier: MIT
 *
 * What a GAforkProcess can be told as a server: the conversion of arguments, nothing else.
 */
#define AFORK_GLIB_COMPILATION

#include <string.h>

#include "gafork-private.h"

/**
 * gafork_process_eval:
 * @self: a process that was not told to run
 * @code: Perl code
 * @arguments: (nullable) (array zero-terminated=1): strings for `@_`
 * @error: return location for an error
 *
 * Evaluates @code in package `main`, with the pending arguments in `@arg`. If it dies, so does the
 * process, with %GAFORK_CAUSE_EVAL. Perl gets the octets of the strings: non-ASCII text is UTF-8
 * that was not decoded.
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 0.1
 */
gboolean gafork_process_eval(GAforkProcess *self, const char *code, const char *const *arguments,
                             GError **error)
{
    gsize n = arguments ? g_strv_length((GStrv)arguments) : 0;

    g_return_val_if_fail(GAFORK_IS_PROCESS(self), FALSE);
    g_return_val_if_fail(code != NULL, FALSE);
    g_autofree struct iovec *strings = g_new(struct iovec, n + 1);
    strings[0] = (struct iovec){.iov_base = (char *)code, .iov_len = strlen(code)};
    for (gsize i = 0; i < n; i++)
        strings[i + 1] = (struct iovec){.iov_base = (char *)arguments[i],
                                        .iov_len = strlen(arguments[i])};
    return gafork__process_check(
        self, afork_process_eval_iov(gafork__process_get_core(self), strings, n + 1), error);
}

static struct iovec iovec_of_bytes(GBytes *bytes)
{
    gsize len;
    gconstpointer data = g_bytes_get_data(bytes, &len);

    return (struct iovec){.iov_base = (gpointer)data, .iov_len = len};
}

/**
 * gafork_process_eval_bytes:
 * @self: a process that was not told to run
 * @code: Perl code, for example from a [struct@Gio.Resource]
 * @arguments: (nullable): octets for `@_`, a variant of type `aay`; a floating one is consumed
 * @error: return location for an error
 *
 * The same as [method@Afork.Process.eval] for any octets. Perl gets all octets of each element of
 * @arguments, the NUL included that [ctor@GLib.Variant.new_bytestring_array] and
 * [ctor@GLib.Variant.new_bytestring] append; to be rid of it, make the elements of the octets
 * alone, by [ctor@GLib.Variant.new_from_bytes] for example.
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 0.1
 */
gboolean gafork_process_eval_bytes(GAforkProcess *self, GBytes *code, GVariant *arguments,
                                   GError **error)
{
    g_autoptr(GVariant) list = arguments ? g_variant_ref_sink(arguments) : NULL;

    g_return_val_if_fail(GAFORK_IS_PROCESS(self), FALSE);
    g_return_val_if_fail(code != NULL, FALSE);
    g_return_val_if_fail(!list || g_variant_is_of_type(list, G_VARIANT_TYPE_BYTESTRING_ARRAY),
                         FALSE);
    gsize n = list ? g_variant_n_children(list) : 0;
    g_autofree struct iovec *strings = g_new(struct iovec, n + 1);
    g_autoptr(GPtrArray) children = g_ptr_array_new_with_free_func((GDestroyNotify)g_variant_unref);
    strings[0] = iovec_of_bytes(code);
    for (gsize i = 0; i < n; i++) {
        GVariant *child = g_variant_get_child_value(list, i);
        gsize len;
        gconstpointer data = g_variant_get_fixed_array(child, &len, 1);
        strings[i + 1] = (struct iovec){.iov_base = (gpointer)data, .iov_len = len};
        g_ptr_array_add(children, child);
    }
    return gafork__process_check(
        self, afork_process_eval_iov(gafork__process_get_core(self), strings, n + 1), error);
}

/**
 * gafork_process_require:
 * @self: a process that was not told to run
 * @modules: (array zero-terminated=1): names of the form `Some::Module`
 * @error: return location for an error
 *
 * Loads modules. If one cannot be loaded, the process dies, with %GAFORK_CAUSE_REQUIRE.
 *
 * Returns: %TRUE, or %FALSE with @error set; %G_IO_ERROR_INVALID_ARGUMENT for what is no name
 *
 * Since: 0.1
 */
gboolean gafork_process_require(GAforkProcess *self, const char *const *modules, GError **error)
{
    g_return_val_if_fail(GAFORK_IS_PROCESS(self), FALSE);
    g_return_val_if_fail(modules != NULL, FALSE);
    return gafork__process_check(
        self, afork_process_require_list(gafork__process_get_core(self), modules), error);
}

/**
 * gafork_process_send_arg:
 * @self: a process that was not told to run
 * @argument: a string
 * @error: return location for an error
 *
 * Appends a string to the arguments of the function.
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 0.1
 */
gboolean gafork_process_send_arg(GAforkProcess *self, const char *argument, GError **error)
{
    g_return_val_if_fail(GAFORK_IS_PROCESS(self), FALSE);
    g_return_val_if_fail(argument != NULL, FALSE);
    return gafork__process_check(
        self, afork_process_send_arg(gafork__process_get_core(self), argument, strlen(argument)),
        error);
}

/**
 * gafork_process_send_bytes:
 * @self: a process that was not told to run
 * @argument: any octets
 * @error: return location for an error
 *
 * The same as [method@Afork.Process.send_arg] for any octets.
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 0.1
 */
gboolean gafork_process_send_bytes(GAforkProcess *self, GBytes *argument, GError **error)
{
    g_return_val_if_fail(GAFORK_IS_PROCESS(self), FALSE);
    g_return_val_if_fail(argument != NULL, FALSE);
    struct iovec octets = iovec_of_bytes(argument);
    return gafork__process_check(
        self,
        afork_process_send_arg(gafork__process_get_core(self), octets.iov_base, octets.iov_len),
        error);
}

/**
 * gafork_process_send_fd:
 * @self: a process that was not told to run
 * @fd: a descriptor; it is duplicated, the caller may close it at once
 * @error: return location for an error
 *
 * Appends a descriptor to the arguments of the function, where it is a Perl file handle.
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 0.1
 */
gboolean gafork_process_send_fd(GAforkProcess *self, int fd, GError **error)
{
    g_return_val_if_fail(GAFORK_IS_PROCESS(self), FALSE);
    return gafork__process_check(self, afork_process_send_fd(gafork__process_get_core(self), fd),
                                 error);
}
