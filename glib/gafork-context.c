/* SPDX-License-Identifier: MIT
 *
 * GAforkContext: the core's context on a GLib loop. It keeps the options as properties, finds the
 * GObject to a process of the core, and says when there may be news that the core has no callback
 * for. Knows nothing of what processes do.
 */
#define AFORK_GLIB_COMPILATION

#include "gafork-context.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "gafork-call-private.h"
#include "gafork-options.h"
#include "gafork-private.h"

/**
 * GAforkContext:
 *
 * What a program sets up once per main context: which perl to execute and how. It owns the default
 * template behind [ctor@Afork.Process.new], and receives what the Perl processes report.
 *
 * A program that is content with the defaults needs none: wherever a context can be given, %NULL is
 * that of [func@Afork.Context.get_default].
 *
 * All options are properties that are set at construction, which cannot fail: what is wrong with
 * them is told by the first call that needs them. A context belongs to the thread that runs its
 * main context, with all processes made on it; there signals are emitted and asynchronous calls
 * return. As long as no thread has run it, it belongs to the one that used it first: a program may
 * set up a context and start the thread for it then.
 *
 * Only references may be released elsewhere, as garbage collectors do; the objects are then
 * disposed of when the main context runs next. A thread that ends before the program therefore
 * closes its contexts: else what is released after it is never released, and its perls stay. A
 * thread without a thread-default main context has the program's, and must not use it while another
 * thread does.
 *
 * Processes hold a reference on their context. When the last reference is gone, the context is
 * closed; a program that lets go of processes before their work was delivered keeps the context.
 *
 * Since: 0.1
 */

/* States: made, without the core's context (`core` NULL); in use, from the first call that needs
 * it; closed, for good. The table of defaults holds a reference until then. */
struct _GAforkContext {
    GObject parent_instance;

    struct gafork__options options;

    struct afork_glib_loop *loop;
    struct afork_context *core;
    struct afork_timer *look; /* does nothing itself: what comes after each dispatch matters */
    GThread *thread;          /* atomic: its home while nobody runs the main context */
    gboolean closed;

    GHashTable *processes; /* struct afork_process -> GAforkProcess, neither referenced */
    GHashTable *unborn;    /* GAforkProcess: those whose pid is not known yet */
    GHashTable *links;     /* struct gafork__link: what is told when the context is closed */
};

static guint warning_signal;

G_DEFINE_TYPE(GAforkContext, gafork_context, G_TYPE_OBJECT)

/* The default contexts, by main context; a reference each. */
G_LOCK_DEFINE_STATIC(defaults);
static GHashTable *defaults;

/* --- What the core tells --- */

static void on_warning(G_GNUC_UNUSED struct afork_context *core, struct afork_process *process,
                       const char *message, void *data)
{
    GAforkContext *self = data;
    g_autofree char *text = gafork__text(message, -1);
    gpointer object = process ? g_hash_table_lookup(self->processes, process) : NULL;

    if (!g_signal_has_handler_pending(self, warning_signal, 0, FALSE))
        gafork__log_warning(text);
    g_signal_emit(self, warning_signal, 0, object, text);
}

static void on_look(G_GNUC_UNUSED void *data)
{
}

/* The core has no callback for a pid that became known; it becomes known by reading from the
 * loop. */
static void after_dispatch(void *data)
{
    GAforkContext *self = data;
    g_autoptr(GPtrArray) born = NULL;
    GHashTableIter iter;
    gpointer process;

    g_atomic_pointer_set(&self->thread, g_thread_self());
    g_hash_table_iter_init(&iter, self->unborn);
    while (g_hash_table_iter_next(&iter, &process, NULL)) {
        if (!gafork__process_has_pid(process))
            continue;
        if (!born)
            born = g_ptr_array_new_with_free_func(g_object_unref);
        g_ptr_array_add(born, g_object_ref(process));
        g_hash_table_iter_remove(&iter);
    }
    for (guint i = 0; born && i < born->len; i++)
        gafork__process_update_pids(born->pdata[i]);
}

/* --- The core's context --- */

static int make_core(GAforkContext *self)
{
    struct afork_context_options options = AFORK_CONTEXT_OPTIONS_INIT;

    int result = gafork__options_fill(&self->options, &options);
    if (result < 0)
        return result;
    options.on_warning = on_warning;
    options.warning_data = self;

    result = afork_glib_loop_new(self->options.main_context, self->options.priority, &self->loop);
    if (result < 0)
        return result;
    g_atomic_pointer_set(&self->thread, g_thread_self());
    struct afork_loop *loop = afork_glib_loop_get(self->loop);
    result = afork_context_new(loop, &options, &self->core);
    if (!result) {
        gafork__log_core(self->core);
        result = loop->ops->timer_new(loop, on_look, self, &self->look);
        if (result < 0)
            g_clear_pointer(&self->core, afork_context_close);
    }
    if (result < 0)
        g_clear_pointer(&self->loop, afork_glib_loop_free);
    else
        afork_glib__loop_set_after(self->loop, after_dispatch, self);
    return result;
}

struct afork_context *gafork__context_get_core(GAforkContext *self, GError **error)
{
    int result = self->closed ? -ESHUTDOWN : self->core ? 0 : make_core(self);

    return gafork__check(result, error) ? self->core : NULL;
}

void gafork__context_name_start(GAforkContext *self, GError **error)
{
    const char *perl = gafork_context_get_perl(self), *directory = self->options.working_directory;

    if (perl && directory)
        g_prefix_error(error, "cannot start %s in %s: ", perl, directory);
    else if (perl)
        g_prefix_error(error, "cannot start %s: ", perl);
}

void gafork__context_add(GAforkContext *self, struct afork_process *core, GAforkProcess *process)
{
    g_hash_table_insert(self->processes, core, process);
    if (!gafork__process_has_pid(process))
        g_hash_table_add(self->unborn, process);
}

void gafork__context_remove(GAforkContext *self, struct afork_process *core, GAforkProcess *process)
{
    g_hash_table_remove(self->processes, core);
    g_hash_table_remove(self->unborn, process);
}

void gafork__context_link(GAforkContext *self, struct gafork__link *link)
{
    link->context = self;
    g_hash_table_add(self->links, link);
}

void gafork__context_unlink(struct gafork__link *link)
{
    g_hash_table_remove(link->context->links, link);
}

/* --- Home ---
 *
 * References may be released in any thread, and GObject disposes of the object there. What the loop
 * knows of it must be released at home: in the thread that runs the main context or, while none
 * does, in the one that did last. So an object disposed of elsewhere stays as it is, held by a
 * source at home that disposes of it once more. Which of the two threads then releases the last
 * reference is open, but does not matter: all that is left for finalization is memory that nobody
 * else knows. */

static gboolean at_home(gpointer object)
{
    g_object_run_dispose(object);
    return G_SOURCE_REMOVE;
}

static void send_home(GAforkContext *self, GObject *object)
{
    /* News may come before it is home, but nobody is to be told any more. */
    g_signal_handlers_destroy(object);
    g_autoptr(GSource) source = g_idle_source_new();
    g_source_set_priority(source, self->options.priority);
    g_source_set_callback(source, at_home, g_object_ref(object), g_object_unref);
    g_source_attach(source, self->options.main_context);
}

gboolean gafork__context_enter(GAforkContext *self, GObject *object)
{
    GMainContext *main_context = self->options.main_context;
    gboolean runs_here = g_main_context_is_owner(main_context);

    /* Held until gafork__context_leave(): no other thread begins to run it meanwhile. */
    if (g_main_context_acquire(main_context)) {
        if (runs_here || g_atomic_pointer_get(&self->thread) == g_thread_self())
            return TRUE;
        g_main_context_release(main_context);
    }
    send_home(self, object);
    return FALSE;
}

void gafork__context_leave(GAforkContext *self)
{
    g_main_context_release(self->options.main_context);
}

void gafork__context_look_soon(GAforkContext *self)
{
    if (self->look && g_hash_table_size(self->unborn))
        afork_glib_loop_get(self->loop)->ops->timer_set(self->look, 0);
}

/* --- Public calls --- */

/**
 * gafork_context_new:
 *
 * Makes a context with the defaults, on the thread-default main context. Options are properties,
 * which only a construction with [ctor@GObject.Object.new] can set.
 *
 * Returns: (transfer full): a new context
 *
 * Since: 0.1
 */
GAforkContext *gafork_context_new(void)
{
    return g_object_new(GAFORK_TYPE_CONTEXT, NULL);
}

/**
 * gafork_context_get_default:
 *
 * The context for programs that need no other: one for each thread-default main context, made at
 * the first call. It lives until [method@Afork.Context.close], which a thread that ends before the
 * program should call.
 *
 * Returns: (transfer none): the default context of the calling thread
 *
 * Since: 0.1
 */
GAforkContext *gafork_context_get_default(void)
{
    static pid_t owner;
    g_autoptr(GMainContext) main_context = g_main_context_ref_thread_default();

    G_LOCK(defaults);
    if (owner != getpid()) /* in a forked copy, those of the original are of no use */
        defaults = NULL;
    owner = getpid();
    if (!defaults)
        defaults = g_hash_table_new_full(NULL, NULL, NULL, g_object_unref);
    GAforkContext *self = g_hash_table_lookup(defaults, main_context);
    if (!self) {
        self = gafork_context_new();
        g_hash_table_insert(defaults, main_context, self);
    }
    G_UNLOCK(defaults);
    return self;
}

/* Takes the context out of the defaults; returns the reference that they held. */
static GAforkContext *steal_default(GAforkContext *self)
{
    GAforkContext *found = NULL;

    G_LOCK(defaults);
    if (defaults && g_hash_table_lookup(defaults, self->options.main_context) == self) {
        g_hash_table_steal(defaults, self->options.main_context);
        found = self;
    }
    if (defaults && !g_hash_table_size(defaults))
        g_clear_pointer(&defaults, g_hash_table_unref);
    G_UNLOCK(defaults);
    return found;
}

/**
 * gafork_context_get_perl:
 * @self: a context
 *
 * The perl that the next start would execute: that of [property@Afork.Context:perl], else the
 * environment variable `AFORK_PERL`, else the one that was found when afork was built.
 *
 * Returns: (transfer none) (nullable): its path or name; %NULL after the context was closed
 *
 * Since: 0.1
 */
const char *gafork_context_get_perl(GAforkContext *self)
{
    g_return_val_if_fail(GAFORK_IS_CONTEXT(self), NULL);
    struct afork_context *core = gafork__context_get_core(self, NULL);
    return core ? afork_context_get_perl(core) : NULL;
}

/**
 * gafork_context_set_perl:
 * @self: a context
 * @perl: (nullable): the perl to execute, or %NULL for the default
 * @peer: what it is
 * @serve_module: (nullable): the module that serves, or %NULL for the default
 * @error: return location for an error
 *
 * Changes the perl for later starts. The default template that runs is kept for its children, and
 * replaced at the next [ctor@Afork.Process.new].
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 0.1
 */
gboolean gafork_context_set_perl(GAforkContext *self, const char *perl, GAforkPeer peer,
                                 const char *serve_module, GError **error)
{
    g_return_val_if_fail(GAFORK_IS_CONTEXT(self), FALSE);
    struct afork_context *core = gafork__context_get_core(self, error);
    if (!core ||
        !gafork__check(afork_context_set_perl(core, perl, (enum afork_peer)peer, serve_module),
                       error))
        return FALSE;

    gafork__options_set_perl(&self->options, perl, peer, serve_module);
    gafork__options_notify_perl(G_OBJECT(self));
    return TRUE;
}

/**
 * gafork_context_get_main_context:
 * @self: a context
 *
 * The main context in which everything arrives.
 *
 * Returns: (transfer none): the main context
 *
 * Since: 0.1
 */
GMainContext *gafork_context_get_main_context(GAforkContext *self)
{
    g_return_val_if_fail(GAFORK_IS_CONTEXT(self), NULL);
    return self->options.main_context;
}

/**
 * gafork_context_get_priority:
 * @self: a context
 *
 * The priority with which everything arrives.
 *
 * Returns: the priority
 *
 * Since: 0.1
 */
int gafork_context_get_priority(GAforkContext *self)
{
    g_return_val_if_fail(GAFORK_IS_CONTEXT(self), 0);
    return self->options.priority;
}

/**
 * gafork_context_dump:
 * @self: a context
 * @error: return location for an error
 *
 * What there is of this context now, as JSON: the tree of its processes with state, pid, function,
 * age, memory and spares, and the last error; for people who look for a fault. The format may grow.
 *
 * Returns: (transfer full): the text, or %NULL with @error set
 *
 * Since: 0.1
 */
char *gafork_context_dump(GAforkContext *self, GError **error)
{
    char *text;

    g_return_val_if_fail(GAFORK_IS_CONTEXT(self), NULL);
    struct afork_context *core = gafork__context_get_core(self, error);
    if (!core || !gafork__check(afork_context_dump(core, &text), error))
        return NULL;
    char *copy = g_strdup(text); /* GLib's memory need not be libc's */
    free(text);
    return copy;
}

/* The core's context is gone: what waits for its processes fails. */
static void tell_processes(GAforkContext *self)
{
    g_autoptr(GPtrArray) left = g_ptr_array_new_with_free_func(g_object_unref);
    GHashTableIter iter;
    gpointer process;

    g_hash_table_iter_init(&iter, self->processes);
    while (g_hash_table_iter_next(&iter, NULL, &process))
        g_ptr_array_add(left, g_object_ref(process));
    g_hash_table_remove_all(self->processes);
    g_hash_table_remove_all(self->unborn);
    for (guint i = 0; i < left->len; i++)
        gafork__process_context_closed(left->pdata[i]);
}

/* Whoever is told may take others away. */
static void close_links(GAforkContext *self)
{
    GHashTableIter iter;
    gpointer key;

    for (;;) {
        g_hash_table_iter_init(&iter, self->links);
        if (!g_hash_table_iter_next(&iter, &key, NULL))
            return;
        struct gafork__link *link = key;
        g_hash_table_iter_remove(&iter);
        link->closed(link);
    }
}

/**
 * gafork_context_close:
 * @self: a context
 *
 * Ends everything of this context: queues are dropped, servers end, workers see the end of file
 * only if their connection was not handed out. Never waits. Asynchronous calls that wait for a
 * process return with %G_IO_ERROR_CLOSED on a later turn, no signal is emitted any more, and other
 * calls return that error at once. May be called from any callback; a second call does nothing.
 *
 * Since: 0.1
 */
void gafork_context_close(GAforkContext *self)
{
    g_return_if_fail(GAFORK_IS_CONTEXT(self));
    if (self->closed)
        return;
    self->closed = TRUE;
    G_GNUC_UNUSED g_autoptr(GAforkContext) of_table = steal_default(self);
    G_GNUC_UNUSED g_autoptr(GAforkContext) held = g_object_ref(self); /* those who are told may do
                                                                         anything */
    if (self->core) {
        afork_glib_loop_get(self->loop)->ops->timer_free(self->look);
        self->look = NULL;
        g_clear_pointer(&self->core, afork_context_close);
        g_clear_pointer(&self->loop, afork_glib_loop_free);
        tell_processes(self);
        close_links(self);
    }
    gafork__options_close(&self->options);
}

/* --- GObject --- */

static void gafork_context_set_property(GObject *object, guint id, const GValue *value,
                                        G_GNUC_UNUSED GParamSpec *pspec)
{
    gafork__options_set(&GAFORK_CONTEXT(object)->options, id, value);
}

static void gafork_context_get_property(GObject *object, guint id, GValue *value,
                                        G_GNUC_UNUSED GParamSpec *pspec)
{
    GAforkContext *self = GAFORK_CONTEXT(object);

    if (id == GAFORK__PROP_PERL)
        g_value_set_string(value, gafork_context_get_perl(self));
    else
        gafork__options_get(&self->options, id, value);
}

static void gafork_context_constructed(GObject *object)
{
    GAforkContext *self = GAFORK_CONTEXT(object);

    G_OBJECT_CLASS(gafork_context_parent_class)->constructed(object);
    if (!self->options.main_context)
        self->options.main_context = g_main_context_ref_thread_default();
}

static void gafork_context_dispose(GObject *object)
{
    GAforkContext *self = GAFORK_CONTEXT(object);

    if (!self->core) { /* not used yet, or closed: nothing is at home */
        gafork_context_close(self);
    } else {
        if (!gafork__context_enter(self, object))
            return;
        gafork_context_close(self);
        gafork__context_leave(self);
    }
    G_OBJECT_CLASS(gafork_context_parent_class)->dispose(object);
}

static void gafork_context_finalize(GObject *object)
{
    GAforkContext *self = GAFORK_CONTEXT(object);

    g_hash_table_unref(self->processes);
    g_hash_table_unref(self->unborn);
    g_hash_table_unref(self->links);
    gafork__options_clear(&self->options);
    G_OBJECT_CLASS(gafork_context_parent_class)->finalize(object);
}

static void gafork_context_init(GAforkContext *self)
{
    gafork__options_init(&self->options);
    self->processes = g_hash_table_new(NULL, NULL);
    self->unborn = g_hash_table_new(NULL, NULL);
    self->links = g_hash_table_new(NULL, NULL);
}

static void gafork_context_class_init(GAforkContextClass *klass)
{
    GObjectClass *object_class = G_OBJECT_CLASS(klass);

    object_class->set_property = gafork_context_set_property;
    object_class->get_property = gafork_context_get_property;
    object_class->constructed = gafork_context_constructed;
    object_class->dispose = gafork_context_dispose;
    object_class->finalize = gafork_context_finalize;

    gafork__options_install(object_class);

    /**
     * GAforkContext::warning:
     * @self: the context
     * @process: (nullable): the process it is about; %NULL where that is the default template, or
     *   nobody holds the process any more
     * @message: what the server says
     *
     * A server warns, for example of threads that a module started before a fork. Where nobody
     * listens, it is a message in the log.
     *
     * Since: 0.1
     */
    warning_signal = g_signal_new("warning", GAFORK_TYPE_CONTEXT, G_SIGNAL_RUN_LAST, 0, NULL, NULL,
                                  NULL, G_TYPE_NONE, 2, GAFORK_TYPE_PROCESS, G_TYPE_STRING);
}
