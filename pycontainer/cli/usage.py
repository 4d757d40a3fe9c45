"""``stats`` and ``top``."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pycontainer.cli import listing
from pycontainer.cli.command import Call, Command
from pycontainer.cli.listing import Listing, Row, shortened
from pycontainer.cli.parser import Parser
from pycontainer.cli.text import binary_size, size
from pycontainer.errors import InvalidArgument, PyContainerError, StateError

if TYPE_CHECKING:
    from pycontainer.engine.detached import DetachedContainer
    from pycontainer.kernel.cgroup import CgroupStat

_LIST = Listing(
    headings={
        "ID": "CONTAINER ID", "Name": "NAME", "CPUPerc": "CPU %", "MemUsage": "MEM USAGE / LIMIT", "MemPerc": "MEM %",
        "NetIO": "NET I/O", "BlockIO": "BLOCK I/O", "PIDs": "PIDS", "Container": "CONTAINER",
    },
    columns=("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"),
    quiet="ID",
)  # fmt: skip
_CLEAR = "\x1b[H\x1b[2J"


def _options(parser: Parser) -> None:
    listing.options(parser)
    parser.flag("--all", "-a", help="Accepted as in Docker: only what runs uses something")
    parser.flag("--no-stream", help="Disable streaming stats and only pull the first result")
    parser.flag("--no-trunc", help="Do not truncate output")


def _stats(call: Call) -> None:
    given = call.given
    before = _measured(call)
    while True:
        time.sleep(1.0)
        now = _measured(call)
        rows = [_row(*pair, before.get(key), whole=given.no_trunc) for key, pair in now.items()]
        if sys.stdout.isatty() and not given.no_stream:
            print(_CLEAR, end="")
        _LIST.show(rows, given)
        sys.stdout.flush()
        if given.no_stream:
            return
        before = now


def _measured(call: Call) -> dict[str, tuple[DetachedContainer, CgroupStat, float]]:
    found = {}
    containers: Any = map(call.container, call.words) if call.words else call.engine.containers.list()
    for each in containers:
        try:
            found[each.id] = (each, each.stats(), time.monotonic())
        except StateError:
            if call.words:
                raise
            continue  # it has ended
        finally:
            with suppress(PyContainerError):
                each.close()
    return found


def _row(container: DetachedContainer, stat: CgroupStat, moment: float, before: Any, *, whole: bool) -> Row:
    share = 0.0
    if before is not None:
        used = _cpu(stat) - _cpu(before[1])
        share = 100 * used / max(1e-9, moment - before[2])
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = container.spec.bounds.limits.memory_max or machine
    memory = stat.memory_current or 0
    received, sent = _traffic(container)
    fields = {
        "Container": container.name,
        "ID": shortened(container.id, whole=whole),
        "Name": container.name,
        "CPUPerc": f"{share:.2f}%",
        "MemUsage": f"{binary_size(memory)} / {binary_size(limit)}",
        "MemPerc": f"{100 * memory / limit:.2f}%",
        "NetIO": f"{size(received)} / {size(sent)}",
        "BlockIO": f"{size(stat.io_read or 0)} / {size(stat.io_write or 0)}",
        "PIDs": str(stat.pids_current or 0),
    }
    value = {
        "id": container.id,
        "name": container.name,
        "cpu_percent": round(share, 2),
        "memory": memory,
        "memory_limit": limit,
        "net_received": received,
        "net_sent": sent,
        "io_read": stat.io_read,
        "io_write": stat.io_write,
        "pids": stat.pids_current,
    }
    return Row(fields, value)


def _traffic(container: DetachedContainer) -> tuple[int, int]:
    """Bytes received and sent by its links (proc(5)); none of one on the host's network, whose links are the host's."""
    if container.spec.network.mode == "host":
        return 0, 0
    received = sent = 0
    with suppress(OSError, StateError):  # it has ended
        with open(f"/proc/{container.pid}/net/dev", encoding="ascii") as file:
            lines = file.readlines()[2:]
        for line in lines:
            name, _, numbers = line.partition(":")
            if name.strip() != "lo":
                words = numbers.split()
                received, sent = received + int(words[0]), sent + int(words[8])
    return received, sent


def _cpu(stat: CgroupStat) -> float:
    return (stat.cpu_user or 0.0) + (stat.cpu_system or 0.0)


STATS = Command("[OPTIONS] [CONTAINER...]", _stats, _options, most=None, completes=("container",))


# -- top -----------------------------------------------------------------------------------


def _top(call: Call) -> None:
    """The lines of ps(1) that are of the container's processes, as Docker does it."""
    container = call.container(call.words[0])
    namespace = os.readlink(f"/proc/{container.pid}/ns/pid")
    pids = [pid for pid in os.listdir("/proc") if pid.isdigit() and _namespace(pid) == namespace]
    chosen = call.words[1:] or ["-ef"]
    head, *lines = _ps(pids, chosen).splitlines()
    names = head.split()
    if "PID" not in names:
        raise InvalidArgument("ps options", " ".join(chosen), "the column PID is needed")
    place = names.index("PID")
    rows = [line.split(None, len(names) - 1) for line in lines]
    listing.table([names, *(row for row in rows if _namespace(row[place]) == namespace)])


def _ps(pids: list[str], options: list[str]) -> str:
    """What ps(1) prints; of these processes alone, if that can be had together with the options."""
    reason = ""
    for command in (["ps", f"-q{','.join(pids)}", *options], ["ps", *options]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return done.stdout
        reason = done.stderr.strip()
    raise InvalidArgument("ps options", " ".join(options), reason or "ps(1) refuses them")


def _namespace(pid: str) -> str | None:
    try:
        return os.readlink(f"/proc/{int(pid)}/ns/pid")
    except (OSError, ValueError):
        return None


TOP = Command(
    "CONTAINER [ps OPTIONS]", _top, least=1, most=None, interspersed=False, completes=("container",)
)
