"""What ``--help`` prints, in the form of Docker's."""

from __future__ import annotations

import sys

from pycontainer.cli import catalog
from pycontainer.cli.command import Command
from pycontainer.cli.parser import Parser, UsageError

#: The commands that people look for first.
_COMMON = ("run", "exec", "ps", "pull", "push", "images", "login", "logout", "version", "info", "doctor")


def general(group: str, words: list[str], *, wanted: bool) -> int:
    """Help for all, or for a group; it goes to stderr, with status 125, when nobody asked for it."""
    asked = wanted or "--help" in words
    if words and not asked:
        raise UsageError(f"unknown flag: {words[0]}; see 'pycontainer {group} --help'")
    text = _group(group) if group else _all()
    print(text, file=sys.stdout if asked or not group else sys.stderr)
    return 0 if asked or not group else 125


def of_command(name: str, command: Command, parser: Parser) -> str:
    """Help for one command."""
    names = [name, *(other for other, target in catalog.ALIASES.items() if target == name)]
    parts = [f"Usage:  pycontainer {name} {command.usage}".rstrip(), catalog.COMMANDS[name].summary]
    if len(names) > 1:
        parts.append("Aliases:\n  " + ", ".join(f"pycontainer {each}" for each in sorted(names)))
    parts.append(f"Options:\n{parser.options_text()}")
    return "\n\n".join(parts)


def _all() -> str:
    from pycontainer.cli.dispatch import common_options

    every = catalog.within("")
    parts = [
        "Usage:  pycontainer [OPTIONS] COMMAND",
        "Linux containers without a daemon",
        _list("Common Commands", {name: every[name] for name in _COMMON}),
        _list("Management Commands", catalog.GROUPS),
        _list("Commands", {name: told for name, told in every.items() if name not in _COMMON}),
        f"Global Options:\n{common_options().options_text()}",
        "Run 'pycontainer COMMAND --help' for more information on a command.",
    ]
    return "\n\n".join(parts)


def _group(group: str) -> str:
    parts = [
        f"Usage:  pycontainer {group} COMMAND",
        catalog.GROUPS[group],
        _list("Commands", catalog.within(group)),
        f"Run 'pycontainer {group} COMMAND --help' for more information on a command.",
    ]
    return "\n\n".join(parts)


def _list(title: str, told: dict[str, str]) -> str:
    width = max(map(len, told)) + 2
    return "\n".join([f"{title}:", *(f"  {name:{width}}{summary}" for name, summary in told.items())])
