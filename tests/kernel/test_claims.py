"""Blocks of host ids for many containers: claimed several at once, each free of whoever ran with its ids."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from pycontainer.errors import NotSupported
from pycontainer.kernel import idmap, userns
from pycontainer.kernel.idmap import BLOCK, IdMap, claim_blocks
from pycontainer.kernel.native import lib
from pycontainer.kernel.spawn import spawn
from tests.kernel.test_idmap import FIRST, claims, command, end

pytestmark = pytest.mark.needs("root")
__all__ = ["claims"]


def test_several_at_once_are_different_and_those_that_are_left(
    claims: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idmap, "LAST", FIRST + 5 * BLOCK)
    first = claim_blocks(3)
    rest = claim_blocks(3)
    assert [each.base for each in first + rest] == [FIRST + number * BLOCK for number in range(5)]
    with pytest.raises(NotSupported, match="every block of host ids is in use"):
        claim_blocks(3)
    for each in first + rest:
        each.release()


def test_what_runs_with_the_ids_of_any_of_them_is_ended(claims: Path) -> None:
    fd = userns.create(IdMap.block(FIRST + BLOCK))
    try:
        _, pidfd = spawn(command("sleep 60", fd, joins=((0, lib.CLONE_NEWUSER),), ns_root=True))
    finally:
        os.close(fd)
    made = claim_blocks(3)
    ended = end(pidfd)
    assert (ended.code, ended.status) == (os.CLD_KILLED, signal.SIGKILL)
    for each in made:
        each.release()


def test_a_process_with_many_containers_looks_at_all_processes_seldom(
    claims: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[set[int]] = []
    look = idmap._end_orphans
    monkeypatch.setattr(idmap, "_end_orphans", lambda bases: (looks.append(set(bases)), look(bases)))
    leases = userns.Leases()
    taken = [leases.take() for _ in range(100)]
    assert len({each.map for each in taken}) == 100
    assert len(looks) < 25
    for each in taken:
        leases.give_back(each, reusable=True)
    leases.close()
    again = claim_blocks(1)
    assert again[0].base == min(min(each) for each in looks), "all were given back"
    again[0].release()
