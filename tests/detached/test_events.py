"""What happens to containers, seen by every process as it happens."""

from __future__ import annotations

import json
import time

import pycontainer as pc
from pycontainer.state import events


def actions(container) -> list[str]:
    return [
        event.action
        for event in pc.default_engine().containers.events(since=0, follow=False)
        if event.id == container.id
    ]


def test_a_whole_life(box):
    container = box(["sh", "-c", "exit 1"], restart="on-failure:1", name="lived")
    container.wait(20)
    container.rename("renamed")
    container.remove()
    assert actions(container) == ["create", "start", "die", "restart", "die", "rename", "destroy"]
    [die] = [e for e in pc.default_engine().containers.events(since=0, follow=False) if e.id == container.id][
        2:3
    ]
    assert die.attributes == {"exit_code": "1"}
    assert abs(die.time - time.time()) < 60


def test_they_are_followed_in_another_process(box, process):
    watcher = process(
        """
found = []
for event in engine.containers.events(since=time.time()):
    if not found:
        say("ready")
    found.append(event.action)
    if event.action == "destroy":
        break
say(found)
"""
    )
    # Until the watcher has seen something it may not have begun to look.
    while True:
        container = box(start=False)
        container.remove()
        import select

        if select.select([watcher.stdout], [], [], 0.3)[0]:
            break
    assert watcher.stdout.readline() == '"ready"\n'
    assert json.loads(watcher.stdout.readline())[-1] == "destroy"


def test_between_two_moments(box):
    first = box(start=False)
    middle = time.time()
    second = box(start=False)
    containers = pc.default_engine().containers
    assert [e.id for e in containers.events(since=middle, follow=False)] == [second.id]
    assert second.id not in [e.id for e in containers.events(since=0, until=middle, follow=False)]
    assert first.id in [e.id for e in containers.events(since=0, until=middle)]


def test_a_file_that_becomes_long_is_put_away(tmp_path, monkeypatch):
    monkeypatch.setattr(events, "_LONGEST", 1000)
    for number in range(30):
        events.append(str(tmp_path), "f" * 64, "create", number=number, text="a b=c\n")
    assert (tmp_path / "events.1").exists()
    found = list(events.read(str(tmp_path), since=0, follow=False))
    assert [int(each.attributes["number"]) for each in found] == list(range(30 - len(found), 30))
    assert len(found) > 5
    assert found[0].attributes["text"] == "a b=c\n"


def test_lines_that_are_none_are_passed_over(tmp_path):
    (tmp_path / "events").write_bytes(b"\n\xff\xfe\nx y z\n1 2\n5000000000 id act a=%41 b\n17")
    [event] = events.read(str(tmp_path), since=0, follow=False)
    assert event == events.Event(time=5.0, id="id", action="act", attributes={"a": "A", "b": ""})
