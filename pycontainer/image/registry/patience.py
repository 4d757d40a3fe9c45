"""Patience: how often and how long after a failure something is tried again."""

from __future__ import annotations

import email.utils
import random
import re
import threading
import time

import attrs

from pycontainer.errors import RateLimited, RegistryDenied, RegistryError, StateError

#: As many bytes without a failure count as a fresh start.
_PROGRESS = 1 << 20


@attrs.frozen(kw_only=True)
class Patience:
    """How failures of the way to a registry are met: broken connections, time-outs, statuses 408, 429 and 5xx.

    ``attempts`` is how often something is tried in all before it fails, ``first`` the longest pause before
    the second, in seconds; each further one may be twice as long, up to ``longest``.  How much of it is
    waited is random, so that many clients of one registry do not come back together.  ``Retry-After`` is
    honoured up to ``asked`` seconds; a registry that wants more ends the matter.  A host that has never
    answered is tried ``unknown`` times.

    >>> Patience(attempts=1).attempts
    1
    """

    attempts: int = 6
    unknown: int = 3
    first: float = 0.5
    longest: float = 20.0
    asked: float = 60.0


class Broken(Exception):
    """Something failed on the way; ``again`` says whether to try again can help.  Never leaves this package."""

    def __init__(
        self,
        what: str,
        *,
        again: bool = True,
        status: int | None = None,
        code: str | None = None,
        after: float | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.again = again
        self.status = status
        self.code = code
        self.after = after

    def final(self, host: str, tried: int = 1) -> RegistryError:
        """The error to raise when nothing more is tried."""
        what = self.what if tried < 2 else f"{self.what} (tried {tried} times)"
        if self.status == 429:
            return RateLimited(host, what, status=self.status, code=self.code)
        kind = RegistryDenied if self.status in {401, 403} else RegistryError
        return kind(host, what, status=self.status, code=self.code)


class Attempts:
    """The attempts at one thing, by one thread."""

    def __init__(self, patience: Patience, host: str, closed: threading.Event) -> None:
        self._patience = patience
        self._host = host
        self._closed = closed
        self._failed = 0
        self._since = 0

    def failed(self, error: Broken, *, known: bool = True) -> None:
        """Note a failure, and wait until the next attempt.

        Raises the error as a :class:`RegistryError` when there is none, :class:`StateError` when the
        registry was closed meanwhile.
        """
        patience = self._patience
        self._failed += 1
        self._since = 0
        most = patience.attempts if known else min(patience.attempts, patience.unknown)
        if not error.again or self._failed >= most or (error.after or 0) > patience.asked:
            raise error.final(self._host, self._failed) from error
        pause = min(patience.longest, patience.first * 2 ** (self._failed - 1))
        # The half of it at least: a server that starts again needs time.
        pause *= random.uniform(0.5, 1.0)
        if self._closed.wait(max(pause, error.after or 0.0)):
            raise StateError(f"the client of {self._host}", "closed", "try again") from error

    def progressed(self, count: int) -> None:
        """Note bytes that arrived: a connection that breaks once in a while is no failure of the whole."""
        self._since += count
        if self._since >= _PROGRESS:
            self._failed = 0


def retry_after(text: str | None) -> float | None:
    """Read the header of this name: how many seconds to wait (RFC 9110, 10.2.3); None for what is neither form.

    >>> retry_after("120"), retry_after("soon")
    (120.0, None)
    """
    if not text:
        return None
    if re.fullmatch(r"[0-9]{1,9}", text.strip()):
        return float(text)
    try:
        moment = email.utils.parsedate_to_datetime(text[:100])
        return max(0.0, moment.timestamp() - time.time())
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
