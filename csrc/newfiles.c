/* Files and links that are made whole: many system calls for one call from Python. */
#define _GNU_SOURCE
#include "native.h"
#include "rawsys.h"

#include <errno.h>
#include <linux/fcntl.h>
#include <linux/time_types.h>

#define UNCHANGED ((uint32_t)-1)

static long as_long(const void *pointer)
{
    return (long)(uintptr_t)pointer;
}

static long write_all(long fd, const char *data, uint64_t size)
{
    while (size > 0) {
        long ret = pc_raw3(__NR_write, fd, as_long(data), (long)size);
        if (ret == -EINTR) {
            continue;
        }
        if (ret < 0) {
            return ret;
        }
        data += ret;
        size -= (uint64_t)ret;
    }
    return 0;
}

static long set_times(long dir, const char *name, int64_t seconds, uint32_t nanoseconds, int flags)
{
    struct __kernel_timespec times[2] = {{seconds, nanoseconds}, {seconds, nanoseconds}};
    return pc_raw4(__NR_utimensat, dir, as_long(name), as_long(times), flags);
}

int pc_make_file(int dir, const char *name, const char *data, uint64_t start, uint64_t size,
                 const struct pc_attributes *attributes)
{
    int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    long fd = pc_raw4(__NR_openat, dir, as_long(name), flags, 0600);
    if (fd < 0) {
        return (int)fd;
    }
    long ret = write_all(fd, data + start, size);
    /* The mode after the owner: chown(2) takes the set-user-id bits away. */
    if (ret == 0 && !(attributes->uid == UNCHANGED && attributes->gid == UNCHANGED)) {
        ret = pc_raw3(__NR_fchown, fd, attributes->uid, attributes->gid);
    }
    if (ret == 0) {
        ret = pc_raw2(__NR_fchmod, fd, attributes->mode);
    }
    if (ret == 0) {
        ret = set_times(fd, 0, attributes->seconds, attributes->nanoseconds, 0);
    }
    long closed = pc_raw1(__NR_close, fd);
    return (int)(ret < 0 ? ret : closed);
}

int pc_make_link(int dir, const char *name, const char *target, const struct pc_attributes *attributes)
{
    long ret = pc_raw3(__NR_symlinkat, as_long(target), dir, as_long(name));
    if (ret == 0 && !(attributes->uid == UNCHANGED && attributes->gid == UNCHANGED)) {
        ret = pc_raw5(__NR_fchownat, dir, as_long(name), attributes->uid, attributes->gid, AT_SYMLINK_NOFOLLOW);
    }
    if (ret == 0) {
        ret = set_times(dir, name, attributes->seconds, attributes->nanoseconds, AT_SYMLINK_NOFOLLOW);
    }
    return (int)ret;
}
