"""Any order of verbs against a model; and many processes with random verbs at once, some of them killed."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

import pycontainer as pc
from tests.detached import storm
from tests.detached.conftest import prune_images
from tests.support import imagery

#: In the names of this process's storms.
MARK = f"{os.getpid():08d}"

_ALLOWED = {
    "start": {"created", "exited"},
    "kill": {"running", "paused"},
    "pause": {"running"},
    "unpause": {"paused"},
    "exec": {"running"},
    "remove": {"created", "exited"},
}


class Lives(RuleBasedStateMachine):
    """Containers and what is known of them: name, status, exit code."""

    there = Bundle("there")

    def __init__(self) -> None:
        super().__init__()
        self.containers = pc.default_engine().containers
        self.model: dict[str, dict[str, Any]] = {}
        self.count = 0

    @rule(target=there)
    def create(self):
        if len(self.model) >= 4:
            return multiple()
        self.count += 1
        name = f"m{os.getpid()}-{self.count}"
        made = pc.Container.create("host:", ["sleep", "1000"], detach=True, name=name)
        self.model[made.id] = {"name": name, "status": "created", "code": None}
        return made.id

    def _do(self, id_: str, verb: str, after: str, *words: Any) -> None:
        known = self.model[id_]
        container = self.containers.get(known["name"] if self.count % 2 else id_)
        call = getattr(container, verb)
        if known["status"] in _ALLOWED[verb]:
            call(*words)
            known["status"] = after or known["status"]
        else:
            with pytest.raises(pc.StateError):
                call(*words)
        container.close()

    @rule(id_=there)
    def start(self, id_):
        starts = self.model[id_]["status"] in _ALLOWED["start"]
        self._do(id_, "start", "running")
        if starts:
            self.model[id_]["code"] = None

    @rule(id_=there)
    def kill(self, id_):
        dies = self.model[id_]["status"] in _ALLOWED["kill"]
        self._do(id_, "kill", "exited")
        if dies:
            assert self.containers.get(id_).wait(20) == 137
            self.model[id_]["code"] = 137

    @rule(id_=there)
    def stop(self, id_):
        known = self.model[id_]
        was = known["status"]
        code = self.containers.get(id_).stop(0)
        if was in {"running", "paused"}:
            known.update(status="exited", code=137)
        assert code == known["code"]

    @rule(id_=there)
    def restart(self, id_):
        container = self.containers.get(id_)
        container.restart(0)
        container.close()
        self.model[id_].update(status="running", code=None)

    @rule(id_=there)
    def pause(self, id_):
        self._do(id_, "pause", "paused")

    @rule(id_=there)
    def unpause(self, id_):
        self._do(id_, "unpause", "running")

    @rule(id_=there)
    def exec(self, id_):
        self._do(id_, "exec", "", ["true"])

    @rule(id_=there, force=st.booleans())
    def rename(self, id_, force):
        del force
        self.count += 1
        name = f"m{os.getpid()}-{self.count}"
        self.containers.get(id_).rename(name)
        self.model[id_]["name"] = name

    @rule(id_=consumes(there))
    def remove(self, id_):
        container = self.containers.get(id_)
        if self.model[id_]["status"] not in _ALLOWED["remove"]:
            with pytest.raises(pc.StateError):
                container.remove()
        container.remove(force=True)
        del self.model[id_]

    @invariant()
    def everybody_sees_the_same(self):
        found = {
            each.id: {"name": each.name, "status": each.status, "code": each.exit_code}
            for each in self.containers.list(all=True)
        }
        assert found == self.model

    def teardown(self):
        for each in self.containers.list(all=True):
            each.remove(force=True)


@pytest.mark.needs("cgroup")
def test_any_order_of_verbs():
    machine = Lives.TestCase()
    machine.settings = settings(max_examples=6, stateful_step_count=15, deadline=None, database=None)
    machine.runTest()


@pytest.mark.slow
@pytest.mark.needs("cgroup")
def test_any_order_of_verbs_at_length():
    machine = Lives.TestCase()
    machine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None, database=None)
    machine.runTest()


@contextlib.contextmanager
def _image() -> Iterator[str]:
    """A stored image, so that commit() and what needs an image's pins are tried, too."""
    images = pc.default_engine().images
    made = imagery.make_image(images, "storm:v1", imagery.base())
    yield made.name
    images.remove("storm:v1")
    prune_images()


def _disturb(chance: random.Random, clients: list[Any], again: Callable[[int], Any]) -> None:
    """Kill one of those that take part, or several at once."""
    which = chance.choice(["client", "client", "monitor", "guard", "both", "program"])
    if which == "client":
        number = chance.randrange(len(clients))
        clients[number].kill()
        clients[number].wait()
        clients[number].stdout.close()
        clients[number] = again(number)
        return
    root = os.environ["PYCONTAINER_ROOT"]
    if which == "program":
        for pid in [pid for pids in storm.sleepers(MARK).values() for pid in pids][:1]:
            storm.kill(pid)
        return
    there = list(storm.monitors(root).values())
    if there:
        pids = sorted(chance.choice(there))
        for pid in {"monitor": pids[:1], "guard": pids[1:], "both": pids[::-1]}[which]:
            storm.kill(pid)


def _storm(process: Any, seconds: float, *, count: int, killed: int) -> None:
    """Let processes use the same containers at random, kill some, and look at what is there then."""
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    root = os.environ["PYCONTAINER_ROOT"]
    deadline = time.monotonic() + seconds
    with _image() as image:

        def client(number: int) -> Any:
            left = max(0.5, deadline - time.monotonic())
            return process(storm.CLIENT, str(chance.randrange(1 << 30)), str(left), image, MARK)

        clients = [client(number) for number in range(count)]
        for number in range(killed):
            time.sleep(max(0.0, (deadline - time.monotonic()) / (killed + 1 - number)))
            _disturb(chance, clients, client)
        for each in clients:
            assert storm.output_of(each, seconds + 120) > 0
        # What somebody was about to do is done, or undone, when the next one has looked.
        assert storm.settled(lambda: storm.contradictions(root, MARK)) == []
        _remove_all(root)


def _remove_all(root: str) -> None:
    containers = pc.default_engine().containers
    for each in containers.list(all=True):
        if each.status == "running":
            with contextlib.suppress(pc.StateError):  # it ends by itself
                assert each.exec(["true"]).exit_code == 0
        each.remove(force=True)
    assert containers.list(all=True) == []
    assert storm.settled(lambda: storm.sleepers(MARK)) == {}
    assert storm.settled(lambda: storm.monitors(root)) == {}
    assert storm.settled(lambda: storm.mounts(root)) == []
    storm.forget_half_made(root)
    containers.prune()
    assert storm.settled(lambda: storm.cgroups(root)) == []
    assert [
        name for name in os.listdir(f"{root}/containers") if os.path.isdir(f"{root}/containers/{name}")
    ] == []


def test_many_processes_at_once(cleared, process):
    _storm(process, 6, count=3, killed=6)


@pytest.mark.exhaustive
def test_eight_processes_for_a_minute(cleared, process):
    _storm(process, 60, count=8, killed=60)
