"""``system df`` and ``system prune``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pycontainer.cli import listing, pruning
from pycontainer.cli.command import Call, Command
from pycontainer.cli.confirm import confirmed
from pycontainer.cli.listing import Listing, Row
from pycontainer.cli.parser import Parser
from pycontainer.cli.text import size

if TYPE_CHECKING:
    from pycontainer.volume import Volumes

_LIST = Listing(
    headings={
        "Type": "TYPE", "TotalCount": "TOTAL", "Active": "ACTIVE", "Size": "SIZE", "Reclaimable": "RECLAIMABLE",
    },
    columns=("Type", "TotalCount", "Active", "Size", "Reclaimable"),
    quiet="Type",
)  # fmt: skip


def _usage_options(parser: Parser) -> None:
    listing.options(parser)


def _usage(call: Call) -> None:
    _LIST.show([_images(call), _containers(call), _volumes(call.volumes)], call.given)


def _images(call: Call) -> Row:
    """What is shared counts once; what nobody holds could go, but for what others need of it."""
    usage, store = call.images.usage(), call.images.store
    needed = {each.spec.image.digest for each in call.engine.containers.list(all=True)}
    active = [digest for digest in usage if digest in needed or store.holders(digest)]
    used = store.total()
    idle = sum(each.unique for digest, each in usage.items() if digest not in active) if active else used
    return _row("Images", len(usage), len(active), used, idle)


def _containers(call: Call) -> Row:
    """The sizes of what containers have written are not told by the library."""
    found = call.engine.containers.list(all=True)
    active = [each for each in found if each.status in {"running", "paused", "restarting"}]
    row = _row("Containers", len(found), len(active), 0, 0)
    return Row(
        {**row.fields, "Size": "N/A", "Reclaimable": "N/A"}, {**row.value, "size": None, "reclaimable": None}
    )


def _volumes(volumes: Volumes) -> Row:
    told = [volume.inspect() for volume in volumes.list()]
    active = [each for each in told if each.users]
    idle = sum(each.used for each in told if not each.users)
    return _row("Local Volumes", len(told), len(active), sum(each.used for each in told), idle)


def _row(kind: str, total: int, active: int, used: int, idle: int) -> Row:
    share = f" ({idle * 100 // used}%)" if used else ""
    fields = {
        "Type": kind,
        "TotalCount": str(total),
        "Active": str(active),
        "Size": size(used),
        "Reclaimable": f"{size(idle)}{share}",
    }
    value: dict[str, Any] = {
        "type": kind,
        "total": total,
        "active": active,
        "size": used,
        "reclaimable": idle,
    }
    return Row(fields, value)


USAGE = Command("[OPTIONS]", _usage, _usage_options)


def _prune_options(parser: Parser) -> None:
    parser.flag("--all", "-a", help="Remove all images that no container has, not just those without a name")
    pruning.option(parser)
    parser.flag("--force", "-f", help="Do not prompt for confirmation")
    parser.flag("--volumes", help="Remove volumes without a name that nobody uses, too")


def _prune(call: Call) -> None:
    from pycontainer.cli import images, volumes

    given = call.given
    wanted = pruning.wanted(given.filter)
    what = [
        "all stopped containers",
        "all images that no container has" if given.all else "all images without a name",
    ]
    if given.volumes:
        what.append("all volumes without a name that no container uses")
    what.append("all networks that no container is on")
    warning = "\n".join(["WARNING! This will remove:", *(f"  - {each}" for each in what)])
    if not confirmed(warning, force=given.force):
        return
    gone = call.engine.containers.prune(where=lambda each: wanted(dict(each.spec.labels), each.created))
    if gone:
        print("\n".join(["Deleted Containers:", *gone, ""]))
    if given.volumes:
        print("\n".join(volumes.pruned(call.volumes, all_unused=False, filters=given.filter)))
    removed = call.networks.prune(lambda each: wanted(each.labels, each.definition.created))
    if removed:
        print("\n".join(["Deleted Networks:", *removed, ""]))
    print("\n".join(images.pruned(call.images, all_unused=given.all, filters=given.filter)))


PRUNE = Command("[OPTIONS]", _prune, _prune_options)
