/* SPDX-License-Identifier: MIT
 *
 * What the GObject headers share: enumerations and the error domain. They are described, as all of
 * this layer is, by the comments in the .c files, which make the introspected documentation.
 *
 * The enumerations have the values of the core's; gafork-types.c sees to that.
 */
#ifndef GAFORK_TYPES_H
#define GAFORK_TYPES_H

#if !defined(AFORK_GLIB_H_INSIDE) && !defined(AFORK_GLIB_COMPILATION)
#error "include <afork/afork-glib.h> instead of this header"
#endif

#include <gio/gio.h>

#include <afork/afork.h>

AFORK_BEGIN_DECLS

typedef enum {
    GAFORK_PEER_OWN,
    GAFORK_PEER_ORIGINAL,
} GAforkPeer;

typedef enum {
    GAFORK_STDIO_DEFAULT,
    GAFORK_STDIO_INHERIT,
    GAFORK_STDIO_NULL,
    GAFORK_STDIO_FD,
    GAFORK_STDIO_TAIL,
} GAforkStdio;

typedef enum {
    GAFORK_THREADS_WARN,
    GAFORK_THREADS_REFUSE,
} GAforkThreads;

typedef enum {
    GAFORK_UNSUPPORTED_ERROR,
    GAFORK_UNSUPPORTED_WARN,
} GAforkUnsupported;

typedef enum {
    GAFORK_CAUSE_UNKNOWN,
    GAFORK_CAUSE_EXITED,
    GAFORK_CAUSE_SIGNALLED,
    GAFORK_CAUSE_START,
    GAFORK_CAUSE_EVAL,
    GAFORK_CAUSE_REQUIRE,
    GAFORK_CAUSE_FUNCTION,
    GAFORK_CAUSE_FORK,
    GAFORK_CAUSE_PROTOCOL,
    GAFORK_CAUSE_LIMITS,
} GAforkCause;

typedef enum {
    GAFORK_EXIT_MODE_PERL,
    GAFORK_EXIT_MODE_QUICK,
} GAforkExitMode;

typedef enum {
    GAFORK_FRAMES_OWN,
    GAFORK_FRAMES_ORIGINAL,
} GAforkFrames;

typedef enum {
    GAFORK_SERIALISER_OCTETS,
    GAFORK_SERIALISER_JSON,
    GAFORK_SERIALISER_STORABLE,
    GAFORK_SERIALISER_NSTORABLE,
    GAFORK_SERIALISER_CUSTOM,
} GAforkSerialiser;

typedef enum {
    GAFORK_CRASH_FAIL,
    GAFORK_CRASH_RETRY_ONCE,
} GAforkCrash;

typedef enum {
    GAFORK_CANCEL_MODE_QUEUED,
    GAFORK_CANCEL_MODE_ABANDON,
    GAFORK_CANCEL_MODE_KILL,
} GAforkCancelMode;

#define GAFORK_ERROR (gafork_error_quark())

typedef enum {
    GAFORK_ERROR_UNKNOWN,
    GAFORK_ERROR_EXITED,
    GAFORK_ERROR_SIGNALLED,
    GAFORK_ERROR_START,
    GAFORK_ERROR_EVAL,
    GAFORK_ERROR_REQUIRE,
    GAFORK_ERROR_FUNCTION,
    GAFORK_ERROR_FORK,
    GAFORK_ERROR_PROTOCOL,
    GAFORK_ERROR_LIMITS,
    GAFORK_ERROR_DIED = 100,
    GAFORK_ERROR_BROKEN,
} GAforkError;

AFORK_EXPORT GQuark gafork_error_quark(void);

AFORK_END_DECLS

#endif
