/* What is made once: the user namespaces, the leash, the filter. */
#define _GNU_SOURCE
#include "floor.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void write_map(pid_t pid, const char *name, uint32_t base)
{
    char path[64], line[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    int length = snprintf(line, sizeof line, "0 %u 65536\n", base);
    int fd = (int)must(open(path, O_WRONLY | O_CLOEXEC), path);
    must(write(fd, line, (size_t)length), path);
    close(fd);
}

/* The process that holds the namespace open until there is an fd of it. */
int make_userns(uint32_t base)
{
    int ready[2];
    must(pipe2(ready, O_CLOEXEC), "pipe2");
    pid_t pid = (pid_t)must(fork(), "fork");
    if (pid == 0) {
        must(unshare(CLONE_NEWUSER), "unshare");
        must(write(ready[1], "", 1), "write");
        for (;;) {
            pause();
        }
    }
    char byte, path[64];
    close(ready[1]);
    must(read(ready[0], &byte, 1) == 1 ? 0 : -1, "unshare");
    close(ready[0]);
    write_map(pid, "uid_map", base);
    write_map(pid, "gid_map", base);
    snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
    int fd = (int)must(open(path, O_RDONLY | O_CLOEXEC), path);
    kill(pid, SIGKILL);
    must(waitpid(pid, NULL, 0), "waitpid");
    return fd;
}

static _Noreturn void watch(int socket)
{
    struct pollfd polled[1 + MOST] = {{.fd = socket, .events = POLLIN}};
    nfds_t count = 1;
    for (;;) {
        must(poll(polled, count, -1), "poll");
        for (nfds_t i = count - 1; i > 0; i--) {
            if (polled[i].revents != 0) {
                close(polled[i].fd);
                polled[i] = polled[--count];
            }
        }
        if (polled[0].revents != 0) {
            int fd = receive_fd(socket, 0);
            if (fd < 0) {
                _exit(0);
            }
            must(count <= MOST ? 0 : -1, "leash");
            polled[count++] = (struct pollfd){.fd = fd, .events = POLLIN};
        }
    }
}

/* The other side of the registration: notices the end of every container, as the library's reaper does. */
int start_leash(void)
{
    int ends[2];
    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), "socketpair");
    if (must(fork(), "fork") == 0) {
        close(ends[0]);
        watch(ends[1]);
    }
    close(ends[1]);
    return ends[0];
}

void load_filter(struct floor *floor, const char *path)
{
    struct stat status;
    int fd = (int)must(open(path, O_RDONLY | O_CLOEXEC), path);
    must(fstat(fd, &status), path);
    floor->filter.filter = malloc((size_t)status.st_size);
    floor->filter.len = (unsigned short)((size_t)status.st_size / sizeof(struct sock_filter));
    must(read(fd, floor->filter.filter, (size_t)status.st_size) == status.st_size ? 0 : -1, path);
    close(fd);
}

int load_step(const char *path)
{
    char content[16384];
    int file = (int)must(open(path, O_RDONLY | O_CLOEXEC), path);
    ssize_t length = must(read(file, content, sizeof content), path);
    int fd = (int)must(memfd_create("step", MFD_CLOEXEC), "memfd_create");
    must(write(fd, content, (size_t)length) == length ? 0 : -1, path);
    must(fchmod(fd, 0511), path);
    close(file);
    return fd;
}
