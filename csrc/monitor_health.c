/*
 * Health checks: a program that is run in the container every now and then, whose exit code 0 means "healthy".
 *
 * As Docker has it: a failure counts when the start period is over, or once a check has succeeded; so many
 * failures in turn are "unhealthy", one success is "healthy" again.  What a check writes is kept, its first 4 KiB.
 */
#include "monitor.h"

#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/signal.h>
#include <linux/wait.h>

enum { NEVER_RAN = -1, LATER = 50 };

static void drop(int *fd)
{
    if (*fd >= 0) {
        pc_close(*fd);
        *fd = -1;
    }
}

static bool in_start_period(const struct monitor *monitor, int64_t now)
{
    return monitor->health.state == HEALTH_STARTING && now - monitor->ran_since < monitor->plan.start_period;
}

static int64_t pause_of(const struct monitor *monitor, int64_t now)
{
    bool often = monitor->plan.start_interval > 0 && in_start_period(monitor, now);
    return often ? monitor->plan.start_interval : monitor->plan.interval;
}

void health_reset(struct monitor *monitor)
{
    struct health *health = &monitor->health;
    if (monitor->plan.health == 0) {
        return;
    }
    int64_t now = pc_now();
    health->state = HEALTH_STARTING;
    health->streak = 0;
    health->next = now + pause_of(monitor, now);
}

int64_t health_next(const struct monitor *monitor)
{
    const struct health *health = &monitor->health;
    if (health->state == HEALTH_NONE || monitor->phase != PC_PHASE_RUNNING) {
        return INT64_MAX;
    }
    return health->pid > 0 || health->launch.running ? health->expires : health->next;
}

/* Notes a result; `status` as wait(2) tells, or negative: it did not come to an end. */
static void conclude(struct monitor *monitor, int32_t status)
{
    struct health *health = &monitor->health;
    int64_t now = pc_now();
    int before = health->state;
    record_health(monitor, status, wall_clock());
    health->count++;
    if (status == 0) {
        health->state = HEALTH_GOOD;
        health->streak = 0;
    } else if (!in_start_period(monitor, now)) {
        health->streak++;
        if (health->streak >= monitor->plan.failures) {
            health->state = HEALTH_BAD;
        }
    }
    health->next = now + pause_of(monitor, now);
    if ((int)health->state != before) {
        record_event(monitor, "health_status"); /* first: who sees the status finds the event */
    }
    record_status(monitor, false);
    monitor_news(monitor);
}

static void begin(struct monitor *monitor, int64_t now)
{
    struct health *health = &monitor->health;
    int pipe[2] = {-1, -1};
    long null = pc_raw4(__NR_openat, AT_FDCWD, pc_pointer("/dev/null"), O_RDWR | O_CLOEXEC, 0);
    long ret = make_pipe(pipe, 0);
    if (null < 0 || ret < 0) {
        health->next = now + LATER;
        pc_close((int)null);
        return;
    }
    long errors = pc_raw3(__NR_fcntl, pipe[1], F_DUPFD_CLOEXEC, 3);
    int stdio[3] = {(int)null, pipe[1], (int)errors};
    health->output = pipe[0];
    health->began = wall_clock();
    health->length = 0;
    health->expires = now + monitor->plan.timeout;
    if (launch_begin(&health->launch, monitor->plan.health, monitor->plan.size, stdio, monitor->pidfd) < 0) {
        drop(&health->output);
        conclude(monitor, NEVER_RAN);
    }
}

static void collect_output(struct health *health)
{
    char rest[512];
    while (health->output >= 0) {
        bool room = health->length < sizeof health->text;
        char *to = room ? health->text + health->length : rest;
        size_t size = room ? sizeof health->text - health->length : sizeof rest;
        if (!pc_readable(health->output)) {
            return;
        }
        long ret = pc_raw3(__NR_read, health->output, pc_pointer(to), (long)size);
        if (ret == -EAGAIN) {
            return;
        }
        if (ret <= 0) {
            drop(&health->output);
            return;
        }
        health->length += room ? (uint32_t)ret : 0;
    }
}

static void check_launch(struct monitor *monitor)
{
    struct health *health = &monitor->health;
    struct launch *launch = &health->launch;
    if (launch->done >= 0 && pc_readable(launch->done)) {
        if (launch_cloned(launch) < 0) {
            launch_close(launch);
            drop(&health->output);
            conclude(monitor, NEVER_RAN);
            return;
        }
    }
    if (launch->running && launch->done < 0 && pc_readable(launch->report)) {
        health->pid = launch->result.pid; /* of a failed execve its exit code tells */
        health->pidfd = launch->result.pidfd;
        launch->result.pidfd = -1;
        launch_close(launch);
    }
}

static void end_program(struct health *health)
{
    /* Its session's first group, too: a shell leaves what it waits for.  Not waited for yet, so it is still its. */
    pc_raw2(__NR_kill, -(long)health->pid, SIGKILL);
    end_process(health->pid);
    health->launch.stray = health->pid;
    health->pid = 0;
    drop(&health->pidfd);
    launch_is_clear(&health->launch);
}

void health_stop(struct monitor *monitor)
{
    struct health *health = &monitor->health;
    launch_kill(&health->launch);
    if (health->pid > 0) {
        end_program(health);
    }
    drop(&health->output);
}

void health_step(struct monitor *monitor, int64_t now)
{
    struct health *health = &monitor->health;
    if (health->state == HEALTH_NONE || monitor->phase != PC_PHASE_RUNNING) {
        return;
    }
    collect_output(health);
    if (health->launch.running) {
        check_launch(monitor);
    }
    if (health->pid > 0 && pc_readable(health->pidfd)) {
        int status = 0;
        if (pc_raw4(__NR_wait4, health->pid, pc_pointer(&status), WNOHANG | __WALL, 0) == health->pid) {
            health->pid = 0;
            drop(&health->pidfd);
            collect_output(health);
            drop(&health->output);
            conclude(monitor, status);
        }
    }
    if ((health->launch.running || health->pid > 0) && now >= health->expires) {
        health_stop(monitor);
        conclude(monitor, NEVER_RAN);
    }
    if (!health->launch.running && health->pid == 0 && now >= health->next) {
        if (launch_is_clear(&health->launch)) {
            begin(monitor, now);
        } else {
            health->next = now + LATER;
        }
    }
}
