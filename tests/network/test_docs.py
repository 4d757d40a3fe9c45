"""The examples of the page on networks do what it says, on a host of their own."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

from tests.network.lab import Lab

pytestmark = pytest.mark.needs("root", "bridge_network")

PAGE = Path(__file__).resolve().parents[2] / "docs/guide/networks.md"


def test_the_guide(lab: Lab) -> None:
    namespace: dict[str, object] = {}
    blocks = re.findall(r"^```py\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(block, namespace)  # noqa: S102  the examples are ours
        expected = [line[4:] for line in block.splitlines() if line.startswith("# >")]
        assert printed.getvalue().splitlines() == expected
