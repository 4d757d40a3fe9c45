"""What a function is sent to a container as: its name, where the image has it too; else its source.

Arguments are pickled: they are the caller's, and only the container reads them.
"""

from __future__ import annotations

import ast
import dis
import functools
import inspect
import pickle
import sys
import textwrap
import types
from collections.abc import Callable, Collection
from typing import Any

import attrs

from pycontainer.errors import InvalidArgument

_WAY_OUT = "define it with 'def' in a module, or name one of the image: 'module:function'"
_PROTOCOL = 4  # of Python 3.4 and later


def pack(
    function: Callable[..., Any] | str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    modules: Collection[str],
) -> bytes:
    """A call as the container reads it; ``modules`` are those that the image has besides Python's own.

    Raises :class:`InvalidArgument` for a function, an argument or a global variable that cannot be sent.
    """
    while isinstance(function, functools.partial):
        args, kwargs = (*function.args, *args), {**function.keywords, **kwargs}
        function = function.func
    there = frozenset(name.partition(".")[0] for name in modules) | sys.stdlib_module_names
    name = _name_of(function, there)
    call: dict[str, Any] = {"name": name} if name is not None else _Sources(there).collect(function)
    try:
        call["arguments"] = pickle.dumps((args, kwargs), _PROTOCOL)
        return pickle.dumps(call, _PROTOCOL)
    except Exception as error:  # noqa: BLE001  whatever an argument's own methods raise
        raise InvalidArgument("args", _shown(args), f"it cannot be pickled: {error}") from None


def _shown(value: object) -> object:
    return (
        type(value).__name__ if not isinstance(value, tuple) else tuple(type(each).__name__ for each in value)
    )


def _name_of(function: Any, there: frozenset[str]) -> str | None:
    """``"module:name"``, if the image has it by that."""
    if isinstance(function, str):
        place, colon, name = function.partition(":")
        if not colon or not all(part.isidentifier() for part in [*place.split("."), *name.split(".")]):
            raise InvalidArgument("fn", function, "'module:function' is needed")
        return function
    path: Any
    module: Any
    found: Any
    if not callable(function):
        raise InvalidArgument("fn", function, "a function is needed")
    owner = getattr(function, "__objclass__", None)
    module = getattr(owner or function, "__module__", None)
    path = getattr(function, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(path, str) or module.partition(".")[0] not in there:
        return None
    if module == "__main__":
        return None
    found = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return f"{module}:{path}" if found is function or found == function else None


@attrs.define
class _Module:
    """What the functions of one module use of it."""

    imports: dict[str, str] = attrs.field(factory=dict)
    names: dict[str, str] = attrs.field(factory=dict)
    values: dict[str, Any] = attrs.field(factory=dict)


class _Sources:
    """A function with all of this process's functions that it uses, as texts."""

    def __init__(self, there: frozenset[str]) -> None:
        self._there = there
        self._modules: dict[str, _Module] = {}
        self._sources: list[tuple[str, str, str, int]] = []
        self._shared: list[tuple[str, str, str, str]] = []
        self._known: set[int] = set()

    def collect(self, function: Any) -> dict[str, Any]:
        module, name = self._add(function, "fn", function)
        return {
            "module": module,
            "function": name,
            "modules": {key: attrs.asdict(value, recurse=False) for key, value in self._modules.items()},
            "sources": self._sources,
            "shared": self._shared,
        }

    def _add(self, function: Any, argument: str, shown: object) -> tuple[str, str]:
        """Take a function in; its module and its name there."""
        if not isinstance(function, types.FunctionType) or hasattr(function, "__wrapped__"):
            raise InvalidArgument(
                argument, shown, f"{_kind(function)} cannot be sent to a container: {_WAY_OUT}"
            )
        module, name = function.__module__, function.__name__
        if id(function) in self._known:
            return module, name
        self._known.add(id(function))
        if function.__code__.co_freevars:
            variables = ", ".join(function.__code__.co_freevars)
            raise InvalidArgument(
                argument,
                shown,
                f"it uses variables of the function around it ({variables}): make them arguments",
            )
        text = _source_of(function.__code__)
        if isinstance(text, str):
            raise InvalidArgument(argument, shown, text)
        space = self._modules.setdefault(module, _Module())
        for each in sorted(text.used & function.__globals__.keys()):
            self._use(space, module, each, function.__globals__[each], argument, shown)
        filename = function.__code__.co_filename
        self._sources.append((module, text.source, filename, text.line))
        return module, name

    def _use(self, space: _Module, module: str, name: str, value: Any, argument: str, shown: object) -> None:
        """A global variable that a function uses."""
        if isinstance(value, types.ModuleType):
            space.imports[name] = value.__name__
            return
        if callable(value):
            path = _name_of(value, self._there)
            if path is not None:
                space.names[name] = path
                return
            home, own = self._add(value, argument, shown)
            if (home, own) != (module, name):
                self._shared.append((module, name, home, own))
            return
        try:
            pickle.dumps(value, _PROTOCOL)
        except Exception as error:  # noqa: BLE001  whatever its own methods raise
            raise InvalidArgument(
                argument,
                shown,
                f"it uses {name}, which cannot be pickled: {error}: make it an argument, or a local",
            ) from None
        space.values[name] = value


def _kind(function: Any) -> str:
    if hasattr(function, "__wrapped__"):
        return "a decorated function"
    if isinstance(function, types.MethodType):
        return "a method of an object"
    if isinstance(function, type):
        return "a class of one's own"
    return f"a {type(function).__name__}"


@attrs.frozen
class _Text:
    """The text of a function, the line that it begins in, and the global names that it may use."""

    source: str
    line: int
    used: frozenset[str]


@functools.lru_cache(maxsize=256)
def _source_of(code: types.CodeType) -> _Text | str:
    """The text of a function; or why it cannot be had or sent."""
    try:
        lines, line = inspect.getsourcelines(code)
        source = textwrap.dedent("".join(lines))
        (definition,) = ast.parse(source).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return f"its source is not to be had: {_WAY_OUT}"
    if not isinstance(definition, ast.FunctionDef) or definition.name != code.co_name:
        return f"a lambda or a coroutine cannot be sent to a container: {_WAY_OUT}"
    if definition.decorator_list:
        return f"a decorated function cannot be sent to a container: {_WAY_OUT}"
    if code.co_flags & inspect.CO_GENERATOR:
        return "a generator has no result: make it a list"
    return _Text(source, line, frozenset(_globals_of(code) | _defaults_of(definition)))


def _globals_of(code: types.CodeType) -> set[str]:
    """The global variables that a function uses, and those inside it."""
    loads = {"LOAD_GLOBAL", "LOAD_NAME"}
    names = {each.argval for each in dis.get_instructions(code) if each.opname in loads}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _globals_of(constant)
    return names


def _defaults_of(definition: ast.FunctionDef) -> set[str]:
    """Names in the defaults of arguments, which are evaluated where it is defined."""
    defaults = [*definition.args.defaults, *filter(None, definition.args.kw_defaults)]
    return {node.id for each in defaults for node in ast.walk(each) if isinstance(node, ast.Name)}
