"""``save``, ``load`` and ``import``."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack

from pycontainer.cli import streamed
from pycontainer.cli.command import Call, Command
from pycontainer.cli.obtain import bars
from pycontainer.cli.parser import Parser
from pycontainer.errors import InvalidArgument

_FORMATS = ("oci", "docker", "oci-dir")


def _save_options(parser: Parser) -> None:
    parser.value(
        "--format", help="Format of the archive: 'oci', 'docker' or 'oci-dir', a directory", default="oci"
    )
    parser.value("--output", "-o", help="Write to a file, instead of STDOUT")
    parser.flag("--quiet", "-q", help="Suppress the output")


def _save(call: Call) -> None:
    given, images = call.given, call.images
    if given.format not in _FORMATS:
        raise InvalidArgument("format", given.format, f"one of {', '.join(_FORMATS)} is needed")
    target = streamed.target(given.output)
    if given.output is None and given.format == "oci-dir":
        raise InvalidArgument("output", "", "a directory needs a name: say -o DIRECTORY")
    with ExitStack() as stack:
        listener = None if given.quiet else bars(stack)
        images.save([images.get(name) for name in call.words], target, format=given.format, progress=listener)


SAVE = Command("[OPTIONS] IMAGE [IMAGE...]", _save, _save_options, least=1, most=None, completes=("image",))


def _load_options(parser: Parser) -> None:
    parser.value("--input", "-i", help="Read from a tar archive or directory, instead of STDIN")
    parser.value("--platform", help="Take the images of this platform: os/arch[/variant]")
    parser.flag("--quiet", "-q", help="Suppress the bars")


def _load(call: Call) -> None:
    given = call.given
    source = streamed.source(given.input)
    with ExitStack() as stack:
        listener = None if given.quiet else bars(stack)
        found = call.images.load(source, platform=given.platform, progress=listener)
    for image in found:
        nameless = image.name.startswith("sha256:")
        print(f"Loaded image ID: {image.name}" if nameless else f"Loaded image: {image.name}")


LOAD = Command("[OPTIONS]", _load, _load_options)


def _import_options(parser: Parser) -> None:
    parser.each("--change", "-c", help="Apply an instruction of a Dockerfile: 'CMD [\"sh\"]', 'ENV A=1'")
    parser.value("--message", "-m", help="Set commit message for imported image", default="")
    parser.value("--platform", help="The platform of the image: os/arch[/variant]")


def _import(call: Call) -> None:
    source, name = call.words[0], call.words[1] if len(call.words) > 1 else None
    if source.startswith(("http://", "https://")):
        raise InvalidArgument("file", source, f"pipe it in: curl {source} | pycontainer import -")
    if source != "-" and not os.path.exists(source):
        raise InvalidArgument("file", source, "there is no such file; '-' is stdin")
    image = call.images.import_rootfs(
        sys.stdin.buffer if source == "-" else source,
        name,
        changes=call.given.change,
        message=call.given.message,
        platform=call.given.platform,
    )
    print(image.digest)


IMPORT = Command(
    "[OPTIONS] file|- [REPOSITORY[:TAG]]",
    _import,
    _import_options,
    least=1,
    most=2,
    completes=("file", "image"),
)
