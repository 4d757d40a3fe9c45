"""What a benchmark is and what it hands back; the list of all is in ``benchmarks.catalog``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from benchmarks.samples import Samples, Table


class BenchmarkError(Exception):
    """A measurement that could not be made, or whose subject failed."""


@attrs.frozen(kw_only=True)
class Settings:
    """How much is measured."""

    rounds: int = 300
    starts: int = 10_000
    #: Seconds between two measured things, in which the kernel finishes taking the first one's namespaces down.
    pause: float = 0.004


@attrs.frozen(kw_only=True)
class Target:
    """A promise, and the number that keeps or breaks it."""

    text: str
    value: float
    bound: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def describe(self) -> str:
        relation = "at least" if self.at_least else "at most"
        return f"{'ok  ' if self.met else 'MISS'} {self.text}: {self.value:.2f} ({relation} {self.bound:g})"

    def to_json(self) -> dict[str, Any]:
        return {"text": self.text, "value": round(self.value, 4), "bound": self.bound, "met": self.met}


@attrs.frozen(kw_only=True)
class Outcome:
    """What a benchmark found: tables to print, targets, and the same as data."""

    tables: list[Table]
    targets: list[Target] = attrs.field(factory=list)
    notes: list[str] = attrs.field(factory=list)
    data: dict[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Benchmark:
    """A measurement with a name for the command line and a sentence that says what it shows."""

    name: str
    description: str
    measure: Callable[[Settings], Outcome]
    #: Takes minutes and room on the disk: done only when it is named.
    long: bool = False


def ratio_targets(ours: Samples, other: Samples, bound: float, text: str) -> list[Target]:
    """``ours`` is at most ``bound`` times ``other``, by minimum and by median."""
    return [
        Target(text=f"{text}, minimum", value=ours.minimum / other.minimum, bound=bound),
        Target(text=f"{text}, median", value=ours.median / other.median, bound=bound),
    ]


def times_data(samples: Sequence[Samples], absent: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Samples, and what could not be measured, for the JSON file."""
    return {"times": [each.to_json() for each in samples], "absent": [list(each) for each in absent]}
