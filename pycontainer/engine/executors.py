"""Executors in an engine's containers."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pycontainer.container.arguments import several
from pycontainer.container.calls import executor
from pycontainer.container.calls.worker import Kind
from pycontainer.container.exchange import Exchange
from pycontainer.container.options import refuse_unknown
from pycontainer.container.spec import spec_of
from pycontainer.container.stdio import PIPE
from pycontainer.errors import InvalidArgument
from pycontainer.image.image import Image
from pycontainer.size import parse_size

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from pycontainer.container.options import ReadyOptions
    from pycontainer.engine.engine import Engine

_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_MOST = 1000


class Executor(executor.Executor):
    """A ``concurrent.futures.Executor`` that calls functions in containers.

    The image's own Python is started once in each of ``workers`` containers, imports the modules ``preload``, and is
    copied for each call (fork(2)), so that a call costs milliseconds and finds nothing of the one before: its processes
    are killed, and a container that it has written to is replaced.  The confinement is that of
    :func:`pycontainer.run`; it holds before the function runs.  ``with`` shuts it down.

    preload (list of names): modules that are imported beforehand
    workers (int; as many as there are processors): how many calls run at once, each in a container of its own
    timeout (float seconds; None): how long a call may run; then it is killed, and raises :class:`CallTimeout`
    result_limit (int bytes, or str like "16M"): how long a result may be, as it is sent
    python (str; "python3"): the image's interpreter, 3.7 or later
    stdout, stderr (a descriptor, an open file, None for nowhere): where the functions' output goes

    All other arguments are those of :func:`pycontainer.run` that describe a container; limits are of each container, so
    of each call; ``size`` is ``root_size``.  A result is made of None, bool, int, float, complex, str, bytes, bytearray,
    list, tuple, dict, set and frozenset; what has a buffer, as an array of numpy, comes as a memoryview.
    An exception of Python's own comes as itself, another as :class:`RemoteError`, both with the traceback of the
    container as cause; a call that ended otherwise raises :class:`CallFailed`.

    The constructor raises :class:`InvalidArgument`, :class:`TypeError`, :class:`ImageNotFound`, :class:`CommandNotFound`,
    :class:`NotSupported` and :class:`KernelError`, with nothing left behind.

    >>> with Executor("host:", preload=["statistics"], workers=2, timeout=5, memory="256M") as calls:  # doctest: +SKIP
    ...     calls.submit(statistics.median, [3, 1, 2]).result()
    2
    """

    def __init__(
        self,
        image: str | Image,
        *,
        preload: Iterable[str] = (),
        workers: int | None = None,
        timeout: float | None = None,
        result_limit: int | str = 16 << 20,
        python: str = "python3",
        stdout: Any = None,
        stderr: Any = None,
        engine: Engine | None = None,
        **options: Unpack[ReadyOptions],
    ) -> None:
        given: dict[str, Any] = {**options}
        refuse_unknown("Executor", given)
        workers = os.cpu_count() or 1 if workers is None else workers
        if isinstance(workers, bool) or not isinstance(workers, int) or not 1 <= workers <= _MOST:
            raise InvalidArgument("workers", workers, f"a number from 1 to {_MOST} is needed")
        Exchange(timeout=timeout, stdout=stdout, stderr=stderr)
        for name, stream in (("stdout", stdout), ("stderr", stderr)):
            if stream == PIPE:
                raise InvalidArgument(
                    name, stream, "a pipe nobody reads would stop the functions: use a file"
                )
        if engine is None:
            from pycontainer.engine.default import default_engine

            engine = default_engine()
        if "root_size" in given:
            given["size"] = given.pop("root_size")
        kind = Kind(
            spec=spec_of(engine.resolve(image), [python], {**given, "entrypoint": []}),
            preload=_modules(preload),
            result_limit=parse_size("result_limit", result_limit),
            stdout=stdout,
            stderr=stderr,
        )
        super().__init__(engine.workspace, kind, workers=workers, timeout=timeout)
        engine.pools.add(self)


def _modules(names: Any) -> tuple[str, ...]:
    found = tuple(several("preload", names, "names of modules"))
    for name in found:
        if not isinstance(name, str) or not _MODULE.fullmatch(name):
            raise InvalidArgument("preload", name, "the name of a module is needed")
    return found
