"""``run`` and ``create``."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from pycontainer.cli import keepoptions, netoptions, options
from pycontainer.cli.command import Call, Command
from pycontainer.cli.detachkeys import DEFAULT, DetachKeys
from pycontainer.cli.obtain import obtain
from pycontainer.cli.parser import Parser
from pycontainer.errors import InvalidArgument

if TYPE_CHECKING:
    from pycontainer.engine.detached import DetachedContainer
    from pycontainer.image.image import Image

_USAGE = "[OPTIONS] IMAGE [COMMAND] [ARG...]"


def _options(parser: Parser) -> None:
    options.add(parser)
    netoptions.add(parser)
    keepoptions.add(parser)
    parser.value("--cidfile", help="Write the container ID to the file")
    parser.flag("--interactive", "-i", help="Hand on stdin")
    parser.value("--platform", help="Use the image of this platform: os/arch[/variant]")
    parser.value(
        "--pull", help="Pull the image before running ('always', 'missing', 'never')", default="missing"
    )
    parser.flag("--quiet", "-q", help="Suppress the pull output")
    parser.flag("--rm", help="Remove the container when it has ended")


def _run_options(parser: Parser) -> None:
    _options(parser)
    parser.flag("--detach", "-d", help="Run container in background and print container ID")
    parser.value("--detach-keys", help="Keys that leave the container to itself", default=DEFAULT)
    parser.flag("--sig-proxy", help="Send received signals on to the program", default=True)


def _run(call: Call) -> int:
    given = call.given
    if given.tty and given.interactive and not given.detach and not os.isatty(0):
        raise InvalidArgument("tty", True, "stdin is no terminal: leave -t out, or say it without -i")
    if given.rm and given.restart not in {"", "no"}:
        raise InvalidArgument("restart", given.restart, "with --rm it would never be removed")
    DetachKeys(given.detach_keys)
    image, told = _told(call)
    command = call.words[1:] or None
    if _is_private(call, told):
        return _private(call, image, command, told)
    container = _made(call, image, command, told, auto_remove=given.rm and given.detach)
    if given.detach:
        try:
            with _noted(given.cidfile, container.id):
                container.start()
        except BaseException:
            if given.rm and container.status == "created":  # nobody would remove it
                container.remove()
            raise
        print(container.id)
        return 0
    from pycontainer.cli.attached import attend

    output = container.logs(follow=True, entries=True, hold=True)
    try:
        with _noted(given.cidfile, container.id):
            return attend(
                container,
                output,
                interactive=given.interactive,
                send_signals=given.sig_proxy,
                keys=given.detach_keys,
                start=True,
            )
    finally:
        if given.rm and container.status in {"created", "exited", "dead"}:
            container.remove()


def _is_private(call: Call, told: dict[str, Any]) -> bool:
    """One that nobody can name, and that goes with its end, needs no monitor, no log and no record."""
    given = call.given
    if not given.rm or given.detach or "healthcheck" in told:
        return False
    return not given.name


def _told(call: Call) -> tuple[Image, dict[str, Any]]:
    """The image, and what is said of the container."""
    given = call.given
    told = options.arguments(given)
    image = obtain(
        call.engine, call.words[0], pull=given.pull, platform=given.platform or None, quiet=given.quiet
    )
    return image, {
        **told,
        **netoptions.arguments(given, image.config.exposed_ports),
        **keepoptions.arguments(given, image),
    }


def _private(call: Call, image: Image, command: list[str] | None, told: dict[str, Any]) -> int:
    """A container of this process."""
    from pycontainer.cli.foreground import attend
    from pycontainer.cli.hostterminal import window
    from pycontainer.container.detached.options import NAMES

    given = call.given
    for name in NAMES & told.keys():
        del told[name]
    if given.tty:
        told["tty"] = window(0) or window(1) or True
    with call.engine.containers.create(image, command, **told) as container:
        with _noted(given.cidfile, container.id):
            sys.stdout.flush()
            return attend(container, interactive=given.interactive, send_signals=given.sig_proxy)


def _made(
    call: Call, image: Image, command: list[str] | None, told: dict[str, Any], *, auto_remove: bool
) -> DetachedContainer:
    made = call.engine.containers.create(
        image, command, detach=True, auto_remove=auto_remove, stdin_open=call.given.interactive, **told
    )
    return cast("DetachedContainer", made)


class _noted:  # noqa: N801  used as a verb
    """The id in a file that was not there, as Docker demands; it is removed again when nothing starts."""

    def __init__(self, path: str | None, identity: str) -> None:
        self._path, self._identity = path, identity

    def __enter__(self) -> None:
        if self._path:
            try:
                with open(self._path, "x", encoding="ascii") as file:
                    file.write(self._identity)
            except FileExistsError:
                reason = "the file exists: remove it, or choose another name"
                raise InvalidArgument("cidfile", self._path, reason) from None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and self._path:
            with suppress(FileNotFoundError):
                os.unlink(self._path)


RUN = Command(_USAGE, _run, _run_options, least=1, most=None, interspersed=False, completes=("image", "file"))


def _create(call: Call) -> None:
    image, told = _told(call)
    container = _made(call, image, call.words[1:] or None, told, auto_remove=call.given.rm)
    with _noted(call.given.cidfile, container.id):
        print(container.id)


CREATE = Command(
    _USAGE, _create, _options, least=1, most=None, interspersed=False, completes=("image", "file")
)
