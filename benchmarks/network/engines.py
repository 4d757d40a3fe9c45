"""Who starts the probe: the library, podman, docker.  Each is alone in a room (``room.sh``), in a process of its own."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from benchmarks.benchmark import BenchmarkError
from benchmarks.network.archive import NAME, PROBE
from benchmarks.peers import found

#: The port at which the probe listens, in its container and on the host.
PORT = 5201
_PATIENCE = 60.0


class Engine(Protocol):
    """What is asked of each."""

    def run(self, kind: str) -> tuple[int, int]:
        """Start the probe: with a bridge network and a published ``port``, or with ``none``.

        Nanoseconds until it ran, by its own word, and until it had ended and was removed.
        """
        ...

    def keep(self, count: int, kind: str) -> list[int]:
        """Start so many that listen, of that kind; the nanoseconds of each. They run until the end."""
        ...

    def serve(self) -> str:
        """Have a probe listen, its port published at every address; its own address."""
        ...

    def send(self, address: str, seconds: str) -> str:
        """What another container's probe tells that sends to that address."""
        ...


class Library:
    """The library, in this process."""

    def __init__(self, home: str, archive: str) -> None:
        import pycontainer as pc

        self._engine = pc.Engine(f"{home}/engine")
        self._engine.images.load(archive)
        self._server: Any = None
        self._kept: list[Any] = []

    def run(self, kind: str) -> tuple[int, int]:
        """See :class:`Engine`."""
        options = self._options(kind)
        start = time.monotonic_ns()
        result = self._engine.run(NAME, [PROBE, "clock"], **options)
        end = time.monotonic_ns()
        if result.exit_code != 0:
            raise BenchmarkError(result.describe_failure())
        return int(result.stdout) - start, end - start

    def _options(self, kind: str) -> dict[str, Any]:
        return {"network": "bridge", "ports": {PORT: None}} if kind == "port" else {"network": "none"}

    def keep(self, count: int, kind: str) -> list[int]:
        """See :class:`Engine`."""
        options, took = self._options(kind), []
        for _ in range(count):
            start = time.monotonic_ns()
            container = self._engine.containers.create(NAME, [PROBE, "receive", str(PORT)], **options)
            container.start()
            took.append(time.monotonic_ns() - start)
            self._kept.append(container)
        return took

    def serve(self) -> str:
        """See :class:`Engine`."""
        command = [PROBE, "receive", str(PORT)]
        ports = {PORT: ("0.0.0.0", PORT)}
        self._server = self._engine.containers.create(NAME, command, network="bridge", ports=ports)
        self._server.start()
        return str(self._server.addresses["bridge"][0])

    def send(self, address: str, seconds: str) -> str:
        """See :class:`Engine`."""
        command = [PROBE, "send", address, str(PORT), seconds]
        result = self._engine.run(NAME, command, network="bridge", text=True)
        if result.exit_code != 0:
            raise BenchmarkError(result.stderr)
        return str(result.stdout)

    def close(self) -> None:
        """Remove everything."""
        self._engine.close()
        for each in self._engine.networks.list():
            each.remove()


class Client:
    """A command line with the options of docker."""

    def __init__(self, argv: Sequence[str], archive: str) -> None:
        self._argv = list(argv)
        self._call("load", "--input", archive)

    def run(self, kind: str) -> tuple[int, int]:
        """See :class:`Engine`."""
        network = ["--network", "none"]
        if kind == "port":
            network = ["--network", "bridge", "-p", f"127.0.0.1::{PORT}"]
        argv = [*self._argv, "run", "--rm", *network, NAME, PROBE, "clock"]
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            actions = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
            actions += [(os.POSIX_SPAWN_DUP2, each.fileno(), n) for n, each in ((1, output), (2, errors))]
            start = time.monotonic_ns()
            pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=actions)
            _, status = os.waitpid(pid, 0)
            end = time.monotonic_ns()
            if status != 0:
                errors.seek(0)
                raise BenchmarkError(errors.read().decode(errors="replace").strip())
            output.seek(0)
            return int(output.read()) - start, end - start

    def keep(self, count: int, kind: str) -> list[int]:
        """See :class:`Engine`."""
        network = ["-p", f"127.0.0.1::{PORT}"] if kind == "port" else ["--network", "none"]
        took = []
        for _ in range(count):
            start = time.monotonic_ns()
            self._call("run", "-d", *network, NAME, PROBE, "receive", str(PORT))
            took.append(time.monotonic_ns() - start)
        return took

    def serve(self) -> str:
        """See :class:`Engine`."""
        published = f"0.0.0.0:{PORT}:{PORT}"
        name = self._call("run", "-d", "-p", published, NAME, PROBE, "receive", str(PORT)).split()[-1]
        return self._call("inspect", "--format", "{{.NetworkSettings.IPAddress}}", name).strip()

    def send(self, address: str, seconds: str) -> str:
        """See :class:`Engine`."""
        return self._call("run", "--rm", NAME, PROBE, "send", address, str(PORT), seconds)

    def _call(self, *words: str) -> str:
        return call([*self._argv, *words])


def call(command: Sequence[str]) -> str:
    """What a command prints, which must succeed."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PATIENCE, check=False
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise BenchmarkError(
            f"{os.path.basename(command[0])} ended with {done.returncode}: {lines[-1] if lines else ''}"
        )
    return done.stdout


def podman(home: str, archive: str) -> Engine:
    """podman with all that it keeps below ``home``."""
    argv = [
        found("podman"),
        "--root",
        f"{home}/storage",
        "--runroot",
        f"{home}/run",
        "--tmpdir",
        f"{home}/tmp",
    ]
    argv += ["--storage-driver=overlay", "--cgroup-manager=cgroupfs", "--events-backend=none"]
    return Client(argv, archive)


@contextmanager
def docker(home: str, archive: str) -> Iterator[Engine]:
    """docker with a daemon of its own, which has a bridge and rules in this room as it has on a host."""
    address = f"unix://{home}/socket"
    command = [found("dockerd"), "--host", address, "--pidfile", f"{home}/pid", "--storage-driver=overlay2"]
    command += ["--data-root", f"{home}/data", "--exec-root", f"{home}/exec"]
    client = [found("docker"), "--host", address]
    with open(f"{home}/log", "w+", encoding="utf-8", errors="replace") as log:
        daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + _PATIENCE
            while subprocess.run([*client, "info"], capture_output=True, check=False).returncode:
                if daemon.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise BenchmarkError(f"dockerd does not start: {log.read().strip().splitlines()[-1:]}")
                time.sleep(0.1)
            yield Client(client, archive)
        finally:
            daemon.terminate()
            daemon.wait(_PATIENCE)
