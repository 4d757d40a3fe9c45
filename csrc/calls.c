/* Single system calls that Python's os module lacks. Plain functions: these run in the host process. */
#define _GNU_SOURCE
#include "child.h"
#include "rawsys.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/fcntl.h>
#include <linux/landlock.h>
#include <linux/openat2.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <linux/stat.h>
#include <linux/ioctl.h>
#include <linux/wait.h>
#include <sys/resource.h>
#include <asm/statfs.h>
#include <signal.h>

static long as_long(const void *pointer)
{
    return (long)(uintptr_t)pointer;
}

int pc_openat2(int dir, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
    struct open_how how = {.flags = flags, .mode = mode, .resolve = resolve};
    return (int)pc_raw4(__NR_openat2, dir, as_long(path), as_long(&how), sizeof how);
}

int pc_stamp(int root, const char *path, int64_t *stamp)
{
    struct statx found;
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    long fd = pc_raw4(__NR_openat2, root, as_long(path), as_long(&how), sizeof how);
    if (fd < 0) {
        return (int)fd;
    }
    long ret = pc_raw5(__NR_statx, fd, as_long(""), AT_EMPTY_PATH, STATX_BASIC_STATS, as_long(&found));
    pc_raw1(__NR_close, fd);
    if (ret < 0) {
        return (int)ret;
    }
    stamp[0] = ((int64_t)found.stx_dev_major << 32) | found.stx_dev_minor;
    stamp[1] = (int64_t)found.stx_ino;
    stamp[2] = (int64_t)found.stx_size;
    stamp[3] = found.stx_ctime.tv_sec * 1000000000 + found.stx_ctime.tv_nsec;
    return 0;
}

int64_t pc_file_system(int fd)
{
    struct statfs found;
    long ret = pc_raw2(__NR_fstatfs, fd, as_long(&found));
    return ret < 0 ? ret : (int64_t)found.f_type;
}

int pc_syncfs(int fd)
{
    return (int)pc_raw1(__NR_syncfs, fd);
}

int pc_is_empty(int dir)
{
    /* Room for "." and "..", and one more. */
    char entries[128];
    long fd = pc_raw4(__NR_openat, dir, as_long("."), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0) {
        return (int)fd;
    }
    long got, names = 0;
    while ((got = pc_raw3(__NR_getdents64, fd, as_long(entries), sizeof entries)) > 0 && names <= 2) {
        for (long at = 0; at < got; at += *(unsigned short *)(void *)(entries + at + 16)) {
            names++;
        }
    }
    pc_raw1(__NR_close, fd);
    /* A name too long for the room is an error, and a name. */
    return got < 0 && got != -EINVAL ? (int)got : got == 0 && names <= 2;
}

int pc_renameat2(int old_dir, const char *old_path, int new_dir, const char *new_path, uint32_t flags)
{
    return (int)pc_raw5(__NR_renameat2, old_dir, as_long(old_path), new_dir, as_long(new_path), flags);
}

/* linux/pidfd.h of Linux 6.15; older headers lack it. */
struct pidfd_status {
    uint64_t mask;
    uint64_t cgroup;
    uint32_t ids[11];
    int32_t exit_code;
};
#define PIDFD_INFO_EXIT (1UL << 3)
#define PIDFD_GET_INFO _IOWR(0xFF, 11, struct pidfd_status)
#define PC_ECHILD 10

/* How a process ended that other code of the host has reaped: its pidfd still tells (Linux 6.15). */
static int recall(int pidfd, struct pc_ended *ended)
{
    struct pidfd_status status = {.mask = PIDFD_INFO_EXIT};
    long ret = pc_raw3(__NR_ioctl, pidfd, (long)PIDFD_GET_INFO, as_long(&status));
    if (ret < 0 || !(status.mask & PIDFD_INFO_EXIT)) {
        return -PC_ECHILD;
    }
    int killed = status.exit_code & 0x7f;
    int dumped = status.exit_code & 0x80;
    *ended = (struct pc_ended){
        .code = !killed ? CLD_EXITED : dumped ? CLD_DUMPED : CLD_KILLED,
        .status = killed ? killed : status.exit_code >> 8,
    };
    return 1;
}

int pc_wait(int pidfd, int options, struct pc_ended *ended)
{
    siginfo_t info = {0};
    struct rusage usage = {0};
    /* The raw call: libc's waitid drops the fifth argument, the usage (waitid(2), "C library/kernel"). */
    long ret = pc_raw5(__NR_waitid, 3 /* P_PIDFD */, pidfd, as_long(&info), options | __WALL, as_long(&usage));
    if (ret == -PC_ECHILD) {
        return recall(pidfd, ended);
    }
    if (ret < 0) {
        return (int)ret;
    }
    if (info.si_pid == 0) {
        return 0;
    }
    *ended = (struct pc_ended){
        .code = info.si_code,
        .status = info.si_status,
        .cpu_user = usage.ru_utime.tv_sec * 1000000L + usage.ru_utime.tv_usec,
        .cpu_system = usage.ru_stime.tv_sec * 1000000L + usage.ru_stime.tv_usec,
        .max_rss = usage.ru_maxrss * 1024L,
    };
    return 1;
}

int pc_set_file_ids(uint32_t uid, uint32_t gid)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    int death_signal = 0;
    long ret = pc_raw2(__NR_capget, as_long(&header), as_long(data));
    if (ret < 0) {
        return (int)ret;
    }
    pc_raw2(__NR_prctl, PR_GET_PDEATHSIG, as_long(&death_signal));
    /* Raw calls, for this thread alone. The change would clear three things that are not ours to change:
     * the capabilities to pass file checks, the dumpable flag, and the parent death signal. */
    ret = pc_hide_memory();
    if (ret < 0) {
        return (int)ret;
    }
    long old_gid = pc_raw1(__NR_setfsgid, gid), old_uid = pc_raw1(__NR_setfsuid, uid);
    /* With user 0 the kernel gives the capabilities for files back by itself (capabilities(7)). */
    ret = uid == 0 ? 0 : pc_raw2(__NR_capset, as_long(&header), as_long(data));
    if (pc_raw1(__NR_setfsuid, -1) != (long)uid || pc_raw1(__NR_setfsgid, -1) != (long)gid) {
        ret = -1; /* EPERM: setfsuid(2) reports a refusal in no other way */
    }
    if (ret < 0) {
        pc_raw1(__NR_setfsgid, old_gid);
        pc_raw1(__NR_setfsuid, old_uid);
    }
    pc_show_memory(1);
    pc_raw2(__NR_prctl, PR_SET_PDEATHSIG, death_signal);
    return (int)ret;
}

int pc_close_range(uint32_t first, uint32_t last, uint32_t flags)
{
    return (int)pc_raw3(__NR_close_range, first, last, flags);
}

int pc_pidfd_getfd(int pidfd, int fd)
{
    return (int)pc_raw3(__NR_pidfd_getfd, pidfd, fd, 0);
}

int pc_landlock_abi(void)
{
    return (int)pc_raw3(__NR_landlock_create_ruleset, 0, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

int pc_seccomp_knows(uint32_t flags)
{
    return (int)pc_raw3(__NR_seccomp, SECCOMP_SET_MODE_FILTER, flags, 0);
}

int pc_bpf(int command, void *attributes, uint32_t size)
{
    return (int)pc_raw3(__NR_bpf, command, as_long(attributes), size);
}

#ifndef __NR_quotactl_fd
#define __NR_quotactl_fd 443 /* the same on every architecture */
#endif
#define PC_ENOSYS 38

int pc_quotactl(int fd, const char *special, uint32_t command, uint32_t id, void *data)
{
    long ret = pc_raw4(__NR_quotactl_fd, fd, command, id, as_long(data));
    if (ret == -PC_ENOSYS && special[0] != '\0') {
        ret = pc_raw4(__NR_quotactl, command, as_long(special), id, as_long(data));
    }
    return (int)ret;
}
