/* SPDX-License-Identifier: MIT
 *
 * Command `L`: what a process may use and do. A plan holds all that can be looked up and prepared
 * beforehand. One for the process itself is carried out at once; one for its forks is kept, and
 * each of them carries it out first of all.
 *
 * Limits only become narrower. The kernel sees to that for what is passed on; here it is seen to
 * for what is asked for, since root may do anything, and a wish that is not met should be told.
 */
#include "exit.h"
#include "filter.h"
#include "landlock.h"
#include "server.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "limit-set.h"
#include "util.h"

enum {
    RULESETS_MAX = 16, /* the kernel does not take more */
    FREE_FDS = 4,      /* that a server needs to go on */
    FILTERS = AFORK__NO_NETWORK | AFORK__NO_NEW_PROCESSES,
};

struct afork__plan {
    struct afork__limit_set set; /* without paths */
    int rulesets[RULESETS_MAX];
    unsigned n_rulesets;
    struct afork__filter filter;
};

static const struct limit {
    const char *name;
    int resource;
    unsigned grace; /* how much more is left when the first signal comes */
} limits[AFORK__N_LIMITS] = {
    [AFORK__LIMIT_MEMORY] = {"memory", RLIMIT_AS, 0},
    [AFORK__LIMIT_CPU] = {"cpu_seconds", RLIMIT_CPU, 1},
    [AFORK__LIMIT_FILE_SIZE] = {"file_size", RLIMIT_FSIZE, 0},
    [AFORK__LIMIT_OPEN_FILES] = {"open_files", RLIMIT_NOFILE, 0},
};

/* Ends the process, which cannot be limited as it was told. */
__attribute__((noreturn, format(printf, 2, 3)))
static void fail(struct afork__server *server, const char *format, ...)
{
    dTHX;
    char text[PATH_MAX + 256] = "limits: ";
    size_t len = strlen(text);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text + len, sizeof text - len, format, arguments);
    va_end(arguments);
    afork__server_fail(aTHX_ server, AFORK__PHASE_LIMITS, text, strlen(text));
}

/* Something is asked for that cannot be had here; `left` says what is then. */
static void unsupported(struct afork__server *server, uint32_t flags, const char *what,
                        const char *why, const char *left)
{
    char text[256];

    if (!(flags & AFORK__LIMIT_WARN))
        fail(server, "%s: %s", what, why);
    int len = snprintf(text, sizeof text, "limits: %s: %s; %s", what, why, left);
    afork__report(&server->reporter, AFORK__WARNING, AFORK__PHASE_NONE, text, (size_t)len);
}

static const char not_in_force[] = "it is not in force";

/* ---- what is asked for ---- */

/* Octets of address space that this process has; 0 if that is not known, because it may not read
 * it. */
static uint64_t memory_in_use(void)
{
    AFORK__AUTO_FD fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    char text[32] = "";

    if (fd < 0 || read(fd, text, sizeof text - 1) <= 0)
        return 0;
    return strtoull(text, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* The lowest limit that a server with so many descriptors can work with. */
static uint64_t descriptors_in_use(const struct afork__server *server)
{
    int fd = fcntl(server->command, F_DUPFD_CLOEXEC, 0);

    if (fd < 0) /* all that there may be */
        fd = getdtablesize();
    else
        close(fd);
    return (uint64_t)fd + FREE_FDS;
}

/* What of a limit is in force, for this process or for what it will fork. */
static uint64_t in_force(const struct afork__plan *plan, int i)
{
    struct rlimit now;
    uint64_t value = UINT64_MAX;

    if (getrlimit(limits[i].resource, &now) == 0 &&
        now.rlim_cur != RLIM_INFINITY)
        value = now.rlim_cur;
    return plan->set.values[i] && plan->set.values[i] < value ? plan->set.values[i] : value;
}

static void check_value(struct afork__server *server, const struct afork__plan *plan, int i,
                        uint64_t asked)
{
    uint64_t now = in_force(plan, i), used = 0;

    if (asked > now)
        fail(server, "%s: %llu asked for, but %llu is in force", limits[i].name,
             (unsigned long long)asked, (unsigned long long)now);
    if (i == AFORK__LIMIT_MEMORY)
        used = memory_in_use();
    else if (i == AFORK__LIMIT_OPEN_FILES)
        used = descriptors_in_use(server);
    if (asked < used)
        fail(server, "%s: %llu asked for, but %llu is needed already", limits[i].name,
             (unsigned long long)asked, (unsigned long long)used);
}

static void plan_values(struct afork__server *server, struct afork__plan *plan,
                        const struct afork__limit_set *set)
{
    for (int i = 0; i < AFORK__N_LIMITS; i++) {
        if (!set->values[i])
            continue;
        check_value(server, plan, i, set->values[i]);
        plan->set.values[i] = set->values[i];
    }
    if (!set->nice)
        return;
    int now = getpriority(PRIO_PROCESS, 0);
    if (now < (int)plan->set.nice)
        now = (int)plan->set.nice;
    if ((int)set->nice > now) /* else more is in force than is asked for */
        plan->set.nice = set->nice;
}

/* ---- files, and signals, which the same rulesets are about ---- */

static void allow(struct afork__server *server, int ruleset, struct afork__strings paths)
{
    const void *data;
    size_t len;
    char path[PATH_MAX];

    while (afork__strings_next(&paths, &data, &len) > 0) {
        bool read = *(const char *)data == 'r';
        memcpy(path, (const char *)data + 1, len - 1);
        path[len - 1] = '\0';
        int result = read ? afork__landlock_allow_read(ruleset, path)
                          : afork__landlock_allow_write(ruleset, path);
        if (result < 0)
            fail(server, "%s: %s: %s", read ? "read_paths" : "write_paths", path,
                 strerror(-result));
    }
}

static void add_ruleset(struct afork__server *server, struct afork__plan *plan, const char *name,
                        int ruleset)
{
    if (ruleset < 0)
        fail(server, "%s: %s", name, strerror(-ruleset));
    if (plan->n_rulesets == RULESETS_MAX)
        fail(server, "%s: too many confinements, one inside the other", name);
    plan->rulesets[plan->n_rulesets++] = ruleset;
}

static void no_landlock(struct afork__server *server, uint32_t flags, int error)
{
    const char *why = error == -EOPNOTSUPP ? "Landlock is turned off in this kernel"
                                           : "this kernel has no Landlock";

    if (flags & AFORK__LIMIT_READ)
        unsupported(server, flags, "read_paths", why, not_in_force);
    if (flags & AFORK__LIMIT_WRITE)
        unsupported(server, flags, "write_paths", why, not_in_force);
    if (flags & AFORK__NO_SIGNALS)
        unsupported(server, flags, "no_signals", why, not_in_force);
}

static void plan_files(struct afork__server *server, struct afork__plan *plan,
                       const struct afork__limit_set *set)
{
    bool read = set->flags & AFORK__LIMIT_READ, write = set->flags & AFORK__LIMIT_WRITE;
    bool signals = set->flags & AFORK__NO_SIGNALS;
    const char *name = read ? "read_paths" : write ? "write_paths" : "no_signals";

    if (!read && !write && !signals)
        return;
    int version = afork__landlock_version();
    if (version < 0) {
        no_landlock(server, set->flags, version);
        return;
    }
    if (write && version < AFORK__LANDLOCK_TRUNCATE)
        unsupported(server, set->flags, "write_paths",
                    "the Landlock of this kernel does not keep files from being truncated",
                    "the rest is in force");
    if (signals && version < AFORK__LANDLOCK_SIGNALS) {
        unsupported(server, set->flags, "no_signals",
                    "the Landlock of this kernel does not confine signals", not_in_force);
        signals = false;
        if (!read && !write)
            return;
    }
    int ruleset = afork__landlock_new(read, write, signals);
    add_ruleset(server, plan, name, ruleset);
    if (read) { /* it could not be found by who wants a filter later */
        unsigned long long loads = afork__exit_count_loads();
        afork__filter_load();
        afork__exit_ignore_loads(loads);
    }
    if (!(set->flags & AFORK__FORKS_ONLY))
        afork__children_keep_list(&server->children);
    allow(server, ruleset, set->paths);
}

/* ---- system calls ---- */

/* Without filters: Landlock can do some of it, which is better than nothing. */
static void no_filter(struct afork__server *server, struct afork__plan *plan,
                      const struct afork__limit_set *set, const char *why)
{
    if (set->flags & AFORK__NO_NETWORK) {
        int ruleset = afork__landlock_new_network();
        unsupported(server, set->flags, "no_network", why,
                    ruleset < 0 ? not_in_force : "TCP alone is refused, by Landlock");
        if (ruleset >= 0)
            add_ruleset(server, plan, "no_network", ruleset);
    }
    if (set->flags & AFORK__NO_NEW_PROCESSES)
        unsupported(server, set->flags, "no_new_processes", why, not_in_force);
}

/* A filter that is in force already costs every system call; so does a second one. */
static void plan_filter(struct afork__server *server, struct afork__plan *plan,
                        const struct afork__limit_set *set)
{
    uint32_t planned = plan->set.flags & FILTERS;
    uint32_t wanted = ((set->flags & FILTERS) | planned) & ~server->filters;
    struct afork__filter filter;
    const char *why = NULL;

    if (!(wanted & ~planned))
        return;
    unsigned long long loads = afork__exit_count_loads();
    int result = afork__filter_make(wanted, &filter, &why);
    afork__exit_ignore_loads(loads);
    if (why) {
        no_filter(server, plan, set, why);
        return;
    }
    if (result < 0)
        fail(server, "no_network or no_new_processes: %s", strerror(-result));
    afork__filter_free(&plan->filter);
    plan->filter = filter;
    plan->set.flags |= wanted;
}

/* ---- a plan is carried out ---- */

static void lower(struct afork__server *server, int i, uint64_t value)
{
    const struct limit *limit = &limits[i];
    struct rlimit now;

    if (getrlimit(limit->resource, &now) < 0)
        fail(server, "%s: %s", limit->name, strerror(errno));
    if (now.rlim_cur <= value) /* lowered since the plan was made, here or where it was forked from */
        return;
    now.rlim_cur = value;
    if (now.rlim_max > value + limit->grace)
        now.rlim_max = value + limit->grace;
    if (setrlimit(limit->resource, &now) < 0)
        fail(server, "%s: %llu: %s", limit->name, (unsigned long long)value, strerror(errno));
}

/* Descriptors are the last to be closed and memory the last to be cut. */
static void enforce(struct afork__server *server, const struct afork__plan *plan)
{
    int result = 0;

    if (plan->set.nice && getpriority(PRIO_PROCESS, 0) < (int)plan->set.nice &&
        setpriority(PRIO_PROCESS, 0, (int)plan->set.nice) < 0)
        fail(server, "nice: %u: %s", (unsigned)plan->set.nice, strerror(errno));
    if (plan->set.flags & AFORK__NO_NEW_PRIVILEGES && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        fail(server, "no_new_privileges: %s", strerror(errno));
    for (unsigned i = 0; i < plan->n_rulesets; i++)
        if ((result = afork__landlock_enforce(plan->rulesets[i])) < 0)
            fail(server, "no_signals, read_paths or write_paths: %s",
                 result == -E2BIG ? "too many confinements, one inside the other"
                                  : strerror(-result));
    if (plan->filter.code && (result = afork__filter_enforce(&plan->filter)) < 0)
        fail(server, "no_network or no_new_processes: %s", strerror(-result));
    server->filters |= plan->set.flags & FILTERS;
    for (int i = AFORK__N_LIMITS; i-- > 0;)
        if (plan->set.values[i])
            lower(server, i, plan->set.values[i]);
}

static void close_rulesets(struct afork__plan *plan)
{
    while (plan->n_rulesets)
        close(plan->rulesets[--plan->n_rulesets]);
}

static void clear(struct afork__plan *plan)
{
    close_rulesets(plan);
    afork__filter_free(&plan->filter);
    plan->set = (struct afork__limit_set){0};
}

/* Threads that run already would not be held by what is for the calling one. */
static void check_threads(struct afork__server *server, const struct afork__limit_set *set)
{
    unsigned count = afork__threads_count();
    char text[64];

    if (count < 2 || set->flags & AFORK__FORKS_ONLY ||
        !(set->nice || set->flags & (FILTERS | AFORK__NO_NEW_PRIVILEGES | AFORK__LIMIT_READ |
                                     AFORK__LIMIT_WRITE | AFORK__NO_SIGNALS)))
        return;
    snprintf(text, sizeof text, "%u threads run here, only one can be confined", count);
    unsupported(server, set->flags, "threads", text, "the others are free");
}

static void fill(struct afork__server *server, struct afork__plan *plan,
                 const struct afork__limit_set *set)
{
    check_threads(server, set);
    plan_values(server, plan, set);
    plan_files(server, plan, set);
    plan_filter(server, plan, set);
    plan->set.flags |= set->flags & AFORK__NO_NEW_PRIVILEGES;
}

void afork__server_limit(pTHX_ struct afork__server *server, const char *payload, size_t len)
{
    struct afork__limit_set set;

    if (afork__limit_set_decode(payload, len, &set) < 0)
        afork__server_fail(aTHX_ server, AFORK__PHASE_PROTOCOL,
                           STR_WITH_LEN("malformed limits - stream corrupted?"));
    if (set.flags & AFORK__FORKS_ONLY) {
        if (!server->plan)
            Newxz(server->plan, 1, struct afork__plan);
        else if (!server->plan_due) {
            server->plan->n_rulesets = 0; /* it was carried out: they are closed, see below */
            clear(server->plan);
        }
        fill(server, server->plan, &set);
        server->plan_due = true;
        return;
    }
    struct afork__plan plan = {.set = {0}};
    fill(server, &plan, &set);
    enforce(server, &plan);
    clear(&plan);
}

/* The rest of the plan stays: to release it would only copy pages. */
void afork__server_confine(pTHX_ struct afork__server *server)
{
    server->plan_due = false;
    enforce(server, server->plan);
    for (unsigned i = 0; i < server->plan->n_rulesets; i++)
        close(server->plan->rulesets[i]);
}

void afork__server_drop_plan(struct afork__server *server)
{
    if (!server->plan)
        return;
    if (server->plan_due)
        clear(server->plan);
    server->plan_due = false;
    Safefree(server->plan);
    server->plan = NULL;
}
