"""Settings of the host's kernel that routing between networks and the outside needs, and their way back.

IPv4 is forwarded from one link when that link's own setting says so: it is set on our bridges and on the uplinks, and
never for all, so that the host becomes no router for others.  What is changed is noted first and put back when the
last network of the engine that needed it is removed.
"""

from __future__ import annotations

import os
import sqlite3

from pycontainer.errors import KernelError, NotSupported
from pycontainer.network import address, firewall, link
from pycontainer.network.netlink import Netlink
from pycontainer.network.network import Definition
from pycontainer.network.site import Site

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


def of_link(site: Site, name: str, *, ipv6: bool) -> None:
    """Have a link of ours forward; the settings go with it. In a namespace apart every link has them from the start."""
    if ipv6 and not os.path.isdir("/proc/sys/net/ipv6"):
        raise NotSupported("this kernel has no IPv6", "boot without ipv6.disable=1, or leave ipv6 out")
    if site.is_apart:
        return
    folder = f"{_IPV6}/{name}"
    if os.path.isdir(folder):
        # What containers advertise is not for the host (CVE-2020-13401).
        for setting, value in (
            {"accept_ra": "0", "accept_dad": "0"}.items() if ipv6 else [("disable_ipv6", "1")]
        ):
            write(f"{folder}/{setting}", value)
    # Published ports on 127.0.0.1 come back over it (see publish).
    write(f"{_IPV4}/{name}/route_localnet", "1")
    write(f"{_IPV4}/{name}/forwarding", "1")


def of_uplinks(site: Site, network: Definition, route: Netlink) -> None:
    """Have the way out and back forwarded, before the network's first link is there."""
    if site.is_apart:
        return
    if network.internal:
        return
    uplinks = {each.link for each in address.routes(route) if each.is_default}
    names = [each.name for each in link.every(route) if each.index in uplinks]
    wanted = {f"{_IPV4}/{name}/forwarding": "1" for name in names}
    if network.segment(6) is not None:
        wanted |= _of_ipv6()
    changes = {path: before for path, value in wanted.items() if (before := read(path)) not in (None, value)}
    known = {path for (path,) in site.ledger.read("SELECT path FROM settings")}
    guarded = [name for name in names if f"{_IPV4}/{name}/forwarding" in changes.keys() | known]
    # First the note, then the guard, then the change: whenever this ends, all can be put back and nothing is open.
    if changes:
        with site.ledger.transaction() as record:
            record.executemany("INSERT OR IGNORE INTO settings (path, before) VALUES (?, ?)", changes.items())
    firewall.guard_uplinks(site, guarded)
    for path in changes:
        if os.path.exists(path):  # a link that went meanwhile needs nothing
            write(path, wanted[path])


def _of_ipv6() -> dict[str, str]:
    """IPv6 is forwarded everywhere or nowhere; links that learn their routes from routers must go on doing so."""
    if read(f"{_IPV6}/all/forwarding") != "0":
        return {}
    names = [
        name
        for name in os.listdir(_IPV6)
        if name not in {"all", "default", "lo"} and not name.startswith("pc")
    ]
    heard = {f"{_IPV6}/{name}/accept_ra": "2" for name in names if read(f"{_IPV6}/{name}/accept_ra") == "1"}
    return {**heard, f"{_IPV6}/all/forwarding": "1"}


def disable(site: Site, record: sqlite3.Connection) -> None:
    """Put everything back if no network of the engine is left; in the transaction that removes the last one."""
    if not record.execute("SELECT 1 FROM networks").fetchone():
        restore(site, record)


def restore(site: Site, record: sqlite3.Connection) -> None:
    """Put everything back, in a transaction in which nobody can come to need it."""
    settings = record.execute("SELECT path, before FROM settings ORDER BY rowid DESC").fetchall()
    for path, before in settings:
        if os.path.exists(path):
            write(path, before)
    if settings:
        firewall.release_uplinks(
            site, [path.split("/")[-2] for path, _ in settings if path.startswith(_IPV4)]
        )
    record.execute("DELETE FROM settings")
