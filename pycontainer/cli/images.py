"""``images``, ``rmi``, ``tag``, ``image prune``."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pycontainer.cli import listing, pruning
from pycontainer.cli.command import Call, Command
from pycontainer.cli.confirm import confirmed
from pycontainer.cli.listing import Listing, Row, shortened
from pycontainer.cli.parser import Parser
from pycontainer.cli.text import clock, seconds_of, since, size

if TYPE_CHECKING:
    from pycontainer.image.image import Image
    from pycontainer.image.images import Images

_FILTERS = ("dangling", "reference", "label", "before", "since")
_NONE = "<none>"
_LIST = Listing(
    headings={
        "Repository": "REPOSITORY", "Tag": "TAG", "Digest": "DIGEST", "ID": "IMAGE ID", "CreatedSince": "CREATED",
        "CreatedAt": "CREATED AT", "Size": "SIZE", "SharedSize": "SHARED SIZE", "UniqueSize": "UNIQUE SIZE",
        "Containers": "CONTAINERS",
    },
    columns=("Repository", "Tag", "ID", "CreatedSince", "Size"),
    quiet="ID",
)  # fmt: skip


def _options(parser: Parser) -> None:
    listing.options(parser, quiet="Only show image IDs")
    parser.flag("--all", "-a", help="Accepted as in Docker: images have no intermediate ones")
    parser.flag("--digests", help="Show digests")
    parser.each("--filter", "-f", metavar="filter", help=f"Choose by {', '.join(_FILTERS)}: label=team=a")
    parser.flag("--no-trunc", help="Don't truncate output")


def _list(call: Call) -> None:
    images, given = call.images, call.given
    chosen = _chosen(images, listing.filters(given.filter, _FILTERS))
    if call.words:
        chosen = [each for each in chosen if _matches(each, call.words[0])]
    chosen.sort(key=lambda image: seconds_of(image.created) or 0.0, reverse=True)
    usage = images.usage() if chosen else {}
    columns = list(_LIST.columns)
    if given.digests:
        columns.insert(2, "Digest")
    _LIST.show([_row(each, usage.get(each.digest), whole=given.no_trunc) for each in chosen], given, columns)


def parts(name: str) -> tuple[str, str]:
    """Repository and tag of an image's name, as lists show them."""
    if name.startswith("sha256:"):
        return _NONE, _NONE
    repository, at, _ = name.partition("@")
    head, colon, tag = repository.rpartition(":")
    if not colon or "/" in tag:
        return repository, _NONE if at else "latest"
    return head, tag


def _row(image: Image, usage: Any, *, whole: bool) -> Row:
    repository, tag = parts(image.name)
    own, shared = (0, 0) if usage is None else (usage.unique, usage.shared)
    fields = {
        "Repository": repository,
        "Tag": tag,
        "Digest": image.digest,
        "ID": shortened(image.digest, whole=whole),
        "CreatedSince": since(image.created),
        "CreatedAt": clock(image.created),
        "Size": size(own + shared),
        "SharedSize": size(shared),
        "UniqueSize": size(own),
        "Containers": "N/A",
    }
    value = {
        "id": image.digest,
        "repository": None if repository == _NONE else repository,
        "tag": None if tag == _NONE else tag,
        "created": image.created,
        "size": own + shared,
        "shared_size": shared,
        "unique_size": own,
        "transfer_size": image.size,
        "platform": str(image.platform),
        "labels": dict(image.config.labels),
    }
    return Row(fields, value)


def _chosen(images: Images, wanted: dict[str, list[str]]) -> list[Image]:
    found: Sequence[Image] = images.list()
    for text in wanted.get("dangling", ()):
        nameless = listing.is_true("dangling", text)
        found = [each for each in found if each.name.startswith("sha256:") == nameless]
    if "reference" in wanted:
        found = [each for each in found if any(_matches(each, form) for form in wanted["reference"])]
    for text in wanted.get("label", ()):
        key, equals, value = text.partition("=")
        found = [
            each
            for each in found
            if key in dict(each.config.labels) and (not equals or dict(each.config.labels)[key] == value)
        ]
    for option, sign in (("before", -1), ("since", 1)):
        for name in wanted.get(option, ()):
            moment = seconds_of(images.get(name).created) or 0.0
            found = [each for each in found if ((seconds_of(each.created) or 0.0) - moment) * sign > 0]
    return list(found)


def _matches(image: Image, form: str) -> bool:
    """Docker's pattern of a repository, with a tag or without."""
    repository, tag = parts(image.name)
    names = [repository, f"{repository}:{tag}"]
    short = [name.rpartition("/")[2] for name in names] if "/" not in form else []
    return any(fnmatch.fnmatchcase(name, form) for name in names + short)


IMAGES = Command("[OPTIONS] [REPOSITORY[:TAG]]", _list, _options, most=1, completes=("image",))


# -- names ---------------------------------------------------------------------------------


def _tag(call: Call) -> None:
    source, target = call.words
    call.images.tag(source, target)


TAG = Command("SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", _tag, least=2, most=2, completes=("image",))


def _remove_options(parser: Parser) -> None:
    parser.flag(
        "--force",
        "-f",
        help="Remove an image by its ID with all its names, and don't mind one that is not there",
    )
    parser.flag("--no-prune", help="Accepted as in Docker: no other image is removed with it")


def _remove(call: Call) -> int:
    images = call.images
    force = call.given.force

    def remove(name: str) -> None:
        from pycontainer.errors import ImageNotFound

        try:
            image = images.get(name)
        except ImageNotFound:
            if force:
                return
            raise
        before = _names(images, image.digest)
        images.remove(name, force=force)
        left = _names(images, image.digest)
        for each in before:
            if each not in left:
                print(f"Untagged: {each}")
        if not any(each.digest == image.digest for each in images.list()):
            print(f"Deleted: {image.digest}")

    return call.each(call.words, remove)


def _names(images: Images, digest: str) -> list[str]:
    return [each.name for each in images.list() if each.digest == digest and each.name != digest]


REMOVE = Command(
    "[OPTIONS] IMAGE [IMAGE...]", _remove, _remove_options, least=1, most=None, completes=("image",)
)


# -- prune ---------------------------------------------------------------------------------


def _prune_options(parser: Parser) -> None:
    parser.flag("--all", "-a", help="Remove all images that no container has, not just those without a name")
    pruning.option(parser)
    parser.flag("--force", "-f", help="Do not prompt for confirmation")


def _prune(call: Call) -> None:
    what = "all images that no container has" if call.given.all else "all images without a name"
    filters = call.given.filter
    pruning.wanted(filters)
    if confirmed(f"WARNING! This will remove {what}.", force=call.given.force):
        print("\n".join([*pruned(call.images, all_unused=call.given.all, filters=filters)]))


def pruned(images: Images, *, all_unused: bool, filters: list[str]) -> Iterator[str]:
    """Remove them; lines that tell what was removed, and how much room that gives."""
    before = {each.digest for each in images.list()}
    wanted = pruning.wanted(filters)
    removed = images.prune(
        all=all_unused,
        where=(lambda image: wanted(dict(image.config.labels), image.created)) if filters else None,
    )
    gone = sorted(before - {each.digest for each in images.list()})
    if gone:
        yield "Deleted Images:"
        yield from (f"deleted: {digest}" for digest in gone)
        yield ""
    yield f"Total reclaimed space: {size(removed.bytes)}"


PRUNE = Command("[OPTIONS]", _prune, _prune_options)
