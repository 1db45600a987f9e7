/* SPDX-License-Identifier: MIT
 *
 * afork for programs built on GLib: include this one header. It brings in the core's, the plain
 * loop for the core's calls in C, and the GObject layer, whose names start with GAfork and gafork_.
 */
#ifndef AFORK_GLIB_H
#define AFORK_GLIB_H

#define AFORK_GLIB_H_INSIDE

#include "afork-glib-loop.h"
#include "gafork-call.h"
#include "gafork-context.h"
#include "gafork-enums.h"
#include "gafork-exit.h"
#include "gafork-launch.h"
#include "gafork-limits.h"
#include "gafork-pool.h"
#include "gafork-process.h"
#include "gafork-remote.h"
#include "gafork-rpc.h"
#include "gafork-spares.h"
#include "gafork-types.h"

#undef AFORK_GLIB_H_INSIDE

#endif
