"""Every step of a start made to fail, once each: a clean error and nothing left, or as confined as ever.

A host process runs under strace(1), which makes the N-th call of a name fail in each process, whatever it is
for; what the program says of its confinement, if it runs, is compared with an undisturbed run.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.needs("root"), pytest.mark.needs("strace")]

SCRIPT = """
import json, os, sys
import pycontainer as pc
root, probe, scenario = sys.argv[1:]
words = ["/probe", "show", "/proc/self/status", "/proc/self/mountinfo", "/proc/self/uid_map", "/proc/self/limits"]
options = {"mounts": [pc.Bind(probe, "/probe", read_only=True)], "text": True}
try:
    with pc.Engine(root) as engine:
        if scenario == "exec":
            with engine.containers.create("host:", ["/probe", "sleep"], mounts=options["mounts"]) as container:
                container.start()
                done = container.exec(words, text=True, timeout=20)
        else:
            done = engine.run("host:", words, timeout=20, init=scenario == "init", tty=scenario == "tty", **options)
    outcome = {"code": done.exit_code, "stdout": done.stdout, "stderr": done.stderr}
except pc.PyContainerError as error:
    outcome = {"error": type(error).__name__, "text": str(error)}
except BaseException as error:
    outcome = {"unclean": repr(error)}
left = os.listdir(root + "/run") if os.path.exists(root + "/run") else []
with open("/proc/self/status") as file:
    blocked = [line.split()[1] for line in file if line.startswith("SigBlk")]
print(json.dumps({**outcome, "left": left, "blocked": blocked}))
"""
#: What every start needs and the host itself hardly uses.
CALLS = [
    "mount_setattr", "move_mount", "fsmount", "fsopen", "fsconfig", "open_tree", "openat2", "clone3", "setns", "prctl", "capset",
    "seccomp", "dup3", "close_range", "execve", "execveat", "setresuid", "setresgid", "setgroups", "unshare", "pivot_root",
    "umount2", "mknodat", "keyctl", "prlimit64", "sethostname", "setsid", "pidfd_open", "process_vm_readv", "rt_sigprocmask",
]  # fmt: skip
#: Set once by the undisturbed run, and equal in every later one.
CONFINEMENT = (
    "Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "SigBlk", "SigIgn", "Umask",
    "NSpid", "Seccomp_filters", "Max core file size",
)  # fmt: skip


def finished(command: list[str]) -> tuple[str, str]:
    """What a command wrote. One that hangs is ended with what strace traces: that would hold the pipes open."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, start_new_session=True, **streams) as process:
        try:
            return process.communicate(timeout=100)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise


class Faults:
    """Runs the script with one call failing."""

    def __init__(self, probe: Path, place: Path, scenario: str) -> None:
        self.probe, self.place, self.scenario = probe, place, scenario
        self.count = 0
        self.plain = confinement(self.start())

    def start(self, *inject: str) -> dict[str, object]:
        self.count += 1
        root, log = self.place / str(self.count), self.place / f"{self.count}.log"
        command = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(root), str(self.probe), self.scenario]
        if inject:
            name = inject[0].partition(":")[0]
            command = [
                "strace",
                "-f",
                "-qq",
                "-o",
                str(log),
                "-e",
                f"trace={name}",
                "-e",
                f"inject={inject[0]}",
                *command,
            ]
        stdout, stderr = finished(command)
        assert stdout, stderr
        outcome: dict[str, object] = json.loads(stdout.splitlines()[-1])
        outcome["injected"] = bool(inject) and "INJECTED" in log.read_text()
        return outcome

    def check(self, name: str, number: int) -> bool:
        """Make the call fail for the ``number``-th time; whether there was such a one."""
        outcome = self.start(f"{name}:error=EPERM:when={number}")
        where = f"{name} number {number}: {outcome}"
        assert "unclean" not in outcome, where
        if not str(outcome.get("text")).startswith("remove "):
            # Else it was the removal itself that failed, and says so; the next start sweeps.
            assert outcome["left"] == [], where
        if not str(outcome.get("text")).startswith("block and restore the signals"):
            # Else no Ctrl-C would end the host any more.
            assert outcome["blocked"] == ["0000000000000000"], where
        if "error" in outcome:
            assert len(str(outcome["text"])) > 10, where
        elif outcome["code"] == 0:
            assert confinement(outcome) == self.plain, where
        else:
            # The program itself was refused something, as it may be, or could not be executed.
            assert outcome["code"] in {1, 126, 127}, where
        return bool(outcome["injected"])


def confinement(outcome: dict[str, object]) -> dict[str, object]:
    assert outcome.get("code") == 0, outcome
    text = str(outcome["stdout"]).replace("\r", "")
    found: dict[str, object] = {}
    mounts = []
    for line in text.splitlines():
        name = line.partition(":")[0] if ":" in line else line[:18].strip()
        if name in CONFINEMENT:
            found[name] = line
        if " - " in line:
            left, _, right = line.partition(" - ")
            # Numbers of mounts and devices, and of the id range, are of each container.
            mounts.append((left.split()[4], left.split()[5], right.split()[0]))
    assert set(CONFINEMENT) - {"Seccomp_filters"} <= set(found), text
    assert len(mounts) > 10
    return {**found, "mounts": mounts}


@pytest.fixture(params=["run", "exec"])
def faults(request, probe, tmp_path):
    return Faults(probe, tmp_path, request.param)


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_the_first_failures(faults, name):
    for number in (1, 2, 3):
        if not faults.check(name, number):
            break


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", CALLS)
def test_every_failure(faults, name):
    number = 4
    while faults.check(name, number):
        number += 1


@pytest.mark.exhaustive
@pytest.mark.parametrize("scenario", ["init", "tty"])
@pytest.mark.parametrize(
    "name",
    [
        "prctl",
        "fsmount",
        "dup3",
        "execve",
        "execveat",
        "seccomp",
        "move_mount",
        "close_range",
        "openat2",
        "ioctl",
    ],
)
def test_the_first_failures_of_other_starts(probe, tmp_path, scenario, name):
    faults = Faults(probe, tmp_path, scenario)
    for number in range(1, 8):
        if not faults.check(name, number):
            break


def test_the_comparison_would_tell(probe, tmp_path):
    """A run with less confinement is told from the plain one."""
    faults = Faults(probe, tmp_path, "run")
    for before, after in (
        ("NoNewPrivs:\t1", "NoNewPrivs:\t0"),
        ("Seccomp:\t2", "Seccomp:\t0"),
        ("00000000a80425fb", "000001ffffffffff"),
    ):
        outcome = faults.start()
        assert before in str(outcome["stdout"])
        outcome["stdout"] = str(outcome["stdout"]).replace(before, after)
        assert confinement(outcome) != faults.plain
    assert os.listdir(tmp_path)
