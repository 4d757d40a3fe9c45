/* System calls that libc does not wrap; a failure of any ends the process: nothing here goes on half done. */
#define _GNU_SOURCE
#include "floor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

long must(long value, const char *what)
{
    if (value < 0) {
        dprintf(2, "floor: %s: %s\n", what, strerror(errno));
        _exit(1);
    }
    return value;
}

long must_raw(long value, const char *what)
{
    errno = value < 0 ? (int)-value : errno;
    return must(value < 0 ? -1 : value, what);
}

int open_in(int dir, const char *path, uint64_t flags, uint64_t resolve)
{
    struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = resolve};
    return (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
}

int clone_tree(int dir, const char *path, unsigned int flags)
{
    return (int)SYS(open_tree, dir, path, flags | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
}

void set_attributes(int fd, unsigned int flags, uint64_t set, uint64_t propagation, int userns)
{
    struct mount_attr attr = {.attr_set = set, .propagation = propagation};
    if (userns >= 0) {
        attr.attr_set |= MOUNT_ATTR_IDMAP;
        attr.userns_fd = (__u64)userns;
    }
    SYS(mount_setattr, fd, "", flags | AT_EMPTY_PATH, &attr, sizeof attr);
}

int new_mount(const char *type, const char *const (*options)[2], unsigned int attributes)
{
    int context = (int)SYS(fsopen, type, FSOPEN_CLOEXEC);
    for (; options != NULL && (*options)[0] != NULL; options++) {
        unsigned int command = (*options)[1] == NULL ? FSCONFIG_SET_FLAG : FSCONFIG_SET_STRING;
        SYS(fsconfig, context, command, (*options)[0], (*options)[1], 0);
    }
    SYS(fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
    int mount = (int)SYS(fsmount, context, FSMOUNT_CLOEXEC, attributes);
    close(context);
    return mount;
}

void move_mount_to(int fd, int dir, const char *path)
{
    unsigned int flags = MOVE_MOUNT_F_EMPTY_PATH | (*path == '\0' ? MOVE_MOUNT_T_EMPTY_PATH : 0);
    SYS(move_mount, fd, "", dir, path, flags);
}

union one_fd {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
};

void send_fd(int socket, int fd, const void *data, size_t length)
{
    union one_fd control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    struct iovec part = {(void *)(uintptr_t)data, length};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    must(sendmsg(socket, &message, MSG_NOSIGNAL), "sendmsg");
}

/* -1 when the other side is gone. */
int receive_fd(int socket, int flags)
{
    char data[512];
    union one_fd control;
    struct iovec part = {data, sizeof data};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    int fd = -1;
    if (must(recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC), "recvmsg") > 0) {
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
    }
    return fd;
}
