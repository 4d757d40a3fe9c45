"""What goes in and out of a command."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from pycontainer.container.arguments import flag
from pycontainer.container.options import EXCHANGE, refuse_unknown
from pycontainer.container.stdio import PIPE, Stdio, check_stream
from pycontainer.container.streams import Streams
from pycontainer.container.text import Text
from pycontainer.errors import InvalidArgument
from pycontainer.kernel.terminal import Terminal
from pycontainer.size import parse_size


@attrs.frozen(kw_only=True)
class Exchange:
    """What goes in and out of a command, and how long it may take; arguments as of ``subprocess.run``."""

    input: Any = None
    stdin: Any = None
    stdout: Any = PIPE
    stderr: Any = PIPE
    timeout: float | None = None
    cpu_timeout: float | None = None
    text: Text | None = None
    output_limit: int | None = None
    on_output: Callable[[str, Any], object] | None = None

    @classmethod
    def of(
        cls,
        *,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        output_limit: int | str | None = None,
        **fields: Any,
    ) -> Exchange:
        """From arguments in the manner of ``subprocess.run``. Raises :class:`InvalidArgument`."""
        return cls(text=_text_mode(text, encoding, errors), output_limit=_limit(output_limit), **fields)

    def __attrs_post_init__(self) -> None:
        if self.input is not None:
            if self.stdin is not None:
                raise InvalidArgument("stdin", self.stdin, "give either 'input' or 'stdin'")
            _check_input(self.input, self.text)
        for name in ("timeout", "cpu_timeout"):
            seconds = getattr(self, name)
            if seconds is not None and not (_is_number(seconds) and seconds > 0):
                raise InvalidArgument(name, seconds, "a positive number of seconds is needed")
        if self.on_output is not None and not callable(self.on_output):
            raise InvalidArgument("on_output", self.on_output, "a function of (name, data) is needed")
        for name in ("stdin", "stdout", "stderr"):
            check_stream(name, getattr(self, name))

    def open(self) -> Stdio:
        """The descriptors of a program that is not on a terminal."""
        stdin = PIPE if self.input is not None else self.stdin
        return Stdio.create(stdin=stdin, stdout=self.stdout, stderr=self.stderr)

    def streams(self, stdio: Stdio | None, terminal: Terminal | None) -> Streams:
        """The pump, over pipes or over a terminal."""
        options: dict[str, Any] = {
            "input": self.input,
            "output_limit": self.output_limit,
            "on_output": self.on_output,
            "text": self.text,
        }
        if terminal is not None:
            return Streams.on_terminal(terminal, **options)
        assert stdio is not None  # noqa: S101  one of the two is given
        return Streams(stdio, **options)


#: Of a command that is told nothing: no input, both outputs captured.
PLAIN = Exchange()


def _is_number(value: object) -> bool:
    # A clock's number is a float, which has no room for every int.
    return isinstance(value, float) or (
        isinstance(value, int) and not isinstance(value, bool) and value < 1 << 63
    )


def _limit(value: int | str | None) -> int | None:
    if value is None or (value == 0 and type(value) is int):
        return value
    return parse_size("output_limit", value)


def _text_mode(text: Any, encoding: Any, errors: Any) -> Text | None:
    if text is not None:
        flag("text", text)
    for name, value in (("encoding", encoding), ("errors", errors)):
        if value is not None and not isinstance(value, str):
            raise InvalidArgument(name, value, "a name is needed")
    return Text.choose(text, encoding, errors)


def _check_input(data: Any, text: Text | None) -> None:
    """Before anything starts; the pieces of an iterable are looked at when their turn comes."""
    if isinstance(data, str) and text is None:
        raise InvalidArgument("input", data[:40], "bytes are accepted; for str say text=True")
    if isinstance(data, Mapping) or not isinstance(data, (str, bytes, bytearray, memoryview, Iterable)):
        raise InvalidArgument(
            "input", data, "bytes, text (with text=True) or an iterable of pieces is accepted"
        )


def take_exchange(verb: str, given: dict[str, Any]) -> tuple[Exchange, bool]:
    """What goes in and out of a run, and whether its changes are told; both are taken out of the arguments ``given``.

    Raises :class:`TypeError` for an argument that ``verb`` does not know, and :class:`InvalidArgument`.
    """
    changes = flag("changes", given.pop("changes", True))
    if not given:
        return PLAIN, changes
    refuse_unknown(verb, given)
    told = {name: given.pop(name) for name in EXCHANGE & given.keys()}
    return Exchange.of(**told) if told else PLAIN, changes
