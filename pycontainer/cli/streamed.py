"""Archives that come from stdin or go to stdout, which a terminal neither has nor takes."""

from __future__ import annotations

import sys
from typing import IO

from pycontainer.errors import InvalidArgument


def source(given: str | None) -> str | IO[bytes]:
    """What ``--input`` names, or stdin. Raises :class:`InvalidArgument`."""
    if given is None and sys.stdin.isatty():
        raise InvalidArgument("input", "", "an archive is needed: say -i FILE, or redirect")
    return sys.stdin.buffer if given is None or given == "-" else given


def target(given: str | None) -> str | IO[bytes]:
    """What ``--output`` names, or stdout. Raises :class:`InvalidArgument`."""
    if given is None and sys.stdout.isatty():
        raise InvalidArgument("output", "", "an archive is nothing for a terminal: say -o FILE, or redirect")
    return sys.stdout.buffer if given is None else given
