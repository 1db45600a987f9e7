/* SPDX-License-Identifier: MIT
 *
 * Launchers for the GObject layer; see <afork/afork-launch.h>. For C only: a launcher is a function
 * that is called with descriptors in a struct.
 */
#ifndef GAFORK_LAUNCH_H
#define GAFORK_LAUNCH_H

#if !defined(AFORK_GLIB_H_INSIDE) && !defined(AFORK_GLIB_COMPILATION)
#error "include <afork/afork-glib.h> instead of this header"
#endif

#include <afork/afork.h>

#include "gafork-context.h"
#include "gafork-process.h"

AFORK_BEGIN_DECLS

/* As afork_context_set_launcher(), with afork_perl_early_launch() or afork_perl_self_launch() for
 * example. `data` is borrowed until the launcher is changed or the context closed. */
AFORK_EXPORT gboolean gafork_context_set_launcher(GAforkContext *self, afork_launch_cb *cb,
                                                  gpointer data, GError **error);

/* As afork_process_new_launched(), with afork_perl_template_launch() for example. `context`
 * NULL: the default one. The caller releases what is returned; NULL: `error` is set. */
AFORK_EXPORT GAforkProcess *gafork_process_new_launched(GAforkContext *context, afork_launch_cb *cb,
                                                        gpointer data, GError **error);

AFORK_END_DECLS

#endif
