"""Numbers of one thing measured many times, and how they are shown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import attrs


@attrs.frozen(kw_only=True)
class Samples:
    """Seconds, one for each round."""

    name: str
    seconds: tuple[float, ...]

    @property
    def minimum(self) -> float:
        return min(self.seconds)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def p90(self) -> float:
        return sorted(self.seconds)[int(len(self.seconds) * 0.9)]

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "rounds": len(self.seconds),
            "min_ms": _ms(self.minimum),
            "median_ms": _ms(self.median),
            "p90_ms": _ms(self.p90),
        }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 4)


@attrs.frozen
class Table:
    """Rows of text below headings; the first column is left-aligned, the others right-aligned."""

    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    def render(self) -> str:
        lines = [self.headings, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.headings))]
        rule = tuple("-" * width for width in widths)
        return "\n".join(_line(line, widths) for line in [self.headings, rule, *self.rows])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first = cells[0].ljust(widths[0])
    return "  ".join([first, *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))])


def times_table(samples: Sequence[Samples], base: str) -> Table:
    """Minimum, median and 90th percentile of each, and its ratios to ``base``."""
    ground = next(each for each in samples if each.name == base)
    rows: list[tuple[str, ...]] = [
        (
            each.name,
            f"{each.minimum * 1000:.3f}",
            f"{each.median * 1000:.3f}",
            f"{each.p90 * 1000:.3f}",
            f"{each.minimum / ground.minimum:.2f}",
            f"{each.median / ground.median:.2f}",
        )
        for each in sorted(samples, key=lambda each: each.median)
    ]
    return Table(("", "min ms", "median ms", "p90 ms", "x min", "x median"), rows)
