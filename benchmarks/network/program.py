"""An engine in its room, which starts containers when it is told to: ``program ENGINE HOME ARCHIVE``.

The other end of :class:`benchmarks.contender.Program`::

    many N port|none    start so many that go on running; the nanoseconds of each, as JSON
    start port|none     start the probe: nanoseconds until it ran, and until it was gone, as JSON
    serve               have a probe listen, with its port published
    container S         bytes a second from another container, for so many seconds
    outside S           the same from another host, by the published port
    loopback S          the same from this one, by 127.0.0.1
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager

from benchmarks.benchmark import BenchmarkError
from benchmarks.network.archive import probe
from benchmarks.network.engines import PORT, Engine, Library, call, docker, podman

#: The host's address on its uplink, as ``room.sh`` has it.
_UPLINK = "192.0.2.2"


@contextmanager
def _engine(name: str, home: str, archive: str) -> Iterator[Engine]:
    if name == "pycontainer":
        with closing(Library(home, archive)) as library:
            yield library
    elif name == "docker":
        with docker(home, archive) as client:
            yield client
    else:
        yield podman(home, archive)


class _Served:
    """An engine, and the address of the server that it has started."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._address = ""

    def answer(self, command: str, *words: str) -> str:
        """The answer to a command."""
        if command == "many":
            return json.dumps(self._engine.keep(int(words[0]), words[1]))
        word = words[0] if words else ""
        if command == "start":
            return json.dumps(self._engine.run(word))
        if command == "serve":
            self._address = self._engine.serve()
            return self._address
        return str(self._rate(command, word))

    def _rate(self, way: str, seconds: str) -> int:
        if way == "container":
            told = self._engine.send(self._address, seconds)
        elif way == "outside":
            enter = ["nsenter", f"--net={os.environ['ROOM_WORLD']}"]
            told = call([*enter, probe(), "send", _UPLINK, str(PORT), seconds])
        elif way == "loopback":
            told = call([probe(), "send", "127.0.0.1", str(PORT), seconds])
        else:
            raise BenchmarkError(f"what is {way}?")
        sent, took = told.split()
        return round(int(sent) / int(took) * 1e9)


def main() -> None:
    """Serve until stdin ends."""
    name, home, archive = sys.argv[1:]
    os.mkdir(home, 0o700)
    with _engine(name, home, archive) as engine:
        served = _Served(engine)
        os.write(1, b"ready\n")
        for line in sys.stdin:
            os.write(1, (served.answer(*line.split()) + "\n").encode())


if __name__ == "__main__":
    main()
