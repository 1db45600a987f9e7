/* SPDX-License-Identifier: MIT
 *
 * Filters of system calls, made by libseccomp, which knows the calls of all architectures that a
 * kernel runs. It is loaded when a filter is wanted, or could not be loaded any more if one were
 * wanted later: few processes want one, and all would pay for it at their start. What it makes is a
 * program for the kernel, kept in memory, so that a fork that confines itself needs one system
 * call. Knows nothing of Perl.
 */
#include "filter.h"

#include <errno.h>

#ifdef HAVE_SECCOMP

#include <dlfcn.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "limit-set.h"
#include "util.h"

static struct {
    void *library;
    __typeof__(seccomp_init) *init;
    __typeof__(seccomp_release) *release;
    __typeof__(seccomp_arch_native) *arch_native;
    __typeof__(seccomp_arch_add) *arch_add;
    __typeof__(seccomp_rule_add_array) *rule_add;
    __typeof__(seccomp_export_bpf) *export_bpf;
} lib;

bool afork__filter_load(void)
{
    if (!lib.library)
        lib.library = dlopen("libseccomp.so.2", RTLD_NOW);
    if (!lib.library)
        return false;
#define FIND(member, name) (*(void **)&lib.member = dlsym(lib.library, name))
    return FIND(init, "seccomp_init") && FIND(release, "seccomp_release") &&
           FIND(arch_native, "seccomp_arch_native") && FIND(arch_add, "seccomp_arch_add") &&
           FIND(rule_add, "seccomp_rule_add_array") && FIND(export_bpf, "seccomp_export_bpf");
#undef FIND
}

/* A call that fails with `error` if its argument number `argument` compares so; -1: always. */
struct rule {
    int call, error;
    int argument;
    enum scmp_compare compare;
    uint64_t a, b;
};

/* Where the flags of clone() are that tell a thread from a process. */
#if defined __s390__
enum { CLONE_FLAGS_ARGUMENT = 1 };
#else
enum { CLONE_FLAGS_ARGUMENT = 0 };
#endif

enum { SOCKET_TYPE = 0xf };

static const struct rule no_network[] = {
    {SCMP_SYS(socket), EPERM, -1},
    {SCMP_SYS(connect), EPERM, -1},
    {SCMP_SYS(bind), EPERM, -1},
    /* A pair of datagram sockets can be made to talk to others. */
    {SCMP_SYS(socketpair), EPERM, 0, SCMP_CMP_NE, AF_UNIX},
    {SCMP_SYS(socketpair), EPERM, 1, SCMP_CMP_MASKED_EQ, SOCKET_TYPE, SOCK_DGRAM},
    {SCMP_SYS(socketpair), EPERM, 1, SCMP_CMP_MASKED_EQ, SOCKET_TYPE, SOCK_RAW},
    /* Its requests are not seen by filters. */
    {SCMP_SYS(io_uring_setup), EPERM, -1},
    {SCMP_SYS(io_uring_enter), EPERM, -1},
    {SCMP_SYS(io_uring_register), EPERM, -1},
};

static const struct rule no_new_processes[] = {
    {SCMP_SYS(fork), EPERM, -1},
    {SCMP_SYS(vfork), EPERM, -1},
    {SCMP_SYS(clone), EPERM, CLONE_FLAGS_ARGUMENT, SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0},
    /* Its flags are out of reach, in memory; libc does without it. */
    {SCMP_SYS(clone3), ENOSYS, -1},
};

/* A program could go around the rules by the calls of a sister of the architecture. */
static int add_sisters(scmp_filter_ctx context)
{
    static const struct {
        uint32_t native, sister;
    } sisters[] = {
        {SCMP_ARCH_X86_64, SCMP_ARCH_X86},       {SCMP_ARCH_X86_64, SCMP_ARCH_X32},
        {SCMP_ARCH_AARCH64, SCMP_ARCH_ARM},      {SCMP_ARCH_MIPS64, SCMP_ARCH_MIPS},
        {SCMP_ARCH_MIPS64, SCMP_ARCH_MIPS64N32}, {SCMP_ARCH_MIPSEL64, SCMP_ARCH_MIPSEL},
        {SCMP_ARCH_MIPSEL64, SCMP_ARCH_MIPSEL64N32},
        {SCMP_ARCH_S390X, SCMP_ARCH_S390},       {SCMP_ARCH_PPC64, SCMP_ARCH_PPC},
    };
    uint32_t native = lib.arch_native();

    for (size_t i = 0; i < sizeof sisters / sizeof *sisters; i++) {
        int result = sisters[i].native == native ? lib.arch_add(context, sisters[i].sister) : 0;
        if (result < 0 && result != -EEXIST)
            return result;
    }
    return 0;
}

static int add_rules(scmp_filter_ctx context, const struct rule *rules, size_t n)
{
    int result = 0;

    for (size_t i = 0; !result && i < n; i++) {
        const struct rule *rule = &rules[i];
        const struct scmp_arg_cmp condition = {(unsigned)rule->argument, rule->compare, rule->a,
                                               rule->b};
        result = lib.rule_add(context, SCMP_ACT_ERRNO((uint32_t)rule->error), rule->call,
                              rule->argument >= 0, &condition);
        if (result == -EDOM || result == -EFAULT) /* not on this architecture */
            result = 0;
    }
    return result;
}

/* The program of a filter, by way of a file, as the library wants it. */
static int export(scmp_filter_ctx context, struct afork__filter *ret)
{
    AFORK__AUTO_FD file = memfd_create("filter", MFD_CLOEXEC);

    if (file < 0)
        return -errno;
    int result = lib.export_bpf(context, file);
    if (result < 0)
        return result;
    off_t size = lseek(file, 0, SEEK_END);
    struct sock_filter *code = malloc((size_t)size);
    if (!code)
        return -ENOMEM;
    if (pread(file, code, (size_t)size, 0) != size) {
        free(code);
        return -EIO;
    }
    *ret = (struct afork__filter){code, (unsigned short)((size_t)size / sizeof *code)};
    return 0;
}

static int build(unsigned what, struct afork__filter *ret)
{
    scmp_filter_ctx context = lib.init(SCMP_ACT_ALLOW);

    if (!context)
        return -ENOMEM;
    int result = add_sisters(context);
    if (!result && what & AFORK__NO_NETWORK)
        result = add_rules(context, no_network, sizeof no_network / sizeof *no_network);
    if (!result && what & AFORK__NO_NEW_PROCESSES)
        result = add_rules(context, no_new_processes,
                           sizeof no_new_processes / sizeof *no_new_processes);
    if (!result)
        result = export(context, ret);
    lib.release(context);
    return result;
}

/* Asks with a program that is not there: a kernel with filters looks for it. */
static bool kernel_has_filters(void)
{
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL, 0, 0) == 0 || errno == EFAULT;
}

int afork__filter_make(unsigned what, struct afork__filter *ret, const char **why)
{
    if (!kernel_has_filters()) {
        *why = "this kernel has no filters of system calls";
        return -ENOSYS;
    }
    if (!afork__filter_load()) {
        *why = "libseccomp.so.2 cannot be loaded";
        return -ENOSYS;
    }
    return build(what, ret);
}

void afork__filter_free(struct afork__filter *filter)
{
    free(filter->code);
    *filter = (struct afork__filter){NULL, 0};
}

int afork__filter_enforce(const struct afork__filter *filter)
{
    const struct sock_fprog program = {filter->len, filter->code};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) < 0)
        return -errno;
    return 0;
}

#else

bool afork__filter_load(void)
{
    return false;
}

int afork__filter_make(unsigned what, struct afork__filter *ret, const char **why)
{
    *why = "this afork-perl was built without libseccomp";
    return -ENOSYS;
}

void afork__filter_free(struct afork__filter *filter)
{
}

int afork__filter_enforce(const struct afork__filter *filter)
{
    return -ENOSYS;
}

#endif
