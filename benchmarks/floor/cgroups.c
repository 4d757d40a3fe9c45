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

static int open_in_seat(const struct spot *spot, const struct seat *seat, const char *file, int flags)
{
    char path[128];
    must((size_t)snprintf(path, sizeof path, "%s/%s", seat->name, file) < sizeof path ? 0 : -1, file);
    return (int)must(openat(spot->parent, path, flags | O_CLOEXEC), file);
}

/* "file=value" */
static void limit(const struct spot *spot, const struct seat *seat, const char *setting)
{
    char file[64];
    const char *value = strchr(setting, '=');
    must(value != NULL && value - setting < (long)sizeof file ? 0 : -1, setting);
    memcpy(file, setting, (size_t)(value - setting));
    file[value - setting] = '\0';
    int fd = open_in_seat(spot, seat, file, O_WRONLY);
    must(write(fd, value + 1, strlen(value + 1)), file);
    close(fd);
}

void take_seat(const struct floor *floor, struct seat *seat)
{
    seat->unified = -1;
    snprintf(seat->name, sizeof seat->name, "floor-%ld", syscall(SYS_gettid));
    for (size_t i = 0; i < floor->spot_count; i++) {
        const struct spot *spot = &floor->spots[i];
        must(mkdirat(spot->parent, seat->name, 0755), "mkdirat");
        if (spot->unified) {
            seat->tasks[i] = -1;
            seat->unified = (int)must(openat(spot->parent, seat->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC), "openat");
        } else {
            seat->tasks[i] = open_in_seat(spot, seat, "tasks", O_WRONLY);
        }
        for (size_t j = 0; j < spot->limits.count; j++) {
            limit(spot, seat, spot->limits.items[j]);
        }
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

void look_around(const struct floor *floor, const struct seat *seat)
{
    char path[128];
    for (size_t i = 0; i < floor->spot_count; i++) {
        const struct spot *spot = &floor->spots[i];
        for (size_t j = 0; j < spot->counters.count; j++) {
            snprintf(path, sizeof path, "%s/%s", seat->name, spot->counters.items[j]);
            must(faccessat(spot->parent, path, F_OK, 0), path);
        }
    }
}

void leave_seat(const struct floor *floor, const struct seat *seat)
{
    static _Thread_local char content[65536];
    for (size_t i = 0; i < floor->spot_count; i++) {
        const struct spot *spot = &floor->spots[i];
        for (size_t j = 0; j < spot->counters.count; j++) {
            int fd = open_in_seat(spot, seat, spot->counters.items[j], O_RDONLY);
            must(read(fd, content, sizeof content), spot->counters.items[j]);
            close(fd);
        }
        must(unlinkat(spot->parent, seat->name, AT_REMOVEDIR), "rmdir");
        if (seat->tasks[i] >= 0) {
            close(seat->tasks[i]);
        }
    }
    if (seat->unified >= 0) {
        close(seat->unified);
    }
}
