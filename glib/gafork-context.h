/* SPDX-License-Identifier: MIT
 *
 * The context as a GObject. Documented in gafork-context.c.
 */
#ifndef GAFORK_CONTEXT_H
#define GAFORK_CONTEXT_H

#if !defined(AFORK_GLIB_H_INSIDE) && !defined(AFORK_GLIB_COMPILATION)
#error "include <afork/afork-glib.h> instead of this header"
#endif

#include "gafork-types.h"

AFORK_BEGIN_DECLS

#define GAFORK_TYPE_CONTEXT (gafork_context_get_type())

AFORK_EXPORT G_DECLARE_FINAL_TYPE(GAforkContext, gafork_context, GAFORK, CONTEXT, GObject)

AFORK_EXPORT GAforkContext *gafork_context_new(void);
AFORK_EXPORT GAforkContext *gafork_context_get_default(void);

AFORK_EXPORT const char *gafork_context_get_perl(GAforkContext *self);
AFORK_EXPORT gboolean gafork_context_set_perl(GAforkContext *self, const char *perl,
                                              GAforkPeer peer, const char *serve_module,
                                              GError **error);
AFORK_EXPORT GMainContext *gafork_context_get_main_context(GAforkContext *self);
AFORK_EXPORT int gafork_context_get_priority(GAforkContext *self);
AFORK_EXPORT char *gafork_context_dump(GAforkContext *self, GError **error);
AFORK_EXPORT void gafork_context_close(GAforkContext *self);

AFORK_END_DECLS

#endif
