"""The way from a namespace apart to the host's networks: pasta(1), or slirp4netns(1), whichever is installed.

Both make a tap device in the namespace and do on the host, with sockets of an ordinary program, what packets on that
ask for.  Our options: no port of the host leads in, and no address leads to the host's loopback.
"""

from __future__ import annotations

import ipaddress
import os
import signal
import time
from collections.abc import Sequence

from pycontainer.errors import KernelError, NotSupported
from pycontainer.kernel import holder
from pycontainer.kernel.leash import spawn_leashed
from pycontainer.kernel.process import Process
from pycontainer.kernel.spawn import Spawn
from pycontainer.network import address, link
from pycontainer.network.netlink import ROUTE, Netlink

_TAP, _TUN = "outside", "/dev/net/tun"
#: In 192.0.0.0/24, which is nobody's (RFC 6890), so that no network of a user's can be hidden behind it.
_CIDR, _OWN, _GATEWAY = "192.0.0.0/24", "192.0.0.100", "192.0.0.2"
_OWN6, _GATEWAY6 = "fd70:7963:6f6e:7461::100", "fd70:7963:6f6e:7461::2"
_SLIRP_OWN6, _SLIRP_GATEWAY6 = "fd00::100", "fd00::2"
_FOLDERS = "/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin"
#: How long both families are waited for, and how long any, in seconds.
_PATIENCE, _END = 2.0, 10.0
_PAUSE = 0.001


def pasta(path: str, pid: int, versions: set[int]) -> list[str]:
    """The command of pasta."""
    words = [path, "--foreground", "--quiet", "--config-net", "--no-map-gw", "--ns-ifname", _TAP]
    words += "--no-dhcp --no-dhcpv6 --no-ra -t none -u none -T none -U none".split()
    if 4 in versions:
        words += ["-a", _OWN, "-n", "24", "-g", _GATEWAY]
    if 6 in versions:
        words += ["-a", _OWN6, "-g", _GATEWAY6]
    if len(versions) == 1:
        words.append(f"-{min(versions)}")
    return [*words, str(pid)]


def slirp4netns(path: str, pid: int, versions: set[int]) -> list[str]:
    """The command of slirp4netns."""
    words = [
        path,
        "--configure",
        "--mtu=65520",
        "--disable-host-loopback",
        "--disable-dns",
        f"--cidr={_CIDR}",
    ]
    return [*words, *(["--enable-ipv6"] if 6 in versions else []), "--enable-sandbox", str(pid), _TAP]


_PROGRAMS = {"pasta": pasta, "slirp4netns": slirp4netns}


def find() -> tuple[str, str]:
    """Name and path of the program. Raises :class:`NotSupported` when neither is installed, or can do its work."""
    if not os.access(_TUN, os.R_OK | os.W_OK):
        raise NotSupported(
            f"containers of an ordinary user reach the outside by {_TUN}, which this user may not open",
            f"modprobe tun; chmod 666 {_TUN}; or make the network with internal=True",
        )
    folders = [*os.environ.get("PATH", "").split(":"), *_FOLDERS]
    for name in _PROGRAMS:
        for folder in folders:
            if os.path.isabs(folder) and os.access(f"{folder}/{name}", os.X_OK):
                return name, f"{folder}/{name}"
    raise NotSupported(
        "containers of an ordinary user reach the outside by pasta or slirp4netns, and neither is installed",
        "apt install passt, or make the network with internal=True",
    )


class WayOut:
    """The program and the process by which it finds the namespace. Not thread-safe; the constructor touches nothing."""

    def __init__(self, joins: Sequence[tuple[int, int]]) -> None:
        self._joins = joins
        self._processes: list[Process] = []

    def ensure(self, route: Netlink) -> None:
        """Start it where it does not run; ``route`` is a conversation in the namespace.

        Where the host itself has no default route there is no outside, and nothing is started.
        Raises :class:`NotSupported` when no program is installed, or it does not do its work.
        """
        if self._processes and all(each.poll() is None for each in self._processes):
            return
        self.close()
        name, path = find()
        with Netlink(ROUTE) as host:
            versions = _default_versions(host)
        if not versions:
            return
        try:
            self._start(name, path, versions, route)
        except BaseException:
            self.close()
            raise

    def _start(self, name: str, path: str, versions: set[int], route: Netlink) -> None:
        stay = holder.stay(self._joins)
        self._processes.append(stay)
        words = [os.fsencode(word) for word in _PROGRAMS[name](path, stay.pid, versions)]
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
            program = Process.adopt(*spawn_leashed(spawn))
            self._processes.append(program)
            if not _wait(program, route, versions, name):
                text = os.pread(said, 4000, 0).decode(errors="replace").strip()
                raise NotSupported(
                    f"{name} did not connect the containers with the outside: {text}", f"{path} --help"
                )
        finally:
            os.close(null)
            os.close(said)

    def close(self) -> None:
        """End it. Idempotent."""
        while self._processes:
            process = self._processes.pop()
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.close()


def _default_versions(route: Netlink) -> set[int]:
    return {
        each.target.version for each in address.routes(route) if each.is_default and each.link is not None
    }


def _wait(program: Process, route: Netlink, versions: set[int], name: str) -> bool:
    """Wait until it has made its default routes."""
    start = time.monotonic()
    configured = name != "slirp4netns" or 6 not in versions
    while True:
        found = _default_versions(route)
        if found and not configured:
            _configure6(route)
            configured = True
        if found >= versions:
            return True
        waited = time.monotonic() - start
        if program.poll() is not None or waited > (_PATIENCE if found else _END):
            return bool(found) and program.poll() is None
        time.sleep(_PAUSE)


def _configure6(route: Netlink) -> None:
    """What slirp4netns would have the kernel learn from its advertisements, which a router does not hear."""
    made = link.find(route, _TAP)
    if made is None:
        raise KernelError(19, f"find link {_TAP}")
    interface = ipaddress.ip_interface(f"{_SLIRP_OWN6}/64")
    gateway = ipaddress.ip_address(_SLIRP_GATEWAY6)
    route.send([address.add_address(made.index, interface), address.add_default_route(made.index, gateway)])
