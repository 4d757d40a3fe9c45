"""The hostile program in containers of each kind, and on the host: what it says of every attempt."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pycontainer as pc
from tests.support.probe import Verdict, loads_no_modules, parse

#: The kinds of confinement that are compared, by the arguments of ``run``.
MODES = ("default", "host ids", "strict", "privileged")
#: Refused with nothing asked of the kernel, so that no module is loaded.
FILTERED = "alg vsock"


def options_of(mode: str) -> dict[str, Any]:
    """The arguments that ask for a kind of confinement, and nothing else."""
    choices: dict[str, dict[str, Any]] = {
        "default": {},
        "host ids": {"userns": "host"},
        "strict": {"security": pc.Security.strict()},
        "privileged": {"privileged": True},
    }
    return choices[mode]


def words(canary: Mapping[str, str], mode: str) -> list[str]:
    """The words of ``try``: where the canaries are, and what may be asked of the machine."""
    safe = mode == "strict" or loads_no_modules()
    families = (
        {"families": "all"} if safe else {"families": FILTERED} if mode in {"default", "host ids"} else {}
    )
    return [f"{name}={value}" for name, value in {**canary, **families}.items()]


def inside(probe: Path, canary: Mapping[str, str], mode: str, **more: Any) -> dict[str, Verdict]:
    """All attempts in a fresh container, started by a process that has an open file and a secret for who inherits them."""
    options = {**options_of(mode), "init": True, "timeout": 300, **more}
    mounts = [pc.Bind(probe, "/probe", read_only=True)]
    command = ["/probe", "try", "program=/probe", *words(canary, mode)]
    with open(canary["file"], "rb") as file, secret_environment(canary):
        os.set_inheritable(file.fileno(), True)
        result = pc.run("host:", command, text=True, mounts=mounts, **options)
    assert result.exit_code == 0, (result.stdout, result.stderr, result.describe_failure())
    return parse(result.stdout.splitlines())


@contextlib.contextmanager
def secret_environment(canary: Mapping[str, str]) -> Iterator[None]:
    """Have the secret in the environment of this process."""
    os.environ["SECRET"] = canary["secret"]
    try:
        yield
    finally:
        del os.environ["SECRET"]


def outside(probe: Path, canary: Mapping[str, str]) -> dict[str, Verdict]:
    """All attempts on the host, unconfined; in place of a container's pid 1 the canary is the target."""
    target = ["outside=1", f"target={canary['pid']}", f"program={probe}"]
    with open(canary["file"], "rb") as file:
        done = subprocess.run(
            [probe, "try", *target, *words(canary, "unconfined")],
            stdin=file,
            pass_fds=[file.fileno()],
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
            env={},
        )
    return parse(done.stdout.splitlines())
