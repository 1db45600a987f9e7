/* SPDX-License-Identifier: MIT
 *
 * Counting processors: affinity, and the quotas of control groups in a tree of our own.
 */
#include <glib/gstdio.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "pool.h"
#include "test-lib.h"

static char *home; /* a directory for this run */

static char *in_home(const char *name)
{
    return g_build_filename(home, name, NULL);
}

static void write_file(const char *name, const char *text)
{
    g_autofree char *path = in_home(name);
    g_autofree char *directory = g_path_get_dirname(path);

    g_assert_cmpint(g_mkdir_with_parents(directory, 0700), ==, 0);
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void version_2(struct test *t)
{
    g_autofree char *root = in_home("v2");

    (void)t;
    g_assert_cmpuint(afork__cpu_quota(root), ==, 0);
    write_file("v2/proc/self/cgroup", "0::/a/b\n");
    g_assert_cmpuint(afork__cpu_quota(root), ==, 0);
    write_file("v2/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    g_assert_cmpuint(afork__cpu_quota(root), ==, 0);
    write_file("v2/sys/fs/cgroup/a/cpu.max", "250000 100000\n");
    g_assert_cmpuint(afork__cpu_quota(root), ==, 3);
    write_file("v2/sys/fs/cgroup/a/b/cpu.max", "200000 100000\n");
    g_assert_cmpuint(afork__cpu_quota(root), ==, 2);
    write_file("v2/sys/fs/cgroup/cpu.max", "20000 100000\n");
    g_assert_cmpuint(afork__cpu_quota(root), ==, 1);
}

static void version_1(struct test *t)
{
    g_autofree char *root = in_home("v1");

    (void)t;
    write_file("v1/proc/self/cgroup", "4:cpuset:/x\n3:cpuacct,cpu:/not/seen/here\n0::/\n");
    write_file("v1/sys/fs/cgroup/cpu/cpu.cfs_period_us", "50000\n");
    write_file("v1/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
    g_assert_cmpuint(afork__cpu_quota(root), ==, 0);
    write_file("v1/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000\n");
    g_assert_cmpuint(afork__cpu_quota(root), ==, 2);
    write_file("v1/proc/self/cgroup", "4:cpuset:/x\n3:cpuacct,cpuset:/not/seen/here\n0::/\n");
    g_assert_cmpuint(afork__cpu_quota(root), ==, 0);
}

/* What makes no sense is no quota. */
static void nonsense(struct test *t)
{
    static const char *const texts[] = {"",         "\n",  "0 100000\n", "100000 0\n",
                                        "-5 100\n", "100", "x y\n",      "max max\n"};
    g_autofree char *root = in_home("bad");

    (void)t;
    write_file("bad/proc/self/cgroup", "\nx\n0:\n:::\n0::/a\n");
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        write_file("bad/sys/fs/cgroup/a/cpu.max", texts[i]);
        g_assert_cmpuint(afork__cpu_quota(root), ==, 0);
    }
    write_file("bad/sys/fs/cgroup/a/cpu.max", "9223372036854775807 1\n");
    g_assert_cmpuint(afork__cpu_quota(root), ==, 4096);
}

static void affinity_counts(struct test *t)
{
    cpu_set_t all, one;

    (void)t;
    test_ok(sched_getaffinity(0, sizeof all, &all));
    unsigned before = afork_cpu_count();
    g_assert_cmpuint(before, >=, 1);
    g_assert_cmpuint(before, <=, (unsigned)CPU_COUNT(&all));
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &all))
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        break;
    }
    test_ok(sched_setaffinity(0, sizeof one, &one));
    g_assert_cmpuint(afork_cpu_count(), ==, 1);
    test_ok(sched_setaffinity(0, sizeof all, &all));
    g_assert_cmpuint(afork_cpu_count(), ==, before);
}

static void environment_overrides(struct test *t)
{
    static const char *const bad[] = {"", "0", "-1", "4097", "2x", " 2", "99999999999999999999"};

    (void)t;
    unsigned before = afork_cpu_count();
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_setenv("AFORK_CPUS", bad[i], true);
        g_assert_cmpuint(afork_cpu_count(), ==, before);
    }
    g_setenv("AFORK_CPUS", "4096", true);
    g_assert_cmpuint(afork_cpu_count(), ==, 4096);
    g_setenv("AFORK_CPUS", "7", true);
    g_assert_cmpuint(afork_cpu_count(), ==, 7);
    g_unsetenv("AFORK_CPUS");
}

int main(int argc, char **argv)
{
    g_unsetenv("AFORK_CPUS");
    home = g_dir_make_tmp("afork-XXXXXX", NULL);
    g_test_init(&argc, &argv, NULL);
    test_add_for(NULL, "/cpu-count/version-2", version_2);
    test_add_for(NULL, "/cpu-count/version-1", version_1);
    test_add_for(NULL, "/cpu-count/nonsense", nonsense);
    test_add_for(NULL, "/cpu-count/affinity", affinity_counts);
    test_add_for(NULL, "/cpu-count/override", environment_overrides);
    int status = g_test_run();

    const char *remove[] = {"rm", "-rf", home, NULL};
    g_spawn_sync(NULL, (char **)remove, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL,
                 NULL);
    g_free(home);
    return status;
}
