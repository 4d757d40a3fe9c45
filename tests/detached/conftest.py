"""Detached containers of the engine under test, removed at the end of each test, and other processes that use them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import pycontainer as pc

#: What every other process begins with.
SETUP = """
import json, os, signal, sys, time
import pycontainer as pc
engine = pc.default_engine()
def say(value):
    print(json.dumps(value), flush=True)
"""


@pytest.fixture
def box() -> Iterator[Callable[..., Any]]:
    """Make a detached container, of the host's programs unless told otherwise."""
    made: list[Any] = []

    def make(
        command: Any = ("sleep", "1000"), *, start: bool = True, image: Any = "host:", **options: Any
    ) -> Any:
        given = list(command) if isinstance(command, tuple) else command
        container = pc.Container.create(image, given, detach=True, **options)
        made.append(container)
        if start:
            container.start()
        return container

    yield make
    for each in made:
        each.remove(force=True)


@pytest.fixture
def other() -> Iterator[Callable[..., Any]]:
    """Run a script in a process of its own; what it said, as JSON of its last line."""

    def run(script: str, *words: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", SETUP + script, *words],
            stdout=subprocess.PIPE,
            timeout=120,
            check=True,
        )
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture
def cleared() -> Iterator[None]:
    """Also after a failure nothing runs on; to be named before ``process``, whose clients end first."""
    yield
    for each in pc.default_engine().containers.list(all=True):
        each.remove(force=True)


@pytest.fixture
def process() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a script in a process of its own, which is killed at the end."""
    started = []

    def start(script: str, *words: str) -> subprocess.Popen[str]:
        running = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", SETUP + script, *words], stdout=subprocess.PIPE, text=True
        )
        started.append(running)
        return running

    yield start
    for each in started:
        each.kill()
        each.wait(timeout=60)
        if each.stdout is not None:
            each.stdout.close()


def until(condition: Callable[[], Any], timeout: float = 20) -> Any:
    """Wait until something holds; what it was."""
    deadline = time.monotonic() + timeout
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, "it did not come to hold"
        time.sleep(0.01)


def prune_images() -> None:
    """Remove all images that no container has, and wait until they are gone."""
    pc.default_engine().images.prune(all=True)
    for thread in threading.enumerate():
        if thread.name == "pycontainer-sweep":
            thread.join(60)


def gone(pid: int) -> bool:
    """Has a process ended?"""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    return True


def folder(container: Any) -> str:
    """Where a container is kept."""
    return f"{os.environ['PYCONTAINER_ROOT']}/containers/{container.id}"
