"""Which host ids stand behind a container's: blocks that no two processes share, maps as the kernel has them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from pycontainer.errors import KernelError, NotSupported
from pycontainer.kernel import idmap, userns
from pycontainer.kernel.idmap import BLOCK, Extent, IdMap, claim_block
from pycontainer.kernel.native import lib
from pycontainer.kernel.spawn import spawn
from pycontainer.kernel.userns import Leases
from tests.support.spawning import command, end, output

#: Ids that nobody else uses: whoever claims a block ends what runs with its ids.
FIRST, LAST = 0x6F00_0000, 0x6FFF_0000

CLAIM = """
import sys
from pycontainer.kernel import idmap
idmap.CLAIMS, idmap.FIRST, idmap.LAST = sys.argv[1], 0x6F00_0000, 0x6FFF_0000
claims = [idmap.claim_block() for _ in range(int(sys.argv[2]))]
print(*(claim.base for claim in claims), flush=True)
sys.stdin.read()
"""


MAKE = """
import os
from pycontainer.kernel import userns
from pycontainer.kernel.idmap import IdMap
print("ready", flush=True)
while True:
    os.close(userns.create(IdMap.single(os.geteuid(), os.getegid())))
"""


@pytest.fixture
def claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for claims, and ids, that no other program uses."""
    monkeypatch.setattr(idmap, "CLAIMS", str(tmp_path / "ids"))
    monkeypatch.setattr(idmap, "FIRST", FIRST)
    monkeypatch.setattr(idmap, "LAST", LAST)
    return tmp_path / "ids"


@contextmanager
def claiming(folder: Path, count: int) -> Iterator[subprocess.Popen[str]]:
    """Another process that claims blocks, prints them and keeps them until its stdin ends."""
    command = [sys.executable, "-c", CLAIM, str(folder), str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def bases(process: subprocess.Popen[str]) -> list[int]:
    assert process.stdout is not None
    return [int(word) for word in process.stdout.readline().split()]


def granted() -> list[range]:
    """What /etc/subuid and /etc/subgid give away, read independently."""
    lines = [
        line.split(":")
        for path in ("/etc/subuid", "/etc/subgid")
        if os.path.exists(path)
        for line in Path(path).read_text().split()
    ]
    return [range(int(first), int(first) + int(count)) for _, first, count in lines]


# -- claims ----------------------------------------------------------------------------------------


@pytest.mark.needs("root")
def test_a_block_is_of_the_unused_range_and_free_again_after_release(claims: Path) -> None:
    claim = claim_block()
    assert FIRST <= claim.base < LAST
    assert (claim.base - FIRST) % BLOCK == 0
    assert not any(set(range(claim.base, claim.base + BLOCK, 4096)) & set(taken) for taken in granted())
    other = claim_block()
    assert other.base != claim.base
    claim.release()
    again = claim_block()
    assert again.base == claim.base
    again.release()
    other.release()
    assert claims.stat().st_mode & 0o777 == 0o700


@pytest.mark.needs("root")
def test_processes_at_the_same_time_get_different_blocks(claims: Path) -> None:
    with ExitStack() as stack:
        others = [stack.enter_context(claiming(claims, 20)) for _ in range(4)]
        theirs = [base for process in others for base in bases(process)]
        mine = claim_block()
    mine.release()
    assert len(theirs) == 80
    assert len({*theirs, mine.base}) == 81


@pytest.mark.needs("root")
def test_the_block_of_a_process_that_was_killed_is_free_again(claims: Path) -> None:
    with claiming(claims, 1) as process:
        (base,) = bases(process)
        kept = claim_block()
        assert kept.base != base
        process.send_signal(signal.SIGKILL)
        process.wait()
        freed = claim_block()
        assert freed.base == base
    kept.release()
    freed.release()


@pytest.mark.needs("root")
def test_when_all_blocks_are_in_use_it_says_so(claims: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idmap, "LAST", FIRST + 3 * BLOCK)
    monkeypatch.setattr(idmap, "granted_ranges", lambda: ((FIRST + BLOCK + 7, 1),))
    with ExitStack() as stack:
        for expected in (FIRST, FIRST + 2 * BLOCK):  # the one between is granted in part
            claim = claim_block()
            stack.callback(claim.release)
            assert claim.base == expected
        with pytest.raises(NotSupported, match="every block of host ids is in use"):
            claim_block()


@pytest.mark.needs("root")
def test_what_still_runs_with_the_ids_of_a_free_block_is_ended(claims: Path) -> None:
    fd = userns.create(IdMap.block(FIRST))
    try:
        _, pidfd = spawn(command("sleep 60", fd, joins=((0, lib.CLONE_NEWUSER),), ns_root=True))
    finally:
        os.close(fd)
    claim = claim_block()
    assert claim.base == FIRST
    ended = end(pidfd)
    assert (ended.code, ended.status) == (os.CLD_KILLED, signal.SIGKILL)
    claim.release()


# -- maps as values --------------------------------------------------------------------------------


def test_a_map_answers_for_users_and_groups_apart() -> None:
    map_ = IdMap((Extent(0, 1000, 1), Extent(1, 5000, 10)), (Extent(0, 100, 1),))
    assert [map_.host_uid(number) for number in (0, 1, 10, 11)] == [1000, 5000, 5009, None]
    assert [map_.host_gid(number) for number in (0, 1)] == [100, None]
    assert [map_.inside(number, number) for number in (1000, 100, 5009, 5010)] == [
        (0, None), (None, 0), (10, None), (None, None),
    ]  # fmt: skip
    assert not map_.is_single
    assert str(map_.uids[1]) == "1 5000 10"
    assert IdMap.single(7, 8, inside=(3, 4)) == IdMap((Extent(3, 7, 1),), (Extent(4, 8, 1),))
    assert IdMap.single(7, 8).is_single


def test_a_grant_is_found_by_name_or_number_and_bounded(tmp_path: Path) -> None:
    table = tmp_path / "subuid"
    table.write_text("nobody:5:1\n# note\nroot:100:200000\n12345:7000:10\n\nbroken\n")
    assert idmap._grant(str(table), 0) == Extent(1, 100, BLOCK - 1)
    assert idmap._grant(str(table), 12345) == Extent(1, 7000, 10)
    assert idmap._grant(str(table), 54321) is None
    assert idmap._grant(str(tmp_path / "absent"), 0) is None


# -- maps in the kernel ----------------------------------------------------------------------------


def seen_inside(fd: int, script: str, *, root: bool = True) -> str:
    return output(script, fd, joins=((1, lib.CLONE_NEWUSER),), ns_root=root)


def rows(text: str) -> list[list[int]]:
    return [[int(word) for word in line.split()] for line in text.splitlines()]


@pytest.mark.needs("userns")
def test_a_single_map_of_the_caller() -> None:
    fd = userns.create(IdMap.single(os.geteuid(), os.getegid()))
    try:
        text = seen_inside(
            fd, "cat /proc/self/uid_map /proc/self/gid_map; id -u; id -g; cat /proc/self/setgroups"
        )
    finally:
        os.close(fd)
    *numbers, setgroups = text.splitlines()
    assert rows("\n".join(numbers)) == [[0, os.geteuid(), 1], [0, os.getegid(), 1], [0], [0]]
    assert setgroups == "deny"


@pytest.mark.needs("userns")
def test_many_single_maps_in_a_row() -> None:
    """Their files in /proc are root's while the holder executes; an ordinary user has to wait for that."""
    for _ in range(50):
        os.close(userns.create(IdMap.single(os.geteuid(), os.getegid())))


def processes_in(place: Path) -> list[str]:
    """The processes whose current directory this is."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{name}/cwd") == str(place):
                found.append(name)
        except OSError:
            continue
    return found


@pytest.mark.needs("userns")
def test_who_is_killed_while_it_makes_user_namespaces_leaves_none(tmp_path: Path) -> None:
    for number in range(30):
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        maker = subprocess.Popen([sys.executable, "-c", MAKE], cwd=tmp_path, env=env, stdout=subprocess.PIPE)
        assert maker.stdout is not None
        assert maker.stdout.readline() == b"ready\n"
        time.sleep(0.005 + number % 10 * 0.0007)
        maker.kill()
        maker.communicate()
    deadline = time.monotonic() + 10
    while found := processes_in(tmp_path):
        assert time.monotonic() < deadline, found
        time.sleep(0.01)


@pytest.mark.needs("root")
def test_a_block_and_who_owns_what_its_root_makes(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    for above in tmp_path.parents:
        if str(above) not in ("/", "/tmp", "/var", "/var/tmp"):
            above.chmod(above.stat().st_mode | 0o011)
    fd = userns.create(IdMap.block(FIRST))
    try:
        text = seen_inside(fd, f"cat /proc/self/uid_map /proc/self/gid_map; touch {tmp_path}/file")
    finally:
        os.close(fd)
    assert rows(text) == [[0, FIRST, BLOCK]] * 2
    status = (tmp_path / "file").stat()
    assert (status.st_uid, status.st_gid) == (FIRST, FIRST)


@pytest.mark.needs("user", "subuid")
def test_the_ranges_of_an_ordinary_user_through_newuidmap() -> None:
    map_ = idmap.user_map()
    own = next(range_ for range_ in granted() if map_.host_uid(1) in range_)
    assert map_.uids == (Extent(0, os.geteuid(), 1), Extent(1, own.start, min(len(own), BLOCK - 1)))
    fd = userns.create(map_)
    try:
        text = seen_inside(fd, "cat /proc/self/uid_map; cat /proc/self/setgroups")
    finally:
        os.close(fd)
    *numbers, setgroups = text.splitlines()
    assert rows("\n".join(numbers)) == [[0, os.geteuid(), 1], [1, own.start, min(len(own), BLOCK - 1)]]
    assert setgroups == "allow"


@pytest.mark.needs("user")
def test_ids_that_are_not_the_callers_are_refused() -> None:
    with pytest.raises(KernelError, match="id map of a user namespace"):
        userns.create(IdMap.single(0, 0))
    with pytest.raises(KernelError, match=r"^map ids with .*newuidmap \d+ 0 70000 2"):
        userns.create(IdMap((Extent(0, 70000, 2),), (Extent(0, 70000, 2),)))


@pytest.mark.needs("userns")
def test_a_lease_belongs_to_one_at_a_time(claims: Path) -> None:
    leases = Leases()
    one, two = leases.take(), leases.take()
    assert os.fstat(one.fd).st_ino != os.fstat(two.fd).st_ino
    if os.geteuid() == 0:
        assert one.map.host_uid(0) != two.map.host_uid(0)
        assert one.map.host_uid(0) not in (0, None)
    else:
        assert one.map.host_uid(0) == two.map.host_uid(0) == os.geteuid()
    leases.give_back(one, reusable=True)
    assert leases.take() is one
    leases.give_back(two, reusable=False)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(two.fd)
    leases.give_back(one, reusable=True)
    leases.close()
    leases.close()
