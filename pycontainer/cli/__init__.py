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


def _drop_output() -> None:
    """Nobody reads it: what is left is not written at the end of the process, either."""
    import os

    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
