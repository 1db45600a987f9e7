/* SPDX-License-Identifier: MIT
 *
 * What the core tells, in GLib's structured log, domain "afork-glib", with the field AFORK_TOPIC.
 * What AFORK_DEBUG names is shown as any other message; all of it are debug messages, for who asks
 * for those of this domain.
 */
#define AFORK_GLIB_COMPILATION

#include "gafork-private.h"

static gboolean shows_debug_messages(void)
{
#if GLIB_CHECK_VERSION(2, 68, 0)
    return !g_log_writer_default_would_drop(G_LOG_LEVEL_DEBUG, G_LOG_DOMAIN);
#else
    const char *domains = g_getenv("G_MESSAGES_DEBUG");
    return domains && (strstr(domains, "all") || strstr(domains, G_LOG_DOMAIN));
#endif
}

static void on_log(enum afork_log_topic topic, const char *message, G_GNUC_UNUSED void *data)
{
    const char *name = afork_log_topic_name(topic);
    gboolean named = afork_log_topics(g_getenv("AFORK_DEBUG")) & topic;

    g_log_structured(G_LOG_DOMAIN, named ? G_LOG_LEVEL_MESSAGE : G_LOG_LEVEL_DEBUG, "AFORK_TOPIC",
                     name, "MESSAGE", "%s: %s", name, message);
}

void gafork__log_core(struct afork_context *core)
{
    unsigned topics = shows_debug_messages() ? afork_log_topics("all") : 0;

    afork_context_set_log(core, topics, on_log, NULL);
}

void gafork__log_warning(const char *message)
{
    g_log_structured(G_LOG_DOMAIN, G_LOG_LEVEL_MESSAGE, "AFORK_TOPIC", "warning", "MESSAGE", "%s",
                     message);
}
