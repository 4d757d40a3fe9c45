"""Tests of networks, each with a host of its own: no link, route, rule or setting of this machine is touched.

A test that asks for the fixture ``lab`` runs in a child interpreter, which is in a new network namespace from its
start; what the library takes for the host is that namespace.  The child is a pytest of that one test.  With ``ordinary``
it is an ordinary user there, who may do nothing to that host.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pycontainer as pc
from tests.detached.conftest import SETUP, process, until  # noqa: F401  a fixture
from tests.network.lab import Lab
from tests.network.lasting import keepers
from tests.network.surroundings import Surroundings

#: Set in the child: the identity of the network namespace that it must not be in.
_OUTSIDE = "PYCONTAINER_LAB_OUTSIDE"
_SECONDS = 300


def _here() -> str:
    return os.readlink("/proc/self/ns/net")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    wanted = {"lab", "ordinary"} & {*pyfuncitem.fixturenames}
    if not wanted or _OUTSIDE in os.environ:
        return None
    unshare = shutil.which("unshare")
    assert unshare is not None, "there is no program unshare"
    options = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    allowed = [f"--allow-missing={name}" for name in pyfuncitem.config.getoption("--allow-missing")]
    around = [sys.executable, "-m", "tests.network.surroundings"] if "ordinary" in wanted else []
    done = subprocess.run(
        [
            unshare, *options, "--net", "--mount", "--", *around, sys.executable, "-m", "pytest", "-q", "-p",
            "no:cacheprovider", "--no-header", "-rs", *allowed, pyfuncitem.nodeid,
        ],
        cwd=pyfuncitem.config.rootpath,
        env={**os.environ, _OUTSIDE: _here(), "PYCONTAINER_LAB_IDS": f"{os.geteuid()}:{os.getegid()}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_SECONDS,
        check=False,
    )  # fmt: skip
    output = done.stdout.decode(errors="replace")
    if done.returncode:
        pytest.fail(f"in a network namespace of its own:\n{output}", pytrace=False)
    if "1 skipped" in output:
        pytest.skip(output)
    assert "1 passed" in output, output
    return True


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab | None]:
    """A host for networks alone, with an uplink to an outside world; it must be left as it was found."""
    if _OUTSIDE not in os.environ:
        yield None  # the test runs in the child
        return
    assert _here() != os.environ[_OUTSIDE], "this is the machine's own network"
    with contextlib.closing(Lab(tmp_path)) as made:
        before = made.state()
        yield made
        made.forget()
        deadline = time.monotonic() + 10
        # The kernel removes a namespace, and the links in it, a moment after its last process.
        while made.state() != before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert made.state() == before


@pytest.fixture
def ordinary() -> Iterator[Surroundings | None]:
    """The same for an ordinary user, who leaves no network and no process behind."""
    if _OUTSIDE not in os.environ:
        yield None  # the test runs in the child
        return
    assert _here() != os.environ[_OUTSIDE], "this is the machine's own network"
    with contextlib.closing(Surroundings()) as made:
        yield made
    engine = pc.default_engine()
    engine.close()
    engine.networks.prune()
    assert not engine.networks.list()
    engine.networks.close()


@pytest.fixture
def other() -> Iterator[Callable[..., Any]]:
    """Run a script in a process of its own, which says something in JSON and then waits to be killed."""
    started = []

    def run(script: str, *words: object) -> Any:
        code = SETUP + script + "\ntime.sleep(1000)"
        command = [sys.executable, "-W", "ignore", "-c", code, *map(str, words)]
        running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(running)
        assert running.stdout is not None
        line = running.stdout.readline()
        assert line, "it failed"
        running.kill()
        running.wait()
        running.stdout.close()
        return json.loads(line)

    yield run
    for each in pc.default_engine().containers.list(all=True):
        each.remove(force=True)
    until(lambda: not keepers())
    failed = Path(os.environ["PYCONTAINER_ROOT"], "keeper", "failed")
    assert not failed.exists(), failed.read_text()
    for each in started:
        each.kill()
        each.wait()
