"""Types of the native module, whose contract is csrc/native.h."""

from typing import Any

class _FFI:
    NULL: Any
    def new(self, ctype: str, init: Any = ...) -> Any: ...
    def from_buffer(self, ctype: str, data: bytes | bytearray | memoryview) -> Any: ...
    def new_allocator(self, *, should_clear_after_alloc: bool) -> Any: ...
    def cast(self, ctype: str, value: Any) -> Any: ...
    def string(self, data: Any) -> bytes: ...
    def buffer(self, data: Any, size: int = ...) -> Any: ...
    def sizeof(self, ctype: str) -> int: ...

class _Lib:
    PC_STEP_NONE: int
    PC_STEP_STACK: int
    PC_STEP_CLONE_OUTER: int
    PC_STEP_OUTER: int
    PC_STEP_JOIN: int
    PC_STEP_CLONE: int
    PC_STEP_LEASH: int
    PC_STEP_CGROUP: int
    PC_STEP_NS_ROOT: int
    PC_STEP_CGROUP_NS: int
    PC_STEP_SESSION: int
    PC_STEP_OPERATION: int
    PC_STEP_HOSTNAME: int
    PC_STEP_TERMINAL: int
    PC_STEP_WORKDIR: int
    PC_STEP_KEYRING: int
    PC_STEP_RLIMIT: int
    PC_STEP_BOUNDING: int
    PC_STEP_GROUPS: int
    PC_STEP_GID: int
    PC_STEP_UID: int
    PC_STEP_CAPS: int
    PC_STEP_AMBIENT: int
    PC_STEP_NO_NEW_PRIVS: int
    PC_STEP_LANDLOCK: int
    PC_STEP_SIGNALS: int
    PC_STEP_FDS: int
    PC_STEP_SECCOMP: int
    PC_STEP_EXEC: int
    PC_STEP_PIDFD: int
    PC_STEP_HIDE: int
    PC_STEP_STOPPED: int
    PC_STEP_MASK: int
    PC_OP_OPEN: int
    PC_OP_OPEN_TREE: int
    PC_OP_FSOPEN: int
    PC_OP_FSCONFIG: int
    PC_OP_FSMOUNT: int
    PC_OP_MOVE_MOUNT: int
    PC_OP_SETATTR: int
    PC_OP_MOUNT: int
    PC_OP_UMOUNT: int
    PC_OP_MKDIR: int
    PC_OP_MKNOD: int
    PC_OP_SYMLINK: int
    PC_OP_CHOWN: int
    PC_OP_WRITE: int
    PC_OP_ENSURE: int
    PC_OP_FCHDIR: int
    PC_OP_PIVOT: int
    PC_OP_MASK: int
    PC_OP_READ_ONLY: int
    PC_OP_LOOPBACK: int
    PC_OP_TERMINAL: int
    PC_OP_VERIFY: int
    PC_OP_SEND: int
    PC_OP_UNSHARE: int
    PC_OP_JOIN: int
    PC_OP_CLOSE: int
    PC_OP_RULESET: int
    PC_OP_RULE: int
    PC_OP_NETLINK: int
    PC_OP_SOCKET: int
    PC_OP_MAY_MISS: int
    PC_OP_MAY_EXIST: int
    PC_SPAWN_NS_ROOT: int
    PC_SPAWN_CGROUP_NS: int
    PC_SPAWN_SETSID: int
    PC_SPAWN_KEYRING: int
    PC_SPAWN_SET_IDS: int
    PC_SPAWN_SET_GROUPS: int
    PC_SPAWN_SET_CAPS: int
    PC_SPAWN_NO_NEW_PRIVS: int
    PC_SPAWN_ENDS: int
    PC_REAPER_PROCESS: int
    PC_REAPER_TREE: int
    PC_REAPER_CGROUP: int
    PC_REAPER_FORGET: int
    PC_REAPER_LOCK: int
    PC_REAPER_USERNS: int
    PC_SCRIBE_LISTEN: int
    PC_SCRIBE_DRAIN: int
    PC_SCRIBE_CLOSE: int
    PC_SCRIBE_OUT: int
    PC_SCRIBE_ERR: int
    PC_SCRIBE_MOST: int
    PC_MONITOR_PLAN: int
    PC_MONITOR_FOLDER: int
    PC_MONITOR_ALIVE: int
    PC_MONITOR_SOCKET: int
    PC_MONITOR_READY: int
    PC_MONITOR_ABOVE: int
    PC_MONITOR_VERB: int
    PC_MONITOR_FIRST: int
    PC_MONITOR_MAGIC: int
    PC_MONITOR_CGROUPS: int
    PC_MONITOR_CLIENTS: int
    PC_RESTART_NO: int
    PC_RESTART_ON_FAILURE: int
    PC_RESTART_ALWAYS: int
    PC_MONITOR_TTY: int
    PC_MONITOR_INPUT: int
    PC_MONITOR_REMOVE: int
    PC_MONITOR_USERNS: int
    PC_SENT_UPPER: int
    PC_SENT_ROOT: int
    PC_SENT_MASTER: int
    PC_PHASE_STARTING: int
    PC_PHASE_RUNNING: int
    PC_PHASE_RESTARTING: int
    PC_PHASE_EXITED: int
    PC_PHASE_DEAD: int
    PC_MONITOR_HELLO: int
    PC_MONITOR_SIGNAL: int
    PC_MONITOR_END: int
    PC_MONITOR_WATCH: int
    PC_MONITOR_RESIZE: int
    PC_MONITOR_CLOSE_INPUT: int
    PC_MONITOR_POLICY: int
    PC_MONITOR_NEWS: int
    PC_MONITOR_FD: int
    PC_MONITOR_HOLD: int
    PC_MONITOR_NO_ROOM: int
    PC_MONITOR_STREAM: int
    CLONE_NEWCGROUP: int
    CLONE_NEWIPC: int
    CLONE_NEWNET: int
    CLONE_NEWNS: int
    CLONE_NEWPID: int
    CLONE_NEWTIME: int
    CLONE_NEWUSER: int
    CLONE_NEWUTS: int
    FSCONFIG_SET_FD: int
    FSCONFIG_SET_FLAG: int
    FSCONFIG_SET_STRING: int
    LANDLOCK_ACCESS_FS_EXECUTE: int
    LANDLOCK_ACCESS_FS_READ_DIR: int
    LANDLOCK_ACCESS_FS_READ_FILE: int
    MOUNT_ATTR_NOATIME: int
    MOUNT_ATTR_NODEV: int
    MOUNT_ATTR_NOEXEC: int
    MOUNT_ATTR_NOSUID: int
    MOUNT_ATTR_NOSYMFOLLOW: int
    MOUNT_ATTR_RDONLY: int
    MOVE_MOUNT_T_EMPTY_PATH: int
    MOVE_MOUNT_T_SYMLINKS: int
    OPEN_TREE_CLONE: int
    MS_BIND: int
    MS_PRIVATE: int
    MS_REC: int
    MS_SHARED: int
    MS_SLAVE: int
    MS_UNBINDABLE: int
    RESOLVE_BENEATH: int
    RESOLVE_IN_ROOT: int
    RESOLVE_NO_MAGICLINKS: int
    RESOLVE_NO_SYMLINKS: int
    RESOLVE_NO_XDEV: int
    AT_EMPTY_PATH: int
    AT_RECURSIVE: int
    AT_SYMLINK_NOFOLLOW: int
    BPF_CGROUP_DEVICE: int
    BPF_F_ALLOW_MULTI: int
    BPF_F_REPLACE: int
    BPF_PROG_ATTACH: int
    BPF_PROG_DETACH: int
    BPF_PROG_LOAD: int
    BPF_PROG_TYPE_CGROUP_DEVICE: int
    BPF_PROG_TYPE_SOCKET_FILTER: int
    BPF_DEVCG_ACC_MKNOD: int
    BPF_DEVCG_ACC_READ: int
    BPF_DEVCG_ACC_WRITE: int
    BPF_DEVCG_DEV_BLOCK: int
    BPF_DEVCG_DEV_CHAR: int
    FS_IOC_FSGETXATTR: int
    FS_IOC_FSSETXATTR: int
    FS_XFLAG_PROJINHERIT: int
    FS_QUOTA_PDQ_ENFD: int
    Q_XGETQSTAT: int
    NETLINK_NETFILTER: int
    NETLINK_ROUTE: int
    PRJQUOTA: int
    QIF_BLIMITS: int
    Q_GETQUOTA: int
    Q_SETQUOTA: int
    SECCOMP_FILTER_FLAG_NEW_LISTENER: int
    RENAME_EXCHANGE: int
    RENAME_NOREPLACE: int
    NS_GET_NSTYPE: int
    BINFMTFS_MAGIC: int
    BPF_FS_MAGIC: int
    CGROUP2_SUPER_MAGIC: int
    CGROUP_SUPER_MAGIC: int
    DEBUGFS_MAGIC: int
    EFIVARFS_MAGIC: int
    PSTOREFS_MAGIC: int
    SECURITYFS_MAGIC: int
    SELINUX_MAGIC: int
    SYSFS_MAGIC: int
    TRACEFS_MAGIC: int
    DEVPTS_SUPER_MAGIC: int
    OVERLAYFS_SUPER_MAGIC: int
    PROC_SUPER_MAGIC: int
    TMPFS_MAGIC: int
    pc_version: Any
    def pc_spawn(self, spec: Any, result: Any) -> int: ...
    def pc_apply(self, ops: Any, count: int, strings: Any, slots: Any, result: Any) -> int: ...
    def pc_openat2(self, dir_fd: int, path: bytes, flags: int, mode: int, resolve: int) -> int: ...
    def pc_renameat2(
        self, old_dir: int, old_path: bytes, new_dir: int, new_path: bytes, flags: int
    ) -> int: ...
    def pc_wait(self, pidfd: int, options: int, ended: Any) -> int: ...
    def pc_set_file_ids(self, uid: int, gid: int) -> int: ...
    def pc_read_file(self, dir_fd: int, path: bytes, buffer: Any, size: int) -> int: ...
    def pc_write_file(self, dir_fd: int, path: bytes, data: bytes, size: int) -> int: ...
    def pc_stamp(self, root: int, path: bytes, stamp: Any) -> int: ...
    def pc_file_system(self, fd: int) -> int: ...
    def pc_syncfs(self, fd: int) -> int: ...
    def pc_is_empty(self, dir_fd: int) -> int: ...
    def pc_make_file(
        self, dir_fd: int, name: bytes, data: bytes, start: int, size: int, attributes: Any
    ) -> int: ...
    def pc_make_link(self, dir_fd: int, name: bytes, target: bytes, attributes: Any) -> int: ...
    def pc_make_group(self, parts: Any, count: int, name: bytes, fds: Any) -> int: ...
    def pc_remove_group(self, parts: Any, count: int, name: bytes) -> int: ...
    def pc_read_group(self, parts: Any, count: int, name: bytes, buffer: Any, size: int) -> int: ...
    def pc_find_group(self, parts: Any, count: int, name: bytes) -> None: ...
    def pc_close_range(self, first: int, last: int, flags: int) -> int: ...
    def pc_pidfd_getfd(self, pidfd: int, fd: int) -> int: ...
    def pc_landlock_abi(self) -> int: ...
    def pc_seccomp_knows(self, flags: int) -> int: ...
    def pc_bpf(self, command: int, attributes: Any, size: int) -> int: ...
    def pc_quotactl(self, fd: int, special: bytes, command: int, number: int, data: Any) -> int: ...

ffi: _FFI
lib: _Lib
