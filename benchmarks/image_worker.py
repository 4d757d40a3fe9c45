"""A Python process that pulls, commits and forks when it is told to, and answers with what that took.

The other end of :class:`benchmarks.contender.Program`::

    pull ROOT IMAGE     pull the image into the engine at ROOT, in nanoseconds
    have ROOT IMAGE     the same, and keep the engine for the other two
    commit              commit a stopped container of the image that has written 1 MB, in nanoseconds
    fork N              fork such a container, in nanoseconds
    peak                the largest number of bytes that this process has been resident with
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.benchmark import BenchmarkError
from pycontainer.engine import Engine
from pycontainer.image.images import Images

_SCRIPT = "head -c 1000000 /dev/urandom > /usr/share/new"


class Worker:
    """An engine with the image."""

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._image: Any = None
        self._count = 0

    def have(self, root: str, image: str) -> None:
        """Pull the image into an engine, for the other two."""
        self._engine = Engine(root)
        self._image = self._engine.images.pull(image)

    def commit(self) -> float:
        """Commit a container that has changed 1 MB, by a further name; the seconds that it took."""
        self._count += 1
        with self._changed() as container:
            return _timed(lambda: container.commit(f"bench:{self._count}"))

    def fork(self, count: int) -> float:
        """Fork one; the seconds that it took."""
        forks: list[Any] = []
        with self._changed() as container:
            took = _timed(lambda: forks.extend(container.fork(count)))
            for each in forks:
                each.remove()
        return took

    def _changed(self) -> Any:
        """A container of the image, which has written a file of 1 MB and has ended."""
        assert self._engine is not None  # noqa: S101  "have" comes first
        container = self._engine.containers.create(self._image, ["/usr/bin/sh", "-c", _SCRIPT])
        container.start()
        if container.wait(60) != 0:
            raise BenchmarkError("the container has failed")
        return container

    def close(self) -> None:
        """Remove everything."""
        if self._engine is not None:
            self._engine.close()


def _timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _pull(root: str, image: str) -> float:
    images = Images(root)
    took = _timed(lambda: images.pull(image))
    images.store.close()
    return took


def _answer(worker: Worker, command: str, *words: str) -> float:
    if command == "pull":
        return _pull(*words) * 1e9
    if command == "have":
        return _timed(lambda: worker.have(*words)) * 1e9
    if command == "commit":
        return worker.commit() * 1e9
    if command == "fork":
        return worker.fork(int(words[0])) * 1e9
    if command == "peak":
        usage = [
            resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        ]
        return max(usage) * 1024
    raise BenchmarkError(f"what is {command}?")


def main() -> None:
    """Serve until stdin ends."""
    worker = Worker()
    try:
        os.write(1, b"ready\n")
        for line in sys.stdin:
            os.write(1, b"%d\n" % round(_answer(worker, *line.split())))
    finally:
        worker.close()


if __name__ == "__main__":
    main()
