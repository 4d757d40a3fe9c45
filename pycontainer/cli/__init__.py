"""The command line, ``pycontainer COMMAND``: Docker's verbs, options and habits. It translates, and does nothing else.

Each command is in a module that is loaded when it is called: what is not asked for costs no time.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]

#: As a shell tells of a program that was ended by SIGINT and by SIGPIPE.
_INTERRUPTED, _NOBODY_READS = 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit status. ``argv`` defaults to the arguments of the process."""
    _have_streams()
    from pycontainer.cli.dispatch import dispatch

    try:
        status = dispatch(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return _NOBODY_READS
    except OSError as error:
        from pycontainer.cli.failure import tell

        _drop_output()
        tell(error)
        return 1


def _have_streams() -> None:
    """Who starts this with a stream closed must not have a file opened in its place, and written to."""
    import os

    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(fd)
        except OSError:
            # The lowest number that is free: this one.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(fd, "w" if fd else "r", encoding="utf-8", closefd=False))  # noqa: SIM115  for the whole process


def _drop_output() -> None:
    """Nobody reads it: what is left is not written at the end of the process, either."""
    import os

    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
