"""Waiting until a container is ready."""

from __future__ import annotations

import re
import sys

import pytest

import pycontainer as pc
from tests.detached.conftest import until

LISTEN = "import socket, time; time.sleep(0.2); s = socket.socket(); s.bind(('127.0.0.1', 5432)); s.listen(); time.sleep(1000)"


def python(box, script, **options):
    return box(
        [sys.executable if sys.executable.startswith("/usr") else "/usr/bin/python3", "-c", script], **options
    )


def test_a_port(box):
    container = python(box, LISTEN)
    container.wait_for(pc.wait.port(5432), timeout=30)
    with pytest.raises(pc.WaitTimeout, match=r"port\(5433\)"):
        container.wait_for(pc.wait.port(5433), timeout=0.1)
    with pytest.raises(pc.WaitTimeout):
        container.wait_for(pc.wait.port(5432, protocol="udp"), timeout=0.1)


def test_a_port_of_one_of_this_process():
    with pc.Container.create("host:", ["/usr/bin/python3", "-c", LISTEN]) as container:
        container.start()
        container.wait_for(pc.wait.port(5432), timeout=30)


def test_the_log(box):
    container = box(["sh", "-c", "echo one; sleep 0.2; echo READY 1; echo READY 2 >&2; sleep 1000"])
    container.wait_for(
        pc.wait.log("READY", count=2),
        pc.wait.log(re.compile(rb"READY \d")),
        pc.wait.log(re.compile(r"R.ADY")),
    )
    with pytest.raises(pc.WaitTimeout):
        container.wait_for(pc.wait.log("R.ADY"), timeout=0.1)


def test_the_log_of_an_earlier_run_does_not_count(box):
    container = box(["sh", "-c", "[ -e /root/x ] || { touch /root/x; echo READY; }; sleep 1000"])
    container.wait_for(pc.wait.log("READY"))
    container.restart(0)
    with pytest.raises(pc.WaitTimeout):
        container.wait_for(pc.wait.log("READY"), timeout=0.2)


def test_what_was_waited_for_may_be_the_last_word(box):
    container = box(["echo", "READY"])
    container.wait(20)
    container.wait_for(pc.wait.log("READY"))


def test_one_that_ends_is_told_at_once(box):
    container = box(["sh", "-c", "exit 3"])
    with pytest.raises(pc.StateError, match="exit code 3"):
        container.wait_for(pc.wait.port(1), timeout=60)


def test_health_file_command_and_functions(box):
    container = box(
        ["sh", "-c", "sleep 0.2; touch /root/ready; sleep 1000"],
        healthcheck=pc.HealthCheck("test -e /root/ready", interval=0.05),
    )
    container.wait_for(
        pc.wait.health(),
        pc.wait.file("/root/ready"),
        pc.wait.command(["test", "-e", "/root/ready"]),
        lambda c: c.pid > 0,
    )
    for never in (pc.wait.file("/nothing"), pc.wait.command(["false"]), lambda _: False):
        with pytest.raises(pc.WaitTimeout):
            container.wait_for(never, timeout=0.1)


def test_http(box):
    script = """
import http.server, sys
server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
print(server.server_port, flush=True)
server.serve_forever()
"""
    container = python(box, script, network="host", workdir="/usr/share")
    number = int(until(lambda: list(container.logs(stderr=False)))[0])
    container.wait_for(pc.wait.http(number), pc.wait.http(number, "/nothing", status=404), timeout=30)
    with pytest.raises(pc.WaitTimeout):
        container.wait_for(pc.wait.http(number, "/nothing"), timeout=0.2)


def test_wrong_conditions(box):
    container = box()
    for wrong in (5, "ready"):
        with pytest.raises(pc.InvalidArgument):
            container.wait_for(wrong)
    for make in (
        lambda: pc.wait.port(0),
        lambda: pc.wait.port("80"),
        lambda: pc.wait.log(5),
        lambda: pc.wait.http(80, "x"),
    ):
        with pytest.raises(pc.InvalidArgument):
            make()
    for unable in (pc.wait.health(), pc.wait.http(80)):
        with pytest.raises(pc.NotSupported):
            container.wait_for(unable)
