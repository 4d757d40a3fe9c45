"""Engines with stores of their own, and images in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import pycontainer as pc
from tests.support import imagery


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[pc.Engine]:
    with pc.Engine(tmp_path / "engine") as made:
        yield made


@pytest.fixture(scope="session")
def base() -> bytes:
    """A layer with programs and accounts."""
    return imagery.base()


@pytest.fixture
def image(engine: pc.Engine, base: bytes) -> pc.Image:
    """An image by the name ``app:v1``: programs, and a layer that changes something."""
    further = imagery.tar(
        ("srv/file", "of the image\n"), ("etc/.wh.group", ""), ("home/app", 0o700), owner=1000
    )
    return imagery.make_image(engine.images, "app:v1", base, further)
