"""The host's ends of a program's streams as file objects, opened as ``subprocess`` opens them."""

from __future__ import annotations

import io
from typing import IO, Any

from pycontainer.kernel.fd import Fd


def open_stream(fd: Fd, mode: str, bufsize: int, encoding: str | None, errors: str | None) -> IO[Any]:
    """A file object over a pipe; it owns the descriptor."""
    # 1 is line buffering, which only the text layer above has (as in subprocess).
    return as_file(open(fd.detach(), mode, -1 if bufsize == 1 else bufsize), bufsize, encoding, errors)


def as_file(file: Any, bufsize: int, encoding: str | None, errors: str | None) -> IO[Any]:
    """Text over a binary file when an encoding is given; else the file itself."""
    if encoding is None:
        return file  # type: ignore[no-any-return]  # one of io's binary classes, by mode and bufsize
    return io.TextIOWrapper(
        file, encoding=encoding, errors=errors, write_through=True, line_buffering=bufsize == 1
    )
