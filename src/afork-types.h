/* SPDX-License-Identifier: MIT
 *
 * What every public header needs: the export mark, forward types, and the rules all calls share.
 *
 * Results   A function that can fail returns an int: 0 or a positive value on success, a negative
 *           errno on failure. Outputs come last, are called `ret`, and are untouched on failure.
 *           When a call fails, its callback never runs.
 *
 *           Any call may return, besides the errors named at its declaration:
 *             -EINVAL     misuse: a NULL that is not allowed, a call that is not legal any more
 *             -ENOMEM     out of memory; the objects stay usable
 *             -ESHUTDOWN  the object, or its context, was closed
 *             -ESRCH      the process has ended
 *             -ECHILD     the object belongs to the process that this one was forked from
 *
 * Ownership Words used in the comments: *borrowed* (valid for the call), *copied*, *taken* (on
 *           success only, unless said otherwise), *returned* (the caller releases it).
 *           Functions that release something accept NULL.
 *
 * Callbacks Run from the event loop only, never inside a call of this library, and may call
 *           anything, also release the object they were called for. Those of one process do
 *           not nest: a callback that turns the loop gets those of other processes only.
 *
 * Threads   A loop and all that was made with it belong to one thread. Different loops may be used
 *           in different threads at the same time.
 *
 * Octets    Strings handed to Perl are octets; nothing is converted.
 */
#ifndef AFORK_TYPES_H
#define AFORK_TYPES_H

#if !defined(AFORK_H_INSIDE) && !defined(AFORK_COMPILATION)
#error "include <afork/afork.h> instead of this header"
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
#define AFORK_BEGIN_DECLS extern "C" {
#define AFORK_END_DECLS }
#else
#define AFORK_BEGIN_DECLS
#define AFORK_END_DECLS
#endif

#if defined(__GNUC__)
#define AFORK_EXPORT __attribute__((visibility("default")))
#define AFORK_SENTINEL __attribute__((sentinel))
#define AFORK_NODISCARD __attribute__((warn_unused_result))
#else
#define AFORK_EXPORT
#define AFORK_SENTINEL
#define AFORK_NODISCARD
#endif

struct afork_loop;        /* afork-loop.h: what the core asks of an event loop */
struct afork_context;     /* afork-context.h: one per loop; perl, environment, default template */
struct afork_process;     /* afork-process.h: a handle on one Perl process */
struct afork_spare_stats; /* afork-process.h */

#endif
