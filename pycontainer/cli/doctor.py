"""``doctor``: the features of this host as a table, or as JSON."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator

from pycontainer.checkup import Feature, HostFeatures
from pycontainer.checkup import doctor as examine
from pycontainer.cli.command import Call, Command
from pycontainer.cli.parser import Parser
from pycontainer.cli.text import coloured

_WIDTH = 110
_STATES = {(True, True): "yes", (True, False): "yes", (False, True): "MISSING", (False, False): "no"}
_COLOURS = {"yes": "green", "MISSING": "red", "no": "yellow"}


def _options(parser: Parser) -> None:
    parser.flag("--json", help="Print JSON instead of a table")


def _run(call: Call) -> int:
    """Print the report; 0 when what is needed is there."""
    host = examine(call.root)
    if call.given.json:
        print(json.dumps(host.as_dict(), indent=2))
    else:
        print("\n".join(table(host)))
    return 0 if host.ok else 1


DOCTOR = Command("[OPTIONS]", _run, _options)


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
    first, *others = _hanging(head, feature.detail)
    before, after = width + 2, width + 2 + len(state)
    yield first[:before] + coloured(state, _COLOURS[state], sys.stdout) + first[after:]
    yield from others
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
