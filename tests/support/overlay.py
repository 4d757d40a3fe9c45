"""A real overlay in a mount namespace of its own, to look at from outside."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

from pycontainer.kernel.idmap import IdMap

#: Host id that stands for the container's root; what idmap.py gives out begins here too, but not at once.
BASE = 0x7FF0_0000


def own_ids() -> IdMap | None:
    """Root of a container without a range of ids: for root everybody is who he is, for others there is one."""
    return None if os.geteuid() == 0 else IdMap.single(os.geteuid(), os.getegid())


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
    place.chmod(0o711)
    options = "" if trusted else "userxattr,"
    # By relative paths: root of the namespace may not look into the directories above `place`.
    script = (
        f"mount --no-canonicalize -t overlay overlay -o {options}lowerdir=lower,upperdir=upper,workdir=work mnt "
        "&& cd -P mnt && echo ok || echo failed; exec sh"
    )
    with ExitStack() as stack:
        if base is not None:
            pid = stack.enter_context(_user_namespace(base))
            enter = ["nsenter", "--target", str(pid), "--user", "--setuid", "0", "--setgid", "0", "unshare"]
        else:
            enter = ["unshare"] if trusted else ["unshare", "--user", "--map-root-user"]
        process = stack.enter_context(_process(*enter, "--mount", "sh", "-c", script, cwd=place))
        assert process.stdout is not None
        assert process.stdout.readline() == b"ok\n"
        root = os.open(f"/proc/{process.pid}/cwd", os.O_PATH | os.O_DIRECTORY)
        stack.callback(os.close, root)
        yield Overlay(lower=lower, upper=upper, root=root, process=process)


@contextmanager
def _process(*command: str, cwd: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, bufsize=0, cwd=cwd) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def _user_namespace(base: int) -> Iterator[int]:
    """A process in a new user namespace; who enters it after the map was written has its capabilities."""
    with _process("unshare", "--user", "sh", "-c", "echo ready; read line") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{process.pid}/{name}").write_text(f"0 {base} 65536\n", encoding="ascii")
        yield process.pid
