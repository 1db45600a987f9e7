/* SPDX-License-Identifier: MIT
 *
 * Deadlines: a pairing heap per context, and one timerfd that the loop watches. A descriptor,
 * unlike a timer of the loop, can be watched in the background: a worker that is to be stopped in
 * ten seconds must not keep a program from ending.
 */
#include "config.h"

#include "deadline.h"

#include <sys/timerfd.h>

#include "internal.h"
#include "spawn.h"
#include "util.h"

/* Due deadlines that one dispatch serves; the rest wait for the next turn. */
enum { SHARE = 64 };

static struct afork__deadline *meld(struct afork__deadline *a, struct afork__deadline *b)
{
    if (!a || !b)
        return a ? a : b;
    if (b->at < a->at) {
        struct afork__deadline *c = a;
        a = b;
        b = c;
    }
    b->sibling = a->child;
    if (b->sibling)
        b->sibling->link = &b->sibling;
    b->link = &a->child;
    a->child = b;
    return a;
}

/* Joins a list of siblings: pairs from the front, then those into one. Without recursion, since the
 * list may be as long as the heap. */
static struct afork__deadline *meld_siblings(struct afork__deadline *first)
{
    struct afork__deadline *pairs = NULL, *root = NULL;

    while (first) {
        struct afork__deadline *second = first->sibling;
        struct afork__deadline *rest = second ? second->sibling : NULL;
        first->sibling = NULL;
        if (second)
            second->sibling = NULL;
        first = meld(first, second);
        first->sibling = pairs;
        pairs = first;
        first = rest;
    }
    while (pairs) {
        struct afork__deadline *rest = pairs->sibling;
        pairs->sibling = NULL;
        root = meld(root, pairs);
        pairs = rest;
    }
    return root;
}

static void set_root(struct afork__deadlines *heap, struct afork__deadline *root)
{
    heap->root = root;
    if (!root)
        return;
    root->sibling = NULL;
    root->link = &heap->root;
}

static void take_out(struct afork__deadlines *heap, struct afork__deadline *deadline)
{
    struct afork__deadline *children = meld_siblings(deadline->child);

    deadline->child = NULL;
    if (heap->root == deadline) {
        set_root(heap, children);
    } else {
        *deadline->link = deadline->sibling;
        if (deadline->sibling)
            deadline->sibling->link = deadline->link;
        set_root(heap, meld(heap->root, children));
    }
    deadline->sibling = NULL;
    deadline->set = false;
    if (!deadline->background)
        heap->n_foreground--;
}

/* A timer that fires too early costs a turn of the loop, one that is moved for each call of a busy
 * pool a system call each: so it is only ever made earlier here. */
static void arm(struct afork__deadlines *heap, int64_t now)
{
    int64_t at = heap->root ? heap->root->at : INT64_MAX;

    if (at >= heap->armed_at)
        return;
    heap->armed_at = at;
    int64_t wait = at > now ? at - now : 0;
    struct itimerspec time = {.it_value = {.tv_sec = wait / AFORK__USEC_PER_SEC,
                                           .tv_nsec = wait % AFORK__USEC_PER_SEC * 1000 + 1}};
    timerfd_settime(heap->fd, 0, &time, NULL);
}

static void watch(struct afork_context *context)
{
    const struct afork__deadlines *heap = &context->deadlines;
    unsigned background = heap->n_foreground ? 0 : AFORK_BACKGROUND;

    context->loop->ops->io_set(heap->io, AFORK_IN | background);
}

static void expired(unsigned events, void *data)
{
    struct afork_context *context = data;
    struct afork__deadlines *heap = &context->deadlines;
    uint64_t times;

    (void)events;
    if (afork__context_is_over(context))
        return;
    if (read(heap->fd, &times, sizeof times) < 0)
        return;
    heap->armed_at = INT64_MAX;
    int64_t now = afork__now();
    afork__context_ref(context);
    for (int share = SHARE; share && heap->root && heap->root->at <= now; share--) {
        struct afork__deadline *deadline = heap->root;
        take_out(heap, deadline);
        arm(heap, now); /* for the others, if the callback turns the loop */
        deadline->cb(deadline);
    }
    if (!context->closed) {
        arm(heap, now);
        watch(context);
    }
    afork__context_unref(context);
}

int afork__deadlines_prepare(struct afork_context *context)
{
    struct afork__deadlines *heap = &context->deadlines;

    if (heap->io)
        return 0;
    AFORK__AUTO_FD fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (fd < 0)
        return -errno;
    int result = afork__lift(&fd);
    if (result < 0)
        return result;
    result = context->loop->ops->io_new(context->loop, fd, AFORK_IN | AFORK_BACKGROUND, expired,
                                        context, &heap->io);
    if (result < 0)
        return result;
    heap->fd = afork__steal_fd(&fd);
    heap->armed_at = INT64_MAX;
    return 0;
}

void afork__deadline_set(struct afork_context *context, struct afork__deadline *deadline,
                         int64_t at, bool background)
{
    struct afork__deadlines *heap = &context->deadlines;

    if (deadline->set)
        take_out(heap, deadline);
    deadline->at = at;
    deadline->background = background;
    deadline->set = true;
    if (!background)
        heap->n_foreground++;
    set_root(heap, meld(heap->root, deadline));
    arm(heap, afork__now());
    watch(context);
}

void afork__deadline_clear(struct afork_context *context, struct afork__deadline *deadline)
{
    if (!deadline->set)
        return;
    take_out(&context->deadlines, deadline);
    if (!afork__context_is_over(context))
        watch(context);
}

void afork__deadlines_close(struct afork_context *context)
{
    struct afork__deadlines *heap = &context->deadlines;

    if (!heap->io)
        return;
    if (!afork__context_is_copy(context))
        context->loop->ops->io_free(heap->io);
    heap->io = NULL;
    afork__close(&heap->fd);
}

void afork__turn_due(struct afork_context *context, struct afork__turn *turn)
{
    if (turn->due)
        return;
    turn->due = true;
    TAILQ_INSERT_TAIL(&context->turns, turn, link);
    afork__notice_set_timer(context);
}

void afork__turn_clear(struct afork_context *context, struct afork__turn *turn)
{
    if (!turn->due)
        return;
    turn->due = false;
    TAILQ_REMOVE(&context->turns, turn, link);
}

void afork__turns_run(struct afork_context *context)
{
    struct afork__turn *turn;

    for (int share = SHARE; share && (turn = TAILQ_FIRST(&context->turns)); share--) {
        afork__turn_clear(context, turn);
        if (!TAILQ_EMPTY(&context->turns)) /* those come, too, if it turns the loop */
            afork__notice_set_timer(context);
        turn->cb(turn);
    }
}
