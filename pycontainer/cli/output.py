"""``logs`` and ``attach``."""

from __future__ import annotations

import sys

from pycontainer.cli.command import Call, Command
from pycontainer.cli.detachkeys import DEFAULT
from pycontainer.cli.notation import whole
from pycontainer.cli.parser import Parser
from pycontainer.cli.pump import written
from pycontainer.cli.text import moment


def _logs_options(parser: Parser) -> None:
    parser.flag("--follow", "-f", help="Follow log output")
    parser.value("--since", help="Show logs since timestamp (2026-01-02T13:23:37Z) or relative (42m)")
    parser.value("--tail", "-n", help="Number of lines to show from the end of the logs", default="all")
    parser.flag("--timestamps", "-t", help="Show timestamps")
    parser.value("--until", help="Show logs before a timestamp or relative (42m)")


def _logs(call: Call) -> int:
    given = call.given
    tail = None if given.tail == "all" else whole("tail")(given.tail)
    output = call.container(call.words[0]).logs(
        follow=given.follow,
        since=None if given.since is None else moment("since", given.since),
        until=None if given.until is None else moment("until", given.until),
        tail=None if tail is None or tail < 0 else tail,
        entries=True,
    )
    begins, missed = {"stdout": True, "stderr": True}, 0
    for entry in output:
        stamp = f"{entry.stamp} ".encode() if given.timestamps and begins[entry.stream] else b""
        begins[entry.stream] = entry.data.endswith(b"\n")
        if not written(2 if entry.stream == "stderr" else 1, stamp + entry.data):
            raise BrokenPipeError
        if output.missed > missed:
            missed = output.missed
            print(f"pycontainer: {missed} files of the log were gone before they were read", file=sys.stderr)
    return 0


LOGS = Command("[OPTIONS] CONTAINER", _logs, _logs_options, least=1, most=1, completes=("container",))


def _attach_options(parser: Parser) -> None:
    parser.value("--detach-keys", help="Keys that leave the container to itself", default=DEFAULT)
    parser.flag("--no-stdin", help="Do not attach STDIN")
    parser.flag("--sig-proxy", help="Send received signals on to the program", default=True)


def _attach(call: Call) -> int:
    from pycontainer.cli.attached import attend

    given = call.given
    container = call.container(call.words[0])
    container.allow("attach")
    output = container.logs(follow=True, tail=0, entries=True, hold=True)
    return attend(
        container,
        output,
        interactive=not given.no_stdin,
        send_signals=given.sig_proxy,
        keys=given.detach_keys,
        start=False,
    )


ATTACH = Command("[OPTIONS] CONTAINER", _attach, _attach_options, least=1, most=1, completes=("container",))
