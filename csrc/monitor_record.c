/*
 * What the monitor writes down: the file `status`, replaced as a whole; a line in the file `events` of all containers;
 * the results of the last health checks.
 */
#include "monitor.h"

#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/signal.h>
#include <linux/uio.h>

enum { FILE_MODE = 0600, RESULTS = 5, STATUS = 1024 /* bytes of the file */ };

static const char *const PHASES[] = {"starting", "running", "restarting", "exited", "dead"};
static const char *const HEALTHS[] = {"", "starting", "healthy", "unhealthy"};

int exit_code(int32_t status)
{
    int number = status & 0x7f; /* wait(2): the low bits are the signal, the next byte the status */
    return number != 0 ? 128 + number : (status >> 8) & 0xff;
}

static long write_all(int fd, const char *data, size_t length)
{
    while (length > 0) {
        long ret = pc_raw3(__NR_write, fd, pc_pointer(data), (long)length);
        if (ret == -EINTR) {
            continue;
        }
        if (ret <= 0) {
            return ret < 0 ? ret : -EIO;
        }
        data += ret;
        length -= (size_t)ret;
    }
    return 0;
}

static void replace(const char *name, const char *partial, const struct text *head, const struct text *rest)
{
    long fd = pc_raw4(__NR_openat, PC_MONITOR_FOLDER, pc_pointer(partial),
                      O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    if (fd < 0) {
        return;
    }
    long ret = write_all((int)fd, head->data, head->length);
    if (ret == 0) {
        ret = write_all((int)fd, rest->data, rest->length);
    }
    pc_close((int)fd);
    if (ret == 0) {
        pc_raw5(__NR_renameat2, PC_MONITOR_FOLDER, pc_pointer(partial), PC_MONITOR_FOLDER, pc_pointer(name), 0);
    }
}

/* Has room for the status, now and whenever there is none left: two files, which change their names. 0 or -errno. */
long record_reserve(void)
{
    static const char *const NAMES[] = {"status", "status.new"};
    char blank[STATUS];
    memset(blank, '\n', sizeof blank);
    long ret = 0;
    for (int i = 0; i < 2 && ret >= 0; i++) {
        long fd = pc_raw4(__NR_openat, PC_MONITOR_FOLDER, pc_pointer(NAMES[i]),
                          O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
        if (fd < 0) {
            return fd;
        }
        long size = pc_raw3(__NR_lseek, fd, 0, 2 /* SEEK_END */);
        if (size >= 0 && size < STATUS) {
            ret = write_all((int)fd, blank, (size_t)(STATUS - size));
        }
        pc_close((int)fd);
    }
    return ret;
}

/* Writes over what is there, which needs no room; a reader sees the one before, or this one. */
static void put_status(struct text *text, bool durable)
{
    memset(text->data + text->length, '\n', STATUS - text->length);
    long fd = pc_raw4(__NR_openat, PC_MONITOR_FOLDER, pc_pointer("status.new"),
                      O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    if (fd < 0) {
        return;
    }
    long ret = write_all((int)fd, text->data, STATUS);
    if (ret == 0) {
        ret = pc_raw2(__NR_ftruncate, fd, STATUS);
    }
    if (ret == 0 && durable) {
        ret = pc_raw1(__NR_fsync, fd);
    }
    pc_close((int)fd);
    const long from = pc_pointer("status.new"), to = pc_pointer("status");
    if (ret == 0) {
        ret = pc_raw5(__NR_renameat2, PC_MONITOR_FOLDER, from, PC_MONITOR_FOLDER, to, RENAME_EXCHANGE);
    }
    if (ret < 0 && ret != -ENOSPC) {
        pc_raw5(__NR_renameat2, PC_MONITOR_FOLDER, from, PC_MONITOR_FOLDER, to, 0);
    }
    if (durable) {
        pc_raw1(__NR_fsync, PC_MONITOR_FOLDER);
    }
}

static void field(struct text *text, const char *name, uint64_t number)
{
    text_add(text, name);
    text_add(text, "=");
    text_number(text, number);
    text_add(text, "\n");
}

static void word(struct text *text, const char *name, const char *value)
{
    text_add(text, name);
    text_add(text, "=");
    text_add(text, value);
    text_add(text, "\n");
}

void record_status(const struct monitor *monitor, bool durable)
{
    char data[STATUS];
    struct text text = {.data = data, .size = sizeof data};
    word(&text, "phase", PHASES[monitor->phase]);
    word(&text, "boot", monitor->plan.boot);
    field(&text, "monitor", (uint64_t)monitor->self);
    field(&text, "pid", monitor->pid > 0 ? (uint64_t)monitor->pid : 0);
    field(&text, "ticks", monitor->ticks);
    field(&text, "started", monitor->started);
    field(&text, "finished", monitor->finished);
    if (monitor->finished != 0 && monitor->phase != PC_PHASE_DEAD && monitor->failure.step == 0) {
        field(&text, "code", (uint64_t)exit_code(monitor->status));
        field(&text, "signal", (uint64_t)(monitor->status & 0x7f));
    }
    field(&text, "oom", monitor->oom);
    field(&text, "restarts", monitor->restarts);
    field(&text, "lost", monitor->log.lost);
    if (monitor->failure.error != 0) {
        field(&text, "step", (uint64_t)monitor->failure.step);
        field(&text, "errno", (uint64_t)monitor->failure.error);
        field(&text, "op", (uint64_t)(monitor->failure.op + 1));
    }
    if (monitor->health.state != HEALTH_NONE) {
        word(&text, "health", HEALTHS[monitor->health.state]);
        field(&text, "streak", monitor->health.streak);
    }
    text_add(&text, "end\n");
    put_status(&text, durable);
}

void record_event(const struct monitor *monitor, const char *action)
{
    char data[512];
    struct text text = {.data = data, .size = sizeof data};
    text_number(&text, wall_clock());
    text_add(&text, " ");
    text_add(&text, monitor->plan.id);
    text_add(&text, " ");
    text_add(&text, action);
    if (pc_equal(action, "die")) {
        text_add(&text, " exit_code=");
        text_number(&text, (uint64_t)exit_code(monitor->status));
    }
    if (pc_equal(action, "health_status")) {
        text_add(&text, " health=");
        text_add(&text, HEALTHS[monitor->health.state]);
    }
    text_add(&text, "\n");
    /* By name each time: who finds it too long gives it another one. */
    long fd = pc_raw4(__NR_openat, PC_MONITOR_ABOVE, pc_pointer("events"),
                      O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    if (fd >= 0) {
        pc_raw3(__NR_write, fd, pc_pointer(data), (long)text.length);
        pc_close((int)fd);
    }
}

/* A file for each of the last results: a line with begin, end and exit code, then what was written. */
void record_health(const struct monitor *monitor, int32_t status, uint64_t ended)
{
    const struct health *health = &monitor->health;
    char data[128], name[16];
    struct text text = {.data = data, .size = sizeof data}, file = {.data = name, .size = sizeof name - 1};
    text_number(&text, health->began);
    text_add(&text, " ");
    text_number(&text, ended);
    text_add(&text, status < 0 ? " -" : " ");
    text_number(&text, status < 0 ? 1 : (uint64_t)exit_code(status));
    text_add(&text, "\n");
    text_add(&file, "health.");
    text_number(&file, health->count % RESULTS);
    name[file.length] = '\0';
    struct text rest = {.data = (char *)(uintptr_t)health->text, .length = health->length};
    replace(name, "health.new", &text, &rest);
}

uint64_t read_oom_kills(int fd)
{
    char data[512];
    static const char KEY[] = "oom_kill ";
    long length = fd < 0 ? 0 : pc_raw4(__NR_pread64, fd, pc_pointer(data), sizeof data, 0);
    const char *end = data + (length > 0 ? length : 0);
    for (const char *at = data; at + sizeof KEY - 1 < end; at++) {
        if ((at == data || at[-1] == '\n') && memcmp(at, KEY, sizeof KEY - 1) == 0) {
            at += sizeof KEY - 1;
            return number_at(&at, end);
        }
    }
    return 0;
}
