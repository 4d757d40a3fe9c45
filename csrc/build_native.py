"""The cffi build of ``pycontainer._native``: one header is both the C contract and the cdef.

Constants come from the kernel's headers through the C compiler, never by hand.
"""

from __future__ import annotations

from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent

#: Names of kernel constants that Python needs, by the header that has them.
CONSTANTS = {
    "linux/sched.h": [
        "CLONE_NEWCGROUP", "CLONE_NEWIPC", "CLONE_NEWNET", "CLONE_NEWNS", "CLONE_NEWPID",
        "CLONE_NEWTIME", "CLONE_NEWUSER", "CLONE_NEWUTS",
    ],
    "linux/mount.h": [
        "FSCONFIG_SET_FD", "FSCONFIG_SET_FLAG", "FSCONFIG_SET_STRING",
        "MOUNT_ATTR_NOATIME", "MOUNT_ATTR_NODEV", "MOUNT_ATTR_NOEXEC", "MOUNT_ATTR_NOSUID",
        "MOUNT_ATTR_NOSYMFOLLOW", "MOUNT_ATTR_RDONLY",
        "MOVE_MOUNT_T_EMPTY_PATH", "MOVE_MOUNT_T_SYMLINKS", "OPEN_TREE_CLONE",
        "MS_BIND", "MS_PRIVATE", "MS_REC", "MS_SHARED", "MS_SLAVE", "MS_UNBINDABLE",
    ],
    "linux/openat2.h": [
        "RESOLVE_BENEATH", "RESOLVE_IN_ROOT", "RESOLVE_NO_MAGICLINKS", "RESOLVE_NO_SYMLINKS", "RESOLVE_NO_XDEV",
    ],
    "linux/fcntl.h": ["AT_EMPTY_PATH", "AT_RECURSIVE", "AT_SYMLINK_NOFOLLOW"],
    "linux/bpf.h": [
        "BPF_CGROUP_DEVICE", "BPF_F_ALLOW_MULTI", "BPF_F_REPLACE", "BPF_PROG_ATTACH", "BPF_PROG_DETACH",
        "BPF_PROG_LOAD", "BPF_PROG_TYPE_CGROUP_DEVICE", "BPF_PROG_TYPE_SOCKET_FILTER",
        "BPF_DEVCG_ACC_MKNOD", "BPF_DEVCG_ACC_READ", "BPF_DEVCG_ACC_WRITE", "BPF_DEVCG_DEV_BLOCK", "BPF_DEVCG_DEV_CHAR",
    ],
    "linux/dqblk_xfs.h": ["FS_QUOTA_PDQ_ENFD", "Q_XGETQSTAT"],
    "linux/fs.h": [
        "FS_IOC_FSGETXATTR", "FS_IOC_FSSETXATTR", "FS_XFLAG_PROJINHERIT", "RENAME_EXCHANGE", "RENAME_NOREPLACE",
    ],
    "linux/netlink.h": ["NETLINK_NETFILTER", "NETLINK_ROUTE"],
    "linux/quota.h": ["PRJQUOTA", "QIF_BLIMITS", "Q_GETQUOTA", "Q_SETQUOTA"],
    "linux/seccomp.h": ["SECCOMP_FILTER_FLAG_NEW_LISTENER"],
    "linux/nsfs.h": ["NS_GET_NSTYPE"],
    "linux/landlock.h": ["LANDLOCK_ACCESS_FS_EXECUTE", "LANDLOCK_ACCESS_FS_READ_DIR", "LANDLOCK_ACCESS_FS_READ_FILE"],
    "linux/magic.h": [
        "BINFMTFS_MAGIC", "BPF_FS_MAGIC", "CGROUP2_SUPER_MAGIC", "CGROUP_SUPER_MAGIC", "DEBUGFS_MAGIC",
        "DEVPTS_SUPER_MAGIC", "EFIVARFS_MAGIC", "OVERLAYFS_SUPER_MAGIC", "PROC_SUPER_MAGIC", "PSTOREFS_MAGIC",
        "SECURITYFS_MAGIC", "SELINUX_MAGIC", "SYSFS_MAGIC", "TMPFS_MAGIC", "TRACEFS_MAGIC",
    ],
}  # fmt: skip


def contract(name: str) -> str:
    lines = (HERE / name).read_text().splitlines()
    return "\n".join(line for line in lines if not line.startswith("#"))


ffibuilder = FFI()
ffibuilder.cdef(
    contract("native.h")
    + "\n"
    + contract("reaper_protocol.h")
    + "\n"
    + contract("monitor_protocol.h")
    + "\n"
    + contract("scribe_protocol.h")
)
for names in CONSTANTS.values():
    ffibuilder.cdef("\n".join(f"#define {name} ..." for name in names))
ffibuilder.cdef("static const char *const pc_version;")
ffibuilder.set_source(
    "pycontainer._native",
    '#include "native.h"\n#include "reaper_protocol.h"\n#include "monitor_protocol.h"\n#include "scribe_protocol.h"\n'
    + "".join(f"#include <{header}>\n" for header in CONSTANTS)
    + "static const char *const pc_version = PC_VERSION;\n",
    sources=[f"csrc/{name}.c" for name in ("spawn", "child", "operations", "calls", "kernfs", "newfiles")],
    include_dirs=["csrc"],
    define_macros=[("PC_VERSION", '"0.1.0"')],
    depends=[
        f"csrc/{name}"
        for name in (
            "native.h",
            "child.h",
            "clone3.h",
            "rawsys.h",
            "reaper_protocol.h",
            "monitor_protocol.h",
            "scribe_protocol.h",
        )
    ],
    extra_compile_args=[
        "-std=gnu11",
        "-O2",
        "-fno-stack-protector",
        "-fno-tree-loop-distribute-patterns",
        "-Wall",
        "-Wextra",
    ],
    # Bound at load: a child that shares memory must never enter the dynamic linker's lazy resolver.
    extra_link_args=["-Wl,-z,now"],
    py_limited_api=True,
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
