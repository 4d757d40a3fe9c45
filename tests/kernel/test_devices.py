"""Device limits in the kernel: a process in a cgroup opens and makes device nodes, or may not."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from pycontainer.errors import NotSupported
from pycontainer.kernel import operation as op
from pycontainer.kernel.cgroup import Cgroup
from pycontainer.kernel.cgroup.device_program import DeviceProgram, load
from pycontainer.kernel.cgroup.devices import DEFAULT, DeviceRule, write_rules
from pycontainer.kernel.native import lib, wait_usage
from pycontainer.kernel.script import Script
from pycontainer.kernel.spawn import Spawn, spawn
from tests.support import needs
from tests.support.refuse import refusing

pytestmark = pytest.mark.needs("root")

NODES = {"null": os.makedev(1, 3), "zero": os.makedev(1, 5), "full": os.makedev(1, 7)}
#: What a process tries: the exit status of each line is told.
TRIES = {
    "read null": ": < null",
    "write null": ": > null",
    "both null": ": <> null",
    "read zero": ": < zero",
    "read full": ": < full",
    "make null": "mknod null2 c 1 3",
}


def rules(*texts: str) -> tuple[DeviceRule, ...]:
    return tuple(
        DeviceRule.parse("devices", text.removeprefix("-"), allow=not text.startswith("-")) for text in texts
    )


class Place:
    """A cgroup's directory, and how a process gets into it and rules onto it."""

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.version = 1 if os.path.exists(f"{path}/tasks") else 2
        self.program: DeviceProgram | None = None

    def limit(self, wanted: Sequence[DeviceRule]) -> None:
        if self.version == 1:
            write_rules(self.fd, wanted)
        elif self.program is None:
            self.program = DeviceProgram.attach(self.fd, wanted)
        else:
            self.program.replace(self.fd, wanted)

    def allowed(self) -> set[str]:
        """What a process in the cgroup can do. The nodes are made outside of it, on a tmpfs without a name."""
        nodes = [
            op.make_device(name, at=1, mode=stat.S_IFCHR | 0o666, device=number)
            for name, number in NODES.items()
        ]
        lines = "\n".join(f"({line}) && echo '{name}'" for name, line in TRIES.items())
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        tasks = self._open_tasks()
        request = Spawn(
            argv=(b"sh", b"-c", f"exec 2> errors\n{lines}\ntrue".encode()),
            env=(b"PATH=/usr/bin:/bin:/usr/sbin:/sbin",),
            candidates=(b"/bin/sh",),
            script=Script.of(outer=[*op.new_mount("tmpfs", out=1), *nodes], inner=[op.enter_directory(1)]),
            fds=(theirs, -1, self.fd if tasks < 0 else tasks),
            stdio=((0, 1),),
            cgroup=2 if tasks < 0 else -1,
            tasks=(2,) if tasks >= 0 else (),
        )  # fmt: skip
        try:
            _, pidfd = spawn(request)
            os.close(theirs)
            with open(ours) as file:
                told = file.read().splitlines()
            ended = wait_usage(pidfd, os.WEXITED)
            os.close(pidfd)
        finally:
            if tasks >= 0:
                os.close(tasks)
        assert ended is not None
        assert ended.status == 0
        return set(told)

    def _open_tasks(self) -> int:
        return os.open("tasks", os.O_WRONLY | os.O_CLOEXEC, dir_fd=self.fd) if self.version == 1 else -1

    def close(self) -> None:
        if self.program is not None:
            self.program.close()
        os.close(self.fd)


def _own_v1_devices() -> Path:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        dash = fields.index("-")
        if fields[dash + 1] == "cgroup" and "devices" in fields[dash + 3].split(","):
            own = next(
                words[2]
                for words in (
                    each.split(":", 2) for each in Path("/proc/self/cgroup").read_text().splitlines()
                )
                if "devices" in words[1].split(",")
            )
            return Path(fields[4] + own)
    raise AssertionError("no devices controller")


@pytest.fixture(
    params=[pytest.param(1, marks=pytest.mark.needs("cgroup1")), pytest.param(2, marks=pytest.mark.needs("cgroup2_tree"))],
    ids=["v1", "v2"],
)  # fmt: skip
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    above = str(_own_v1_devices()) if request.param == 1 else needs.cgroup_places(2)[0]
    path = f"{above}/devices-{os.getpid()}"
    os.mkdir(path)
    try:
        made = Place(path)
        try:
            yield made
        finally:
            made.close()
    finally:
        os.rmdir(path)


ALL = set(TRIES)


def test_without_rules_all_is_as_above(place: Place) -> None:
    assert place.allowed() == ALL


def test_nothing_allowed(place: Place) -> None:
    place.limit(())
    assert place.allowed() == set()


def test_what_docker_allows(place: Place) -> None:
    place.limit(DEFAULT)
    assert place.allowed() == ALL


def test_reading_one_device_alone(place: Place) -> None:
    place.limit(rules("c 1:3 r"))
    assert place.allowed() == {"read null"}


def test_every_minor_number(place: Place) -> None:
    place.limit(rules("c 1:* r"))
    assert place.allowed() == {"read null", "read zero", "read full"}


def test_reading_by_one_rule_and_writing_by_another(place: Place) -> None:
    place.limit(rules("c 1:* r", "c 1:3 w"))
    assert place.allowed() == {"read null", "write null", "both null", "read zero", "read full"}


def test_making_nodes_alone(place: Place) -> None:
    place.limit(rules("c *:* m"))
    assert place.allowed() == {"make null"}


def test_all_but_some(place: Place) -> None:
    place.limit(rules("a", "-c 1:5 r", "-c 1:3 wm"))
    assert place.allowed() == {"read null", "read full"}


def test_block_devices_alone(place: Place) -> None:
    place.limit(rules("b *:*"))
    assert place.allowed() == set()


@pytest.mark.parametrize("later", [("c 1:3 rw", "c 1:5 r"), ("c 1:7 r",), (), ("a",), ("a", "-c 1:5")])
def test_other_rules_take_the_place_of_the_first(place: Place, later: tuple[str, ...]) -> None:
    expected = {
        0: set(),
        1: ALL if later == ("a",) else {"read full"},
        2: {"read null", "write null", "both null", "read zero"} if "a" not in later else ALL - {"read zero"},
    }[len(later)]
    place.limit(rules("c 1:3 rm", "c 1:5 r"))
    assert place.allowed() == {"read null", "read zero", "make null"}
    place.limit(rules(*later))
    assert place.allowed() == expected


@pytest.mark.needs("cgroup2_tree")
@pytest.mark.parametrize("place", [2], indirect=True, ids=["v2"])
class TestProgram:
    def test_is_replaced_without_a_second_one_beside_it(self, place: Place) -> None:
        """With two programs, both would have to allow."""
        place.limit(rules("c 1:3 r"))
        place.limit(rules("c 1:5 r"))
        assert place.allowed() == {"read zero"}

    def test_goes_when_it_is_detached(self, place: Place) -> None:
        place.limit(())
        assert place.program is not None
        place.program.detach(place.fd)
        assert place.allowed() == ALL

    def test_stays_when_its_fd_is_closed(self, place: Place) -> None:
        place.limit(())
        assert place.program is not None
        place.program.close()
        assert place.allowed() == set()

    def test_of_another_beside_it_must_allow_too(self, place: Place) -> None:
        place.limit(rules("c 1:* r"))
        other = DeviceProgram.attach(place.fd, rules("c 1:3 rw"))
        other.close()
        assert place.allowed() == {"read null"}

    def test_that_cannot_be_attached_leaves_the_old_one_and_no_fd(self, place: Place) -> None:
        place.limit(rules("c 1:3 r"))
        with pytest.raises(NotSupported, match="devices cannot be limited"):
            refusing(lambda: place.limit(rules("c 1:5 r")), "bpf", 1)
        assert place.allowed() == {"read null"}

    def test_of_many_rules_is_taken(self, place: Place) -> None:
        texts = [f"c {major}:{minor} rw" for major in range(2, 52) for minor in range(40)]
        place.limit(rules("c 1:3 r", *texts))
        assert place.allowed() == {"read null"}


@pytest.mark.needs("cgroup1")
@pytest.mark.parametrize("place", [1], indirect=True, ids=["v1"])
class TestVersion1:
    def test_a_cgroup_below_gets_no_more_than_the_one_above(self, place: Place) -> None:
        place.limit(rules("c 1:3 r"))
        os.mkdir("below", dir_fd=place.fd)
        try:
            fd = os.open("below", os.O_RDONLY | os.O_CLOEXEC, dir_fd=place.fd)
            try:
                with pytest.raises(NotSupported, match="allow it in the cgroup above"):
                    write_rules(fd, rules("c 1:5 r"))
            finally:
                os.close(fd)
        finally:
            os.rmdir("below", dir_fd=place.fd)

    def test_rules_stay_written_that_are_in_both(self, place: Place, fault: Callable[[str], None]) -> None:
        place.limit(rules("c 1:3 rw", "c 1:5 r"))
        fault("a")
        place.limit(rules("c 1:3 rw", "c 1:7 r"))
        assert place.allowed() == {"read null", "write null", "both null", "read full"}


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Refuse to write one rule: the test says which must not be written."""
    from pycontainer.kernel.cgroup import devices

    write = devices._write

    def arm(refused: str) -> None:
        def checked(directory: int, name: str, rule: str) -> None:
            assert rule != refused
            write(directory, name, rule)

        monkeypatch.setattr(devices, "_write", checked)

    return arm


def test_a_program_that_the_verifier_refuses_is_an_error() -> None:
    with pytest.raises(OSError, match="load an eBPF program"):
        load(bytes(8), lib.BPF_PROG_TYPE_CGROUP_DEVICE)


@pytest.mark.needs("cgroup2_tree")
class TestCgroup:
    """The public part, on whichever version has device limits here."""

    @staticmethod
    def allowed(group: Cgroup) -> set[str]:
        place = Place(group.paths.get("devices") or group.path)
        try:
            return place.allowed()
        finally:
            place.close()

    def test_is_limited_from_the_start(self) -> None:
        with Cgroup.create(f"devices-{os.getpid()}", devices=["c 1:3 r"]) as group:
            assert self.allowed(group) == {"read null"}
            assert group.limits.devices == rules("c 1:3 r")

    def test_without_any_device(self) -> None:
        with Cgroup.create(f"devices-{os.getpid()}", devices=()) as group:
            assert self.allowed(group) == set()

    def test_takes_rules_as_values(self) -> None:
        refused = DeviceRule(kind="c", major=1, minor=5, allow=False)
        with Cgroup.create(f"devices-{os.getpid()}", devices=[DeviceRule(kind="a"), refused]) as group:
            assert self.allowed(group) == ALL - {"read zero"}

    def test_is_updated_and_set_free(self) -> None:
        with Cgroup.create(f"devices-{os.getpid()}", devices=["c 1:3 r"]) as group:
            group.update(devices=["c 1:5 r"])
            assert self.allowed(group) == {"read zero"}
            group.update(devices=None)
            assert self.allowed(group) == ALL

    def test_that_had_no_rules_gets_some(self) -> None:
        with Cgroup.create(f"devices-{os.getpid()}") as group:
            group.update(devices=["c 1:7 r"])
            assert self.allowed(group) == {"read full"}

    def test_in_one_that_allows_less_is_refused_with_nothing_left(self) -> None:
        with Cgroup.create(f"devices-{os.getpid()}", devices=["c 1:3 r"]) as group:
            if "devices" not in group.paths:
                pytest.skip("version 2 takes every rule, and allows what both do")
            with pytest.raises(NotSupported, match="cgroup above"):
                group.child("below", devices=["c 1:5 r"])
            assert not os.path.exists(f"{group.paths['devices']}/below")
