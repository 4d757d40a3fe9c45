"""``ps``: the containers that there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pycontainer.cli import listing
from pycontainer.cli.command import Call, Command
from pycontainer.cli.listing import Listing, Row, shortened
from pycontainer.cli.notation import whole
from pycontainer.cli.parser import Parser
from pycontainer.cli.ports import address, published
from pycontainer.cli.text import clock, duration, rfc3339, since
from pycontainer.errors import InvalidArgument
from pycontainer.state.filters import chosen
from pycontainer.state.shown import Shown, shown

_FILTERS = (
    "id", "name", "label", "status", "ancestor", "exited", "health", "network", "volume", "before", "since",
)  # fmt: skip
_WIDTH = 20
_LIST = Listing(
    headings={
        "ID": "CONTAINER ID", "Image": "IMAGE", "Command": "COMMAND", "RunningFor": "CREATED", "CreatedAt": "CREATED AT",
        "Status": "STATUS", "State": "STATE", "Ports": "PORTS", "Names": "NAMES", "Labels": "LABELS",
        "Mounts": "MOUNTS", "LocalVolumes": "LOCAL VOLUMES", "Networks": "NETWORKS",
    },
    columns=("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"),
    quiet="ID",
)  # fmt: skip


def _options(parser: Parser) -> None:
    listing.options(parser, quiet="Only display container IDs")
    parser.flag("--all", "-a", help="Show all containers (default shows just running)")
    parser.each("--filter", "-f", metavar="filter", help=f"Choose by {', '.join(_FILTERS)}: label=team=a")
    parser.value("--last", "-n", metavar="int", help="Show n last created containers (includes all states)")
    parser.flag("--latest", "-l", help="Show the latest created container (includes all states)")
    parser.flag("--no-trunc", help="Don't truncate output")


def _list(call: Call) -> None:
    given = call.given
    wanted = listing.filters(given.filter, _FILTERS)
    last = 1 if given.latest else None if given.last is None else whole("last")(given.last)
    if last is not None and last < 0:  # Docker's word for: all of them, as without it
        last = None
    every = shown(call.root)
    older, newer = (_named(every, wanted.pop(key, [])) for key in ("before", "since"))
    found = [
        each
        for each in chosen(every, all_=given.all or last is not None, filters=wanted)
        if (older is None or each.created < older) and (newer is None or each.created > newer)
    ][::-1]
    _LIST.show([_row(each, whole_=given.no_trunc) for each in found[:last]], given)


def _named(every: Sequence[Shown], names: list[str]) -> float | None:
    """When the container was made that a filter names last; ``None``: it names none. Raises :class:`InvalidArgument`."""
    if not names:
        return None
    name = names[-1].removeprefix("/")
    found = [each for each in every if each.name == name] or [
        each for each in every if name and each.id.startswith(name)
    ]
    if len(found) != 1:
        raise InvalidArgument("name", name, "several containers match" if found else "no such container")
    return found[0].created


def _row(container: Shown, *, whole_: bool) -> Row:
    command = " ".join(container.command)
    if not whole_ and len(command) > _WIDTH:
        command = f"{command[: _WIDTH - 1]}…"
    fields = {
        "ID": shortened(container.id, whole=whole_),
        "Image": container.image,
        "Command": f'"{command}"',
        "RunningFor": since(container.created),
        "CreatedAt": clock(container.created),
        "Status": _status(container),
        "State": container.status,
        "Ports": published(container.ports, container.exposed) if container.runs else "",
        "Names": container.name,
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(container.labels.items())),
        "Mounts": ",".join(container.mounts),
        "LocalVolumes": str(container.volumes),
        "Networks": ",".join(container.networks),
    }
    value: dict[str, Any] = {
        "id": container.id,
        "name": container.name,
        "image": container.image,
        "command": container.command,
        "created": rfc3339(container.created),
        "status": container.status,
        "exit_code": container.exit_code,
        "health": container.health,
        "restarts": container.run.restarts,
        "labels": dict(container.labels),
        "ports": {key: [address(*way) for way in ways] for key, ways in container.ports.items()},
        "networks": container.networks,
    }
    return Row(fields, value)


def _status(container: Shown) -> str:
    """As Docker says it: ``Up 3 minutes (healthy)``, ``Exited (0) 5 seconds ago``."""
    run, state = container.run, container.status
    code = "" if run.code is None else str(run.code)
    if state in {"running", "paused"}:
        import time

        up = f"Up {duration(max(0.0, time.time() - run.started / 1e9))}"
        if state == "paused":
            return f"{up} (Paused)"
        health = {"starting": "health: starting"}.get(container.health or "", container.health)
        return f"{up} ({health})" if health else up
    if state in {"exited", "restarting"}:
        return f"{state.title()} ({code}) {since(run.finished / 1e9)}"
    return state.title()


PS = Command("[OPTIONS]", _list, _options)
