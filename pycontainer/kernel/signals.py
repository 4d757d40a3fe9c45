"""Names and numbers of signals, as users write them. Sends none.

signal(7); Docker's spellings (`docker kill --signal`).
"""

from __future__ import annotations

import signal as signals

from pycontainer.errors import InvalidArgument


def signal_number(signal: int | str) -> int:
    """Return the number of a signal given as ``9``, ``"9"``, ``"KILL"``, ``"SIGKILL"`` or ``"RTMIN+3"``.

    Names are matched in any case, as Docker does. Raises ``InvalidArgument`` for what is no signal.
    """
    number = 0
    if isinstance(signal, str):
        number = _parse(signal.upper())
    elif isinstance(signal, int) and not isinstance(signal, bool):
        number = signal
    if not 0 < number < signals.NSIG:
        raise InvalidArgument("signal", signal, "no number or name of a signal such as 9, 'TERM', 'SIGTERM'")
    return int(number)


def signal_name(number: int) -> str:
    """Return the name of a signal, such as ``"SIGKILL"``; ``"signal 35"`` for one that has none."""
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _parse(name: str) -> int:
    """Return the number, or 0 for what is no signal."""
    if _is_number(name):
        return int(name)
    base, sign, offset = name.removeprefix("SIG").partition("-" if "RTMAX" in name else "+")
    member = signals.Signals.__members__.get(f"SIG{base}", 0)
    if not sign:
        return member
    if base not in {"RTMIN", "RTMAX"} or not _is_number(offset):
        return 0
    number = member + int(sign + offset)
    return number if number >= signals.SIGRTMIN else 0


def _is_number(text: str) -> bool:
    # At most three digits: what is longer is no signal, and int() of a long one is slow.
    return text.isascii() and text.isdigit() and len(text) <= 3
