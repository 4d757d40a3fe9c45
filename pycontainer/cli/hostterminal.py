"""The user's own terminal: its size, and raw mode for as long as a program inside has it."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
import tty
from contextlib import suppress
from types import TracebackType
from typing import Any

_WINSIZE = struct.Struct("HHHH")


def window(fd: int) -> tuple[int, int] | None:
    """Rows and columns; ``None`` for what is no terminal, or has no size."""
    try:
        rows, columns, _, _ = _WINSIZE.unpack(fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(_WINSIZE.size)))
    except OSError:
        return None
    return (rows, columns) if rows and columns else None


class Raw:
    """Every key goes to the program, Ctrl-C and Ctrl-Z too; the terminal is as before at the end, whatever ends it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._before: list[Any] | None = None

    def __enter__(self) -> Raw:
        if os.isatty(self._fd):
            self._before = termios.tcgetattr(self._fd)
            self.again()
        return self

    def again(self) -> None:
        """Once more raw, after a shell has had the terminal in between."""
        if self._before is not None:
            with suppress(termios.error):
                tty.setraw(self._fd, termios.TCSADRAIN)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            with suppress(termios.error):  # it has hung up
                termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)
            self._before = None
