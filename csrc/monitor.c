/*
 * The monitor of a detached container: its parent, after whoever made it has gone.
 *
 *   client                          monitor                              container
 *   ------                          -------                              ---------
 *   spawns it with a plan   ------> leaves its parent, makes the guard
 *                                   starts the container  -------------> program
 *   <------ how the start went ---- READY
 *   (may end)                       copies output to the log <---------- writes
 *                                   answers clients (monitor_protocol.h)
 *                                   checks health (monitor_health.c)
 *                                   notes the end, durably  <----------- ends
 *                                   starts it again, as the policy says
 *                                   removes its cgroup, ends
 *
 * The guard is a second process with the same memory and the same files, which costs next to nothing.  It waits for
 * the monitor's end.  Was that not in order, it ends the container, notes that, and removes the cgroup: a
 * container never outlives its monitor.  When the guard is killed, the monitor makes another one.  When both are, the
 * lock of the file `alive` is free, and the next process that looks ends what is left.
 *
 * Nothing of this can be reached from inside: the monitor is in no namespace of the container, is not dumpable, and a
 * program of the container gets no fd but its own three streams.
 */
#include "monitor.h"

#include "cgroups.h"
#include "clone3.h"
#include "tree.h"

#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/poll.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/signal.h>
#include <linux/signalfd.h>
#include <linux/wait.h>

enum {
    EXIT_USAGE = 125,
    GUARD_STACK = 1 << 19,   /* of a tree of cgroups each level takes 4 KiB; what is not used costs nothing */
    DEATH = 10000,           /* how long the guard waits for the end of what it killed */
    FIRST_DELAY = 100,       /* milliseconds before the first restart      */
    LONGEST_DELAY = 60000,
    LONG_RUN = 10000,        /* who ran that long is restarted at once again */
    LATER = 20,
    PIPE_MODE = 0666,
    STUCK = 200,             /* a start that takes longer may be frozen    */
    FIXED = 10,              /* entries in the list for ppoll(2) before the clients */
};

static struct monitor the;
static char guard_stack[GUARD_STACK] __attribute__((aligned(16)));

void end_process(long pid)
{
    pc_raw2(__NR_kill, pid, SIGKILL);
}

static void drop(int *fd)
{
    if (*fd >= 0) {
        pc_close(*fd);
        *fd = -1;
    }
}

void monitor_news(struct monitor *monitor)
{
    monitor->serial++;
    clients_tell(monitor);
}

void kill_cgroups(const struct monitor *monitor)
{
    for (uint32_t i = 0; i < monitor->plan.cgroup_count; i++) {
        pc_cgroup_kill(monitor->plan.cgroups[i], monitor->plan.cgroup);
    }
}

/* A pause is of a run, and what is about to begin is none: it would never come to be one. */
static void thaw_cgroups(const struct monitor *monitor)
{
    for (uint32_t i = 0; i < monitor->plan.cgroup_count; i++) {
        pc_cgroup_thaw(monitor->plan.cgroups[i], monitor->plan.cgroup);
    }
}

static void remove_cgroups(const struct monitor *monitor)
{
    bool complete = true;
    for (uint32_t i = 0; i < monitor->plan.cgroup_count; i++) {
        complete &= pc_cgroup_remove(monitor->plan.cgroups[i], monitor->plan.cgroup) == 0;
    }
    if (complete) {
        pc_raw3(__NR_unlinkat, PC_MONITOR_FOLDER, pc_pointer("cgroups"), 0); /* nobody has to look for them */
    }
}

static void remove_folder(const struct monitor *monitor)
{
    int userns = monitor->plan.flags & PC_MONITOR_USERNS ? monitor->plan.userns : -1;
    char name[sizeof monitor->plan.id + 8];
    struct text text = {.data = name, .size = sizeof name - 1};
    text_add(&text, ".gone-");
    text_add(&text, monitor->plan.id);
    name[text.length] = '\0';
    record_event(monitor, "destroy");
    /* First of all it is not there any more: nobody sees a container that is half removed. */
    pc_raw5(__NR_renameat2, PC_MONITOR_ABOVE, pc_pointer(monitor->plan.id), PC_MONITOR_ABOVE, pc_pointer(name), 0);
    pc_tree_remove(PC_MONITOR_ABOVE, name, userns);
}

/* -- the guard ---------------------------------------------------------------------------------------------------- */

static void await(int fd, int64_t milliseconds)
{
    struct pollfd poll = {.fd = fd, .events = POLLIN};
    struct timespec time = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000};
    while (pc_raw5(__NR_ppoll, pc_pointer(&poll), 1, milliseconds < 0 ? 0 : pc_pointer(&time), 0, 0) == -EINTR) {
    }
}

/* Until the killed first process has ended: it may be kept from being reaped, see monitor_end.c. */
static void await_end(const struct monitor *monitor)
{
    int64_t deadline = pc_now() + DEATH;
    int32_t status;
    do {
        await(monitor->pidfd, LATER);
    } while (!pc_readable(monitor->pidfd) && !process_is_over(monitor->pid, &status) && pc_now() < deadline);
}

static void guard_entry(void *argument)
{
    struct monitor *monitor = argument;
    pc_raw5(__NR_prctl, PR_SET_NAME, pc_pointer("guard"), 0, 0, 0);
    await(monitor->self_fd, -1);
    if (monitor->over) {
        pc_exit(0);
    }
    /* Whatever was on its way: these are not our children, and the kernel gives a number away again only later. */
    if (monitor->launch.running && monitor->launch.outer > 0) {
        end_process(monitor->launch.outer);
        if (monitor->launch.result.pid > 0) {
            end_process(monitor->launch.result.pid);
        }
    }
    if (monitor->launch.running && monitor->launch.result.pidfd >= 0) {
        pc_raw4(__NR_pidfd_send_signal, monitor->launch.result.pidfd, SIGKILL, 0, 0);
    }
    kill_cgroups(monitor);
    if (monitor->pidfd >= 0) {
        pc_raw4(__NR_pidfd_send_signal, monitor->pidfd, SIGKILL, 0, 0);
        await_end(monitor);
    }
    remove_cgroups(monitor);
    if (!monitor->first) {
        monitor->phase = PC_PHASE_DEAD;
        monitor->finished = wall_clock();
        record_status(monitor, true);
        record_event(monitor, "dead");
        clients_tell(monitor);
        if (monitor->plan.flags & PC_MONITOR_REMOVE) {
            remove_folder(monitor);
        }
    }
    pc_exit(0);
}

static long make_guard(struct monitor *monitor)
{
    struct clone_args args = {.flags = CLONE_VM | CLONE_FILES | CLONE_FS | CLONE_PIDFD,
                              .pidfd = (uint64_t)(uintptr_t)&monitor->guard_fd,
                              .stack = (uint64_t)(uintptr_t)guard_stack,
                              .stack_size = sizeof guard_stack};
    return monitor->guard = pc_clone_onto(&args, guard_entry, monitor);
}

static void check_guard(struct monitor *monitor)
{
    int status;
    if (pc_raw4(__NR_wait4, monitor->guard, pc_pointer(&status), WNOHANG | __WALL, 0) == monitor->guard) {
        drop(&monitor->guard_fd);
        make_guard(monitor);
    }
}

/* -- output ------------------------------------------------------------------------------------------------------- */

static void copy_output(struct monitor *monitor, int stream)
{
    struct log *log = &monitor->log;
    bool failing = log->failing;
    log->read = clients_have_read(monitor);
    if (!log_copy(log, stream, monitor->output[stream])) {
        if (monitor->input == monitor->output[stream]) {
            monitor->input = -1;
        }
        drop(&monitor->output[stream]);
    }
    if (log->failing != failing || log->lost > 2 * monitor->noted) {
        monitor->noted = log->lost;
        record_status(monitor, false);
    }
    if (monitor->output[0] < 0 && monitor->output[1] < 0) {
        looks_begin(monitor);
    }
    monitor_news(monitor);
}

static void close_streams(struct monitor *monitor)
{
    if (monitor->input == monitor->output[0]) {
        monitor->input = -1;
    }
    for (int i = 0; i < STREAM_COUNT; i++) {
        while (monitor->output[i] >= 0 && pc_readable(monitor->output[i])) {
            copy_output(monitor, i);
        }
        drop(&monitor->output[i]);
    }
    drop(&monitor->input);
}

/* -- start and end ------------------------------------------------------------------------------------------------ */

static void tell_ready(const struct monitor *monitor)
{
    struct pc_monitor_ready ready = monitor->failure;
    ready.pid = (int32_t)monitor->pid;
    pc_raw3(__NR_write, PC_MONITOR_READY, pc_pointer(&ready), sizeof ready);
    pc_close(PC_MONITOR_READY);
    pc_close(PC_MONITOR_VERB); /* whoever wants to start or remove it now can, also when its creator was killed */
}

/* The end of everything, in order. */
static _Noreturn void finish(struct monitor *monitor)
{
    health_stop(monitor);
    remove_cgroups(monitor);
    if (monitor->first) {
        tell_ready(monitor);
    } else {
        monitor->phase = PC_PHASE_EXITED;
        record_status(monitor, true);
        monitor_news(monitor);
        if (monitor->plan.flags & PC_MONITOR_REMOVE) {
            remove_folder(monitor);
        }
    }
    monitor->over = true;
    pc_exit(0);
}

static bool should_restart(const struct monitor *monitor)
{
    if (monitor->last || monitor->first) {
        return false;
    }
    switch (monitor->plan.restart) {
    case PC_RESTART_ALWAYS:
        return true;
    case PC_RESTART_ON_FAILURE:
        return monitor->status != 0 && (monitor->plan.retries == 0 || monitor->restarts < monitor->plan.retries);
    default:
        return false;
    }
}

static void after_end(struct monitor *monitor)
{
    if (!should_restart(monitor)) {
        finish(monitor);
    }
    int64_t now = pc_now();
    if (monitor->delay == 0 || now - monitor->ran_since >= LONG_RUN) {
        monitor->delay = FIRST_DELAY;
    } else {
        monitor->delay = monitor->delay * 2 < LONGEST_DELAY ? monitor->delay * 2 : LONGEST_DELAY;
    }
    monitor->due = now + monitor->delay;
    monitor->phase = PC_PHASE_RESTARTING;
    record_status(monitor, false);
    monitor_news(monitor);
}

static void start_failed(struct monitor *monitor, int32_t step, int32_t error, int32_t op)
{
    launch_close(&monitor->launch);
    close_streams(monitor);
    monitor->pending = 0;
    monitor->failure = (struct pc_monitor_ready){.step = step, .error = error, .op = op};
    int code = step != PC_STEP_NONE ? EXIT_USAGE : error == ENOENT || error == ENOTDIR ? 127 : 126;
    monitor->status = code << 8;
    monitor->finished = wall_clock();
    after_end(monitor);
}

/*
 * A pipe of which `ours` stays here.  Its mode lets programs open it by name (/dev/stdout), whatever their ids; only who may
 * inspect a holder gets at it there (proc_pid_fd(5)).  And who opens it can take away what was there to be read.
 */
long make_pipe(int pair[2], int ours)
{
    long ret = pc_raw2(__NR_pipe2, pc_pointer(pair), O_CLOEXEC);
    if (ret == 0) {
        ret = pc_raw2(__NR_fchmod, pair[0], PIPE_MODE);
    }
    return ret == 0 && ours == 0 ? pc_raw3(__NR_fcntl, pair[0], F_SETFL, O_NONBLOCK) : ret;
}

/* The program's streams: `stdio` for it, the other ends here. */
static long make_streams(struct monitor *monitor, int stdio[3])
{
    stdio[0] = stdio[1] = stdio[2] = -1;
    if (monitor->plan.flags & PC_MONITOR_TTY) {
        return 0;
    }
    int pair[2];
    long ret = 0;
    for (int i = 0; i < STREAM_COUNT && ret >= 0; i++) {
        ret = make_pipe(pair, 0);
        if (ret >= 0) {
            monitor->output[i] = pair[0];
            stdio[1 + i] = pair[1];
        }
    }
    if (ret >= 0 && monitor->plan.flags & PC_MONITOR_INPUT) {
        ret = make_pipe(pair, 1);
        if (ret >= 0) {
            monitor->input = pair[1];
            stdio[0] = pair[0];
        }
    } else if (ret >= 0) {
        ret = stdio[0] = (int)pc_raw4(__NR_openat, AT_FDCWD, pc_pointer("/dev/null"), O_RDONLY | O_CLOEXEC, 0);
    }
    return ret < 0 ? ret : 0;
}

static void start(struct monitor *monitor)
{
    int stdio[3];
    monitor->phase = PC_PHASE_STARTING;
    looks_stop(monitor);
    thaw_cgroups(monitor);
    monitor->killed = false;
    monitor->oom_before = read_oom_kills(monitor->plan.oom);
    long ret = make_streams(monitor, stdio);
    if (ret == 0) {
        monitor->restoring = monitor->first && monitor->plan.restore != 0;
        uint32_t program = monitor->restoring ? monitor->plan.restore : monitor->plan.start;
        ret = launch_begin(&monitor->launch, program, monitor->plan.size, stdio, -1);
    } else {
        for (int i = 0; i < 3; i++) {
            drop(&stdio[i]);
        }
    }
    if (ret < 0) {
        start_failed(monitor, PC_STEP_CLONE_OUTER, (int32_t)-ret, -1);
    }
}

static void started(struct monitor *monitor)
{
    struct launch *launch = &monitor->launch;
    unsigned char tag;
    for (int fd = launch_receive(launch, &tag); fd >= 0; fd = launch_receive(launch, &tag)) {
        if (tag == PC_SENT_ROOT && monitor->root < 0) {
            monitor->root = fd;
        } else if (tag == PC_SENT_MASTER && monitor->output[0] < 0) {
            monitor->output[0] = monitor->input = fd;
        } else {
            pc_close(fd);
        }
    }
    launch_close(launch);
    monitor->failure = (struct pc_monitor_ready){0};
    monitor->ticks = read_ticks(monitor->pid);
    monitor->started = wall_clock();
    monitor->finished = 0;
    monitor->oom = false;
    monitor->ran_since = pc_now();
    monitor->phase = PC_PHASE_RUNNING;
    if (monitor->rows > 0 || monitor->columns > 0) {
        set_window(monitor);
    }
    bool first = monitor->first;
    monitor->restarts += !first;
    health_reset(monitor);
    record_event(monitor, !first ? "restart" : monitor->plan.restore != 0 ? "restore" : "start");
    record_status(monitor, true);
    monitor->first = false; /* before anybody knows that there is something to be ended */
    if (first) {
        tell_ready(monitor);
    }
    if (monitor->pending != 0) {
        monitor_signal(monitor, monitor->pending);
        monitor->pending = 0;
    }
    monitor_news(monitor);
}

static void check_launch(struct monitor *monitor)
{
    struct launch *launch = &monitor->launch;
    if (launch->done >= 0) {
        if (launch_cloned(launch) < 0) {
            start_failed(monitor, launch->result.step, launch->result.error, launch->result.op);
            return;
        }
        monitor->pid = launch->result.pid;
        monitor->pidfd = launch->result.pidfd;
        launch->result.pidfd = -1;
    }
    if (!pc_readable(launch->report)) {
        return;
    }
    int error = launch_outcome(launch);
    if (error == 0 && monitor->restoring) {
        launch_close(launch); /* its end tells what came of it: see check_end */
        return;
    }
    if (error == 0) {
        started(monitor);
        return;
    }
    int status;
    end_process(monitor->pid);
    while (pc_raw4(__NR_wait4, monitor->pid, pc_pointer(&status), __WALL, 0) == -EINTR) {
    }
    monitor->pid = 0;
    drop(&monitor->pidfd);
    start_failed(monitor, PC_STEP_NONE, error, -1);
}

/* What restores the container's processes has ended; they are our children now, or nothing is. */
static void restored(struct monitor *monitor, int32_t status)
{
    int error = restore_outcome(monitor, status);
    monitor->restoring = false;
    if (error == 0) {
        started(monitor);
        return;
    }
    kill_cgroups(monitor);
    drop(&monitor->pidfd);
    drop(&monitor->root);
    monitor->pid = 0;
    start_failed(monitor, PC_STEP_NONE, error, -1);
}

static void ended(struct monitor *monitor, int32_t status)
{
    looks_stop(monitor);
    monitor->status = status;
    monitor->pid = 0;
    drop(&monitor->pidfd);
    drop(&monitor->root);
    health_stop(monitor);
    close_streams(monitor);
    monitor->finished = wall_clock();
    monitor->oom = read_oom_kills(monitor->plan.oom) > monitor->oom_before;
    if (monitor->oom) {
        record_event(monitor, "oom");
    }
    record_event(monitor, "die");
    after_end(monitor);
}

static void check_end(struct monitor *monitor)
{
    int status = 0;
    /* It can have ended before the start is known to have succeeded: that first. */
    if (monitor->launch.running ||
        pc_raw4(__NR_wait4, monitor->pid, pc_pointer(&status), WNOHANG | __WALL, 0) != monitor->pid) {
        return;
    }
    if (monitor->restoring) {
        restored(monitor, status);
    } else {
        ended(monitor, status);
    }
}

static void look_for_end(struct monitor *monitor)
{
    int32_t status;
    if (monitor->unreaped > 0 && pc_raw4(__NR_wait4, monitor->unreaped, pc_pointer(&status), WNOHANG | __WALL, 0) != 0) {
        monitor->unreaped = 0;
    }
    if (monitor->phase == PC_PHASE_RUNNING && looks_step(monitor, pc_now(), &status)) {
        monitor->unreaped = monitor->pid; /* of several the last: the others go with the monitor */
        ended(monitor, status);
    }
}

bool monitor_signal(struct monitor *monitor, int number)
{
    if (monitor->launch.running && (number != SIGKILL || monitor->pidfd < 0)) {
        /* There is no program yet that could get it. */
        monitor->pending = monitor->pending == SIGKILL ? SIGKILL : number;
        return true;
    }
    if (monitor->pidfd < 0) {
        return false;
    }
    if (number == SIGKILL) {
        kill_cgroups(monitor);
        monitor->killed = true;
        looks_begin(monitor);
    }
    return pc_raw4(__NR_pidfd_send_signal, monitor->pidfd, number, 0, 0) >= 0;
}

void monitor_end(struct monitor *monitor)
{
    monitor->last = true; /* one that waits for its restart is looked at in serve() */
}

/* -- the loop ----------------------------------------------------------------------------------------------------- */

static int on_its_way(const struct launch *launch)
{
    return !launch->running ? -1 : launch->done >= 0 ? launch->done : launch->report;
}

static int64_t next_time(const struct monitor *monitor)
{
    int64_t next = health_next(monitor);
    if (monitor->phase == PC_PHASE_RESTARTING && monitor->due < next) {
        next = monitor->due;
    }
    if (monitor->launch.running && pc_now() + STUCK < next) {
        next = pc_now() + STUCK;
    }
    if (monitor->phase == PC_PHASE_RUNNING && monitor->look < next) {
        next = monitor->look;
    }
    return next;
}

static void wait_for_events(struct monitor *monitor, struct pollfd *polls)
{
    /* Not before the start is over: what is written after it is logged after it. */
    monitor->log.read = clients_have_read(monitor);
    bool starting = monitor->launch.running, full = log_is_full(&monitor->log);
    const int fixed[FIXED] = {
        PC_MONITOR_SOCKET,
        monitor->signals,
        monitor->guard_fd,
        starting ? -1 : monitor->pidfd,
        starting || full ? -1 : monitor->output[0],
        starting || full ? -1 : monitor->output[1],
        on_its_way(&monitor->launch),
        on_its_way(&monitor->health.launch),
        monitor->health.pid > 0 ? monitor->health.pidfd : -1,
        monitor->health.output,
    };
    uint32_t count = 0; /* to the last that is open: a list longer than RLIMIT_NOFILE is refused (poll(2)) */
    for (uint32_t i = 0; i < FIXED + PC_MONITOR_CLIENTS; i++) {
        int fd = i < FIXED ? fixed[i] : monitor->clients[i - FIXED];
        polls[i] = (struct pollfd){.fd = fd, .events = POLLIN};
        count = fd >= 0 ? i + 1 : count;
    }
    int64_t next = next_time(monitor), left = next - pc_now();
    left = left < 0 ? 0 : left;
    struct timespec time = {.tv_sec = left / 1000, .tv_nsec = left % 1000 * 1000000};
    long ret = pc_raw5(__NR_ppoll, pc_pointer(polls), count,
                       next == INT64_MAX ? 0 : pc_pointer(&time), 0, 0);
    for (uint32_t i = 0; ret <= 0 && i < FIXED + PC_MONITOR_CLIENTS; i++) {
        polls[i].revents = 0;
    }
}

/* SIGTERM: the machine is shut down, or somebody wants an orderly end. */
static void take_signal(struct monitor *monitor)
{
    struct signalfd_siginfo info;
    pc_raw3(__NR_read, monitor->signals, pc_pointer(&info), sizeof info);
    monitor->last = true;
    monitor_signal(monitor, monitor->plan.stop_signal);
}

static void serve(struct monitor *monitor)
{
    struct pollfd polls[FIXED + PC_MONITOR_CLIENTS];
    wait_for_events(monitor, polls);
    if (polls[1].revents != 0) {
        take_signal(monitor);
    }
    if (polls[2].revents != 0) {
        check_guard(monitor);
    }
    if (polls[6].revents != 0) {
        check_launch(monitor);
    } else if (monitor->launch.running && pc_now() - monitor->launch.since > STUCK) {
        thaw_cgroups(monitor); /* by somebody who thought that it ran */
    }
    for (int i = 0; i < STREAM_COUNT; i++) {
        if (polls[4 + i].revents != 0 && monitor->output[i] >= 0) {
            copy_output(monitor, i);
        }
    }
    health_step(monitor, pc_now());
    for (uint32_t i = 0; i < PC_MONITOR_CLIENTS; i++) {
        if (polls[FIXED + i].revents != 0) {
            clients_serve(monitor, i);
        }
    }
    if (polls[0].revents != 0) {
        clients_accept(monitor);
    }
    if (polls[3].revents != 0) {
        check_end(monitor);
    }
    look_for_end(monitor);
    if (monitor->phase == PC_PHASE_RESTARTING && monitor->last) {
        finish(monitor);
    }
    if (monitor->phase == PC_PHASE_RESTARTING && pc_now() >= monitor->due) {
        start(monitor);
    }
}

/* -- the beginning ------------------------------------------------------------------------------------------------ */

static bool read_plan(struct pc_monitor_plan *plan)
{
    long ret = pc_raw4(__NR_pread64, PC_MONITOR_PLAN, pc_pointer(plan), sizeof *plan, 0);
    plan->cgroup[sizeof plan->cgroup - 1] = '\0';
    plan->id[sizeof plan->id - 1] = '\0';
    plan->boot[sizeof plan->boot - 1] = '\0';
    return ret == (long)sizeof *plan && plan->magic == PC_MONITOR_MAGIC && plan->size >= sizeof *plan &&
           plan->cgroup_count <= PC_MONITOR_CGROUPS && plan->log_files >= 1 && plan->log_size >= PIECE && plan->log_number >= 1;
}

static bool set_up(struct monitor *monitor)
{
    monitor->log.folder = PC_MONITOR_FOLDER;
    monitor->log.files = monitor->plan.log_files;
    monitor->log.bound = monitor->plan.log_size;
    monitor->log.read = UINT32_MAX;
    long ret = record_reserve();
    if (ret >= 0) {
        ret = log_open(&monitor->log, monitor->plan.log_number);
    }
    if (ret < 0) {
        monitor->failure = (struct pc_monitor_ready){.step = PC_MONITOR_NO_ROOM, .error = (int32_t)-ret, .op = -1};
        tell_ready(monitor);
        return false;
    }
    monitor->first = true;
    monitor->look = INT64_MAX;
    monitor->self = pc_raw0(__NR_getpid);
    monitor->guard_fd = monitor->pidfd = monitor->root = monitor->input = -1;
    monitor->output[0] = monitor->output[1] = -1;
    monitor->health.output = monitor->health.pidfd = -1;
    for (uint32_t i = 0; i < PC_MONITOR_CLIENTS; i++) {
        monitor->clients[i] = -1;
    }
    monitor->self_fd = (int)pc_raw2(__NR_pidfd_open, monitor->self, 0);
    const uint64_t terminate = UINT64_C(1) << (SIGTERM - 1);
    monitor->signals = (int)pc_raw4(__NR_signalfd4, -1, pc_pointer(&terminate), sizeof terminate, SFD_CLOEXEC);
    return monitor->self_fd >= 0 && monitor->signals >= 0 && make_guard(monitor) > 0;
}

/* Out of reach of everything that ends whoever made the container. */
static long leave_parent(void)
{
    const uint64_t all_signals = ~UINT64_C(0);
    pc_raw4(__NR_rt_sigprocmask, SIG_SETMASK, pc_pointer(&all_signals), 0, sizeof all_signals);
    pc_raw1(__NR_umask, 077);
    long ret = pc_raw5(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (ret == 0) {
        ret = pc_raw1(__NR_chdir, pc_pointer("/"));
    }
    if (ret == 0) {
        /* An ordinary fork: of a process of some pages. */
        ret = pc_raw5(__NR_clone, SIGCHLD, 0, 0, 0, 0);
    }
    if (ret == 0) {
        pc_raw0(__NR_setsid);
        pc_raw5(__NR_prctl, PR_SET_NAME, pc_pointer("monitor"), 0, 0, 0);
    }
    return ret;
}

int pc_main(int argc, char **argv, char **envp)
{
    (void)argc;
    (void)argv;
    (void)envp;
    long ret = leave_parent();
    if (ret != 0) {
        return ret < 0 ? EXIT_USAGE : 0;
    }
    if (!read_plan(&the.plan) || !set_up(&the)) {
        the.over = true;
        return EXIT_USAGE;
    }
    start(&the);
    for (;;) {
        serve(&the);
    }
}
