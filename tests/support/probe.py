"""The hostile program that containers are tried with, built; what it says; and canaries for it to look for.

Owns nothing that lasts: the program goes with the directory it is built in, canaries with their ``with``.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import attrs

SOURCES = Path(__file__).parent / "payload"
FLAGS = ("-static", "-O2", "-Wall", "-Wextra", "-Werror", "-Wno-unused-result")


def build(folder: Path) -> Path:
    """Compile ``tests/support/payload`` to one static file in ``folder``, which runs in any image and on the host."""
    target = folder / "probe"
    compiler = shutil.which("cc")
    assert compiler is not None, "there is no C compiler"
    sources = [str(path) for path in sorted(SOURCES.glob("*.c"))]
    subprocess.run([compiler, *FLAGS, *sources, "-o", str(target)], check=True, timeout=300)
    target.chmod(0o755)
    return target


@attrs.frozen
class Verdict:
    """What came of an attempt: ``kind`` is ``reached``, ``refused`` or ``absent``; ``detail`` is for people.

    >>> Verdict.parse("refused EPERM").short
    'EPERM'
    """

    kind: str
    detail: str

    @classmethod
    def parse(cls, text: str) -> Verdict:
        """Read the part of a line behind the name."""
        kind, _, detail = text.partition(" ")
        return cls(kind, detail)

    @property
    def short(self) -> str:
        """One word: ``reached``, ``absent``, or the error."""
        return self.detail if self.kind == "refused" else self.kind

    def __str__(self) -> str:
        return f"{self.kind} {self.detail}".rstrip(" -")


def parse(lines: Iterable[str]) -> dict[str, Verdict]:
    """Read the lines of the word ``try``; names that are not of verdicts stay out."""
    pairs = (line.partition("=") for line in lines)
    return {name: Verdict.parse(text) for name, equals, text in pairs if equals}


def some_disk() -> str | None:
    """Numbers of a block device as ``major:minor``, of one that opens for us if there is one."""
    found = None
    for name in sorted(os.listdir("/sys/block")):
        with contextlib.suppress(OSError):
            device = os.stat(f"/dev/{name}").st_rdev
            found = f"{os.major(device)}:{os.minor(device)}"
            os.close(os.open(f"/dev/{name}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
            break
    return found


def loads_no_modules() -> bool:
    """Can asking for a rare socket family leave no module behind? The kernel has none, or the machine is thrown away."""
    return not os.path.exists("/proc/modules") or "CGROUP2_VM" in os.environ


@contextlib.contextmanager
def canaries(probe: Path, folder: Path) -> Iterator[Mapping[str, str]]:
    """Things of this host that only tests made, as ``NAME=VALUE`` words for ``try``; gone at the end.

    A file in ``folder``, a process with a secret in its environment, and what that makes (canary.c).
    """
    secret = secrets.token_hex(16)
    file = folder / f"canary-{secret}"
    file.write_text(secret)
    words = {"file": str(file), "secret": secret, "hostname": socket.gethostname()}
    links = sorted(set(os.listdir("/sys/class/net")) - {"lo", "bonding_masters"})
    disk = some_disk()
    words |= ({"link": links[0]} if links else {}) | ({"disk": disk} if disk else {})
    process = subprocess.Popen(
        [probe, "canary"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"SECRET": secret},
    )
    try:
        assert process.stdout is not None
        for line in iter(process.stdout.readline, "ready\n"):
            assert line, "the canary ended"
            name, _, value = line.strip().partition("=")
            words[name] = value
        yield words
    finally:
        process.communicate(timeout=30)
        file.unlink()
