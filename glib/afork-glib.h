/* SPDX-License-Identifier: MIT
 *
 * afork for programs built on GLib: include this one header. It brings in the core's.
 */
#ifndef AFORK_GLIB_H
#define AFORK_GLIB_H

#define AFORK_GLIB_H_INSIDE

#include "afork-glib-loop.h"

#undef AFORK_GLIB_H_INSIDE

#endif
