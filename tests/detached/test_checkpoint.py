"""Processes that go on where a checkpoint has left them, and those that are left as they were because none can be made."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

import pycontainer as pc
from pycontainer.kernel import criu
from pycontainer.kernel.idmap import IdMap
from tests.detached.conftest import folder, gone, until
from tests.support.imagery import base, make_image

#: Two processes that count, each with something in its memory that nobody else knows; and what they have of files.
COUNTING = """
import os, sys, time
who = "kid" if os.fork() == 0 else "top"
secret = os.urandom(8).hex()
open(f"/tmp/{who}", "w").write(secret)
open(f"/dev/shm/{who}", "w").write(secret)
held = open(f"/tmp/held-{who}", "w+")
held.write(secret)
held.flush()
number = 0
while True:
    number += 1
    print(who, number, secret, flush=True)
    time.sleep(0.1)
"""
LOOKING = """
cat /scratch/file /srv/new
for who in top kid; do cmp /tmp/$who /dev/shm/$who; cmp /tmp/$who /tmp/held-$who; done
cut -d: -f3 /proc/self/cgroup
"""
COMMAND = ("python3", "-c", COUNTING)
_STATUS = (
    "Groups",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
    "Seccomp_filters",
    "Umask",
)


def counted(container: Any, *, least: int = 3) -> dict[str, tuple[list[int], set[str]]]:
    """What each process has counted, and its secrets, once both have come so far."""

    def found() -> Any:
        lines = [line.decode().split() for line in container.logs() if line.endswith(b"\n")]
        each = {
            who: (
                [int(words[1]) for words in lines if words[0] == who],
                {words[2] for words in lines if words[0] == who},
            )
            for who in ("top", "kid")
        }
        return each if all(len(numbers) >= least for numbers, _ in each.values()) else None

    result: dict[str, tuple[list[int], set[str]]] = until(found, 120)
    return result


def walls(pid: int) -> dict[str, Any]:
    """How a process is confined, in words that do not depend on its numbers."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
    )
    mounts = []
    for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
        fields = line.split()
        kind = fields[fields.index("-") + 1]
        mounts.append(
            (fields[4], fields[3] if kind != "overlay" else "", ",".join(sorted(fields[5].split(","))), kind)
        )
    kinds = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
    return {
        **{name: status[name].strip() for name in _STATUS},
        "mounts": sorted(mounts),
        "own": {
            kind: os.readlink(f"/proc/{pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}")
            for kind in kinds
        },
        "cgroup": Path(f"/proc/{pid}/cgroup").read_text(),
        "limits": Path(f"/proc/{pid}/limits").read_text(),
        "oom": Path(f"/proc/{pid}/oom_score_adj").read_text(),
        "fds": sorted(
            os.readlink(f"/proc/{pid}/fd/{fd}").partition(":")[0] for fd in os.listdir(f"/proc/{pid}/fd")
        ),
    }


def goes_on(container: Any, before: dict[str, tuple[list[int], set[str]]]) -> None:
    """Both count on from where they were, with what they had in memory."""
    last = max(len(numbers) for numbers, _ in before.values())
    after = counted(container, least=last + 3)
    for who, (numbers, secrets) in after.items():
        assert secrets == before[who][1]
        assert numbers == sorted(numbers), who
        assert set(numbers) >= set(before[who][0])
        assert set(range(1, max(numbers) + 1)) - set(numbers) == set(), who


@pytest.mark.needs("criu")
def test_it_goes_on_where_it_was(box):
    container = box(
        COMMAND, restart="always", tmpfs=["/scratch"], pids=50, best_effort=True, ulimits={"nofile": 100}
    )
    before = counted(container)
    assert container.exec(["sh", "-c", "echo kept > /scratch/file; echo new > /srv/new"]).exit_code == 0
    was, map_ = walls(container.pid), Path(f"/proc/{container.pid}/uid_map").read_text()
    pid = container.pid
    container.checkpoint()
    # Ended by the checkpoint, not by itself: no restart follows.
    assert (container.status, container.exit_code, container.checkpoints()) == ("exited", 137, ["latest"])
    assert gone(pid)
    before = counted(container)
    container.restore()
    assert (container.status, container.exit_code) == ("running", None)
    goes_on(container, before)
    now = walls(container.pid)
    assert now == was
    assert Path(f"/proc/{container.pid}/uid_map").read_text() == map_
    seen = container.exec(
        [
            "sh",
            "-c",
            LOOKING,
        ],
        text=True,
    )
    assert (seen.exit_code, seen.stdout.splitlines()[:2]) == (0, ["kept", "new"])
    assert set(seen.stdout.splitlines()[2:]) == {"/"}
    assert container.exec(["cat", "/tmp/top"], text=True).stdout in counted(container)["top"][1]
    assert [event.action for event in pc.default_engine().containers.events(since=0, follow=False) if event.id == container.id] == [
        "create", "start", "checkpoint", "die", "restore"
    ]  # fmt: skip
    # Its end is seen as ever, and its restart is a start.
    os.kill(container.pid, signal.SIGKILL)
    until(lambda: container.run_state.restarts == 1 and container.status == "running", 60)
    secrets = counted(container)["top"][1]
    until(
        lambda: (
            len(counted(container)["top"][1]) == len(secrets | {""}) or len(counted(container)["top"][1]) == 2
        ),
        60,
    )
    container.stop(0)
    with pytest.raises(pc.StateError, match="changed by a start since the checkpoint"):
        container.restore()
    container.remove_checkpoint("latest")
    assert container.checkpoints() == []


@pytest.mark.needs("criu")
def test_one_that_goes_on_and_its_files_as_they_were(box):
    container = box(COMMAND)
    counted(container)
    container.exec(
        ["sh", "-c", "echo before > /srv/file; rm -r /etc/init.d; mkdir /srv/dir; chown 1000 /srv/dir"]
    )
    pid = container.pid
    container.checkpoint("first", leave_running=True)
    assert (container.status, container.pid, container.checkpoints()) == ("running", pid, ["first"])
    known = counted(container)
    goes_on(container, known)
    container.exec(["sh", "-c", "echo after > /srv/file; rmdir /srv/dir"])
    with pytest.raises(pc.InvalidArgument, match="there is a checkpoint of this name"):
        container.checkpoint("first")
    with pytest.raises(pc.StateError, match="running"):
        container.restore("first")
    last = max(counted(container)["top"][0])
    container.stop(0)
    container.restore("first")
    until(
        lambda: [int(line.split()[1]) for line in container.logs() if line.startswith(b"top")][-1] != last, 60
    )
    assert counted(container)["top"][1] == known["top"][1]
    seen = container.exec(["sh", "-c", "cat /srv/file; stat -c %u /srv/dir"], text=True)
    assert seen.stdout.split() == ["before", "1000"]


@pytest.mark.needs("criu")
def test_in_another_engine_with_other_ids(box, tmp_path):
    containers = pc.default_engine().containers
    container = box(COMMAND, mounts=["/data"])
    counted(container)
    container.exec(["sh", "-c", "echo mine > /data/file; mkdir /srv/dir; chown 1000:50 /srv/dir"])
    map_ = Path(f"/proc/{container.pid}/uid_map").read_text()
    container.checkpoint("moved")
    before = counted(container)
    container.save(tmp_path / "x.tar", checkpoint="moved")
    # Whose block of ids the restored one cannot have.
    other = box(("sleep", "1000"), name="other")
    assert Path(f"/proc/{other.pid}/uid_map").read_text() == map_
    with pc.Engine(
        root=f"{os.path.dirname(os.environ['PYCONTAINER_ROOT'])}/other-{os.urandom(4).hex()}"
    ) as engine:
        with pytest.raises(pc.InvalidArgument, match="processes that CRIU makes as root of the host"):
            engine.containers.load(tmp_path / "x.tar")
        loaded = engine.containers.load(tmp_path / "x.tar", trusted=True)
        try:
            assert (loaded.status, loaded.checkpoints()) == ("created", ["moved"])
            loaded.restore("moved")
            assert Path(f"/proc/{loaded.pid}/uid_map").read_text() != map_
            after = counted(loaded)
            for who, (numbers, secrets) in after.items():
                assert min(numbers) == max(before[who][0]) + 1
                assert secrets == before[who][1]
            seen = loaded.exec(
                ["sh", "-c", "cat /data/file; stat -c '%u:%g' /srv/dir /dev/shm /tmp/top /dev/pts/ptmx"],
                text=True,
            )
            assert seen.stdout.split() == ["mine", "1000:50", "0:0", "0:0", "0:0"]
        finally:
            loaded.remove(force=True)
    assert containers.get(container.id).status == "exited"
    _remove_root(engine.root)


def _remove_root(root: str) -> None:
    import shutil

    shutil.rmtree(root)


VARIANTS: list[dict[str, Any]] = [
    {"network": "host"},
    {"userns": "host"},
    {"read_only": True, "tmpfs": ["/tmp", "/srv"]},
    {"stdin_open": True},
    {
        "security": pc.Security.strict().evolve(landlock=False, minimal_proc=False),
        "tmpfs": ["/tmp"],
        "best_effort": True,
    },
    {"privileged": True},
    {"mounts": ["/data", "HERE:/bound:ro"], "hostname": "there", "workdir": "/srv", "umask": 0o027},
    {"user": "1000:100", "group_add": [5]},
]


@pytest.mark.needs("criu")
@pytest.mark.parametrize("options", VARIANTS, ids=lambda each: ",".join(each))
def test_containers_of_all_kinds(options, box, tmp_path):
    if "mounts" in options:
        options = {**options, "mounts": [each.replace("HERE", str(tmp_path)) for each in options["mounts"]]}
    container = box(COMMAND, **options)
    counted(container)
    was = walls(container.pid)
    container.checkpoint()
    before = counted(container)
    container.restore()
    goes_on(container, before)
    assert walls(container.pid) == was


@pytest.mark.needs("criu", "busybox")
def test_one_of_an_image(box):
    images = pc.default_engine().images
    image = make_image(images, f"checked-{os.urandom(4).hex()}:v1", base())
    container = box(
        ("sh", "-c", "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.1; done"),
        image=image,
        auto_remove=False,
    )
    until(lambda: len(list(container.logs())) > 3)
    container.checkpoint()
    last = list(container.logs())[-1]
    container.restore()
    lines = until(lambda: (now := list(container.logs()))[-1] != last and now, 60)
    assert [int(line.split()[1]) for line in lines] == list(range(1, len(lines) + 1))
    container.remove(force=True)
    images.remove(image.name, force=True)


@pytest.mark.needs("criu")
def test_it_does_not_outlive_its_monitor_either(box):
    container = box(COMMAND)
    counted(container)
    container.checkpoint()
    container.restore()
    pid = container.pid
    os.kill(container.run_state.monitor, signal.SIGKILL)
    until(lambda: gone(pid), 60)
    assert container.status == "dead"


@pytest.mark.needs("criu")
def test_what_cannot_be_written_down_goes_on(box):
    hold = "f = open('/srv/large', 'w+'); f.truncate(70 << 20); import os; os.unlink('/srv/large')\n"
    container = box(("python3", "-c", hold + COUNTING), restart="always")
    before = counted(container)
    pid = container.pid
    with pytest.raises(pc.NotSupported, match=r"CRIU says: .*ghost"):
        container.checkpoint()
    assert (container.status, container.pid, container.checkpoints()) == ("running", pid, [])
    assert os.listdir(f"{folder(container)}/checkpoints") == []
    goes_on(container, before)
    os.kill(pid, signal.SIGKILL)  # and its policy holds
    until(lambda: container.run_state.restarts == 1, 60)


@pytest.mark.needs("criu")
def test_programs_from_outside_are_in_the_way(box):
    container = box(COMMAND)
    counted(container)
    with container.popen(["sleep", "1000"]) as program:
        with pytest.raises(pc.NotSupported, match="a program of exec"):
            container.checkpoint()
        program.kill()
    container.checkpoint(leave_running=True)
    assert container.status == "running"


@pytest.mark.needs("criu")
def test_a_client_that_is_killed_in_the_midst(box, process):
    container = box(COMMAND)
    counted(container)
    for moment in range(4):
        client = process("c = engine.containers.get(sys.argv[1]); say(c.pid); c.checkpoint()", container.id)
        client.stdout.readline()
        time.sleep(0.3 * moment)
        client.kill()
        client.wait()
        # CRIU goes on by itself: all of it, or nothing.
        until(lambda: container.checkpoints() or not _working(container), 60)
        if container.checkpoints():
            container.wait(60)
            before = counted(container)
            container.restore()
            goes_on(container, before)
            container.remove_checkpoint("latest")
        assert container.status == "running"


def _working(container: Any) -> bool:
    place = f"{folder(container)}/checkpoints"
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if place.encode() in Path(f"/proc/{name}/cmdline").read_bytes():
                return True
    return False


@pytest.mark.needs("criu")
def test_images_that_are_damaged(box):
    container = box(COMMAND)
    counted(container)
    container.checkpoint()
    place = f"{folder(container)}/checkpoints/latest/images"
    core = Path(f"{place}/core-1.img")
    content = core.read_bytes()
    core.write_bytes(content[:100])
    with pytest.raises(pc.KernelError, match="restore the checkpoint latest"):
        container.restore()
    assert container.status == "exited"
    core.write_bytes(content)
    before = counted(container)
    container.restore()
    goes_on(container, before)


# -- where there is no checkpoint ------------------------------------------------------------------


def _unable(container: Any, match: str) -> None:
    pid = container.pid
    with pytest.raises(pc.NotSupported, match=match):
        container.checkpoint()
    assert (container.status, container.pid, container.checkpoints()) == ("running", pid, [])
    assert container.exec(["echo", "well"], text=True).stdout == "well\n"


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A criu of the test's own, by its script."""

    def make(script: str | None) -> None:
        monkeypatch.setattr(criu, "_PLACES", "/nowhere")
        monkeypatch.setenv("PATH", str(tmp_path))
        if script is not None:
            (tmp_path / "criu").write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / "criu").chmod(0o755)

    return make


def test_without_the_program(box, program):
    container = box()
    program(None)
    _unable(container, "there is no program criu; install it")
    with pytest.raises(pc.NotSupported):
        container.restore()


def test_with_one_that_does_not_know_the_kernel(box, program):
    container = box()
    program("echo 'Error (criu/vdso.c:12): it is strange here' >&2; exit 1")
    _unable(container, "it is strange here" if os.geteuid() == 0 else "run as root")
    found = pc.doctor()["checkpoints"]
    assert not found.available
    assert ("it is strange here" if os.geteuid() == 0 else "root") in found.detail + found.fix


@pytest.mark.needs("root")
@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"tty": True}, "a container with a terminal; make it without tty"),
        ({"security": pc.Security.strict(), "best_effort": True}, "Landlock"),
    ],
)
def test_containers_that_would_not_be_the_same(options, match, box, program):
    container = box(**options)
    program("exit 0")
    _unable(container, match)


@pytest.mark.needs("root")
def test_names_and_states(box, program):
    container = box(auto_remove=True)
    program("exit 0")
    with pytest.raises(pc.InvalidArgument, match="auto_remove"):
        container.checkpoint()
    with pytest.raises(pc.InvalidArgument, match="two at least"):
        container.checkpoint("../x")
    with pytest.raises(pc.InvalidArgument, match="no such checkpoint"):
        container.remove_checkpoint("latest")
    assert container.checkpoints() == []
    stopped = box(start=False)
    with pytest.raises(pc.InvalidArgument, match="no such checkpoint"):
        stopped.restore("other")
    with pytest.raises(pc.StateError, match="created: cannot checkpoint"):
        stopped.checkpoint()
    with pytest.raises(pc.InvalidArgument, match="no such checkpoint"):
        stopped.save("/nowhere/x.tar", checkpoint="other")


def test_ids_of_another_block():
    """The images of CRIU that tell the host's ids: those of its user namespace, and in options of mounts."""
    before, after = IdMap.block(0x7000_0000), IdMap.block(0x7001_0000)
    head = bytes(range(8))
    image = criu.userns_image(head + b"\x1c\0\0\0" + b"x" * 28, before)
    assert image == head + b"\x1c\0\0\0" + bytes.fromhex(
        "0a0c 0800 1080808080 07 18808004".replace(" ", "")
    ) * 1 + bytes.fromhex("120c08001080808080071880 8004".replace(" ", ""))
    options = b"size=64k,uid=1879048192,gid=1879048197,mode=620\x00uid=0,gid=99"
    assert criu.mounts_image(options, before, after) == options.replace(b"1879048192", b"1879113728").replace(
        b"1879048197", b"1879113733"
    )
    with pytest.raises(pc.NotSupported, match="numbers of digits"):
        criu.mounts_image(options, before, IdMap.block(65536))
