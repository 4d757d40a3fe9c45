"""Volumes of the engine under test, and an image whose content the test chose."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

import pycontainer as pc


@pytest.fixture
def name() -> Iterator[str]:
    """A volume's name that is free, and is again at the end."""
    chosen = f"t-{os.urandom(4).hex()}"
    yield chosen
    for volume in pc.default_engine().volumes.list({"name": chosen}):
        volume.remove()


@pytest.fixture
def make_image(tmp_path: Path) -> Callable[..., pc.Image]:
    """Make an image with the host's programs and a root file system of one's own."""

    def make(prepare: Callable[[Path], object] = lambda _: None, **config: object) -> pc.Image:
        root = tmp_path / "rootfs"
        (root / "etc").mkdir(parents=True)
        (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nworker:x:7:8::/:/bin/sh\n")
        (root / "usr").mkdir()
        for link in ("bin", "sbin", "lib", "lib64"):
            (root / link).symlink_to(f"usr/{link}")
        prepare(root)
        host = pc.Image.from_host()
        return attrs.evolve(
            host, name="test", layers=(str(root),), config=pc.ImageConfig(**{"cmd": ["sh"], **config})
        )

    return make


def sh(image: str | pc.Image, script: str, *mounts: object, **options: object) -> str:
    """What a script prints in a run of its own."""
    result = pc.run(image, ["sh", "-c", script], mounts=mounts, text=True, timeout=60, **options)
    assert result.exit_code == 0, result.stderr
    return result.stdout
