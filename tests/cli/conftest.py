"""The command line with an engine of its own, and an image in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import pycontainer as pc
from pycontainer.image.config import ImageConfig
from tests.support import imagery
from tests.support.commandline import CommandLine
from tests.support.registry import RealRegistry


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    home = tmp_path / "home"
    home.mkdir()
    return CommandLine(tmp_path / "engine", home)


@pytest.fixture(scope="session")
def base() -> bytes:
    """A layer with programs and accounts."""
    return imagery.base()


@pytest.fixture
def app(cli: CommandLine, base: bytes) -> str:
    """The name of an image with programs, and a second layer."""
    config = ImageConfig(cmd=("/bin/sh",), env=("FROM=image",), labels=(("team", "a"),))
    with pc.Engine(cli.engine) as engine:
        imagery.make_image(engine.images, "app:v1", base, imagery.tar(("srv/file", "x\n")), config=config)
    return "app:v1"


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    with RealRegistry(directory=tmp_path_factory.mktemp("registry")) as server:
        yield server


@pytest.fixture(autouse=True)
def _no_containers_left(cli: CommandLine) -> Iterator[None]:
    """Containers outlive the command; not the test."""
    yield
    if (cli.engine / "containers").exists():
        with pc.Engine(cli.engine) as engine:
            for each in engine.containers.list(all=True):
                each.remove(force=True)
