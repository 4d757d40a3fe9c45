"""The way from a namespace apart to the host's networks: pasta(1), or slirp4netns(1), whichever is installed.

Both make a tap device in the namespace and do on the host, with sockets of an ordinary program, what packets on that
ask for.  Our options: no port of the host leads in, and no address leads to the host's loopback.
"""

from __future__ import annotations

import ipaddress
import os
import time

from pycontainer.errors import NotSupported
from pycontainer.kernel.leash import spawn_leashed
from pycontainer.kernel.process import Process
from pycontainer.kernel.spawn import Spawn
from pycontainer.network import address, link
from pycontainer.network.netlink import ROUTE, Netlink

_TUN = "/dev/net/tun"
#: The tap's addresses, and who is behind it, in networks that slirp4netns takes.  Only the default route leads there, so
#: that a network of a user's may be any, these among them.
_CIDR = "192.0.0.0/24"
_OWN = {4: "192.0.0.100", 6: "fd00::100"}
_GATEWAYS = {4: "192.0.0.2", 6: "fd00::2"}
_FOLDERS = "/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin"
#: How long it may take to make its tap, in seconds.
_PATIENCE = 10.0
_PAUSE = 0.0005


def pasta(path: str, pid: int, tap: str, versions: set[int]) -> list[str]:
    """The command of pasta."""
    words = [path, "--foreground", "--quiet", "--no-map-gw", "--ns-ifname", tap]
    words += "--no-dhcp --no-dhcpv6 --no-ra -t none -u none -T none -U none".split()
    for version in sorted(versions):
        words += ["-a", _OWN[version], "-g", _GATEWAYS[version], *(["-n", "24"] if version == 4 else [])]
    if len(versions) == 1:
        words.append(f"-{min(versions)}")
    return [*words, str(pid)]


def slirp4netns(path: str, pid: int, tap: str, versions: set[int]) -> list[str]:
    """The command of slirp4netns."""
    words = [path, "--mtu=65520", "--disable-host-loopback", "--disable-dns", f"--cidr={_CIDR}"]
    return [*words, *(["--enable-ipv6"] if 6 in versions else []), "--enable-sandbox", str(pid), tap]


_PROGRAMS = {"pasta": pasta, "slirp4netns": slirp4netns}


def find() -> tuple[str, str]:
    """Name and path of the program. Raises :class:`NotSupported` when neither is installed, or can do its work."""
    folders = [*os.environ.get("PATH", "").split(":"), *_FOLDERS]
    places = [(name, f"{folder}/{name}") for name in _PROGRAMS for folder in folders if os.path.isabs(folder)]
    found = next((each for each in places if os.access(each[1], os.X_OK)), None)
    if found is None:
        raise NotSupported(
            "containers of an ordinary user reach the outside by pasta or slirp4netns, and neither is installed",
            "apt install passt, or make the network with internal=True",
        )
    if not os.access(_TUN, os.R_OK | os.W_OK):
        raise NotSupported(
            f"containers of an ordinary user reach the outside by {_TUN}, which this user may not open",
            f"modprobe tun; chmod 666 {_TUN}; or make the network with internal=True",
        )
    return found


class WayOut:
    """The program of this process, for the namespace in which the process ``pid`` is.

    Others who share the namespace have theirs; when one ends, what is new goes by another's.
    Not thread-safe; the constructor touches nothing.
    """

    def __init__(self, pid: int, table: int = address.MAIN) -> None:
        """Its default routes are in ``table``."""
        self._pid = pid
        self._table = table
        self._program: Process | None = None

    def ensure(self, route: Netlink) -> None:
        """Start it where it does not run; ``route`` is a conversation in the namespace.

        Where the host itself has no default route there is no outside, and nothing is started.
        Raises :class:`NotSupported` when no program is installed, or it does not do its work.
        """
        if self._program is not None and self._program.poll() is None:
            return
        self.close()
        name, path = find()
        with Netlink(ROUTE) as host:
            versions: set[int] = {
                each.target.version
                for each in address.routes(host)
                if each.is_default and each.link is not None
            }
        if not versions:
            return
        try:
            self._start(name, path, versions, route)
        except BaseException:
            self.close()
            raise

    def _start(self, name: str, path: str, versions: set[int], route: Netlink) -> None:
        tap = f"out{self._pid}"
        words = [os.fsencode(word) for word in _PROGRAMS[name](path, self._pid, tap, versions)]
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        said = os.memfd_create("said", os.MFD_CLOEXEC)
        try:
            spawn = Spawn(
                argv=tuple(words),
                candidates=(os.fsencode(path),),
                env=(b"PATH=/usr/bin:/bin",),
                fds=(null, said),
                stdio=((0, 0), (1, 1), (1, 2)),
                workdir=b"/",
            )
            self._program = Process.adopt(*spawn_leashed(spawn))
            made = _wait(self._program, route, tap)
            if made is None:
                text = os.pread(said, 4000, 0).decode(errors="replace").strip()
                raise NotSupported(
                    f"{name} did not connect the containers with the outside: {text}", f"{path} --help"
                )
        finally:
            os.close(null)
            os.close(said)
        messages, default = [link.bring_up(made.index, tap)], address.add_default_route
        for version in sorted(versions):
            messages.append(address.add_address(made.index, ipaddress.ip_interface(_OWN[version])))
            gateway = ipaddress.ip_address(_GATEWAYS[version])
            messages.append(default(made.index, gateway, metric=self._pid, on_link=True, table=self._table))
        route.send(messages)

    @property
    def pidfd(self) -> int:
        """Readable once it has ended; -1: there is none."""
        return -1 if self._program is None else self._program.fileno()

    def close(self) -> None:
        """End it. Idempotent."""
        program, self._program = self._program, None
        if program is not None:
            program.kill()
            program.wait()
            program.close()


def _wait(program: Process, route: Netlink, tap: str) -> link.Link | None:
    """The tap, once it is there; ``None`` when the program ended or waits too long."""
    deadline = time.monotonic() + _PATIENCE
    while program.poll() is None and time.monotonic() < deadline:
        made = link.find(route, tap)
        if made is not None:
            return made
        time.sleep(_PAUSE)
    return None
