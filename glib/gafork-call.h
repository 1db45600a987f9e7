/* SPDX-License-Identifier: MIT
 *
 * Calls of Perl functions: the interface of what can be called, and how a call is made. Documented
 * in gafork-call.c, gafork-call-options.c and gafork-values.c.
 */
#ifndef GAFORK_CALL_H
#define GAFORK_CALL_H

#if !defined(AFORK_GLIB_H_INSIDE) && !defined(AFORK_GLIB_COMPILATION)
#error "include <afork/afork-glib.h> instead of this header"
#endif

#include <gio/gunixfdlist.h>

#include "gafork-exit.h"
#include "gafork-types.h"

AFORK_BEGIN_DECLS

#define GAFORK_TYPE_CALL_OPTIONS (gafork_call_options_get_type())

AFORK_EXPORT G_DECLARE_FINAL_TYPE(GAforkCallOptions, gafork_call_options, GAFORK, CALL_OPTIONS,
                                  GObject)

AFORK_EXPORT GAforkCallOptions *gafork_call_options_new(void);

#define GAFORK_TYPE_CALLABLE (gafork_callable_get_type())

AFORK_EXPORT G_DECLARE_INTERFACE(GAforkCallable, gafork_callable, GAFORK, CALLABLE, GObject)

AFORK_EXPORT void gafork_callable_call_bytes_async(GAforkCallable *self, GBytes *arguments,
                                                   GAforkCallOptions *options,
                                                   GCancellable *cancellable,
                                                   GAsyncReadyCallback callback,
                                                   gpointer user_data);
AFORK_EXPORT GBytes *gafork_callable_call_bytes_finish(GAforkCallable *self, GAsyncResult *result,
                                                       GError **error);

AFORK_EXPORT void gafork_callable_call_fds_async(GAforkCallable *self, GBytes *arguments,
                                                 GAforkCallOptions *options,
                                                 GCancellable *cancellable,
                                                 GAsyncReadyCallback callback, gpointer user_data);
AFORK_EXPORT GBytes *gafork_callable_call_fds_finish(GAforkCallable *self, GAsyncResult *result,
                                                     GUnixFDList **fd_list, GError **error);

AFORK_EXPORT void gafork_callable_call_strv_async(GAforkCallable *self,
                                                  const char *const *arguments,
                                                  GAforkCallOptions *options,
                                                  GCancellable *cancellable,
                                                  GAsyncReadyCallback callback, gpointer user_data);
AFORK_EXPORT char **gafork_callable_call_strv_finish(GAforkCallable *self, GAsyncResult *result,
                                                     GError **error);

AFORK_EXPORT void gafork_callable_call_variant_async(GAforkCallable *self, GVariant *arguments,
                                                     GAforkCallOptions *options,
                                                     GCancellable *cancellable,
                                                     GAsyncReadyCallback callback,
                                                     gpointer user_data);
AFORK_EXPORT GVariant *gafork_callable_call_variant_finish(GAforkCallable *self,
                                                           GAsyncResult *result, GError **error);

AFORK_EXPORT guint gafork_callable_get_pending(GAforkCallable *self);
AFORK_EXPORT void gafork_callable_finish(GAforkCallable *self);
AFORK_EXPORT void gafork_callable_close(GAforkCallable *self);

AFORK_EXPORT GBytes *gafork_call_get_exception(GAsyncResult *result);
AFORK_EXPORT GAforkExit *gafork_call_get_exit(GAsyncResult *result);

AFORK_EXPORT GBytes *gafork_strv_to_bytes(const char *const *strings, GError **error);
AFORK_EXPORT char **gafork_bytes_to_strv(GBytes *bytes, GError **error);
AFORK_EXPORT GBytes *gafork_variant_to_bytes(GVariant *values, GAforkSerialiser serialiser,
                                             GError **error);
AFORK_EXPORT GVariant *gafork_bytes_to_variant(GBytes *bytes, GAforkSerialiser serialiser,
                                               const GVariantType *type, GError **error);

AFORK_END_DECLS

#endif
