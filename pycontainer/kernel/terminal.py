"""The master side of a pseudo-terminal: the host's end of a container's tty.

Owns the master's descriptor. The pair is made elsewhere, on the container's own
devpts, and only the master comes out; making it the controlling terminal of the
program is the spawn's work. pty(7), tty_ioctl(4).
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
import struct
import termios
import warnings
from typing import TYPE_CHECKING, Any, NoReturn

from pycontainer.errors import InvalidArgument, KernelError
from pycontainer.kernel.fd import Fd

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

# struct winsize: rows, columns, and two pixel sizes that nobody fills (TIOCSWINSZ(2const)).
_WINSIZE = struct.Struct("HHHH")


class Terminal(io.RawIOBase):
    """A container's terminal as a raw, unbuffered binary file, open for both directions.

    All of ``io.RawIOBase`` works: ``read(n)``, ``readinto``, ``write`` (which may
    write less than it was given), ``with``, and wrapping in ``io.BufferedReader``.
    Reading returns ``b""`` once the last program has closed its side: the kernel
    says EIO there (pty(7)), which is no error. Closing is idempotent, and when the
    last duplicate is closed the kernel hangs up: SIGHUP to the session inside.

    There is no half-close: a program reading from its terminal sees its end of
    input when ``b"\\x04"`` (Ctrl-D) is written at the start of a line.

    >>> with Terminal.adopt(master) as tty:          # doctest: +SKIP
    ...     tty.resize(rows=50, cols=132)
    ...     tty.write(b"ls\\n")
    """

    def __init__(self, fd: Fd) -> None:
        self._fd = fd

    @classmethod
    def adopt(cls, fd: Fd | int) -> Terminal:
        """Take ownership of the descriptor of a pty master.

        Raises ``KernelError`` (ENOTTY) when it is none; the descriptor stays the caller's then.
        """
        number = fd if isinstance(fd, int) else fd.fileno()
        _get_size(number)
        return cls(Fd(number) if isinstance(fd, int) else fd)

    @property
    def size(self) -> tuple[int, int]:
        """The window's size as ``(rows, columns)``; (0, 0) when nobody has set it."""
        return _get_size(self.fileno())

    def resize(self, rows: int, cols: int) -> None:
        """Set the window's size; on a change the kernel sends SIGWINCH to the foreground program.

        Raises ``InvalidArgument`` for a size outside 0..65535 and ``KernelError`` when the terminal refuses.
        """
        for name, value in (("rows", rows), ("cols", cols)):
            if not 0 <= value <= 0xFFFF:
                raise InvalidArgument(name, value, "a terminal has 0 to 65535")
        try:
            fcntl.ioctl(self.fileno(), termios.TIOCSWINSZ, _WINSIZE.pack(rows, cols, 0, 0))
        except OSError as error:
            raise KernelError(error.errno or 0, "set the size of the terminal") from None

    def dup(self) -> Terminal:
        """Return an owner of a second descriptor of the same terminal."""
        return Terminal(self._fd.dup())

    def fileno(self) -> int:
        """Return the master's descriptor, to poll; ``ValueError`` when closed."""
        return self._fd.fileno()

    def readable(self) -> bool:
        """Return True: what the program writes comes out here."""
        return True

    def writable(self) -> bool:
        """Return True: what is written here the program reads."""
        return True

    def isatty(self) -> bool:
        """Return True: tty_ioctl(4) works on the master."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        """Read into ``buffer``; 0 at the end, ``None`` when non-blocking and nothing is there."""
        try:
            return os.readv(self.fileno(), [buffer])
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno == errno.EIO:
                return 0
            raise

    def write(self, data: ReadableBuffer, /) -> int | None:
        """Write what the terminal takes now; the count, or ``None`` when non-blocking and it is full."""
        try:
            return os.write(self.fileno(), data)
        except BlockingIOError:
            return None

    def close(self) -> None:
        """Close the master; idempotent."""
        super().close()
        self._fd.close()

    def __del__(self, _warn: Any = warnings.warn) -> None:
        fd = getattr(self, "_fd", None)
        if fd is not None and not fd.closed:
            _warn(f"unclosed {self!r}", ResourceWarning, source=self)
            self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("cannot copy or pickle 'Terminal': it owns its descriptor")

    def __repr__(self) -> str:
        return f"<Terminal {'closed' if self._fd.closed else self._fd.fileno()}>"


def _get_size(fd: int) -> tuple[int, int]:
    try:
        packed = fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(_WINSIZE.size))
    except OSError as error:
        raise KernelError(error.errno or 0, "get the size of the terminal") from None
    rows, columns, _, _ = _WINSIZE.unpack(packed)
    return rows, columns
