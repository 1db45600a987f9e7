/* SPDX-License-Identifier: MIT
 *
 * How a process ended, as a boxed value.
 */
#ifndef GAFORK_EXIT_H
#define GAFORK_EXIT_H

#if !defined(AFORK_GLIB_H_INSIDE) && !defined(AFORK_GLIB_COMPILATION)
#error "include <afork/afork-glib.h> instead of this header"
#endif

#include "gafork-types.h"

AFORK_BEGIN_DECLS

#define GAFORK_TYPE_EXIT (gafork_exit_get_type())

typedef struct _GAforkExit GAforkExit;

AFORK_EXPORT GType gafork_exit_get_type(void);

AFORK_EXPORT GAforkExit *gafork_exit_ref(GAforkExit *self);
AFORK_EXPORT void gafork_exit_unref(GAforkExit *self);

AFORK_EXPORT GAforkCause gafork_exit_get_cause(GAforkExit *self);
AFORK_EXPORT const char *gafork_exit_get_message(GAforkExit *self);
AFORK_EXPORT const char *gafork_exit_get_stderr_tail(GAforkExit *self);
AFORK_EXPORT int gafork_exit_get_status(GAforkExit *self);
AFORK_EXPORT int gafork_exit_get_wait_status(GAforkExit *self);
AFORK_EXPORT gint64 gafork_exit_get_user_time(GAforkExit *self);
AFORK_EXPORT gint64 gafork_exit_get_system_time(GAforkExit *self);
AFORK_EXPORT gint64 gafork_exit_get_max_rss(GAforkExit *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(GAforkExit, gafork_exit_unref)

AFORK_END_DECLS

#endif
