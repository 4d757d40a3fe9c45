"""``inspect``, of whatever has that name, and of one kind."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from pycontainer.cli import documents
from pycontainer.cli.command import Call, Command
from pycontainer.cli.failure import tell
from pycontainer.cli.listing import write
from pycontainer.cli.parser import Parser
from pycontainer.errors import ImageNotFound, InvalidArgument, VolumeNotFound

#: Finds something by its name, and tells of it as Docker does.
_Finder = Callable[[Call, str], dict[str, Any]]


class NotThereError(Exception):
    """There is nothing of that name."""


def _container(call: Call, name: str) -> dict[str, Any]:
    try:
        return documents.of_container(call.container(name))
    except InvalidArgument as error:
        if "no such" in error.reason:
            raise NotThereError(name) from None
        raise


def _image(call: Call, name: str) -> dict[str, Any]:
    return documents.of_image(call.images, call.images.get(name))


def _network(call: Call, name: str) -> dict[str, Any]:
    from pycontainer.cli.networks import find

    network = find(call.networks, name)
    if network is None:
        raise NotThereError(name)
    return documents.of_network(network)


def _volume(call: Call, name: str) -> dict[str, Any]:
    return documents.of_volume(call.volumes.get(name))


#: In the order in which a name is looked for.
KINDS: dict[str, _Finder] = {"container": _container, "image": _image, "network": _network, "volume": _volume}


def _options(parser: Parser) -> None:
    parser.value("--format", "-f", help="'json', or a Go template, such as '{{.Id}}'")


def _size_option(parser: Parser) -> None:
    parser.flag("--size", "-s", help="Accepted as in Docker: sizes are told in any case")


def _options_container(parser: Parser) -> None:
    _options(parser)
    _size_option(parser)


def _options_any(parser: Parser) -> None:
    _options(parser)
    _size_option(parser)
    parser.value("--type", help=f"Look for this alone: {', '.join(KINDS)}")


def _found(call: Call, name: str, kinds: list[str]) -> dict[str, Any]:
    for kind in kinds:
        try:
            return KINDS[kind](call, name)
        except (ImageNotFound, VolumeNotFound, NotThereError):
            continue
        except InvalidArgument:
            if len(kinds) == 1:
                raise  # a name of another kind need not be one of this
    what = kinds[0] if len(kinds) == 1 else "object"
    raise NotThereError(f"no such {what}: {name}")


def _inspected(call: Call, kinds: list[str]) -> int:
    found, status = [], 0
    for name in call.words:
        try:
            found.append(_found(call, name, kinds))
        except NotThereError as error:
            sys.stdout.flush()
            tell(str(error))
            status = 1
    if found or not call.given.format:
        _show(found, call.given.format)
    return status


def _show(found: list[dict[str, Any]], form: str | None) -> None:
    if form is None:
        write(json.dumps(found, indent=4, ensure_ascii=False))
        return
    from pycontainer.cli.gofunctions import as_json
    from pycontainer.cli.gotemplate import Template

    template = None if form == "json" else Template(form)
    for each in found:
        write(as_json(each) if template is None else template.render(each))


def _of_any(call: Call) -> int:
    kind = call.given.type
    if kind is not None and kind not in KINDS:
        raise InvalidArgument("type", kind, f"one of {', '.join(KINDS)} is needed")
    return _inspected(call, list(KINDS) if kind is None else [kind])


def _of(kind: str, usage: str) -> Command:
    return Command(
        usage,
        lambda call: _inspected(call, [kind]),
        _options_container if kind == "container" else _options,
        least=1,
        most=None,
        completes=(kind,),
    )


INSPECT = Command(
    "[OPTIONS] NAME|ID [NAME|ID...]", _of_any, _options_any, least=1, most=None, completes=("container",)
)
INSPECT_CONTAINER = _of("container", "[OPTIONS] CONTAINER [CONTAINER...]")
INSPECT_IMAGE = _of("image", "[OPTIONS] IMAGE [IMAGE...]")
INSPECT_NETWORK = _of("network", "[OPTIONS] NETWORK [NETWORK...]")
INSPECT_VOLUME = _of("volume", "[OPTIONS] VOLUME [VOLUME...]")
