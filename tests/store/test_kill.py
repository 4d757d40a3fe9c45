"""Killed at any moment: nothing that was told as done is lost, nothing is half there, nothing stays for ever."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pycontainer.image.store import Report, Store
from tests.support import stores
from tests.support.killing import SHARED, pull

TOP = Path(__file__).parents[2]


def run(root: Path, rounds: int, seed: int) -> int:
    """Two processes on one store, killed again and again; how many of their changes were told as done."""
    command = [sys.executable, "-m", "tests.support.killing", str(root), str(rounds), str(seed)]
    answer = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return int(answer.stdout)


def test_killed_at_random(root):
    assert run(root, 20, random.randrange(1 << 30)) > 20


@pytest.mark.exhaustive
def test_killed_at_random_200_times(root):
    assert run(root, 200, random.randrange(1 << 30)) > 200


#: Everything by which the disk, the database or a lock changes.
CALLS = [
    "mkdir", "mkdirat", "rmdir", "unlink", "unlinkat", "rename", "renameat", "renameat2", "openat", "pwrite64", "write", "ftruncate",
    "fallocate", "fchmod", "fsync", "fdatasync", "syncfs", "flock", "fcntl",
]  # fmt: skip
SCENARIO = """
from tests.support.killing import build, pull
store = Store(sys.argv[1])
def tell(text): print(text, flush=True)
first = pull(store, "kept", [0, 1]); tell("kept")
second = pull(store, "gone", [1, 2]); tell("gone")
store.remove(second); tell("removed")
with store.ingest() as writer: writer.write(b"given up")
build(store, "built", 0); tell("built")
store.settle(); store.collect(); store.close(); tell("end")
"""


def traced(root: Path, log: Path, *options: str) -> subprocess.Popen[str]:
    before = ("strace", "-f", "-qq", "-o", str(log), *options)
    return stores.start(f"sys.path.insert(0, {str(TOP)!r})\n{SCENARIO}", root, before=before)


def killed(place: Path, name: str, number: int) -> bool:
    """Kill the scenario before its ``number``-th call of a name; whether there was such a one."""
    root = place / f"{name}-{number}"
    with traced(
        root, place / "log", "-e", f"trace={name}", "-e", f"inject={name}:signal=KILL:when={number}"
    ) as process:
        told, _ = process.communicate(timeout=100)
    lines = told.split()
    where = f"before {name} number {number}, after {lines}"
    with Store(root) as store:
        assert store.verify() == Report(), where
        names = store.names()
        assert {"kept", "built"} & {*lines} <= {*names}, where
        assert "gone" not in names or "removed" not in lines, where
        # Whatever was left, the same can be done again, and all be removed.
        manifest = pull(store, "kept", [0, 1])
        assert store.resolve("kept") == manifest
        for image in store.images():
            store.remove(image.digest)
        store.collect()
        assert stores.files(root) == [], where
    return process.returncode == -signal.SIGKILL


@pytest.mark.needs("strace")
@pytest.mark.parametrize("name", CALLS)
def test_killed_before_some_calls(tmp_path, name):
    """The first of a name is always there; the others are samples."""
    last = 40
    for number in sorted(random.sample(range(1, last), 2)):
        if not killed(tmp_path, name, number):
            break


@pytest.mark.needs("strace")
@pytest.mark.exhaustive
@pytest.mark.parametrize("name", CALLS)
def test_killed_before_every_call(tmp_path, name):
    number = 1
    while killed(tmp_path, name, number):
        number += 1


@pytest.mark.needs("strace")
def test_what_has_its_name_is_on_the_disk_before(tmp_path, root):
    """A loss of power cannot be tried, so the order of the calls is looked at."""
    log = tmp_path / "log"
    with traced(root, log, "-y", "-e", "trace=fsync,fdatasync,syncfs,renameat2,rename") as process:
        assert process.communicate()[0].split()[-1] == "end"
    calls = [re.sub(r"^\d+ +", "", line) for line in log.read_text(encoding="utf-8").splitlines()]
    blobs = layers = settled = 0
    for place, call in enumerate(calls):
        if not call.startswith("renameat2") or "NOREPLACE" not in call:
            continue
        source, target = re.findall(r'"([^"]*)"', call)
        if target.startswith("blobs/"):
            content = rf"fsync\(\d+<{root}/images/{re.escape(source)}>\) += 0"
            assert any(re.match(content, before) for before in calls[:place])
            after = next(each for each in calls[place + 1 :] if not each.startswith("renameat2"))
            assert re.match(rf"fsync\(\d+<{root}/images/blobs/sha256>\) += 0", after)
            blobs += 1
        else:
            assert target.startswith("layers/")
            layers += 1
            if re.match(rf"syncfs\(\d+<{root}/images/{source}/tree>\) += 0", calls[place - 1]):
                assert re.match(rf"fsync\(\d+<{root}/images/layers>\) += 0", calls[place + 1])
                settled += 1
    assert blobs == 3 + 2 + 3
    assert (layers, settled) == (4, 2)
    assert len(SHARED) > 2
    # Each note, tag and removal, and the header of the log.
    assert sum("state.db-wal>" in call for call in calls if call.startswith(("fsync", "fdatasync"))) >= 6
