"""Compiled profiles in the running kernel: it takes the programs, and answers calls as they say."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pycontainer.kernel import capabilities, seccomp
from pycontainer.kernel.seccomp import Condition, Profile, Rule, syscalls
from pycontainer.kernel.seccomp.profile import Op

pytestmark = pytest.mark.needs("cc")

#: Runs the probe with a filter, more arguments, and ``lines=`` for its standard input.
Start = Callable[..., "subprocess.CompletedProcess[str]"]

#: Loads the filter in the file argv[1], as a program that can gain no privileges.  Then it makes the calls on its
#: standard input, one per line, and prints result and error number; or it executes the rest of its arguments; or, with
#: "time", it loads the filter in that many children and prints how many nanoseconds each load took.
PROBE = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct sock_filter code[4096];
static struct sock_fprog program = {.filter = code};

static void fail(const char *what)
{
    perror(what);
    exit(99);
}

static long load(void)
{
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program)) {
        fail("seccomp");
    }
    clock_gettime(CLOCK_MONOTONIC, &b);
    return (b.tv_sec - a.tv_sec) * 1000000000L + b.tv_nsec - a.tv_nsec;
}

static long call32(long number)
{
#ifdef __x86_64__
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(0), "c"(0), "d"(0) : "memory", "r8", "r9", "r10", "r11");
    return result;
#else
    (void)number;
    return -ENOSYS;
#endif
}

static void in_child(int is_32, long number)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        long result = is_32 ? call32(number) : syscall(number, 0, 0, 0, 0, 0, 0);
        _exit(result < 0 ? 1 : 0);
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) < 0) {
        fail("child");
    }
    printf("%d %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : 0, WIFEXITED(status) ? WEXITSTATUS(status) : 0);
}

int main(int argc, char **argv)
{
    static char lines[200][160];
    int count = 0, file = open(argv[1], O_RDONLY | O_CLOEXEC);
    ssize_t size = read(file, code, sizeof(code));
    if (size < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) {
        fail("start");
    }
    program.len = (unsigned short)((size_t)size / sizeof(code[0]));
    if (argc == 4 && strcmp(argv[2], "time") == 0) {
        for (int i = atoi(argv[3]); i > 0; i--) {
            fflush(stdout);
            if (fork() == 0) {
                printf("%ld\n", load());
                fflush(stdout);
                _exit(0);
            }
            wait(NULL);
        }
        return 0;
    }
    while (argc == 2 && count < 200 && fgets(lines[count], sizeof(lines[0]), stdin)) {
        count++;
    }
    if (size > 0) {
        load();
    }
    if (argc > 2) {
        execvp(argv[2], argv + 2);
        fail("exec");
    }
    for (int i = 0; i < count; i++) {
        unsigned long n, a[6] = {0};
        if (sscanf(lines[i], "native %lu", &n) == 1) {
            in_child(0, (long)n);
        } else if (sscanf(lines[i], "i386 %lu", &n) == 1) {
            in_child(1, (long)n);
        } else if (sscanf(lines[i], "%lu %lu %lu %lu %lu %lu %lu", &n, a, a + 1, a + 2, a + 3, a + 4, a + 5) == 7) {
            errno = 0;
            long result = syscall((long)n, a[0], a[1], a[2], a[3], a[4], a[5]);
            printf("%ld %d\n", result, errno);
        } else {
            fail("line");
        }
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("probe")
    source, program = directory / "probe.c", directory / "probe"
    source.write_text(PROBE, encoding="utf-8")
    flags = ["-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["cc", *flags, "-o", program, source], check=True)
    return program


@pytest.fixture
def start(probe: Path, tmp_path: Path) -> Start:
    def run(program: bytes, *arguments: str, lines: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        file = tmp_path / "filter"
        file.write_bytes(program)
        return subprocess.run(
            [probe, file, *arguments],
            input="".join(f"{line}\n" for line in lines),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


def _number(call: str) -> int:
    return syscalls.numbers(syscalls.native())[call]


def _ask(
    start: Start,
    profile: Profile | None,
    caps: frozenset[str],
    calls: Sequence[tuple[str | int, tuple[int, ...]]],
) -> list[tuple[int, int]]:
    lines = []
    for call, arguments in calls:
        number = _number(call) if isinstance(call, str) else call
        lines.append(" ".join(map(str, (number, *arguments, *[0] * (6 - len(arguments))))))
    program = b"" if profile is None else seccomp.compile(profile, caps)
    done = start(program, lines=lines)
    assert (done.returncode, done.stderr) == (0, "")
    return [(int(a), int(b)) for a, b in map(str.split, done.stdout.splitlines())]


BAD = 0xFFFF_FFFF  # no such fd
PROFILES = {"default": seccomp.default_profile(), "strict": seccomp.strict_profile()}
#: Calls that do no harm when they are made, with an error that only the kernel proper gives, and what the filter answers.
CASES: list[tuple[str, tuple[int, ...], int, int]] = [
    # call, arguments, error number under the default profile, and under the strict one (0: the call succeeds)
    ("getpid", (), 0, 0),
    ("close", (BAD,), errno.EBADF, errno.EBADF),
    ("openat2", (0, 0, 0, 0), errno.EINVAL, errno.EINVAL),
    ("close_range", (100, 99, 0), errno.EINVAL, errno.EINVAL),
    ("faccessat2", (0, 0, 0, 0xFFFF), errno.EINVAL, errno.EINVAL),
    ("ioctl", (BAD, 0x5401), errno.EBADF, errno.EBADF),
    ("ioctl", (BAD, 0x5412), errno.EPERM, errno.EPERM),
    ("ioctl", (BAD, 0x5412 | 1 << 40), errno.EPERM, errno.EPERM),
    ("ioctl", (BAD, 0x541C), errno.EPERM, errno.EPERM),
    ("socket", (1, 0xFFFF), errno.EINVAL, errno.EINVAL),
    ("socket", (2, 0xFFFF), errno.EINVAL, errno.EINVAL),
    ("socket", (38, 0xFFFF), errno.EPERM, errno.EPERM),
    ("socket", (38 | 1 << 32, 0xFFFF), errno.EPERM, errno.EPERM),
    ("socket", (40, 0xFFFF), errno.EPERM, errno.EPERM),
    ("socket", (16, 0xFFFF, 12), errno.EINVAL, errno.EPERM),
    ("socket", (17, 0xFFFF), errno.EINVAL, errno.EPERM),
    ("socketpair", (1, 0xFFFF), errno.EINVAL, errno.EINVAL),
    ("socketpair", (30, 0xFFFF), errno.EINVAL, errno.EPERM),
    ("unshare", (0,), errno.EPERM, errno.EPERM),
    ("setns", (BAD, 0), errno.EPERM, errno.EPERM),
    ("mount", (0, 0, 0, 0, 0), errno.EPERM, errno.EPERM),
    ("clone", (0x10000000,), errno.EPERM, errno.EPERM),
    ("clone3", (0, 0), errno.ENOSYS, errno.ENOSYS),
    ("io_uring_setup", (0, 0), errno.ENOSYS, errno.ENOSYS),
    ("memfd_secret", (0xFFFF,), errno.ENOSYS, errno.ENOSYS),
    ("io_setup", (1, 0), errno.EFAULT, errno.ENOSYS),
    ("keyctl", (0xFFFF,), errno.EPERM, errno.EPERM),
    ("bpf", (0xFFFF, 0, 0), errno.EPERM, errno.EPERM),
    ("userfaultfd", (0xFFFF,), errno.EPERM, errno.EPERM),
    ("perf_event_open", (0, 0, 0, 0, 0), errno.EPERM, errno.EPERM),
    ("ptrace", (16, 0), errno.ESRCH, errno.EPERM),
    ("process_vm_readv", (0, 0, 0, 0, 0, 1), errno.EPERM, errno.EPERM),
    ("personality", (0xFFFFFFFF,), 0, 0),
    ("personality", (0x0040000,), errno.EPERM, errno.EPERM),
    ("mknodat", (BAD, 0, 0o010644), errno.EFAULT, errno.EFAULT),
    ("mknodat", (BAD, 0, 0o020644, 0x103), errno.EPERM, errno.EPERM),
    ("mknodat", (BAD, 0, 0o060644, 0x800), errno.EPERM, errno.EPERM),
]


@pytest.mark.parametrize("name", PROFILES)
def test_the_kernel_answers_as_the_profile_says(start: Start, name: str) -> None:
    calls = [(call, arguments) for call, arguments, _, _ in CASES]
    answers = _ask(start, PROFILES[name], capabilities.DOCKER_DEFAULT, calls)
    expected = [case[2] if name == "default" else case[3] for case in CASES]
    got = [number for _, number in answers]
    wrong = {case[:2]: (a, b) for case, a, b in zip(CASES, got, expected, strict=True) if a != b}
    assert wrong == {}


def test_without_the_filter_the_kernel_proper_answers(start: Start) -> None:
    """The refusals above are the filter's: most of these calls fail in another way, or succeed, without it."""
    refused = [
        case for case in CASES if case[2] in {errno.EPERM, errno.ENOSYS} and case[0] != "perf_event_open"
    ]
    answers = _ask(start, None, frozenset(), [(case[0], case[1]) for case in refused if case[0] != "clone"])
    same = [number for _, number in answers if number in {errno.EPERM, errno.ENOSYS}]
    assert len(same) <= len(answers) // 2


def test_a_capability_unlocks_its_calls_in_the_kernel(start: Start) -> None:
    calls = [("unshare", (0,)), ("setns", (BAD, 0))]
    profile = PROFILES["default"]
    assert [number for _, number in _ask(start, profile, frozenset(), calls)] == [errno.EPERM] * 2
    assert [number for _, number in _ask(start, profile, frozenset({"CAP_SYS_ADMIN"}), calls)] == [
        0,
        errno.EBADF,
    ]


def test_64_bit_arguments_are_compared_in_full(start: Start) -> None:
    """By calls of close with an argument of which the kernel looks at 32 bits."""
    big = 1 << 63 | 5

    def answer(op: Op, value: int, argument: int) -> bool:
        rule = Rule(names=["close"], action=seccomp.EPERM, conditions=(Condition(0, op, value),))
        profile = Profile(default=seccomp.ALLOW, rules=[rule])
        return _ask(start, profile, frozenset(), [("close", (argument | 1 << 20,))]) == [(-1, errno.EPERM)]

    near = [v | 1 << 20 for v in (0, 5, big - 1, big, big + 1, 1 << 32, 2**64 - 1)]
    for value in (big | 1 << 20, 1 << 32 | 1 << 20):
        assert [answer("EQ", value, v) for v in near] == [v == value for v in near]
        assert [answer("GT", value, v) for v in near] == [v > value for v in near]
        assert [answer("LE", value, v) for v in near] == [v <= value for v in near]


def test_calls_that_the_table_does_not_know_fail_with_enosys(start: Start) -> None:
    unknown = max(syscalls.numbers(syscalls.native()).values()) + 1
    calls: list[tuple[str | int, tuple[int, ...]]] = [(unknown, ()), (0x3FFFFFFF, ())]
    if syscalls.native() == "x86_64":
        calls.append((0x40000000 | _number("getpid"), ()))
    assert [number for _, number in _ask(start, PROFILES["default"], frozenset(), calls)] == [
        errno.ENOSYS
    ] * len(calls)


def _in_child(start: Start, profile: Profile | None, line: str) -> tuple[int, int]:
    program = b"" if profile is None else seccomp.compile(profile, frozenset())
    done = start(program, lines=[line])
    assert (done.returncode, done.stderr) == (0, "")
    killed, status = map(int, done.stdout.split())
    return killed, status


def test_calls_of_another_architecture_kill(start: Start) -> None:
    if syscalls.native() != "x86_64" or _in_child(start, None, "i386 20")[0]:
        # Nothing to defend: the kernel has no 32-bit calls, and says so with another signal, or we cannot make one.
        assert _in_child(start, PROFILES["default"], "i386 20") == _in_child(start, None, "i386 20")
        return
    import attrs

    assert _in_child(start, PROFILES["default"], "i386 20") == (signal.SIGSYS, 0)
    both = attrs.evolve(PROFILES["default"], compat=("i386",))
    assert _in_child(start, both, "i386 20") == (0, 0)  # getpid
    assert _in_child(start, both, "i386 21") == (0, 1)  # mount


@pytest.mark.parametrize(
    ("action", "expected"),
    [(seccomp.KILL_PROCESS, (signal.SIGSYS, 0)), (seccomp.TRAP, (signal.SIGSYS, 0)), (seccomp.LOG, (0, 0))],
)
def test_actions_are_the_kernel_s(start: Start, action: seccomp.Action, expected: tuple[int, int]) -> None:
    profile = Profile(default=seccomp.ALLOW, rules=[Rule(names=["getppid"], action=action)])
    assert _in_child(start, profile, f"native {_number('getppid')}") == expected


def test_a_program_with_long_jumps_is_taken(start: Start) -> None:
    listed = [
        Rule(names=["close"], action=seccomp.EPERM, conditions=(Condition(0, "EQ", n << 32 | 100),))
        for n in range(900)
    ]
    profile = Profile(default=seccomp.ALLOW, rules=listed)
    calls = [("close", (n << 32 | 100,)) for n in (0, 1, 450, 899, 900)]
    answers = [number for _, number in _ask(start, profile, frozenset(), calls)]
    assert answers == [errno.EPERM] * 4 + [errno.EBADF]


THREADS = """
import threading, subprocess, socket, tempfile, os, time, select
seen = []
threads = [threading.Thread(target=seen.append, args=(n,)) for n in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
assert subprocess.run(["sh", "-c", "echo a | cat"], capture_output=True).stdout == b"a\\n"
a, b = socket.socketpair(); a.send(b"x"); assert b.recv(1) == b"x"
s = socket.create_server(("127.0.0.1", 0)); c = socket.create_connection(s.getsockname())
with tempfile.TemporaryDirectory() as d:
    os.mkfifo(d + "/f"); os.link(d + "/f", d + "/g"); os.rename(d + "/g", d + "/h"); os.stat(d + "/h")
import multiprocessing as m
q = m.get_context("fork").SimpleQueue(); q.put(sorted(seen)); assert q.get() == [0, 1, 2, 3]
import asyncio
assert asyncio.run(asyncio.sleep(0, 5)) == 5
print("fine")
"""


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize(
    ("command", "output"),
    [
        (["sh", "-c", "for i in 1 2 3; do echo $i; done | sort -r | head -1"], "3\n"),
        ([sys.executable, "-c", THREADS], "fine\n"),
        (["tar", "--version"], "tar (GNU tar)"),
    ],
    ids=["shell", "python", "tar"],
)
def test_programs_run_under_the_profiles(start: Start, name: str, command: list[str], output: str) -> None:
    done = start(seccomp.compile(PROFILES[name], capabilities.DOCKER_DEFAULT), *command)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(output)


def test_a_filter_of_a_container_cannot_be_left(start: Start, probe: Path, tmp_path: Path) -> None:
    """What the program starts is under it too, and it can only add to it."""
    (tmp_path / "allow").write_bytes(seccomp.compile(Profile(default=seccomp.ALLOW, rules=()), frozenset()))
    script = f"echo {_number('unshare')} 0 0 0 0 0 0 | {probe} {tmp_path}/allow"
    done = start(seccomp.compile(PROFILES["default"], frozenset()), "sh", "-c", script)
    assert (done.stdout, done.stderr) == (f"-1 {errno.EPERM}\n", "")


@pytest.mark.parametrize("name", PROFILES)
def test_how_long_loading_takes(start: Start, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    program = seccomp.compile(PROFILES[name], capabilities.DOCKER_DEFAULT)
    done = start(program, "time", "50")
    times = sorted(int(line) / 1000 for line in done.stdout.split())
    assert len(times) == 50
    with capsys.disabled():
        figures = f"load min {times[0]:.0f} us, median {times[25]:.0f} us"
        print(f"\n{name}: {len(program) // 8} instructions, {figures}")  # noqa: T201 (for people)
