/* SPDX-License-Identifier: MIT
 *
 * Limits on kernels that cannot do what is asked for: an error or a warning, as the user wants it,
 * never silence. A filter of system calls hands those that matter to a thread of this program,
 * which answers as such a kernel does.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "limits-lib.h"

enum { LANDLOCK_CREATE_RULESET = 444, ASK_VERSION = 1 };

/* The kernel that is played; set by each case before anything runs. */
static gint landlock_version; /* 0: the true one; a negative errno: none */
static gint has_no_filters;

static const char *const no_paths[] = {NULL};

#define CAUGHT(number)                                                                             \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),                                             \
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF)

static void answer(const struct seccomp_notif *asked, struct seccomp_notif_resp *answered)
{
    int version = g_atomic_int_get(&landlock_version);

    answered->id = asked->id;
    if (asked->data.nr == LANDLOCK_CREATE_RULESET && version < 0)
        answered->error = version;
    else if (asked->data.nr == LANDLOCK_CREATE_RULESET && version &&
             asked->data.args[2] == ASK_VERSION)
        answered->val = version;
    else if (asked->data.nr == SYS_prctl && asked->data.args[0] == PR_SET_SECCOMP &&
             g_atomic_int_get(&has_no_filters))
        answered->error = -EINVAL;
    else
        answered->flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
}

/* `data`: a queue that the descriptor comes through. */
static gpointer answer_all(gpointer data)
{
    int listener = GPOINTER_TO_INT(g_async_queue_pop(data));

    for (;;) {
        struct seccomp_notif asked = {0};
        struct seccomp_notif_resp answered = {0};

        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked) < 0) {
            if (errno == EINTR || errno == ENOENT)
                continue;
            return NULL;
        }
        answer(&asked, &answered);
        ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answered); /* who asked may be gone */
    }
}

/* From now on, and for all that this process starts. */
static bool play_kernel(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        CAUGHT(LANDLOCK_CREATE_RULESET),
        CAUGHT(SYS_prctl),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = G_N_ELEMENTS(filter), .filter = filter};

    GAsyncQueue *queue = g_async_queue_new();

    /* The thread comes first, so that it is not filtered itself. */
    g_thread_unref(g_thread_new("kernel", answer_all, queue));
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return false;
    long listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
                            &program);
    if (listener < 0)
        return false;
    g_async_queue_push(queue, GINT_TO_POINTER((int)listener));
    return true;
}

struct warnings {
    unsigned calls;
    char text[1000];
};

static void on_warning(struct afork_context *context, struct afork_process *process,
                       const char *message, void *data)
{
    struct warnings *warnings = data;

    warnings->calls++;
    g_strlcat(warnings->text, message, sizeof warnings->text);
    g_strlcat(warnings->text, "\n", sizeof warnings->text);
}

static void kernel_is(struct test *t, int version, bool filters)
{
    g_atomic_int_set(&landlock_version, version);
    g_atomic_int_set(&has_no_filters, !filters);
}

/* `words`: what is told of each thing that is missing, a line each. With an error, it is the
 * first. */
static void assert_missing(struct test *t, struct afork_limits limits, const char *words)
{
    g_autofree char *first = g_strndup(words, strcspn(words, ";"));

    for (enum limits_way way = LIMITS_EXECUTED; way < LIMITS_N_WAYS; way++) {
        LIMITS_SUBJECT failed, warned;
        struct warnings warnings = {0};

        t->options.on_warning = on_warning;
        t->options.warning_data = &warnings;
        limits.unsupported = AFORK_UNSUPPORTED_ERROR;
        limits_run(t, way, &limits, "", &failed);
        g_assert_cmpint(failed.run.fd, ==, -EPERM);
        g_assert_cmpint(failed.end.cause, ==, AFORK_CAUSE_LIMITS);
        g_assert_cmpstr(failed.end.message, ==, first);
        g_assert_cmpuint(warnings.calls, ==, 0);

        limits.unsupported = AFORK_UNSUPPORTED_WARN;
        limits.nice = 19;
        limits_run(t, way, &limits, "syswrite $ch, getpriority 0, 0", &warned);
        g_assert_cmpstr(warned.output, ==, "19");
        g_assert_cmpint(warned.end.status, ==, 0);
        g_assert_cmpstr(warnings.text, ==, words);
        afork_context_close(t->context);
        t->context = NULL;
    }
}

static void no_landlock(struct test *t)
{
    struct afork_limits limits = AFORK_LIMITS_INIT;

    kernel_is(t, -ENOSYS, true);
    limits.read_paths = no_paths;
    assert_missing(t, limits,
                   "limits: read_paths: this kernel has no Landlock; it is not in force\n");
    limits.write_paths = no_paths;
    assert_missing(t, limits,
                   "limits: read_paths: this kernel has no Landlock; it is not in force\n"
                   "limits: write_paths: this kernel has no Landlock; it is not in force\n");
}

static void landlock_is_off(struct test *t)
{
    struct afork_limits limits = AFORK_LIMITS_INIT;

    kernel_is(t, -EOPNOTSUPP, true);
    limits.write_paths = no_paths;
    assert_missing(t, limits,
                   "limits: write_paths: Landlock is turned off in this kernel;"
                   " it is not in force\n");
}

static void landlock_of_linux_5_19(struct test *t)
{
    kernel_is(t, 0, true);
    if (!limits_need_landlock())
        return;
    struct afork_limits limits = AFORK_LIMITS_INIT;
    LIMITS_SUBJECT s;

    kernel_is(t, 2, true);
    limits.write_paths = no_paths;
    assert_missing(t, limits,
                   "limits: write_paths: the Landlock of this kernel does not keep files from"
                   " being truncated; the rest is in force\n");

    struct afork_limits signals = AFORK_LIMITS_INIT;
    signals.no_signals = true;
    assert_missing(t, signals,
                   "limits: no_signals: the Landlock of this kernel does not confine signals;"
                   " it is not in force\n");

    /* It is. And reading is not concerned. */
    limits.unsupported = AFORK_UNSUPPORTED_WARN;
    limits_run(t, LIMITS_FORKED, &limits, "syswrite $ch, open(my $f, '>', '/dev/null') ? 1 : 0",
               &s);
    g_assert_cmpstr(s.output, ==, "0");
    LIMITS_SUBJECT reads;
    limits.unsupported = AFORK_UNSUPPORTED_ERROR;
    limits.write_paths = NULL;
    limits.read_paths = no_paths;
    limits_run(t, LIMITS_FORKED, &limits, "syswrite $ch, open(my $f, '<', '/dev/null') ? 1 : 0",
               &reads);
    g_assert_cmpstr(reads.output, ==, "0");
}

static bool landlock_knows_networks(struct test *t)
{
    kernel_is(t, 0, true);
    if (syscall(LANDLOCK_CREATE_RULESET, NULL, 0, ASK_VERSION) >= 4)
        return true;
    g_test_skip("this Landlock knows no networks");
    return false;
}

static void no_filters(struct test *t)
{
    struct afork_limits limits = AFORK_LIMITS_INIT;

    if (!limits_need_filters() || !landlock_knows_networks(t))
        return;
    kernel_is(t, 0, false);
    limits.no_new_processes = true;
    assert_missing(t, limits,
                   "limits: no_new_processes: this kernel has no filters of system calls;"
                   " it is not in force\n");
    limits.no_network = true;
    assert_missing(t, limits,
                   "limits: no_network: this kernel has no filters of system calls;"
                   " TCP alone is refused, by Landlock\n"
                   "limits: no_new_processes: this kernel has no filters of system calls;"
                   " it is not in force\n");
}

/* Landlock refuses TCP by an error of its own; or it cannot, before Linux 6.7. */
static void network_by_landlock(struct test *t)
{
    struct afork_limits limits = AFORK_LIMITS_INIT;

    if (!landlock_knows_networks(t))
        return;
    limits.no_network = true;
    limits.unsupported = AFORK_UNSUPPORTED_WARN;
    for (int version = 3; version <= 4; version++) {
        LIMITS_SUBJECT s;
        kernel_is(t, version, false);
        limits_run(t, LIMITS_BY_TEMPLATE, &limits,
                   "socket my $s, 2, 1, 0 or die; syswrite $ch,"
                   "  bind($s, pack 'Sx14', 2) ? 1 : $! == 13 ? 0 : $!",
                   &s);
        g_assert_cmpstr(s.output, ==, version < 4 ? "1" : "0");
    }
}

static void built_without_filters(struct test *t)
{
    struct afork_limits limits = AFORK_LIMITS_INIT;

    kernel_is(t, 0, true);
    limits.no_network = true;
    assert_missing(t, limits,
                   "limits: no_network: this afork-perl was built without libseccomp;"
                   " TCP alone is refused, by Landlock\n");
}

/* What a template cannot prepare it tells once, not once for each of its forks. */
static void told_once(struct test *t)
{
    struct afork_limits limits = AFORK_LIMITS_INIT;
    struct warnings warnings = {0};

    kernel_is(t, -ENOSYS, true);
    t->options.on_warning = on_warning;
    t->options.warning_data = &warnings;
    limits.read_paths = no_paths;
    limits.unsupported = AFORK_UNSUPPORTED_WARN;
    limits.forks_only = true;
    struct afork_process *template = test_new(t);
    test_ok(afork_process_set_limits(template, &limits));
    for (int i = 0; i < 5; i++) {
        LIMITS_SUBJECT s;
        limits_run_to_end(t, test_fork(template), "CORE::exit", &s);
        g_assert_cmpint(s.end.status, ==, 0);
    }
    g_assert_cmpuint(warnings.calls, ==, 1);
    afork_process_unref(template);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (!play_kernel()) {
        g_print("1..0 # SKIP system calls cannot be answered here\n");
        return 0;
    }
    test_perl_add("/limits-kernel/no-landlock", no_landlock);
    test_perl_add("/limits-kernel/landlock-is-off", landlock_is_off);
    test_perl_add("/limits-kernel/old-landlock", landlock_of_linux_5_19);
    test_perl_add("/limits-kernel/no-filters", no_filters);
    test_perl_add("/limits-kernel/network-by-landlock", network_by_landlock);
    if (!limits_has_filters())
        test_perl_add("/limits-kernel/built-without-filters", built_without_filters);
    test_perl_add("/limits-kernel/told-once", told_once);
    return g_test_run();
}
