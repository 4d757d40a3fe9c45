"""Signals to everybody, and to the process group: they stay in the container."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.started import UNSHARE

#: Starts the payload as told by its arguments, and counts the signals that come to itself meanwhile.
CALLER = """
import ast, os, signal, subprocess, sys, time
import pycontainer as pc
got = []
signal.signal(signal.SIGUSR1, lambda *_: got.append(1))
probe, word, how, options = sys.argv[1:]
options = ast.literal_eval(options)
mounts = [pc.Bind(probe, "/probe", read_only=True)]
if options.pop("strict", False):
    options["security"] = pc.Security.strict()
if how == "outside":
    said = subprocess.run([probe, word], capture_output=True, text=True).stdout
elif how == "run":
    said = pc.run("host:", ["/probe", word], text=True, mounts=mounts, **options).stdout
else:
    with pc.Container.create("host:", ["/probe", "sleep"], mounts=mounts, **options) as container:
        container.start()
        said = container.exec(["/probe", word], text=True).stdout
time.sleep(0.02)
print(said.strip(), len(got))
"""

ROOT = pytest.mark.needs("root")
WAYS = [
    pytest.param("run", {}, id="default"),
    pytest.param("run", {"init": True}, id="init"),
    pytest.param("run", {"tty": True}, id="tty"),
    pytest.param("run", {"strict": True}, id="strict", marks=pytest.mark.needs("cgroup")),
    pytest.param("run", {"privileged": True}, id="privileged"),
    pytest.param("run", {"userns": "host"}, id="host-ids", marks=ROOT),
    pytest.param("exec", {}, id="exec"),
    pytest.param("exec", {"privileged": True}, id="privileged-exec"),
]


def tell(probe, word, how, options, prefix=()):
    command = [*prefix, sys.executable, "-W", "ignore", "-c", CALLER, str(probe), word, how, repr(options)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, start_new_session=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said, count = done.stdout.split()
    return said, int(count)


@pytest.mark.parametrize(("how", "options"), WAYS)
@pytest.mark.parametrize("word", ["kill-group", "kill-all"])
def test_who_started_it_hears_nothing(probe, word, how, options):
    said, heard = tell(probe, word, how, options)
    assert said in {"sent", "ESRCH"}
    assert heard == 0


def test_a_signal_to_the_group_is_heard_outside(probe):
    assert tell(probe, "kill-group", "outside", {}) == ("sent", 1)


@pytest.mark.needs("userns")
def test_a_signal_to_all_is_heard_outside(probe):
    # In a pid namespace, where all are those of the test; a process between, since number 1 hears nothing.
    prefix = [*UNSHARE, "sh", "-c", '"$@"; exit $?', "sh"]
    assert tell(probe, "kill-all", "outside", {}, prefix) == ("sent", 1)
