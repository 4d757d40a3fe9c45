"""What CRIU calls in the midst of its work: a program of its own, told by a file what to do.

::

    post-dump           all is written down, and every process stands still: the writable layer is copied, if the
                        container is to go on; the checkpoint gets its name, and its monitor is told the end
    setup-namespaces    the first process is made, with namespaces of its own, and waits: its file system is set up
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import attrs

from pycontainer.container.detached import codec
from pycontainer.container.shape import Shape
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.layers import Namespace
from pycontainer.kernel.native import lib, wait_usage
from pycontainer.kernel.spawn import Spawn, spawn
from pycontainer.kernel.steward import module_path

_PROGRAM = "import sys; sys.path[:] = sys.argv[2:]; from pycontainer.container.detached.hooks import main; main(sys.argv[1])"


@attrs.frozen(kw_only=True)
class Dumped:
    """After a dump: ``partial`` becomes ``final``, with a copy of ``upper``, or the monitor at ``folder`` is told the end."""

    partial: str
    final: str
    folder: str
    upper: str | None
    marks: Namespace

    def run(self, _: Mapping[str, str]) -> None:
        """Do it."""
        from pycontainer.image.commit import copy_layer
        from pycontainer.kernel.monitorclient import Client
        from pycontainer.kernel.reach import Reach
        from pycontainer.state import events

        if self.upper is not None:
            copy_layer(self.upper, f"{self.partial}/upper", self.marks, Reach())
        for name in ("hook", "hook.sh"):
            os.unlink(f"{self.partial}/{name}")  # read by now
        os.rename(self.partial, self.final)
        above, id_ = os.path.split(self.folder)
        events.append(above, id_, "checkpoint", name=os.path.basename(self.final))
        if self.upper is None:
            # Its processes are killed next, and are not to be started again.
            with Client(f"{self.folder}/monitor") as client:
                client.ask(lib.PC_MONITOR_END)


@attrs.frozen(kw_only=True)
class Made:
    """At a restore: the file system of this shape is set up for the process that CRIU names."""

    shape: Shape
    own_users: bool
    first: tuple[int, int]

    def run(self, env: Mapping[str, str]) -> None:
        """Do it, for the process that CRIU names in its environment."""
        from pycontainer.container import slots
        from pycontainer.container.detached.anew import plan

        place = f"/proc/{int(env['CRTOOLS_INIT_PID'])}/ns"
        made = plan(self.shape)
        with Fd(os.open(f"{place}/mnt", os.O_RDONLY | os.O_CLOEXEC)) as mounts:
            with Fd(os.open(f"{place}/user", os.O_RDONLY | os.O_CLOEXEC)) as users:
                table = [-1] * made.slots
                table[slots.USERNS] = users.fileno()
                joins = ((slots.USERNS, lib.CLONE_NEWUSER),) if self.own_users else ()
                _, pidfd = spawn(
                    Spawn(
                        argv=(b"mounts",),
                        script=made.script,
                        fds=(*table, mounts.fileno()),
                        joins=(*joins, (made.slots, lib.CLONE_NEWNS)),
                        ns_root=self.own_users,
                        ns_ids=self.first,
                        ends=True,
                    )
                )
        with Fd(pidfd):
            wait_usage(pidfd, os.WEXITED)


#: When each of them is called, by CRIU's name.
_WHEN: dict[type[Any], str] = {Dumped: "post-dump", Made: "setup-namespaces"}


def write(folder: str, what: Dumped | Made) -> list[str]:
    """Write files that tell what to do, into ``folder``; CRIU's arguments for it."""
    import shlex

    fields = {each.name: codec.encode(getattr(what, each.name)) for each in attrs.fields(type(what))}
    with open(f"{folder}/hook", "x") as file:
        json.dump([type(what).__name__, fields], file)
    words = [sys.executable, "-I", "-S", "-c", _PROGRAM, f"{folder}/hook", *module_path()]
    script = f"{folder}/hook.sh"
    lines = (
        "#!/bin/sh",
        f'[ "$CRTOOLS_SCRIPT_ACTION" = {_WHEN[type(what)]} ] || exit 0',
        f"exec {shlex.join(words)} 2>{shlex.quote(f'{folder}/hook.log')}",
    )
    with open(script, "x") as made:
        made.write("\n".join(lines) + "\n")
        os.fchmod(made.fileno(), 0o700)
    return ["--action-script", script]


def main(path: str) -> None:
    """Do what the file tells; a failure is CRIU's, too."""
    with open(path) as file:
        name, fields = json.load(file)
    kind = {each.__name__: each for each in _WHEN}[name]
    kind(**{field: codec.decode(value) for field, value in fields.items()}).run(os.environ)


def said(folder: str) -> str:
    """What a hook that failed has said last; empty: nothing failed."""
    with suppress(FileNotFoundError), open(f"{folder}/hook.log", errors="replace") as file:
        lines = file.read().strip().splitlines()
        return lines[-1] if lines else ""
    return ""
