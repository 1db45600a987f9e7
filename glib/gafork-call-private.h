/* SPDX-License-Identifier: MIT
 *
 * What calls, GAforkRpc and GAforkPool share.
 */
#ifndef GAFORK_CALL_PRIVATE_H
#define GAFORK_CALL_PRIVATE_H

#include "gafork-call.h"
#include "gafork-pool.h"
#include "gafork-private.h"
#include "gafork-rpc.h"

/* What calls need to know of who is called. */
struct gafork__caller {
    GAforkContext *context; /* a reference */
    GAforkSerialiser serialiser;
    gint64 timeout; /* of calls without one of their own, in microseconds; 0: none */
};

/* Arguments of a call: the strings, if there is a list, even an empty one; else the data, taken
 * where there is a function to release it. */
struct gafork__arguments {
    const void *data;
    gsize len;
    void (*release)(void *release_data); /* of `data`, which is taken; NULL: it is copied */
    void *release_data;
    const struct iovec *strings;
    gsize n_strings;
};

struct _GAforkCallableInterface {
    GTypeInterface parent_interface;

    struct gafork__caller *(*get_caller)(GAforkCallable *self);
    /* As the core's calls; what is to be taken is so in case of success. */
    int (*call)(GAforkCallable *self, const struct gafork__arguments *arguments,
                const struct afork_call_options *options, afork_call_cb *cb, void *data,
                struct afork_call **ret);
    /* The error of that, in its words. */
    gboolean (*check)(GAforkCallable *self, int result, GError **error);
    /* A call was made or has left; may be NULL. */
    void (*changed)(GAforkCallable *self);
    /* Of pools, else NULL: a call fails because it is broken, and with this error. */
    GError *(*broke)(GAforkCallable *self, const char *message);
    guint (*get_pending)(GAforkCallable *self);
    void (*finish)(GAforkCallable *self);
    void (*close)(GAforkCallable *self);
};

/* gafork-types.c */

/* The error of a reply that has one, or of an end that is told the same way. */
GError *gafork__reply_error_new(int error, const char *message, const struct afork_exit *exit);

/* The list of descriptors of a reply or event, which are taken; NULL if there are none. */
GUnixFDList *gafork__fd_list_new(int *fds, size_t n_fds);

/* gafork-call-options.c */

/* What the core takes, borrowed. `self` may be NULL. */
void gafork__call_options_fill(GAforkCallOptions *self, const struct gafork__caller *caller,
                               struct afork_call_options *core);
/* Whether somebody listens for events. */
gboolean gafork__call_options_has_listener(GAforkCallOptions *self);
void gafork__call_options_emit_event(GAforkCallOptions *self, const struct afork_event *event);
/* The same for the signal that it was begun. */
gboolean gafork__call_options_has_begun_listener(GAforkCallOptions *self);
void gafork__call_options_emit_begun(GAforkCallOptions *self);
enum afork_cancel gafork__call_options_get_cancel_mode(GAforkCallOptions *self);
/* Cancels a call, unless a worker has it that is to go on. */
gboolean gafork__call_options_cancel(GAforkCallOptions *self, struct afork_call *call);
const GVariantType *gafork__call_options_get_result_type(GAforkCallOptions *self);
/* Makes a call known for a change of its priority; `link` is the call's, and its data the core's
 * call. */
void gafork__call_options_add(GAforkCallOptions *self, GList *link);
void gafork__call_options_remove(GAforkCallOptions *self, GList *link);

/* gafork-rpc-options.c */

/* What the core takes, borrowed, and the serialiser that this is. `self` may be NULL. */
GAforkSerialiser gafork__rpc_options_fill(GAforkRpcOptions *self, struct afork_rpc_options *core);

/* gafork-rpc.c */

/* Whether there is code for a custom one. */
gboolean gafork__check_serialiser(GAforkSerialiser serialiser, const struct afork_rpc_options *core,
                                  GError **error);

/* gafork-pool-options.c */

/* What the core takes, borrowed, as are `limits` which it may point to; and the serialiser that
 * this is. `self` may be NULL. */
GAforkSerialiser gafork__pool_options_fill(GAforkPoolOptions *self, struct afork_pool_options *core,
                                           struct afork_limits *limits);

/* gafork-worker.c */

/* Tells what differs. */
void gafork__worker_update(GAforkWorker *self, int pid, guint calls);
GAforkPoolStats *gafork__pool_stats_new(const struct afork_pool_stats *core);

/* gafork-values.c */

/* A list of the octet serialiser as strings. */
char **gafork__octets_to_strv(const void *data, gsize len, GError **error);
/* A list of a serialiser that is known here as a variant; `type` NULL: whatever it is. */
GVariant *gafork__octets_to_variant(const void *data, gsize len, GAforkSerialiser serialiser,
                                    const GVariantType *type, GError **error);
/* The strings of a variant for the octet serialiser, in place; g_free(). NULL if it has others. */
struct iovec *gafork__variant_to_iovec(GVariant *values, gsize *ret_n, GError **error);
/* Strings in place; g_free(). */
struct iovec *gafork__strv_to_iovec(const char *const *strings, gsize *ret_n);
/* Whether these can be arguments. */
gboolean gafork__is_list(GVariant *values, GError **error);

/* gafork-json.c */

/* A list of values as JSON; g_free(). */
char *gafork__variant_to_json(GVariant *values, gsize *ret_len, GError **error);
/* Returned, not floating; `type` NULL: whatever it is. */
GVariant *gafork__json_to_variant(const char *json, gsize len, const GVariantType *type,
                                  GError **error);

/* Something of a class of ours that the core's callbacks point to, for as long as they may come:
 * until the last of them, or the end of the context, which then calls `closed`. */
struct gafork__link {
    GAforkContext *context;
    void (*closed)(struct gafork__link *link);
    gpointer object; /* NULL: nobody is told any more */
};

/* gafork-context.c */
void gafork__context_link(GAforkContext *self, struct gafork__link *link);
void gafork__context_unlink(struct gafork__link *link);

#endif
