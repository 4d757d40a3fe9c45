"""``history``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pycontainer.cli import listing
from pycontainer.cli.command import Call, Command
from pycontainer.cli.listing import Listing, Row, shortened
from pycontainer.cli.parser import Parser
from pycontainer.cli.text import since, size

if TYPE_CHECKING:
    from pycontainer.image.image import Image

_LIST = Listing(
    headings={
        "ID": "IMAGE", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT", "CreatedBy": "CREATED BY", "Size": "SIZE",
        "Comment": "COMMENT",
    },
    columns=("ID", "CreatedSince", "CreatedBy", "Size", "Comment"),
    quiet="ID",
)  # fmt: skip
_WIDTH = 45


def _options(parser: Parser) -> None:
    listing.options(parser, quiet="Only show image IDs")
    parser.flag("--human", "-H", help="Print sizes and dates in human readable format", default=True)
    parser.flag("--no-trunc", help="Don't truncate output")


def _run(call: Call) -> None:
    image = call.images.get(call.words[0])
    rows = list(_rows(image, whole=call.given.no_trunc, human=call.given.human))
    _LIST.show(rows[::-1], call.given)


def _rows(image: Image, *, whole: bool, human: bool) -> Iterator[Row]:
    """The steps, oldest first; only the last is an image."""
    sizes = iter([] if image.stored is None else [layer.size for layer in image.stored.manifest.layers])
    count = len(image.history)
    for number, step in enumerate(image.history, 1):
        bytes_ = 0 if step.empty_layer else next(sizes, 0)
        made_by = " ".join(step.created_by.split())
        if not whole and len(made_by) > _WIDTH:
            made_by = f"{made_by[: _WIDTH - 1]}…"
        identity = image.digest if number == count else None
        fields = {
            "ID": shortened(identity, whole=whole) if identity else "<missing>",
            "CreatedSince": since(step.created) if human else step.created or "",
            "CreatedAt": step.created or "",
            "CreatedBy": made_by,
            "Size": size(bytes_) if human else str(bytes_),
            "Comment": step.comment,
        }
        value = {
            "id": identity,
            "created": step.created,
            "created_by": step.created_by,
            "size": bytes_,
            "comment": step.comment,
        }
        yield Row(fields, value)


HISTORY = Command("[OPTIONS] IMAGE", _run, _options, least=1, most=1, completes=("image",))
