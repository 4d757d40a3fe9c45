/*
 * The end of a cgroup and all below it, v1 or v2, by directory fds.
 *
 * v2 since Linux 5.14: cgroup.kill.  Before, and in v1: SIGKILL to every member, in the freezer hierarchy while
 * the group is frozen, so that nothing can fork.  A member is killed by a pidfd that was opened while it was
 * listed: its number cannot have passed on to another process.
 */
#ifndef PC_CGROUPS_H
#define PC_CGROUPS_H

/*
 * Sends SIGKILL to the members of the group `name` in `parent`, in v2 of the whole subtree, and thaws it, as
 * what is frozen in v1 cannot die.  Waits for nothing, so what forks at that moment may escape until
 * pc_cgroup_remove; an absent group is no error.
 */
void pc_cgroup_kill(int parent, const char *name);

/* Has the group `name` in `parent` go on, if it is frozen; an absent group is no error. */
void pc_cgroup_thaw(int parent, const char *name);

/*
 * Removes the group `name` in `parent` and all below it, killing what is still in there; waits for what dies
 * until nothing happened for two seconds.  0 when it is gone, or -errno: -EBUSY when something does not die.
 */
long pc_cgroup_remove(int parent, const char *name);

#endif
