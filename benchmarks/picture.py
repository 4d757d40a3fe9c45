"""The comparison as an SVG: bars of the medians, readable on a light and on a dark page."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

_WIDTH = 760
_LEFT = 216
_RIGHT = 92
_BAR = 20
_STEP = 32
_TOP = 64
#: The names that the picture shows, by the names of the record.
_LABELS = {
    "posix_spawn, no isolation": "plain process",
    "floor (C)": "the same calls in C",
    "unshare": "unshare (no root, no filter)",
    "pycontainer": "pycontainer.run",
    "bwrap": "bubblewrap",
    "crun, no cgroups": "crun without cgroups",
}
_OURS = "pycontainer"
_TITLE = "Starting `true` in a container, from the call to its end"
_SUBTITLE = "interleaved rounds, in milliseconds; the mark is the minimum"

_STYLE = """
  text { font: 14px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
  .title { font-size: 16px; font-weight: 600 }
  .small { font-size: 12px; fill: #59636e }
  .name { text-anchor: end }
  .ours { font-weight: 600 }
  rect { fill: #b6bfc9 }
  rect.ours { fill: #2f6fde }
  line { stroke: #1f2328; stroke-width: 1.5 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .small { fill: #9198a1 }
    rect { fill: #545d68 }
    rect.ours { fill: #589bff }
    line { stroke: #e6edf3 }
  }
"""


def draw_start(entry: dict[str, Any]) -> str:
    """The picture of the record's entry "start"."""
    times = sorted(entry["times"], key=lambda each: each["median_ms"])
    longest = max(each["median_ms"] for each in times)
    scale = (_WIDTH - _LEFT - _RIGHT) / longest
    height = _TOP + _STEP * len(times) + 30
    host = entry["host"]
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}" role="img">',
        f"<title>{escape(_summary(times))}</title>",
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="16" y="26">{_TITLE}</text>',
        f'<text class="small" x="16" y="46">median of {entry["rounds"]} {_SUBTITLE}</text>',
    ]
    for number, each in enumerate(times):
        lines += _bar(each, _TOP + number * _STEP, scale)
    note = f"Linux {host['kernel'].split('-')[0]}, {host['cpus']} CPUs, Python {host['python']}"
    lines.append(f'<text class="small" x="16" y="{height - 10}">{escape(note)}</text>')
    return "\n".join([*lines, "</svg>", ""])


def _bar(each: dict[str, Any], y: int, scale: float) -> list[str]:
    kind = " ours" if each["name"] == _OURS else ""
    width = each["median_ms"] * scale
    mark = _LEFT + each["min_ms"] * scale
    middle = y + _BAR - 5
    return [
        f'<text class="name{kind}" x="{_LEFT - 10}" y="{middle}">{escape(_LABELS.get(each["name"], each["name"]))}</text>',
        f'<rect class="bar{kind}" x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR}" rx="3"/>',
        f'<line x1="{mark:.1f}" y1="{y + 4}" x2="{mark:.1f}" y2="{y + _BAR - 4}"/>',
        f'<text class="value{kind}" x="{_LEFT + width + 8:.1f}" y="{middle}">{each["median_ms"]:.1f}</text>',
    ]


def _summary(times: list[dict[str, Any]]) -> str:
    parts = [f"{_LABELS.get(each['name'], each['name'])} {each['median_ms']:.1f} ms" for each in times]
    return "Median time to start true in a container: " + ", ".join(parts)
