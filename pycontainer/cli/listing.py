"""Lists as Docker prints them: a table, ``--format``, ``--json``, ``--quiet``."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pycontainer.cli.gofunctions import HEADING, as_json
from pycontainer.cli.parser import Parser
from pycontainer.cli.text import printable

#: The least width of a column with the blanks behind it, and how many of these there are at least (Go's tabwriter,
#: as Docker uses it).
_WIDTH, _GAP = 10, 3


class Row(NamedTuple):
    """One thing: its fields by Docker's names, as text; and as values for ``--json``."""

    fields: Mapping[str, str]
    value: Mapping[str, Any]


class Listing(NamedTuple):
    """A kind of list: the headings of all fields, those that the table shows, and the one that ``--quiet`` shows."""

    headings: Mapping[str, str]
    columns: Sequence[str]
    quiet: str

    def show(self, rows: Iterable[Row], given: Namespace, columns: Sequence[str] | None = None) -> None:
        """Print what was asked for."""
        found = list(rows)
        form = given.format or "table"
        if given.json:
            write(json.dumps([row.value for row in found], indent=2, ensure_ascii=False))
        elif getattr(given, "quiet", False):
            lines = dict.fromkeys(row.fields[self.quiet] for row in found)
            write("\n".join(map(printable, lines)))
        elif form == "json":
            write("\n".join(as_json(dict(row.fields)) for row in found))
        elif form == "table":
            shown = self.columns if columns is None else columns
            heads = [self.headings[name] for name in shown]
            table([heads, *([row.fields[name] for name in shown] for row in found)])
        else:
            self._templated(form, found)

    def _templated(self, form: str, rows: list[Row]) -> None:
        from pycontainer.cli.gotemplate import Template

        template = Template(form.removeprefix("table "))
        lines = [template.render(_Fields(row)) for row in rows]
        if form.startswith("table "):
            heading = Template(template.text, HEADING).render(_Fields(Row(self.headings, {}), heading=True))
            table([line.split("\t") for line in (heading, *lines)])
        else:
            write("\n".join(lines))


class _Fields(dict[str, Any]):
    """The fields of a row as a template has them, and Docker's ``.Label "team"``, which is none of them for ``json``."""

    def __init__(self, row: Row, *, heading: bool = False) -> None:
        super().__init__(row.fields)
        self._row, self._heading = row, heading

    def method(self, name: str) -> Callable[[str], str] | None:
        """A function of a template by its name, if there is one."""
        return self._label if name == "Label" and "Labels" in self else None

    def _label(self, name: str) -> str:
        if self._heading:
            return name.rpartition(".")[2].replace("-", " ").replace("_", " ")
        return str(self._row.value["labels"].get(name, ""))


def options(parser: Parser, *, quiet: str | None = None) -> None:
    """The options that every list has."""
    parser.value("--format", help="'table', 'table TEMPLATE', 'json', or a Go template, such as '{{.Name}}'")
    parser.flag("--json", help="Print one JSON document, with sizes in bytes and times of RFC 3339")
    if quiet is not None:
        parser.flag("--quiet", "-q", help=quiet)


def table(lines: Sequence[Sequence[str]]) -> None:
    """Print a table, its headings first."""
    clean = [[printable(cell) for cell in line] for line in lines]
    count = max(map(len, clean), default=0)
    widths = [
        max(_WIDTH, *(len(line[column]) + _GAP for line in clean if column < len(line)))
        for column in range(count)
    ]
    for line in clean:
        cells = [cell.ljust(width) for cell, width in zip(line[:-1], widths, strict=False)]
        print("".join(cells) + line[-1])


def write(text: str) -> None:
    """Print a text if there is any; to a terminal without what it would obey."""
    if text and sys.stdout.isatty():
        text = "\n".join(printable(line.replace("\t", "        ")) for line in text.split("\n"))
    if text:
        print(text)


def shortened(digest: str, *, whole: bool) -> str:
    """A digest or id as lists show it: twelve digits, or all of it."""
    return digest if whole else digest.removeprefix("sha256:")[:12]


def filters(texts: Sequence[str], known: Sequence[str]) -> dict[str, list[str]]:
    """``--filter key=value``, by key. Raises :class:`InvalidArgument`."""
    from pycontainer.errors import InvalidArgument

    found: dict[str, list[str]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or key not in known:
            names = ", ".join(f"{name}=..." for name in known)
            raise InvalidArgument("filter", text, f"one of {names} is needed")
        found.setdefault(key, []).append(value)
    return found


def is_true(option: str, text: str) -> bool:
    """A filter that is true or false. Raises :class:`InvalidArgument`."""
    from pycontainer.errors import InvalidArgument

    if text.lower() not in {"true", "1", "false", "0"}:
        raise InvalidArgument("filter", f"{option}={text}", "true or false is needed")
    return text.lower() in {"true", "1"}
