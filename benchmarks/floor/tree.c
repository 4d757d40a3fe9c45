/* The container's file system: straight down, in the order of the library's plan. */
#define _GNU_SOURCE
#include "floor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define IN_ROOT (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
#define QUIET (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)

typedef const char *const options_t[][2];

static void attach(int mount, int root, const char *path)
{
    int target = (int)must(open_in(root, path, O_PATH | O_DIRECTORY, IN_ROOT), path);
    move_mount_to(mount, target, "");
    close(target);
}

static void attach_new(int mount, int root, const char *path)
{
    attach(mount, root, path);
    close(mount);
}

static void cover(int source, int target, unsigned int flags, uint64_t attributes)
{
    int tree = clone_tree(source, "", flags | AT_EMPTY_PATH);
    if (attributes != 0) {
        set_attributes(tree, flags, attributes, 0, -1);
    }
    move_mount_to(tree, target, "");
    close(tree);
}

static void mask(int root, const char *path, int null, int empty)
{
    int target = open_in(root, path, O_PATH, IN_ROOT);
    if (target < 0) {
        must(errno == ENOENT ? 0 : -1, path);
        return;
    }
    struct stat status;
    must(fstatat(target, "", &status, AT_EMPTY_PATH), path);
    if (S_ISDIR(status.st_mode)) {
        cover(empty, target, 0, MOUNT_ATTR_RDONLY);
    } else {
        cover(null, target, 0, 0);
    }
    close(target);
}

static void make_read_only(int root, const char *path)
{
    int target = open_in(root, path, O_PATH, IN_ROOT);
    if (target < 0) {
        must(errno == ENOENT ? 0 : -1, path);
        return;
    }
    cover(target, target, AT_RECURSIVE, MOUNT_ATTR_RDONLY | QUIET);
    close(target);
}

static void make_device(int dev, const char *name, dev_t device, const struct identity *identity)
{
    must(mknodat(dev, name, S_IFCHR | 0666, device), name);
    if (identity != NULL) {
        must(fchownat(dev, name, identity->base, identity->base, AT_SYMLINK_NOFOLLOW), name);
    }
}

int make_dev(const struct identity *identity)
{
    options_t options = {{"mode", "755"}, {"size", "64k"}, {"nr_inodes", "1024"}, {NULL, NULL}};
    int dev = new_mount("tmpfs", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
    make_device(dev, "null", makedev(1, 3), identity);
    make_device(dev, "zero", makedev(1, 5), identity);
    make_device(dev, "full", makedev(1, 7), identity);
    make_device(dev, "random", makedev(1, 8), identity);
    make_device(dev, "urandom", makedev(1, 9), identity);
    make_device(dev, "tty", makedev(5, 0), identity);
    if (identity != NULL) {
        must(fchownat(dev, "", identity->base, identity->base, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH), "/dev");
    }
    return dev;
}

static int make_root(int layer, int in_userns)
{
    options_t private = {{"mode", "700"}, {NULL, NULL}};
    int scratch = new_mount("tmpfs", private, 0);
    move_mount_to(scratch, AT_FDCWD, "/proc");
    must(fchdir(scratch), "fchdir");
    must(mkdirat(AT_FDCWD, "root", 0755), "mkdir");
    must(mkdirat(AT_FDCWD, "empty", 0755), "mkdir");
    must(mkdirat(AT_FDCWD, "0", 0755), "mkdir");
    move_mount_to(layer, AT_FDCWD, "0");
    must(mkdirat(AT_FDCWD, "upper", 0755), "mkdir");
    must(mkdirat(AT_FDCWD, "work", 0700), "mkdir");
    options_t options = {{"lowerdir+", "0"}, {"upperdir", "upper"}, {"workdir", "work"},
                         {in_userns ? "userxattr" : NULL, NULL}, {NULL, NULL}};
    int root = new_mount("overlay", options, 0);
    move_mount_to(root, AT_FDCWD, "root");
    return root;
}

static void mount_dev(int root, int dev)
{
    attach(dev, root, "/dev");
    must(symlinkat("/proc/self/fd", dev, "fd"), "symlink");
    must(symlinkat("/proc/self/fd/0", dev, "stdin"), "symlink");
    must(symlinkat("/proc/self/fd/1", dev, "stdout"), "symlink");
    must(symlinkat("/proc/self/fd/2", dev, "stderr"), "symlink");
    must(symlinkat("pts/ptmx", dev, "ptmx"), "symlink");
    must(symlinkat("/proc/kcore", dev, "core"), "symlink");
    options_t terminals = {{"newinstance", NULL}, {"ptmxmode", "0666"}, {"mode", "0620"}, {"gid", "5"}, {NULL, NULL}};
    int pts = new_mount("devpts", terminals, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
    must(mkdirat(dev, "pts", 0755), "mkdir");
    attach_new(pts, root, "/dev/pts");
    options_t shared = {{"mode", "1777"}, {"size", "67108864"}, {NULL, NULL}};
    int shm = new_mount("tmpfs", shared, QUIET);
    must(mkdirat(dev, "shm", 0755), "mkdir");
    attach_new(shm, root, "/dev/shm");
    int queues = new_mount("mqueue", NULL, QUIET);
    must(mkdirat(dev, "mqueue", 0755), "mkdir");
    attach_new(queues, root, "/dev/mqueue");
}

static void bring_loopback_up(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int fd = (int)must(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket");
    must(ioctl(fd, SIOCSIFFLAGS, &request), "SIOCSIFFLAGS");
    close(fd);
}

/* The writable layer goes to the parent, which reads from it what the program has changed. */
static void export_upper(int exports)
{
    int upper = (int)must(open_in(AT_FDCWD, "upper", O_RDONLY | O_DIRECTORY, 0), "upper");
    send_fd(exports, upper, "", 1);
}

void build_tree(const struct floor *floor, const struct identity *identity, int layer, int usr, int dev,
                int exports)
{
    int old = open_in(AT_FDCWD, "/", O_PATH | O_DIRECTORY, 0);
    set_attributes(old, AT_RECURSIVE, 0, MS_PRIVATE, -1);
    if (identity == NULL) {
        layer = clone_tree(AT_FDCWD, floor->skeleton, 0);
        usr = clone_tree(AT_FDCWD, "/usr", 0);
        set_attributes(usr, 0, MOUNT_ATTR_RDONLY, MS_PRIVATE, -1);
        dev = make_dev(NULL);
    }
    int root = make_root(layer, identity != NULL);
    attach(usr, root, "/usr");
    attach_new(new_mount("proc", NULL, QUIET), root, "/proc");
    if (floor->own_network || identity == NULL) {
        attach_new(new_mount("sysfs", NULL, QUIET | MOUNT_ATTR_RDONLY), root, "/sys");
    }
    mount_dev(root, dev);
    int null = (int)must(open_in(dev, "null", O_PATH, 0), "/dev/null");
    int empty = (int)must(open_in(AT_FDCWD, "empty", O_PATH | O_DIRECTORY, 0), "empty");
    for (size_t i = 0; i < floor->masked.count; i++) {
        mask(root, floor->masked.items[i], null, empty);
    }
    for (size_t i = 0; i < floor->read_only.count; i++) {
        make_read_only(root, floor->read_only.items[i]);
    }
    export_upper(exports);
    if (floor->own_network) {
        bring_loopback_up();
    }
    must(fchdir(root), "fchdir");
    SYS(pivot_root, ".", ".");
    must(umount2(".", MNT_DETACH), "umount2");
    must(chdir("/"), "chdir");
}
