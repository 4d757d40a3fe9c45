/* Other processes: pid 1 of the container (`target` on a host), which may be the runtime's; and one's own child. */
#include "attempts.h"

#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/wait.h>

static int target(void)
{
    char init[4096], own[4096];
    if (given("target") != NULL) {
        return atoi(given("target"));
    }
    long length = readlink("/proc/1/exe", init, sizeof init);
    if (length > 0 && readlink("/proc/self/exe", own, sizeof own) == length && memcmp(init, own, (size_t)length) == 0) {
        absent("pid 1 is this program's own");
    }
    return 1;
}

static const char *of_target(const char *entry)
{
    static char path[128];
    snprintf(path, sizeof path, "/proc/%d/%s", target(), entry);
    return path;
}

static void trace_init(void)
{
    long answer = ptrace(PTRACE_SEIZE, target(), 0, 0);
    int error = errno;
    if (answer == 0) {
        ptrace(PTRACE_INTERRUPT, target(), 0, 0);
        waitpid(target(), NULL, __WALL);
        ptrace(PTRACE_DETACH, target(), 0, 0);
    }
    errno = error;
    judge(answer);
}

static void read_memory_of_init(void)
{
    char byte;
    /* Whether the address is mapped is told after whether one may ask. */
    struct iovec here = {&byte, 1}, there = {(void *)8, 1};
    judge_by(process_vm_readv(target(), &here, 1, &there, 1, 0), EFAULT);
}

static void open_memory_of_init(void)
{
    try_open(of_target("mem"), O_RDWR);
}

static void take_descriptor_of_init(void)
{
    int pidfd = (int)syscall(SYS_pidfd_open, target(), 0);
    judge_by(pidfd < 0 ? pidfd : syscall(SYS_pidfd_getfd, pidfd, 0, 0), EBADF);
}

/* proc(5): through these links the file itself opens, by whatever path it lies. */
static _Noreturn void open_through(const char *entry, int flags)
{
    int fd = open(of_target(entry), flags | O_CLOEXEC | O_NONBLOCK);
    judge_by(fd, ETXTBSY);
}

static void write_program_of_init(void)
{
    int fd = open(of_target("exe"), O_RDWR | O_CLOEXEC);
    /* It runs, but its file is there to be written when it does not (CVE-2019-5736). */
    if (fd < 0 && errno == ETXTBSY) {
        int readable = open(of_target("exe"), O_RDONLY | O_CLOEXEC);
        int seals = readable < 0 ? -1 : fcntl(readable, F_GET_SEALS);
        struct statvfs place;
        if (seals >= 0 && seals & F_SEAL_WRITE) {
            refused(EPERM);
        }
        if (readable >= 0 && fstatvfs(readable, &place) == 0 && place.f_flag & ST_RDONLY) {
            refused(EROFS);
        }
        reached("ETXTBSY");
    }
    judge(fd);
}

static void root_of_init(void)
{
    open_through("root", O_PATH | O_DIRECTORY);
}

/* The list of their numbers is no secret; where they lead is. */
static void descriptors_of_init(void)
{
    char text[4096];
    DIR *directory = opendir(of_target("fd"));
    long answer = 0;
    if (directory == NULL) {
        judge(-1);
    }
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        if (entry->d_name[0] != '.' && (answer = readlinkat(dirfd(directory), entry->d_name, text, sizeof text - 1)) > 0) {
            text[answer] = '\0';
            reached("%s", text);
        }
    }
    if (answer == 0) {
        absent("none is open");
    }
    judge(answer);
}

static void environment_of_init(void)
{
    char text[4096];
    long length = slurp(of_target("environ"), text, sizeof text);
    if (length >= 0 && memmem(text, (size_t)length, needed("secret"), strlen(needed("secret"))) == NULL) {
        refused(ENODATA);
    }
    judge(length);
}

static void memory_map_of_init(void)
{
    open_through("maps", O_RDONLY);
}

/* -- one's own -- */

static pid_t sleeping_child(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        for (;;) {
            pause();
        }
    }
    return pid;
}

static _Noreturn void judge_and_end(pid_t pid, long answer)
{
    int error = errno;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, __WALL);
    errno = error;
    judge(answer);
}

static void trace_child(void)
{
    pid_t pid = sleeping_child();
    judge_and_end(pid, ptrace(PTRACE_SEIZE, pid, 0, 0));
}

static void read_memory_of_child(void)
{
    pid_t pid = sleeping_child();
    static char byte;
    struct iovec part = {&byte, 1};
    judge_and_end(pid, process_vm_readv(pid, &part, 1, &part, 1, 0));
}

static void take_descriptor_of_child(void)
{
    pid_t pid = sleeping_child();
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    judge_and_end(pid, syscall(SYS_pidfd_getfd, pidfd, 1, 0));
}

/* -- more than one's share -- */

static void spare_from_oom(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    judge(fd < 0 ? fd : write(fd, "-1000", 5));
}

static void real_time(void)
{
    struct sched_param first = {.sched_priority = 1};
    judge(sched_setscheduler(0, SCHED_FIFO, &first));
}

static void better_priority(void)
{
    judge(setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) - 1));
}

static void more_files(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_max++;
    judge(setrlimit(RLIMIT_NOFILE, &limit));
}

static void limit_cores(rlim_t soft, rlim_t hard)
{
    struct rlimit limit = {soft, hard};
    setrlimit(RLIMIT_CORE, &limit);
}

/*
 * core(5): a dump to a pipe is a program of the host's that runs as its root, with the memory of whoever wants it to
 * run. No limit keeps the kernel from starting it, not even 0, but that of one byte.
 */
static void dump_core(void)
{
    struct rlimit limit;
    int status;
    getrlimit(RLIMIT_CORE, &limit);
    limit_cores(limit.rlim_max, limit.rlim_max);
    limit_cores(RLIM_INFINITY, RLIM_INFINITY);
    chdir(scratch());
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGQUIT, SIG_DFL);
        raise(SIGQUIT);
        _exit(0);
    }
    waitpid(pid, &status, 0);
    char name[64];
    unlink("core");
    snprintf(name, sizeof name, "core.%d", pid);
    unlink(name);
    if (WIFSIGNALED(status) && WCOREDUMP(status)) {
        reached("a core");
    }
    limit_cores(0, limit.rlim_max);
    getrlimit(RLIMIT_CORE, &limit);
    if (limit.rlim_cur != 1) {
        reached("a limit of %lu, which a pipe ignores", (unsigned long)limit.rlim_cur);
    }
    refused(ENODATA);
}

const struct attempt processes[] = {
    {"trace_init", trace_init},
    {"read_memory_of_init", read_memory_of_init},
    {"open_memory_of_init", open_memory_of_init},
    {"take_descriptor_of_init", take_descriptor_of_init},
    {"write_program_of_init", write_program_of_init},
    {"root_of_init", root_of_init},
    {"descriptors_of_init", descriptors_of_init},
    {"environment_of_init", environment_of_init},
    {"memory_map_of_init", memory_map_of_init},
    {"trace_child", trace_child},
    {"read_memory_of_child", read_memory_of_child},
    {"take_descriptor_of_child", take_descriptor_of_child},
    {"spare_from_oom", spare_from_oom},
    {"real_time", real_time},
    {"better_priority", better_priority},
    {"more_files", more_files},
    {"dump_core", dump_core},
    {NULL, NULL},
};
