"""Which way out of a namespace apart is whose.

Each process that needs one has its own there, by the main table's default routes.  A detached container's is the
keeper's, whatever other ways there are: by a table of its own, which only packets from such containers ask, and which asks
the main table first for all that is near.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence

from pycontainer.errors import KernelError
from pycontainer.network import address
from pycontainer.network.address import Address
from pycontainer.network.netlink import Message, Netlink

#: The table of the keeper's default routes, and when it is asked: before main (32766).
KEEPERS = 100
_NEAR, _LED = 100, 200


def lead(route: Netlink, addresses: Sequence[Address]) -> None:
    """Have packets from these leave by the keeper's way. Idempotent. Raises :class:`KernelError`."""
    versions = {each.version for each in addresses}
    _each(route, [address.add_near_rule(each, _NEAR) for each in sorted(versions)], errno.EEXIST)
    _each(route, [address.add_rule(each, KEEPERS, _LED) for each in addresses], errno.EEXIST)


def forget(route: Netlink, addresses: Iterable[Address]) -> None:
    """Not any more. Idempotent."""
    _each(route, [address.delete_rule(each, KEEPERS, _LED) for each in addresses], errno.ENOENT)


def _each(route: Netlink, messages: Sequence[Message], expected: int) -> None:
    for error, message in route.try_all(messages):
        if error != expected:
            raise KernelError(error, message.what)
