"""What ``prune`` removes of what it could: ``--filter until=24h``, ``label=team=a``, ``label!=keep``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pycontainer.cli.listing import filters
from pycontainer.cli.parser import Parser
from pycontainer.cli.text import moment, seconds_of

#: Is a thing with these labels, made then (seconds since 1970, or RFC 3339), to go?
Wanted = Callable[[Mapping[str, str], "str | float | None"], bool]


def option(parser: Parser) -> None:
    """Have it among the options of a command."""
    parser.each(
        "--filter",
        metavar="filter",
        help="Choose by until, label, label!: until=24h, label!=keep, label=team=a",
    )


def wanted(texts: list[str], *further: str) -> Wanted:
    """All filters have to fit; ``further`` ones are somebody else's. Raises :class:`InvalidArgument`."""
    told = filters(texts, ("until", "label", "label!", *further))
    before = [moment("filter", text) for text in told.get("until", ())]

    def fits(labels: Mapping[str, str], made: str | float | None) -> bool:
        seconds = seconds_of(made) or 0.0
        return (
            all(seconds < each for each in before)
            and all(_has(labels, text) for text in told.get("label", ()))
            and not any(_has(labels, text) for text in told.get("label!", ()))
        )

    return fits


def _has(labels: Mapping[str, str], text: str) -> bool:
    name, equals, value = text.partition("=")
    return name in labels and (not equals or labels[name] == value)
