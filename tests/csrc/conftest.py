"""The static programs, compiled for the tests as the build compiles them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.leash import Leash, Sleepers
from tools import build_programs


def _built(name: str, factory: pytest.TempPathFactory) -> Path:
    target = factory.mktemp("programs") / name
    build_programs.build(name, target)
    # Some tests run it as another user, who must get to it.
    for above in target.parents:
        if above.is_relative_to(factory.getbasetemp().parent):
            above.chmod(0o711)
    return target


@pytest.fixture(scope="session")
def init(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _built("init", tmp_path_factory)


@pytest.fixture(scope="session")
def reaper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _built("reaper", tmp_path_factory)


@pytest.fixture
def leash(reaper: Path) -> Iterator[Leash]:
    leash = Leash(reaper)
    yield leash
    leash.close()


@pytest.fixture
def sleepers() -> Iterator[Sleepers]:
    started: Sleepers = []
    yield started
    for process in started:
        process.kill()
        process.wait()
