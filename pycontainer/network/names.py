"""The files by which a container's programs find names: hosts, hostname and resolv.conf, as Docker writes them.

They are made in folders of the host process and mounted over the image's own, which are never opened.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache

from pycontainer.kernel.netns import RESOLVER_ADDRESS
from pycontainer.network.address import Address

#: Where they are in the container, by the file's name.
FILES = {"hosts": "/etc/hosts", "hostname": "/etc/hostname", "resolv.conf": "/etc/resolv.conf"}
_HOSTS = """127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""
_HOST_CONFIGURATION = "/etc/resolv.conf"
_KEPT = ("nameserver", "search", "domain", "options")


class Folders:
    """Folders for these files below a host process's own, used again by later containers. Thread-safe."""

    def __init__(self, above: str) -> None:
        self._above = above
        self._idle: list[str] = []
        self._count = iter(range(1 << 62))

    def take(self) -> str:
        """A folder that nobody uses."""
        with suppress(IndexError):
            return self._idle.pop()
        path = f"{self._above}/names-{next(self._count)}"
        os.mkdir(path, 0o755)
        return path

    def give_back(self, path: str) -> None:
        """The container that used it is gone."""
        self._idle.append(path)


def write(folder: str, name: str, text: str) -> None:
    """Write a file, in place: a container that has it mounted sees the new text."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(f"{folder}/{name}", flags, 0o644)
    try:
        status = os.fstat(fd)
        if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(fd, os.geteuid(), os.getegid())  # the last container's root may have given it away
        if status.st_mode & 0o7777 != 0o644:
            os.fchmod(fd, 0o644)
        data = text.encode()
        os.pwrite(fd, data, 0)
        # Not O_TRUNC: who empties a file first has ext4 write it to the disk at once (auto_da_alloc of ext4(5)).
        os.ftruncate(fd, len(data))
    finally:
        os.close(fd)


def hosts(own: Sequence[tuple[Address, str]], extra: Iterable[tuple[str, str]]) -> str:
    """The text of /etc/hosts: ``extra`` are names with addresses, ``own`` the container's addresses with its name."""
    lines = [f"{address}\t{name}\n" for name, address in extra]
    return "".join([_HOSTS, *lines, *(f"{address}\t{name}\n" for address, name in own)])


def configuration(
    servers: Sequence[str], search: Sequence[str], options: Sequence[str], *, resolver: bool
) -> str:
    """The text of /etc/resolv.conf; what the caller does not say is the host's.

    With ``resolver`` the container asks ours, which asks the others.
    """
    told = host_configuration()
    chosen = [RESOLVER_ADDRESS] if resolver else list(servers) or told["nameserver"]
    domains = list(search) or told["search"]
    settings = list(options) or told["options"]
    if resolver and not any(each.startswith("ndots:") for each in settings):
        settings = [*settings, "ndots:0"]
    lines = [f"nameserver {each}\n" for each in chosen]
    lines += [f"search {' '.join(domains)}\n"] if domains and domains != ["."] else []
    lines += [f"options {' '.join(settings)}\n"] if settings else []
    return "".join(lines)


def host_configuration() -> Mapping[str, list[str]]:
    """What the host's own resolv.conf says, by word."""
    try:
        with open(_HOST_CONFIGURATION, "rb") as file:
            return _configuration_of(file.read())
    except FileNotFoundError:
        return _configuration_of(b"")


@lru_cache(maxsize=1)
def _configuration_of(content: bytes) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {word: [] for word in _KEPT}
    for line in content.decode(errors="replace").splitlines():
        word, *values = line.split("#")[0].split() or [""]
        if word == "nameserver":
            found[word] += values[:1]
        elif word in _KEPT and values:
            found[word] = values
    found["search"] = found["search"] or found["domain"]
    return found


def only_loopback(servers: Iterable[str]) -> bool:
    """Whether no server of these can be asked from within another network namespace."""
    return all(each.startswith("127.") or each == "::1" for each in servers)
