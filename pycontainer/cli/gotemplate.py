"""Templates of ``--format``, in the part of Go's text/template that people use with Docker.

Text with ``{{.Field.Sub}}``, pipelines and functions, ``range``, ``if``, ``with``, variables, trimmed blanks and
comments.  A template is parsed into functions of a scope once, and called for each row.  It cannot reach anything but
the value that it is given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pycontainer.cli.gofunctions import FUNCTIONS, field, method_of, shown, truth
from pycontainer.errors import InvalidArgument

#: Gives a value, or a piece of text, in a scope: the names of variables, ``.`` among them.
_Part = Callable[[dict[str, Any]], Any]

_ACTION = re.compile(r"\{\{(-(?=\s))?\s*(.*?)\s*((?<=\s)-)?\}\}", re.DOTALL)
_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|`[^`]*`)|(?P<number>-?\d+(?:\.\d+)?)|(?P<declare>\$\w*\s*(?:,\s*\$\w+\s*)?:?=(?!=))
    |(?P<variable>\$\w*(?:\.\w+)*)|(?P<field>\.(?:\w+(?:\.\w+)*)?)|(?P<word>\w+)|(?P<sign>[|()]))""",
    re.VERBOSE,
)


class Template:
    """A parsed template. Raises :class:`InvalidArgument` for one that is none, and where a field is not there."""

    def __init__(self, text: str, functions: Mapping[str, Callable[..., Any]] = FUNCTIONS) -> None:
        self.text = text.replace("\\t", "\t").replace("\\n", "\n")
        self._functions = functions
        self._pieces = list(self._split())
        self._place = 0
        self._body, end = self._block()
        if end:
            self.refuse(f"{{{{{end}}}}} without a beginning")

    def render(self, value: Any) -> str:
        """The text for a value."""
        return "".join(self._body({".": value, "$": value}))

    def refuse(self, why: str) -> Any:
        """Raise :class:`InvalidArgument`."""
        raise InvalidArgument("format", self.text, why)

    # -- blocks ----------------------------------------------------------------------------

    def _split(self) -> Iterator[tuple[bool, str]]:
        """Pieces: (is it an action, its text)."""
        position, trim = 0, False
        for match in _ACTION.finditer(self.text):
            plain = self.text[position : match.start()]
            plain = plain.lstrip() if trim else plain
            yield False, plain.rstrip() if match[1] else plain
            position, trim = match.end(), bool(match[3])
            if not match[2].startswith("/*"):
                yield True, match[2]
        rest = self.text[position:]
        if "{{" in rest:
            self.refuse("'{{' without '}}'")
        yield False, rest.lstrip() if trim else rest

    def _block(self) -> tuple[Callable[[dict[str, Any]], Iterator[str]], str]:
        """Parts up to the ``end`` or ``else`` that closes the block, and that."""
        parts: list[_Part] = []
        end = ""
        while self._place < len(self._pieces):
            is_action, text = self._pieces[self._place]
            self._place += 1
            word = text.split(maxsplit=1)[0] if is_action and text else ""
            if not is_action:
                parts.append(_constant(text))
            elif word in {"end", "else"}:
                end = text
                break
            elif word in {"if", "with", "range"}:
                parts.append(self._nested(word, text[len(word) :]))
            else:
                parts.append(self._output(text))

        def body(scope: dict[str, Any]) -> Iterator[str]:
            for part in parts:
                yield part(scope)

        return body, end

    def _nested(self, word: str, text: str) -> _Part:
        names, pipeline = self._declared(text)
        body, end = self._block()
        otherwise: _Part | None = None
        if end.startswith("else"):
            rest = end[4:].strip()
            if rest.startswith("if"):
                otherwise = self._nested("if", rest[2:])
            else:
                plain, last = self._block()
                if last != "end":
                    self.refuse(f"{{{{{word}}}}} without {{{{end}}}}")
                otherwise = lambda scope: "".join(plain(scope))  # noqa: E731
        elif end != "end":
            self.refuse(f"{{{{{word}}}}} without {{{{end}}}}")

        def run(scope: dict[str, Any]) -> str:
            value = pipeline(scope)
            if not truth(value):
                return otherwise(scope) if otherwise else ""
            if word == "range":
                return "".join(
                    "".join(body({**scope, **dict(zip(names[::-1], (each, key), strict=False)), ".": each}))
                    for key, each in _items(value)
                )
            inner = {**scope, **dict.fromkeys(names, value)}
            return "".join(body({**inner, ".": value} if word == "with" else inner))

        return run

    def _output(self, text: str) -> _Part:
        names, pipeline = self._declared(text)

        def run(scope: dict[str, Any]) -> str:
            value = pipeline(scope)
            if names:
                scope[names[0]] = value
                return ""
            return shown(value)

        return run

    # -- pipelines -------------------------------------------------------------------------

    def _declared(self, text: str) -> tuple[list[str], _Part]:
        """The variables that a pipeline is given to, and the pipeline."""
        tokens = self._tokens(text)
        names: list[str] = []
        if tokens and tokens[0][0] == "declare":
            names = re.findall(r"\$\w*", tokens.pop(0)[1])
        pipeline = self._pipeline(tokens)
        if tokens:
            self.refuse(f"{tokens[0][1]!r} is out of place")
        return names, pipeline

    def _tokens(self, text: str) -> list[tuple[str, str]]:
        found, position = [], 0
        text = text.strip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                self.refuse(f"{text[position:].strip()!r} cannot be understood")
            assert match is not None and match.lastgroup is not None  # noqa: S101, PT018  refused above
            found.append((match.lastgroup, match[match.lastgroup]))
            position = match.end()
        return found

    def _pipeline(self, tokens: list[tuple[str, str]]) -> _Part:
        stages = [self._stage(tokens)]
        while tokens and tokens[0] == ("sign", "|"):
            tokens.pop(0)
            stages.append(self._stage(tokens))

        def run(scope: dict[str, Any]) -> Any:
            value = stages[0](scope, ())
            for stage in stages[1:]:
                value = stage(scope, (value,))
            return value

        return run

    def _stage(self, tokens: list[tuple[str, str]]) -> Callable[[dict[str, Any], tuple[Any, ...]], Any]:
        """A function with its arguments, or one operand."""
        if not tokens:
            self.refuse("a value is missing")
        kind, text = tokens[0]
        constants = {"true": True, "false": False, "nil": None}
        if kind == "word" and text not in constants:
            tokens.pop(0)
            if text not in self._functions:
                self.refuse(f"function {text!r} is not defined; there are {', '.join(sorted(FUNCTIONS))}")
            arguments = []
            while tokens and tokens[0] not in {("sign", "|"), ("sign", ")")}:
                arguments.append(self._operand(tokens))
            return lambda scope, last: self._call(text, [each(scope) for each in arguments] + list(last))
        operand = self._operand(tokens)
        if kind == "field" and text != "." and tokens and tokens[0] not in {("sign", "|"), ("sign", ")")}:
            return self._method(text, tokens)
        return lambda scope, last: self.refuse("a value is no function") if last else operand(scope)

    def _method(self, text: str, tokens: list[tuple[str, str]]) -> Callable[..., Any]:
        """``.Label "team"``: the one that Docker's lists have."""
        argument = self._operand(tokens)
        if tokens and tokens[0] not in {("sign", "|"), ("sign", ")")}:
            self.refuse(f"{tokens[0][1]!r} is out of place")

        def run(scope: dict[str, Any], last: tuple[Any, ...]) -> Any:
            *above, name = _names(text)
            method = method_of(self._walked(scope["."], above), name)
            if last or method is None:
                return self.refuse(f"{text} is no function")
            return method(argument(scope))

        return run

    def _call(self, name: str, arguments: list[Any]) -> Any:
        try:
            return self._functions[name](*arguments)
        except (TypeError, ValueError, LookupError) as error:
            return self.refuse(f"{name}: {error}")

    def _operand(self, tokens: list[tuple[str, str]]) -> _Part:
        kind, text = tokens.pop(0)
        if kind == "text":
            return _constant(_unquoted(text))
        if kind == "number":
            return _constant(float(text) if "." in text else int(text))
        if kind == "word" and text in {"true", "false", "nil"}:
            return _constant({"true": True, "false": False}.get(text))
        if kind in {"field", "variable"}:
            return self._path(kind, text)
        if (kind, text) == ("sign", "("):
            inner = self._pipeline(tokens)
            if not tokens or tokens.pop(0) != ("sign", ")"):
                self.refuse("')' is missing")
            if tokens and tokens[0][0] == "field" and tokens[0][1] != ".":
                names = _names(tokens.pop(0)[1])
                return lambda scope: self._walked(inner(scope), names)
            return inner
        return self.refuse(f"{text!r} is out of place")  # type: ignore[no-any-return]

    def _path(self, kind: str, text: str) -> _Part:
        head, _, rest = text.partition(".") if kind == "variable" else (".", "", text[1:])
        names = _names(rest)

        def run(scope: dict[str, Any]) -> Any:
            if head not in scope:
                self.refuse(f"the variable {head} is not defined")
            return self._walked(scope[head], names)

        return run

    def _walked(self, value: Any, names: list[str]) -> Any:
        for name in names:
            try:
                value = field(value, name)
            except LookupError as error:
                self.refuse(str(error.args[0]))
        return value


def _names(path: str) -> list[str]:
    return [name for name in path.split(".") if name]


def _constant(value: Any) -> _Part:
    return lambda _: value


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        yield from sorted(value.items())
    elif isinstance(value, (list, tuple)):
        yield from enumerate(value)


def _unquoted(text: str) -> str:
    if text.startswith("`"):
        return text[1:-1]
    signs = {"n": "\n", "t": "\t", "r": "\r"}
    return re.sub(r"\\(.)", lambda match: signs.get(match[1], match[1]), text[1:-1])
