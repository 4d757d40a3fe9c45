/* The cgroup of a round: a directory in each tree, limited, joined, read and removed. */
#define _GNU_SOURCE
#include "floor.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void write_file(int dir, const char *file, const char *text)
{
    int fd = (int)must(openat(dir, file, O_WRONLY | O_CLOEXEC), file);
    must(write(fd, text, strlen(text)), file);
    close(fd);
}

/* "file=value" */
static void limit(int dir, const char *setting)
{
    char file[64];
    const char *value = strchr(setting, '=');
    must(value != NULL && value - setting < (long)sizeof file ? 0 : -1, setting);
    memcpy(file, setting, (size_t)(value - setting));
    file[value - setting] = '\0';
    write_file(dir, file, value + 1);
}

void take_seat(const struct floor *floor, struct seat *seat)
{
    seat->unified = -1;
    snprintf(seat->name, sizeof seat->name, "floor-%ld", syscall(SYS_gettid));
    for (size_t i = 0; i < floor->spot_count; i++) {
        const struct spot *spot = &floor->spots[i];
        must(mkdirat(spot->parent, seat->name, 0755), "mkdirat");
        seat->dirs[i] = (int)must(openat(spot->parent, seat->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC), "openat");
        for (size_t j = 0; j < spot->limits.count; j++) {
            limit(seat->dirs[i], spot->limits.items[j]);
        }
        seat->tasks[i] = spot->unified ? -1 : (int)must(openat(seat->dirs[i], "tasks", O_WRONLY | O_CLOEXEC), "tasks");
        seat->unified = spot->unified ? seat->dirs[i] : seat->unified;
    }
}

/* Have the process that is to be cloned begin in the tree of version 2. */
void start_in(struct clone_args *args, const struct seat *seat)
{
    if (seat->unified >= 0) {
        args->flags |= CLONE_INTO_CGROUP;
        args->cgroup = (__u64)seat->unified;
    }
}

/* In the child: "0" is the writer. */
void sit_down(const struct floor *floor, const struct seat *seat)
{
    for (size_t i = 0; i < floor->spot_count; i++) {
        if (seat->tasks[i] >= 0) {
            SYS(write, seat->tasks[i], "0", 1);
        }
    }
}

void leave_seat(const struct floor *floor, const struct seat *seat)
{
    static _Thread_local char content[65536];
    for (size_t i = 0; i < floor->spot_count; i++) {
        const struct spot *spot = &floor->spots[i];
        for (size_t j = 0; j < spot->counters.count; j++) {
            int fd = (int)must(openat(seat->dirs[i], spot->counters.items[j], O_RDONLY | O_CLOEXEC), "counter");
            must(read(fd, content, sizeof content), spot->counters.items[j]);
            close(fd);
        }
        must(unlinkat(spot->parent, seat->name, AT_REMOVEDIR), "rmdir");
        close(seat->dirs[i]);
        if (seat->tasks[i] >= 0) {
            close(seat->tasks[i]);
        }
    }
}
