"""The static programs, compiled for the tests as the build compiles them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools import build_programs


def _built(name: str, factory: pytest.TempPathFactory) -> Path:
    target = factory.mktemp("programs") / name
    build_programs.build(name, target)
    # Some tests run it as another user, who must get to it.
    for above in target.parents:
        if above.stat().st_mode & 0o011 != 0o011 and above.is_relative_to(factory.getbasetemp().parent):
            above.chmod(0o711)
    return target


@pytest.fixture(scope="session")
def init(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _built("init", tmp_path_factory)


@pytest.fixture(scope="session")
def reaper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _built("reaper", tmp_path_factory)
