"""An owned descriptor is closed once, and never by two."""

from __future__ import annotations

import copy
import os
import pickle

import pytest

from pycontainer.kernel.fd import Fd


def null() -> Fd:
    return Fd(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_the_block_closes() -> None:
    with null() as fd:
        number = fd.fileno()
        assert (fd.closed, is_open(number)) == (False, True)
    assert (fd.closed, is_open(number)) == (True, False)


def test_closing_again_does_not_touch_the_next_owner_of_the_number() -> None:
    fd = null()
    number = fd.fileno()
    fd.close()
    other = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    assert other == number
    fd.close()
    assert is_open(other)
    os.close(other)


def test_a_detached_descriptor_is_the_callers() -> None:
    with null() as fd:
        number = fd.detach()
    assert (fd.closed, is_open(number)) == (True, True)
    os.close(number)


@pytest.mark.parametrize("use", [Fd.fileno, Fd.detach, Fd.dup])
def test_a_closed_one_cannot_be_used(use: object) -> None:
    fd = null()
    fd.close()
    assert callable(use)
    with pytest.raises(ValueError, match="closed"):
        use(fd)


def test_a_duplicate_has_a_life_of_its_own_and_is_not_inherited() -> None:
    with null() as fd:
        twin = fd.dup()
    assert is_open(twin.fileno())
    assert not os.get_inheritable(twin.fileno())
    twin.close()


def test_one_that_is_lost_warns_and_is_closed() -> None:
    fd = null()
    number = fd.fileno()
    with pytest.warns(ResourceWarning, match=f"unclosed <Fd {number}>"):
        del fd
    assert not is_open(number)


def test_one_that_was_closed_behind_its_back_is_lost_without_a_word() -> None:
    fd = null()
    os.close(fd.fileno())
    with pytest.warns(ResourceWarning, match="unclosed"):
        del fd


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, pickle.dumps])
def test_there_is_no_second_owner(make: object) -> None:
    assert callable(make)
    with null() as fd, pytest.raises(TypeError, match="owns"):
        make(fd)
