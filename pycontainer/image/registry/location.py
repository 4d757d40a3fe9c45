"""Locations: the addresses of requests, parsed strictly and in one place.

Two parsers that read one address differently are how requests end up at hosts that nobody checked.  What
is not plainly ``http(s)://host[:port]/...`` in printable ASCII is refused, user names in it among that.
"""

from __future__ import annotations

import ipaddress
import posixpath
import re

import attrs

_PORTS = {"http": 80, "https": 443}
_HOST = r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?"
_AUTHORITY = re.compile(rf"({_HOST})(?::([0-9]{{1,5}}))?")
#: Printable, and none of the signs that some programs take for a slash or a quotation mark.
_TARGET = re.compile(r"[/?][!$-;=?-\[\]_a-z|~]*|")
#: No address is longer; signed ones of object stores are about 2000.
_LONGEST = 16384


class BadLocation(ValueError):
    """A text that is no address which a request may go to."""


@attrs.frozen
class Location:
    """Where a request goes. ``target`` is the path with the query and begins with a slash."""

    scheme: str
    host: str
    port: int
    target: str = "/"

    @classmethod
    def parse(cls, text: str) -> Location:
        """Read an absolute address. Raises :class:`BadLocation`.

        >>> str(Location.parse("HTTPS://Example.org:443/v2/?n=1#part"))
        'https://example.org/v2/?n=1'
        """
        scheme, found, rest = text.partition("://")
        scheme = scheme.lower()
        if not found or scheme not in _PORTS or len(text) > _LONGEST:
            raise BadLocation(f"{text[:200]!a} is no http or https address")
        match = _AUTHORITY.match(rest)
        if match is None:
            raise BadLocation(f"{text[:200]!a} names no host")
        host, port = split_host(match[0], scheme)
        target = rest[match.end() :].partition("#")[0]
        if _TARGET.fullmatch(target) is None:
            raise BadLocation(f"{text[:200]!a} holds signs that are none of an address")
        return cls(scheme, host, port, target if target.startswith("/") else f"/{target}")

    def join(self, text: str) -> Location:
        """Read an address that an answer from here told, absolute or relative. Raises :class:`BadLocation`."""
        if text.startswith("//"):
            return Location.parse(f"{self.scheme}:{text}")
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", text):
            return Location.parse(text)
        if not text.startswith("/"):
            path = self.target.partition("?")[0]
            text = path + text if text.startswith("?") else posixpath.dirname(path).rstrip("/") + "/" + text
        return Location.parse(f"{self.scheme}://{self.authority}{text}")

    def at(self, target: str) -> Location:
        """The same host, another path."""
        return attrs.evolve(self, target=target)

    @property
    def authority(self) -> str:
        """Host and port, without the port that the scheme has anyway."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> tuple[str, str, int]:
        """What credentials are bound to."""
        return self.scheme, self.host, self.port

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def split_host(authority: str, scheme: str = "https") -> tuple[str, int]:
    """Split ``host[:port]``; the host in small letters and without brackets. Raises :class:`BadLocation`.

    >>> split_host("[::1]:5000")
    ('::1', 5000)
    """
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise BadLocation(f"{authority[:200]!a} is no host[:port]")
    host, port = match[1].lower(), int(match[2] or _PORTS[scheme])
    if not 0 < port < 65536:
        raise BadLocation(f"{authority[:200]!a} has no possible port")
    if host.startswith("["):
        try:
            host = str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError as error:
            raise BadLocation(f"{authority[:200]!a}: {error}") from None
    return host, port


def is_loopback(host: str) -> bool:
    """Whether the name alone says that the host is this machine: as Docker has it, it is trusted without TLS.

    >>> is_loopback("127.8.0.1"), is_loopback("localhost.example")
    (True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
