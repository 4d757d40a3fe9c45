"""The monitor is a process of the host: nothing of it can be reached from inside."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.detached.conftest import folder, until

LOOK = """
ls -l /proc/self/fd | wc -l
for pid in /proc/[0-9]*; do cat $pid/comm; done | sort -u
find / -xdev -name monitor -o -xdev -name alive 2>/dev/null | grep containers
cat /proc/1/environ | tr '\\0' '\\n' | cut -d= -f1 | sort
"""


def test_a_program_sees_nothing_of_it(box):
    container = box(["sh", "-c", f"{LOOK} sleep 1000"])
    until(lambda: b"PATH\n" in list(container.logs()))
    lines = [line.decode().strip() for line in container.logs()]
    assert lines[0] == "5"  # a total, three streams, and what ls has open
    assert "monitor" not in lines
    assert "guard" not in lines
    assert not [line for line in lines if "containers" in line]
    assert lines[-3:] == ["HOME", "HOSTNAME", "PATH"]


def test_its_memory_is_nobodys(box):
    container = box()
    run = container.run_state
    with open(f"/proc/{run.monitor}/status") as file:
        status = file.read()
    assert "NoNewPrivs:\t0" in status
    assert os.stat(f"/proc/{run.monitor}/environ").st_uid == 0  # of one that is not dumpable: root's
    if os.geteuid() != 0:
        with pytest.raises(PermissionError):
            Path(f"/proc/{run.monitor}/environ").read_bytes()


def test_it_has_nothing_of_its_creator(box):
    with open("/dev/zero", "rb") as secret:
        os.set_inheritable(secret.fileno(), True)
        container = box()
        monitor = container.run_state.monitor
        assert Path(f"/proc/{monitor}/cmdline").read_bytes() == b"monitor\0"
        if os.geteuid() == 0:
            targets = [os.readlink(f"/proc/{monitor}/fd/{fd}") for fd in os.listdir(f"/proc/{monitor}/fd")]
            assert "/dev/zero" not in targets
            assert Path(f"/proc/{monitor}/environ").read_bytes() == b""
            assert os.readlink(f"/proc/{monitor}/cwd") == "/"


@pytest.mark.parametrize(
    "message", [b"", b"x", b"\0" * 15, b"\0" * 17, b"\xff" * 16, b"\0" * 16, os.urandom(4000)]
)
def test_what_is_no_request_hurts_nobody(box, message):
    container = box()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        place = os.open(folder(container), os.O_PATH)
        client.connect(f"/proc/self/fd/{place}/monitor")
        os.close(place)
        for _ in range(3):
            try:
                client.send(message)
            except (BrokenPipeError, ConnectionResetError):
                break
    assert container.exec(["true"]).exit_code == 0


def test_many_clients_at_once(box):
    container = box()
    place = os.open(folder(container), os.O_PATH)
    clients = []
    try:
        for _ in range(100):
            client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            clients.append(client)
            client.connect(f"/proc/self/fd/{place}/monitor")
    finally:
        os.close(place)
        for client in clients:
            client.close()
    assert container.exec(["true"]).exit_code == 0
