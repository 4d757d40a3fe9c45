"""``events``: what happens to containers, told as Docker tells it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from pycontainer.cli.command import Call, Command
from pycontainer.cli.parser import Parser
from pycontainer.cli.text import moment

if TYPE_CHECKING:
    from pycontainer.state.events import Event

_FILTERS = ("container", "event", "image", "label", "type")


def _options(parser: Parser) -> None:
    parser.each("--filter", "-f", metavar="filter", help=f"Choose by {', '.join(_FILTERS)}: event=die")
    parser.value("--format", help="'json', or a Go template, such as '{{.Action}}'")
    parser.value("--since", help="Show all events created since timestamp")
    parser.value("--until", help="Stream events until this timestamp")


class _Names:
    """The names, images and labels of containers: an event has the id alone."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._known: dict[str, dict[str, str]] = {}

    def attributes(self, event: Event) -> dict[str, str]:
        """What Docker tells with every event: the container's labels, image and name; and what this event has."""
        if event.id not in self._known or event.action == "rename":
            self._look()
        known = self._known.setdefault(event.id, {})
        if event.action == "create":  # it may be gone by now
            known |= event.attributes
        return {**known, **event.attributes}

    def _look(self) -> None:
        from pycontainer.state.shown import shown

        for each in shown(self._root):
            self._known[each.id] = {**each.labels, "image": each.image, "name": each.name}


def _fits(event: Event, told: dict[str, str], wanted: dict[str, list[str]]) -> bool:
    def labelled(text: str) -> bool:
        name, equals, value = text.partition("=")
        return name in told and (not equals or told[name] == value)

    image = told.get("image", "")
    tests = {
        "type": lambda text: text == "container",
        "event": lambda text: text == event.action.partition(":")[0] or text == event.action,
        "container": lambda text: (
            text.removeprefix("/") == told.get("name") or (len(text) >= 12 and event.id.startswith(text))
        ),
        "image": lambda text: text in {image, image.removesuffix(":latest")},
    }
    return all(any(map(test, wanted[key])) for key, test in tests.items() if key in wanted) and all(
        map(labelled, wanted.get("label", ()))
    )


def _run(call: Call) -> None:
    from pycontainer.cli.gofunctions import as_json
    from pycontainer.cli.gotemplate import Template
    from pycontainer.cli.listing import filters, write

    given = call.given
    wanted = filters(given.filter, _FILTERS)
    template = None if given.format in {None, "", "json"} else Template(given.format)
    found = call.engine.containers.events(
        since=None if given.since is None else moment("since", given.since),
        until=None if given.until is None else moment("until", given.until),
    )
    names = _Names(call.root)
    for event in found:
        told = names.attributes(event)
        if not _fits(event, told, wanted):
            continue
        value = _value(event, told)
        if template is not None:
            # As the fields are called in Go.
            same = {"Status": event.action, "From": value["from"], "Scope": "local", "Time": value["time"],
                    "TimeNano": value["timeNano"]}  # fmt: skip
            write(template.render({**value, **same}))
        elif given.format == "json":
            write(as_json(value))
        else:
            write(_line(event, told))
        sys.stdout.flush()


def _value(event: Event, told: dict[str, str]) -> dict[str, Any]:
    return {
        "status": event.action,
        "id": event.id,
        "from": told.get("image", ""),
        "Type": "container",
        "Action": event.action,
        "Actor": {"ID": event.id, "Attributes": told},
        "ID": event.id,
        "scope": "local",
        "time": int(event.time),
        "timeNano": int(event.time * 1e9),
    }


def _line(event: Event, told: dict[str, str]) -> str:
    from pycontainer.cli.text import rfc3339

    text = ", ".join(f"{key}={each}" for key, each in sorted(told.items()))
    return f"{rfc3339(event.time)} container {event.action} {event.id}" + (f" ({text})" if text else "")


EVENTS = Command("[OPTIONS]", _run, _options)
