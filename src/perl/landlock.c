/* SPDX-License-Identifier: MIT
 *
 * Landlock by its system calls. The numbers and rights are written down here: headers of a system
 * are often older than its kernel. Knows nothing of Perl.
 */
#include "landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util.h"

/* The same on all architectures. */
enum { CREATE_RULESET = 444, ADD_RULE = 445, RESTRICT_SELF = 446 };

enum { ASK_VERSION = 1, RULE_PATH_BENEATH = 1 };

enum { MOVE = 13 };

#define RIGHT(n) (UINT64_C(1) << (n))

/* What a right is about, and since which version there is one; the number is its bit. */
static const struct right {
    bool read;    /* or else write */
    bool on_file; /* also where the path is no directory */
    int version;
} rights[] = {
    {true, true, 1},   /* execute */
    {false, true, 1},  /* write to a file */
    {true, true, 1},   /* read a file */
    {true, false, 1},  /* list a directory */
    {false, false, 1}, /* remove a directory */
    {false, false, 1}, /* remove a file */
    {false, false, 1}, /* make: a character device */
    {false, false, 1}, /* ... a directory */
    {false, false, 1}, /* ... a file */
    {false, false, 1}, /* ... a socket */
    {false, false, 1}, /* ... a FIFO */
    {false, false, 1}, /* ... a block device */
    {false, false, 1}, /* ... a symbolic link */
    [MOVE] = {false, false, 2}, /* move or link to another directory; before, always forbidden */
    {false, true, AFORK__LANDLOCK_TRUNCATE},
    {false, true, 5}, /* control a device */
};

enum { N_RIGHTS = sizeof rights / sizeof *rights };

struct ruleset_attributes {
    uint64_t files;   /* what this is all about */
    uint64_t network; /* older kernels know what is above only, and take the rest if it is zero */
    uint64_t scopes;
};

/* Since which version there are networks and scopes. */
enum { NETWORK_VERSION = 4, SCOPES_VERSION = AFORK__LANDLOCK_SIGNALS };

enum { BIND_AND_CONNECT_TCP = 3, ABSTRACT_SOCKETS = 1, SIGNALS = 2 };

struct path_rule {
    uint64_t allowed;
    int32_t fd;
} __attribute__((packed));

static long create_ruleset(const struct ruleset_attributes *attributes, size_t size, uint32_t flags)
{
    long result = syscall(CREATE_RULESET, attributes, size, flags);
    return result < 0 ? -errno : result;
}

int afork__landlock_version(void)
{
    return (int)create_ruleset(NULL, 0, ASK_VERSION);
}

/* Rights of one kind or both that this kernel knows. */
static uint64_t known_rights(bool read, bool write, bool directory)
{
    int version = afork__landlock_version();
    uint64_t result = 0;

    for (unsigned i = 0; i < N_RIGHTS; i++)
        if ((rights[i].read ? read : write) && (directory || rights[i].on_file) &&
            rights[i].version <= version)
            result |= RIGHT(i);
    return result;
}

static int add_rule(int ruleset, int fd, uint64_t allowed)
{
    struct path_rule rule = {allowed, fd};

    return syscall(ADD_RULE, ruleset, RULE_PATH_BENEATH, &rule, 0) < 0 ? -errno : 0;
}

/* Every ruleset forbids to move files to another directory, also one that is not about writing,
 * where that is allowed again. The kernel sees to it that nothing becomes readable by being
 * moved. */
int afork__landlock_new(bool read, bool write, bool signals)
{
    uint64_t move = write ? 0 : known_rights(false, true, true) & RIGHT(MOVE);
    struct ruleset_attributes attributes = {known_rights(read, write, true) | move, 0,
                                            signals ? SIGNALS : 0};
    AFORK__AUTO_FD ruleset = (int)create_ruleset(&attributes, sizeof attributes, 0);

    if (ruleset < 0 || !move)
        return afork__steal_fd(&ruleset);
    AFORK__AUTO_FD root = open("/", O_PATH | O_CLOEXEC);
    int result = root < 0 ? -errno : add_rule(ruleset, root, move);
    return result < 0 ? result : afork__steal_fd(&ruleset);
}

int afork__landlock_new_network(void)
{
    int version = afork__landlock_version();
    const struct ruleset_attributes attributes = {
        .network = BIND_AND_CONNECT_TCP,
        .scopes = version >= SCOPES_VERSION ? ABSTRACT_SOCKETS : 0,
    };

    if (version < NETWORK_VERSION)
        return -ENOSYS;
    return (int)create_ruleset(&attributes, sizeof attributes, 0);
}

static int allow(int ruleset, const char *path, bool read)
{
    AFORK__AUTO_FD fd = open(path, O_PATH | O_CLOEXEC);
    struct stat info;

    if (fd < 0 || fstat(fd, &info) < 0)
        return -errno;
    return add_rule(ruleset, fd, known_rights(read, !read, S_ISDIR(info.st_mode)));
}

int afork__landlock_allow_read(int ruleset, const char *path)
{
    return allow(ruleset, path, true);
}

int afork__landlock_allow_write(int ruleset, const char *path)
{
    return allow(ruleset, path, false);
}

int afork__landlock_enforce(int ruleset)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || syscall(RESTRICT_SELF, ruleset, 0) < 0)
        return -errno;
    return 0;
}
