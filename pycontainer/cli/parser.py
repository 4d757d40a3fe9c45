"""The options of one command, in the grammar of Docker's command line (that of Go's pflag).

argparse knows the options, converts their values and tells of bad ones.  The words are sorted here before, since the
two differ in how they are written: ``--rm=false``, ``-itv /a:/b``, ``-u=root``, values that begin with ``-``, and
commands whose options end with their first argument.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

#: As pflag reads a bool.
_SWITCH = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}
_HELP_COLUMN = 33


class UsageError(Exception):
    """The command line cannot be understood; exit status 125."""


def switch(text: str) -> bool:
    """Read the value of a flag."""
    try:
        return _SWITCH[text]
    except KeyError:
        raise argparse.ArgumentTypeError("true or false is needed") from None


class Parser(argparse.ArgumentParser):
    """The options of the command ``name``; ``refused`` are options of Docker's that it has not, with the reason."""

    def __init__(self, name: str, refused: Callable[[str], str | None] = lambda _: None) -> None:
        super().__init__(prog=f"pycontainer {name}", add_help=False, allow_abbrev=False)
        self.known: dict[str, argparse.Action] = {}
        self._refused = refused
        self.flag("--help", help="Print usage")

    # -- what there is ---------------------------------------------------------------------

    def flag(self, *names: str, help: str, default: bool = False) -> None:  # noqa: A002  argparse's name
        """An option that is there or not; ``--name=false`` is possible."""
        self._note(
            self.add_argument(*_long_first(names), type=switch, default=default, metavar="", help=help)
        )

    def value(
        self,
        *names: str,
        metavar: str = "string",
        help: str,  # noqa: A002
        default: Any = None,
        type: Callable[[str], Any] = str,  # noqa: A002
        choices: Sequence[str] | None = None,
    ) -> None:
        """An option with a value; the last one counts."""
        self._note(
            self.add_argument(
                *_long_first(names), metavar=metavar, help=help, default=default, type=type, choices=choices
            )
        )

    def each(self, *names: str, metavar: str = "list", help: str) -> None:  # noqa: A002
        """An option that may be given several times; all of them count."""
        self._note(
            self.add_argument(*_long_first(names), action="append", default=[], metavar=metavar, help=help)
        )

    def _note(self, action: argparse.Action) -> None:
        for name in action.option_strings:
            self.known[name] = action

    # -- what was typed --------------------------------------------------------------------

    def read(self, words: Sequence[str], *, interspersed: bool) -> tuple[argparse.Namespace, list[str]]:
        """The options, and the other words. Raises :class:`UsageError`."""
        options: list[str] = []
        others: list[str] = []
        left = list(words)
        while left:
            word = left.pop(0)
            if word == "--":
                others += left
                break
            if word.startswith("--"):
                options.append(self._long(word, left))
            elif word.startswith("-") and word != "-":
                options += self._short(word, left)
            else:
                others.append(word)
                if not interspersed:
                    others += left
                    break
        return self.parse_args(options), others

    def _long(self, word: str, left: list[str]) -> str:
        name, equals, value = word.partition("=")
        if name not in self.known:
            self._unknown(name, f"unknown flag: {name}")
        if self._is_flag(name):
            return f"{name}={value if equals else 'true'}"
        if not equals:
            value = self._next(name, left, word)
        return f"{name}={value}"

    def _short(self, word: str, left: list[str]) -> list[str]:
        """``-it``, ``-u root``, ``-uroot``, ``-u=root``, ``-itu root``."""
        found = []
        letters = word[1:]
        while letters:
            name, letters = f"-{letters[0]}", letters[1:]
            if name not in self.known:
                self._unknown(name, f"unknown shorthand flag: {name[1]!r} in {word}")
            long = self.known[name].option_strings[0]
            if self._is_flag(name):
                value = "true"
                if letters.startswith("="):
                    value, letters = letters[1:], ""
                found.append(f"{long}={value}")
                continue
            found.append(f"{long}={letters.removeprefix('=') or self._next(name, left, word)}")
            break
        return found

    def _next(self, name: str, left: list[str], word: str) -> str:
        if not left:
            self.error(f"flag needs an argument: {name}" + (f" in {word}" if name != word else ""))
        return left.pop(0)

    def _is_flag(self, name: str) -> bool:
        return self.known[name].type is switch

    def _unknown(self, name: str, message: str) -> NoReturn:
        reason = self._refused(name)
        if reason is not None:
            self.error(f"{name} is not supported: {reason}")
        from difflib import get_close_matches

        near = get_close_matches(name, [known for known in self.known if known.startswith("--")], n=1)
        self.error(message + (f"; did you mean {near[0]}?" if near else ""))

    def error(self, message: str) -> NoReturn:
        """Tell what is wrong and where to read on."""
        raise UsageError(f"{message.removeprefix('argument ')}; see '{self.prog} --help'")

    # -- help ------------------------------------------------------------------------------

    def options_text(self) -> str:
        """The options as Docker's help shows them."""
        import textwrap

        lines = []
        for action in sorted(set(self.known.values()), key=lambda each: each.option_strings[0]):
            # Between them are older names, which are not shown.
            first, last = action.option_strings[0], action.option_strings[-1]
            short = "    " if last.startswith("--") else f"{last}, "
            head = f"  {short}{first} {action.metavar or ''}".rstrip()
            told = (action.help or "") + _default(action)
            indent = " " * _HELP_COLUMN
            if len(head) >= _HELP_COLUMN - 1:
                lines.append(head)
                head = ""
            lines += textwrap.wrap(
                told, 100, initial_indent=head.ljust(_HELP_COLUMN), subsequent_indent=indent
            )
        return "\n".join(lines)


def _long_first(names: tuple[str, ...]) -> list[str]:
    return sorted(names, key=lambda name: not name.startswith("--"))


def _default(action: argparse.Action) -> str:
    if action.default in (None, False, []):
        return ""
    shown = "true" if action.default is True else action.default
    return f" (default {shown})"
