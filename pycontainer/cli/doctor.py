"""``doctor``: the features of this host as a table, or as JSON."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Iterator
from typing import Any

from pycontainer.checkup import Feature, HostFeatures
from pycontainer.checkup import doctor as examine

_WIDTH = 110
_STATES = {(True, True): "yes", (True, False): "yes", (False, True): "MISSING", (False, False): "no"}


def register(commands: Any) -> None:
    """Add the command to the parser's sub-commands."""
    parser = commands.add_parser(
        "doctor",
        help="what this host can do, and how to mend what it cannot",
        description="Try every feature of the host that the library uses or could use. "
        "The exit status is 0 when all is there that a container needs, else 1.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--root", metavar="DIR", help="look at this engine root instead of the default one")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the report; 0 when what is needed is there."""
    host = examine(arguments.root)
    if arguments.json:
        print(json.dumps(host.as_dict(), indent=2))
    else:
        print("\n".join(table(host)))
    return 0 if host.ok else 1


def table(host: HostFeatures) -> Iterator[str]:
    """The lines of the report: a row for each feature; what is missing with its cause, its use and its mend."""
    width = max(len(feature.name) for feature in host)
    yield f"{'FEATURE':{width}}  {'THERE':7}  {'NEED':8}  DETAIL"
    for feature in host:
        yield from _row(feature, width)
    needed = [feature.name for feature in host.missing if feature.needed]
    optional = [feature.name for feature in host.missing if not feature.needed]
    yield ""
    if needed:
        yield from textwrap.wrap(f"No container can be started: {', '.join(needed)} missing.", _WIDTH)
    else:
        yield "Everything that a container needs is there."
    if optional:
        yield from textwrap.wrap(f"Optional, and not there: {', '.join(optional)}.", _WIDTH)


def _row(feature: Feature, width: int) -> Iterator[str]:
    state = _STATES[feature.available, feature.needed]
    head = f"{feature.name:{width}}  {state:7}  {'needed' if feature.needed else 'optional':8}  "
    yield from _hanging(head, feature.detail)
    if not feature.available:
        indent = " " * len(head)
        yield from _hanging(f"{indent}tried: ", feature.probed)
        yield from _hanging(f"{indent}for:   ", feature.needed_for)
        yield from _hanging(f"{indent}mend:  ", feature.fix)


def _hanging(head: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [head.rstrip()]
