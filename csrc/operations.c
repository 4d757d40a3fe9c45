/*
 * The operations: one function for each group, one table walk.
 *
 * Runs in the outer stage, in the inner stage (both share the parent's memory: raw system calls only) and,
 * through pc_apply, in a Python thread.  An operation that fails ends the walk; nothing is skipped but
 * what its own flag allows to be absent.
 */
#define _GNU_SOURCE
#include "child.h"
#include "rawsys.h"

#include <linux/fcntl.h>
#include <linux/if.h>
#include <linux/landlock.h>
#include <linux/mount.h>
#include <linux/netlink.h>
#include <linux/openat2.h>
#include <linux/sockios.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <asm/ioctls.h>
#include <asm/statfs.h>
#include <asm/termios.h>

#ifndef TIOCGPTPEER
#define TIOCGPTPEER 0x5441
#endif

#define PC_ENOENT 2
#define PC_EBADF 9
#define PC_ENOMEM 12
#define PC_EEXIST 17
#define PC_ENODEV 19
#define PC_ENOTDIR 20
#define PC_EINVAL 22
#define PC_ENAMETOOLONG 36

#define IN_ROOT (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
#define PATH_BYTES 4096

static long as_long(const void *pointer)
{
    return (long)(uintptr_t)pointer;
}

static int slot_fd(const struct pc_walk *walk, int32_t slot)
{
    return slot < 0 ? AT_FDCWD : walk->slots[slot];
}

static long open_in(int dir, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
    struct open_how how = {.flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve};
    return pc_raw4(__NR_openat2, dir, as_long(path), as_long(&how), sizeof how);
}

static long close_fd(long fd)
{
    return pc_raw1(__NR_close, fd);
}

/* The fd of the object at `path` below `root`, or -errno; `make` creates what is absent on the way. */
static long ensure(int root, const char *path, uint32_t mode)
{
    uint64_t flags = O_PATH | (S_ISDIR(mode) ? (uint64_t)O_DIRECTORY : 0);
    long fd = open_in(root, path, flags, 0, IN_ROOT);
    if (fd != -PC_ENOENT) {
        return fd;
    }
    char prefix[PATH_BYTES];
    size_t length = 0, last = 0;
    while (path[length] != '\0') {
        if (length + 1 >= sizeof prefix) {
            return -PC_ENAMETOOLONG;
        }
        prefix[length] = path[length];
        length++;
    }
    long parent = open_in(root, "/", O_PATH | O_DIRECTORY, 0, IN_ROOT);
    for (size_t end = 1; parent >= 0 && end <= length; end++) {
        if (end < length && prefix[end] != '/') {
            continue;
        }
        int whole = end == length;
        prefix[end] = '\0';
        flags = O_PATH | (!whole || S_ISDIR(mode) ? (uint64_t)O_DIRECTORY : 0);
        fd = open_in(root, prefix, flags, 0, IN_ROOT);
        if (fd == -PC_ENOENT) {
            /* `parent` was resolved inside the root and the last name has no slash: nothing to follow. */
            long made = whole && !S_ISDIR(mode)
                            ? pc_raw4(__NR_mknodat, parent, as_long(prefix + last + 1), mode, 0)
                            : pc_raw3(__NR_mkdirat, parent, as_long(prefix + last + 1),
                                      S_ISDIR(mode) ? (long)(mode & 07777) : 0755);
            if (made < 0 && made != -PC_EEXIST) {
                close_fd(parent);
                return made;
            }
            fd = open_in(root, prefix, flags, 0, IN_ROOT);
        }
        close_fd(parent);
        parent = fd;
        if (!whole) {
            prefix[end] = '/';
            last = end;
        }
    }
    return parent;
}

static long set_attributes(int fd, uint64_t flags, const struct pc_op *op, uint64_t set, int userns)
{
    struct mount_attr attr = {.attr_set = set, .attr_clr = op->arg2, .propagation = op->arg3};
    if (userns >= 0) {
        attr.attr_set |= MOUNT_ATTR_IDMAP;
        attr.userns_fd = (__u64)userns;
    }
    return pc_raw5(__NR_mount_setattr, fd, as_long(""), (long)(flags | AT_EMPTY_PATH), as_long(&attr), sizeof attr);
}

static long bind_onto(int source, uint64_t tree_flags, const struct pc_op *op, uint64_t set, long target)
{
    long tree = pc_raw3(__NR_open_tree, source, as_long(""),
                        (long)(tree_flags | AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
    if (tree < 0) {
        return tree;
    }
    long ret = set == 0 ? 0 : set_attributes((int)tree, tree_flags, op, set, -1);
    if (ret == 0) {
        ret = pc_raw5(__NR_move_mount, tree, as_long(""), target, as_long(""),
                      MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
    }
    close_fd(tree);
    return ret;
}

static long mask(const struct pc_walk *walk, const struct pc_op *op, const char *path)
{
    long target = open_in(slot_fd(walk, op->at), path, O_PATH, 0, IN_ROOT);
    if (target < 0) {
        return target;
    }
    struct stat status;
    long ret = pc_raw4(__NR_newfstatat, target, as_long(""), as_long(&status), AT_EMPTY_PATH);
    if (ret == 0) {
        int cover = slot_fd(walk, S_ISDIR(status.st_mode) ? op->out : op->fd);
        ret = bind_onto(cover, 0, op, S_ISDIR(status.st_mode) ? MOUNT_ATTR_RDONLY : 0, target);
    }
    close_fd(target);
    return ret;
}

static long read_only(const struct pc_walk *walk, const struct pc_op *op, const char *path)
{
    long target = open_in(slot_fd(walk, op->at), path, O_PATH, 0, IN_ROOT);
    if (target < 0) {
        return target;
    }
    long ret = bind_onto((int)target, AT_RECURSIVE, op, op->arg, target);
    close_fd(target);
    return ret;
}

static long fs_config(const struct pc_walk *walk, const struct pc_op *op, const char *key, const char *value)
{
    long aux = op->arg == 1 ? slot_fd(walk, op->at) : 0;
    int plain = op->flags == FSCONFIG_SET_FLAG || op->arg == 1;
    return pc_raw5(__NR_fsconfig, slot_fd(walk, op->fd), (long)op->flags, as_long(key),
                   plain ? 0 : as_long(value), aux);
}

static long fs_mount(struct pc_walk *walk, const struct pc_op *op)
{
    int context = slot_fd(walk, op->fd);
    long ret = pc_raw5(__NR_fsconfig, context, FSCONFIG_CMD_CREATE, 0, 0, 0);
    if (ret == 0) {
        ret = pc_raw3(__NR_fsmount, context, FSMOUNT_CLOEXEC, (long)op->flags);
    }
    close_fd(context);
    walk->slots[op->fd] = -1;
    return ret;
}

static long write_file(const struct pc_walk *walk, const struct pc_op *op, const char *path, const char *data)
{
    long fd = open_in(slot_fd(walk, op->at), path, op->flags, op->mode, op->arg);
    if (fd < 0) {
        return fd;
    }
    long ret = 0;
    for (uint64_t done = 0; done < op->arg2; done += (uint64_t)ret) {
        ret = pc_raw3(__NR_write, fd, as_long(data + done), (long)(op->arg2 - done));
        if (ret <= 0) {
            break;
        }
    }
    close_fd(fd);
    return ret < 0 ? ret : 0;
}

static long pivot(void)
{
    /* The new root is the current directory; the old one is stacked on it and taken away from there. */
    long ret = pc_raw2(__NR_pivot_root, as_long("."), as_long("."));
    if (ret == 0) {
        ret = pc_raw2(__NR_umount2, as_long("."), 2 /* MNT_DETACH */);
    }
    return ret == 0 ? pc_raw1(__NR_chdir, as_long("/")) : ret;
}

static long loopback_up(void)
{
    long fd = pc_raw3(__NR_socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return fd;
    }
    struct ifreq request = {.ifr_name = "lo"};
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    long ret = pc_raw3(__NR_ioctl, fd, SIOCSIFFLAGS, as_long(&request));
    close_fd(fd);
    return ret;
}

/* In the current network namespace: one message, and the error of its acknowledgement. */
static long netlink(int family, const char *message, size_t length)
{
    long fd = pc_raw3(__NR_socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, family);
    if (fd < 0) {
        return fd;
    }
    struct {
        struct nlmsghdr header;
        struct nlmsgerr error;
        char more[512];
    } answer = {{0}, {0}, {0}};
    long ret = pc_raw6(__NR_sendto, fd, as_long(message), (long)length, 0, 0, 0);
    if (ret >= 0) {
        ret = pc_raw6(__NR_recvfrom, fd, as_long(&answer), sizeof answer, 0, 0, 0);
    }
    close_fd(fd);
    if (ret < 0) {
        return ret;
    }
    return answer.header.nlmsg_type == NLMSG_ERROR ? answer.error.error : 0;
}

static long make_socket(const struct pc_op *op, const char *address)
{
    long fd = pc_raw3(__NR_socket, (long)op->flags, (long)op->arg | SOCK_CLOEXEC, (long)op->arg3);
    long ret = fd;
    if (ret >= 0 && op->arg2 != 0) {
        ret = pc_raw3(__NR_bind, fd, as_long(address), (long)op->arg2);
    }
    if (ret >= 0 && op->mode != 0) {
        ret = pc_raw2(__NR_listen, fd, op->mode);
    }
    if (ret < 0 && fd >= 0) {
        close_fd(fd);
    }
    return ret < 0 ? ret : fd;
}

static long terminal_peer(int master, uint64_t rows, uint64_t columns)
{
    int unlocked = 0;
    struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};
    long ret = pc_raw3(__NR_ioctl, master, TIOCSPTLCK, as_long(&unlocked));
    if (ret >= 0 && (rows | columns) != 0) {
        ret = pc_raw3(__NR_ioctl, master, TIOCSWINSZ, as_long(&size));
    }
    /* By ioctl on the master, never by name: the container owns the names. Linux 4.13. */
    return ret < 0 ? ret : pc_raw3(__NR_ioctl, master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
}

static long verify(int fd, uint64_t magic, uint64_t device)
{
    struct statfs fs;
    long ret = pc_raw2(__NR_fstatfs, fd, as_long(&fs));
    if (ret == 0 && magic != 0 && (uint64_t)fs.f_type != magic) {
        return -PC_EINVAL;
    }
    struct stat status;
    if (ret == 0 && device != 0) {
        ret = pc_raw4(__NR_newfstatat, fd, as_long(""), as_long(&status), AT_EMPTY_PATH);
        if (ret == 0 && (!S_ISCHR(status.st_mode) || status.st_rdev != device)) {
            return -PC_ENODEV;
        }
    }
    return ret;
}

long pc_send_fd(int socket, int fd, const void *data, size_t length)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    *(int *)(void *)CMSG_DATA(&control.header) = fd;
    struct iovec part = {.iov_base = (void *)(uintptr_t)data, .iov_len = length};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    long ret = pc_raw3(__NR_sendmsg, socket, as_long(&message), MSG_NOSIGNAL);
    return ret < 0 ? ret : 0;
}

/* Operations on mounts. `made` tells whether the value is an fd for the slot `out`. */
/* What a kernel does not know of it must be 0 (landlock(7)). */
static long make_ruleset(const struct pc_op *op)
{
    uint64_t handled[3] = {op->arg, op->arg2, op->arg3};
    return pc_raw3(__NR_landlock_create_ruleset, as_long(handled), sizeof handled, 0);
}

static long add_rule(int ruleset, int place, uint64_t access)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = place};
    return pc_raw4(__NR_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, as_long(&rule), 0);
}

static long mount_operation(struct pc_walk *walk, const struct pc_op *op, int *made)
{
    const char *path = walk->strings + op->path, *name = walk->strings + op->name;
    int fd = slot_fd(walk, op->fd), at = slot_fd(walk, op->at);
    switch (op->kind) {
    case PC_OP_OPEN_TREE:
        *made = 1;
        return pc_raw3(__NR_open_tree, at, as_long(path), (long)(op->flags | OPEN_TREE_CLOEXEC));
    case PC_OP_FSOPEN:
        *made = 1;
        return pc_raw2(__NR_fsopen, as_long(name), FSOPEN_CLOEXEC);
    case PC_OP_FSCONFIG:
        return fs_config(walk, op, path, name);
    case PC_OP_FSMOUNT:
        *made = 1;
        return fs_mount(walk, op);
    case PC_OP_MOVE_MOUNT:
        return pc_raw5(__NR_move_mount, fd, as_long(""), at, as_long(path),
                       (long)(op->flags | MOVE_MOUNT_F_EMPTY_PATH));
    case PC_OP_SETATTR:
        return set_attributes(fd, op->flags, op, op->arg, op->at < 0 ? -1 : at);
    case PC_OP_MOUNT:
        return pc_raw5(__NR_mount, as_long("overlay"), as_long(path), as_long("overlay"), (long)op->flags, as_long(name));
    case PC_OP_UMOUNT:
        return pc_raw2(__NR_umount2, as_long(path), (long)op->flags);
    case PC_OP_PIVOT:
        return pivot();
    case PC_OP_MASK:
        return mask(walk, op, path);
    case PC_OP_READ_ONLY:
        return read_only(walk, op, path);
    default:
        return -PC_EINVAL;
    }
}

static long file_operation(struct pc_walk *walk, const struct pc_op *op, int *made)
{
    const char *path = walk->strings + op->path, *name = walk->strings + op->name;
    int fd = slot_fd(walk, op->fd), at = slot_fd(walk, op->at);
    unsigned char tag = (unsigned char)op->mode;
    switch (op->kind) {
    case PC_OP_OPEN:
        *made = 1;
        return open_in(at, path, op->flags, op->mode, op->arg);
    case PC_OP_ENSURE:
        *made = 1;
        return ensure(at, path, op->mode);
    case PC_OP_MKDIR:
        return pc_raw3(__NR_mkdirat, at, as_long(path), op->mode);
    case PC_OP_MKNOD:
        return pc_raw4(__NR_mknodat, at, as_long(path), op->mode, (long)op->arg);
    case PC_OP_SYMLINK:
        return pc_raw3(__NR_symlinkat, as_long(name), at, as_long(path));
    case PC_OP_CHOWN:
        return pc_raw5(__NR_fchownat, at, as_long(path), (long)op->arg, (long)op->arg2,
                       AT_SYMLINK_NOFOLLOW | (*path == '\0' ? AT_EMPTY_PATH : 0));
    case PC_OP_WRITE:
        return write_file(walk, op, path, name);
    case PC_OP_FCHDIR:
        return pc_raw1(__NR_fchdir, fd);
    case PC_OP_LOOPBACK:
        return loopback_up();
    case PC_OP_TERMINAL:
        *made = 1;
        return terminal_peer(fd, op->arg, op->arg2);
    case PC_OP_VERIFY:
        return verify(fd, op->arg, op->arg2);
    case PC_OP_SEND:
        return pc_send_fd(at, fd, &tag, 1);
    case PC_OP_UNSHARE:
        return pc_raw1(__NR_unshare, (long)op->flags);
    case PC_OP_JOIN:
        return pc_raw2(__NR_setns, fd, (long)op->flags);
    case PC_OP_RULESET:
        *made = 1;
        return make_ruleset(op);
    case PC_OP_RULE:
        return walk->slots[op->at] < 0 ? -PC_ENOENT : add_rule(fd, at, op->arg);
    case PC_OP_NETLINK:
        return netlink((int)op->arg, name, op->arg2);
    case PC_OP_SOCKET:
        *made = 1;
        return make_socket(op, name);
    case PC_OP_CLOSE:
        walk->slots[op->fd] = -1;
        return close_fd(fd);
    default:
        return mount_operation(walk, op, made);
    }
}

static int allowed(uint32_t options, long error)
{
    return ((options & PC_OP_MAY_MISS) && (error == -PC_ENOENT || error == -PC_ENOTDIR)) ||
           ((options & PC_OP_MAY_EXIST) && error == -PC_EEXIST);
}

long pc_walk_operations(struct pc_walk *walk, const struct pc_op *ops, uint32_t count, int32_t *position)
{
    for (uint32_t i = 0; i < count; i++) {
        int made = 0;
        long ret = file_operation(walk, &ops[i], &made);
        if (ret < 0 && !allowed(ops[i].options, ret)) {
            *position = (int32_t)i;
            return ret;
        }
        if (made && ops[i].out >= 0 && ret >= 0) {
            walk->slots[ops[i].out] = (int32_t)ret;
        } else if (made && ret >= 0) {
            close_fd(ret);
        }
    }
    return 0;
}
