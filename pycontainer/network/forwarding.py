"""Settings of the host's kernel that routing between networks and the outside needs, and their way back.

IPv4 is forwarded from one link when that link's own setting says so: it is set on our bridges and on the uplinks, and
never for all, so that the host becomes no router for others.  What is changed is noted first and put back when the
last network of the engine that needed it is removed.
"""

from __future__ import annotations

import os
import sqlite3

from pycontainer.errors import KernelError, NotSupported
from pycontainer.network import address, firewall, link, others
from pycontainer.network.ledger import Ledger
from pycontainer.network.netlink import Netlink
from pycontainer.network.network import Definition

_IPV4 = "/proc/sys/net/ipv4/conf"
_IPV6 = "/proc/sys/net/ipv6/conf"


def write(path: str, value: str) -> None:
    """Write a setting of the kernel. Raises :class:`NotSupported` where it may not be written."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)
    except OSError as error:
        name = path.removeprefix("/proc/sys/").replace("/", ".")
        if isinstance(error, (PermissionError,)) or error.errno == 30:
            raise NotSupported(f"{name} cannot be set here", f"sysctl -w {name}={value}") from None
        raise KernelError(error.errno or 0, f"set {name} to {value}") from None


def read(path: str) -> str | None:
    """Its value, or ``None`` where there is none."""
    try:
        with open(path) as file:
            return file.read().strip()
    except FileNotFoundError:
        return None


def enable(
    record: sqlite3.Connection, network: Definition, route: Netlink, *, name: str | None = None
) -> None:
    """Have the kernel forward what a network needs, in a transaction of the ledger; ``name`` is its link."""
    # Published ports on 127.0.0.1 come back over the bridge (see firewall).
    link_name = name or network.link
    write(f"{_IPV4}/{link_name}/route_localnet", "1")
    write(f"{_IPV4}/{link_name}/forwarding", "1")
    others.make_way()
    if network.internal:
        return
    uplinks = {each.link for each in address.routes(route) if each.is_default}
    names = [each.name for each in link.every(route) if each.index in uplinks]
    opened = [name for name in names if _change(record, f"{_IPV4}/{name}/forwarding", "1")]
    firewall.guard_uplinks(opened)
    if network.segment(6) is not None:
        _forward_ipv6(record)


def _forward_ipv6(record: sqlite3.Connection) -> None:
    """IPv6 is forwarded everywhere or nowhere; links that learn their routes from routers must go on doing so."""
    if read(f"{_IPV6}/all/forwarding") != "0":
        return
    for name in os.listdir(_IPV6):
        if name not in {"all", "default", "lo"} and read(f"{_IPV6}/{name}/accept_ra") == "1":
            _change(record, f"{_IPV6}/{name}/accept_ra", "2")
    _change(record, f"{_IPV6}/all/forwarding", "1")


def _change(record: sqlite3.Connection, path: str, value: str) -> bool:
    """Note what a setting was and set it; whether that was a change, now or before."""
    before = read(path)
    known = record.execute("SELECT 1 FROM settings WHERE path = ?", (path,)).fetchone() is not None
    if before is None or before == value:
        return known
    record.execute("INSERT OR IGNORE INTO settings (path, before) VALUES (?, ?)", (path, before))
    write(path, value)
    return True


def disable(ledger: Ledger) -> None:
    """Put everything back once no network of the engine is left."""
    with ledger.transaction() as record:
        if record.execute("SELECT 1 FROM networks").fetchone():
            return
        for path, before in record.execute("SELECT path, before FROM settings").fetchall():
            if os.path.exists(path):
                write(path, before)
        record.execute("DELETE FROM settings")
