/* SPDX-License-Identifier: MIT
 *
 * AFork::memfd(): octets as memory that a descriptor stands for, which whoever gets it can map, and
 * knows that nobody changes or shortens.
 */
#include "memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "args.h"
#include "util.h"

/* The offset stays at the start, also for who gets it: they share it. */
static int fill(int fd, const char *data, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = pwrite(fd, data + done, len - done, (off_t)done);
        if (n > 0)
            done += (size_t)n;
        else if (!n || errno != EINTR)
            return n ? -errno : -ENOSPC;
    }
    const int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    return fcntl(fd, F_ADD_SEALS, seals) < 0 ? -errno : 0;
}

/* A descriptor, or a negative errno. */
static int make(const char *data, size_t len)
{
    AFORK__AUTO_FD fd = memfd_create("AFork", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return -errno;
    int result = fill(fd, data, len);
    return result < 0 ? result : afork__steal_fd(&fd);
}

XS_INTERNAL(xs_memfd)
{
    dXSARGS;
    STRLEN len;

    if (items != 1)
        croak_xs_usage(cv, "octets");
    const char *data = SvPVbyte(ST(0), len);
    int fd = make(data, len);
    if (fd < 0)
        croak("AFork::memfd: %s", strerror(-fd));
    SP -= items;
    PUTBACK; /* opening a handle runs code of perl's */
    SV *handle = sv_2mortal(afork__handle_new(aTHX_ fd));
    SPAGAIN;
    XPUSHs(handle);
    PUTBACK;
}

void afork__memfd_define(pTHX)
{
    if (!get_cv("AFork::memfd", 0))
        newXS("AFork::memfd", xs_memfd, __FILE__);
}
