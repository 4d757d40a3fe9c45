"""A ``concurrent.futures`` executor whose calls run in containers."""

from __future__ import annotations

import atexit
import os
import queue
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Executor as Base
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from pycontainer.container.calls.functions import pack
from pycontainer.container.calls.worker import Gone, Kind, Worker
from pycontainer.container.result import Usage
from pycontainer.container.workspace import Workspace
from pycontainer.errors import CallFailed, PyContainerError, StateError

_T = TypeVar("_T")


class CallFuture(Future[_T]):
    """A future of :mod:`concurrent.futures` that also says what its call used, once it is done."""

    #: CPU and wall time in seconds, and the peak of one process's memory in bytes; ``None`` before.
    usage: Usage | None = None


class Crew:
    """The threads of an executor and their containers: what is left of one that was forgotten ends with it."""

    def __init__(self, workspace: Workspace, kind: Kind, workers: int, timeout: float | None) -> None:
        self.pid = os.getpid()
        self.closing = False
        self._workspace = workspace
        self._kind = kind
        self._timeout = timeout
        self._jobs: queue.SimpleQueue[tuple[CallFuture[Any], bytes] | None] = queue.SimpleQueue()
        self._alive: set[Worker] = set()
        self._ended = False
        self._lock = threading.Lock()
        first = self._start()  # here, so that what is wrong is told now
        self._threads = [
            threading.Thread(
                target=self._serve,
                args=(first if number == 0 else None,),
                name="pycontainer call",
                daemon=True,
            )
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()
        # At the end of the interpreter what is queued is done, as by the executors of the standard library.
        atexit.register(self.shutdown)

    def put(self, job: bytes) -> CallFuture[Any]:
        """Queue a job."""
        future: CallFuture[Any] = CallFuture()
        with self._lock:
            if self.closing:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._jobs.put((future, job))
        return future

    # -- a thread --------------------------------------------------------------------------

    def _serve(self, worker: Worker | None) -> None:
        while True:
            if worker is None:
                with suppress(PyContainerError, OSError, Gone):  # told to the next call
                    worker = self._start()
            item = self._jobs.get()
            if item is None:
                break
            future, job = item
            if future.set_running_or_notify_cancel():
                worker = self._do(worker, future, job)
            del item, future, job  # a thread that waits keeps nothing alive
        if worker is not None:
            self._dispose(worker)

    def _start(self) -> Worker:
        worker = Worker(self._workspace, self._kind)
        with self._lock:
            self._alive.add(worker)
            ended = self._ended
        if ended:
            self._dispose(worker)
            raise StateError("the executor", "closed", "call")
        return worker

    def _dispose(self, worker: Worker) -> None:
        with self._lock:
            self._alive.discard(worker)
        with suppress(PyContainerError, OSError):  # the leash, and the engine's close, do what is left
            worker.close()

    def _do(self, worker: Worker | None, future: CallFuture[Any], job: bytes) -> Worker | None:
        """Do a job and say what came of it; the container for the next one, if it can serve that."""
        try:
            if worker is None:
                worker = self._start()
            try:
                answer = worker.call(job, self._timeout)
            except Gone:  # killed while it waited
                self._dispose(worker)
                worker = self._start()
                answer = worker.call(job, self._timeout)
        except Gone:
            future.set_exception(CallFailed(what="the interpreter in the container ended"))
            return self._drop(worker)
        except BaseException as error:  # noqa: BLE001  the future's to tell
            future.set_exception(error)
            return self._drop(worker)
        future.usage = answer.usage
        try:
            value = answer.value()
        except BaseException as error:  # noqa: BLE001  the function's
            future.set_exception(error.with_traceback(None))  # whose frames are ours, and hold the future
        else:
            future.set_result(value)
        return worker if worker.prepare_next() else self._drop(worker)

    def _drop(self, worker: Worker | None) -> Worker | None:
        if worker is not None:
            self._dispose(worker)
        return None

    # -- the end ---------------------------------------------------------------------------

    def shutdown(self, *, wait: bool = True, cancel: bool = False) -> None:
        """Take no more; do what is queued, or cancel it."""
        if self.pid != os.getpid():
            return
        with self._lock:
            first, self.closing = not self.closing, True
        if cancel:
            with suppress(queue.Empty):
                while True:
                    item = self._jobs.get_nowait()
                    if item is None:
                        self._jobs.put(None)
                        break
                    item[0].cancel()
        if first:
            for _ in self._threads:
                self._jobs.put(None)
            atexit.unregister(self.shutdown)
        if wait:
            for thread in self._threads:
                thread.join()

    def end(self) -> None:
        """Cancel what is queued and end what runs."""
        if self.pid != os.getpid():
            return
        self.shutdown(wait=False, cancel=True)
        with self._lock:
            self._ended = True
            alive = list(self._alive)
        for worker in alive:
            worker.kill()
        self.shutdown()


class Executor(Base):
    """Calls in containers, by :mod:`concurrent.futures`' verbs; see :class:`pycontainer.Executor`."""

    def __init__(self, workspace: Workspace, kind: Kind, *, workers: int, timeout: float | None) -> None:
        self._preload = kind.preload
        self._crew = Crew(workspace, kind, workers, timeout)
        weakref.finalize(self, self._crew.shutdown, wait=False).atexit = False

    def submit(self, fn: Callable[..., _T] | str, /, *args: Any, **kwargs: Any) -> CallFuture[_T]:
        """Call a function in a container: a future of its result, with :attr:`~CallFuture.usage`.

        ``fn`` is a function of the standard library or of a module in ``preload``, which the container looks up by its
        name; or one that is defined with ``def``, whose source is sent, with that of the functions and the values of
        the global variables that it uses.  A text ``"module:function"`` names any of the image's.
        Arguments are pickled.  Raises :class:`InvalidArgument` for what cannot be sent, and ``RuntimeError``
        after :meth:`shutdown`.
        """
        if self._crew.pid != os.getpid():
            raise StateError("the executor", "of another process", "call")
        return self._crew.put(pack(fn, args, kwargs, self._preload))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; those that are queued are done, or with ``cancel_futures`` cancelled. Idempotent.

        The containers are removed when they have no more to do, which is waited for with ``wait``.
        """
        self._crew.shutdown(wait=wait, cancel=cancel_futures)

    def close(self) -> None:
        """Cancel what is queued, end what runs, and remove the containers; idempotent."""
        self._crew.end()
