"""Pools of an engine's containers."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

from pycontainer.container import pool
from pycontainer.container.options import refuse_unknown
from pycontainer.container.spec import spec_of
from pycontainer.errors import InvalidArgument
from pycontainer.image.image import Image

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from pycontainer.container.options import ReadyOptions
    from pycontainer.engine.engine import Engine

#: Stands for the command that is not known yet.
_ANY = ["true"]
_MOST = 1000


class Pool(pool.Pool):
    """Containers that are set up to the point of exec, so that a command in one costs little more than its exec.

    ``size`` of them wait, each for one command: it finds a fresh root, as with :func:`pycontainer.run`, and
    another container is set up in the background, by a thread of the pool.  ``with`` removes them at the end,
    :meth:`close` does, the engine's ``close``, and the end of this process, however it ends.  All methods may be
    called from several threads.

    Arguments that describe the containers are those of :func:`pycontainer.run`; its ``size`` is ``root_size`` here.
    A ``tty`` and ``extra_fds`` cannot be had.  The first container is set up by the constructor, which raises
    :class:`InvalidArgument`, :class:`TypeError` for an unknown argument, :class:`ImageNotFound`,
    :class:`NotSupported` and :class:`KernelError` with nothing left behind.

    >>> with Pool("host:", 4, memory="64M") as pool:      # doctest: +SKIP
    ...     pool.run(["sh", "-c", "echo hi"]).stdout
    b'hi\\n'
    """

    def __init__(
        self,
        image: str | Image,
        size: int = 4,
        *,
        engine: Engine | None = None,
        **options: Unpack[ReadyOptions],
    ) -> None:
        given: dict[str, Any] = {**options}
        refuse_unknown("Pool", given)
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= _MOST:
            raise InvalidArgument("size", size, f"how many containers wait: a number from 1 to {_MOST}")
        if engine is None:
            from pycontainer.engine.default import default_engine

            engine = default_engine()
        entrypoint = given.pop("entrypoint", None)
        if "root_size" in given:
            given["size"] = given.pop("root_size")
        spec = spec_of(engine.resolve(image), _ANY, given)
        super().__init__(engine.workspace, spec, size=size, entrypoint=entrypoint)
        engine.pools.add(self)

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
