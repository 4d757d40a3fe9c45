#!/usr/bin/env python3
"""Run the test suite as two users on two kernels, and say what came of each run.

    run_tests.py [root] [user] [vm-root] [vm-user] [-- PYTEST-ARGUMENT...]

``root`` and ``user`` run here, the others in a virtual machine that has only cgroup v2
(tests/vm).  The exit status is 0 when every run passed.  Called by `make test`.

Started by root, the ordinary user is ``pycontainer-test``, made if missing, who gets a
copy of the tree, since this one may lie where others cannot look.  Started by an ordinary
user, that user is the ordinary user, and root's run goes through sudo.
"""

from __future__ import annotations

import contextlib
import os
import platform
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv/bin/python"
TEST_USER = "pycontainer-test"
VM = ROOT / "tests/vm/cgroup2-vm"

#: After which a run is stuck, in seconds.
HERE_LIMIT = 2400
VM_LIMIT = 2400

#: The line with which pytest closes.
CLOSING = re.compile(r"(?:\d+ \w+(?:, )?)+ in [\d.]+s|no tests ran in [\d.]+s")

#: Left out of a copy of the tree: what is made here, and what is of no use to a test.
NOT_COPIED = {
    ".git",
    ".venv",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".hypothesis",
    "build",
    "dist",
    "site",
}

#: What the virtual machines run unless told otherwise.
IN_MACHINE = [
    *(
        f"tests/kernel/test_{name}.py"
        for name in (
            "spawn",
            "spawn_program",
            "idmap",
            "nsfs",
            "overlay",
            "process",
            "cgroup",
            "cgroup_limits",
            "cgroup_places",
            "cgroup_denied",
            "devices",
            "quota",
            "changes",
            "host_image",
            "namespace",
            "rooted",
            "spawn_host",
            "terminal",
        )
    ),
    *(
        f"tests/e2e/test_{name}.py"
        for name in ("run", "container", "ownership", "arguments", "rootfs", "limits", "usage", "security")
    ),
    "tests/detached/test_life.py",
    *(f"tests/security/test_{name}.py" for name in ("matrix", "exhaustion")),
]

#: A test that fails is tried once more, which its closing line tells ("1 rerun"): other work on the machine
#: must not decide.
AGAIN = ["--reruns", "1", "--reruns-delay", "2"]

#: Needs that are missing on purpose, by run; pytest skips their tests, and counts them in its closing line.
MISSING = {
    "root": ["user", "user_scope"],
    # No login manager has delegated a cgroup to a user that root has just switched to.
    "user": ["root", "cgroup", "cgroup1", "cgroup2", "cgroup2_tree", "user_scope"],
    # The emulated machine has one layout of cgroups, no KVM inside, and depending on its kernel no PSI.
    "vm-root": ["user", "user_scope", "cgroup1", "kvm", "psi", "tmpfs_xattr", "criu"],
    "vm-user": ["root", "user_scope", "cgroup1", "kvm", "psi", "tmpfs_xattr", "prjquota", "criu"],
}


def missing_here() -> list[str]:
    """What this machine may lack without being worse for it: one layout of cgroups, KVM, Linux 6.6, quotas, systemd, udev, CRIU that knows its kernel.

    And podman and dockerd, engines that nobody wants to be installed by a test.
    """
    mounted = [line.split(" - ")[1].split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    hybrid = any(kind == "cgroup" and "memory" in options.split(",") for kind, _, options in mounted)
    lacking = [
        "cgroup2" if hybrid else "cgroup1",
        "kvm",
        "tmpfs_xattr",
        "prjquota",
        "busctl",
        "dbus_session",
        "tun",
        "criu",
    ]
    return lacking + [engine for engine in ("podman", "dockerd") if not shutil.which(engine)]


def pytest(python: Path, name: str, arguments: list[str]) -> list[str]:
    """Return the pytest command of a run."""
    command = [str(python), "-m", "pytest", "-q", "--no-header", "-rfER", "-p", "no:cacheprovider", *AGAIN]
    needs = MISSING[name] + ([] if name.startswith("vm-") else missing_here())
    for need in dict.fromkeys(needs):
        command += ["--allow-missing", need]
    command += ["-m", "not slow and not exhaustive"]
    if name.startswith("vm-"):
        # An emulated processor, ten times slower: what depends on the kernel's version and its cgroups.
        arguments = arguments or IN_MACHINE
    return command + arguments


def environment(tree: Path, user: str) -> dict[str, str]:
    """Return the environment of a run: the same everywhere, whoever starts it."""
    account = pwd.getpwnam(user)
    kept = {name: os.environ[name] for name in ("CI", "TERM", "NO_COLOR", "TZ") if name in os.environ}
    return {
        **kept,
        "HOME": account.pw_dir,
        "USER": user,
        "LOGNAME": user,
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        # Before the editable install, which is of the original tree.
        "PYTHONPATH": str(tree),
        # Two users, one tree: neither leaves files that the other cannot replace.
        "PYTHONDONTWRITEBYTECODE": "1",
    }


class Job:
    """One run: a process whose output goes to a file, and from there to ours when it is its turn."""

    def __init__(self, name: str, command: list[str], *, tree: Path, user: str, limit: float) -> None:
        self.name = name
        self._limit = limit
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  (the kernel closes it with this process)
        self._tail = b""
        self._started = time.monotonic()
        self._sudo = command[0] == "sudo"
        print(f"== {name}: {_shown(command)}", flush=True)
        self._process = subprocess.Popen(
            command,
            cwd=tree,
            env=environment(tree, user),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            # A session of its own, to end it with all it started; sudo's password is remembered by terminal.
            start_new_session=not self._sudo,
        )
        self._position = 0

    def follow(self) -> tuple[bool, str]:
        """Print the output to its end; whether it passed, and its closing line."""
        while True:
            ended = self._process.poll() is not None
            self._print_what_is_new()
            if ended:
                break
            if time.monotonic() - self._started > self._limit:
                self.stop()
                print(f"\n{self.name}: stopped after {self._limit:g} s", flush=True)
            time.sleep(0.05)
        closing = CLOSING.findall(self._tail.decode(errors="replace"))
        status = self._process.returncode
        if status == 0 and not closing:
            return False, "ended without the closing line of pytest"
        return (
            status == 0,
            f"{closing[-1] if closing else 'no closing line'}{f' (exit status {status})' if status else ''}",
        )

    def _print_what_is_new(self) -> None:
        data = os.pread(self._output.fileno(), 1 << 20, self._position)
        self._position += len(data)
        self._tail = (self._tail + data)[-4000:]
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def stop(self) -> None:
        """End the run and what it started; nothing happens when it has ended."""
        if self._process.poll() is not None:
            return
        if self._sudo:
            subprocess.run(["sudo", "kill", str(self._process.pid)], check=False)
        else:
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _shown(command: list[str]) -> str:
    """The part of a command that says how the run differs: pytest's arguments."""
    return " ".join(command[command.index("pytest") :])


def me() -> str:
    """Return the name of the user who runs this."""
    return pwd.getpwuid(os.geteuid()).pw_name


def start_root(arguments: list[str], stack: contextlib.ExitStack) -> Job:
    """Root, here, in this tree; its mounts are seen by nobody else, who may look for what is left behind."""
    del stack
    command = ["unshare", "--mount", "--propagation", "private", *pytest(PYTHON, "root", arguments)]
    if os.geteuid() != 0:
        kept = [f"{name}={value}" for name, value in environment(ROOT, "root").items()]
        command = ["sudo", "env", *kept, *command]
    return Job("root", command, tree=ROOT, user="root", limit=HERE_LIMIT)


def start_user(arguments: list[str], stack: contextlib.ExitStack) -> Job:
    """An ordinary user, here."""
    if os.geteuid() != 0:
        return Job("user", pytest(PYTHON, "user", arguments), tree=ROOT, user=me(), limit=HERE_LIMIT)
    account = ensure_test_user()
    become = [
        "setpriv",
        f"--reuid={account.pw_uid}",
        f"--regid={account.pw_gid}",
        "--init-groups",
        "--inh-caps=-all",
    ]
    place = stack.enter_context(_place_for(account))
    tree = place / "tree"
    shutil.copytree(ROOT, tree, symlinks=True, ignore=lambda _, names: NOT_COPIED.intersection(names))
    python = PYTHON
    if subprocess.run(
        [*become, PYTHON, "-c", "import pytest, attrs"], cwd="/", capture_output=True, check=False
    ).returncode:
        shutil.copytree(ROOT / ".venv", place / "venv", symlinks=True)
        python = place / "venv/bin/python"
    _give(place, account)
    check = subprocess.run(
        [*become, python, "-c", "import pytest, attrs"], cwd="/", capture_output=True, text=True, check=False
    )
    if check.returncode:
        raise SystemExit(
            f"{account.pw_name} cannot run {os.path.realpath(PYTHON)}:\n{check.stderr}(make clean; PYTHON=/usr/bin/python3)"
        )
    return Job(
        "user",
        [*become, *pytest(python, "user", arguments)],
        tree=tree,
        user=account.pw_name,
        limit=HERE_LIMIT,
    )


def ensure_test_user() -> pwd.struct_passwd:
    """Return the account of the ordinary user, made with its subordinate ids if missing."""
    try:
        account = pwd.getpwnam(TEST_USER)
    except KeyError:
        subprocess.run(["useradd", "--create-home", "--shell", "/bin/sh", TEST_USER], check=True)
        account = pwd.getpwnam(TEST_USER)
    for file, option in (("/etc/subuid", "--add-subuids"), ("/etc/subgid", "--add-subgids")):
        lines = Path(file).read_text().splitlines() if os.path.exists(file) else []
        if not any(line.startswith(f"{TEST_USER}:") for line in lines):
            first = max(
                [100000, *(int(line.split(":")[1]) + int(line.split(":")[2]) for line in lines if line)]
            )
            subprocess.run(["usermod", option, f"{first}-{first + 65535}", TEST_USER], check=True)
    return account


@contextlib.contextmanager
def _place_for(account: pwd.struct_passwd) -> Iterator[Path]:
    """A directory that only the ordinary user and root can enter; gone at the end."""
    with tempfile.TemporaryDirectory(
        prefix="pycontainer-copy-", dir="/var/tmp", ignore_cleanup_errors=True
    ) as name:
        os.chown(name, account.pw_uid, account.pw_gid)
        yield Path(name)


def _give(place: Path, account: pwd.struct_passwd) -> None:
    """Make everything below ``place`` the user's, and readable to them whatever the umask of the original."""
    for directory, names, files in os.walk(place):
        for path in (directory, *(f"{directory}/{name}" for name in names + files)):
            os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
            if not os.path.islink(path):
                os.chmod(path, os.stat(path).st_mode | (0o700 if os.path.isdir(path) else 0o600))


def _vm(name: str, arguments: list[str], *options: str) -> Job:
    if platform.machine() != "x86_64":
        raise SystemExit(f"{name}: the virtual machine is x86-64 only; run the others with RUNS='root user'")
    command = [
        str(PYTHON),
        str(VM),
        "--timeout",
        str(VM_LIMIT),
        "--dir",
        "/var/lib/pycontainer",
        *options,
        "--",
    ]
    job = [*command, *pytest(PYTHON, name, arguments)]
    return Job(name, job, tree=ROOT, user=me(), limit=VM_LIMIT + 60)


def start_vm_root(arguments: list[str], stack: contextlib.ExitStack) -> Job:
    """Root, in the virtual machine."""
    del stack
    return _vm("vm-root", arguments)


def start_vm_user(arguments: list[str], stack: contextlib.ExitStack) -> Job:
    """An ordinary user, in the virtual machine, where a login manager's delegation is imitated."""
    del stack
    return _vm("vm-user", arguments, "--user", TEST_USER)


RUNS: dict[str, Callable[[list[str], contextlib.ExitStack], Job]] = {
    "root": start_root,
    "user": start_user,
    "vm-root": start_vm_root,
    "vm-user": start_vm_user,
}


def _processors() -> int:
    return len(os.sched_getaffinity(0))


def groups(names: list[str]) -> list[list[str]]:
    """Return what runs side by side, one processor for each: the two users here, then the two machines."""
    here = [name for name in names if not name.startswith("vm-")]
    machines = [name for name in names if name.startswith("vm-")]
    at_once = [group for group in (here, machines) if group]
    return at_once if _processors() > 1 else [[name] for group in at_once for name in group]


def main(argv: list[str]) -> int:
    """Run what is asked for; 0 when all passed."""
    split = argv.index("--") if "--" in argv else len(argv)
    names, arguments = argv[:split] or list(RUNS), argv[split + 1 :]
    for name in names:
        if name not in RUNS:
            raise SystemExit(f"{name}: no such run; there are {', '.join(RUNS)}")
    if os.geteuid() != 0 and "root" in names:
        subprocess.run(["sudo", "-v"], check=True)  # asks now, not in ten minutes
    results = {}
    for group in groups(names):
        with contextlib.ExitStack() as stack:
            jobs = []
            for name in group:
                jobs.append(RUNS[name](arguments, stack))
                stack.callback(jobs[-1].stop)
            for job in jobs:
                if len(jobs) > 1:
                    print(f"-- {job.name}", flush=True)
                results[job.name] = job.follow()
    print("== summary")
    for name, (passed, closing) in results.items():
        print(f"{'ok  ' if passed else 'FAIL'} {name:8} {closing}")
    return 0 if all(passed for passed, _ in results.values()) else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))
