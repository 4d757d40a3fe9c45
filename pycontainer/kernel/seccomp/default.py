"""The two profiles that are ours: ``default_profile`` for images from the world, ``strict_profile`` for agents and judges.

The default allows what Docker's profile allows (moby/profiles, seccomp/default.json of 2026), so that images run
unchanged, but for:

- ``ioctl`` TIOCSTI and TIOCLINUX, which type into a shared terminal (CVE-2017-5226);
- sockets of AF_ALG and AF_VSOCK, also with a bit set above the 32 that the kernel looks at;
- device nodes by ``mknod``, which a user namespace refuses anyway; overlay whiteouts (character device 0:0) may be made;
- ``setrlimit`` of RLIMIT_CORE, which does nothing: see :func:`_shared`;
- ``process_vm_readv``, ``process_vm_writev`` and ``name_to_handle_at``, which Docker allows since version 23: they need
  CAP_SYS_PTRACE, as ``pidfd_getfd`` does, and CAP_DAC_READ_SEARCH, without which a handle is of no use;
- ``io_uring``, whose operations no filter sees, and ``memfd_secret``: ENOSYS, as on a kernel built without.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from pycontainer.kernel.seccomp.profile import ENOSYS, EPERM, Action, Condition, Profile, Rule

# linux/socket.h, linux/in.h, linux/stat.h, linux/sched.h, asm-generic/{ioctls,resource}.h, linux/personality.h.
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_ALG, AF_VSOCK = 1, 2, 10, 16, 38, 40
NETLINK_ROUTE = 0
#: DECnet, Econet, ATMSVC, IrDA, WANPIPE, ISDN, CAIF: families that Docker refuses since nobody looks after their code.
OBSOLETE_FAMILIES = (12, 19, 20, 23, 25, 34, 37)
#: The protocols that an internet socket of each family may have: the usual one of its type, ICMP, TCP, UDP.
INTERNET = {AF_INET: (0, 1, 6, 17), AF_INET6: (0, 6, 17, 58)}
S_IFMT, S_IFIFO, S_IFCHR, S_IFREG, S_IFSOCK = 0xF000, 0x1000, 0x2000, 0x8000, 0xC000
#: NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET; NEWTIME is for unshare and clone3 only.
CLONE_NEW_NAMESPACES = 0x7E020000
TIOCSTI, TIOCLINUX, TIOCSETD = 0x5412, 0x541C, 0x5423
RLIMIT_CORE = 4
#: PER_LINUX, PER_LINUX32, both with UNAME26, and the question for the present one.
PERSONALITIES = (0, 8, 0x20000, 0x20008, 0xFFFFFFFF)

#: Docker's unconditional names.
COMMON = frozenset(
    """
    accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32 clock_adjtime
    clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
    clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1
    epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit
    exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2
    fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat
    fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait
    futex_waitv futex_wake futimesat get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid
    getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid
    getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid getsockname
    getsockopt gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init inotify_init1
    inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit ioctl
    ioprio_get ioprio_set ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32
    lgetxattr link linkat listen listmount listxattr listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat
    lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock
    mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64
    mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap
    nanosleep newfstatat _newselect open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2
    pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease
    pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg
    recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat rename renameat renameat2 restart_syscall
    riscv_hwprobe rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
    rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min
    sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval
    sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp
    select semctl semget semop semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto
    set_robust_list set_thread_area set_tid_address setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups
    setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid
    setreuid32 setrlimit setsid setsockopt setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown
    sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs statfs64
    statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete
    timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime
    timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink
    unlinkat uretprobe utime utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev
    """.split()
)
#: Newer than Docker's list, and as harmless as their elders: yielding the processor.
NEWER = frozenset({"rseq_slice_yield"})

#: What Docker allows to those who have the capability; open_tree_attr (Linux 6.15) is open_tree with attributes.
UNLOCKED = {
    "CAP_BPF": "bpf",
    "CAP_DAC_READ_SEARCH": "name_to_handle_at open_by_handle_at",
    "CAP_PERFMON": "perf_event_open",
    "CAP_SYSLOG": "syslog",
    "CAP_SYS_ADMIN": """
        bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr
        lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree open_tree_attr perf_event_open
        quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare
    """,
    "CAP_SYS_BOOT": "reboot",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_MODULE": "delete_module finit_module init_module",
    "CAP_SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    "CAP_SYS_RAWIO": "ioperm iopl",
    "CAP_SYS_TIME": "clock_settime clock_settime64 settimeofday stime",
    "CAP_SYS_TTY_CONFIG": "vhangup",
}

#: Programs know how to do without these when they hear ENOSYS, and not when they hear EPERM.
ABSENT = (
    "file_getattr",
    "file_setattr",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "listns",
    "memfd_secret",
)

#: What a strict profile takes from COMMON: rarely used ways into the kernel, and views of what is not the program's own.
STRICT_DENIES = frozenset(
    """
    adjtimex clock_adjtime clock_adjtime64 fanotify_mark ipc mq_getsetattr mq_notify mq_open mq_timedreceive
    mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink process_mrelease
    remap_file_pages socketcall vmsplice
    """.split()
)
#: The same, where programs fall back on ENOSYS.
STRICT_ABSENT = frozenset(
    """
    cachestat io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit listmount
    statmount
    """.split()
)

_BY_ARGUMENT = frozenset({"memfd_secret", "mknod", "mknodat", "socketpair"})


@cache
def default_profile() -> Profile:
    """The profile for images from the world: Docker's, hardened where no image notices."""
    return Profile(
        default=EPERM,
        rules=(
            Rule(names=sorted((COMMON | NEWER) - _BY_ARGUMENT)),
            Rule(names=("socketpair", "ptrace")),
            *_machines(),
            *_shared(),
            Rule(names=("modify_ldt",), arches=("x86_64", "i386")),
            *_nodes(S_IFREG, S_IFIFO, S_IFSOCK, whiteouts=True),
            *(_personality(value) for value in PERSONALITIES),
            Rule(names=("socket",)),
            *(
                Rule(names=("socket",), action=EPERM, conditions=(Condition.low32(0, f),))
                for f in (AF_ALG, AF_VSOCK, *OBSOLETE_FAMILIES)
            ),
            Rule(names=ABSENT, action=ENOSYS),
            Rule(names=("clone",), conditions=(_NO_NAMESPACES,), unless=("CAP_SYS_ADMIN",)),
            Rule(names=("clone3",), action=ENOSYS, unless=("CAP_SYS_ADMIN",)),
            *(Rule(names=names.split(), capabilities=(cap,)) for cap, names in UNLOCKED.items()),
        ),
    )


@cache
def strict_profile() -> Profile:
    """The profile for programs that need files, threads and the internet protocols, and nothing more.

    No capability unlocks anything: neither mounts nor namespaces, and no look into another process.
    Sockets are of the families UNIX, INET and INET6, or netlink for the routing tables; internet sockets speak
    TCP, UDP or ICMP.  Nothing that the kernel would load a module for at the wish of a program: other families,
    SCTP and the like, line disciplines of terminals.
    """
    plain = (COMMON | NEWER) - STRICT_DENIES - STRICT_ABSENT - _BY_ARGUMENT
    netlink = (Condition.low32(0, AF_NETLINK), Condition.low32(2, NETLINK_ROUTE))
    return Profile(
        default=EPERM,
        rules=(
            Rule(names=sorted(plain)),
            *_machines(),
            *_shared(),
            _terminal(TIOCSETD),
            *_nodes(S_IFREG, S_IFIFO, S_IFSOCK, whiteouts=False),
            *(_personality(value) for value in (PERSONALITIES[0], PERSONALITIES[-1])),
            Rule(names=("socket",), conditions=(Condition.low32(0, AF_UNIX),)),
            *_internet(),
            Rule(names=("socket",), conditions=netlink),
            Rule(names=("socketpair",), conditions=(Condition.low32(0, AF_UNIX),)),
            Rule(names=("clone",), conditions=(_NO_NAMESPACES,)),
            Rule(names=(*ABSENT, *sorted(STRICT_ABSENT), "clone3"), action=ENOSYS),
        ),
    )


#: clone3 has its flags in memory, where no filter sees them: ENOSYS makes a libc fall back to clone.
_NO_NAMESPACES = Condition(0, "MASKED_EQ", 0, CLONE_NEW_NAMESPACES)


def _machines() -> Iterator[Rule]:
    """What belongs to the processor."""
    yield Rule(names=("arch_prctl",), arches=("x86_64",))
    arm = (
        "arm_fadvise64_64",
        "arm_sync_file_range",
        "breakpoint",
        "cacheflush",
        "set_tls",
        "sync_file_range2",
    )
    yield Rule(names=arm, arches=("aarch64", "arm"))


def _shared() -> Iterator[Rule]:
    """What reaches beyond the container: its terminal, where others type, and the host's collector of core dumps.

    A container's RLIMIT_CORE of 1 byte keeps the kernel from starting that program, as root of the host; 0 does not
    (core(5)).  So the limit stays as it is; programs that turn dumps off for their secrets hear that they have.
    """
    yield from map(_terminal, (TIOCSTI, TIOCLINUX))
    done = Action.errno(0)
    yield Rule(names=("setrlimit",), action=done, conditions=(Condition.low32(0, RLIMIT_CORE),))
    # With a new limit; without one it is a question.
    changed = (Condition.low32(1, RLIMIT_CORE), Condition(2, "NE", 0))
    yield Rule(names=("prlimit64",), action=done, conditions=changed)


def _terminal(request: int) -> Rule:
    return Rule(names=("ioctl",), action=EPERM, conditions=(Condition.low32(1, request),))


def _internet() -> Iterator[Rule]:
    for family, protocols in INTERNET.items():
        for protocol in protocols:
            yield Rule(
                names=("socket",), conditions=(Condition.low32(0, family), Condition.low32(2, protocol))
            )


def _nodes(*kinds: int, whiteouts: bool) -> Iterator[Rule]:
    """Files that are no devices; no type means a regular file (mknod(2))."""
    for name, mode in (("mknod", 1), ("mknodat", 2)):
        for kind in (0, *kinds):
            yield Rule(names=(name,), conditions=(Condition(mode, "MASKED_EQ", kind, S_IFMT),))
        if whiteouts:
            device = (Condition(mode, "MASKED_EQ", S_IFCHR, S_IFMT), Condition.low32(mode + 1, 0))
            yield Rule(names=(name,), conditions=device)


def _personality(value: int) -> Rule:
    return Rule(names=("personality",), conditions=(Condition.low32(0, value),))
