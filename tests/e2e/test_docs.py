"""The examples of the documentation run, and print what they say.

The ``python`` blocks of a page run in order, in one namespace and in an empty directory.  Lines of a block that begin
with ``# >`` are what it prints, all of it; ``...`` in one stands for anything.  A line ``<!-- needs: NAME -->``
above a block makes a test of its own of it, for hosts that have what it needs, or one of several (``A or B``).
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from tests.support import needs

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NEED = re.compile(r"<!-- needs: ([\w ]+) -->\n\Z")


@attrs.frozen(kw_only=True)
class Block:
    """An example: its page, the line it begins in, its code, and the needs of which one must be there."""

    page: Path
    line: int
    code: str
    needs: tuple[str, ...]

    @property
    def expected(self) -> list[str]:
        return [line[3:].removeprefix(" ") for line in self.code.splitlines() if line.startswith("# >")]

    def run(self, namespace: dict[str, object]) -> str:
        """Run it; what it printed. The line numbers of an error are those of the page."""
        source = compile("\n" * (self.line - 1) + self.code, str(self.page), "exec")
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(source, namespace)  # noqa: S102  the examples are ours
        return printed.getvalue()


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        need = NEED.search(text, 0, match.start())
        yield Block(
            page=page,
            line=text.count("\n", 0, match.start()) + 2,
            code=match.group(1),
            needs=tuple(need.group(1).split(" or ")) if need else (),
        )


def scripts() -> Iterator[object]:
    for page in PAGES:
        found = list(blocks(page))
        common = [block for block in found if not block.needs]
        name = page.relative_to(ROOT)
        if common:
            yield pytest.param(common, id=str(name))
        for block in found:
            if block.needs:
                # One that is there will do; with none of them the first is what is missing.
                there = [need for need in block.needs if needs.lacking(need) is None]
                mark = pytest.mark.needs((there or list(block.needs))[0])
                yield pytest.param([block], id=f"{name}:{block.line}", marks=mark)


def matches(expected: list[str], printed: str) -> bool:
    pattern = "\n".join(re.escape(line.rstrip()).replace(re.escape("..."), ".*") for line in expected)
    return re.fullmatch(pattern, "\n".join(line.rstrip() for line in printed.splitlines())) is not None


@pytest.mark.parametrize("script", list(scripts()))
def test_examples(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in script:
        printed = block.run(namespace)
        where = f"{block.page.relative_to(ROOT)}:{block.line}"
        assert matches(block.expected, printed), f"{where} printed:\n{printed}"


def test_an_example_that_prints_something_else_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("text\n\n```python\nprint(1)\nprint(2)\n# > 1\n# > 3\n```\n")
    (block,) = blocks(page)
    assert block.line == 4
    printed = block.run({})
    assert not matches(block.expected, printed)
    assert matches(["1", "..."], printed)
    assert not matches(["1"], printed)


def test_links_lead_to_pages():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}"
