"""What happens to containers, as lines of one file that every process and every monitor appends to.

A line is ``<nanoseconds since 1970> <container id> <action> [<name>=<value> ..]``, written by one call, so lines of
several writers do not mix.  A file that has become long gets another name, and the next line begins a new one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote

import attrs

from pycontainer.kernel.fd import Fd, write_all

_NAME = "events"
_OPEN = os.O_CLOEXEC | os.O_NOFOLLOW
#: How long the file becomes, in bytes.
_LONGEST = 4 << 20
#: How often it is looked whether there is something new, in seconds.
_PAUSE = 0.05


@attrs.frozen(kw_only=True)
class Event:
    """Something that happened to a container: ``create``, ``start``, ``die``, ``health_status`` ...

    ``time`` is in seconds since 1970.
    """

    time: float
    id: str
    action: str
    attributes: dict[str, str] = attrs.field(factory=dict)


def append(directory: str, id_: str, action: str, **attributes: Any) -> None:
    """Note an event. One that finds no room on the disk is not noted: what happened has happened."""
    words = [str(time.time_ns()), id_, action]
    words += [f"{name}={quote(str(value), safe='')}" for name, value in attributes.items()]
    path = f"{directory}/{_NAME}"
    with Fd(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _OPEN, 0o600)) as file:
        try:
            write_all(file.fileno(), f"{' '.join(words)}\n".encode())
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
        if os.fstat(file.fileno()).st_size > _LONGEST:
            _put_away(path, file)


def _put_away(path: str, file: Fd) -> None:
    with contextlib.suppress(BlockingIOError, FileNotFoundError):
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.stat(path), os.fstat(file.fileno())):
            os.rename(path, f"{path}.1")


def read(
    directory: str, *, since: float | None = None, until: float | None = None, follow: bool = True
) -> Iterator[Event]:
    """Events from ``since`` on (seconds since 1970; ``None``: from now on) to ``until``, oldest first.

    With ``follow`` those to come, too, until ``until``.
    """
    begin = time.time() if since is None else since
    file = None
    try:
        if since is not None:
            with contextlib.suppress(FileNotFoundError), open(f"{directory}/{_NAME}.1", "rb") as older:
                yield from _select(older, begin, until)
        file = _open(directory)
        if file is not None and since is None:
            file.seek(0, os.SEEK_END)
        while True:
            if file is not None:
                yield from _select(file, begin, until)
            if not follow or (until is not None and time.time() > until):
                return
            if file is None or _was_put_away(directory, file):
                if file is not None:
                    yield from _select(file, begin, until)
                    file.close()
                file = _open(directory)
                if file is not None:
                    continue
            time.sleep(_PAUSE)
    finally:
        if file is not None:
            file.close()


def last_code(directory: str, id_: str) -> int | None:
    """The exit code of a container's last end, as far as the events reach back; also of one that was removed."""
    codes = [
        int(each.attributes["exit_code"])
        for each in read(directory, since=0, follow=False)
        if each.id == id_ and each.action == "die"
    ]
    return codes[-1] if codes else None


def _open(directory: str) -> Any:
    try:
        return open(f"{directory}/{_NAME}", "rb")
    except FileNotFoundError:
        return None


def _was_put_away(directory: str, file: Any) -> bool:
    try:
        return not os.path.samestat(os.stat(f"{directory}/{_NAME}"), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _select(file: Any, since: float, until: float | None) -> Iterator[Event]:
    while line := file.readline():
        if not line.endswith(b"\n"):  # being written
            file.seek(-len(line), os.SEEK_CUR)
            return
        words = line.decode("utf-8", "replace").split()
        if len(words) < 3 or not words[0].isdigit():
            continue
        when = int(words[0]) / 1e9
        if when < since or (until is not None and when > until):
            continue
        pairs = (word.partition("=") for word in words[3:])
        attributes = {name: unquote(value) for name, _, value in pairs}
        yield Event(time=when, id=words[1], action=words[2], attributes=attributes)
