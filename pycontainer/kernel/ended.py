"""Whether a process has ended, and how, as a value."""

from __future__ import annotations

import os
import select

import attrs

from pycontainer.kernel.native import Exit


@attrs.frozen(kw_only=True)
class Ended:
    """How a process ended and what it used, with the descendants that it had waited for itself.

    ``exit_code`` is Docker's: the program's own status, or 128 + ``signal``. Times
    are in seconds. ``max_rss`` is the largest resident set of one process of the
    tree, in bytes, as getrusage(2) has it, or ``None`` where that is unknown: the
    kernel hands a child that shared its parent's memory until ``exec`` the *parent's*
    peak as a start value, so only a larger figure is the program's own.
    """

    exit_code: int
    signal: int | None
    cpu_user: float
    cpu_system: float
    max_rss: int | None

    @classmethod
    def of(cls, found: Exit, *, host_peak: int) -> Ended:
        """From what the kernel told; ``host_peak`` is this process's own peak when it made the child."""
        exited = found.code == os.CLD_EXITED
        # The kernel's counters are approximate (per CPU), hence a margin; see Ended for the reason.
        margin = max(1 << 20, host_peak >> 4)
        return cls(
            exit_code=found.status if exited else 128 + found.status,
            signal=None if exited else found.status,
            cpu_user=found.cpu_user,
            cpu_system=found.cpu_system,
            max_rss=found.max_rss if found.max_rss > host_peak + margin else None,
        )


def has_ended(pidfd: int) -> bool:
    """Has the process of a pidfd ended?"""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(0))
