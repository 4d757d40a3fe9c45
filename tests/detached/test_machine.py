"""Any order of verbs against a model; and many processes with random verbs at once, some of them killed."""

from __future__ import annotations

import os
import random
import time
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

import pycontainer as pc
from tests.detached.conftest import until

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


CLIENT = """
import random
chance = random.Random(int(sys.argv[1]))
until = time.time() + float(sys.argv[2])
KNOWN = (pc.StateError, pc.InvalidArgument, pc.WaitTimeout)
verbs = 0
while time.time() < until:
    there = engine.containers.list(all=True)
    try:
        if len(there) < 8:
            name = f"n{chance.randrange(6)}"
            policy = chance.choice(["no", "always", "on-failure:1"])
            pc.run("host:", ["sh", "-c", f"sleep {chance.choice(['0.05', '1000'])}"], detach=True, name=name, restart=policy)
        else:
            c = chance.choice(there)
            verb = chance.choice(["start", "stop", "kill", "restart", "pause", "unpause", "exec", "remove", "rename", "logs", "inspect", "prune"])
            if verb in ("stop", "restart"):
                getattr(c, verb)(0)
            elif verb == "remove":
                c.remove(force=chance.random() < 0.7)
            elif verb == "rename":
                c.rename(f"n{chance.randrange(6)}")
            elif verb == "exec":
                c.exec(["true"], timeout=20)
            elif verb == "logs":
                list(c.logs())
            elif verb == "prune":
                engine.containers.prune()
            else:
                getattr(c, verb)()
    except KNOWN as error:
        if isinstance(error, pc.WaitTimeout):
            say(repr(error))
            raise
    verbs += 1
    for each in there:
        each.close()
say(verbs)
"""


def _storm(process, seconds: float, *, count: int, killed: int) -> None:
    """Let processes use the same containers at random, kill some, and look at what is there then."""
    seed = random.randrange(1 << 30)
    clients = [process(CLIENT, str(seed + number), str(seconds)) for number in range(count)]
    deadline = time.monotonic() + seconds
    chance = random.Random(seed)
    for number in range(killed):
        time.sleep(max(0.0, (deadline - time.monotonic()) / (killed + 1 - number)))
        victim = chance.randrange(count)
        clients[victim].kill()
        clients[victim].wait()
        clients[victim] = process(
            CLIENT, str(seed + 1000 + number), str(max(0.5, deadline - time.monotonic()))
        )
    for client in clients:
        output, _ = client.communicate(timeout=seconds + 120)
        assert client.returncode == 0, output
        assert int(output) > 0
    containers = pc.default_engine().containers
    found = containers.list(all=True)
    root = os.environ["PYCONTAINER_ROOT"]
    containers.prune(until=0)  # sweeps, and removes none that is known
    folders = {
        name for name in os.listdir(f"{root}/containers") if os.path.isdir(f"{root}/containers/{name}")
    }
    assert {each.id for each in containers.list(all=True)} == folders
    for each in found:
        if each.status == "running":
            try:
                assert each.exec(["true"]).exit_code == 0
            except pc.StateError:
                until(lambda each=each: each.status != "running")
        each.remove(force=True)
    assert containers.list(all=True) == []


@pytest.mark.needs("cgroup")
def test_many_processes_at_once(process):
    _storm(process, 6, count=3, killed=2)


@pytest.mark.slow
@pytest.mark.needs("cgroup")
def test_eight_processes_for_a_minute(process):
    _storm(process, 60, count=8, killed=20)
