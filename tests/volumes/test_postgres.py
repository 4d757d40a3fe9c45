"""A real database in a volume: what it has committed is there after everybody was killed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import pycontainer as pc
from tests.support import servers
from tests.support.servers import POSTGRES

pytestmark = pytest.mark.needs("root", "overlay", "servers")

#: A host process: its database counts, and it tells each number that is committed.
HOST = """
import sys
import pycontainer as pc
from tests.support import servers
from tests.support.servers import POSTGRES
db = pc.Container.create(servers.image(), POSTGRES.command, env=dict(POSTGRES.env), mounts=[sys.argv[1]])
db.start()
script = '''
export PGUSER=postgres PGHOST=/tmp
until psql -qc "create table if not exists numbers (n serial primary key)" 2>/dev/null; do sleep 0.05; done
while psql -qAtc "insert into numbers default values returning n"; do :; done
'''
client = db.popen(["sh", "-c", script], stdout=pc.PIPE)
for line in client.stdout:
    print(int(line), flush=True)
"""
#: The next start of an engine: it removes what killed ones left whose reaper was killed, too.
NEXT = "import pycontainer as pc; pc.run('host:', ['true']).check(); pc.default_engine().close()"


def descendants(pid: int) -> list[int]:
    """A process and all that come from it, as far as their parents live."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def kill(pid: int, whom: str) -> None:
    """Kill a host process, or it and all that it started: reaper, containers, servers."""
    for each in descendants(pid) if whom == "everything" else [pid]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


@pytest.mark.parametrize("whom", ["the host process", "everything"])
def test_what_was_committed_is_there_after_kill_9(name: str, whom: str) -> None:
    pause = random.Random(whom)
    mount = f"{name}:{POSTGRES.env['PGDATA']}"
    committed: set[int] = set()
    for _ in range(3):
        command = [sys.executable, "-c", HOST, mount]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as host:
            assert host.stdout is not None
            committed.add(int(host.stdout.readline()))
            time.sleep(pause.random() * 0.3)
            kill(host.pid, whom)
            committed |= {int(line) for line in host.stdout if line.endswith("\n")}
        volume = pc.Volume.get(name)
        deadline = time.monotonic() + 20
        while volume.inspect().users:
            assert time.monotonic() < deadline, volume.inspect().users
            time.sleep(0.01)
    assert committed <= numbers(mount)
    assert len(committed) >= 3
    subprocess.run([sys.executable, "-c", NEXT], check=True)


def numbers(mount: str) -> set[int]:
    """What the database has, asked by a server of its own."""
    with pc.Container.create(
        servers.image(), POSTGRES.command, env=dict(POSTGRES.env), mounts=[mount]
    ) as container:
        container.start()
        command = ["psql", "-h", "/tmp", "-U", "postgres", "-Atc", "select n from numbers"]
        deadline = time.monotonic() + 60
        while (done := container.exec(command, text=True)).exit_code != 0:
            assert container.status == "running"
            assert time.monotonic() < deadline, done.stderr
            time.sleep(0.05)
        return {int(word) for word in done.stdout.split()}
