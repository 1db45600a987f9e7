/* SPDX-License-Identifier: MIT
 *
 * Deadlines against a model: an array that knows which are set, and when each is due.
 */
#include <string.h>

#include "internal.h"
#include "test-lib.h"
#include "util.h"

enum { N = 300, ROUNDS = 4000, FAR_USEC = 20000, PAST_USEC = 2000 };

struct one {
    struct afork__deadline deadline;
    int64_t at; /* what the model says */
    bool set, background;
};

static struct {
    struct afork_context *context;
    struct one all[N];
    unsigned n_fired;
} model;

static unsigned check_heap(struct afork__deadline *node, struct afork__deadline **link,
                           const struct afork__deadline *parent)
{
    unsigned n = 0;

    for (; node; link = &node->sibling, node = node->sibling, n++) {
        g_assert_true(node->link == link && node->set);
        g_assert_true(!parent || parent->at <= node->at);
        n += check_heap(node->child, &node->child, node);
    }
    return n;
}

static void check(void)
{
    struct afork__deadlines *heap = &model.context->deadlines;
    unsigned n = 0, n_foreground = 0;

    for (int i = 0; i < N; i++) {
        const struct one *one = &model.all[i];
        g_assert_cmpint(one->deadline.set, ==, one->set);
        g_assert_cmpint(one->set ? one->deadline.at : 0, ==, one->set ? one->at : 0);
        n += one->set;
        n_foreground += one->set && !one->background;
    }
    g_assert_true(!heap->root || !heap->root->sibling);
    g_assert_cmpuint(check_heap(heap->root, &heap->root, NULL), ==, n);
    g_assert_cmpuint(heap->n_foreground, ==, n_foreground);
}

static void set_one(struct one *one, int64_t at)
{
    one->at = at;
    one->set = true;
    one->background = g_test_rand_bit();
    afork__deadline_set(model.context, &one->deadline, at, one->background);
}

static void clear_one(struct one *one)
{
    one->set = false;
    afork__deadline_clear(model.context, &one->deadline);
}

static struct one *any(void)
{
    return &model.all[g_test_rand_int_range(0, N)];
}

/* Many at the same time, some of them over, some long to come. */
static int64_t some_time(void)
{
    int64_t now = afork__now();

    switch (g_test_rand_int_range(0, 8)) {
    case 0:
        return INT64_MAX;
    case 1:
        return now;
    case 2:
        return now / 5000 * 5000 + 5000;
    default:
        return now + g_test_rand_int_range(-PAST_USEC, FAR_USEC);
    }
}

/* Each comes once, not too early, and before all that are due later; and may change others. */
static void fired(struct afork__deadline *deadline)
{
    struct one *one = (struct one *)(void *)((char *)deadline - offsetof(struct one, deadline));

    g_assert_true(one->set && !deadline->set);
    g_assert_cmpint(one->at, <=, afork__now());
    one->set = false;
    model.n_fired++;
    for (int i = 0; i < N; i++)
        g_assert_true(!model.all[i].set || model.all[i].at >= one->at);
    if (g_test_rand_int_range(0, 4) == 0)
        set_one(one, some_time());
    if (g_test_rand_int_range(0, 4) == 0)
        clear_one(any());
    if (g_test_rand_int_range(0, 4) == 0)
        set_one(any(), some_time());
}

static void start(struct test *t)
{
    memset(&model, 0, sizeof model);
    model.context = test_context(t);
    test_ok(afork__deadlines_prepare(model.context));
    for (int i = 0; i < N; i++)
        model.all[i].deadline.cb = fired;
}

static void heap_is_a_model(struct test *t)
{
    start(t);
    for (int i = 0; i < ROUNDS; i++) {
        int what = g_test_rand_int_range(0, 10);
        if (what < 6)
            set_one(any(), some_time());
        else if (what < 9)
            clear_one(any());
        else
            t->type->turn(t->loop_self, 0);
        check();
    }
    g_assert_cmpuint(model.n_fired, >, 50);
    for (int i = 0; i < N; i++)
        if (model.all[i].at == INT64_MAX || g_test_rand_bit())
            clear_one(&model.all[i]);
    check();
}

/* All that is set comes, also what is moved to an earlier time, or a later one. */
static unsigned n_late;

static void late(struct afork__deadline *deadline)
{
    struct one *one = (struct one *)(void *)((char *)deadline - offsetof(struct one, deadline));

    g_assert_cmpint(one->at, <=, afork__now());
    one->set = false;
    n_late++;
}

static void all_come(struct test *t)
{
    n_late = 0;
    start(t);
    for (int i = 0; i < N; i++) {
        model.all[i].deadline.cb = late;
        set_one(&model.all[i], some_time());
    }
    for (int i = 0; i < N; i++)
        set_one(&model.all[i], afork__now() + g_test_rand_int_range(0, FAR_USEC));
    test_wait(t, n_late == N);
    check();
    test_assert_idle(t, 100 * 1000);
    g_assert_cmpuint(n_late, ==, N);
}

/* One that is taken back costs at most one turn more. */
static void cleared_is_idle(struct test *t)
{
    start(t);
    for (int i = 0; i < N; i++)
        set_one(&model.all[i], afork__now() + FAR_USEC);
    for (int i = 0; i < N; i++)
        clear_one(&model.all[i]);
    test_turn_for(t, 2 * FAR_USEC);
    test_assert_idle(t, 200 * 1000);
    g_assert_cmpuint(model.n_fired, ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_add("/deadline/model", heap_is_a_model);
    test_add("/deadline/all-come", all_come);
    test_add("/deadline/cleared", cleared_is_idle);
    return g_test_run();
}
