/*
 * Has the container's first process ended, though nobody is told of it?
 *
 * A program that a client started in the container is the client's child.  The end of the container kills it, but it
 * is there until the client asks for it, and as long the kernel does not tell of the first process's end
 * (pid_namespaces(7); zap_pid_ns_processes() waits for all of the namespace to be reaped).  By then it has closed its
 * files and left its namespaces and cgroups: for all that it did it is over, and /proc tells its exit status.
 *
 * Nothing wakes who waits for that.  But its output is closed, or it was sent SIGKILL: then it is looked, now and then.
 */
#include "monitor.h"

#include <linux/fcntl.h>

enum {
    PF_EXITING = 4, /* in field 9 of proc_pid_stat(5); include/linux/sched.h of the kernel */
    FIRST_LOOK = 10,
    LONGEST_PAUSE = 4000, /* of one that closed its output and goes on: milliseconds */
    FIELD_STATE = 3,
    FIELD_FLAGS = 9,
    FIELD_TICKS = 22,
    FIELD_STATUS = 52,
};

long read_file(int directory, const char *path, char *buffer, size_t size)
{
    long fd = pc_raw4(__NR_openat, directory, pc_pointer(path), O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) {
        return fd;
    }
    long ret = pc_raw3(__NR_read, fd, pc_pointer(buffer), (long)size);
    pc_close((int)fd);
    return ret;
}

uint64_t number_at(const char **at, const char *end)
{
    uint64_t number = 0;
    while (*at < end && **at >= '0' && **at <= '9') {
        number = number * 10 + (uint64_t)(*(*at)++ - '0');
    }
    return number;
}

/* Where a field begins: the second may have anything in it, but ends with the last ')'. */
static const char *field_at(const char *data, const char *end, int field)
{
    const char *at = data;
    for (const char *each = data; each < end; each++) {
        at = *each == ')' ? each : at;
    }
    for (int spaces = 2; at < end && spaces < field; at++) {
        spaces += *at == ' ';
    }
    return at;
}

static uint64_t number_of(const char *data, const char *end, int field)
{
    const char *at = field_at(data, end, field);
    return number_at(&at, end);
}

/* The directory of a process in /proc, or -errno. */
static long open_process(long pid)
{
    char path[32];
    struct text name = {.data = path, .size = sizeof path - 1};
    text_add(&name, "/proc/");
    text_number(&name, (uint64_t)pid);
    path[name.length] = '\0';
    return pc_raw4(__NR_openat, AT_FDCWD, pc_pointer(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
}

uint64_t read_ticks(long pid)
{
    char data[1024];
    long process = open_process(pid);
    if (process < 0) {
        return 0;
    }
    long length = read_file((int)process, "stat", data, sizeof data);
    pc_close((int)process);
    return length > 0 ? number_of(data, data + length, FIELD_TICKS) : 0;
}

/* Does this thread go on? If not: what it ended with, unless it was over before the others. */
static bool thread_lives(int tasks, const char *thread, int32_t *status)
{
    char path[32], data[1024];
    struct text name = {.data = path, .size = sizeof path - 1};
    text_add(&name, thread);
    text_add(&name, "/stat");
    path[name.length] = '\0';
    long length = read_file(tasks, path, data, sizeof data);
    if (length <= 0) {
        return false;
    }
    const char *end = data + length, *state = field_at(data, end, FIELD_STATE);
    if (!(number_of(data, end, FIELD_FLAGS) & PF_EXITING)) {
        return true;
    }
    if (state < end && *state != 'Z') {
        *status = (int32_t)number_of(data, end, FIELD_STATUS);
    }
    return false;
}

bool process_is_over(long pid, int32_t *status)
{
    char buffer[1024] __attribute__((aligned(8)));
    *status = -1;
    long process = open_process(pid);
    if (process < 0) {
        return false;
    }
    long tasks = pc_raw4(__NR_openat, process, pc_pointer("task"), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    pc_close((int)process);
    bool lives = tasks < 0;
    long length;
    while (!lives && (length = pc_raw3(__NR_getdents64, tasks, pc_pointer(buffer), sizeof buffer)) > 0) {
        const struct pc_entry *entry;
        for (long at = 0; !lives && at < length; at += entry->size) {
            entry = (const struct pc_entry *)(const void *)(buffer + at);
            lives = entry->name[0] != '.' && thread_lives((int)tasks, entry->name, status);
        }
    }
    if (tasks >= 0) {
        pc_close((int)tasks);
    }
    return !lives && *status >= 0;
}

void looks_begin(struct monitor *monitor)
{
    monitor->pause = FIRST_LOOK;
    monitor->look = pc_now() + FIRST_LOOK;
    monitor->seen_over = false;
}

void looks_stop(struct monitor *monitor)
{
    monitor->pause = 0;
    monitor->look = INT64_MAX;
}

/* Twice in a row: at the first time it may be about to close its files. */
bool looks_step(struct monitor *monitor, int64_t now, int32_t *status)
{
    if (now < monitor->look || monitor->pid <= 0) {
        return false;
    }
    bool before = monitor->seen_over;
    monitor->seen_over = process_is_over(monitor->pid, status);
    if (!monitor->seen_over) {
        if (monitor->killed) {
            kill_cgroups(monitor); /* who froze it at that moment would keep it from dying */
        }
        monitor->pause = monitor->pause * 2 < LONGEST_PAUSE ? monitor->pause * 2 : LONGEST_PAUSE;
    } else {
        monitor->pause = FIRST_LOOK;
    }
    monitor->look = now + monitor->pause;
    return before && monitor->seen_over;
}
