/* SPDX-License-Identifier: MIT
 *
 * What tests of calls share: rpcs of processes that know some functions, calls, and what became of
 * them.
 */
#ifndef TEST_RPC_LIB_H
#define TEST_RPC_LIB_H

#include "test-perl-lib.h"

/* Adds a case for afork-perl over each kind of loop; skipped where that was not built. */
void test_calls_add(const char *path, test_func *func);

/* What a call completed with. */
struct test_reply {
    unsigned calls, released, events;
    int error;
    char message[4096];
    GPtrArray *strings; /* of the octet serialiser: GBytes; NULL if there is no such list */
    GBytes *data;       /* as it came */
    bool has_exit;
    enum afork_cause cause;
    int status;
    int fds[4]; /* kept */
    size_t n_fds;
    GString *order; /* NULL, or gets `tag` when it completes */
    char tag;
    GString *told; /* what its events held, each followed by a line feed; NULL: no event came */
};

void test_on_reply(const struct afork_reply *reply, void *result);
void test_on_reply_event(const struct afork_event *event, void *result);
void test_on_release(void *result);
void test_reply_clear(struct test_reply *reply);
#define test_reply_auto __attribute__((cleanup(test_reply_clear))) struct test_reply

/* String `i` of the reply, as text. */
const char *test_reply_string(struct test_reply *reply, guint i);

/* What on_end told. */
struct test_end {
    unsigned calls, events;
    int error;
    char message[4096];
    bool has_exit;
    enum afork_cause cause;
    int status;
    GString *told;  /* of events of no call */
    GString *order; /* gets '.' at the end */
};

void test_end_clear(struct test_end *end);
#define test_end_auto __attribute__((cleanup(test_end_clear))) struct test_end

/* Options that tell `end`. */
struct afork_rpc_options test_rpc_options(struct test_end *end);

/* A process that has evaluated `code` besides the functions
 *   echo    returns its arguments
 *   nap     sleeps for so many seconds, returns its pid
 *   act     `die TEXT`, `exit N`, `_exit N`, `kill SIGNAL`, `event TEXT...`, `sleep`, `stay` (which
 *           sends an event before it sleeps), `pid`, `nothing` by its first argument */
struct afork_process *test_rpc_process(struct test *t, const char *code);

/* Code that replaces the back end by one that does what a call's only string says, and then claims
 * to hold answers: `wait` for SIGUSR1 and exit with 3, `nap` until that signal, `hang`, or
 * nothing. */
extern const char test_holding[];

/* An rpc on such a process, which is let go of. */
struct afork_rpc *test_rpc(struct test *t, const char *code, const char *function,
                           const struct afork_rpc_options *options);

/* A call with strings, up to a NULL. */
void test_call(struct afork_rpc *rpc, struct test_reply *reply, ...) AFORK_SENTINEL;

/* The same with options, which are completed, and the strings of `list`; returns the result. */
int test_call_full(struct afork_rpc *rpc, struct test_reply *reply,
                   struct afork_call_options *options, const char *const *list,
                   struct afork_call **ret);

/* Waits until the worker has entered its function, which answers `pid`, and is idle. */
void test_rpc_wait(struct test *t, struct afork_rpc *rpc);

/* Finishes the rpc and waits for its end. */
void test_finish(struct test *t, struct afork_rpc *rpc, struct test_end *end);

#endif
