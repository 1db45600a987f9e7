/* SPDX-License-Identifier: MIT
 *
 * Tests of what can be called: processes of afork-perl that know functions, and calls whose results
 * are noted.
 */
#ifndef GAFORK_CALLS_H
#define GAFORK_CALLS_H

#include "gafork-lib.h"

/* Adds a case for afork-perl; skipped where that was not built. */
void gafork_calls_add(const char *path, gafork_func *func);

/* A process that knows these functions:
 *   echo       returns what it is given
 *   sum        returns the sum
 *   bad        dies of its argument
 *   object     dies of an object
 *   leave      exits with its argument, after it has said so on standard error
 *   nap        returns after so many milliseconds, which it sends as an event before
 *   tell       sends its arguments as an event, returns their number
 *   slurp      returns what can be read from the handle behind its arguments
 *   open_file  returns a handle of a new file that holds its arguments
 *   pid        returns the pid */
GAforkProcess *gafork_calls_process(struct gafork_test *f);

GAforkRpc *gafork_calls_rpc(struct gafork_test *f, const char *function, GAforkRpcOptions *options);
GAforkPool *gafork_calls_pool(struct gafork_test *f, const char *function,
                              GAforkPoolOptions *options);

/* What a call returned; cleared by gafork_call_clear(). */
struct gafork_call {
    unsigned calls;
    GBytes *bytes;
    GUnixFDList *fd_list;
    GStrv strv;
    GVariant *variant;
    GBytes *exception;
    GError *error;
    void (*action)(struct gafork_call *call); /* run in the callback */
    gpointer data;
};

void gafork_on_bytes(GObject *object, GAsyncResult *result, gpointer call);
void gafork_on_fds(GObject *object, GAsyncResult *result, gpointer call);
void gafork_on_strv(GObject *object, GAsyncResult *result, gpointer call);
void gafork_on_variant(GObject *object, GAsyncResult *result, gpointer call);
void gafork_call_clear(struct gafork_call *call);
#define gafork_call_auto __attribute__((cleanup(gafork_call_clear))) struct gafork_call

/* Starts a call with a string, of any object that can be called. */
void gafork_call_start(gpointer object, const char *argument, GAforkCallOptions *options,
                       GCancellable *cancellable, struct gafork_call *call);

/* Makes one and waits; the only string that it returned. The caller frees it. */
char *gafork_call_one(struct gafork_test *f, gpointer object, const char *argument);

/* Makes one that must fail; the caller frees the error. */
GError *gafork_call_error(struct gafork_test *f, gpointer object, const char *argument);

/* Another context like the one of the case, which was closed. */
void gafork_calls_renew_context(struct gafork_test *f);

/* Something that is done to an object that is called, once, wherever that is first possible. */
struct gafork_drop {
    struct gafork_test *f;
    gpointer object; /* a reference, which the deed may release */
    void (*deed)(struct gafork_drop *drop);
    GAforkCallOptions *options; /* of the calls; may be NULL */
    bool closed, context_closed;
    unsigned times, late;
};

typedef void gafork_deed(struct gafork_drop *drop);

/* Those for any object: release it, close it, close its context, dispose of it. NULL at the end. */
extern gafork_deed *const gafork_deeds[];

/* Does it; for g_signal_connect_swapped(), too. */
void gafork_drop(struct gafork_drop *drop);

enum gafork_place {
    GAFORK_DROP_IN_SIGNAL,     /* that the caller has connected, and that comes with the calls */
    GAFORK_DROP_IN_END_SIGNAL, /* the same, after gafork_callable_finish() */
    GAFORK_DROP_IN_CALL,       /* in the callback of the first */
    GAFORK_DROP_AT_ONCE,
};

/* Makes three calls, and waits until it was done and each has returned, which is once. */
void gafork_drop_run(struct gafork_drop *drop, enum gafork_place place);

/* Releases a reference in another thread, as garbage collectors do. `*gone_in` becomes the thread
 * in which the object is disposed of, be it later. */
void gafork_unref_elsewhere(gpointer object, GThread **gone_in);

#endif
