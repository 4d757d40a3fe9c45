/*
 * The whole contract between Python and C: structs, step numbers, prototypes.
 *
 * Read twice: by the C compiler, and by the cffi build (which skips the lines that start with '#').
 * Python computes every byte; C executes.  Nothing here parses text, reads /proc or picks a default.
 *
 *   Python thread P           outer stage S                      inner stage C
 *   ---------------           -------------                      -------------
 *   pc_spawn(spec, result)
 *     clone3(VM) ------------> outer operations (host's view)
 *       (polls)                setns: spec->joins
 *                              clone3(VM|VFORK|PARENT|NEW*) ----> leash, cgroups, operations, ids,
 *                                (asleep)                         capabilities, seccomp
 *     <--- wakes when S ends <--- wakes on exec <---------------- execve
 *     waits until C has a memory of its own: pc_spawn's caller may be traced again
 *     pidfd_open(C)
 *
 * S is left out when there is nothing for it to do.  All three share their memory until execve, so a
 * failure is a store into `result` followed by an exit: no pipe, and execve itself is the success report.
 */
#ifndef PC_NATIVE_H
#define PC_NATIVE_H
#include <stdint.h>
#include <stddef.h>
#endif

/* What was being done when it failed; 0 is success. The order is the order of execution. */
enum pc_step {
    PC_STEP_NONE = 0,
    PC_STEP_STACK,       /* mmap of the stacks                               */
    PC_STEP_CLONE_OUTER, /* clone3 of the outer stage                        */
    PC_STEP_OUTER,       /* an operation in the host's view; `op` counts     */
    PC_STEP_JOIN,        /* setns; `op` counts the joins                     */
    PC_STEP_CLONE,       /* clone3 of the process itself                     */
    PC_STEP_LEASH,       /* handing its own pidfd to the reaper              */
    PC_STEP_CGROUP,      /* writing itself into a v1 cgroup; `op` counts     */
    PC_STEP_NS_ROOT,     /* becoming root of the user namespace              */
    PC_STEP_CGROUP_NS,   /* unshare(CLONE_NEWCGROUP), after the placement    */
    PC_STEP_SESSION,     /* setsid                                           */
    PC_STEP_OPERATION,   /* an operation in the container's view; `op` counts */
    PC_STEP_HOSTNAME,    /* sethostname                                      */
    PC_STEP_TERMINAL,    /* ioctl(TIOCSCTTY)                                 */
    PC_STEP_WORKDIR,     /* chdir                                            */
    PC_STEP_KEYRING,     /* keyctl(KEYCTL_JOIN_SESSION_KEYRING)              */
    PC_STEP_RLIMIT,      /* prlimit64; `op` counts                           */
    PC_STEP_BOUNDING,    /* prctl(PR_CAPBSET_DROP); `op` is the capability   */
    PC_STEP_GROUPS,      /* setgroups                                        */
    PC_STEP_GID,         /* setresgid                                        */
    PC_STEP_UID,         /* setresuid                                        */
    PC_STEP_CAPS,        /* capset                                           */
    PC_STEP_AMBIENT,     /* prctl(PR_CAP_AMBIENT); `op` is the capability    */
    PC_STEP_NO_NEW_PRIVS,
    PC_STEP_LANDLOCK,    /* landlock_restrict_self                           */
    PC_STEP_SIGNALS,     /* rt_sigaction back to the default                 */
    PC_STEP_FDS,         /* placing the program's fds; `op` counts           */
    PC_STEP_SECCOMP,
    PC_STEP_EXEC,        /* execve or execveat of every candidate            */
    PC_STEP_PIDFD,       /* pidfd_open of the started process                */
    PC_STEP_HIDE,        /* prctl(PR_SET_DUMPABLE, 0): before the clone, and after each change of ids */
    PC_STEP_STOPPED,     /* somebody stopped the process before it executed  */
    PC_STEP_MASK,        /* rt_sigprocmask of the calling thread, before the clone or after the end */
};

/* Operations. `out`, `fd`, `at` are slots, indexes into pc_spawn.slots; `path`, `name` are offsets into
 * pc_spawn.strings. Slot -1 as `at` is the current directory. */
enum pc_op_kind {
    PC_OP_OPEN = 1,    /* out = openat2(at, path, flags, mode, resolve=arg)                          */
    PC_OP_OPEN_TREE,   /* out = open_tree(at, path, flags)                                           */
    PC_OP_FSOPEN,      /* out = fsopen(name)                                                         */
    PC_OP_FSCONFIG,    /* fsconfig(fd, command=flags, key=path, value=name); arg=1: value is slot at */
    PC_OP_FSMOUNT,     /* fsconfig(fd, CREATE); out = fsmount(fd, attributes=flags); close fd        */
    PC_OP_MOVE_MOUNT,  /* move_mount(fd, "", at, path, flags)                                        */
    PC_OP_SETATTR,     /* mount_setattr(fd, "", flags, set=arg, clear=arg2, propagation=arg3, userns=at) */
    PC_OP_MOUNT,       /* mount("overlay", path, "overlay", flags, data=name): many lowers, Linux < 6.8 */
    PC_OP_UMOUNT,      /* umount2(path, flags)                                                       */
    PC_OP_MKDIR,       /* mkdirat(at, path, mode)                                                    */
    PC_OP_MKNOD,       /* mknodat(at, path, mode, device=arg)                                        */
    PC_OP_SYMLINK,     /* symlinkat(name, at, path)                                                  */
    PC_OP_CHOWN,       /* fchownat(at, path, uid=arg, gid=arg2, AT_SYMLINK_NOFOLLOW)                 */
    PC_OP_WRITE,       /* a file's content: openat2(at, path, flags, mode, arg); write(name, length=arg2) */
    PC_OP_ENSURE,      /* out = O_PATH of path below `at`, made with its parents where absent; mode's type */
    PC_OP_FCHDIR,      /* fchdir(fd)                                                                 */
    PC_OP_PIVOT,       /* pivot_root(".", "."); umount2(".", MNT_DETACH); chdir("/")                 */
    PC_OP_MASK,        /* path below `at`, if there: a file under `fd` (/dev/null), a directory under `out` */
    PC_OP_READ_ONLY,   /* path below `at`, if there: bound on itself with the attributes arg         */
    PC_OP_LOOPBACK,    /* lo up in the current network namespace                                     */
    PC_OP_TERMINAL,    /* out = the peer of the pty master fd, unlocked; of arg rows, arg2 columns   */
    PC_OP_VERIFY,      /* fd is on a file system of magic arg (0: any) and a device arg2 (0: any)    */
    PC_OP_SEND,        /* fd to the socket in slot `at`, tagged with the byte mode                   */
    PC_OP_UNSHARE,     /* unshare(flags)                                                             */
    PC_OP_JOIN,        /* setns(fd, types=flags)                                                     */
    PC_OP_CLOSE,       /* close(fd)                                                                  */
    PC_OP_RULESET,     /* out = landlock_create_ruleset(files=arg, network=arg2, scoped=arg3)        */
    PC_OP_RULE,        /* landlock_add_rule(fd, what is beneath slot at: access=arg)                 */
    PC_OP_NETLINK,     /* the message name (length arg2) to the kernel over netlink family arg; its answer */
    PC_OP_SOCKET,      /* out = socket(flags, type=arg, arg3); bound to the address name of length arg2, if not 0;
                          listening with the backlog mode, if not 0                              */
};

/* Flag of pc_op.options: the object may be absent (ENOENT, ENOTDIR) or already there (EEXIST). */
enum pc_op_option {
    PC_OP_MAY_MISS = 1,
    PC_OP_MAY_EXIST = 2,
};

struct pc_op {
    uint32_t kind;
    uint32_t options;
    int32_t out;
    int32_t fd;
    int32_t at;
    uint32_t path;
    uint32_t name;
    uint32_t mode;
    uint64_t flags;
    uint64_t arg;
    uint64_t arg2;
    uint64_t arg3;
};

struct pc_join {
    int32_t slot;   /* a namespace's fd, or a pidfd */
    uint32_t types; /* CLONE_NEW* as setns(2) takes them */
};

struct pc_rlimit {
    uint32_t resource;
    uint32_t reserved;
    uint64_t soft;
    uint64_t hard;
};

/* The fd in `slot` becomes the program's fd `target`. */
struct pc_fd_map {
    int32_t slot;
    int32_t target;
};

enum pc_spawn_flag {
    PC_SPAWN_NS_ROOT = 1,      /* ns_uid, ns_gid in the user namespace that was joined */
    PC_SPAWN_CGROUP_NS = 2,    /* an own cgroup namespace, rooted where it runs   */
    PC_SPAWN_SETSID = 4,
    PC_SPAWN_KEYRING = 8,
    PC_SPAWN_SET_IDS = 16,     /* uid and gid are to be set                       */
    PC_SPAWN_SET_GROUPS = 32,  /* groups are to be set (denied in single-id maps) */
    PC_SPAWN_SET_CAPS = 64,    /* bounding .. ambient are to be set               */
    PC_SPAWN_NO_NEW_PRIVS = 128,
    PC_SPAWN_ENDS = 256,       /* it ends after its operations, with status 0, and executes nothing */
};

struct pc_spawn {
    const struct pc_op *outer;
    const struct pc_op *inner;
    const char *strings;
    int32_t *slots; /* fds by slot; -1 where an operation will store one */
    const struct pc_join *joins;
    const int32_t *tasks; /* slots of the v1 cgroups' "tasks" files */
    const struct pc_rlimit *rlimits;
    const struct pc_fd_map *fds;
    const uint32_t *groups;
    const char *const *candidates; /* paths tried in turn, ends in NULL */
    const char *const *argv;
    const char *const *envp;
    const char *hostname; /* NULL: as it is */
    const char *workdir;  /* NULL: as it is */
    const void *seccomp;  /* struct sock_filter[seccomp_count] */
    uint32_t outer_count;
    uint32_t inner_count;
    uint32_t join_count;
    uint32_t task_count;
    uint32_t rlimit_count;
    uint32_t fd_count;
    uint32_t group_count;
    uint32_t seccomp_count;
    uint32_t seccomp_flags;
    uint32_t flags; /* enum pc_spawn_flag */
    uint64_t namespaces; /* CLONE_NEW* that the process gets of its own */
    uint64_t cap_bounding;
    uint64_t cap_permitted; /* and effective */
    uint64_t cap_inheritable;
    uint64_t cap_ambient;
    uint32_t ns_uid; /* who sets things up in the user namespace that was joined, with PC_SPAWN_NS_ROOT */
    uint32_t ns_gid;
    uint32_t last_cap; /* the kernel's highest capability */
    uint32_t uid;
    uint32_t gid;
    uint32_t umask;
    int32_t cgroup;   /* slot of a v2 cgroup for CLONE_INTO_CGROUP, or -1 */
    int32_t leash;    /* slot of the reaper's socket, or -1 */
    int32_t terminal; /* slot of the controlling terminal, or -1 */
    int32_t landlock; /* slot of the Landlock ruleset that holds for the program, or -1 */
    int32_t program;  /* slot of the program for execveat, or -1: the candidates */
};

struct pc_result {
    int32_t pid;
    int32_t pidfd;
    int32_t step;  /* enum pc_step */
    int32_t error; /* errno */
    int32_t op;    /* which operation, join, rlimit, capability; -1 where a step has none */
};

struct pc_ended {
    int32_t code;   /* CLD_EXITED, CLD_KILLED, CLD_DUMPED */
    int32_t status; /* exit status or signal */
    int64_t cpu_user;   /* microseconds */
    int64_t cpu_system; /* microseconds */
    int64_t max_rss;    /* bytes */
};

/* Starts a process as `spec` says. 0, or -1 with step, error and op in `result` and nothing left behind. */
int pc_spawn(const struct pc_spawn *spec, struct pc_result *result);

/* Executes operations in the calling thread's own view. 0, or -1 as above; fds already made stay in slots. */
int pc_apply(const struct pc_op *ops, uint32_t count, const char *strings, int32_t *slots,
             struct pc_result *result);

/* Thin calls that Python's os module lacks: a value, or -errno. */
int pc_openat2(int dir, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);
int pc_renameat2(int old_dir, const char *old_path, int new_dir, const char *new_path, uint32_t flags);
/* What differs when the file `path` below `root` was written or replaced: device, inode, size, and its time of
   change in nanoseconds. 0 or -errno. */
int pc_stamp(int root, const char *path, int64_t *stamp);
/* Which file system a file is on (statfs(2), f_type), or -errno. */
int64_t pc_file_system(int fd);
/* syncfs(2): write out all of the file system of fd; 0 or a negative error number. */
int pc_syncfs(int fd);
/* Is nothing in this directory? 1, 0, or -errno. */
int pc_is_empty(int dir);
/* 1: ended, 0: still runs (WNOHANG). Of a process that others reaped, how it ended but not what it used. */
int pc_wait(int pidfd, int options, struct pc_ended *ended);

/* The calling thread's file system ids (setfsuid(2)), with its capabilities as they were. 0 or -errno. */
int pc_set_file_ids(uint32_t uid, uint32_t gid);

/* Open, read or write once, close: small files of the kernel's own. The length, or -errno. */
int pc_read_file(int dir, const char *path, char *buffer, uint32_t size);
int pc_write_file(int dir, const char *path, const char *data, uint32_t size);

/* Whose a new file is ((uint32_t)-1: as it is made), and the rest of what inode(7) keeps of it. */
struct pc_attributes {
    uint32_t uid;
    uint32_t gid;
    uint32_t mode;
    uint32_t nanoseconds;
    int64_t seconds;
};

/* Makes a regular file of `size` bytes from data + start, which must not exist. 0, or -errno: -EEXIST with nothing
   done, of others it may be there. */
int pc_make_file(int dir, const char *name, const char *data, uint64_t start, uint64_t size,
                 const struct pc_attributes *attributes);
/* Makes a symbolic link, which must not exist; likewise. */
int pc_make_link(int dir, const char *name, const char *target, const struct pc_attributes *attributes);

/* One directory of a cgroup. The lists are texts, each with its '\0', and an empty one at their end. */
struct pc_group_part {
    int32_t above;        /* the directory that it is made in */
    int32_t unified;      /* of version 2: its fd is that of the directory; of version 1: of its file `tasks` */
    const char *settings; /* files and what is written to them, in turn */
    const char *counters; /* files that tell what was used */
};

/* Makes the directory `name` of every part, and its fd. 0, or -errno with nothing made. */
int pc_make_group(const struct pc_group_part *parts, uint32_t count, const char *name, int32_t *fds);
/* Removes the directories; how many are left. */
int pc_remove_group(const struct pc_group_part *parts, uint32_t count, const char *name);
/* The content of all counters in turn, each with a '\0' after it (nothing but that: it cannot be read).
   Their length, or -ENOSPC when that does not fit. */
int pc_read_group(const struct pc_group_part *parts, uint32_t count, const char *name, char *buffer, uint32_t size);
/* Has the kernel find the counters once, which is most of the time of reading them. */
void pc_find_group(const struct pc_group_part *parts, uint32_t count, const char *name);

/* Calls that doctor asks what the kernel can do. */
/* close_range(2): with first = last = ~0 it closes nothing. */
int pc_close_range(uint32_t first, uint32_t last, uint32_t flags);
/* A copy of the file `fd` of another process (pidfd_getfd(2)). */
int pc_pidfd_getfd(int pidfd, int fd);
/* The version of Landlock's interface. */
int pc_landlock_abi(void);
/* Installs no filter: -EFAULT where all of the flags SECCOMP_FILTER_FLAG_* are known. */
int pc_seccomp_knows(uint32_t flags);

/* bpf(2): `attributes` is a union bpf_attr of `size` bytes. */
int pc_bpf(int command, void *attributes, uint32_t size);
/* quotactl_fd(2) on the file system of `fd` (Linux 5.14); without it quotactl(2) on its device `special`, if not "". */
int pc_quotactl(int fd, const char *special, uint32_t command, uint32_t id, void *data);
