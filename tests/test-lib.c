/* SPDX-License-Identifier: MIT
 *
 * The fixture and helpers of test-lib.h.
 *
 * Processes of a test are found by a mark in their environment, which survives fork and the death
 * of parents, or, where perl has overwritten that with its title, by the host's pid in the title;
 * children of this process, zombies too, by what the kernel lists.
 */
#include "test-lib.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "util.h"

static pid_t program;

__attribute__((constructor)) static void note_program(void)
{
    program = getpid();
}

/* The sanitizer asks this when a process ends. What servers that were forked from the program have
 * is not theirs to release. */
int __lsan_is_turned_off(void);
__attribute__((visibility("default"))) int __lsan_is_turned_off(void)
{
    return getpid() != program;
}

#define DEADLINE (60 * G_USEC_PER_SEC)
#define MARK "AFORK_TEST_MARK"

afork_launch_cb *test_launcher;
pid_t test_spawner;
void (*test_copied)(void);

struct test_case {
    test_func *func;
    const struct test_loop_type *type;
    void *data;
};

/* Whether the file /proc/PID/NAME holds `text`: at its start, or anywhere. */
static bool proc_file_holds(const char *pid, const char *name, const char *text, size_t len,
                            bool at_start)
{
    g_autofree char *path = g_build_filename("/proc", pid, name, NULL);
    g_autofree char *content = NULL;
    gsize size;

    if (!g_file_get_contents(path, &content, &size, NULL))
        return false;
    if (at_start)
        return size >= len && !memcmp(content, text, len);
    return memmem(content, size, text, len) != NULL;
}

static GSList *pids_marked(const char *mark)
{
    GSList *found = NULL;
    g_autoptr(GDir) proc = g_dir_open("/proc", 0, NULL);
    g_autofree char *line = g_strdup_printf(MARK "=%s", mark);
    g_autofree char *title = g_strdup_printf("%d ", getpid());

    for (const char *name; (name = g_dir_read_name(proc));)
        if (g_ascii_isdigit(*name) && atoi(name) != test_spawner &&
            (proc_file_holds(name, "environ", line, strlen(line) + 1, false) ||
             proc_file_holds(name, "cmdline", title, strlen(title), true)))
            found = g_slist_prepend(found, GINT_TO_POINTER(atoi(name)));
    return found;
}

static GSList *pids_of_children(const char *mark)
{
    GSList *found = NULL;
    g_autoptr(GDir) tasks = g_dir_open("/proc/self/task", 0, NULL);

    for (const char *name; (name = g_dir_read_name(tasks));) {
        g_autofree char *path = g_build_filename("/proc/self/task", name, "children", NULL);
        g_autofree char *text = NULL;
        if (!g_file_get_contents(path, &text, NULL, NULL))
            continue;
        g_auto(GStrv) words = g_strsplit(text, " ", -1);
        for (char **word = words; *word; word++)
            if (**word && atoi(*word) != test_spawner)
                found = g_slist_prepend(found, GINT_TO_POINTER(atoi(*word)));
    }
    return found;
}

bool test_has_sanitizers(void)
{
    const char *flags = g_getenv("AFORK_TEST_SANITIZERS");

    return flags && *flags;
}

unsigned test_count_fds(void)
{
    g_autoptr(GDir) dir = g_dir_open("/proc/self/fd", 0, NULL);
    unsigned n = 0;

    while (g_dir_read_name(dir))
        n++;
    return n - 1; /* without that of the folder itself */
}

static void print_fds(void)
{
    g_autoptr(GDir) dir = g_dir_open("/proc/self/fd", 0, NULL);

    for (const char *name; (name = g_dir_read_name(dir));) {
        g_autofree char *path = g_build_filename("/proc/self/fd", name, NULL);
        g_autofree char *target = g_file_read_link(path, NULL);
        g_test_message("descriptor %s: %s", name, target ? target : "?");
    }
}

/* Ends what a failed test left, so that the next one starts clean, and tells what it was. */
static void report_processes(GSList *pids)
{
    for (GSList *item = pids; item; item = item->next) {
        int pid = GPOINTER_TO_INT(item->data);
        g_autofree char *path = g_strdup_printf("/proc/%d/cmdline", pid);
        g_autofree char *text = NULL;
        gsize len = 0;
        g_file_get_contents(path, &text, &len, NULL);
        for (gsize i = 0; i + 1 < len; i++)
            text[i] = text[i] ? text[i] : ' ';
        g_test_message("process %d left behind, state %c: %s", pid, test_process_state(pid),
                       text ? text : "");
        kill(pid, SIGKILL);
    }
}

/* Children that ended are reaped by the library when it is called next. */
static void reap_by_library(void)
{
    struct afork_poll *poll;
    struct afork_context *context;

    test_ok(afork_poll_new(&poll));
    test_ok(afork_context_new(afork_poll_loop(poll), NULL, &context));
    afork_context_close(context);
    afork_poll_free(poll);
}

static bool wait_for_none(GSList *(*list)(const char *), const char *mark)
{
    gint64 deadline = g_get_monotonic_time() + DEADLINE / 4;

    for (;;) {
        g_autoptr(GSList) pids = list(mark);
        if (!pids)
            return true;
        if (g_get_monotonic_time() > deadline) {
            report_processes(pids);
            return false;
        }
        g_usleep(1000); /* a process that ends elsewhere cannot be waited for by the loop */
        reap_by_library();
    }
}

static void run_case(gconstpointer data)
{
    static unsigned serial;
    const struct test_case *c = data;
    struct test test = {.type = c->type, .options = AFORK_CONTEXT_OPTIONS_INIT, .data = c->data};
    g_autofree char *mark = g_strdup_printf("%d-%u", getpid(), serial++);
    g_autofree char *line = g_strdup_printf(MARK "=%s", mark);

    g_main_context_default(); /* has a descriptor, which stays once it was made */
    unsigned fds = test_count_fds();

    test.environment[0] = line;
    test.options.environment_changes = test.environment;
    test.options.perl = test_built_file("fake-server");
    if (c->type) {
        test.loop_self = c->type->new ();
        test.loop = c->type->get(test.loop_self);
    }
    c->func(&test);
    afork_context_close(test.context);
    if (c->type)
        c->type->free(test.loop_self);

    if (test_count_fds() != fds)
        print_fds();
    g_assert_cmpuint(test_count_fds(), ==, fds);
    g_assert_true(wait_for_none(pids_of_children, mark));
    g_assert_true(wait_for_none(pids_marked, mark));
}

static void free_case(gpointer data)
{
    g_free(((struct test_case *)data)->data);
    g_free(data);
}

void test_add_data(const struct test_loop_type *type, const char *path, test_func *func, void *data)
{
    struct test_case *c = g_new(struct test_case, 1);
    g_autofree char *full = type ? g_strdup_printf("%s/%s", path, type->name) : g_strdup(path);

    *c = (struct test_case){.func = func, .type = type, .data = data};
    g_test_add_data_func_full(full, c, run_case, free_case);
}

void test_add_for(const struct test_loop_type *type, const char *path, test_func *func)
{
    test_add_data(type, path, func, NULL);
}

void test_add(const char *path, test_func *func)
{
    for (const struct test_loop_type *const *type = test_loop_types; *type; type++)
        test_add_for(*type, path, func);
}

struct afork_context *test_context(struct test *t)
{
    if (!t->context) {
        test_ok(afork_context_new(t->loop, &t->options, &t->context));
        if (test_launcher)
            test_ok(afork_context_set_launcher(t->context, test_launcher, NULL));
    }
    return t->context;
}

struct afork_context *test_other_context(struct test *t)
{
    struct afork_context *context;

    test_ok(afork_context_new(t->loop, &t->options, &context));
    return context;
}

void test_fake_start(struct test *t, const char *behaviour)
{
    static char line[256];

    g_assert_null(t->context);
    g_snprintf(line, sizeof line, "AFORK_FAKE=%s", behaviour);
    t->environment[1] = line;
}

struct afork_process *test_new(struct test *t)
{
    struct afork_process *process;

    test_ok(afork_process_new(test_context(t), &process));
    return process;
}

struct afork_process *test_new_exec(struct test *t)
{
    struct afork_process *process;

    test_ok(afork_process_new_exec(test_context(t), &process));
    return process;
}

struct afork_process *test_fork(struct afork_process *process)
{
    struct afork_process *child;

    test_ok(afork_process_fork(process, &child));
    return child;
}

const char *test_built_file(const char *name)
{
    /* Absolute, since a server may be started in another directory. */
    char *path = g_canonicalize_filename(g_test_get_filename(G_TEST_BUILT, name, NULL), NULL);

    g_test_queue_free(path);
    return path;
}

gint64 test_deadline_new(void)
{
    return g_get_monotonic_time() + DEADLINE;
}

void test_turn_before(struct test *t, gint64 deadline, const char *what)
{
    if (g_get_monotonic_time() > deadline)
        g_error("%s did not come true in time", what);
    /* Short, for conditions that no watcher of this loop tells. */
    t->type->turn(t->loop_self, 10 * 1000);
}

gint64 test_own_time(void)
{
    gint64 now = g_get_monotonic_time();
    guint64 run, waited = 0; /* nanoseconds */
    g_autofree char *text = NULL;

    if (g_file_get_contents("/proc/thread-self/schedstat", &text, NULL, NULL))
        sscanf(text, "%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT, &run, &waited);
    return now - (gint64)(waited / 1000);
}

static gint64 cpu_time(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return used.tv_sec * G_USEC_PER_SEC + used.tv_nsec / 1000;
}

struct test_load test_turn_for(struct test *t, gint64 usec)
{
    gint64 cpu = cpu_time(), end = g_get_monotonic_time() + usec, now;
    struct test_load load = {0};

    while ((now = g_get_monotonic_time()) < end) {
        t->type->turn(t->loop_self, end - now);
        load.turns++;
    }
    load.cpu_usec = cpu_time() - cpu;
    return load;
}

void test_assert_idle(struct test *t, gint64 usec)
{
    struct test_load load = test_turn_for(t, usec);

    g_assert_cmpuint(load.turns, <, 5 + 5 * usec / G_USEC_PER_SEC);
    g_assert_cmpint(load.cpu_usec, <, usec / 5);
}

static void copy_tail(char to[4097], const struct afork_exit *exit)
{
    g_assert_cmpuint(strlen(exit->stderr_tail), ==, exit->stderr_tail_len);
    g_assert_cmpuint(exit->stderr_tail_len, <=, 4096);
    strcpy(to, exit->stderr_tail);
}

void test_on_run(struct afork_process *process, int fd, const struct afork_exit *failure, void *run)
{
    struct test_run *r = run;

    r->calls++;
    r->fd = fd;
    r->pid = afork_process_peer_pid(process);
    g_assert_true((fd >= 0) == !failure);
    if (!failure)
        return;
    r->cause = failure->cause;
    g_strlcpy(r->message, failure->message, sizeof r->message);
    r->wait_status = failure->wait_status;
    copy_tail(r->stderr_tail, failure);
}

void test_on_exit(struct afork_process *process, const struct afork_exit *exit, void *result)
{
    struct test_exit *e = result;

    e->calls++;
    e->cause = exit->cause;
    g_strlcpy(e->message, exit->message, sizeof e->message);
    e->wait_status = exit->wait_status;
    e->status = exit->status;
    e->has_usage = exit->has_usage;
    copy_tail(e->stderr_tail, exit);
}

int test_run_function(struct test *t, struct afork_process *process, const char *function)
{
    struct test_run run = {0};

    test_ok(afork_process_run(process, function, test_on_run, &run));
    test_wait(t, run.calls);
    if (run.fd < 0)
        g_test_message("%s: %s: %s", function, g_strerror(-run.fd), run.message);
    g_assert_cmpint(run.fd, >=, 0);
    return run.fd;
}

int test_hand_over(struct test *t, struct afork_process *process)
{
    struct test_run run = {0};

    test_ok(afork_process_to_fd(process, test_on_run, &run));
    test_wait(t, run.calls);
    g_assert_cmpint(run.fd, >=, 0);
    afork_process_unref(process);
    return run.fd;
}

int test_read_number(struct test *t, int fd)
{
    char digits[16] = "";

    for (gsize i = 0; i < sizeof digits - 1; i++) {
        test_read(t, fd, &digits[i], 1);
        if (digits[i] == '\n')
            break;
    }
    return atoi(digits);
}

int test_run_and_unref(struct test *t, struct afork_process *process, const char *function)
{
    int fd = test_run_function(t, process, function);

    afork_process_unref(process);
    return fd;
}

/* A transfer under way: the loop calls back, `done` is what the caller waits for. */
struct transfer {
    int fd;
    GByteArray *in;
    gsize want; /* octets to read; 0: to the end of the file */
    const char *out;
    gsize out_len;
    bool done;
};

static void on_readable(unsigned events, void *data)
{
    struct transfer *x = data;
    guint8 buffer[65536];
    gsize room = x->want ? MIN(x->want - x->in->len, sizeof buffer) : sizeof buffer;

    ssize_t got = room ? read(x->fd, buffer, room) : 0;
    if (got < 0 && errno == EAGAIN)
        return;
    /* A peer that was killed with unread input resets the connection: that is its end, too. */
    if (got < 0)
        g_assert_cmpint(errno, ==, ECONNRESET);
    if (got > 0)
        g_byte_array_append(x->in, buffer, (guint)got);
    x->done = got <= 0 || (x->want && x->in->len == x->want);
}

static void on_writable(unsigned events, void *data)
{
    struct transfer *x = data;

    ssize_t put = write(x->fd, x->out, x->out_len);
    if (put < 0 && errno == EAGAIN)
        return;
    g_assert_cmpint(put, >=, 0);
    x->out += put;
    x->out_len -= (gsize)put;
    x->done = !x->out_len;
}

static void transfer(struct test *t, struct transfer *x, unsigned events, afork_io_cb *cb)
{
    struct afork_io *io;

    test_ok(t->loop->ops->io_new(t->loop, x->fd, events, cb, x, &io));
    test_wait(t, x->done);
    t->loop->ops->io_free(io);
}

char *test_slurp(struct test *t, int fd, gsize *len)
{
    struct transfer x = {.fd = fd, .in = g_byte_array_new()};

    transfer(t, &x, AFORK_IN, on_readable);
    close(fd);
    if (len)
        *len = x.in->len;
    g_byte_array_append(x.in, (const guint8 *)"", 1);
    return (char *)g_byte_array_free(x.in, FALSE);
}

void test_write(struct test *t, int fd, const void *data, gsize len)
{
    struct transfer x = {.fd = fd, .out = data, .out_len = len};

    transfer(t, &x, AFORK_OUT, on_writable);
}

void test_read(struct test *t, int fd, void *data, gsize len)
{
    struct transfer x = {.fd = fd, .in = g_byte_array_new(), .want = len};

    transfer(t, &x, AFORK_IN, on_readable);
    g_assert_cmpuint(x.in->len, ==, len);
    memcpy(data, x.in->data, len);
    g_byte_array_free(x.in, TRUE);
}

char *test_output(struct test *t, struct afork_process *process, const char *function)
{
    return test_slurp(t, test_run_and_unref(t, process, function), NULL);
}

char test_process_state(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/stat", pid);
    g_autofree char *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return 0;
    const char *end = strrchr(text, ')');
    return end && end[1] ? end[2] : 0;
}

bool test_is_running(pid_t pid)
{
    char state = test_process_state(pid);
    return state && state != 'Z' && state != 'X';
}
