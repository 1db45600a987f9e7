/* SPDX-License-Identifier: MIT
 *
 * Cases for descriptor watchers and timers. Each watcher under test counts its calls and may run an
 * action in its callback.
 */
#include "loop-conformance.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util.h"

enum { SHORT_WHILE = 100 * 1000 };

/* A watcher under test. */
struct watcher {
    struct test *t;
    int fd, peer; /* a pair made by watch_socket() */
    struct afork_io *io;
    struct afork_timer *timer;
    unsigned calls, events; /* how often it was called, the last events */
    void (*action)(struct watcher *self);
    struct watcher *other, *helper;
};

static void io_cb(unsigned events, void *data)
{
    struct watcher *w = data;

    w->calls++;
    w->events = events;
    if (w->action)
        w->action(w);
}

static void timer_cb(void *data)
{
    io_cb(0, data);
}

static void io_set(struct watcher *w, unsigned events)
{
    w->t->loop->ops->io_set(w->io, events);
}

static void io_free(struct watcher *w)
{
    w->t->loop->ops->io_free(w->io);
    w->io = NULL;
    afork__close(&w->fd);
}

static void timer_set(struct watcher *w, int64_t usec)
{
    w->t->loop->ops->timer_set(w->timer, usec);
}

static void timer_free(struct watcher *w)
{
    w->t->loop->ops->timer_free(w->timer);
    w->timer = NULL;
}

static void watch(struct test *t, struct watcher *w, int fd, unsigned events)
{
    w->t = t;
    w->fd = fd;
    g_assert_cmpint(t->loop->ops->io_new(t->loop, fd, events, io_cb, w, &w->io), ==, 0);
}

/* Watches one end of a new socket pair. */
static void watch_socket(struct test *t, struct watcher *w, unsigned events)
{
    int pair[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
    w->peer = pair[1];
    watch(t, w, pair[0], events);
}

static void watch_timer(struct test *t, struct watcher *w)
{
    w->t = t;
    g_assert_cmpint(t->loop->ops->timer_new(t->loop, timer_cb, w, &w->timer), ==, 0);
}

static void poke(struct watcher *w)
{
    g_assert_cmpint(write(w->peer, "x", 1), ==, 1);
}

static void discard(struct watcher *w)
{
    if (w->io)
        io_free(w);
    if (w->peer)
        afork__close(&w->peer);
    if (w->timer)
        timer_free(w);
}

/* One turn with something to do. */
static void turn(struct test *t)
{
    t->type->turn(t->loop_self, SHORT_WHILE);
}

static void readable_again_until_read(struct test *t)
{
    struct watcher w = {0};
    char octet;

    watch_socket(t, &w, AFORK_IN);
    turn(t);
    g_assert_cmpuint(w.calls, ==, 0);
    poke(&w);
    test_wait(t, w.calls == 3);
    g_assert_cmpuint(w.events, ==, AFORK_IN);
    g_assert_cmpint(read(w.fd, &octet, 1), ==, 1);
    turn(t);
    g_assert_cmpuint(w.calls, ==, 3);
    discard(&w);
}

static void both_directions_in_one_call(struct test *t)
{
    struct watcher w = {0};

    watch_socket(t, &w, AFORK_IN | AFORK_OUT);
    test_wait(t, w.calls == 1);
    g_assert_cmpuint(w.events, ==, AFORK_OUT);
    poke(&w);
    test_wait(t, w.events == (AFORK_IN | AFORK_OUT));
    io_set(&w, AFORK_IN | AFORK_BACKGROUND);
    turn(t);
    g_assert_cmpuint(w.events, ==, AFORK_IN);
    discard(&w);
}

static void free_self(struct test *t)
{
    struct watcher w = {.action = io_free};

    watch_socket(t, &w, AFORK_IN | AFORK_OUT);
    poke(&w);
    test_wait(t, w.calls);
    turn(t);
    g_assert_cmpuint(w.calls, ==, 1);
    discard(&w);
    t->loop->ops->io_free(NULL);
}

static void free_other_action(struct watcher *self)
{
    io_free(self->other);
    self->action = NULL;
    io_set(self, 0);
}

static void free_other_that_is_ready(struct test *t)
{
    struct watcher a = {.action = free_other_action};
    struct watcher b = {.action = free_other_action, .other = &a};

    a.other = &b;
    watch_socket(t, &a, AFORK_IN);
    watch_socket(t, &b, AFORK_IN);
    poke(&a);
    poke(&b);
    test_wait(t, a.calls + b.calls);
    turn(t);
    g_assert_cmpuint(a.calls + b.calls, ==, 1);
    discard(&a);
    discard(&b);
}

/* Replaces the other watcher by one on a silent socket that gets the same number. */
static void reuse_action(struct watcher *self)
{
    struct watcher *other = self->other;
    int number = other->fd, pair[2];

    other->t->loop->ops->io_free(other->io);
    afork__close(&other->peer);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
    g_assert_cmpint(dup3(pair[0], number, O_CLOEXEC), ==, number);
    close(pair[0]);
    other->peer = pair[1];
    other->action = NULL;
    watch(other->t, other, number, AFORK_IN);
    self->action = NULL;
    io_set(self, 0);
}

static void reused_number_is_another_watcher(struct test *t)
{
    struct watcher a = {.action = reuse_action};
    struct watcher b = {.action = reuse_action, .other = &a};

    a.other = &b;
    watch_socket(t, &a, AFORK_IN);
    watch_socket(t, &b, AFORK_IN);
    poke(&a);
    poke(&b);
    test_wait(t, a.calls + b.calls);
    turn(t);
    g_assert_cmpuint(a.calls + b.calls, ==, 1);

    struct watcher *replaced = a.calls ? &b : &a;
    poke(replaced);
    test_wait(t, replaced->calls == 1);
    discard(&a);
    discard(&b);
}

static void hang_up_is_what_was_asked_for(struct test *t)
{
    const unsigned masks[] = {AFORK_IN, AFORK_OUT, AFORK_IN | AFORK_OUT,
                              AFORK_IN | AFORK_BACKGROUND};

    for (size_t i = 0; i < G_N_ELEMENTS(masks); i++) {
        struct watcher w = {0};

        watch_socket(t, &w, masks[i]);
        afork__close(&w.peer);
        test_wait(t, w.calls >= 3);
        g_assert_cmpuint(w.events, ==, masks[i] & (AFORK_IN | AFORK_OUT));
        discard(&w);
    }
}

/* A pipe reports its end as hang-up or error alone, without readable or writable. */
static void pipe_ends_are_reported(struct test *t)
{
    for (int end = 0; end < 2; end++) {
        struct watcher w = {0};
        int ends[2];

        g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
        watch(t, &w, ends[end], end == 0 ? AFORK_IN : AFORK_OUT);
        close(ends[!end]);
        test_wait(t, w.calls >= 2);
        g_assert_cmpuint(w.events, ==, end == 0 ? AFORK_IN : AFORK_OUT);
        discard(&w);
    }
}

static void off_is_off(struct test *t)
{
    const unsigned masks[] = {0, AFORK_BACKGROUND};

    for (size_t i = 0; i < G_N_ELEMENTS(masks); i++) {
        struct watcher fresh = {0}, hung = {0};

        watch_socket(t, &fresh, masks[i]);
        watch_socket(t, &hung, AFORK_IN);
        afork__close(&fresh.peer);
        afork__close(&hung.peer);
        test_wait(t, hung.calls);
        io_set(&hung, masks[i]);
        unsigned calls = hung.calls;
        test_assert_idle(t, SHORT_WHILE);
        g_assert_cmpuint(fresh.calls, ==, 0);
        g_assert_cmpuint(hung.calls, ==, calls);

        io_set(&fresh, AFORK_IN);
        io_set(&hung, AFORK_OUT);
        test_wait(t, fresh.calls && hung.calls > calls);
        discard(&fresh);
        discard(&hung);
    }
}

static void off_action(struct watcher *self)
{
    io_set(self->other, 0);
    io_set(self, 0);
}

static void switched_off_by_another_is_silent(struct test *t)
{
    struct watcher a = {.action = off_action};
    struct watcher b = {.action = off_action, .other = &a};

    a.other = &b;
    watch_socket(t, &a, AFORK_IN);
    watch_socket(t, &b, AFORK_IN);
    poke(&a);
    poke(&b);
    test_wait(t, a.calls + b.calls);
    test_assert_idle(t, SHORT_WHILE);
    g_assert_cmpuint(a.calls + b.calls, ==, 1);
    discard(&a);
    discard(&b);
}

static void flip_action(struct watcher *self)
{
    io_set(self, self->events == AFORK_IN ? AFORK_OUT : AFORK_IN);
    io_set(self, self->events == AFORK_IN ? AFORK_OUT : AFORK_IN);
}

static void update_inside_the_callback(struct test *t)
{
    struct watcher w = {.action = flip_action};

    watch_socket(t, &w, AFORK_IN);
    poke(&w);
    for (unsigned calls = 1; calls < 6; calls++) {
        test_wait(t, w.calls == calls);
        g_assert_cmpuint(w.events, ==, calls % 2 ? AFORK_IN : AFORK_OUT);
    }
    discard(&w);
}

static void all_of_many_are_served(struct test *t)
{
    enum { N = 150 };
    struct watcher w[N] = {{0}};
    unsigned served = 0;

    for (int i = 0; i < N; i++) {
        watch_socket(t, &w[i], AFORK_IN);
        poke(&w[i]);
    }
    for (int turns = 0; turns < 100 && served < N; turns++) {
        turn(t);
        served = 0;
        for (int i = 0; i < N; i++)
            served += w[i].calls > 0;
    }
    g_assert_cmpuint(served, ==, N);
    for (int i = 0; i < N; i++)
        discard(&w[i]);
}

/* Turns the loop until the other was served. */
static void nest_action(struct watcher *self)
{
    self->action = NULL;
    io_set(self, 0);
    test_wait(self->t, self->other->calls);
}

static void nested_turn_serves_others(struct test *t)
{
    struct watcher b = {.action = io_free};
    struct watcher a = {.action = nest_action, .other = &b};

    watch_socket(t, &b, AFORK_IN);
    watch_socket(t, &a, AFORK_IN);
    poke(&a);
    poke(&b);
    test_wait(t, a.calls);
    turn(t);
    g_assert_cmpuint(a.calls, ==, 1);
    g_assert_cmpuint(b.calls, ==, 1);
    discard(&a);
    discard(&b);
}

static void free_both_action(struct watcher *self)
{
    io_free(self->other);
    io_free(self);
}

static void poke_and_nest_action(struct watcher *self)
{
    poke(self->other);
    nest_action(self);
}

/* The watcher whose callback is under way is released by one that runs inside of it. */
static void free_outer_from_nested_turn(struct test *t)
{
    struct watcher a = {.action = poke_and_nest_action};
    struct watcher b = {.action = free_both_action, .other = &a};

    a.other = &b;
    watch_socket(t, &a, AFORK_IN);
    watch_socket(t, &b, AFORK_IN);
    poke(&a);
    test_wait(t, a.calls);
    turn(t);
    g_assert_cmpuint(a.calls, ==, 1);
    g_assert_cmpuint(b.calls, ==, 1);
    discard(&a);
    discard(&b);
}

/* Notes how often the other one was called by then: some loops report in an inner turn what the
 * outer one found. */
static void free_waiting_action(struct watcher *self)
{
    io_free(self->other);
    self->events = self->other->calls;
    io_set(self, 0);
}

/* The other one was found ready in the same turn, but is silent by now: in an inner turn, the
 * helper alone is ready. */
static void nest_and_lose_other_action(struct watcher *self)
{
    char octet;

    self->action = self->other->action = NULL;
    io_set(self, 0);
    g_assert_cmpint(read(self->other->fd, &octet, 1), ==, 1);
    self->helper->other = self->other;
    poke(self->helper);
    test_wait(self->t, self->helper->calls);
}

/* A watcher that waits for its callback in the outer turn is released in an inner one. */
static void free_waiting_from_nested_turn(struct test *t)
{
    struct watcher helper = {.action = free_waiting_action};
    struct watcher a = {.action = nest_and_lose_other_action, .helper = &helper};
    struct watcher b = {.action = nest_and_lose_other_action, .helper = &helper, .other = &a};

    a.other = &b;
    watch_socket(t, &helper, AFORK_IN);
    watch_socket(t, &a, AFORK_IN);
    watch_socket(t, &b, AFORK_IN);
    poke(&a);
    poke(&b);
    test_wait(t, helper.calls);
    turn(t);
    g_assert_cmpuint(helper.calls, ==, 1);
    g_assert_cmpuint(helper.other->calls, ==, helper.events); /* since it was released */
    discard(&helper);
    discard(&a);
    discard(&b);
}

static void timer_fires_once_and_not_early(struct test *t)
{
    struct watcher w = {0};

    watch_timer(t, &w);
    turn(t);
    g_assert_cmpuint(w.calls, ==, 0); /* it starts disarmed */
    int64_t start = afork__now();
    timer_set(&w, 30 * 1000);
    test_wait(t, w.calls);
    g_assert_cmpint(afork__now() - start, >=, 30 * 1000);
    test_assert_idle(t, SHORT_WHILE);
    g_assert_cmpuint(w.calls, ==, 1);
    discard(&w);
}

static void timer_zero_is_the_next_turn(struct test *t)
{
    struct watcher w = {0};

    watch_timer(t, &w);
    timer_set(&w, 0);
    g_assert_cmpuint(w.calls, ==, 0);
    turn(t);
    g_assert_cmpuint(w.calls, ==, 1);
    discard(&w);
}

static void timer_can_be_disarmed_and_replaced(struct test *t)
{
    struct watcher w = {0};

    watch_timer(t, &w);
    timer_set(&w, 0);
    timer_set(&w, -1);
    turn(t);
    g_assert_cmpuint(w.calls, ==, 0);
    timer_set(&w, INT64_MAX);
    test_assert_idle(t, SHORT_WHILE);
    g_assert_cmpuint(w.calls, ==, 0);
    timer_set(&w, 0); /* earlier */
    turn(t);
    g_assert_cmpuint(w.calls, ==, 1);
    timer_set(&w, 0);
    timer_set(&w, 60 * AFORK__USEC_PER_SEC); /* later */
    turn(t);
    g_assert_cmpuint(w.calls, ==, 1);
    discard(&w);
}

static void rearm_action(struct watcher *self)
{
    timer_set(self, 0);
}

/* A timer that arms itself without end neither nests nor starves the descriptors. */
static void timer_rearmed_in_its_callback(struct test *t)
{
    struct watcher w = {.action = rearm_action}, io = {.action = io_free};

    watch_timer(t, &w);
    timer_set(&w, 0);
    watch_socket(t, &io, AFORK_IN);
    poke(&io);
    test_wait(t, w.calls >= 5 && io.calls);
    unsigned calls = w.calls;
    turn(t);
    g_assert_cmpuint(w.calls, ==, calls + 1);
    discard(&w);
    discard(&io);
}

static void free_other_timer_action(struct watcher *self)
{
    timer_free(self->other);
    timer_free(self);
}

static void timers_freed_in_a_callback(struct test *t)
{
    struct watcher a = {.action = free_other_timer_action};
    struct watcher b = {.action = free_other_timer_action, .other = &a};

    a.other = &b;
    watch_timer(t, &a);
    watch_timer(t, &b);
    timer_set(&a, 0);
    timer_set(&b, 0);
    test_wait(t, a.calls + b.calls);
    turn(t);
    g_assert_cmpuint(a.calls + b.calls, ==, 1);
    t->loop->ops->timer_free(NULL);
}

/* Whichever of the two comes first, the other must not come any more. */
static void cross_action(struct watcher *self)
{
    if (self->timer)
        io_free(self->other);
    else
        timer_set(self->other, -1);
    self->action = NULL;
    if (self->io)
        io_set(self, 0);
}

static void timer_and_descriptor_stop_each_other(struct test *t)
{
    struct watcher a = {.action = cross_action}, b = {.action = cross_action, .other = &a};

    a.other = &b;
    watch_timer(t, &a);
    watch_socket(t, &b, AFORK_IN);
    poke(&b);
    timer_set(&a, 0);
    test_wait(t, a.calls + b.calls);
    turn(t);
    g_assert_cmpuint(a.calls + b.calls, ==, 1);
    discard(&a);
    discard(&b);
}

/* The context leaves its watchers in the loop, which is released with all that is in it. */
static void free_in_copy(struct test *t, struct afork_process *process)
{
    alarm(20);
    afork_process_unref(process);
    afork_context_close(t->context);
    t->type->free_copy(t->loop_self);
    _exit(0);
}

static void copy_leaves_the_original_alone(struct test *t)
{
    struct watcher io = {0}, timer = {0};
    struct afork_process *process = test_new(t);
    int status;

    test_wait(t, afork_process_peer_pid(process));
    watch_socket(t, &io, AFORK_IN);
    watch_timer(t, &timer);
    timer_set(&timer, 3600 * AFORK__USEC_PER_SEC);
    turn(t);
    pid_t pid = fork();
    if (!pid)
        free_in_copy(t, process);
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_cmpint(status, ==, 0);

    g_assert_cmpuint(io.calls, ==, 0);
    poke(&io);
    test_wait(t, io.calls == 2);
    close(test_run_and_unref(t, process, "hold"));
    discard(&io);
    timer_set(&timer, 0);
    test_wait(t, timer.calls == 1);
    discard(&timer);
}

static void waiting_costs_nothing(struct test *t)
{
    struct watcher io = {0}, timer = {0};

    watch_socket(t, &io, AFORK_IN);
    watch_timer(t, &timer);
    timer_set(&timer, 3600 * AFORK__USEC_PER_SEC);
    test_assert_idle(t, 2 * SHORT_WHILE);
    discard(&io);
    discard(&timer);
}

void loop_conformance_add(const struct test_loop_type *type)
{
    static const struct {
        const char *path;
        test_func *func;
    } cases[] = {
        {"/loop/io/readable-again-until-read", readable_again_until_read},
        {"/loop/io/both-directions-in-one-call", both_directions_in_one_call},
        {"/loop/io/free-self", free_self},
        {"/loop/io/free-other-that-is-ready", free_other_that_is_ready},
        {"/loop/io/reused-number-is-another-watcher", reused_number_is_another_watcher},
        {"/loop/io/hang-up-as-asked-for", hang_up_is_what_was_asked_for},
        {"/loop/io/pipe-ends", pipe_ends_are_reported},
        {"/loop/io/off-is-off", off_is_off},
        {"/loop/io/switched-off-by-another", switched_off_by_another_is_silent},
        {"/loop/io/update-inside-callback", update_inside_the_callback},
        {"/loop/io/all-of-many-served", all_of_many_are_served},
        {"/loop/nested/serves-others", nested_turn_serves_others},
        {"/loop/nested/free-outer", free_outer_from_nested_turn},
        {"/loop/nested/free-waiting", free_waiting_from_nested_turn},
        {"/loop/timer/once-and-not-early", timer_fires_once_and_not_early},
        {"/loop/timer/zero-is-next-turn", timer_zero_is_the_next_turn},
        {"/loop/timer/disarmed-and-replaced", timer_can_be_disarmed_and_replaced},
        {"/loop/timer/rearmed-in-callback", timer_rearmed_in_its_callback},
        {"/loop/timer/freed-in-callback", timers_freed_in_a_callback},
        {"/loop/timer/and-descriptor-stop-each-other", timer_and_descriptor_stop_each_other},
        {"/loop/copy/leaves-the-original-alone", copy_leaves_the_original_alone},
        {"/loop/idle/costs-nothing", waiting_costs_nothing},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
        test_add_for(type, cases[i].path, cases[i].func);
}
