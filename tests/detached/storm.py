"""Clients that use the same containers at random, and what must hold whatever became of them.

Every container runs ``sleep`` for a time that no other program of the machine sleeps, so what is left of one is found.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

import pycontainer as pc

#: Seconds with a fraction that is the mark of one storm and one container: what /proc tells by.
_SLEEP = re.compile(rb"sleep\0(1000\.\d+)\0")

CLIENT = """
import contextlib, random, socket
chance = random.Random(int(sys.argv[1]))
until = time.time() + float(sys.argv[2])
image, mark = sys.argv[3], sys.argv[4]
#: What others do at the same time is no error; everything else is.
KNOWN = (pc.StateError, pc.InvalidArgument)
left = []

def new(verb):
    sleep = f"1000.{mark}{chance.randrange(1 << 30):010d}"
    script = chance.choice([f"echo hi; exec sleep {sleep}", f"sleep {sleep} & exec sleep {sleep}", "echo short; sleep 0.05", "exit 3"])
    options = dict(name=f"n{chance.randrange(8)}", labels={"sleep": sleep})
    kind = chance.randrange(6)
    if kind < 3:
        options["restart"] = ["always", "on-failure:1", "unless-stopped"][kind]
    elif kind == 3:
        options["auto_remove"] = True
    if chance.random() < 0.2:
        options["healthcheck"] = pc.HealthCheck(["true"], interval=0.05)
    if chance.random() < 0.2:
        options["stdin_open"] = True
    made = pc.Container.create(image, ["sh", "-c", script], detach=True, **options)
    if verb == "run":
        made.start()
    made.close()

def follow(c):
    lines = c.logs(follow=True, until=time.time() + 0.3)
    for _, line in zip(range(3), lines):
        pass
    lines.close()

def attach(c):
    with c.attach() as streams:
        with contextlib.suppress(pc.NotSupported, BrokenPipeError):
            streams.write(b"x\\n")

def leave(c):
    # A program that is never asked about.
    if len(left) < 3:
        left.append(c.popen(["sleep", "0.3"]))

def update(c):
    with contextlib.suppress(pc.NotSupported):
        c.update(memory=f"{chance.randrange(32, 64)}M")

def short(call, *words):
    with contextlib.suppress(pc.WaitTimeout):
        call(*words, 0.2)

def paused(call):  # what needs a cgroup
    with contextlib.suppress(pc.NotSupported):
        call()

def commit(c):
    with contextlib.suppress(pc.NotSupported):
        c.commit()

VERBS = {
    "start": lambda c: c.start(),
    "stop": lambda c: c.stop(0),
    "kill": lambda c: c.kill(),
    "signal": lambda c: c.kill(chance.choice(["TERM", "USR1", "STOP", "CONT"])),
    "restart": lambda c: c.restart(0),
    "pause": lambda c: paused(c.pause),
    "unpause": lambda c: paused(c.unpause),
    "exec": lambda c: c.exec(["true"], timeout=30),
    "remove": lambda c: c.remove(force=chance.random() < 0.7),
    "rename": lambda c: c.rename(f"n{chance.randrange(8)}"),
    "logs": lambda c: list(c.logs()),
    "follow": follow,
    "attach": attach,
    "wait": lambda c: short(c.wait),
    "update": update,
    "commit": commit,
    "put": lambda c: c.write_bytes("/tmp/x", b"x" * chance.randrange(1 << 16)),
    "get": lambda c: c.read_bytes("/etc/passwd"),
    "changes": lambda c: c.changes(),
    "leave": leave,
    "inspect": lambda c: c.inspect(),
    "stats": lambda c: paused(c.stats),
    "export": lambda c: paused(lambda: c.export("/dev/null")),
    "policy": lambda c: c.set_restart(chance.choice(["no", "always", "on-failure:2"])),
    "health": lambda c: (c.health, c.health_log()),
    "close_input": lambda c: c.close_input(),
}
RARE = {"remove": 0.5, "commit": 0.3, "stop": 0.5, "kill": 0.5}
verbs = 0
while time.time() < until:
    there = engine.containers.list(all=True)
    what = "list"
    try:
        if len(there) < 8 and chance.random() < 0.5 or not there:
            what = chance.choice(["create", "run"])
            new(what)
        elif chance.random() < 0.02:
            what = "prune"
            engine.containers.prune()
        elif chance.random() < 0.02:
            what = "events"
            list(engine.containers.events(since=0, follow=False))
        else:
            what = chance.choice(list(VERBS))
            if chance.random() < RARE.get(what, 1):
                VERBS[what](chance.choice(there))
    except KNOWN:
        pass
    except BaseException as error:
        import traceback
        if isinstance(error, pc.KernelError) and "it ended at once" in str(error):
            continue  # its monitor was killed in the midst of the start
        say([what, traceback.format_exc()])
        sys.exit(1)
    verbs += 1
    for each in there:
        each.close()
say(verbs)
"""


def sleepers(mark: str) -> dict[str, list[int]]:
    """The processes of the storm's containers that there are, by their container's mark."""
    found: dict[str, list[int]] = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
            told = _SLEEP.search(file.read())
            if told is not None and told[1].startswith(b"1000." + mark.encode()):
                found.setdefault(told[1].decode(), []).append(int(pid))
    return found


def monitors(root: str) -> dict[str, list[int]]:
    """The monitors and guards of the engine's containers, by the container's id."""
    found: dict[str, list[int]] = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/comm") as file:
                if file.read().strip() not in {"monitor", "guard"}:
                    continue
            place = os.readlink(f"/proc/{pid}/fd/4")
            if place.startswith(f"{root}/containers/"):
                found.setdefault(os.path.basename(place.removesuffix(" (deleted)")), []).append(int(pid))
    return found


def mounts(root: str) -> list[str]:
    """The processes whose mount namespaces have something of the engine's containers."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/mountinfo") as file:
            if f"{root}/containers/" in file.read():
                found.append(pid)
    return found


def cgroups(root: str) -> list[str]:
    """The cgroups of the engine's containers."""
    from tests.support import leaks

    mark = leaks._mark()
    return [
        path
        for top in leaks._hierarchies()
        for path in leaks._tree(top)
        if f"/pycontainer-{mark}-" in path[len(top) :]
    ]


def settled(condition: Any, timeout: float = 30.0) -> Any:
    """Wait until there is nothing any more; what there is at the end."""
    deadline = time.monotonic() + timeout
    while (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def contradictions(root: str, mark: str) -> list[str]:
    """What does not fit: statuses, the kernel's processes and cgroups, folders, rows. Nobody else may be at work."""
    found = []
    # Lists only read: what somebody left half made goes when one is made or pruned, and none is as old as this asks for.
    assert pc.default_engine().containers.prune(until=0) == []
    containers = pc.default_engine().containers.list(all=True)
    for each in containers:
        found += [f"{each.name} ({each.id[:12]}): {text}" for text in _contradictions_of(each, mark)]
    known = {each.id for each in containers}
    folders = {
        name
        for name in os.listdir(f"{root}/containers")
        if os.path.isdir(f"{root}/containers/{name}") and not name.startswith(".")
    }
    with contextlib.closing(sqlite3.connect(f"{root}/containers/containers.db")) as connection:
        rows = {id_ for (id_,) in connection.execute("SELECT id FROM containers")}
    if rows != known:
        found.append(f"rows: {rows ^ known}")
    if folders != known:
        found.append(f"folders: {folders ^ known}")
    by_mark = {each.labels["sleep"]: each for each in containers}
    found += [f"processes of nobody: {name}" for name in sleepers(mark) if name not in by_mark]
    found += [f"monitors of nobody: {pids}" for id_, pids in monitors(root).items() if id_ not in known]
    for each in containers:
        each.close()
    return found


def _contradictions_of(container: Any, mark: str) -> Iterator[str]:
    """Two looks: what changes between them is looked at again by the caller."""
    run, status = container.run_state, container.status
    seen = sleepers(mark).get(container.labels["sleep"], [])
    if status in {"running", "paused"}:
        if _parent(run.pid) != run.monitor:
            yield f"{status}, but {run.pid} is no child of {run.monitor}"
        if run.code is not None or run.finished:
            yield f"{status}, but ended with {run.code}"
    elif status in {"created", "exited", "dead"}:
        if seen:
            yield f"{status}, but {seen} live"
        if status == "exited" and (run.code is None or not run.started <= run.finished):
            yield f"exited, but {run}"
    elif status != "restarting":
        yield f"unknown: {status}"


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat") as file:
            words = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return -1
    return -1 if words[0] == "Z" else int(words[1])


def output_of(client: Any, timeout: float) -> Any:
    """What a client said last, as JSON."""
    output, _ = client.communicate(timeout=timeout)
    assert client.returncode == 0, output
    return json.loads(output.splitlines()[-1])


def kill(pid: int) -> None:
    """SIGKILL to a process that may have gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def forget_half_made(root: str) -> None:
    """Of creators that were killed: not old enough yet to be swept."""
    for name in os.listdir(f"{root}/containers"):
        if name.startswith(".new-"):
            os.utime(f"{root}/containers/{name}", (0, 0))
