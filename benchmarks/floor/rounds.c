/* The parent's side of a round: pipes, the clone, and then reading and waiting until all is over. */
#define _GNU_SOURCE
#include "floor.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SHARED (CLONE_VM | CLONE_VFORK | CLONE_CLEAR_SIGHAND)

static void make_pipe(int *ours, int *childs)
{
    int ends[2];
    must(pipe2(ends, O_CLOEXEC), "pipe2");
    must(fchmod(ends[0], 0666), "fchmod");
    *ours = ends[0];
    *childs = ends[1];
}

static struct streams open_streams(void)
{
    struct streams streams;
    unsigned char name[6];
    must(getrandom(name, sizeof name, 0), "getrandom");
    streams.child[0] = (int)must(open("/dev/null", O_RDWR | O_CLOEXEC), "/dev/null");
    make_pipe(&streams.out, &streams.child[1]);
    make_pipe(&streams.err, &streams.child[2]);
    int ends[2];
    must(pipe2(ends, O_CLOEXEC), "pipe2");
    streams.report = ends[0];
    streams.child[3] = ends[1];
    return streams;
}

static void reap(idtype_t type, int id, int *status)
{
    struct rusage usage;
    siginfo_t info;
    SYS(waitid, type, id, &info, WEXITED | __WALL, &usage);
    *status = info.si_code == CLD_EXITED ? info.si_status : 255;
}

/* Until the program is executed. */
static void hear(struct streams *streams)
{
    int error;
    close(streams->child[3]);
    struct pollfd polled = {streams->report, POLLIN, 0};
    must(poll(&polled, 1, -1), "poll");
    must(read(streams->report, &error, sizeof error) == 0 ? 0 : -1, "the step");
    close(streams->report);
}

/* Reads both pipes until they end, and the process too. */
static void finish(struct streams *streams, int pid)
{
    static _Thread_local char buffer[65536];
    int status = 0;
    int pidfd = (int)SYS(pidfd_open, pid, 0);
    for (int i = 0; i < 3; i++) {
        close(streams->child[i]);
    }
    must(fcntl(streams->out, F_SETFL, O_NONBLOCK), "fcntl");
    must(fcntl(streams->err, F_SETFL, O_NONBLOCK), "fcntl");
    struct pollfd polled[3] = {{streams->out, POLLIN, 0}, {streams->err, POLLIN, 0}, {pidfd, POLLIN, 0}};
    for (int open = 3; open > 0;) {
        must(poll(polled, 3, -1), "poll");
        for (int i = 0; i < 3; i++) {
            if (polled[i].fd < 0 || polled[i].revents == 0) {
                continue;
            }
            if (i == 2) {
                reap(P_PIDFD, pidfd, &status);
            } else if (must(read(polled[i].fd, buffer, sizeof buffer), "read") > 0) {
                continue;
            }
            close(polled[i].fd);
            polled[i].fd = -1;
            open--;
        }
    }
    must(status == 0 ? 0 : -1, "the program");
}

/* What is in the writable layer: nothing, after `true`. */
static void read_changes(struct streams *streams)
{
    char entries[4096];
    int upper = receive_fd(streams->exports[0], MSG_DONTWAIT);
    close(streams->exports[0]);
    close(streams->exports[1]);
    int dir = (int)must(openat(upper, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), "upper");
    while (SYS(getdents64, dir, entries, sizeof entries) > 0) {
    }
    close(dir);
    close(upper);
}

/* Memory that a container's ids share for a moment is hidden from tracers, and no signal handler runs in it. */
static uint64_t guard(void)
{
    uint64_t all = ~0ULL, before = 0;
    must(prctl(PR_GET_DUMPABLE), "PR_GET_DUMPABLE");
    must(prctl(PR_SET_DUMPABLE, 0), "PR_SET_DUMPABLE");
    SYS(rt_sigprocmask, SIG_SETMASK, &all, &before, 8);
    return before;
}

static void unguard(uint64_t before)
{
    SYS(rt_sigprocmask, SIG_SETMASK, &before, NULL, 8);
    must(prctl(PR_SET_DUMPABLE, 1), "PR_SET_DUMPABLE");
}

void start_round(const struct floor *floor, const struct identity *identity)
{
    int pid = -1, status;
    struct streams streams = open_streams(), childs;
    must(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, streams.exports), "socketpair");
    take_seat(floor, &streams.seat);
    childs = streams;
    uint64_t before = guard();
    struct clone_args args = {.flags = SHARED | (identity == NULL ? inner_namespaces(floor) : 0)};
    if (identity == NULL) {
        start_in(&args, &streams.seat);
    }
    long child = clone_shared(&args, sizeof args);
    if (child == 0) {
        if (identity == NULL) {
            inner_start(floor, NULL, &childs, -1, -1, -1);
        }
        outer_start(floor, identity, &childs, &pid);
    }
    must_raw(child, "clone3");
    if (identity == NULL) {
        pid = (int)child;
    } else {
        reap(P_PID, (int)child, &status);
        must(status == 0 ? 0 : -1, "the outer process");
    }
    unguard(before);
    hear(&streams);
    look_around(floor, &streams.seat);
    finish(&streams, pid);
    leave_seat(floor, &streams.seat);
    read_changes(&streams);
}

void exec_round(const struct floor *floor)
{
    int pid = -1, status;
    struct streams streams = open_streams(), childs;
    take_seat(floor, &streams.seat);
    childs = streams;
    uint64_t before = guard();
    struct clone_args args = {.flags = SHARED};
    long child = clone_shared(&args, sizeof args);
    if (child == 0) {
        outer_exec(floor, &childs, &pid);
    }
    reap(P_PID, (int)must_raw(child, "clone3"), &status);
    must(status == 0 ? 0 : -1, "the outer process");
    unguard(before);
    hear(&streams);
    look_around(floor, &streams.seat);
    finish(&streams, pid);
    leave_seat(floor, &streams.seat);
}
