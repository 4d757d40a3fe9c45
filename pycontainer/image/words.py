"""Words of an instruction of a Dockerfile: quotes, escapes and variables.

As the Dockerfile reference has it, "Environment replacement": a variable that is not set is nothing; what is between
single quotes stays as it is; a backslash before a character makes it an ordinary one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pycontainer.errors import InvalidArgument

_BLANKS = " \t"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: What a backslash between double quotes escapes.
_ESCAPED = '"$\\'


def split(text: str) -> list[str]:
    """The words of a text, still with their quotes and escapes. Raises :class:`InvalidArgument` for an open quote.

    >>> split('a="b c" d\\\\ e')
    ['a="b c"', 'd\\\\ e']
    """
    words, word, quote = [], "", ""
    signs = iter(text)
    for sign in signs:
        if not quote and sign in _BLANKS:
            if word:
                words.append(word)
            word = ""
            continue
        word += sign
        if sign == "\\" and quote != "'":
            word += next(signs, "")
        elif sign == quote:
            quote = ""
        elif not quote and sign in "\"'":
            quote = sign
    if quote:
        raise InvalidArgument("changes", text, f"the quote {quote} is not closed")
    return [*words, word] if word else words


def expand(word: str, variables: Mapping[str, str]) -> str:
    """A word without its quotes and escapes, and with the values of the variables that it names.

    ``$name``, ``${name}``, ``${name:-other}`` and ``${name:+other}``.  Raises :class:`InvalidArgument`.

    >>> expand('"$a"-${b:-2}', {"a": "1"})
    '1-2'
    """
    return "".join(_Reader(word, variables).pieces())


class _Reader:
    def __init__(self, text: str, variables: Mapping[str, str]) -> None:
        self._text = text
        self._variables = variables
        self._at = 0

    def pieces(self, end: str = "") -> Iterator[str]:
        """What comes up to the sign ``end``, or to the end of the text."""
        quote = ""
        while self._at < len(self._text):
            sign = self._next()
            if quote == "'" and sign != "'":
                yield sign
            elif sign == end and not quote:
                return
            elif sign == quote:
                quote = ""
            elif not quote and sign in "\"'":
                quote = sign
            elif sign == "\\":
                yield self._escaped(quote)
            elif sign == "$":
                yield self._variable()
            else:
                yield sign
        if quote or end:
            raise InvalidArgument("changes", self._text, f"{quote or end} is missing")

    def _next(self) -> str:
        self._at += 1
        return self._text[self._at - 1]

    def _escaped(self, quote: str) -> str:
        if self._at == len(self._text):
            return "\\"
        sign = self._next()
        return sign if not quote or sign in _ESCAPED else f"\\{sign}"

    def _variable(self) -> str:
        rest = self._text[self._at :]
        name = _NAME.match(rest.removeprefix("{"))
        if name is None:
            if rest.startswith("{"):
                raise InvalidArgument("changes", self._text, "after ${ comes the name of a variable")
            return "$"
        value = self._variables.get(name[0], "")
        if not rest.startswith("{"):
            self._at += len(name[0])
            return value
        self._at += 1 + len(name[0])
        rule = self._text[self._at : self._at + 2]
        if rule[:1] == "}":
            self._at += 1
            return value
        if rule not in {":-", ":+"}:
            raise InvalidArgument("changes", self._text, "of a variable :- and :+ are known")
        self._at += 2
        other = "".join(self.pieces("}"))
        return (value or other) if rule == ":-" else (other if value else "")
