/* SPDX-License-Identifier: MIT
 *
 * Spares: children of a template that are forked before anybody asks for them. Each is an ordinary
 * forked process whose handle nobody has yet. Knows nothing of what processes do later.
 *
 * A template is filled up a moment after its last command or after a spare was taken, so that what
 * is asked for at once comes first, and a template that is being prepared is not forked in vain.
 * Under steady demand that moment never comes: then each one taken is replaced at once.
 */
#include "config.h"

#include "spares.h"

#include <stdlib.h>

#include "internal.h"
#include "util.h"

enum {
    FILL_USEC = 250,   /* the moment */
    LOST_IN_A_ROW = 3, /* so many that ended unused are replaced as if they had been taken; then */
    RETRY_USEC = 1000000 /* only if somebody asks for a process, and so much later */
};

struct afork__spares {
    LIST_ENTRY(afork__spares) link;
    struct afork_process *template;
    TAILQ_HEAD(, afork_process) ready; /* a user's reference each */
    unsigned wanted, n;
    unsigned lost; /* in a row */
    int64_t lost_at;
    int64_t fill_at; /* when the timer forks; 0: it does not */
    bool urgent;     /* one only, since the host has other things to do */
    bool of_context; /* the template is the default one: its numbers are the context's at last */
    bool stopped;    /* the template cannot be forked any more */
    struct afork_spare_stats stats;
};

static void schedule(struct afork__spares *spares, int64_t usec)
{
    spares->fill_at = afork__now() + usec;
    afork__notice_set_timer(spares->template->context);
}

static bool is_short(const struct afork__spares *spares)
{
    return spares && spares->n < spares->wanted;
}

/* Takes it out of the list; its reference is the caller's. */
static void remove_spare(struct afork__spares *spares, struct afork_process *spare)
{
    TAILQ_REMOVE(&spares->ready, spare, spare_link);
    spares->n--;
    spare->spare_of = NULL;
}

/* Lets go of more than `n`. */
static void shrink(struct afork__spares *spares, unsigned n)
{
    while (spares->n > n) {
        struct afork_process *spare = TAILQ_FIRST(&spares->ready);
        remove_spare(spares, spare);
        afork_process_unref(spare);
    }
}

static struct afork__spares *spares_new(struct afork_process *template)
{
    struct afork__spares *spares = calloc(1, sizeof *spares);

    if (!spares)
        return NULL;
    spares->template = template;
    spares->of_context = template == template->context->template;
    TAILQ_INIT(&spares->ready);
    LIST_INSERT_HEAD(&template->context->spares, spares, link);
    template->spares = spares;
    return spares;
}

int afork__spares_set(struct afork_process *template, unsigned n)
{
    struct afork__spares *spares = template->spares;

    if (!spares && n)
        spares = spares_new(template);
    if (!spares)
        return n ? -ENOMEM : 0;
    spares->wanted = n;
    spares->lost = 0;
    shrink(spares, n);
    if (spares->n < n)
        schedule(spares, FILL_USEC);
    return 0;
}

/* One that was killed has closed its socket, also if nobody has reported it yet. */
static bool is_alive(const struct afork_process *spare)
{
    return !spare->ended && spare->fd >= 0 && !afork__process_is_deserted(spare);
}

/* Somebody asked for a process. */
static void replace(struct afork__spares *spares)
{
    if (spares->lost >= LOST_IN_A_ROW && afork__now() - spares->lost_at < RETRY_USEC)
        return;
    spares->urgent = spares->n < (spares->wanted + 1) / 2;
    if (spares->urgent || (is_short(spares) && !spares->fill_at))
        schedule(spares, spares->urgent ? 0 : FILL_USEC);
}

struct afork_process *afork__spares_take(struct afork_process *template)
{
    struct afork__spares *spares = template->spares;
    struct afork_process *spare = NULL;

    if (!spares || !spares->wanted)
        return NULL;
    while (!spare && (spare = TAILQ_FIRST(&spares->ready))) {
        remove_spare(spares, spare);
        if (is_alive(spare)) {
            spares->lost = 0;
        } else {
            afork_process_unref(spare);
            spare = NULL;
            spares->stats.lost++;
        }
    }
    if (spare) {
        afork__log(template->context, SPAWN, AFORK__LOG_NAME " is a spare of " AFORK__LOG_NAME,
                   AFORK__LOG_NAME_OF(spare), AFORK__LOG_NAME_OF(template));
        spare->unused = false;
        spares->stats.hits++;
    } else {
        spares->stats.misses++;
    }
    replace(spares);
    return spare;
}

void afork__spares_renew(struct afork_process *template)
{
    struct afork__spares *spares = template->spares;

    if (!spares || !spares->wanted)
        return;
    spares->stats.renewals += spares->n;
    spares->lost = 0;
    shrink(spares, 0);
    schedule(spares, FILL_USEC);
}

int afork__spares_give_up(struct afork_process *template)
{
    struct afork_process *spare;
    size_t n = 0;

    if (!template->spares || !template->n_children)
        return 0;
    uint64_t *identities = calloc(template->n_children, sizeof *identities);
    if (!identities)
        return -ENOMEM;
    TAILQ_FOREACH (spare, &template->context->processes, link)
        if (spare->parent == template && spare->unused)
            identities[n++] = spare->identity;
    if (!n) {
        free(identities);
        return 0;
    }
    int result = afork__queue_command(&template->queue, AFORK__GIVE_UP, identities,
                                      n * sizeof *identities);
    free(identities);
    return result;
}

void afork__spares_stop(struct afork_process *template)
{
    struct afork__spares *spares = template->spares;

    if (!spares || spares->stopped)
        return;
    shrink(spares, 0);
    spares->stopped = true;
    spares->wanted = 0;
    spares->fill_at = 0;
    LIST_REMOVE(spares, link);
    if (!spares->of_context)
        return;
    afork__spares_count(template, &template->context->spare_stats);
    spares->stats = (struct afork_spare_stats){0};
}

void afork__spares_free(struct afork_process *template)
{
    free(template->spares);
}

void afork__spares_lost(struct afork_process *spare)
{
    struct afork__spares *spares = spare->spare_of;

    remove_spare(spares, spare);
    afork_process_unref(spare);
    spares->stats.lost++;
    spares->lost_at = afork__now();
    if (++spares->lost < LOST_IN_A_ROW)
        schedule(spares, FILL_USEC);
}

/* Forks one. Sending may release memory of the user's, whose function may call the library. */
static bool add_spare(struct afork_process *template)
{
    struct afork_process *spare;

    if (afork__process_fork(template, AFORK__FORK_SPARE, &spare) < 0)
        return false;
    struct afork__spares *spares = template->spares;
    if (!spares || spares->n >= spares->wanted) {
        afork_process_unref(spare);
        return false;
    }
    spare->spare_of = spares;
    TAILQ_INSERT_TAIL(&spares->ready, spare, spare_link);
    spares->n++;
    return true;
}

static void fill(struct afork_process *template)
{
    bool urgent = template->spares->urgent;

    afork__process_ref_memory(template);
    template->spares->fill_at = 0;
    template->spares->urgent = false;
    while (is_short(template->spares) && add_spare(template) && !urgent)
        ;
    if (urgent && is_short(template->spares))
        schedule(template->spares, FILL_USEC);
    afork__process_unref_memory(template);
}

void afork__spares_fill(struct afork_context *context)
{
    struct afork__spares *spares;
    int64_t now = afork__now();

again: /* filling may change the list */
    LIST_FOREACH (spares, &context->spares, link) {
        if (spares->fill_at && spares->fill_at <= now) {
            fill(spares->template);
            goto again;
        }
    }
}

int64_t afork__spares_wait(const struct afork_context *context)
{
    const struct afork__spares *spares;
    int64_t first = 0;

    LIST_FOREACH (spares, &context->spares, link)
        if (spares->fill_at && (!first || spares->fill_at < first))
            first = spares->fill_at;
    if (!first)
        return -1;
    int64_t wait = first - afork__now();
    return wait > 0 ? wait : 0;
}

void afork__spares_count(const struct afork_process *template, struct afork_spare_stats *stats)
{
    const struct afork__spares *spares = template->spares;

    if (!spares)
        return;
    stats->ready = spares->n;
    stats->hits += spares->stats.hits;
    stats->misses += spares->stats.misses;
    stats->renewals += spares->stats.renewals;
    stats->lost += spares->stats.lost;
}
