"""Two lists of changes, one on top of the other, as one."""

from __future__ import annotations

import pytest

from pycontainer.container.snapshot import folded
from pycontainer.kernel.changes import Change


def changes(text: str) -> list[Change]:
    kinds = {"+": "added", "~": "modified", "-": "deleted", "m": "metadata"}
    return [Change(kind=kinds[word[0]], path=word[1:]) for word in text.split()]


@pytest.mark.parametrize(
    ("earlier", "later", "together"),
    [
        ("", "", ""),
        ("+/a", "", "+/a"),
        ("", "-/a", "-/a"),
        ("+/a", "~/a", "+/a"),
        ("+/a", "m/a", "+/a"),
        ("+/a", "-/a", ""),
        ("+/d +/d/x +/d/x/y", "-/d", ""),
        ("~/d/x +/d/y", "-/d", "-/d"),
        ("+/d/x +/dx", "-/d", "-/d +/dx"),
        ("-/a", "+/a", "~/a"),
        ("~/a", "m/a", "~/a"),
        ("m/a", "~/a", "~/a"),
        ("m/a", "-/a", "-/a"),
        ("~/a", "-/a", "-/a"),
        ("+/b", "+/a", "+/a +/b"),
        ("-/d", "+/d +/d/x", "~/d +/d/x"),
    ],
)
def test_folded(earlier: str, later: str, together: str) -> None:
    assert folded(changes(earlier), changes(later)) == changes(together)
