/* The container's first process, and a later one: what they do before both are confined alike. */
#define _GNU_SOURCE
#include "floor.h"

#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A pidfd of itself: whoever holds it can end this process without mistaking it for another. */
static void register_with_leash(int leash)
{
    char message[272] = {1};
    int pidfd = (int)SYS(pidfd_open, getpid(), 0);
    send_fd(leash, pidfd, message, sizeof message);
    close(pidfd);
}

/* By system call: libc's functions would have every thread of the parent, whose memory this is, do the same. */
static void become_root(void)
{
    SYS(setresgid, 0, 0, 0);
    SYS(setresuid, 0, 0, 0);
}

_Noreturn void inner_start(const struct floor *floor, const struct identity *identity, struct streams *streams,
                           int layer, int usr, int dev)
{
    register_with_leash(floor->leash);
    sit_down(floor, &streams->seat);
    if (identity != NULL) {
        become_root();
    }
    must(unshare(CLONE_NEWCGROUP), "unshare");
    must(setsid(), "setsid");
    umask(0);
    build_tree(floor, identity, layer, usr, dev, streams->exports[1]);
    must(sethostname(floor->hostname, strlen(floor->hostname)), "sethostname");
    confine(floor, streams);
}

_Noreturn void inner_exec(const struct floor *floor, struct streams *streams)
{
    sit_down(floor, &streams->seat);
    if (floor->identity_count > 0) {
        become_root();
    }
    must(setsid(), "setsid");
    umask(0);
    must(setns(floor->container, CLONE_NEWCGROUP), "setns");
    confine(floor, streams);
}
