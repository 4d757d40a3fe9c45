"""``run``: a container in the foreground."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from pycontainer.cli import netoptions, options
from pycontainer.cli.command import Call, Command
from pycontainer.cli.obtain import obtain
from pycontainer.cli.parser import Parser
from pycontainer.errors import InvalidArgument


def _options(parser: Parser) -> None:
    options.add(parser)
    netoptions.add(parser)
    parser.value("--cidfile", help="Write the container ID to the file")
    parser.flag("--interactive", "-i", help="Hand on stdin")
    parser.value("--platform", help="Use the image of this platform: os/arch[/variant]")
    parser.value(
        "--pull", help="Pull the image before running ('always', 'missing', 'never')", default="missing"
    )
    parser.flag("--quiet", "-q", help="Suppress the pull output")
    parser.flag("--rm", help="Accepted as in Docker: the container is removed at its end in any case")
    parser.flag("--sig-proxy", help="Send received signals on to the program", default=True)


def _run(call: Call) -> int:
    given = call.given
    told = options.arguments(given)
    if given.tty and given.interactive and not os.isatty(0):
        raise InvalidArgument("tty", True, "stdin is no terminal: leave -t out, or say it without -i")
    image = obtain(call.engine, call.words[0], pull=given.pull, platform=given.platform, quiet=given.quiet)
    told |= netoptions.arguments(given, image.config.exposed_ports)
    from pycontainer.cli.foreground import attend

    with call.engine.containers.create(image, call.words[1:] or None, **told) as container:
        _note(given.cidfile, container.id)
        sys.stdout.flush()
        try:
            return attend(container, interactive=given.interactive, send_signals=given.sig_proxy)
        except BaseException:
            _forget(given.cidfile)
            raise


def _note(path: str | None, identity: str) -> None:
    """Write the id to a file that is not there yet, as Docker demands."""
    if path is not None:
        try:
            with open(path, "x", encoding="ascii") as file:
                file.write(identity)
        except FileExistsError:
            raise InvalidArgument(
                "cidfile", path, "the file exists: remove it, or choose another name"
            ) from None


def _forget(path: str | None) -> None:
    if path is not None:
        with suppress(FileNotFoundError):
            os.unlink(path)


RUN = Command(
    "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    _run,
    _options,
    least=1,
    most=None,
    interspersed=False,
    completes=("image", "file"),
)
