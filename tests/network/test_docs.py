"""The examples of the pages on networks do what it says, on a host of their own."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

import pycontainer as pc
from tests.network.lab import Lab

pytestmark = pytest.mark.needs("root", "bridge_network")

GUIDE = Path(__file__).resolve().parents[2] / "docs/guide"


@pytest.mark.parametrize(("page", "count"), [("networks", 3), ("detached", 1)])
def test_the_guide(lab: Lab, page: str, count: int) -> None:
    namespace: dict[str, object] = {"pc": pc}
    text = (GUIDE / f"{page}.md").read_text()
    blocks = re.findall(r"^```py\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == count
    for block in blocks:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(block, namespace)  # noqa: S102  the examples are ours
        expected = [line[4:] for line in block.splitlines() if line.startswith("# >")]
        assert printed.getvalue().splitlines() == expected
