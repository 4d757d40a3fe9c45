"""Which places outside a container may reach, as a frozen value: names, addresses, ports; all else is refused."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Any

import attrs

from pycontainer.errors import InvalidArgument

_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(\*\.)?({_LABEL}\.)*{_LABEL}")
_NEEDED = "'api.example.com', '*.example.org:443', '10.0.0.0/8' or '[2001:db8::1]:443' is needed"


@attrs.frozen
class Egress:
    """What :meth:`Network.egress` makes: ``names`` are patterns and ``subnets`` addresses, each with a port or 0."""

    names: tuple[tuple[str, int], ...]
    subnets: tuple[tuple[str, int], ...]


def parse_egress(allow: Iterable[str]) -> Egress:
    """Check a list of what is allowed; none is allowed nothing. Raises :class:`InvalidArgument`."""
    if isinstance(allow, (str, bytes)) or not isinstance(allow, Iterable):
        raise InvalidArgument("allow", allow, f"a list is needed: {_NEEDED}")
    names: list[tuple[str, int]] = []
    subnets: list[tuple[str, int]] = []
    for each in allow:
        subnet, name, port = _one(each)
        if subnet is not None:
            subnets.append((subnet, port))
        else:
            names.append((name, port))
    return Egress(tuple(names), tuple(subnets))


def _one(item: Any) -> tuple[str | None, str, int]:
    if not isinstance(item, str) or not item:
        raise InvalidArgument("allow", item, _NEEDED)
    bracketed = re.fullmatch(r"\[([0-9a-fA-F:./]+)\](?::(\d+))?", item)
    if bracketed:
        text, digits = bracketed.groups()
    elif item.count(":") > 1:
        text, digits = item, None
    else:
        text, _, digits = item.partition(":")
    port = 0
    if digits:
        port = int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 6 else 0
        if not 1 <= port <= 65535:
            raise InvalidArgument("allow", item, "the port is from 1 to 65535")
    elif ":" in item and not bracketed and item.count(":") == 1:
        raise InvalidArgument("allow", item, _NEEDED)
    try:
        return str(ipaddress.ip_network(text)), "", port
    except ValueError:
        pass
    name = text.lower().rstrip(".")
    if not _NAME.fullmatch(name) or name.replace(".", "").isdecimal() or "/" in name:
        raise InvalidArgument("allow", item, _NEEDED)
    return None, name, port


def matches(pattern: str, name: str) -> bool:
    """Whether a name is meant by a pattern: ``*.example.org`` is every name below, and not that one itself."""
    if pattern.startswith("*."):
        return name.endswith(pattern[1:]) and len(name) > len(pattern) - 1
    return name == pattern
