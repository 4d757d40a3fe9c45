"""Other programs that bring an image from a registry onto the disk, unpacked; each starts with nothing every time.

They get a new directory for all that they keep.  It is removed when all is measured: removing takes longer than
pulling, what was removed is discarded on the disk in the background, and where ext4 has no journal it looks for
minutes at each inode that was removed before it makes one (fs/ext4/ialloc.c, recently_deleted).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence

from benchmarks.benchmark import BenchmarkError
from benchmarks.contender import Contender, Program
from benchmarks.layers import UNPACKERS, Packed
from benchmarks.peers import found

#: Mounts of an engine stay its own, and go with it.
_ALONE = ["unshare", "--mount", "--propagation", "private"]
_PATIENCE = 300.0
#: Seconds for which an idle disk is waited for.
_SETTLE = 6


def fresh(folder: str) -> str:
    """A new directory, which goes with ``folder``; the disk is idle now."""
    _settle(folder)
    path = tempfile.mkdtemp(prefix="fresh-", dir=folder)
    os.chmod(path, 0o755)
    return path


def _settle(folder: str) -> None:
    """Have everything written, and wait until the disk has done nothing for half a second; not for long, though."""
    os.sync()
    device = os.stat(folder).st_dev
    path = f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat"
    seen, still = "", 0
    for _ in range(_SETTLE * 10):
        if still == 5 or not os.path.exists(path):
            return
        time.sleep(0.1)
        with open(path, encoding="ascii") as file:
            before, seen = seen, file.read()
        still = still + 1 if seen == before else 0


class Puller:
    """Commands that are run one after the other, ``alone`` in a mount namespace; ``{}`` in them is the new directory."""

    def __init__(
        self, name: str, folder: str, commands: Sequence[Sequence[str]], *, alone: bool = False
    ) -> None:
        self.name = name
        self._folder = folder
        for command in commands:
            found(command[0])
        self._commands = [[*_ALONE, *command] if alone else command for command in commands]

    def once(self) -> float:
        place = fresh(self._folder)
        commands = [[word.replace("{}", place) for word in command] for command in self._commands]
        start = time.perf_counter()
        for command in commands:
            call(command)
        return time.perf_counter() - start

    def close(self) -> None:
        """Nothing is left."""


class Docker:
    """``docker pull`` from a new daemon each time, whose start and end are not measured."""

    def __init__(self, name: str, folder: str, image: str) -> None:
        self.name = name
        self._folder = folder
        self._image = image
        for program in ("dockerd", "docker", "containerd"):
            found(program)

    def once(self) -> float:
        with _daemon(fresh(self._folder)) as client:
            start = time.perf_counter()
            call([*client, "pull", "--quiet", self._image])
            return time.perf_counter() - start

    def close(self) -> None:
        """Nothing is left."""


class Ours:
    """The library in a process that runs already, with a new engine root each time."""

    def __init__(self, name: str, folder: str, program: Program, image: str) -> None:
        self.name = name
        self._folder = folder
        self._program = program
        self._image = image

    def once(self) -> float:
        return self._program.seconds(f"pull {fresh(self._folder)}/engine {self._image}", _PATIENCE)

    def close(self) -> None:
        """The program is its maker's."""


class Command:
    """A command of a program that serves others, too."""

    def __init__(self, name: str, program: Program, command: str) -> None:
        self.name = name
        self._program = program
        self._command = command

    def once(self) -> float:
        return self._program.seconds(self._command)

    def close(self) -> None:
        """The program is its maker's."""


class Inserting:
    """``umoci insert``: a new file of 1 MB as one more layer of the image, which nothing has unpacked."""

    def __init__(self, name: str, folder: str, image: str) -> None:
        self.name = name
        self._folder = folder
        self._count = 0
        found("umoci")
        call(
            [found("skopeo"), "copy", "--quiet", "--src-tls-verify=false", f"docker://{image}", self._layout]
        )

    @property
    def _layout(self) -> str:
        return f"oci:{self._folder}/layout:image"

    def once(self) -> float:
        self._count += 1
        with open(f"{self._folder}/new", "wb") as file:
            file.write(os.urandom(1_000_000))
        image = self._layout.removeprefix("oci:")
        command = ["umoci", "insert", "--image", image, "--tag", f"v{self._count}"]
        start = time.perf_counter()
        call([*command, file.name, "/usr/share/new"])
        return time.perf_counter() - start

    def close(self) -> None:
        """Nothing is left."""


def call(command: Sequence[str]) -> None:
    """Run a command, which must succeed; stdout is thrown away."""
    with tempfile.TemporaryFile() as errors:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, check=False
        )
        if done.returncode != 0:
            errors.seek(0)
            words = errors.read().decode(errors="replace").strip().splitlines()
            raise BenchmarkError(f"{command[0]} ended with {done.returncode}: {words[-1] if words else ''}")


@contextlib.contextmanager
def _daemon(home: str) -> Iterator[list[str]]:
    """A dockerd without bridge, firewall and forwarding, whose mounts are its own; the client's command."""
    address = f"unix://{home}/socket"
    command = [*_ALONE, found("dockerd"), "--host", address, "--pidfile", f"{home}/pid"]
    command += ["--data-root", f"{home}/data", "--exec-root", f"{home}/exec", "--storage-driver=overlay2"]
    command += ["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"]
    client = [found("docker"), "--host", address]
    with open(f"{home}/log", "w+") as log:
        daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 60
            while subprocess.run([*client, "info"], capture_output=True, check=False).returncode:
                if daemon.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise BenchmarkError(f"dockerd does not start: {log.read().strip().splitlines()[-1:]}")
                time.sleep(0.1)
            yield client
        finally:
            daemon.terminate()
            daemon.wait(60)


def pullers(folder: str, kind: str, image: str) -> list[tuple[str, Callable[[], Contender]]]:
    """Who pulls ``image`` ("host:port/repository:tag") into directories below ``folder``, by name."""
    copy = ["skopeo", "copy", "--quiet", "--src-tls-verify=false", f"docker://{image}", "oci:{}/layout:image"]
    unpack = ["umoci", "unpack", "--image", "{}/layout:image", "{}/bundle"]
    podman = ["podman", "--root", "{}/storage", "--runroot", "{}/run", "--tmpdir", "{}/tmp"]
    podman += ["--storage-driver=overlay", "--cgroup-manager=cgroupfs", "--events-backend=none"]
    podman += ["pull", "--quiet", "--tls-verify=false", image]
    names = [f"{kind}: {name}" for name in ("skopeo copy + umoci unpack", "podman pull", "docker pull")]
    return [
        (names[0], lambda: Puller(names[0], folder, [copy, unpack])),
        (names[1], lambda: Puller(names[1], folder, [podman], alone=True)),
        (names[2], lambda: Docker(names[2], folder, image)),
    ]


def floor(name: str, folder: str, image: Packed) -> Puller:
    """The layers as files, decompressed by the fastest program and unpacked by tar into one directory."""
    found(UNPACKERS[image.kind][0])
    words = " ".join(UNPACKERS[image.kind])
    script = f'set -e; target=$1; shift; for layer; do {words} "$layer" | tar -x -C "$target"; done'
    return Puller(name, folder, [["sh", "-c", script, "sh", "{}", *image.layers()]])
