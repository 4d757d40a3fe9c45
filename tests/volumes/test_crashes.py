"""Killed at any moment: a volume is there or not, has all of its old content or all of its new, and is used by the living."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import pycontainer as pc

FILES = 120
#: How often something is killed; many times in the slow tests.
ROUNDS = pytest.mark.parametrize("rounds", [10, pytest.param(100, marks=pytest.mark.slow)])

SCRIPT = """
import os, sys, time, pycontainer as pc
from pycontainer.volume import content
name, layer, archives, mode = sys.argv[1], sys.argv[2], sys.argv[3:5], sys.argv[5]
volumes = pc.default_engine().volumes
fill = lambda tree: content.fill(tree, (layer,), "user", "/data")
print("ready", flush=True)
number = 0
while True:
    number += 1
    try:
        if mode == "restore":
            volumes.restore(name, archives[number % 2])
            continue
        if mode == "clone":
            volumes.clone(name, f"{name}-{number}")
            continue
        held = volumes.hold(name, who="the killed", fill=fill)
        held.close()
        volumes.remove(name)
    except pc.StateError:
        pass
"""


def kill_at_random(seed: int, *arguments: object) -> None:
    """Let the script run for 1 to 600 ms, and kill it."""
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(10 ** random.Random(seed).uniform(-3, -0.22))
        process.kill()


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    data = tmp_path / "layer/data"
    data.mkdir(parents=True)
    for number in range(FILES):
        (data / f"f{number}").write_text("image")
    return tmp_path / "layer"


@pytest.fixture
def archives(name: str, tmp_path: Path) -> list[Path]:
    made = pc.Volume.create(name)
    for text in ("old", "new"):
        for number in range(FILES):
            Path(made.mountpoint, f"f{number}").write_text(text)
        made.backup(tmp_path / f"{text}.tar")
    return [tmp_path / "old.tar", tmp_path / "new.tar"]


def whole(path: str) -> str:
    """Which content a volume has; it has all of it."""
    texts = [Path(path, f"f{number}").read_text() for number in range(FILES)]
    assert len(set(texts)) == 1
    assert len(os.listdir(path)) == FILES
    return texts[0]


def until(condition, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def half_made() -> list[str]:
    """What is in the directory of volumes and is none, and what else than its content a volume has."""
    top = Path(os.environ["PYCONTAINER_ROOT"], "volumes")
    return [str(path) for path in [*top.glob(".*"), *top.glob("*/tree/*")] if path.name != "data"]


@ROUNDS
def test_made_filled_and_removed(name, layer, rounds):
    volumes = pc.default_engine().volumes
    seen = set()
    for seed in range(rounds):
        kill_at_random(seed, name, layer, "-", "-", "fill")
        for volume in volumes.list({"name": name}):
            until(lambda used=volume: used.users() == [])
            found = os.listdir(volume.mountpoint)
            seen.add(len(found))
            if found:
                assert whole(volume.mountpoint) == "image"
        # Whatever was there, the next one has all of it.
        from pycontainer.volume import content

        held = volumes.hold(
            name, who="the test", fill=lambda tree: content.fill(tree, (str(layer),), "user", "/data")
        )
        assert whole(held.path) == "image"
        held.close()
        volumes.remove(name)
        volumes.prune()
        assert half_made() == []
    assert seen <= {0, FILES}


@ROUNDS
def test_restored(name, archives, rounds):
    volumes = pc.default_engine().volumes
    seen = set()
    for seed in range(rounds):
        kill_at_random(seed, name, "-", *archives, "restore")
        made = volumes.get(name)
        until(lambda used=made: used.users() == [])
        seen.add(whole(made.mountpoint))
        if seed % 4 == 3:
            made.restore(archives[0])
            assert whole(made.mountpoint) == "old"
            assert half_made() == []
    assert seen == {"old", "new"}


@ROUNDS
def test_cloned(name, archives, rounds):
    volumes = pc.default_engine().volumes
    for seed in range(rounds):
        kill_at_random(seed, name, "-", *archives, "clone")
        until(
            lambda: volumes.users(name) == []
        )  # a process that was just being started may be the last to go
        for volume in volumes.list({"name": f"{name}-"}):
            assert whole(volume.mountpoint) == "new"
            volume.remove()
    volumes.prune()
    assert half_made() == []


# -- whole hosts ---------------------------------------------------------------------------

HOST = """
import sys, time, pycontainer as pc
mounts = [f"{sys.argv[1]}:/data", "/own"]
container = pc.Container.create("host:", ["sh", "-c", "touch /own/x; while :; do date > /data/f; done"], mounts=mounts)
container.start()
print(container.pid, container.name, flush=True)
time.sleep(1000)
"""


@pytest.fixture
def host(name: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    with subprocess.Popen([sys.executable, "-c", HOST, name], stdout=subprocess.PIPE, text=True) as process:
        yield process, process.stdout.readline().split()
        process.kill()


def own_volumes() -> list[Path]:
    return list(Path(os.environ["PYCONTAINER_ROOT"], "run").glob("*/*-volumes"))


def test_a_volume_is_used_until_the_last_process_of_a_killed_host_is_gone(host, name):
    process, (pid, container) = host
    volumes = pc.default_engine().volumes
    assert volumes.users(name) == [f"container {container}"]
    with pytest.raises(pc.StateError, match=container):
        volumes.remove(name)
    ended = os.pidfd_open(int(pid))
    process.send_signal(signal.SIGKILL)
    while volumes.users(name):
        time.sleep(0.001)
    # Not before: who would use it now meets nobody.
    assert select.select([ended], [], [], 0)[0]
    os.close(ended)
    volumes.remove(name)
    until(lambda: own_volumes() == [])


def test_a_host_that_is_killed_with_its_reaper_uses_nothing_after_the_next_sweep(host, name):
    process, (pid, _) = host
    reaper = next(
        int(each)
        for each in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        if Path(f"/proc/{each}/comm").read_text() == "reaper\n"
    )
    pidfd = os.pidfd_open(reaper)
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    select.select([pidfd], [], [], 30)
    os.close(pidfd)
    script = (
        "import sys, pycontainer as pc; pc.run('host:', ['true'], mounts=[f'{sys.argv[1]}:/data']).check()"
    )
    subprocess.run([sys.executable, "-c", script, name], check=True, timeout=60)
    until(lambda: not Path(f"/proc/{pid}").exists() or " Z " in Path(f"/proc/{pid}/stat").read_text())
    volumes = pc.default_engine().volumes
    assert volumes.users(name) == []
    volumes.remove(name)
    until(lambda: own_volumes() == [])


# -- a database ----------------------------------------------------------------------------

DATABASE = """
import sys, time, pycontainer as pc
name, programs, writes = sys.argv[1], sys.argv[2], sys.argv[3] == "write"
setup = f'''
set -e
if [ ! -e /data/pg/PG_VERSION ]; then
    mkdir -pm 700 /data/pg
    {programs}/initdb -D /data/pg -A trust -U test --no-locale >/dev/null
fi
rm -f /data/pg/postmaster.pid
exec {programs}/postgres -D /data/pg -k /tmp -c listen_addresses= -c shared_buffers=1MB -c dynamic_shared_memory_type=mmap
'''
def psql(*words):
    result = db.exec([f"{programs}/psql", "-h", "/tmp", "-U", "test", "-d", "postgres", "-qtA", *words], text=True)
    return result.stdout.strip() if result.exit_code == 0 else None
pc.run("host:", ["sh", "-c", "chown nobody /data"], mounts=[f"{name}:/data"]).check()
with pc.Container.create("host:", ["sh", "-c", setup], mounts=[f"{name}:/data"], user="nobody", tmpfs=["/tmp"]) as db:
    db.start()
    while psql("-c", "select 1") != "1":
        assert db.status == "running"
        time.sleep(0.05)
    if writes:
        psql("-c", "create table if not exists t (n int)")
        for number in range(100000):
            psql("-c", f"insert into t values ({number})")
            print(number, flush=True)
    else:
        print(psql("-c", "select count(*), count(distinct n), max(n) from t"), flush=True)
    db.stop(timeout=30)
"""


@pytest.mark.needs("postgres")
def test_a_database_survives_the_end_of_everything(name):
    """Each row that was acknowledged is there after its server and all around it were killed."""
    programs = str(sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1])
    if os.geteuid() != 0 and pc.run("host:", ["chown", "nobody", "/tmp"]).exit_code:
        pytest.skip("the container has one user alone, and PostgreSQL refuses to run as its root")
    last = -1
    with subprocess.Popen(
        [sys.executable, "-c", DATABASE, name, programs, "write"], stdout=subprocess.PIPE, text=True
    ) as process:
        for _ in range(15):
            last = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split()
        last = int(rest[-1]) if rest else last
    until(lambda: pc.Volume.get(name).users() == [])
    command = [sys.executable, "-c", DATABASE, name, programs, "read"]
    found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=120).stdout
    count, distinct, highest = map(int, found.split("|"))
    assert count == distinct == highest + 1
    assert highest in {last, last + 1}
