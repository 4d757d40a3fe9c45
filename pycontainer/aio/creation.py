"""What ``create`` and ``popen`` return: something to ``await``, or to enter with ``async with``."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

_T = TypeVar("_T", bound=AbstractAsyncContextManager[Any])


class Creation(Coroutine[Any, Any, _T]):
    """A coroutine whose result is entered when it is itself used as a context.

    >>> c = await aio.Container.create("host:", ["true"])                   # doctest: +SKIP
    >>> async with aio.Container.create("host:", ["true"]) as c: ...        # doctest: +SKIP
    """

    def __init__(self, coroutine: Coroutine[Any, Any, _T]) -> None:
        self._coroutine = coroutine
        self._made: _T | None = None

    def send(self, value: Any, /) -> Any:
        """As of a coroutine."""
        return self._coroutine.send(value)

    def throw(self, *exception: Any) -> Any:
        """As of a coroutine."""
        return self._coroutine.throw(*exception)

    def close(self) -> None:
        """As of a coroutine."""
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, _T]:
        return self._coroutine.__await__()

    async def __aenter__(self) -> _T:
        self._made = await self._coroutine
        await self._made.__aenter__()
        return self._made

    async def __aexit__(self, *exception: Any) -> bool | None:
        return None if self._made is None else await self._made.__aexit__(*exception)
