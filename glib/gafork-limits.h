/* SPDX-License-Identifier: MIT
 *
 * What a process may use and do, as a GObject. Documented in gafork-limits.c.
 */
#ifndef GAFORK_LIMITS_H
#define GAFORK_LIMITS_H

#if !defined(AFORK_GLIB_H_INSIDE) && !defined(AFORK_GLIB_COMPILATION)
#error "include <afork/afork-glib.h> instead of this header"
#endif

#include "gafork-process.h"
#include "gafork-types.h"

AFORK_BEGIN_DECLS

#define GAFORK_TYPE_LIMITS (gafork_limits_get_type())

AFORK_EXPORT G_DECLARE_FINAL_TYPE(GAforkLimits, gafork_limits, GAFORK, LIMITS, GObject)

AFORK_EXPORT GAforkLimits *gafork_limits_new(void);

AFORK_EXPORT gboolean gafork_process_set_limits(GAforkProcess *self, GAforkLimits *limits,
                                                GError **error);

AFORK_END_DECLS

#endif
