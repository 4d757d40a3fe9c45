"""The rules of tests that try inputs without number."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fuzz.guard import long_numbers


@pytest.fixture(autouse=True, scope="session")
def _inputs_can_be_shown() -> Iterator[None]:
    with long_numbers(0):
        yield
