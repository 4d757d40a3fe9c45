"""Other programs that bring an image from a registry onto the disk, unpacked; each starts with nothing every time.

They get a new directory for all that they keep.  What was in it is renamed away afterwards and removed outside of
the time that is measured, before the next one: removing takes longer than pulling.  Before each, what others have
written goes to the disk.
"""

from __future__ import annotations

import contextlib
import os
import shutil
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


@contextlib.contextmanager
def fresh(folder: str) -> Iterator[str]:
    """A new directory, whose removal is no part of what is measured; the disk is quiet before."""
    os.sync()
    path = tempfile.mkdtemp(prefix="fresh-", dir=folder)
    os.chmod(path, 0o755)
    try:
        yield path
    finally:
        trash = f"{path}-trash"
        os.rename(path, trash)
        shutil.rmtree(trash)


class Puller:
    """Commands that are run one after the other; ``{}`` in them is the new directory."""

    def __init__(self, name: str, folder: str, commands: Sequence[Sequence[str]]) -> None:
        self.name = name
        self._folder = folder
        self._commands = commands
        for command in commands:
            found(command[0])

    def once(self) -> float:
        with fresh(self._folder) as place:
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
        with fresh(self._folder) as place, _daemon(place) as client:
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
        with fresh(self._folder) as place:
            return self._program.seconds(f"pull {place}/engine {self._image}", _PATIENCE)

    def close(self) -> None:
        """The program is its maker's."""


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


def pullers(folder: str, registry: str, image: Packed) -> list[tuple[str, Callable[[], Contender]]]:
    """Who pulls ``image`` from ``registry`` ("host:port/repository:tag") into directories below ``folder``."""
    podman = [*_ALONE, found("podman") if shutil.which("podman") else "podman"]
    podman += [
        "--root",
        "{}/storage",
        "--runroot",
        "{}/run",
        "--tmpdir",
        "{}/tmp",
        "--storage-driver=overlay",
    ]
    podman += ["--cgroup-manager=cgroupfs", "--events-backend=none"]
    return [
        (
            "skopeo copy + umoci unpack",
            lambda: Puller(
                "skopeo copy + umoci unpack",
                folder,
                [
                    [
                        "skopeo",
                        "copy",
                        "--quiet",
                        "--src-tls-verify=false",
                        f"docker://{registry}",
                        "oci:{}/layout:image",
                    ],
                    ["umoci", "unpack", "--image", "{}/layout:image", "{}/bundle"],
                ],
            ),
        ),
        (
            "podman pull",
            lambda: _podman(
                "podman pull", folder, [*podman, "pull", "--quiet", "--tls-verify=false", registry]
            ),
        ),
        ("docker pull", lambda: Docker("docker pull", folder, registry)),
    ]


def _podman(name: str, folder: str, command: list[str]) -> Puller:
    found("podman")
    return Puller(name, folder, [command])


def floor(name: str, folder: str, image: Packed) -> Puller:
    """The layers as files, decompressed by the fastest program and unpacked by tar into one directory."""
    found(UNPACKERS[image.kind][0])
    words = " ".join(UNPACKERS[image.kind])
    script = f'set -e; target=$1; shift; for layer; do {words} "$layer" | tar -x -C "$target"; done'
    return Puller(name, folder, [["sh", "-c", script, "sh", "{}", *image.layers()]])
