/* SPDX-License-Identifier: MIT
 *
 * The suites of calls and pools over the GObject layer. A program that is compiled with
 * TEST_GOBJECT runs the cases of its file once more: where they call the core, the functions here
 * stand in, which have its prototypes and carry everything by GAforkContext, GAforkProcess,
 * GAforkRpc and GAforkPool. What those tell comes back as the core tells it, so that the same lines
 * assert it.
 *
 * Where the two differ by intention:
 *
 *   - A call that is refused returns its error in a callback; the loop is turned until it has come.
 *   - A cancellation is heard of on a later turn, and nobody says that it came too late. A second
 *     one is -EALREADY all the same. AFORK_CANCEL_QUEUED of an rpc is as AFORK_CANCEL_ABANDON: by
 *     then the worker has all.
 *   - The list of workers is that of the last turn: one is made before it is read.
 *   - What is closed returns from its calls with G_IO_ERROR_CLOSED, on a later turn; the core
 *     releases them, inside the call: test_soon().
 *   - Perl's texts have no line feed at their end: TEST_EOL.
 *
 * What there is no counterpart for is in a list in test-gobject.c, with the reasons.
 */
#ifndef TEST_GOBJECT_H
#define TEST_GOBJECT_H

#include "test-lib.h"

/* Declares what stands in. */
#define GOBJECT_TWIN(name) extern __typeof__(afork_##name) gobject_##name

GOBJECT_TWIN(context_close);
#define afork_context_close gobject_context_close
GOBJECT_TWIN(process_new);
#define afork_process_new gobject_process_new
GOBJECT_TWIN(process_fork);
#define afork_process_fork gobject_process_fork
GOBJECT_TWIN(process_eval);
#define afork_process_eval gobject_process_eval
GOBJECT_TWIN(process_send_arg);
#define afork_process_send_arg gobject_process_send_arg
GOBJECT_TWIN(process_on_exit);
#define afork_process_on_exit gobject_process_on_exit
GOBJECT_TWIN(process_peer_pid);
#define afork_process_peer_pid gobject_process_peer_pid
GOBJECT_TWIN(process_kill);
#define afork_process_kill gobject_process_kill
GOBJECT_TWIN(process_close);
#define afork_process_close gobject_process_close
GOBJECT_TWIN(process_unref);
#define afork_process_unref gobject_process_unref

GOBJECT_TWIN(call_cancel);
#define afork_call_cancel gobject_call_cancel
GOBJECT_TWIN(call_set_priority);
#define afork_call_set_priority gobject_call_set_priority

GOBJECT_TWIN(rpc_new);
#define afork_rpc_new gobject_rpc_new
GOBJECT_TWIN(rpc_call);
#define afork_rpc_call gobject_rpc_call
GOBJECT_TWIN(rpc_call_take);
#define afork_rpc_call_take gobject_rpc_call_take
GOBJECT_TWIN(rpc_call_strings);
#define afork_rpc_call_strings gobject_rpc_call_strings
GOBJECT_TWIN(rpc_get_pending);
#define afork_rpc_get_pending gobject_rpc_get_pending
GOBJECT_TWIN(rpc_finish);
#define afork_rpc_finish gobject_rpc_finish
GOBJECT_TWIN(rpc_ref);
#define afork_rpc_ref gobject_rpc_ref
GOBJECT_TWIN(rpc_unref);
#define afork_rpc_unref gobject_rpc_unref
GOBJECT_TWIN(rpc_close);
#define afork_rpc_close gobject_rpc_close

GOBJECT_TWIN(pool_new);
#define afork_pool_new gobject_pool_new
GOBJECT_TWIN(pool_call);
#define afork_pool_call gobject_pool_call
GOBJECT_TWIN(pool_call_take);
#define afork_pool_call_take gobject_pool_call_take
GOBJECT_TWIN(pool_call_strings);
#define afork_pool_call_strings gobject_pool_call_strings
GOBJECT_TWIN(pool_set_size);
#define afork_pool_set_size gobject_pool_set_size
GOBJECT_TWIN(pool_retire);
#define afork_pool_retire gobject_pool_retire
GOBJECT_TWIN(pool_reset);
#define afork_pool_reset gobject_pool_reset
GOBJECT_TWIN(pool_get_stats);
#define afork_pool_get_stats gobject_pool_get_stats
GOBJECT_TWIN(pool_each_worker);
#define afork_pool_each_worker gobject_pool_each_worker
GOBJECT_TWIN(pool_cancel);
#define afork_pool_cancel gobject_pool_cancel
GOBJECT_TWIN(pool_finish);
#define afork_pool_finish gobject_pool_finish
GOBJECT_TWIN(pool_ref);
#define afork_pool_ref gobject_pool_ref
GOBJECT_TWIN(pool_unref);
#define afork_pool_unref gobject_pool_unref
GOBJECT_TWIN(pool_close);
#define afork_pool_close gobject_pool_close

/* There is one kind of loop, and the fixture's context and processes are such objects. */
extern const struct test_loop_type gobject_loop;
extern const struct test_loop_type *const gobject_loop_types[];
#define test_loop_poll gobject_loop
#define test_loop_types gobject_loop_types

extern __typeof__(test_context) gobject_context;
#define test_context gobject_context
extern __typeof__(test_new) gobject_new;
#define test_new gobject_new
extern __typeof__(test_run_and_unref) gobject_run_and_unref;
#define test_run_and_unref gobject_run_and_unref

/* Leaves out what the list says; a case that makes no object of the GObject layer fails, unless it
 * is skipped. */
extern __typeof__(test_add_data) gobject_add_data;
#define test_add_data gobject_add_data
extern __typeof__(g_test_skip) gobject_test_skip;
#define g_test_skip gobject_test_skip

/* Fails if the list of `file` names what was not added. */
int gobject_test_run(const char *file);
#define g_test_run() gobject_test_run(__FILE__)

#endif
