"""A real overlay in a mount namespace of its own, to look at from outside."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

#: Host id that stands for the container's root; what idmap.py gives out begins here too, but not at once.
BASE = 0x7FF0_0000


@attrs.frozen(kw_only=True)
class Overlay:
    """The directories of an overlay, and its root as a descriptor that is valid inside the `with`."""

    lower: Path
    upper: Path
    root: int
    process: subprocess.Popen[bytes]

    def run(self, script: str) -> None:
        """Run shell commands at the overlay's root, in its namespaces; the first failure fails."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"({script}\n) && echo ok || echo failed\n".encode())
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer == b"ok\n", answer


@contextmanager
def mounted(place: Path, *, base: int | None, trusted: bool = False) -> Iterator[Overlay]:
    """Mount an overlay on the directory `lower` below `place`, which the caller has filled.

    In a user namespace whose root is the host's id `base`, or with `trusted` in the host's (as root only);
    with `base=None` the root is the caller.
    """
    lower, upper = place / "lower", place / "upper"
    for name in ("upper", "work", "mnt"):
        (place / name).mkdir()
        if base is not None:
            os.chown(place / name, base, base)
    options = "" if trusted else "userxattr,"
    # The process waits for its ids, mounts, says so, and then executes what it reads.
    script = (
        'read line; cd "$1"; '
        f"mount -t overlay overlay -o {options}lowerdir=lower,upperdir=upper,workdir=work mnt && cd mnt && echo ok; "
        "exec sh"
    )
    command = ["unshare", "--mount", "sh", "-c", script, "sh", str(place)]
    if not trusted:
        command[1:1] = ["--user"] if base is not None else ["--user", "--map-root-user"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if base is not None and not trusted:
                _map(process.pid, base)
            process.stdin.write(b"\n")
            assert process.stdout.readline() == b"ok\n"
            root = os.open(f"/proc/{process.pid}/cwd", os.O_PATH | os.O_DIRECTORY)
            try:
                yield Overlay(lower=lower, upper=upper, root=root, process=process)
            finally:
                os.close(root)
        finally:
            process.kill()


def _map(pid: int, base: int) -> None:
    own = os.stat("/proc/self/ns/user").st_ino
    while os.stat(f"/proc/{pid}/ns/user").st_ino == own:
        pass
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{pid}/{name}").write_text(f"0 {base} 65536\n", encoding="ascii")
