"""What must hold whatever the input: typed errors alone, an end within seconds, bounded memory, nothing outside.

``guarded`` surrounds the call under test in every test of this directory, and counts what was tried.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import stat
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pycontainer.errors import PyContainerError
from pycontainer.kernel.tree import remove_tree

#: How much slower than usual this is: emulated, or with sanitizers in it (tools/sanitize.py).
SLOWNESS = 10 if {"CGROUP2_VM", "SANITIZED"} & os.environ.keys() else 1
#: Seconds of the processor's time, and of the clock (for what blocks), that one input may take.
SECONDS, PATIENCE = 5.0 * SLOWNESS, 60.0 * SLOWNESS
#: Bytes by which the address space may grow while one input is handled.
MEMORY = 512 << 20

#: How often each target has come to its end with a value, and with which error.
outcomes: Counter[str] = Counter()


class Hang(AssertionError):
    """An input took too long."""


class Greed(AssertionError):
    """An input took too much memory."""


class Escape(AssertionError):
    """An input changed what lies outside."""


def _too_long(number: int, _: object) -> None:
    raise Hang(f"more than {SECONDS} s of processor time, or {PATIENCE} s in all (signal {number})")


@contextlib.contextmanager
def _in_time(seconds: float) -> Iterator[None]:
    timers = {signal.SIGPROF: (signal.ITIMER_PROF, seconds), signal.SIGALRM: (signal.ITIMER_REAL, PATIENCE)}
    before = {number: signal.signal(number, _too_long) for number in timers}
    try:
        for timer, limit in timers.values():
            signal.setitimer(timer, limit)
        yield
    finally:
        for timer, _ in timers.values():
            signal.setitimer(timer, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _in_memory(room: int) -> Iterator[None]:
    pages = int(Path("/proc/self/statm").read_bytes().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    bound = pages * resource.getpagesize() + room
    resource.setrlimit(
        resource.RLIMIT_AS, (bound if hard == resource.RLIM_INFINITY else min(bound, hard), hard)
    )
    try:
        yield
    except MemoryError as error:
        raise Greed(f"more than {room} bytes") from error
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextlib.contextmanager
def long_numbers(digits: int) -> Iterator[None]:
    """Let integers of so many digits have a decimal text in the body; 0: all (CVE-2020-10735 is why not always)."""
    if not hasattr(sys, "set_int_max_str_digits"):  # Python 3.10.6 and before
        yield
        return
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(digits)
    try:
        yield
    finally:
        sys.set_int_max_str_digits(before)


@contextlib.contextmanager
def guarded(*errors: type[BaseException], seconds: float = SECONDS, memory: int = MEMORY) -> Iterator[None]:
    """Run the body under the bounds; it may end with one of these errors, by default any of the project's.

    What else comes out of it fails the test. An error must have a text, and one that people can read.
    """
    allowed: Any = errors or (PyContainerError,)
    with long_numbers(4300):
        try:
            with _in_time(seconds), _in_memory(memory):
                yield
        except allowed as error:
            outcomes[type(error).__name__] += 1
            text = str(error)
            assert text
            assert len(text) < 20000  # it may name two paths
        else:
            outcomes["value"] += 1


class Outside:
    """A directory with a file, a directory and a link in it that nothing may change or read."""

    SECRET = b"the secret that lies outside"

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir()
        (place / "file").write_bytes(self.SECRET)
        (place / "directory").mkdir()
        (place / "directory" / "inner").write_bytes(self.SECRET)
        (place / "link").symlink_to("file")
        self.modified = place.stat().st_mtime_ns
        self._before = self._seen()

    def _seen(self) -> dict[str, tuple[Any, ...]]:
        found: dict[str, tuple[Any, ...]] = {}
        for directory, names, files in os.walk(self.place):
            for path in (directory, *(f"{directory}/{name}" for name in names + files)):
                status = os.lstat(path)
                content = Path(path).read_bytes() if stat.S_ISREG(status.st_mode) else b""
                found[path] = (
                    status.st_mode, status.st_uid, status.st_gid, status.st_nlink, status.st_mtime_ns, content,
                    tuple(os.listxattr(path, follow_symlinks=False)),
                )  # fmt: skip
        return found

    def check(self) -> None:
        """Raise :class:`Escape` when anything of it has changed."""
        after = self._seen()
        changed = {path for path in {*self._before, *after} if self._before.get(path) != after.get(path)}
        if changed:
            raise Escape(f"changed outside: {', '.join(sorted(changed))}")


@contextlib.contextmanager
def scratch(above_it: str | None = None) -> Iterator[tuple[Path, Outside]]:
    """An empty directory ``root`` and, beside it, what must stay as it is; both are gone afterwards."""
    place = Path(tempfile.mkdtemp(prefix="fuzz-", dir=above_it))
    try:
        (place / "root").mkdir()
        outside = Outside(place / "outside")
        yield place / "root", outside
        outside.check()
        if sorted(os.listdir(place)) != ["outside", "root"]:
            raise Escape(f"made beside the root: {os.listdir(place)}")
    finally:
        # Not shutil's, which ends in trees that are deeper than its recursion, or that shut their owner out.
        above = os.open(place.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            remove_tree(above, place.name)
        finally:
            os.close(above)


def holds_secret(root: Path) -> bool:
    """Has a file in the upper levels of a tree the content of what lies outside?"""
    ahead = [(str(root), 0)]
    while ahead:
        directory, depth = ahead.pop()
        with contextlib.suppress(PermissionError), os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    ahead += [(entry.path, depth + 1)] * (depth < 50)
                elif _is_readable(entry) and Outside.SECRET in Path(entry.path).read_bytes():
                    return True
    return False


def _is_readable(entry: os.DirEntry[str]) -> bool:
    return entry.is_file(follow_symlinks=False) and os.access(entry.path, os.R_OK)
