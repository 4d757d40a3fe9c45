"""``port``, and how published ports are shown elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from pycontainer.cli.command import Call, Command
from pycontainer.errors import InvalidArgument

#: A port as images expose it.
_PORT = re.compile(r"\d{1,5}(/[a-z]+)?")
Ports = Mapping[str, Sequence[tuple[str, int]]]


def address(host: str, port: int | str) -> str:
    """``0.0.0.0:8080``, ``[::1]:8080``."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def published(ports: Ports, exposed: Iterable[str]) -> str:
    """The column PORTS of ``ps``, as Docker has it: those that are published, ranges as such, and those that are not."""
    single = [
        (protocol, host, number, port)
        for key, ways in ports.items()
        for number, protocol in [_parts(key)]
        for host, port in ways
    ]
    single += [
        (protocol, "", number, 0)
        # An image may say whatever it likes.
        for key in filter(_PORT.fullmatch, exposed)
        for number, protocol in [_parts(key)]
        if f"{number}/{protocol}" not in ports
    ]
    groups: list[list[tuple[str, str, int, int]]] = []
    for each in sorted(set(single)):
        last = groups[-1][-1] if groups else None
        if last is not None and _follows(last, each):
            groups[-1].append(each)
        else:
            groups.append([each])
    return ", ".join(_range(group) for group in sorted(groups, key=lambda group: (group[0][2], *group[0])))


def _parts(key: str) -> tuple[int, str]:
    number, _, protocol = key.partition("/")
    return int(number), protocol or "tcp"


def _follows(last: tuple[str, str, int, int], each: tuple[str, str, int, int]) -> bool:
    step = 1 if each[3] else 0
    return each[:2] == last[:2] and each[2] == last[2] + 1 and each[3] == last[3] + step


def _range(group: Sequence[tuple[str, str, int, int]]) -> str:
    protocol, host, first, port = group[0]
    last, last_port = group[-1][2:]
    inside = f"{first}-{last}" if last != first else str(first)
    if not port:
        return f"{inside}/{protocol}"
    outside = f"{port}-{last_port}" if last_port != port else str(port)
    return f"{address(host, outside)}->{inside}/{protocol}"


def _port(call: Call) -> None:
    name, *wanted = call.words
    ports: Ports = call.container(name).ports
    if not wanted:
        for key, ways in sorted(ports.items(), key=lambda each: _parts(each[0])):
            for host, port in ways:
                print(f"{key} -> {address(host, port)}")
        return
    key = wanted[0] if "/" in wanted[0] else f"{wanted[0]}/tcp"
    if key not in ports:
        raise InvalidArgument("port", wanted[0], f"no public port {key} is published for {name}")
    for host, port in ports[key]:
        print(address(host, port))


PORT = Command("CONTAINER [PRIVATE_PORT[/PROTO]]", _port, least=1, most=2, completes=("container",))
