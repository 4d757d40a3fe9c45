/* Mounts and roots: ways to change what a path means, or to leave the tree. */
#include "attempts.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#ifndef SYS_open_tree_attr
#define SYS_open_tree_attr 467
#endif

/* In mounts of its own, where the attempt may have some. */
static const char *place(void)
{
    narrow(CLONE_NEWNS);
    return scratch();
}

static void mount_tmpfs(void)
{
    const char *path = place();
    long answer = mount("none", path, "tmpfs", 0, "size=1m");
    if (answer == 0) {
        umount2(path, MNT_DETACH);
    }
    judge(answer);
}

static void mount_bind(void)
{
    const char *path = place();
    long answer = mount("/", path, NULL, MS_BIND, NULL);
    if (answer == 0) {
        umount2(path, MNT_DETACH);
    }
    judge(answer);
}

static void mount_proc(void)
{
    const char *path = place();
    long answer = mount("none", path, "proc", 0, NULL);
    if (answer == 0) {
        umount2(path, MNT_DETACH);
    }
    judge(answer);
}

/* What lies below a mask, or below a read-only mount, shows again when that is taken off. */
static void unmount_mask(void)
{
    narrow(CLONE_NEWNS);
    if (given("outside") != NULL) {
        judge(mount("/dev/null", "/proc/timer_list", NULL, MS_BIND, NULL) < 0 ? -1 : umount2("/proc/timer_list", MNT_DETACH));
    }
    judge_by(umount2("/proc/timer_list", MNT_DETACH), EINVAL);
}

static void remount_writable(void)
{
    narrow(CLONE_NEWNS);
    if (given("outside") != NULL && mount("/proc/sys", "/proc/sys", NULL, MS_BIND, NULL) < 0) {
        judge(-1);
    }
    judge_by(mount(NULL, "/proc/sys", NULL, MS_REMOUNT | MS_BIND, NULL), EINVAL);
}

static void pivot(void)
{
    const char *path = place();
    judge_by(chdir(path) < 0 ? -1 : syscall(SYS_pivot_root, ".", "."), EINVAL);
}

/* The copy of a tree is nowhere until it is moved to some place. */
static void open_tree_call(void)
{
    judge(syscall(SYS_open_tree, AT_FDCWD, "/", 1 /* OPEN_TREE_CLONE */ | O_CLOEXEC));
}

static void open_tree_attributes(void)
{
    struct { unsigned long long set, clear, propagation, userns; } attributes = {0};
    judge(syscall(SYS_open_tree_attr, AT_FDCWD, "/", 1 | O_CLOEXEC, &attributes, sizeof attributes));
}

static void move_tree(void)
{
    const char *path = place();
    long tree = syscall(SYS_open_tree, AT_FDCWD, "/", 1 | O_CLOEXEC);
    long answer = syscall(SYS_move_mount, tree, "", AT_FDCWD, path, 4 /* MOVE_MOUNT_F_EMPTY_PATH */);
    if (answer == 0) {
        umount2(path, MNT_DETACH);
    }
    judge_by(answer, EBADF);
}

static void fsopen_call(void)
{
    judge(syscall(SYS_fsopen, "tmpfs", 1 /* FSOPEN_CLOEXEC */));
}

static void fsopen_disk(void)
{
    judge(syscall(SYS_fsopen, "ext4", 1));
}

static void fspick_call(void)
{
    narrow(CLONE_NEWNS);
    judge(syscall(SYS_fspick, AT_FDCWD, "/", 1));
}

static void set_attributes(void)
{
    struct { unsigned long long set, clear, propagation, userns; } attributes = {.set = 1 /* MOUNT_ATTR_RDONLY */};
    const char *path = place();
    judge_by(syscall(SYS_mount_setattr, AT_FDCWD, path, 0, &attributes, sizeof attributes), EINVAL);
}

/* chroot(2) does not move the working directory: from there, `..` leads past the new root. */
static void leave_chroot(void)
{
    const char *path = scratch();
    struct stat status;
    if (chroot(path) < 0) {
        refused(errno);
    }
    for (int i = 0; i < 64; i++) {
        chdir("..");
    }
    if (chroot(".") < 0) {
        refused(errno);
    }
    if (stat(needed("file"), &status) < 0) {
        refused(errno);
    }
    reached("%s", needed("file"));
}

static void change_root(void)
{
    judge(chroot(scratch()));
}

const struct attempt mounts[] = {
    {"mount_tmpfs", mount_tmpfs},
    {"mount_bind", mount_bind},
    {"mount_proc", mount_proc},
    {"unmount_mask", unmount_mask},
    {"remount_writable", remount_writable},
    {"pivot_root", pivot},
    {"open_tree", open_tree_call},
    {"open_tree_attr", open_tree_attributes},
    {"move_mount", move_tree},
    {"fsopen", fsopen_call},
    {"fsopen_disk", fsopen_disk},
    {"fspick", fspick_call},
    {"mount_setattr", set_attributes},
    {"chroot", change_root},
    {"leave_chroot", leave_chroot},
    {NULL, NULL},
};
