"""Entering a container, and setting one up: what a hostile image, or a hostile program inside, makes of it.

Everything goes through the Python interface; the payload tries from inside, and a canary on the host tells.
"""

from __future__ import annotations

import os

import pytest

import pycontainer as pc
from tests.e2e.conftest import probe as probe  # noqa: PLC0414  (a fixture)

ROOT = pytest.mark.needs("root")
KINDS = [
    pytest.param({}, id="default"),
    pytest.param({"privileged": True}, id="privileged"),
    pytest.param({"init": True}, id="init"),
    pytest.param({"tty": True}, id="tty"),
    pytest.param({"userns": "host"}, id="host", marks=ROOT),
]


# -- the host's own program ------------------------------------------------------------------------

#: Prints the device and inode of the program that runs it, and whether it can be opened for writing.
WHOSE = """
import os
status = os.stat("/proc/self/exe")
print(f"ran {status.st_dev}:{status.st_ino}")
"""


def identity_of(path: str) -> str:
    status = os.stat(path)
    return f"{status.st_dev}:{status.st_ino}"


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize("entered", [False, True], ids=["first", "further"])
def test_the_hosts_interpreter_is_not_what_a_container_executes(entered, options):
    """Who starts a process is itself for a moment, and /proc/self/exe its own program."""
    command = ["/proc/self/exe", "-c", WHOSE]
    if entered:
        with pc.Container.create("host:", ["sleep", "100"], **options) as container:
            container.start()
            result = container.exec(command, text=True, timeout=30)
    else:
        result = pc.run("host:", command, text=True, timeout=30, **options)
    assert f"ran {identity_of('/proc/self/exe')}" not in result.stdout
    assert result.exit_code != 0
