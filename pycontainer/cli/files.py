"""``cp``, ``diff``, ``commit``, ``export``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pycontainer.cli import streamed
from pycontainer.cli.command import Call, Command
from pycontainer.cli.parser import Parser
from pycontainer.errors import InvalidArgument

if TYPE_CHECKING:
    from pycontainer.container.spec import Spec
    from pycontainer.image.config import ImageConfig

_KINDS = {"added": "A", "modified": "C", "deleted": "D"}
_COPY = "CONTAINER:SRC_PATH DEST_PATH, or SRC_PATH CONTAINER:DEST_PATH"


def _copy_options(parser: Parser) -> None:
    parser.flag("--quiet", "-q", help="Accepted as in Docker: nothing is told")


def _copy(call: Call) -> None:
    source, target = (_place(word) for word in call.words)
    if (source[0] is None) == (target[0] is None):
        raise InvalidArgument("path", " ".join(call.words), f"{_COPY} is needed")
    if "-" in {source[1], target[1]}:
        raise InvalidArgument(
            "path", "-", "a file or directory is needed; 'pycontainer export' writes an archive"
        )
    if source[0] is not None:
        call.container(source[0]).get(source[1], target[1])
    else:
        call.container(str(target[0])).put(source[1], target[1])


def _place(word: str) -> tuple[str | None, str]:
    """A container and a path in it; a path that begins with ``/`` or ``.`` is one of the host."""
    name, colon, path = word.partition(":")
    if not colon or not name or name.startswith(("/", ".")):
        return None, word
    return name, path


COPY = Command(_COPY.replace(", or ", " | "), _copy, _copy_options, least=2, most=2, completes=("file",))


def _diff(call: Call) -> None:
    for change in call.container(call.words[0]).changes():
        from pycontainer.cli.text import printable

        print(_KINDS[change.kind], printable(change.path))


DIFF = Command("CONTAINER", _diff, least=1, most=1, completes=("container",))


def _commit_options(parser: Parser) -> None:
    parser.value(
        "--author", "-a", help="Author (e.g., 'John Hannibal Smith <hannibal@a-team.com>')", default=""
    )
    parser.each("--change", "-c", help="Apply an instruction of a Dockerfile: 'CMD [\"sh\"]', 'ENV A=1'")
    parser.value("--message", "-m", help="Commit message", default="")
    parser.flag("--pause", "-p", help="Accepted as in Docker: what runs is paused meanwhile", default=True)


def _commit(call: Call) -> None:
    given = call.given
    name = call.words[1] if len(call.words) > 1 else None
    container = call.container(call.words[0])
    image = container.commit(
        name,
        config=_config_of(container.spec),
        changes=given.change,
        author=given.author,
        message=given.message,
    )
    print(image.digest)


def _config_of(spec: Spec) -> ImageConfig:
    """What an image of a container sets, as with Docker: what its image did, and what was said when it was made."""
    import attrs

    image = spec.image.config
    entrypoint = image.entrypoint if spec.argv[: len(image.entrypoint)] == image.entrypoint else ()
    return attrs.evolve(
        image,
        entrypoint=entrypoint,
        cmd=spec.argv[len(entrypoint) :],
        env=[f"{name}={value}" for name, value in spec.env],
        user=spec.user,
        workdir=spec.workdir if spec.workdir != "/" else image.workdir,
        labels=dict(spec.labels),
    )


COMMIT = Command(
    "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    _commit,
    _commit_options,
    least=1,
    most=2,
    completes=("container", "image"),
)


def _export_options(parser: Parser) -> None:
    parser.value("--output", "-o", help="Write to a file, instead of STDOUT")


def _export(call: Call) -> None:
    target = streamed.target(call.given.output)
    call.container(call.words[0]).export(target)


EXPORT = Command("[OPTIONS] CONTAINER", _export, _export_options, least=1, most=1, completes=("container",))
