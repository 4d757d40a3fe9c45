/*
 * The inner stage: what the new process does between its clone and its execve.
 *
 * Contract of everything here: raw system calls only.  No malloc, no stdio, no errno, no libc set*id
 * (which would signal the threads of the parent, whose memory this is), no lock.  Every signal is blocked,
 * handlers were reset by the clone (CLONE_CLEAR_SIGHAND).  The first step that fails stores its number and ends the process:
 * nothing is optional, the program never runs less confined than asked.
 */
#define _GNU_SOURCE
#include "child.h"
#include "rawsys.h"
#include "reaper_protocol.h"

#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/fcntl.h>
#include <linux/keyctl.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/filter.h>
#include <asm/ioctls.h>

#define PC_ENOENT 2
#define PC_EACCES 13
#define PC_ENOTDIR 20
#define PC_ENAMETOOLONG 36
#define LAST_SIGNAL 64

/* The kernel's own layout; libc's struct sigaction differs. */
struct kernel_sigaction {
    void *handler;
    unsigned long flags;
    void *restorer;
    uint64_t mask;
};

static long as_long(const void *pointer)
{
    return (long)(uintptr_t)pointer;
}

_Noreturn void pc_child_fail(struct pc_result *result, enum pc_step step, long error, int32_t op)
{
    result->step = (int32_t)step;
    result->error = (int32_t)-error;
    result->op = op;
    for (;;) {
        pc_raw1(__NR_exit_group, 127);
    }
}

static void check(struct pc_result *result, enum pc_step step, long value)
{
    if (value < 0) {
        pc_child_fail(result, step, value, -1);
    }
}

/* Hands a pidfd of itself to the reaper: from here on nobody has to remember this process. */
static long register_with_leash(int socket)
{
    struct pc_reaper_message message = {.type = PC_REAPER_PROCESS};
    long pidfd = pc_raw2(__NR_pidfd_open, pc_raw0(__NR_getpid), 0);
    if (pidfd < 0) {
        return pidfd;
    }
    long ret = pc_send_fd(socket, (int)pidfd, &message, sizeof message);
    pc_raw1(__NR_close, pidfd);
    return ret;
}

static void enter_cgroups(const struct pc_spawn *spec, struct pc_result *result)
{
    for (uint32_t i = 0; i < spec->task_count; i++) {
        /* "0" is the writer itself: no lookup and, unlike another's pid, no wait for a grace period. */
        long ret = pc_raw3(__NR_write, spec->slots[spec->tasks[i]], as_long("0"), 1);
        if (ret < 0) {
            pc_child_fail(result, PC_STEP_CGROUP, ret, (int32_t)i);
        }
    }
}

static void enter_workdir(const struct pc_spawn *spec, struct pc_result *result)
{
    if (spec->workdir == NULL) {
        return;
    }
    check(result, PC_STEP_WORKDIR, pc_raw1(__NR_chdir, as_long(spec->workdir)));
    /* A directory outside of the root has no path that starts with '/': getcwd(2), "(unreachable)". */
    char path[4096];
    long ret = pc_raw2(__NR_getcwd, as_long(path), sizeof path);
    check(result, PC_STEP_WORKDIR, ret < 0 ? ret : (path[0] == '/' ? 0 : -PC_ENOENT));
}

static void set_limits(const struct pc_spawn *spec, struct pc_result *result)
{
    for (uint32_t i = 0; i < spec->rlimit_count; i++) {
        const struct pc_rlimit *limit = &spec->rlimits[i];
        uint64_t value[2] = {limit->soft, limit->hard};
        long ret = pc_raw4(__NR_prlimit64, 0, limit->resource, as_long(value), 0);
        if (ret < 0) {
            pc_child_fail(result, PC_STEP_RLIMIT, ret, (int32_t)i);
        }
    }
    pc_raw1(__NR_umask, spec->umask);
}

static void drop_bounding(const struct pc_spawn *spec, struct pc_result *result)
{
    for (uint32_t cap = 0; cap <= spec->last_cap; cap++) {
        if (spec->cap_bounding & (1ULL << cap)) {
            continue;
        }
        long ret = pc_raw2(__NR_prctl, PR_CAPBSET_DROP, cap);
        /* Who may not drop need not, where there is nothing to drop. */
        if (ret < 0 && pc_raw2(__NR_prctl, PR_CAPBSET_READ, cap) != 0) {
            pc_child_fail(result, PC_STEP_BOUNDING, ret, (int32_t)cap);
        }
    }
}

/*
 * A change of ids makes the shared memory what fs.suid_dumpable says (prctl(2)).  With 2 a signal from inside
 * could have it written as a core dump, and before Linux 5.16 that kills all who share it.
 */
static void keep_hidden(struct pc_result *result)
{
    check(result, PC_STEP_HIDE, pc_raw5(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0));
}

static void set_ids(const struct pc_spawn *spec, struct pc_result *result)
{
    if (spec->flags & PC_SPAWN_SET_CAPS) {
        /* Kept over the change of ids, so that the exact sets can be written after it. */
        check(result, PC_STEP_CAPS, pc_raw5(__NR_prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0));
    }
    if (spec->flags & PC_SPAWN_SET_GROUPS) {
        check(result, PC_STEP_GROUPS, pc_raw2(__NR_setgroups, spec->group_count, as_long(spec->groups)));
    }
    if (spec->flags & PC_SPAWN_SET_IDS) {
        check(result, PC_STEP_GID, pc_raw3(__NR_setresgid, spec->gid, spec->gid, spec->gid));
        check(result, PC_STEP_UID, pc_raw3(__NR_setresuid, spec->uid, spec->uid, spec->uid));
        keep_hidden(result);
    }
}

static void set_capabilities(const struct pc_spawn *spec, struct pc_result *result)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    for (unsigned int half = 0; half < 2; half++) {
        data[half].permitted = (uint32_t)(spec->cap_permitted >> (32 * half));
        data[half].effective = data[half].permitted;
        data[half].inheritable = (uint32_t)(spec->cap_inheritable >> (32 * half));
    }
    check(result, PC_STEP_CAPS, pc_raw2(__NR_capset, as_long(&header), as_long(data)));
    check(result, PC_STEP_CAPS, pc_raw5(__NR_prctl, PR_SET_KEEPCAPS, 0, 0, 0, 0));
    check(result, PC_STEP_AMBIENT, pc_raw5(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
    for (uint32_t cap = 0; cap <= spec->last_cap; cap++) {
        if (spec->cap_ambient & (1ULL << cap)) {
            long ret = pc_raw5(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
            if (ret < 0) {
                pc_child_fail(result, PC_STEP_AMBIENT, ret, (int32_t)cap);
            }
        }
    }
}

static void reset_signals(struct pc_result *result)
{
    struct kernel_sigaction now, plain = {0};
    for (long sig = 1; sig <= LAST_SIGNAL; sig++) {
        /* The clone reset the handlers; what the host ignores (Python: SIGPIPE, SIGXFSZ) is still ignored. */
        check(result, PC_STEP_SIGNALS, pc_raw4(__NR_rt_sigaction, sig, 0, as_long(&now), 8));
        if (now.handler != 0) {
            check(result, PC_STEP_SIGNALS, pc_raw4(__NR_rt_sigaction, sig, as_long(&plain), 0, 8));
        }
    }
}

static void close_range(struct pc_result *result, int first, unsigned int last, long flags)
{
    if (first >= 0 && (unsigned int)first <= last) {
        check(result, PC_STEP_FDS, pc_raw3(__NR_close_range, first, last, flags));
    }
}

/*
 * Places the program's fds and closes all others. Returns the fd to execute, or -1.
 *
 * Closed here and not by execve, which does that only when the process has the container's memory already:
 * then CAP_SYS_PTRACE of the container is enough to look at it.
 */
static int place_fds(const struct pc_spawn *spec, struct pc_result *result)
{
    int above = 3, program = spec->program < 0 ? -1 : spec->slots[spec->program];
    int32_t *slots = spec->slots;
    for (uint32_t i = 0; i < spec->fd_count; i++) {
        above = spec->fds[i].target >= above ? spec->fds[i].target + 1 : above;
    }
    if (program >= 0 && program < above) {
        program = (int)pc_raw3(__NR_fcntl, program, F_DUPFD_CLOEXEC, above);
        check(result, PC_STEP_FDS, program);
    }
    for (uint32_t i = 0; i < spec->fd_count; i++) {
        /* Out of the way of every target first, so that no placement overwrites a source. */
        int32_t slot = spec->fds[i].slot;
        if (slots[slot] < above) {
            long moved = pc_raw3(__NR_fcntl, slots[slot], F_DUPFD_CLOEXEC, above);
            if (moved < 0) {
                pc_child_fail(result, PC_STEP_FDS, moved, (int32_t)i);
            }
            slots[slot] = (int32_t)moved;
        }
    }
    close_range(result, 0, (unsigned int)above - 1, 0);
    for (uint32_t i = 0; i < spec->fd_count; i++) {
        long ret = pc_raw3(__NR_dup3, slots[spec->fds[i].slot], spec->fds[i].target, 0);
        if (ret < 0) {
            pc_child_fail(result, PC_STEP_FDS, ret, (int32_t)i);
        }
    }
    if (program < 0) {
        close_range(result, above, ~0U, 0);
        return program;
    }
    close_range(result, above, (unsigned int)program - 1, 0);
    close_range(result, program, (unsigned int)program, CLOSE_RANGE_CLOEXEC);
    close_range(result, program + 1, ~0U, 0);
    return program;
}

static void load_seccomp(const struct pc_spawn *spec, struct pc_result *result)
{
    if (spec->seccomp_count > 0) {
        struct sock_fprog program = {.len = (unsigned short)spec->seccomp_count,
                                     .filter = (struct sock_filter *)(uintptr_t)spec->seccomp};
        check(result, PC_STEP_SECCOMP,
              pc_raw3(__NR_seccomp, SECCOMP_SET_MODE_FILTER, (long)spec->seccomp_flags, as_long(&program)));
    }
}

static long execute(const struct pc_spawn *spec, int program)
{
    if (program >= 0) {
        return pc_raw5(__NR_execveat, program, as_long(""), as_long(spec->argv), as_long(spec->envp),
                       AT_EMPTY_PATH);
    }
    long best = -PC_ENOENT;
    for (const char *const *path = spec->candidates; *path != NULL; path++) {
        long ret = pc_raw3(__NR_execve, as_long(*path), as_long(spec->argv), as_long(spec->envp));
        if (ret == -PC_EACCES) {
            best = ret; /* as execvp(3): go on, but say that there was one */
        } else if (ret != -PC_ENOENT && ret != -PC_ENOTDIR && ret != -PC_ENAMETOOLONG) {
            return ret;
        }
    }
    return best;
}

static void become_confined(const struct pc_spawn *spec, struct pc_result *result)
{
    int early = spec->seccomp_count > 0 && !(spec->flags & PC_SPAWN_NO_NEW_PRIVS);
    if (early) {
        /* Without no_new_privs a filter needs CAP_SYS_ADMIN, which the next steps may give up. */
        load_seccomp(spec, result);
    }
    if (spec->flags & PC_SPAWN_SET_CAPS) {
        drop_bounding(spec, result);
    }
    set_ids(spec, result);
    if (spec->flags & PC_SPAWN_SET_CAPS) {
        set_capabilities(spec, result);
    }
    if (spec->flags & PC_SPAWN_NO_NEW_PRIVS) {
        check(result, PC_STEP_NO_NEW_PRIVS, pc_raw5(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    }
    if (spec->landlock >= 0) {
        check(result, PC_STEP_LANDLOCK, pc_raw2(__NR_landlock_restrict_self, spec->slots[spec->landlock], 0));
    }
}

_Noreturn void pc_child_run(const struct pc_spawn *spec, struct pc_result *result)
{
    struct pc_walk walk = {.strings = spec->strings, .slots = spec->slots};
    if (spec->leash >= 0) {
        check(result, PC_STEP_LEASH, register_with_leash(spec->slots[spec->leash]));
    }
    enter_cgroups(spec, result);
    if (spec->flags & PC_SPAWN_NS_ROOT) {
        check(result, PC_STEP_NS_ROOT, pc_raw3(__NR_setresgid, spec->ns_gid, spec->ns_gid, spec->ns_gid));
        check(result, PC_STEP_NS_ROOT, pc_raw3(__NR_setresuid, spec->ns_uid, spec->ns_uid, spec->ns_uid));
        keep_hidden(result);
    }
    if (spec->flags & PC_SPAWN_CGROUP_NS) {
        check(result, PC_STEP_CGROUP_NS, pc_raw1(__NR_unshare, CLONE_NEWCGROUP));
    }
    if (spec->flags & PC_SPAWN_SETSID) {
        check(result, PC_STEP_SESSION, pc_raw0(__NR_setsid));
    }
    pc_raw1(__NR_umask, 0); /* the operations' modes are exact; the program's own mask is set below */
    int32_t position = -1;
    long ret = pc_walk_operations(&walk, spec->inner, spec->inner_count, &position);
    if (ret < 0) {
        pc_child_fail(result, PC_STEP_OPERATION, ret, position);
    }
    while (spec->flags & PC_SPAWN_ENDS) {
        pc_raw1(__NR_exit_group, 0);
    }
    if (spec->hostname != NULL) {
        long length = 0;
        while (spec->hostname[length] != '\0') {
            length++;
        }
        check(result, PC_STEP_HOSTNAME, pc_raw2(__NR_sethostname, as_long(spec->hostname), length));
    }
    if (spec->terminal >= 0) {
        check(result, PC_STEP_TERMINAL, pc_raw3(__NR_ioctl, spec->slots[spec->terminal], TIOCSCTTY, 0));
    }
    enter_workdir(spec, result);
    if (spec->flags & PC_SPAWN_KEYRING) {
        check(result, PC_STEP_KEYRING, pc_raw2(__NR_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0));
    }
    set_limits(spec, result);
    become_confined(spec, result);
    reset_signals(result);
    int program = place_fds(spec, result);
    if (spec->flags & PC_SPAWN_NO_NEW_PRIVS) {
        load_seccomp(spec, result);
    }
    uint64_t none = 0;
    check(result, PC_STEP_SIGNALS, pc_raw4(__NR_rt_sigprocmask, 2 /* SIG_SETMASK */, as_long(&none), 0, 8));
    pc_child_fail(result, PC_STEP_EXEC, execute(spec, program), -1);
}
