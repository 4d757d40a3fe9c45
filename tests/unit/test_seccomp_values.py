"""The values of a profile refuse what cannot be meant, and our two profiles contain what they promise."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from pycontainer.errors import InvalidArgument
from pycontainer.kernel import capabilities, seccomp
from pycontainer.kernel.seccomp import (
    ALLOW,
    ENOSYS,
    EPERM,
    LOG,
    Action,
    Condition,
    Profile,
    Rule,
    bpf,
    default,
    syscalls,
)
from tests.unit import bpf_machine

ROOT = Path(__file__).resolve().parents[2]
HEADERS = "linux/audit.h linux/seccomp.h linux/filter.h linux/sched.h sys/stat.h linux/netlink.h sys/socket.h sys/ioctl.h errno.h"
CONSTANTS = {
    "AUDIT_ARCH_X86_64": syscalls.AUDIT["x86_64"],
    "AUDIT_ARCH_I386": syscalls.AUDIT["i386"],
    "AUDIT_ARCH_AARCH64": syscalls.AUDIT["aarch64"],
    "AUDIT_ARCH_ARM": syscalls.AUDIT["arm"],
    "SECCOMP_RET_KILL_PROCESS": seccomp.KILL_PROCESS.word,
    "SECCOMP_RET_KILL_THREAD": seccomp.KILL_THREAD.word,
    "SECCOMP_RET_TRAP": seccomp.TRAP.word,
    "SECCOMP_RET_ERRNO": Action.errno(0).word,
    "SECCOMP_RET_TRACE": Action.trace(0).word,
    "SECCOMP_RET_LOG": LOG.word,
    "SECCOMP_RET_ALLOW": ALLOW.word,
    "BPF_LD|BPF_W|BPF_ABS": bpf._LOAD,
    "BPF_ALU|BPF_AND|BPF_K": bpf._AND,
    "BPF_JMP|BPF_JA": bpf._JUMP,
    "BPF_JMP|BPF_JEQ|BPF_K": bpf._EQUAL,
    "BPF_JMP|BPF_JGT|BPF_K": bpf._GREATER,
    "BPF_JMP|BPF_JGE|BPF_K": bpf._AT_LEAST,
    "BPF_RET|BPF_K": bpf._RETURN,
    "BPF_MAXINSNS": bpf.MAX_INSTRUCTIONS,
    "__builtin_offsetof(struct seccomp_data, nr)": bpf._NUMBER,
    "__builtin_offsetof(struct seccomp_data, arch)": bpf._ARCH,
    "__builtin_offsetof(struct seccomp_data, args)": bpf._ARGUMENTS,
    "CLONE_NEWNS|CLONE_NEWCGROUP|CLONE_NEWUTS|CLONE_NEWIPC|CLONE_NEWUSER|CLONE_NEWPID|CLONE_NEWNET": default.CLONE_NEW_NAMESPACES,
    "NETLINK_ROUTE": default.NETLINK_ROUTE,
    **{
        name: getattr(default, name)
        for name in ("TIOCSTI", "TIOCLINUX", "S_IFMT", "S_IFIFO", "S_IFCHR", "S_IFREG", "S_IFSOCK")
    },
    **{
        name: getattr(default, name)
        for name in ("AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK", "AF_ALG", "AF_VSOCK")
    },
}


@pytest.mark.needs("cc")
def test_constants_are_those_of_the_kernel_headers(tmp_path: Path) -> None:
    includes = "".join(f"#include <{name}>\n" for name in ("stdio.h", *HEADERS.split()))
    prints = "".join(f'printf("%lld\\n", (long long)({name}));' for name in CONSTANTS)
    source, program = tmp_path / "c.c", tmp_path / "c"
    source.write_text(f"{includes}int main(void) {{ {prints} return 0; }}", encoding="utf-8")
    subprocess.run(["cc", "-D_GNU_SOURCE", "-o", program, source], check=True)
    values = subprocess.run([program], check=True, capture_output=True, text=True).stdout.split()
    assert dict(zip(CONSTANTS, map(int, values), strict=True)) == CONSTANTS


def test_the_table_agrees_with_the_installed_headers() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools/syscall_table.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_table_maker_knows_its_form(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools/syscall_table.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "linux-libc-dev" in done.stderr


@pytest.mark.parametrize("arch", syscalls.ARCHES)
def test_numbers_are_read_only_and_unique(arch: str) -> None:
    table = syscalls.numbers(arch)
    assert len(set(table.values())) == len(table) > 300
    with pytest.raises(TypeError):
        table["read"] = 1  # type: ignore[index]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Rule(names=["mnt"]), "syscall='mnt'.*no such call; did you mean mount"),
        (lambda: Rule(names=["completely_else"]), "no such call$"),
        (lambda: Rule(names="read"), "a list of names is needed"),
        (
            lambda: Rule(names=["read"], capabilities=["SYS_ADMN"]),
            "capability='SYS_ADMN'.*did you mean.*CAP_SYS_ADMIN",
        ),
        (
            lambda: Rule(names=["read"], arches=["amd64"]),
            "arch='amd64': known are x86_64, i386, aarch64, arm",
        ),
        (lambda: Condition(6, "EQ", 0), "index=6"),
        (lambda: Condition(-1, "EQ", 0), "index=-1"),
        (
            lambda: Condition(0, "IS", 0),  # type: ignore[arg-type]
            "op='IS': known are EQ, NE",
        ),
        (lambda: Condition(0, "EQ", -1), "value=-1"),
        (lambda: Condition(0, "EQ", 2**64), "an unsigned number of 64 bits"),
        (lambda: Condition(0, "MASKED_EQ", 0, 2**64), "mask="),
        (lambda: Condition(0, "LT", 0, 1), "LT takes none"),
        (lambda: Condition(0, "MASKED_EQ", 3, 1), "outside of the mask 0x1: never true"),
        (lambda: Action.errno(4096), "errno=4096: 0 to 4095"),
        (lambda: Action.errno(-1), "errno=-1"),
        (lambda: Action.trace(65536), "message=65536"),
        (lambda: Action(0x7FC00000), "action='0x7fc00000': none of KILL_PROCESS"),
    ],
)
def test_nonsense_is_refused_by_name(make: Callable[[], object], text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        make()


def test_calls_of_other_architectures_may_be_named() -> None:
    rule = Rule(names=["riscv_hwprobe", "chown32", "read"])
    code = bpf_machine.decode(seccomp.compile(Profile(default=EPERM, rules=(rule,)), frozenset(), "x86_64"))
    assert bpf_machine.run(code, bpf_machine.data(0, syscalls.AUDIT["x86_64"])) == ALLOW.word


def test_actions_are_ordered_as_in_the_kernel_and_say_what_they_are() -> None:
    order = [seccomp.KILL_PROCESS, seccomp.KILL_THREAD, seccomp.TRAP, ENOSYS, Action.trace(3), LOG, ALLOW]
    assert sorted(order[3:] + order[:3], key=lambda action: action.strictness) == order
    assert [str(action) for action in order] == [
        "KILL_PROCESS",
        "KILL_THREAD",
        "TRAP",
        "ERRNO(ENOSYS)",
        "TRACE(3)",
        "LOG",
        "ALLOW",
    ]


def test_profiles_are_values() -> None:
    profile = seccomp.default_profile()
    assert pickle.loads(pickle.dumps(profile)) == profile
    assert hash(pickle.loads(pickle.dumps(profile))) == hash(profile)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        profile.default = ALLOW  # type: ignore[misc]


def _answer(
    profile: Profile,
    call: str,
    *arguments: int,
    caps: frozenset[str] = capabilities.DOCKER_DEFAULT,
    arch: str = "x86_64",
) -> str:
    code = bpf_machine.decode(seccomp.compile(profile, caps, arch))
    words = bpf_machine.data(syscalls.numbers(arch)[call], syscalls.AUDIT[arch], arguments)
    return str(Action(bpf_machine.run(code, words)))


def test_there_are_as_many_common_calls_as_docker_allows() -> None:
    assert len(default.COMMON) == 361 - 1  # name_to_handle_at


#: What a libc, a shell, and the run times of Go, Java and Node ask for; what a child does before exec included.
START = """
    execve execveat exit exit_group brk mmap mprotect munmap mremap madvise read write readv writev pread64 pwrite64 close
    close_range openat openat2 faccessat faccessat2 newfstatat fstat statx getdents64 readlinkat lseek dup dup3 pipe2 fcntl
    set_robust_list set_tid_address rseq prlimit64 getrandom futex futex_waitv membarrier sched_getaffinity sched_yield
    rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack tgkill gettid getpid getppid getuid geteuid getgid getegid wait4
    waitid pidfd_open pidfd_send_signal eventfd2 epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 timerfd_create
    timerfd_settime clock_gettime clock_nanosleep nanosleep uname sysinfo prctl capget capset setgroups setresuid setresgid
    setuid setgid setsid setpgid chdir fchdir getcwd umask ioctl memfd_create copy_file_range sendfile splice inotify_init1
    inotify_add_watch bind connect listen accept4 sendto recvfrom sendmsg recvmsg setsockopt getsockopt mseal landlock_create_ruleset
    landlock_add_rule landlock_restrict_self seccomp fchmodat2 getxattr setxattr flock fsync mlock shmget semget
""".split()


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
@pytest.mark.parametrize(
    "profile", [seccomp.default_profile(), seccomp.strict_profile()], ids=["default", "strict"]
)
def test_what_a_program_needs_to_start_is_allowed(profile: Profile, arch: str) -> None:
    assert {call: got for call in START if (got := _answer(profile, call, arch=arch)) != "ALLOW"} == {}


FAMILY_ABOVE_32_BITS = 1 << 32
#: A core dump's limit is not changed, and programs hear that it was.
CORES = [
    ("setrlimit", (4,), "ERRNO(0)"),
    ("setrlimit", (4 | 1 << 32,), "ERRNO(0)"),
    ("setrlimit", (7,), "ALLOW"),
    ("prlimit64", (0, 4, 0x7F0000000000), "ERRNO(0)"),
    ("prlimit64", (0, 4 | 1 << 40, 1 << 32, 8), "ERRNO(0)"),
    ("prlimit64", (0, 4, 0, 8), "ALLOW"),
    ("prlimit64", (0, 7, 8), "ALLOW"),
]
DEFAULT = [
    *CORES,
    ("ioctl", (0, 0x5401), "ALLOW"),
    ("ioctl", (0, 0x5412), "ERRNO(EPERM)"),
    ("ioctl", (0, 0x5412 | 7 << 32), "ERRNO(EPERM)"),
    ("ioctl", (0, 0x541C), "ERRNO(EPERM)"),
    ("socket", (1,), "ALLOW"),
    ("socket", (16, 3, 12), "ALLOW"),
    ("socket", (17,), "ALLOW"),
    *[("socket", (family,), "ERRNO(EPERM)") for family in (12, 19, 20, 23, 25, 34, 37)],
    *[
        ("socket", (family,), "ALLOW")
        for family in (3, 9, 11, 13, 18, 21, 22, 24, 26, 33, 35, 36, 39, 41, 45)
    ],
    ("socket", (38,), "ERRNO(EPERM)"),
    ("socket", (38 | FAMILY_ABOVE_32_BITS,), "ERRNO(EPERM)"),
    ("socket", (40,), "ERRNO(EPERM)"),
    ("socket", (40 | FAMILY_ABOVE_32_BITS,), "ERRNO(EPERM)"),
    ("clone", (0x01200011,), "ALLOW"),
    ("clone", (0x003D0F00,), "ALLOW"),
    *[
        ("clone", (bit,), "ERRNO(EPERM)")
        for bit in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)
    ],
    ("clone3", (), "ERRNO(ENOSYS)"),
    ("unshare", (), "ERRNO(EPERM)"),
    ("personality", (0,), "ALLOW"),
    ("personality", (0xFFFFFFFF,), "ALLOW"),
    ("personality", (0xFFFFFFFFFFFFFFFF,), "ALLOW"),
    ("personality", (0x0040000,), "ERRNO(EPERM)"),
    ("mknod", (0, 0o644), "ALLOW"),
    ("mknod", (0, 0o100644), "ALLOW"),
    ("mknod", (0, 0o010644), "ALLOW"),
    ("mknod", (0, 0o140644), "ALLOW"),
    ("mknod", (0, 0o020644, 0), "ALLOW"),
    ("mknod", (0, 0o020644, 0x103), "ERRNO(EPERM)"),
    ("mknod", (0, 0o060644, 0), "ERRNO(EPERM)"),
    ("mknodat", (0, 0, 0o010644), "ALLOW"),
    ("mknodat", (0, 0, 0o060644, 0x800), "ERRNO(EPERM)"),
    ("ptrace", (), "ALLOW"),
    ("socketpair", (1,), "ALLOW"),
    ("io_setup", (), "ALLOW"),
    ("io_uring_setup", (), "ERRNO(ENOSYS)"),
    ("io_uring_enter", (), "ERRNO(ENOSYS)"),
    ("memfd_secret", (), "ERRNO(ENOSYS)"),
    ("file_getattr", (), "ERRNO(ENOSYS)"),
    *[
        (name, (), "ERRNO(EPERM)")
        for name in """keyctl add_key request_key userfaultfd bpf perf_event_open mount umount2 setns open_by_handle_at reboot
        kexec_load init_module swapon pivot_root move_mount open_tree pidfd_getfd kcmp acct iopl settimeofday syslog
        quotactl lookup_dcookie nfsservctl vhangup mbind process_vm_readv process_vm_writev name_to_handle_at""".split()
    ],
    ("chroot", (), "ALLOW"),
]
STRICT = [
    *CORES,
    ("ioctl", (0, 0x5401), "ALLOW"),
    ("ioctl", (0, 0x5412 | 7 << 32), "ERRNO(EPERM)"),
    *[("socket", (family,), "ALLOW") for family in (1, 2, 10, 16)],
    *[("socket", (family,), "ERRNO(EPERM)") for family in (0, 3, 9, 11, 15, 17, 21, 30, 38, 40, 44, 45)],
    ("ioctl", (0, 0x5423), "ERRNO(EPERM)"),
    ("ioctl", (0, 0x5423 | 1 << 40), "ERRNO(EPERM)"),
    *[("socket", (2, 1, protocol), "ALLOW") for protocol in (1, 6, 17, 6 | 1 << 32)],
    *[("socket", (2, 1, protocol), "ERRNO(EPERM)") for protocol in (2, 33, 58, 132, 136, 255, 262)],
    *[("socket", (10, 1, protocol), "ALLOW") for protocol in (6, 17, 58)],
    *[("socket", (10, 1, protocol), "ERRNO(EPERM)") for protocol in (1, 33, 132, 262)],
    ("socket", (16, 3, 0), "ALLOW"),
    ("socket", (16, 3, 12), "ERRNO(EPERM)"),
    ("socket", (16, 3, 1 << 32), "ALLOW"),
    ("socketpair", (1,), "ALLOW"),
    ("socketpair", (30,), "ERRNO(EPERM)"),
    ("mknod", (0, 0o010644), "ALLOW"),
    ("mknod", (0, 0o020644, 0), "ERRNO(EPERM)"),
    ("mknodat", (0, 0, 0o020644, 0), "ERRNO(EPERM)"),
    ("clone", (0x01200011,), "ALLOW"),
    ("clone", (0x10000000,), "ERRNO(EPERM)"),
    ("personality", (8,), "ERRNO(EPERM)"),
    *[
        (name, (), "ERRNO(ENOSYS)")
        for name in "clone3 memfd_secret io_setup io_submit io_uring_setup statmount listmount".split()
    ],
    *[
        (name, (), "ERRNO(EPERM)")
        for name in """ptrace process_vm_readv process_vm_writev unshare setns mount umount2 chroot bpf perf_event_open keyctl
        userfaultfd name_to_handle_at open_by_handle_at modify_ldt mq_open vmsplice""".split()
    ],
]


@pytest.mark.parametrize(("call", "arguments", "expected"), DEFAULT)
def test_the_default_profile(call: str, arguments: tuple[int, ...], expected: str) -> None:
    assert _answer(seccomp.default_profile(), call, *arguments) == expected


@pytest.mark.parametrize(("call", "arguments", "expected"), STRICT)
def test_the_strict_profile(call: str, arguments: tuple[int, ...], expected: str) -> None:
    assert _answer(seccomp.strict_profile(), call, *arguments) == expected
    # No capability unlocks anything.
    assert _answer(seccomp.strict_profile(), call, *arguments, caps=frozenset(capabilities.NAMES)) == expected


def test_the_strict_profile_allows_nothing_that_the_default_refuses() -> None:
    for arch in ("x86_64", "aarch64"):
        for call in syscalls.numbers(arch):
            if _answer(seccomp.strict_profile(), call, arch=arch) == "ALLOW":
                assert _answer(seccomp.default_profile(), call, arch=arch) == "ALLOW", call


@pytest.mark.parametrize(
    ("call", "capability"),
    [
        ("mount", "CAP_SYS_ADMIN"),
        ("setns", "CAP_SYS_ADMIN"),
        ("clone3", "CAP_SYS_ADMIN"),
        ("unshare", "CAP_SYS_ADMIN"),
        ("open_tree_attr", "CAP_SYS_ADMIN"),
        ("bpf", "CAP_SYS_ADMIN"),
        ("bpf", "CAP_BPF"),
        ("perf_event_open", "CAP_PERFMON"),
        ("pidfd_getfd", "CAP_SYS_PTRACE"),
        ("process_vm_readv", "CAP_SYS_PTRACE"),
        ("name_to_handle_at", "CAP_DAC_READ_SEARCH"),
        ("open_by_handle_at", "CAP_DAC_READ_SEARCH"),
        ("syslog", "CAP_SYSLOG"),
        ("reboot", "CAP_SYS_BOOT"),
        ("chroot", "CAP_SYS_CHROOT"),
        ("finit_module", "CAP_SYS_MODULE"),
        ("mbind", "CAP_SYS_NICE"),
        ("acct", "CAP_SYS_PACCT"),
        ("iopl", "CAP_SYS_RAWIO"),
        ("clock_settime", "CAP_SYS_TIME"),
        ("vhangup", "CAP_SYS_TTY_CONFIG"),
    ],
)
def test_a_capability_unlocks_its_calls(call: str, capability: str) -> None:
    profile = seccomp.default_profile()
    assert _answer(profile, call, caps=frozenset()) != "ALLOW"
    assert _answer(profile, call, caps=frozenset({capability})) == "ALLOW"


def test_clone_may_make_namespaces_with_sys_admin_alone() -> None:
    profile = seccomp.default_profile()
    assert (
        _answer(profile, "clone", 0x10000000, caps=frozenset(capabilities.NAMES) - {"CAP_SYS_ADMIN"})
        == "ERRNO(EPERM)"
    )
    assert _answer(profile, "clone", 0x10000000, caps=frozenset({"CAP_SYS_ADMIN"})) == "ALLOW"


def test_a_refusal_cannot_be_undone_and_order_means_nothing() -> None:
    rules = [Rule(names=["mount"], action=EPERM), Rule(names=["mount"]), Rule(names=["mount"], action=LOG)]
    for listed in (rules, rules[::-1]):
        assert _answer(Profile(default=ALLOW, rules=listed), "mount") == "ERRNO(EPERM)"


def test_logged_refuses_nothing_but_still_kills() -> None:
    logged = seccomp.default_profile().logged()
    for call, arguments in (
        ("mount", ()),
        ("clone3", ()),
        ("ioctl", (0, 0x5412)),
        ("socket", (38,)),
        ("io_uring_setup", ()),
    ):
        assert _answer(logged, call, *arguments) == "LOG"
    assert _answer(logged, "read") == "ALLOW"
    code = bpf_machine.decode(seccomp.compile(logged, frozenset(), "x86_64"))
    assert bpf_machine.run(code, bpf_machine.data(9999, syscalls.AUDIT["x86_64"])) == LOG.word
    assert bpf_machine.run(code, bpf_machine.data(1, syscalls.AUDIT["i386"])) == seccomp.KILL_PROCESS.word
    assert _answer(Profile(default=seccomp.TRAP, rules=()).logged(), "mount") == "TRAP"
