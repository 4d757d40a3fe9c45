/*
 * Time namespaces, for what neither clone nor a child that shares its parent's memory can do.
 *
 *   timens make REPORT OFFSETS                       a new time namespace for children; waits to be killed
 *   timens enter REPORT NS N PATH_1 .. PATH_N -- ARGV..   enters NS, executes the first path that can be
 *
 * An own program, as the offsets can be set only until a process is in the namespace and execve enters it
 * (Linux 6.0), and as setns refuses a process that shares its memory (time_namespaces(7), setns(2)).
 *
 * REPORT and NS are fds.  The reader of REPORT's other end gets two ints, what failed and its errno, or end
 * of file: after `make` the namespace is there, after `enter` the program was executed.
 */
#include "freestanding.h"

#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/sched.h>

enum {
    FAILED_NAMESPACE = 1, /* unshare or setns */
    FAILED_OFFSETS = 2,   /* writing timens_offsets */
    FAILED_EXEC = 3,
    EXIT_FAILED = 1,
    EXIT_USAGE = 125,
    MAX_FD = 1 << 30,
};

static int fail(int report, int what, long error)
{
    int numbers[2] = {what, (int)-error};
    pc_raw3(__NR_write, report, pc_pointer(numbers), sizeof numbers);
    return EXIT_FAILED;
}

static long write_offsets(const char *offsets)
{
    size_t length = 0;
    while (offsets[length] != '\0') {
        length++;
    }
    if (length == 0) {
        return 0;
    }
    long fd = pc_raw4(__NR_openat, AT_FDCWD, pc_pointer("/proc/self/timens_offsets"), O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0) {
        return fd;
    }
    /* One write: the kernel parses each by itself and takes all lines of it or none. */
    long ret = pc_raw3(__NR_write, fd, pc_pointer(offsets), (long)length);
    pc_close((int)fd);
    return ret < 0 ? ret : 0;
}

static int make(int report, const char *offsets)
{
    long ret = pc_raw1(__NR_unshare, CLONE_NEWTIME);
    if (ret < 0) {
        return fail(report, FAILED_NAMESPACE, ret);
    }
    ret = write_offsets(offsets);
    if (ret < 0) {
        return fail(report, FAILED_OFFSETS, ret);
    }
    pc_close_all(0, ~0U);
    for (;;) {
        pc_raw5(__NR_ppoll, 0, 0, 0, 0, 0);
    }
}

static int enter(int report, int namespace, long count, char **paths, char **argv, char **envp)
{
    long ret = pc_raw2(__NR_setns, namespace, CLONE_NEWTIME);
    if (ret < 0) {
        return fail(report, FAILED_NAMESPACE, ret);
    }
    pc_raw3(__NR_fcntl, report, F_SETFD, FD_CLOEXEC);
    pc_close(namespace);
    long denied = -ENOENT;
    for (long i = 0; i < count; i++) {
        ret = pc_raw3(__NR_execve, pc_pointer(paths[i]), pc_pointer(argv), pc_pointer(envp));
        if (ret == -EACCES) {
            denied = ret; /* as execvp(3): go on, but say that there was one */
        } else if (ret != -ENOENT && ret != -ENOTDIR && ret != -ENAMETOOLONG) {
            return fail(report, FAILED_EXEC, ret);
        }
    }
    return fail(report, FAILED_EXEC, denied);
}

int pc_main(int argc, char **argv, char **envp)
{
    int report = argc < 4 ? -1 : (int)pc_parse(argv[2], MAX_FD);
    if (report < 0) {
        return EXIT_USAGE;
    }
    if (pc_equal(argv[1], "make")) {
        return make(report, argv[3]);
    }
    int namespace = (int)pc_parse(argv[3], MAX_FD);
    long count = argc < 7 ? -1 : pc_parse(argv[4], argc - 7);
    if (!pc_equal(argv[1], "enter") || namespace < 0 || count < 0 || !pc_equal(argv[5 + count], "--")) {
        return EXIT_USAGE;
    }
    return enter(report, namespace, count, argv + 5, argv + 6 + count, envp);
}
