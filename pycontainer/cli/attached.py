"""A detached container with this process's streams, until it ends or the keys are typed."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from pycontainer.cli.detachkeys import DetachKeys
from pycontainer.cli.hostterminal import Raw, window
from pycontainer.cli.pump import Pump, written
from pycontainer.cli.signals import Signals
from pycontainer.errors import StateError
from pycontainer.kernel.fd import Fd

if TYPE_CHECKING:
    from pycontainer.engine.detached import DetachedContainer

_NOBODY_READS = 141


class Shown:
    """Its output, written to this process's as it comes; a thread does that, for the log is waited for."""

    def __init__(self, output: Iterable[Any]) -> None:
        self._output = output
        self._broken = False
        self._error: BaseException | None = None
        self.done = Fd(os.eventfd(0, os.EFD_CLOEXEC))
        self._thread = threading.Thread(target=self._run, name="pycontainer-output", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def _run(self) -> None:
        try:
            for entry in self._output:
                if not written(2 if entry.stream == "stderr" else 1, entry.data):
                    self._broken = True
                    break
        except BaseException as error:  # noqa: BLE001  told by the thread that waits
            self._error = error
        finally:
            os.eventfd_write(self.done.fileno(), 1)

    def check(self) -> bool:
        """All was written; false: nobody reads it. Raises what kept it from being read."""
        if self._error is not None:
            raise self._error
        return not self._broken


class _Input:
    """The program's input, as the pump has it."""

    def __init__(self, container: DetachedContainer) -> None:
        given = None
        with suppress(StateError):  # a program that was short
            given = getattr(container.alive("attach"), "input", None)
        self._fd = None if given is None else Fd(os.dup(given.fileno()))
        self._container = container

    @property
    def is_there(self) -> bool:
        return self._fd is not None

    def fileno(self) -> int:
        return -1 if self._fd is None else self._fd.fileno()

    def close(self) -> None:
        """Have the program read the end; a terminal has none."""
        fd, self._fd = self._fd, None
        if fd is None:
            return
        fd.close()
        if not self._container.spec.tty and self._container.status == "running":
            self._container.close()
            self._container.close_input()

    def forget(self) -> None:
        """Let go of it: others go on to write."""
        fd, self._fd = self._fd, None
        if fd is not None:
            fd.close()


def attend(
    container: DetachedContainer,
    output: Iterable[Any],
    *,
    interactive: bool,
    send_signals: bool,
    keys: str,
    start: bool,
) -> int:
    """Start it if it is to be, show its ``output``, and wait for its end; its exit code, 0 when the keys were typed."""
    with ExitStack() as stack:
        raw = stack.enter_context(Raw(0)) if container.spec.tty and interactive else None
        detach = DetachKeys(keys) if container.spec.tty or os.isatty(0) else None
        if start:
            if container.spec.tty:
                container.resize(*(window(0) or window(1) or (0, 0)))  # what the program finds when it begins
            container.start()
        sink = _Input(container) if interactive else None
        if sink is not None and not sink.is_there:
            sink = None
        if sink is not None:
            stack.callback(sink.forget)
        shown = Shown(output)
        stack.enter_context(shown.done)
        stack.enter_context(
            Signals(
                send=container.kill if send_signals else None,
                end=container.kill,
                resize=container.resize if container.spec.tty else None,
                raw=raw,
            )
        )
        shown.start()
        pump = Pump(
            source=None if sink is None else 0,
            sink=sink,
            outputs=(),
            ended=shown.done.fileno(),
            shared=True,
            keys=detach,
        )
        pump.run()
        if pump.detached:
            return 0
        return container.wait() if shown.check() else _NOBODY_READS
