"""``start``, ``stop``, ``restart``, ``kill``, ``pause``, ``unpause``, ``wait``, ``rename``, ``rm``, ``update``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from pycontainer.cli import notation, pruning
from pycontainer.cli.command import Call, Command
from pycontainer.cli.confirm import confirmed
from pycontainer.cli.detachkeys import DEFAULT
from pycontainer.cli.parser import Parser, UsageError
from pycontainer.errors import InvalidArgument, StateError


def _each(verb: Callable[[Call, Any], object]) -> Callable[[Call], int]:
    """Do it with each container that is named, and print its name."""

    def run(call: Call) -> int:
        def one(name: str) -> None:
            verb(call, call.container(name))
            print(name)

        return call.each(call.words, one)

    return run


def _on(verb: Callable[[Call, Any], object], options: Callable[[Parser], None] = lambda _: None) -> Command:
    return Command(
        "[OPTIONS] CONTAINER [CONTAINER...]",
        _each(verb),
        options,
        least=1,
        most=None,
        completes=("container",),
    )


def _time_option(parser: Parser) -> None:
    parser.value(
        "--timeout",
        "--time",
        "-t",
        metavar="int",
        help="Seconds to wait before killing the container",
        default="10",
    )


def _patience(call: Call) -> float:
    seconds = notation.whole("timeout")(call.given.timeout)
    return float(seconds) if seconds >= 0 else 1e8


def _signal_option(parser: Parser) -> None:
    parser.value("--signal", "-s", help="Signal to send to the container", default="KILL")


STOP = _on(lambda call, container: container.stop(_patience(call)), _time_option)
RESTART = _on(lambda call, container: container.restart(_patience(call)), _time_option)
KILL = _on(lambda call, container: container.kill(_signal(call.given.signal)), _signal_option)
PAUSE = _on(lambda _, container: container.pause())
UNPAUSE = _on(lambda _, container: container.unpause())


def _signal(text: str) -> int | str:
    return int(text) if text.isdigit() else text


# -- start ---------------------------------------------------------------------------------


def _start_options(parser: Parser) -> None:
    parser.flag("--attach", "-a", help="Attach STDOUT/STDERR and forward signals")
    parser.value("--checkpoint", help="Restore from this checkpoint")
    parser.value("--detach-keys", help="Keys that leave the container to itself", default=DEFAULT)
    parser.flag("--interactive", "-i", help="Attach container's STDIN")


def _start_one(_: Call, container: Any) -> None:
    """As in Docker, to start what runs is no failure: scripts say it to be sure."""
    try:
        container.start()
    except StateError:
        if container.status != "running":
            raise


def _start(call: Call) -> int:
    given = call.given
    if given.checkpoint is not None:
        if given.attach or given.interactive:
            raise InvalidArgument(
                "checkpoint", given.checkpoint, "restore it, then attach: 'pycontainer attach'"
            )
        return _each(lambda _, container: container.restore(given.checkpoint))(call)
    if not given.attach and not given.interactive:
        return _each(_start_one)(call)
    if len(call.words) > 1:
        raise InvalidArgument("attach", True, "one container at a time can be attached to")
    from pycontainer.cli.attached import attend

    container = call.container(call.words[0])
    output = container.logs(follow=True, tail=0, entries=True, hold=True)
    return attend(
        container,
        output,
        interactive=given.interactive,
        send_signals=True,
        keys=given.detach_keys,
        start=True,
    )


START = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]", _start, _start_options, least=1, most=None, completes=("container",)
)


# -- wait, rename, remove ------------------------------------------------------------------


def _wait(call: Call) -> int:
    return call.each(call.words, lambda name: print(call.container(name).wait()))


WAIT = Command("CONTAINER [CONTAINER...]", _wait, least=1, most=None, completes=("container",))


def _rename(call: Call) -> None:
    call.container(call.words[0]).rename(call.words[1])


RENAME = Command("CONTAINER NEW_NAME", _rename, least=2, most=2, completes=("container",))


def _remove_options(parser: Parser) -> None:
    parser.flag("--force", "-f", help="End a running container first; don't mind one that is not there")
    parser.flag(
        "--volumes", "-v", help="Accepted as in Docker: volumes without a name go with their container"
    )


def _remove(call: Call) -> int:
    def one(name: str) -> None:
        try:
            container = call.container(name)
        except InvalidArgument:
            if call.given.force:
                return
            raise
        container.remove(force=call.given.force)
        print(name)

    return call.each(call.words, one)


REMOVE = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    _remove,
    _remove_options,
    least=1,
    most=None,
    completes=("container",),
)


def _prune_options(parser: Parser) -> None:
    pruning.option(parser)
    parser.flag("--force", "-f", help="Do not prompt for confirmation")


def _prune(call: Call) -> None:
    wanted = pruning.wanted(call.given.filter)
    if confirmed("WARNING! This will remove all stopped containers.", force=call.given.force):
        removed = call.engine.containers.prune(
            where=lambda each: wanted(dict(each.spec.labels), each.created)
        )
        if removed:
            print("\n".join(["Deleted Containers:", *removed]))


PRUNE = Command("[OPTIONS]", _prune, _prune_options)


# -- update --------------------------------------------------------------------------------

#: Option -> the library's argument, and what reads its value.
_LIMITS: dict[str, tuple[str, str, Callable[[str], Any], str]] = {
    "--blkio-weight": ("uint16", "io_weight", notation.io_weight, "Weight of disk I/O, from 10 to 1000"),
    "--cpu-shares": ("int", "cpu_weight", notation.cpu_weight, "CPU shares (relative weight)"),
    "--cpus": ("decimal", "cpus", notation.processors_of, "Number of CPUs"),
    "--cpuset-cpus": ("string", "cpuset_cpus", str, "CPUs in which to allow execution (0-3, 0,1)"),
    "--cpuset-mems": ("string", "cpuset_mems", str, "Memory nodes in which to allow execution"),
    "--memory": ("bytes", "memory", notation.memory, "Memory limit"),
    "--memory-reservation": (
        "bytes",
        "memory_low",
        notation.memory,
        "Memory that is taken from others first",
    ),
    "--memory-swap": (
        "bytes",
        "memory_swap",
        notation.memory,
        "Memory and swap together: '-1' for unlimited swap",
    ),
    "--pids-limit": ("int", "pids", notation.pids, "Limit of processes and threads, -1 for unlimited"),
}


def _update_options(parser: Parser) -> None:
    short = {"--memory": ("-m",), "--cpu-shares": ("-c",)}
    for name, (metavar, _, _, told) in _LIMITS.items():
        parser.value(name, *short.get(name, ()), metavar=metavar, help=told)
    parser.value("--restart", help="Restart policy: no, on-failure[:n], always, unless-stopped")


def _update(call: Call) -> int:
    given = call.given
    limits = {}
    for name, (_, argument, read, _) in _LIMITS.items():
        value = getattr(given, name[2:].replace("-", "_"))
        wanted = None if value is None else read(value)
        if wanted is not None:
            limits[argument] = wanted
    if not limits and given.restart is None:
        raise UsageError("nothing is to be changed: say one option at least; see 'pycontainer update --help'")

    def one(name: str) -> None:
        container = call.container(name)
        if limits:
            container.update(**cast("Any", limits))
        if given.restart is not None:
            container.set_restart(given.restart)
        print(name)

    return call.each(call.words, one)


UPDATE = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    _update,
    _update_options,
    least=1,
    most=None,
    completes=("container",),
)
