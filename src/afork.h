/* SPDX-License-Identifier: MIT
 *
 * afork: Perl worker processes for programs built around an event loop.
 *
 * This is the only header of the core to include; it brings in the others.
 */
#ifndef AFORK_H
#define AFORK_H

#define AFORK_H_INSIDE

#include "afork-types.h"
#include "afork-version.h"

#include "afork-loop.h"
#include "afork-poll.h"

#include "afork-call.h"
#include "afork-context.h"
#include "afork-launch.h"
#include "afork-log.h"
#include "afork-pool.h"
#include "afork-process.h"
#include "afork-remote.h"
#include "afork-rpc.h"

#undef AFORK_H_INSIDE

#endif
