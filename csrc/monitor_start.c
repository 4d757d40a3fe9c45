/*
 * Starting a program from its description, as pc_spawn does, but never waiting: a container may be frozen, or stop
 * what joins it, and the monitor has others to serve meanwhile.
 *
 *   monitor                     outer stage                    inner stage
 *   -------                     -----------                    -----------
 *   launch_begin: clone3(VM) -> outer operations, setns
 *                               clone3(VM|VFORK|PARENT) -----> as in child.c
 *   polls `done`  <------------ wakes on execve, writes  <---- execve of our init
 *   launch_cloned
 *   polls `report`  <----------------------------------------- executed, or an errno
 *   launch_outcome
 *
 * The description is mapped for as long as a start takes, and the fds in its slots are counted anew each time.
 */
#include "monitor.h"

#include "clone3.h"

#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/mman.h>
#include <linux/sched.h>
#include <linux/wait.h>
#include <sys/socket.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

enum { STACK_BYTES = 65536, PAGE = 4096, LARGEST = 1 << 24 };

/* A pointer that is an offset still. NULL when it is none, or leads out of the description: then *good is false. */
static void *resolve(struct pc_flat *flat, const void *offset, size_t count, size_t size, bool *good)
{
    uint64_t at = (uint64_t)(uintptr_t)offset;
    if (at == 0) {
        *good &= count == 0 || size == 0;
        return NULL;
    }
    if (at >= flat->size || at % 8 != 0 || count > (flat->size - at) / (size == 0 ? 1 : size)) {
        *good = false;
        return NULL;
    }
    return (char *)flat + at;
}

/* Text ends within the description, for its last byte is 0: launch_begin looks. */
static const char *resolve_text(struct pc_flat *flat, const char *offset, bool *good)
{
    return resolve(flat, offset, 0, 0, good);
}

static const char *const *resolve_list(struct pc_flat *flat, const char *const *offset, bool *good)
{
    uint64_t *list = resolve(flat, offset, 0, 0, good);
    const char *end = (const char *)flat + flat->size;
    if (list == NULL) {
        *good = false;
        return NULL;
    }
    uint64_t *each = list;
    for (; (const char *)(each + 1) <= end && *each != 0; each++) {
        if (*each >= flat->size) {
            *good = false;
            return NULL;
        }
        *each += (uint64_t)(uintptr_t)flat;
    }
    *good &= (const char *)(each + 1) <= end;
    return (const char *const *)list;
}

static bool relocate(struct pc_flat *flat)
{
    struct pc_spawn *spec = &flat->spec;
    bool good = true;
    spec->outer = resolve(flat, spec->outer, spec->outer_count, sizeof *spec->outer, &good);
    spec->inner = resolve(flat, spec->inner, spec->inner_count, sizeof *spec->inner, &good);
    spec->strings = resolve_text(flat, spec->strings, &good);
    spec->slots = resolve(flat, spec->slots, flat->slot_count, sizeof *spec->slots, &good);
    spec->joins = resolve(flat, spec->joins, spec->join_count, sizeof *spec->joins, &good);
    spec->tasks = resolve(flat, spec->tasks, spec->task_count, sizeof *spec->tasks, &good);
    spec->rlimits = resolve(flat, spec->rlimits, spec->rlimit_count, sizeof *spec->rlimits, &good);
    spec->fds = resolve(flat, spec->fds, spec->fd_count, sizeof *spec->fds, &good);
    spec->groups = resolve(flat, spec->groups, spec->group_count, sizeof *spec->groups, &good);
    spec->seccomp = resolve(flat, spec->seccomp, spec->seccomp_count, 8, &good);
    spec->candidates = resolve_list(flat, spec->candidates, &good);
    spec->argv = resolve_list(flat, spec->argv, &good);
    spec->envp = resolve_list(flat, spec->envp, &good);
    spec->hostname = resolve_text(flat, spec->hostname, &good);
    spec->workdir = resolve_text(flat, spec->workdir, &good);
    return good;
}

static long map_plan(struct launch *launch, uint32_t offset, uint32_t size)
{
    if (size > LARGEST || offset % 8 != 0 || offset > size || size - offset < sizeof(struct pc_flat)) {
        return -EINVAL;
    }
    /* Private: slots and pointers are filled in, and the next start begins with what the file has. */
    long map = pc_raw6(__NR_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, PC_MONITOR_PLAN, 0);
    if (map < 0) {
        return map;
    }
    launch->plan = (void *)(uintptr_t)map;
    launch->plan_size = size;
    launch->flat = (struct pc_flat *)(void *)((char *)launch->plan + offset);
    struct pc_flat *flat = launch->flat;
    bool fits = flat->size <= size - offset && flat->size > sizeof *flat && ((char *)flat)[flat->size - 1] == 0;
    return fits && relocate(flat) ? 0 : -EINVAL;
}

static void fill(struct launch *launch, int32_t slot, int fd)
{
    if (slot >= 0 && (uint32_t)slot < launch->flat->slot_count) {
        launch->flat->spec.slots[slot] = fd;
    }
}

static void inner_entry(void *argument)
{
    struct launch *launch = argument;
    pc_child_run(&launch->flat->spec, &launch->result);
}

static void outer_entry(void *argument)
{
    struct launch *launch = argument;
    const struct pc_spawn *spec = &launch->flat->spec;
    struct pc_walk walk = {.strings = spec->strings, .slots = spec->slots};
    int32_t position = -1;
    pc_raw1(__NR_umask, 0); /* the operations' modes are exact */
    long ret = pc_walk_operations(&walk, spec->outer, spec->outer_count, &position);
    if (ret < 0) {
        pc_child_fail(&launch->result, PC_STEP_OUTER, ret, position);
    }
    for (uint32_t i = 0; i < spec->join_count; i++) {
        ret = pc_raw2(__NR_setns, spec->slots[spec->joins[i].slot], spec->joins[i].types);
        if (ret < 0) {
            pc_child_fail(&launch->result, PC_STEP_JOIN, ret, (int32_t)i);
        }
    }
    struct clone_args args = {
        .flags = CLONE_VM | CLONE_VFORK | CLONE_CLEAR_SIGHAND | CLONE_PARENT | CLONE_PARENT_SETTID | spec->namespaces,
        .stack = (uint64_t)(uintptr_t)launch->stacks,
        .stack_size = STACK_BYTES,
        .parent_tid = (uint64_t)(uintptr_t)&launch->result.pid,
    };
    if (spec->cgroup >= 0) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (__u64)spec->slots[spec->cgroup];
    }
    ret = pc_clone_onto(&args, inner_entry, launch);
    if (ret < 0) {
        pc_child_fail(&launch->result, PC_STEP_CLONE, ret, -1);
    }
    pc_exit(0); /* and with the last copy of the pipe's end the monitor is told */
}

static long make_channels(struct launch *launch, struct pc_flat *flat)
{
    int pair[2];
    long ret = pc_raw2(__NR_pipe2, pc_pointer(pair), O_CLOEXEC);
    if (ret < 0) {
        return ret;
    }
    launch->report = pair[0];
    launch->theirs[3] = pair[1];
    fill(launch, flat->report, pair[1]);
    if (flat->export_to >= 0) {
        ret = pc_raw4(__NR_socketpair, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pc_pointer(pair));
        if (ret < 0) {
            return ret;
        }
        launch->export_from = pair[0];
        launch->theirs[4] = pair[1];
        fill(launch, flat->export_to, pair[1]);
    }
    return 0;
}

static long clone_outer(struct launch *launch)
{
    int done[2];
    long ret = pc_raw2(__NR_pipe2, pc_pointer(done), O_CLOEXEC);
    if (ret < 0) {
        return ret;
    }
    launch->done = done[0];
    ret = pc_raw6(__NR_mmap, 0, 2 * STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (ret >= 0) {
        launch->stacks = (void *)(uintptr_t)ret;
        struct clone_args args = {.flags = CLONE_VM | CLONE_CLEAR_SIGHAND,
                                  .stack = (uint64_t)(uintptr_t)launch->stacks + STACK_BYTES,
                                  .stack_size = STACK_BYTES};
        ret = launch->outer = pc_clone_onto(&args, outer_entry, launch);
    }
    pc_close(done[1]);
    return ret;
}

long launch_begin(struct launch *launch, uint32_t offset, uint32_t size, int stdio[3], int target)
{
    *launch = (struct launch){.running = true, /* and no stray: asked before */
                               .done = -1, .report = -1, .export_from = -1, .since = pc_now()};
    launch->result = (struct pc_result){.pid = -1, .pidfd = -1, .op = -1};
    for (int i = 0; i < 5; i++) {
        launch->theirs[i] = i < 3 ? stdio[i] : -1;
    }
    long ret = map_plan(launch, offset, size);
    if (ret == 0) {
        ret = make_channels(launch, launch->flat);
    }
    if (ret == 0) {
        for (int i = 0; i < 3; i++) {
            fill(launch, launch->flat->stdio[i], stdio[i]);
        }
        fill(launch, launch->flat->target, target);
        ret = clone_outer(launch);
    }
    if (ret < 0) {
        launch->outer = 0;
        launch->result.step = PC_STEP_CLONE_OUTER;
        launch->result.error = (int32_t)-ret;
        launch_close(launch);
        return ret;
    }
    return 0;
}

static void drop(int *fd)
{
    if (*fd >= 0) {
        pc_close(*fd);
        *fd = -1;
    }
}

static void wait_for(long pid)
{
    int status;
    while (pc_raw4(__NR_wait4, pid, pc_pointer(&status), __WALL, 0) == -EINTR) {
    }
}

int launch_cloned(struct launch *launch)
{
    wait_for(launch->outer);
    launch->outer = 0;
    drop(&launch->done);
    for (int i = 0; i < 5; i++) {
        drop(&launch->theirs[i]);
    }
    struct pc_result *result = &launch->result;
    if (result->step == PC_STEP_NONE && result->pid > 0) {
        long pidfd = pc_raw2(__NR_pidfd_open, result->pid, 0);
        if (pidfd >= 0) {
            result->pidfd = (int32_t)pidfd;
            return 0;
        }
        result->step = PC_STEP_PIDFD;
        result->error = (int32_t)-pidfd;
        end_process(result->pid); /* not waited for yet, so still its pid */
    }
    if (result->pid > 0) {
        wait_for(result->pid);
        result->pid = -1;
    }
    if (result->step == PC_STEP_NONE) {
        result->step = PC_STEP_CLONE_OUTER; /* killed from outside */
        result->error = ECHILD;
    }
    return -1;
}

int launch_outcome(struct launch *launch)
{
    int error = 0;
    long ret = pc_raw3(__NR_read, launch->report, pc_pointer(&error), sizeof error);
    return ret == (long)sizeof error ? error : 0;
}

int launch_receive(struct launch *launch, unsigned char *tag)
{
    if (launch->export_from < 0) {
        return -1;
    }
    struct iovec part = {.iov_base = tag, .iov_len = 1};
    char control[64] __attribute__((aligned(8)));
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    long ret = pc_raw3(__NR_recvmsg, launch->export_from, pc_pointer(&message), MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    struct cmsghdr *header = (struct cmsghdr *)(void *)control;
    if (ret != 1 || message.msg_controllen < CMSG_LEN(sizeof(int)) || header->cmsg_type != SCM_RIGHTS) {
        return -1;
    }
    int fd;
    memcpy(&fd, CMSG_DATA(header), sizeof fd);
    return fd;
}

void launch_close(struct launch *launch)
{
    drop(&launch->done);
    drop(&launch->report);
    drop(&launch->export_from);
    for (int i = 0; i < 5; i++) {
        drop(&launch->theirs[i]);
    }
    if (launch->stacks != NULL) {
#ifdef __SANITIZE_ADDRESS__
        /* Who executes or exits does not return through its frames: the sanitizer takes them for there still. */
        __asan_unpoison_memory_region(launch->stacks, 2 * STACK_BYTES);
#endif
        pc_raw2(__NR_munmap, pc_pointer(launch->stacks), 2 * STACK_BYTES);
        launch->stacks = NULL;
    }
    if (launch->plan != NULL) {
        pc_raw2(__NR_munmap, pc_pointer(launch->plan), (long)launch->plan_size);
        launch->plan = NULL;
    }
    launch->running = false;
}

void launch_kill(struct launch *launch)
{
    if (!launch->running) {
        return;
    }
    if (launch->outer > 0) {
        /* The inner stage first, and looked for again: the outer one may be about to make it. */
        for (int i = 0; i < 2; i++) {
            if (launch->result.pid > 0) {
                end_process(launch->result.pid);
            }
            end_process(launch->outer);
        }
        launch_cloned(launch);
    }
    if (launch->result.pidfd >= 0) {
        end_process(launch->result.pid);
        launch->stray = launch->result.pid;
        pc_close(launch->result.pidfd);
        launch->result.pidfd = -1;
    }
    launch_close(launch);
    launch_is_clear(launch);
}

bool launch_is_clear(struct launch *launch)
{
    int status;
    if (launch->stray > 0 && pc_raw4(__NR_wait4, launch->stray, pc_pointer(&status), WNOHANG | __WALL, 0) != 0) {
        launch->stray = 0;
    }
    return launch->stray == 0;
}
