"""A host for tests as an ordinary user: the lab's, in which that user may change nothing.

The program of a test with the fixture ``ordinary``: root of a user namespace and a network namespace, it makes the lab,
runs the test as a child without any capability in there, and does for it what only root can, as it is asked.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.network.lab import Lab

#: Set in the test: the fd by which the lab is asked.
ASKING = "PYCONTAINER_LAB_ASKING"


class Surroundings:
    """The lab, as an ordinary user's test sees it."""

    def __init__(self) -> None:
        self._asking = socket.socket(fileno=int(os.environ[ASKING]))

    def ask(self, verb: str, *arguments: object, **options: object) -> Any:
        """Have a method of the lab called."""
        self._asking.send(json.dumps([verb, arguments, options]).encode())
        answer = json.loads(self._asking.recv(1 << 16))
        assert "failed" not in answer, answer["failed"]
        return answer["value"]

    def close(self) -> None:
        """The test is over."""
        self._asking.close()


def _serve(lab: Lab, asked: socket.socket) -> None:
    while packet := asked.recv(1 << 16):
        verb, arguments, options = json.loads(packet)
        try:
            value = getattr(lab, verb)(*arguments, **options)
            asked.send(json.dumps({"value": str(value)}).encode())
        except Exception as error:  # noqa: BLE001  the test is told
            asked.send(json.dumps({"failed": repr(error)}).encode())


def main(command: list[str]) -> int:
    """Run the command in the lab; its exit code."""
    uid, gid = os.environ["PYCONTAINER_LAB_IDS"].split(":")
    # Root's subordinate ids are not in here, and newuidmap(1) cannot be set-user-id.
    for path in ("/etc/subuid", "/etc/subgid"):
        if os.path.exists(path):
            subprocess.run(["mount", "--bind", "/dev/null", path], check=True)
    with tempfile.TemporaryDirectory() as place:
        lab = Lab(Path(place))
        try:
            before = lab.state()
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            process = subprocess.Popen(
                ["unshare", "--user", f"--map-user={uid}", f"--map-group={gid}", "--", *command],
                env={**os.environ, ASKING: str(theirs.fileno())},
                pass_fds=[theirs.fileno()],
            )
            theirs.close()
            _serve(lab, ours)
            code = process.wait()
            deadline = time.monotonic() + 10
            while lab.state() != before and time.monotonic() < deadline:
                time.sleep(0.05)
            assert lab.state() == before
        finally:
            lab.close()
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
