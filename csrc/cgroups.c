/*
 * cgroups(7); Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/freezer-subsystem.rst of the kernel.
 *
 * Removal goes leaf by leaf.  ".." is safe here, unlike in a tree of files: no cgroup can be moved into
 * another.
 */
#include "cgroups.h"
#include "freestanding.h"

#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/signal.h>

enum {
    BATCH = 32,           /* processes killed at a time, and pidfds open */
    BUFFER = 4096,
    PATIENCE = 2000,      /* milliseconds without progress until removal gives up */
    PAUSE = 1,            /* milliseconds until what was killed is looked at again */
    FREEZE_PATIENCE = 50, /* milliseconds */
    MAX_PID = 1 << 22,    /* PID_MAX_LIMIT of the kernel */
    THAW_DEPTH = 8,       /* levels below a group where containers and their programs are; the rest comes later */
};

/* Reads the numbers in cgroup.procs one by one. */
struct pid_reader {
    int fd;
    long position;
    long length;
    char buffer[BUFFER];
};

static bool write_file(int group, const char *file, const char *text, size_t length)
{
    long fd = pc_raw4(__NR_openat, group, pc_pointer(file), O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    long ret = pc_raw3(__NR_write, fd, pc_pointer(text), (long)length);
    pc_close((int)fd);
    return ret == (long)length;
}

static bool open_pids(struct pid_reader *reader, int group)
{
    reader->fd = (int)pc_raw4(__NR_openat, group, pc_pointer("cgroup.procs"), O_RDONLY | O_CLOEXEC, 0);
    reader->position = reader->length = 0;
    return reader->fd >= 0;
}

static int next_byte(struct pid_reader *reader)
{
    if (reader->position == reader->length) {
        reader->position = 0;
        reader->length = pc_raw3(__NR_read, reader->fd, pc_pointer(reader->buffer), BUFFER);
        if (reader->length <= 0) {
            reader->length = 0;
            return -1;
        }
    }
    return reader->buffer[reader->position++];
}

/* The next pid, or -1 at the end. 0 is a process that this pid namespace has no number for. */
static int next_pid(struct pid_reader *reader)
{
    int pid = -1;
    for (;;) {
        int byte = next_byte(reader);
        if (byte < '0' || byte > '9' || pid > MAX_PID) {
            return pid;
        }
        pid = (pid < 0 ? 0 : 10 * pid) + byte - '0';
    }
}

/* Signals those of the batch that are still listed. */
static void kill_listed(int group, const int *pids, const int *pidfds, int count)
{
    struct pid_reader reader;
    if (!open_pids(&reader, group)) {
        return;
    }
    for (int pid = next_pid(&reader); pid >= 0; pid = next_pid(&reader)) {
        for (int i = 0; i < count; i++) {
            if (pids[i] == pid) {
                pc_raw4(__NR_pidfd_send_signal, pidfds[i], SIGKILL, 0, 0);
            }
        }
    }
    pc_close(reader.fd);
}

static void kill_members(int group)
{
    struct pid_reader reader;
    if (!open_pids(&reader, group)) {
        return;
    }
    int pids[BATCH], pidfds[BATCH], count = 0;
    int self = (int)pc_raw0(__NR_getpid);
    int pid = next_pid(&reader);
    while (pid >= 0) {
        long fd = pid == 0 || pid == self ? -ESRCH : pc_raw2(__NR_pidfd_open, pid, 0);
        if (fd >= 0) {
            pids[count] = pid;
            pidfds[count++] = (int)fd;
        }
        pid = next_pid(&reader);
        if (count == BATCH || pid < 0) {
            kill_listed(group, pids, pidfds, count);
            while (count > 0) {
                pc_close(pidfds[--count]);
            }
        }
    }
    pc_close(reader.fd);
}

static bool is_frozen(int group)
{
    char state[8];
    long fd = pc_raw4(__NR_openat, group, pc_pointer("freezer.state"), O_RDONLY | O_CLOEXEC, 0);
    long length = pc_raw3(__NR_read, fd, pc_pointer(state), sizeof state);
    pc_close((int)fd);
    return length >= 6 && memcmp(state, "FROZEN", 6) == 0;
}

static void kill_group(int group)
{
    if (write_file(group, "cgroup.kill", "1", 1)) {
        return;
    }
    if (write_file(group, "freezer.state", "FROZEN", 6)) {
        int64_t deadline = pc_now() + FREEZE_PATIENCE;
        while (!is_frozen(group) && pc_now() < deadline) {
            pc_sleep(PAUSE);
        }
        kill_members(group);
        write_file(group, "freezer.state", "THAWED", 6);
    } else {
        kill_members(group);
    }
}

/* Version 1 ends nobody who is frozen, in whichever group of those above him. */
static void thaw(int group, int depth)
{
    char buffer[BUFFER] __attribute__((aligned(8)));
    if (!write_file(group, "freezer.state", "THAWED", 6) || depth == THAW_DEPTH) {
        return;
    }
    for (;;) {
        long length = pc_raw3(__NR_getdents64, group, pc_pointer(buffer), sizeof buffer);
        if (length <= 0) {
            return;
        }
        const struct pc_entry *entry;
        for (long at = 0; at < length; at += entry->size) {
            entry = (const struct pc_entry *)(const void *)(buffer + at);
            if (entry->type != PC_DIRECTORY || pc_equal(entry->name, ".") || pc_equal(entry->name, "..")) {
                continue;
            }
            long below = pc_open_directory(group, entry->name, O_RDONLY);
            if (below >= 0) {
                thaw((int)below, depth + 1);
                pc_close((int)below);
            }
        }
    }
}

void pc_cgroup_kill(int parent, const char *name)
{
    long group = pc_open_directory(parent, name, O_RDONLY);
    if (group < 0) {
        return;
    }
    if (!write_file((int)group, "cgroup.kill", "1", 1)) {
        kill_members((int)group);
        thaw((int)group, 0);
    }
    pc_close((int)group);
}

void pc_cgroup_thaw(int parent, const char *name)
{
    long group = pc_open_directory(parent, name, O_RDONLY);
    if (group >= 0) {
        write_file((int)group, "cgroup.freeze", "0", 1);
        write_file((int)group, "freezer.state", "THAWED", 6);
        pc_close((int)group);
    }
}

/* Removes the groups directly in this one. An fd of the first that cannot be, or -ENOENT when none is left. */
static long remove_children(int group, bool *progress)
{
    char buffer[BUFFER] __attribute__((aligned(8)));
    long busy = -ENOENT;
    pc_raw3(__NR_lseek, group, 0, 0);
    for (;;) {
        long length = pc_raw3(__NR_getdents64, group, pc_pointer(buffer), sizeof buffer);
        if (length <= 0) {
            return busy;
        }
        const struct pc_entry *entry;
        for (long at = 0; at < length; at += entry->size) {
            entry = (const struct pc_entry *)(const void *)(buffer + at);
            if (entry->type != PC_DIRECTORY || pc_equal(entry->name, ".") || pc_equal(entry->name, "..")) {
                continue;
            }
            if (pc_raw3(__NR_unlinkat, group, pc_pointer(entry->name), AT_REMOVEDIR) == 0) {
                *progress = true;
            } else if (busy < 0) {
                busy = pc_open_directory(group, entry->name, O_RDONLY);
            }
        }
    }
}

/*
 * Goes down to a group without groups in it, kills its members, and comes back up, removing what it can.  True
 * when something was removed.
 */
static bool prune(int top)
{
    bool progress = false;
    long group = pc_raw3(__NR_fcntl, top, F_DUPFD_CLOEXEC, 0);
    int depth = 0;
    while (group >= 0) {
        long child = remove_children((int)group, &progress);
        if (child < 0) {
            kill_group((int)group);
            break;
        }
        /* Version 1 ends nobody in a group below one that is frozen. */
        write_file((int)group, "freezer.state", "THAWED", 6);
        pc_close((int)group);
        group = child;
        depth++;
    }
    for (; group >= 0 && depth > 0; depth--) {
        long above = pc_raw4(__NR_openat, group, pc_pointer(".."), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
        pc_close((int)group);
        group = above;
        if (group >= 0) {
            long busy = remove_children((int)group, &progress);
            if (busy >= 0) {
                pc_close((int)busy);
            }
        }
    }
    if (group >= 0) {
        pc_close((int)group);
    }
    return progress;
}

long pc_cgroup_remove(int parent, const char *name)
{
    int64_t deadline = pc_now() + PATIENCE;
    for (;;) {
        long ret = pc_raw3(__NR_unlinkat, parent, pc_pointer(name), AT_REMOVEDIR);
        if (ret == 0 || ret == -ENOENT) {
            return 0;
        }
        if (ret != -EBUSY || pc_now() >= deadline) {
            return ret;
        }
        long group = pc_open_directory(parent, name, O_RDONLY);
        if (group < 0) {
            return group == -ENOENT ? 0 : group;
        }
        bool progress = prune((int)group);
        pc_close((int)group);
        if (progress) {
            deadline = pc_now() + PATIENCE;
        } else {
            pc_sleep(PAUSE);
        }
    }
}
