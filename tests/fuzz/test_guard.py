"""The guard notices what it is there for."""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pycontainer.errors import ImageError, InvalidArgument
from tests.fuzz.guard import Escape, Greed, Hang, guarded, holds_secret, outcomes, scratch


def test_errors_of_other_kinds_come_out() -> None:
    with pytest.raises(KeyError), guarded():
        raise KeyError
    with pytest.raises(InvalidArgument), guarded(ImageError):
        raise InvalidArgument("a", 1, "b")


def test_typed_errors_are_counted_and_must_have_a_text() -> None:
    before = outcomes["ImageError"]
    with guarded():
        raise ImageError("text")
    assert outcomes["ImageError"] == before + 1
    with pytest.raises(AssertionError), guarded():
        raise ImageError
    with pytest.raises(AssertionError), guarded():
        raise ImageError("x" * 30000)


def _go_on_for_ever() -> None:
    while True:
        pass


def test_a_loop_and_a_wait_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = signal.getsignal(signal.SIGPROF)
    with pytest.raises(Hang), guarded(seconds=0.1):
        _go_on_for_ever()
    monkeypatch.setattr("tests.fuzz.guard.PATIENCE", 0.1)
    with pytest.raises(Hang), guarded():
        time.sleep(10)
    assert signal.getsignal(signal.SIGPROF) == handler
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)


def test_much_memory_is_refused() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(Greed), guarded(memory=64 << 20):
        bytearray(128 << 20)
    assert resource.getrlimit(resource.RLIMIT_AS) == before


CHANGES: dict[str, Callable[[Path], object]] = {
    "a file's content": lambda outside: (outside / "file").write_bytes(b"other"),
    "a mode": lambda outside: (outside / "directory").chmod(0o711),
    "a new file": lambda outside: (outside / "directory" / "new").mkdir(),
    "something beside the root": lambda outside: (outside.parent / "new").mkdir(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changes_outside_are_seen(change: str) -> None:
    with pytest.raises(Escape), scratch() as (_, outside):
        CHANGES[change](outside.place)
    assert not outside.place.exists()


def test_what_was_taken_from_outside_is_found() -> None:
    with scratch() as (root, outside):
        assert not holds_secret(root)
        (root / "deep").mkdir()
        (root / "deep" / "copy").write_bytes(b"x" + outside.SECRET)
        assert holds_secret(root)
