/* SPDX-License-Identifier: MIT
 *
 * Perls behind any command. Documented in gafork-remote.c.
 */
#ifndef GAFORK_REMOTE_H
#define GAFORK_REMOTE_H

#if !defined(AFORK_GLIB_H_INSIDE) && !defined(AFORK_GLIB_COMPILATION)
#error "include <afork/afork-glib.h> instead of this header"
#endif

#include "gafork-context.h"
#include "gafork-process.h"

AFORK_BEGIN_DECLS

typedef GSocket *(*GAforkConnectFunc)(gpointer user_data);

#define GAFORK_TYPE_REMOTE_OPTIONS (gafork_remote_options_get_type())

AFORK_EXPORT G_DECLARE_FINAL_TYPE(GAforkRemoteOptions, gafork_remote_options, GAFORK,
                                  REMOTE_OPTIONS, GObject)

AFORK_EXPORT GAforkRemoteOptions *gafork_remote_options_new(void);

AFORK_EXPORT GAforkProcess *gafork_process_new_remote(GAforkContext *context,
                                                      const char *const *argv,
                                                      GAforkRemoteOptions *options, GError **error);
AFORK_EXPORT GAforkProcess *
gafork_process_new_connected(GAforkContext *context, GAforkConnectFunc func, gpointer user_data,
                             GDestroyNotify destroy, GAforkRemoteOptions *options, GError **error);

AFORK_END_DECLS

#endif
