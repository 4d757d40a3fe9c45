"""The three standard descriptors of a command to be, and the host's ends of those that are pipes.

Owns the descriptors that it opened from ``create`` until they are closed or taken over.
Moving bytes through them is the work of ``streams``, or of a process' file objects.
"""

from __future__ import annotations

import os
from typing import Protocol

from pycontainer.errors import InvalidArgument
from pycontainer.kernel.fd import Fd

# subprocess' own values, so that its names and ours can be mixed; importing it costs milliseconds.
PIPE = -1
STDOUT = -2
DEVNULL = -3

# A container's users have ids that the host's pipe does not know, and programs open /dev/stderr by name.
# Only a process that may inspect a holder of the pipe can get at it there at all (proc_pid_fd(5)).
_PIPE_MODE = 0o666


class HasFileno(Protocol):
    """An open file: anything with ``fileno()``."""

    def fileno(self) -> int:
        """Return the descriptor."""
        ...


def check_stream(name: str, what: object) -> None:
    """Raise ``InvalidArgument`` for what cannot be a stream: a path, ``STDOUT`` for stdin."""
    special = (PIPE, STDOUT, DEVNULL) if name == "stderr" else (PIPE, DEVNULL)
    if isinstance(what, int) and not isinstance(what, bool):
        good = what >= 0 or what in special
    else:
        good = what is None or hasattr(what, "fileno")
    if not good:
        accepted = "PIPE, DEVNULL, STDOUT" if name == "stderr" else "PIPE, DEVNULL"
        raise InvalidArgument(name, what, f"{accepted}, a file descriptor or an open file is accepted")


def refuse_beside_terminal(**streams: tuple[object, ...]) -> None:
    """Raise ``InvalidArgument`` for a stream of a program on a terminal that has another value than it has there.

    Each is what was given, then the values that mean no more than the terminal.
    """
    for name, (given, *harmless) in streams.items():
        if given not in harmless:
            way_out = "with tty=True the terminal is stdin, stdout and stderr in one: leave it out, or say tty=False"
            raise InvalidArgument(name, given, way_out)


class Stdio:
    """Descriptors for a command's stdin, stdout and stderr.

    ``child`` holds the three numbers that the program gets as 0, 1 and 2. ``stdin``, ``stdout``,
    ``stderr`` are the host's ends, blocking, or ``None`` where there is no pipe. Everything opened
    here is close-on-exec. Descriptors and files that were passed in stay the caller's.

    >>> stdio = Stdio.create()                        # stdin from /dev/null, two pipes
    >>> # spawn a program on stdio.child ...
    >>> stdio.close_child()                           # now EOF arrives when the program ends
    >>> stdio.close()
    """

    __slots__ = ("_childs", "child", "stderr", "stdin", "stdout")

    def __init__(self) -> None:
        self.child = (-1, -1, -1)
        self.stdin: Fd | None = None
        self.stdout: Fd | None = None
        self.stderr: Fd | None = None
        self._childs: list[int] = []

    @classmethod
    def create(
        cls,
        *,
        stdin: int | HasFileno | None = None,
        stdout: int | HasFileno | None = PIPE,
        stderr: int | HasFileno | None = PIPE,
    ) -> Stdio:
        """Open what the arguments ask for: ``PIPE``, ``DEVNULL``, a descriptor or an open file.

        ``stderr`` may be ``STDOUT`` too. ``None`` is ``DEVNULL``: nothing of the host is inherited
        unasked. Raises ``InvalidArgument`` for another number, and ``OSError`` (EMFILE) with nothing
        left open.
        """
        self = cls()
        try:
            read = self._source(stdin)
            write = self._sink("stdout", stdout)
            self.child = (read, write, write if stderr == STDOUT else self._sink("stderr", stderr))
        except BaseException:
            self.close()
            raise
        return self

    def _source(self, what: int | HasFileno | None) -> int:
        if what != PIPE:
            return self._given("stdin", what)
        read, write = self._pipe()
        self._childs.append(read)
        self.stdin = Fd(write)
        return read

    def _sink(self, name: str, what: int | HasFileno | None) -> int:
        if what != PIPE:
            return self._given(name, what)
        read, write = self._pipe()
        self._childs.append(write)
        if name == "stdout":
            self.stdout = Fd(read)
        else:
            self.stderr = Fd(read)
        return write

    def _pipe(self) -> tuple[int, int]:
        read, write = os.pipe2(os.O_CLOEXEC)
        os.fchmod(read, _PIPE_MODE)
        return read, write

    def _given(self, name: str, what: int | HasFileno | None) -> int:
        if what is None or what == DEVNULL:
            fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            self._childs.append(fd)
            return fd
        check_stream(name, what)
        return what if isinstance(what, int) else what.fileno()

    def close_child(self) -> None:
        """Close the program's ends, once it has its own: until then no end of file can come. Idempotent."""
        while self._childs:
            os.close(self._childs.pop())

    def close(self) -> None:
        """Close the program's ends and those of the host's that nobody has taken over. Idempotent."""
        self.close_child()
        for fd in (self.stdin, self.stdout, self.stderr):
            if fd is not None:
                fd.close()
