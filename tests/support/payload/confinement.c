/* What a program finds out about its own confinement. */
#include "probe.h"

#include <dirent.h>
#include <ftw.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

static const char *outcome(long ret)
{
    return ret < 0 ? strerrorname_np(errno) : "done";
}

static void print_words(const char *title, const char *path)
{
    char text[65536];
    long length = slurp(path, text, sizeof text);
    for (long i = 0; i < length - 1; i++) {
        text[i] = text[i] == '\0' ? ' ' : text[i];
    }
    printf("%s=%s\n", title, length < 0 ? strerrorname_np(errno) : text);
}

static void print_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    syscall(SYS_capget, &header, data);
    unsigned long long bounding = 0, ambient = 0;
    for (unsigned long cap = 0; cap < 64; cap++) {
        bounding |= prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1 ? 1ULL << cap : 0;
        ambient |= prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0) == 1 ? 1ULL << cap : 0;
    }
    printf("permitted=%08x%08x\n", data[1].permitted, data[0].permitted);
    printf("effective=%08x%08x\n", data[1].effective, data[0].effective);
    printf("inheritable=%08x%08x\n", data[1].inheritable, data[0].inheritable);
    printf("bounding=%016llx\nambient=%016llx\n", bounding, ambient);
}

static void print_signals(void)
{
    printf("handled=");
    for (int number = 1; number < 65; number++) {
        /* The kernel's call: libc refuses the two signals that it keeps for itself. */
        unsigned long action[8] = {0};
        if (syscall(SYS_rt_sigaction, number, NULL, action, 8) == 0 && action[0] != 0) {
            printf("%d ", number);
        }
    }
    unsigned long blocked = 0;
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &blocked, 8);
    printf("\nblocked=%016lx\n", blocked);
}

int probe_report(int argc, char **argv)
{
    (void)argc, (void)argv;
    char text[4096];
    struct rlimit core;
    gid_t groups[256];
    int count = getgroups(256, groups);
    printf("uid=%d\ngid=%d\ngroups=", getuid(), getgid());
    for (int i = 0; i < count; i++) {
        printf("%s%d", i ? "," : "", groups[i]);
    }
    printf("\n");
    print_capabilities();
    print_signals();
    getrlimit(RLIMIT_CORE, &core);
    mode_t mask = umask(0);
    umask(mask);
    printf("no_new_privs=%d\nseccomp=%d\n", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), prctl(PR_GET_SECCOMP, 0, 0, 0, 0));
    printf("keepcaps=%d\nsecurebits=%d\n", prctl(PR_GET_KEEPCAPS, 0, 0, 0, 0), prctl(PR_GET_SECUREBITS, 0, 0, 0, 0));
    printf("core=%lu:%lu\numask=%03o\n", (unsigned long)core.rlim_cur, (unsigned long)core.rlim_max, mask);
    printf("pid=%d\nsession=%d\ngroup=%d\nparent=%d\n", getpid(), getsid(0), getpgrp(), getppid());
    printf("cwd=%s\n", getcwd(text, sizeof text) ? text : strerrorname_np(errno));
    printf("tty=%s\n", outcome(open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC)));
    print_words("environ", "/proc/self/environ");
    print_words("cmdline", "/proc/self/cmdline");
    print_words("uid_map", "/proc/self/uid_map");
    return 0;
}

/* The fds of every process that can be seen, but for the one that lists them. */
int probe_fds(int argc, char **argv)
{
    (void)argc, (void)argv;
    DIR *processes = opendir("/proc");
    for (struct dirent *process; (process = readdir(processes)) != NULL;) {
        char path[600], target[4096], exe[4096];
        if (atoi(process->d_name) == 0) {
            continue;
        }
        snprintf(path, sizeof path, "/proc/%s/environ", process->d_name);
        long environ_length = slurp(path, target, sizeof target);
        printf("%s environ %s\n", process->d_name, environ_length < 0 ? strerrorname_np(errno) : "read");
        snprintf(path, sizeof path, "/proc/%s/exe", process->d_name);
        long length = readlink(path, exe, sizeof exe - 1);
        exe[length < 0 ? 0 : length] = '\0';
        printf("%s exe %s\n", process->d_name, length < 0 ? strerrorname_np(errno) : exe);
        printf("%s exe O_RDWR %s\n", process->d_name, outcome(open(path, O_RDWR | O_CLOEXEC)));
        printf("%s exe O_TRUNC %s\n", process->d_name, outcome(open(path, O_WRONLY | O_TRUNC | O_CLOEXEC)));
        int program = open(path, O_RDONLY | O_CLOEXEC);
        struct stat status;
        printf("%s exe chmod %s\n", process->d_name,
               program < 0 || fstat(program, &status) < 0 ? strerrorname_np(errno) : outcome(fchmod(program, 0)));
        if (program >= 0) {
            fchmod(program, status.st_mode & 07777);
            close(program);
        }
        snprintf(path, sizeof path, "/proc/%s/fd", process->d_name);
        DIR *fds = opendir(path);
        if (fds == NULL) {
            printf("%s fd %s\n", process->d_name, strerrorname_np(errno));
            continue;
        }
        for (struct dirent *fd; (fd = readdir(fds)) != NULL;) {
            length = readlinkat(dirfd(fds), fd->d_name, target, sizeof target - 1);
            if (length > 0 && !(atoi(process->d_name) == getpid() && strncmp(target, "/proc/", 6) == 0) &&
                !(atoi(process->d_name) == getpid() && (atoi(fd->d_name) == dirfd(fds) || atoi(fd->d_name) == dirfd(processes)))) {
                target[length] = '\0';
                printf("%s fd %s %s\n", process->d_name, fd->d_name, target);
            }
        }
        closedir(fds);
    }
    closedir(processes);
    return 0;
}

static unsigned long opened, tried;

static int try_to_write(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)status, (void)where;
    if (kind != FTW_F) {
        return 0;
    }
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    tried++;
    if (fd >= 0) {
        opened++;
        printf("opened %s\n", path);
        close(fd);
    }
    return 0;
}

/* sysctls PATHS..: opens every file for writing, and writes nothing. */
int probe_sysctls(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        nftw(argv[i], try_to_write, 64, FTW_PHYS | FTW_MOUNT);
    }
    printf("tried %lu\nsucceeded %lu\n", tried, opened);
    return 0;
}

#define TRY(name, call) printf("%s %s\n", name, (errno = 0, outcome((long)(call))))

/* Calls that a container must not have; each with arguments that do nothing where it is allowed. */
int probe_calls(int argc, char **argv)
{
    (void)argc, (void)argv;
    char letter = 'x';
    TRY("keyctl", syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0));
    TRY("add_key", syscall(SYS_add_key, "user", "probe", "x", 1, KEY_SPEC_PROCESS_KEYRING));
    TRY("request_key", syscall(SYS_request_key, "user", "probe", NULL, 0));
    TRY("unshare_user", syscall(SYS_unshare, CLONE_NEWUSER));
    TRY("unshare_mount", syscall(SYS_unshare, CLONE_NEWNS));
    TRY("clone_user", syscall(SYS_clone, CLONE_NEWUSER | CLONE_THREAD, 0, 0, 0, 0));
    TRY("clone3", syscall(SYS_clone3, NULL, 0));
    TRY("setns", syscall(SYS_setns, -1, 0));
    TRY("mount", mount("none", "/nowhere", "tmpfs", 0, NULL));
    TRY("umount", umount2("/nowhere", MNT_DETACH));
    TRY("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
    TRY("open_tree", syscall(SYS_open_tree, AT_FDCWD, "/", 1 /* OPEN_TREE_CLONE */));
    TRY("mount_setattr", syscall(SYS_mount_setattr, AT_FDCWD, "/nowhere", 0, NULL, 0));
    TRY("pivot_root", syscall(SYS_pivot_root, "/nowhere", "/nowhere"));
    TRY("bpf", syscall(SYS_bpf, 0, NULL, 0));
    TRY("perf_event_open", syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
    TRY("userfaultfd", syscall(SYS_userfaultfd, 0));
    TRY("io_uring_setup", syscall(SYS_io_uring_setup, 1, NULL));
    TRY("open_by_handle_at", syscall(SYS_open_by_handle_at, -1, NULL, 0));
    TRY("init_module", syscall(SYS_init_module, NULL, 0, ""));
    TRY("kexec_load", syscall(SYS_kexec_load, 0, 0, NULL, ~0UL));
    TRY("swapon", syscall(SYS_swapon, "/nowhere", 0));
    TRY("reboot", syscall(SYS_reboot, 0, 0, 0, NULL));
    TRY("quotactl", syscall(SYS_quotactl, 0, NULL, 0, NULL));
    TRY("kcmp", syscall(SYS_kcmp, getpid(), getpid(), 0, 0, 0));
    TRY("sethostname", syscall(SYS_sethostname, NULL, -1));
    TRY("tiocsti", ioctl(0, 0x5412, &letter));
    TRY("tiocsti_64", syscall(SYS_ioctl, 0, 0x100005412UL, &letter));
    TRY("tioclinux", ioctl(0, 0x541C, &letter));
    TRY("af_alg", socket(AF_ALG, SOCK_SEQPACKET, 0));
    TRY("af_vsock", socket(AF_VSOCK, SOCK_STREAM, 0));
    TRY("mknod_disk", mknod("/tmp/disk", S_IFBLK | 0600, makedev(8, 0)));
    TRY("mknod_mem", mknod("/tmp/mem", S_IFCHR | 0600, makedev(1, 1)));
    return 0;
}

/* devices: every node below /dev, and whether it opens. */
int probe_devices(int argc, char **argv)
{
    (void)argc, (void)argv;
    DIR *directory = opendir("/dev");
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        char path[600];
        struct stat status;
        snprintf(path, sizeof path, "/dev/%s", entry->d_name);
        if (lstat(path, &status) == 0 && (S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode))) {
            printf("%s %c %u:%u %s\n", path, S_ISCHR(status.st_mode) ? 'c' : 'b', major(status.st_rdev),
                   minor(status.st_rdev), outcome(open(path, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)));
        }
    }
    return 0;
}
