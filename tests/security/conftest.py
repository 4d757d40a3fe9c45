"""All attempts, made once in each kind of container and once outside, for tests to look at one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import pytest

from tests.security import running
from tests.support.fixtures import probe
from tests.support.probe import Verdict, canaries

__all__ = ["probe"]


@pytest.fixture(scope="session")
def outside(probe: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Verdict]:
    """Without confinement, as the user of the tests."""
    with canaries(probe, tmp_path_factory.mktemp("canaries")) as canary:
        return running.outside(probe, canary)


@pytest.fixture(scope="session")
def inside(probe: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Mapping[str, Verdict]]:
    """In a container of a mode, by its name; each is made when first asked for."""

    @cache
    def run(mode: str) -> Mapping[str, Verdict]:
        with canaries(probe, tmp_path_factory.mktemp("canaries")) as canary:
            return running.inside(probe, canary, mode)

    return run
