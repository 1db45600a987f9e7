/* SPDX-License-Identifier: MIT
 *
 * Tests of the GObject layer: a case with a main context of its own, thread-default while it runs,
 * and ways to wait for what asynchronous calls and signals tell.
 */
#ifndef GAFORK_LIB_H
#define GAFORK_LIB_H

#include <afork/afork-glib.h>

#include "test-lib.h"

struct gafork_test;
typedef void gafork_func(struct gafork_test *f);

struct gafork_test {
    struct test *t;
    gafork_func *func; /* what the case is about */
    GMainContext *main_context;
    GAforkContext *context; /* of the fake server; made by gafork_context() */
};

/* Instead of g_test_init(): also makes what GLib keeps for the life of the program. */
void gafork_test_init(int *argc, char ***argv);

/* Adds a case. Afterwards, the context must be gone with the last reference, which is the
 * case's. */
void gafork_add(const char *path, gafork_func *func);

/* The same; `run` prepares, and calls `f->func`, which is `func`. */
void gafork_add_with(const char *path, gafork_func *run, gafork_func *func);

/* The context of the case, borrowed. */
GAforkContext *gafork_context(struct gafork_test *f);

/* A process on it, and one forked from another; the caller releases them. */
GAforkProcess *gafork_new(struct gafork_test *f);
GAforkProcess *gafork_fork(GAforkProcess *process);

/* Turns `main_context` until `condition` holds. */
#define gafork_wait(main_context, condition)                                                       \
    do {                                                                                           \
        gint64 gafork_deadline = test_deadline_new();                                              \
        while (!(condition))                                                                       \
            gafork_turn((main_context), gafork_deadline, G_STRLOC ": " #condition);                \
    } while (0)

void gafork_turn(GMainContext *main_context, gint64 deadline, const char *what);

/* Turns until nothing is ready. */
void gafork_settle(struct gafork_test *f);

/* What an asynchronous call returned; cleared by gafork_result_clear(). */
struct gafork_result {
    unsigned calls;
    GSocketConnection *connection; /* of a run */
    GAforkExit *exit;              /* of a wait */
    GError *error;
    GThread *thread;
    void (*action)(struct gafork_result *result); /* run in the callback */
    gpointer data;
};

void gafork_on_run(GObject *process, GAsyncResult *result, gpointer data);
void gafork_on_wait(GObject *process, GAsyncResult *result, gpointer data);
void gafork_result_clear(struct gafork_result *result);

/* An action: lets go of the connection. A worker that holds on to it, "hold", lives until then, so
 * that its pid can be seen; the pid of one that ends at once may never be. */
void gafork_let_go(struct gafork_result *result);

/* Runs `function` and returns the connection; fails the test if it cannot be. */
GSocketConnection *gafork_run(struct gafork_test *f, GAforkProcess *process, const char *function);

/* The error of running `function`, which must fail. */
GError *gafork_run_error(struct gafork_test *f, GAforkProcess *process, const char *function);

/* Runs `function` and returns all that it wrote. */
char *gafork_output(struct gafork_test *f, GAforkProcess *process, const char *function);

/* All that comes from `connection`. */
char *gafork_slurp(struct gafork_test *f, GSocketConnection *connection);

/* Waits for the end of `process`; borrowed from it. */
GAforkExit *gafork_wait_exit(struct gafork_test *f, GAforkProcess *process);

#endif
