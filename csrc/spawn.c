/*
 * Making a process: the parent's side and the outer stage.
 *
 * Memory is shared until execve (CLONE_VM), so a start costs the same from a process of 1 MiB and of
 * 100 GiB; the caller's thread sleeps meanwhile (CLONE_VFORK), other threads run on.  exit_signal is 0
 * (CLONE_PARENT asks for it): until execve, which sets it to SIGCHLD, no signal reaches the host and no
 * waitpid(-1) of the host takes the process away (waitpid(2), __WALL).
 */
#define _GNU_SOURCE
#include "child.h"
#include "clone3.h"
#include "rawsys.h"

#include <linux/fcntl.h>
#include <linux/sched.h>
#include <linux/wait.h>
#include <linux/prctl.h>
#include <pthread.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define STACK_BYTES (1 << 20) /* its reports take more than all that is here */
#else
#define STACK_BYTES 65536
#endif
#define STOPPED_CHECK_NSEC 50000000
#define PC_EINTR 4
#define PC_ECHILD 10

/*
 * While a child that shares this memory runs with a container's ids, nobody inside may trace it: the
 * memory is the host's.  So the process is not dumpable from the first clone to the last exec, and what it
 * was before comes back then (changing ids clears the flag for all who share the memory, prctl(2)).
 * The count is the one piece of state here; it cannot live with the callers, who are many threads.
 */
static pthread_mutex_t dumpable_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned int dumpable_users;
static int dumpable_before;

long pc_hide_memory(void)
{
    long ret = 0;
    pthread_mutex_lock(&dumpable_lock);
    if (dumpable_users == 0) {
        ret = pc_raw5(__NR_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0);
        dumpable_before = (int)ret;
        ret = ret < 0 ? ret : pc_raw5(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
    }
    dumpable_users += ret < 0 ? 0 : 1;
    pthread_mutex_unlock(&dumpable_lock);
    return ret;
}

void pc_show_memory(int alone)
{
    pthread_mutex_lock(&dumpable_lock);
    if (!alone) {
        dumpable_before = 0;
    }
    if (--dumpable_users == 0 && dumpable_before == 1) {
        pc_raw5(__NR_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
    }
    pthread_mutex_unlock(&dumpable_lock);
}

/*
 * Stacks for the two stages, kept for the next start: to unmap one would interrupt every processor on which
 * this memory is in use.
 */
#define STACKS_BYTES ((size_t)2 * STACK_BYTES)
#define STACKS_KEPT 16

static pthread_mutex_t stacks_lock = PTHREAD_MUTEX_INITIALIZER;
static char *stacks_idle[STACKS_KEPT];
static unsigned int stacks_count;

static char *take_stacks(void)
{
    pthread_mutex_lock(&stacks_lock);
    char *stacks = stacks_count > 0 ? stacks_idle[--stacks_count] : NULL;
    pthread_mutex_unlock(&stacks_lock);
    if (stacks == NULL) {
        stacks = mmap(NULL, STACKS_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    }
    if (stacks == MAP_FAILED) {
        return NULL;
    }
#ifdef __SANITIZE_ADDRESS__
    /* Who executes or exits does not return through its frames: the sanitizer takes them for there still. */
    __asan_unpoison_memory_region(stacks, STACKS_BYTES);
#endif
    return stacks;
}

static void give_stacks_back(char *stacks)
{
    pthread_mutex_lock(&stacks_lock);
    int kept = stacks_count < STACKS_KEPT;
    if (kept) {
        stacks_idle[stacks_count++] = stacks;
    }
    pthread_mutex_unlock(&stacks_lock);
    if (!kept) {
        munmap(stacks, STACKS_BYTES);
    }
}

/* A fork of the host has a copy of this state, but none of the children that share its memory. */
static void before_fork(void)
{
    pthread_mutex_lock(&dumpable_lock);
    pthread_mutex_lock(&stacks_lock);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&stacks_lock);
    pthread_mutex_unlock(&dumpable_lock);
}

static void after_fork_in_child(void)
{
    if (dumpable_users > 0 && dumpable_before == 1) {
        pc_raw5(__NR_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
    }
    dumpable_users = 0;
    after_fork();
}

__attribute__((constructor)) static void watch_forks(void)
{
    pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

struct stage {
    const struct pc_spawn *spec;
    struct pc_result *result;
    char *stack; /* the inner stage's */
    int done[2]; /* a pipe on which the outer stage says that it has done its work */
};

static long as_long(const void *pointer)
{
    return (long)(uintptr_t)pointer;
}

static void inner_entry(void *argument)
{
    const struct stage *stage = argument;
    pc_child_run(stage->spec, stage->result);
}

static long clone_inner(struct stage *stage, uint64_t extra)
{
    const struct pc_spawn *spec = stage->spec;
    struct clone_args args = {
        .flags = CLONE_VM | CLONE_VFORK | CLONE_CLEAR_SIGHAND | extra | spec->namespaces,
        .stack = (uint64_t)(uintptr_t)stage->stack,
        .stack_size = STACK_BYTES,
    };
    if (spec->cgroup >= 0) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (__u64)spec->slots[spec->cgroup];
    }
    if (extra & CLONE_PARENT_SETTID) {
        args.parent_tid = (uint64_t)(uintptr_t)&stage->result->pid;
    }
    return pc_clone_onto(&args, inner_entry, stage);
}

/* The outer stage: a short-lived process in the host's namespaces, for what the inner one may not see. */
static void outer_entry(void *argument)
{
    struct stage *stage = argument;
    const struct pc_spawn *spec = stage->spec;
    struct pc_walk walk = {.strings = spec->strings, .slots = spec->slots};
    int32_t position = -1;
    pc_raw1(__NR_umask, 0); /* the operations' modes are exact */
    long ret = pc_walk_operations(&walk, spec->outer, spec->outer_count, &position);
    if (ret < 0) {
        pc_child_fail(stage->result, PC_STEP_OUTER, ret, position);
    }
    for (uint32_t i = 0; i < spec->join_count; i++) {
        ret = pc_raw2(__NR_setns, spec->slots[spec->joins[i].slot], spec->joins[i].types);
        if (ret < 0) {
            pc_child_fail(stage->result, PC_STEP_JOIN, ret, (int32_t)i);
        }
    }
    ret = clone_inner(stage, CLONE_PARENT | CLONE_PARENT_SETTID);
    if (ret < 0) {
        pc_child_fail(stage->result, PC_STEP_CLONE, ret, -1);
    }
    /*
     * A pipe's writer hands its processor on to the reader.  The end of this process alone would wake the caller
     * on the processor that it slept on, where the started program now runs: it would wait for that one.
     */
    pc_raw3(__NR_write, stage->done[1], as_long(""), 1);
    for (;;) {
        pc_raw1(__NR_exit_group, 0);
    }
}

static void reap(long pid)
{
    while (pc_raw5(__NR_waitid, P_PID, pid, 0, WEXITED | __WALL, 0) == -PC_EINTR) {
    }
}

/*
 * Waits for the end of the outer stage, which waits for the inner one to execute; an outer one that is killed lets
 * go of the pipe, as the inner one does before it executes.
 *
 * The inner one can be seen inside the container that it joins, and no process can block SIGSTOP: its wait would
 * never end, and no signal would end this thread's either.  So who is found stopped is killed.
 */
static int await_outer(long outer, int done, struct pc_result *result)
{
    struct pollfd end = {.fd = done, .events = POLLIN};
    int stopped = 0;
    for (;;) {
        struct timespec patience = {.tv_nsec = STOPPED_CHECK_NSEC};
        long ret = pc_raw5(__NR_ppoll, as_long(&end), 1, as_long(&patience), 0, 0);
        if (ret > 0) {
            break;
        }
        /* Stored by the kernel at the clone: a child of ours that nobody has waited for. */
        long inner = __atomic_load_n(&result->pid, __ATOMIC_RELAXED);
        siginfo_t info = {0};
        if (inner > 0 &&
            pc_raw5(__NR_waitid, P_PID, inner, as_long(&info), WSTOPPED | WNOHANG | __WALL, 0) == 0 &&
            info.si_pid == inner) {
            stopped = 1;
            pc_raw2(__NR_kill, inner, SIGKILL);
        }
    }
    reap(outer);
    return stopped;
}

/* Are the 8 bytes at `mark` of this process what process `pid` has there, too? */
static int shares(long pid, const uint64_t *mark)
{
    uint64_t copy = 0;
    struct iovec here = {.iov_base = &copy, .iov_len = sizeof copy};
    struct iovec there = {.iov_base = (void *)(uintptr_t)mark, .iov_len = sizeof *mark};
    return pc_raw6(__NR_process_vm_readv, pid, as_long(&here), 1, as_long(&there), 1, 0) == sizeof copy &&
           copy == *mark;
}

/*
 * Waits until the started process has a memory of its own; 0 where that cannot be told.
 *
 * The end of a vfork does not say so: execve wakes the parent first (exec_mm_release) and gives the old
 * memory up after that, and a process of the container can hold it between the two, by reading
 * (exec_update_lock).  If the memory could be traced again by then, it would be read and written from inside.
 * The kernel lets a process read its own memory through any other that has the same one, without any
 * check of permissions (mm_access); what is at this address in another memory cannot be this address by chance.
 */
static int left_memory(long pid)
{
    uint64_t mark = (uint64_t)(uintptr_t)&mark;
    while (shares(pid, &mark)) {
        pc_raw0(__NR_sched_yield);
    }
    return shares(pc_raw0(__NR_getpid), &mark); /* else a filter denies the call, and no means nothing */
}

static int fail(struct pc_result *result, enum pc_step step, long error)
{
    result->step = (int32_t)step;
    result->error = (int32_t)-error;
    return -1;
}

/* Makes the outer stage and waits until it has done its work; negative when it cannot be made. */
static long start_outer(struct stage *stage, char *stack)
{
    long outer = pc_raw2(__NR_pipe2, as_long(stage->done), O_CLOEXEC);
    if (outer < 0) {
        return outer;
    }
    struct clone_args args = {.flags = CLONE_VM | CLONE_CLEAR_SIGHAND,
                              .stack = (uint64_t)(uintptr_t)stack,
                              .stack_size = STACK_BYTES};
    outer = pc_clone_onto(&args, outer_entry, stage);
    pc_raw1(__NR_close, stage->done[1]);
    if (outer >= 0 && await_outer(outer, stage->done[0], stage->result) &&
        stage->result->step == PC_STEP_NONE) {
        fail(stage->result, PC_STEP_STOPPED, -PC_EINTR);
    }
    pc_raw1(__NR_close, stage->done[0]);
    return outer;
}

static int start(struct stage *stage, char *outer_stack)
{
    const struct pc_spawn *spec = stage->spec;
    struct pc_result *result = stage->result;
    if (spec->outer_count == 0 && spec->join_count == 0) {
        long pid = clone_inner(stage, 0);
        if (pid < 0) {
            return fail(result, PC_STEP_CLONE, pid);
        }
        result->pid = (int32_t)pid;
    } else {
        long error = start_outer(stage, outer_stack);
        if (error < 0) {
            return fail(result, PC_STEP_CLONE_OUTER, error);
        }
    }
    if (result->step == PC_STEP_NONE && result->pid > 0) {
        /* A child of ours that nobody has waited for: its pid cannot have gone to another. */
        long pidfd = pc_raw2(__NR_pidfd_open, result->pid, 0);
        if (pidfd >= 0) {
            result->pidfd = (int32_t)pidfd;
            return 0;
        }
        fail(result, PC_STEP_PIDFD, pidfd);
        pc_raw2(__NR_kill, result->pid, SIGKILL);
    }
    if (result->pid > 0) {
        reap(result->pid);
        result->pid = -1;
    }
    if (result->step == PC_STEP_NONE) {
        /* Killed from outside (SIGKILL, out of memory) before it could start the inner stage. */
        fail(result, PC_STEP_CLONE_OUTER, -PC_ECHILD);
    }
    return -1;
}

/* The mask of the calling thread, by the kernel's own call: libc's leaves its two internal signals open. */
static long set_mask(const uint64_t *mask, uint64_t *before)
{
    return pc_raw4(__NR_rt_sigprocmask, 2 /* SIG_SETMASK */, as_long(mask), as_long(before), sizeof *mask);
}

/* Ends the process that was started, if any, and fails. */
static int end(struct pc_result *result, enum pc_step step, long error)
{
    if (result->pidfd >= 0) {
        pc_raw1(__NR_close, result->pidfd);
        pc_raw2(__NR_kill, result->pid, SIGKILL); /* not waited for yet, so still its pid */
        reap(result->pid);
        result->pid = result->pidfd = -1;
    }
    result->op = -1;
    return fail(result, step, error);
}

int pc_spawn(const struct pc_spawn *spec, struct pc_result *result)
{
    *result = (struct pc_result){.pid = -1, .pidfd = -1, .op = -1};
    char *stacks = take_stacks();
    if (stacks == NULL) {
        return fail(result, PC_STEP_STACK, -12);
    }
    struct stage stage = {.spec = spec, .result = result, .stack = stacks};
    uint64_t all = ~0ULL, before = 0;
    long hidden = pc_hide_memory();
    if (hidden < 0) {
        give_stacks_back(stacks);
        return fail(result, PC_STEP_HIDE, hidden);
    }
    /* No signal of the host may end or stop a child that shares its memory. */
    long masked = set_mask(&all, &before);
    int ret = masked < 0 ? fail(result, PC_STEP_MASK, masked) : start(&stage, stacks + STACK_BYTES);
    pc_show_memory(ret != 0 || left_memory(result->pid)); /* a failed one is reaped */
    if (masked >= 0 && (masked = set_mask(&before, NULL)) < 0) {
        /* No signal would reach this thread any more: told, not passed over, and not with a process besides. */
        ret = end(result, PC_STEP_MASK, masked);
    }
    give_stacks_back(stacks);
    return ret;
}

int pc_apply(const struct pc_op *ops, uint32_t count, const char *strings, int32_t *slots,
             struct pc_result *result)
{
    struct pc_walk walk = {.strings = strings, .slots = slots};
    *result = (struct pc_result){.pid = -1, .pidfd = -1, .op = -1};
    long ret = pc_walk_operations(&walk, ops, count, &result->op);
    return ret < 0 ? fail(result, PC_STEP_OPERATION, ret) : 0;
}
