"""From what was typed to the command, and from its failure to one line and an exit status."""

from __future__ import annotations

import sys
from argparse import Namespace

from pycontainer.cli import catalog
from pycontainer.cli.command import Call, Command
from pycontainer.cli.failure import status, tell
from pycontainer.cli.parser import Parser, UsageError
from pycontainer.errors import PyContainerError

#: What Docker says to a command line that it cannot understand.
_USAGE = 125


def dispatch(words: list[str]) -> int:
    """Run the command that these words are; its exit status."""
    command = ""
    if words[:1] == ["__complete"]:
        from pycontainer.cli.completion import answer

        answer(words[1:])
        return 0
    try:
        common, words = _common(words)
        if common.version:
            from pycontainer import __version__

            print(f"pycontainer version {__version__}")
            return 0
        command, words = _command(words)
        if not command or command in catalog.GROUPS:
            from pycontainer.cli.help import general

            return general(command, words, wanted=common.help)
        return _run(command, words, common.root)
    except UsageError as error:
        tell(str(error))
        return _USAGE
    except BrokenPipeError:
        raise
    except (PyContainerError, OSError) as error:
        sys.stdout.flush()
        tell(error)
        return status(error, command)


def _common(words: list[str]) -> tuple[Namespace, list[str]]:
    parser = common_options()
    return parser.read(words, interspersed=False)


def common_options() -> Parser:
    """The options before the command."""
    from pycontainer.cli.refused import reason

    parser = Parser("", lambda option: reason("", option))
    parser.prog = "pycontainer"
    parser.value("--root", metavar="dir", help="The engine: where images, volumes and containers are")
    parser.flag("--version", "-v", help="Print version information and quit")
    return parser


def _command(words: list[str]) -> tuple[str, list[str]]:
    """The command's name in the catalogue, or that of a group, and the words after it."""
    if not words:
        return "", []
    first = words[0]
    if first in catalog.GROUPS:
        pair = " ".join(words[:2])
        if len(words) == 1 or words[1].startswith("-"):
            return first, words[1:]
        if words[1:] == ["help"]:
            return first, ["--help"]
        if pair in catalog.COMMANDS or pair in catalog.ALIASES:
            return catalog.ALIASES.get(pair, pair), words[2:]
        raise UsageError(_unknown(pair, catalog.within(first), first))
    if first == "help":
        name, _ = _command(words[1:])
        return name, ["--help"]
    if first not in catalog.COMMANDS:
        raise UsageError(_unknown(first, catalog.within(""), ""))
    return first, words[1:]


def _unknown(name: str, known: dict[str, str], group: str) -> str:
    if name in catalog.REFUSED:
        return f"{name} is not supported: {catalog.REFUSED[name]}"
    from difflib import get_close_matches

    near = get_close_matches(name.rsplit(maxsplit=1)[-1], known, n=1)
    guess = f"; did you mean {' '.join(filter(None, (group, near[0])))!r}?" if near else ""
    return f"unknown command: {name!r}{guess}; see 'pycontainer {group + ' ' if group else ''}--help'"


def _run(name: str, words: list[str], root: str | None) -> int:
    command = catalog.load(name)
    parser = parser_of(name, command)
    given, others = parser.read(words, interspersed=command.interspersed)
    if given.help:
        from pycontainer.cli.help import of_command

        print(of_command(name, command, parser))
        return 0
    _check_count(name, command, others)
    call = Call(name, given, others, root)
    try:
        return command.run(call) or 0
    finally:
        call.close()


def parser_of(name: str, command: Command) -> Parser:
    """The options of a command."""
    from pycontainer.cli.refused import reason

    parser = Parser(name, lambda option: reason(name, option))
    command.options(parser)
    return parser


def _check_count(name: str, command: Command, words: list[str]) -> None:
    least, most = command.least, command.most
    if len(words) >= least and (most is None or len(words) <= most):
        return
    if most is None:
        wanted = f"at least {least}"
    elif least == most:
        wanted = f"exactly {least}" if least else "no"
    else:
        wanted = f"{least} to {most}"
    plural = "" if (most or least) == 1 else "s"
    usage = f"pycontainer {name} {command.usage}".rstrip()
    raise UsageError(f"'{name}' takes {wanted} argument{plural}, and got {len(words)}; usage: {usage}")
