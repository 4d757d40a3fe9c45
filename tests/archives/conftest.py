"""A store of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pycontainer.image.images import Images


@pytest.fixture
def images(tmp_path: Path) -> Iterator[Images]:
    tmp_path.chmod(0o700)
    found = Images(str(tmp_path / "root"))
    yield found
    found.close()
