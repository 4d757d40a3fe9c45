/*
 * Taking over processes that another program has made: CRIU, from a checkpoint.
 *
 *   monitor                     criu                               container
 *   -------                     ----                               ---------
 *   starts it, as a program --> makes the first process with
 *                               CLONE_PARENT: our child  --------> goes on where it was
 *                               writes its pid to a file, ends
 *   reaps it, reads the pid
 *
 * The file is in a directory of the container's folder, which is the caller's alone; and the pid counts only if it is
 * that of a child of ours, whose number cannot go to another before we have waited for it.
 */
#include "monitor.h"

#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/wait.h>

#define PID_FILE "restoring/pid"

static long read_pid(void)
{
    char digits[16];
    long fd = pc_raw4(__NR_openat, PC_MONITOR_FOLDER, pc_pointer(PID_FILE), O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);
    if (fd < 0) {
        return fd;
    }
    long length = pc_raw3(__NR_read, fd, pc_pointer(digits), sizeof digits - 1);
    pc_close((int)fd);
    long pid = 0;
    for (long i = 0; i < length && digits[i] >= '0' && digits[i] <= '9'; i++) {
        pid = pid * 10 + (digits[i] - '0');
    }
    return pid > 1 && pid < INT32_MAX ? pid : -EBADMSG;
}

/* Its root directory, as the program sees it. */
static long open_root(long pid)
{
    char path[32];
    struct text text = {.data = path, .size = sizeof path - 1};
    text_add(&text, "/proc/");
    text_number(&text, (uint64_t)pid);
    text_add(&text, "/root");
    path[text.length] = '\0';
    return pc_raw4(__NR_openat, AT_FDCWD, pc_pointer(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
}

int restore_outcome(struct monitor *monitor, int32_t status)
{
    pc_close(monitor->pidfd);
    monitor->pidfd = -1;
    monitor->pid = 0;
    if (status != 0) {
        return EREMOTEIO;
    }
    long pid = read_pid();
    if (pid < 0) {
        return (int)-pid;
    }
    int ended[32]; /* siginfo_t, of 128 bytes */
    long ret = pc_raw5(__NR_waitid, P_PID, pid, pc_pointer(ended), WEXITED | WNOHANG | WNOWAIT | __WALL, 0);
    if (ret >= 0) {
        ret = pc_raw2(__NR_pidfd_open, pid, 0);
    }
    if (ret < 0) {
        return (int)-ret; /* ECHILD: somebody else's */
    }
    monitor->pid = pid;
    monitor->pidfd = (int)ret;
    ret = open_root(pid);
    monitor->root = (int)ret;
    return ret < 0 ? (int)-ret : 0;
}
