"""``volume create``, ``ls``, ``rm``, ``prune``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pycontainer.cli import listing, pruning
from pycontainer.cli.command import Call, Command
from pycontainer.cli.confirm import confirmed
from pycontainer.cli.listing import Listing, Row
from pycontainer.cli.notation import labels, pairs
from pycontainer.cli.parser import Parser
from pycontainer.cli.text import size

if TYPE_CHECKING:
    from pycontainer.volume import Volume, Volumes

_FILTERS = ("name", "label", "driver", "dangling")


def _create_options(parser: Parser) -> None:
    parser.value("--driver", "-d", help="Specify volume driver name", default="local")
    parser.each("--label", help="Set metadata for a volume")
    parser.each("--opt", "-o", help="Options: type=none, o=bind, device=/path; or size=10G")


def _create(call: Call) -> None:
    given = call.given
    options: dict[str, Any] = pairs("opt")(given.opt)
    told: dict[str, Any] = labels(given.label, ())
    size_ = options.pop("size", None)
    name = call.words[0] if call.words else None
    made = call.volumes.create(name, driver=given.driver, size=size_, options=options or None, **told)
    print(made.name)


CREATE = Command("[OPTIONS] [VOLUME]", _create, _create_options, most=1)

_LIST = Listing(
    headings={
        "Driver": "DRIVER", "Name": "VOLUME NAME", "Scope": "SCOPE", "Mountpoint": "MOUNTPOINT", "Labels": "LABELS",
    },
    columns=("Driver", "Name"),
    quiet="Name",
)  # fmt: skip


def _list_options(parser: Parser) -> None:
    listing.options(parser, quiet="Only display volume names")
    parser.each("--filter", "-f", metavar="filter", help=f"Choose by {', '.join(_FILTERS)}: label=team=a")


def _wanted(texts: list[str]) -> dict[str, Any]:
    wanted: dict[str, Any] = {}
    for key, values in listing.filters(texts, _FILTERS).items():
        if key == "dangling":
            wanted[key] = listing.is_true(key, values[-1])
        else:
            wanted[key] = values if key == "label" else values[-1]
    return wanted


def _list(call: Call) -> None:
    _LIST.show(map(_row, call.volumes.list(_wanted(call.given.filter))), call.given)


def _row(volume: Volume) -> Row:
    fields = {
        "Driver": volume.driver,
        "Name": volume.name,
        "Scope": "local",
        "Mountpoint": volume.mountpoint,
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(volume.labels.items())),
    }
    value = {
        "name": volume.name,
        "driver": volume.driver,
        "created": volume.created,
        "labels": volume.labels,
        "mountpoint": volume.mountpoint,
        "size": volume.size,
        "users": volume.users(),
    }
    return Row(fields, value)


LIST = Command("[OPTIONS]", _list, _list_options)


def _remove_options(parser: Parser) -> None:
    parser.flag("--force", "-f", help="Don't mind a volume that is not there")


def _remove(call: Call) -> int:
    from pycontainer.errors import VolumeNotFound

    def remove(name: str) -> None:
        try:
            call.volumes.remove(name)
        except VolumeNotFound:
            if not call.given.force:
                raise
        print(name)

    return call.each(call.words, remove)


REMOVE = Command(
    "[OPTIONS] VOLUME [VOLUME...]", _remove, _remove_options, least=1, most=None, completes=("volume",)
)


def _prune_options(parser: Parser) -> None:
    parser.flag("--all", "-a", help="Remove all volumes that nobody uses, not just those without a name")
    pruning.option(parser)
    parser.flag("--force", "-f", help="Do not prompt for confirmation")


def _prune(call: Call) -> None:
    what = "all volumes" if call.given.all else "volumes without a name"
    pruning.wanted(call.given.filter)
    if confirmed(f"WARNING! This will remove {what} that no container uses.", force=call.given.force):
        print("\n".join(pruned(call.volumes, all_unused=call.given.all, filters=call.given.filter)))


def pruned(volumes: Volumes, *, all_unused: bool, filters: list[str]) -> Iterator[str]:
    """Remove them; lines that tell what was removed, and how much room that gives."""
    wanted = pruning.wanted(filters)
    idle = {"dangling": True}
    used = {volume.name: volume.inspect().used for volume in volumes.list(idle)}
    removed = volumes.prune(
        all=all_unused, filters=idle, where=lambda each: wanted(each.labels, each.created)
    )
    if removed:
        yield "Deleted Volumes:"
        yield from removed
        yield ""
    yield f"Total reclaimed space: {size(sum(used.get(name, 0) for name in removed))}"


PRUNE = Command("[OPTIONS]", _prune, _prune_options)
