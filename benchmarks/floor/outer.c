/* The short-lived process between: it sees the host's files, enters the namespaces, and makes the inner one. */
#define _GNU_SOURCE
#include "floor.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SHARED (CLONE_VM | CLONE_VFORK | CLONE_CLEAR_SIGHAND)
#define ENTERED (CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER)

_Noreturn void outer_start(const struct floor *floor, const struct identity *identity, struct streams *streams,
                           int *pid)
{
    umask(0);
    int layer = clone_tree(AT_FDCWD, identity->skeleton, 0);
    int usr = clone_tree(AT_FDCWD, "/usr", 0);
    set_attributes(usr, 0, MOUNT_ATTR_RDONLY, MS_PRIVATE, identity->userns);
    int dev = make_dev(identity);
    must(setns(identity->userns, CLONE_NEWUSER), "setns");
    struct clone_args args = {.flags = SHARED | CLONE_PARENT | inner_namespaces(floor)};
    start_in(&args, &streams->seat);
    long child = clone_shared(&args, sizeof args);
    if (child == 0) {
        inner_start(floor, identity, streams, layer, usr, dev);
    }
    *pid = (int)must_raw(child, "clone3");
    syscall(SYS_exit_group, 0);
    __builtin_unreachable();
}

_Noreturn void outer_exec(const struct floor *floor, struct streams *streams, int *pid)
{
    umask(0);
    must(setns(floor->container, ENTERED | (floor->own_network ? CLONE_NEWNET : 0)), "setns");
    struct clone_args args = {.flags = SHARED | CLONE_PARENT};
    start_in(&args, &streams->seat);
    long child = clone_shared(&args, sizeof args);
    if (child == 0) {
        inner_exec(floor, streams);
    }
    *pid = (int)must_raw(child, "clone3");
    syscall(SYS_exit_group, 0);
    __builtin_unreachable();
}
