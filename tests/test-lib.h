/* SPDX-License-Identifier: MIT
 *
 * What all tests share: a fixture that gives a test a loop and a context and checks afterwards that
 * no descriptor and no process is left, ways to drive the loop to a condition, and callbacks that
 * note what they were told.
 *
 * Tests never sleep for a guessed time: they turn the loop until a condition holds, and fail when
 * it does not hold in time.
 */
#ifndef TEST_LIB_H
#define TEST_LIB_H

#include <afork/afork.h>
#include <glib.h>

/* A kind of event loop that the tests can drive. */
struct test_loop_type {
    const char *name;
    void *(*new)(void);
    struct afork_loop *(*get)(void *self);
    void (*turn)(void *self, int64_t usec); /* waits at most `usec`, then runs what is ready */
    void (*free)(void *self);
    void (*free_copy)(void *self); /* the loop alone, in a forked copy that ends then */
};

extern const struct test_loop_type test_loop_poll, test_loop_foreign, test_loop_glib, test_loop_ev,
    test_loop_uv;

/* Those built, NULL at the end. */
extern const struct test_loop_type *const test_loop_types[];

/* Another way to start servers than to execute them, for a program all of whose tests go that way:
 * set before main(). `test_spawner` is a child of the program that lives as long as it does, or
 * 0. */
extern afork_launch_cb *test_launcher;
extern pid_t test_spawner;
extern void (*test_copied)(void); /* to be called in a forked copy that goes on as a host */

struct test {
    const struct test_loop_type *type;
    void *loop_self;
    struct afork_loop *loop;
    struct afork_context_options options; /* the fake server's; a test may change them */
    const char *environment[4];           /* changes to the server's environment, NULL at the end */
    struct afork_context *context;        /* made by test_context(), closed with the test */
    void *data;                           /* of test_add_data() */
};

typedef void test_func(struct test *t);

/* Adds a case for each kind of loop, its name appended to the path. */
void test_add(const char *path, test_func *func);

/* Adds a case for one kind of loop, or, with `type` NULL, for none. */
void test_add_for(const struct test_loop_type *type, const char *path, test_func *func);

/* The same with data, taken, that is released by g_free(). */
void test_add_data(const struct test_loop_type *type, const char *path, test_func *func,
                   void *data);

/* A call that must succeed. */
#define test_ok(call) g_assert_cmpint((call), ==, 0)

/* The context of the test, made from its options at the first call. */
struct afork_context *test_context(struct test *t);

/* Processes of that context; the caller releases them. */
struct afork_process *test_new(struct test *t);
struct afork_process *test_new_exec(struct test *t);
struct afork_process *test_fork(struct afork_process *process);

/* A context with the options of the test's, on the same loop: another host. The caller closes
 * it. */
struct afork_context *test_other_context(struct test *t);

/* Hands `process` over and lets go of it; returns its command socket. */
int test_hand_over(struct test *t, struct afork_process *process);

/* Asks the fake server for `behaviour` (see fake-server.c) at its start. Before test_context(). */
void test_fake_start(struct test *t, const char *behaviour);

/* A file of the build tree below tests/; valid for the life of the test. */
const char *test_built_file(const char *name);

/* Turns the loop until `condition` holds. */
#define test_wait(t, condition)                                                                    \
    do {                                                                                           \
        gint64 test_deadline = test_deadline_new();                                                \
        while (!(condition))                                                                       \
            test_turn_before((t), test_deadline, G_STRLOC ": " #condition);                        \
    } while (0)

gint64 test_deadline_new(void);
void test_turn_before(struct test *t, gint64 deadline, const char *what);

/* Turns the loop for `usec` and tells how often it woke and how much CPU time that took. */
struct test_load {
    unsigned turns;
    gint64 cpu_usec;
};

struct test_load test_turn_for(struct test *t, gint64 usec);

/* Idle means: fewer than five turns a second and hardly any CPU time. */
void test_assert_idle(struct test *t, gint64 usec);

/* Microseconds on a clock that stands while this thread waits for a processor: what a call takes on
 * a machine that is busy with something else, too. */
gint64 test_own_time(void);

/* What afork_process_run() told. */
struct test_run {
    unsigned calls;
    int fd; /* the channel or a negative errno */
    enum afork_cause cause;
    char message[4096];
    int wait_status;
    char stderr_tail[4097];
    pid_t pid; /* afork_process_peer_pid() in the callback */
};

void test_on_run(struct afork_process *process, int fd, const struct afork_exit *failure,
                 void *run);

/* What afork_process_on_exit() told. */
struct test_exit {
    unsigned calls;
    enum afork_cause cause;
    char message[4096];
    int wait_status, status;
    bool has_usage;
    char stderr_tail[4097];
};

void test_on_exit(struct afork_process *process, const struct afork_exit *exit, void *result);

/* Runs `function` and waits for its channel, which the caller closes. */
int test_run_function(struct test *t, struct afork_process *process, const char *function);

/* Tells `process` to run `function`, lets go of it, and returns the channel. */
int test_run_and_unref(struct test *t, struct afork_process *process, const char *function);

/* Reads `fd` to its end while the loop runs, and closes it. The caller frees the text. */
char *test_slurp(struct test *t, int fd, gsize *len);

/* Writes all of `data` while the loop runs. */
void test_write(struct test *t, int fd, const void *data, gsize len);

/* Waits for a line that is a number. */
int test_read_number(struct test *t, int fd);

/* Reads exactly `len` octets while the loop runs. */
void test_read(struct test *t, int fd, void *data, gsize len);

/* Runs `function`, lets go of the process, and returns all it wrote; for functions that end by
 * themselves. */
char *test_output(struct test *t, struct afork_process *process, const char *function);

/* Whether a process exists that is not a zombie. */
bool test_is_running(pid_t pid);

/* The state letter of a process in /proc, or 0 if there is none. */
char test_process_state(pid_t pid);

/* Whether all was built with sanitizers, which need much memory. */
bool test_has_sanitizers(void);

/* Open descriptors of this process. */
unsigned test_count_fds(void);

/* Suites that run over the GObject layer as well: what ends a text of Perl's; what is so at once,
 * and in that layer on a later turn; what only the core's own structures can tell. */
#ifdef TEST_GOBJECT
#define TEST_EOL ""
#define test_soon(t, condition) test_wait(t, condition)
#define test_inside(assertion) ((void)0)
#include "test-gobject.h"
#else
#define TEST_EOL "\n"
#define test_soon(t, condition) g_assert_true(condition)
#define test_inside(assertion) assertion
#endif

#endif
