"""``pull`` and ``push``."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import Any

from pycontainer.cli.command import Call, Command
from pycontainer.cli.obtain import bars, fetch, with_tag
from pycontainer.cli.parser import Parser


def _options(parser: Parser) -> None:
    parser.value("--platform", help="Take the image of this platform: os/arch[/variant]")
    parser.flag("--quiet", "-q", help="Suppress verbose output")
    tls_option(parser)


def tls_option(parser: Parser) -> None:
    """The option of every command that speaks with registries; podman's."""
    parser.flag(
        "--tls-verify",
        help="With false, allow plain HTTP, and certificates that nobody vouches for",
        default=True,
    )


def _pull(call: Call) -> None:
    given, name = call.given, call.words[0]
    out = None if given.quiet else sys.stdout
    fetch(call.images, name, platform=given.platform, out=out, insecure=not given.tls_verify)
    from pycontainer.image.reference import Reference

    print(Reference.parse(name))


PULL = Command("[OPTIONS] NAME[:TAG|@DIGEST]", _pull, _options, least=1, most=1, completes=("image",))


def _push_options(parser: Parser) -> None:
    parser.flag("--quiet", "-q", help="Suppress verbose output")
    tls_option(parser)


def _push(call: Call) -> None:
    from pycontainer.image.reference import Reference

    given, name = call.given, call.words[0]
    image = call.images.get(name)
    reference = Reference.parse(image.name)
    told: dict[str, Any] = {"insecure": not given.tls_verify}
    if not given.quiet:
        print(f"The push refers to repository [{reference.name}]", flush=True)
    with ExitStack() as stack:
        digest = call.images.push(image, progress=None if given.quiet else bars(stack), **told)
    if given.quiet:
        print(with_tag(name))
    elif image.stored is not None:
        print(f"{reference.tag or 'latest'}: digest: {digest} size: {len(image.stored.manifest.raw)}")


PUSH = Command("[OPTIONS] NAME[:TAG]", _push, _push_options, least=1, most=1, completes=("image",))
