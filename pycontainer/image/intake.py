"""Layers on their way into the store: stored as they came and unpacked at the same time.

::

    source --chunks--> the blob in the store (hashed, written)
                   \\-> a bounded queue --> decompressed, hashed, unpacked by a thread

Both become visible, the blob first, when both are complete and verified.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack
from typing import Protocol

from pycontainer.errors import ImageError
from pycontainer.image.descriptor import Descriptor
from pycontainer.image.layer import unpack_layer
from pycontainer.image.progress import Teller
from pycontainer.image.store import Store

#: How many layers are taken in at once, as Docker does.
_AT_ONCE = 3
_CHUNK = 1 << 20
#: How many chunks the source may be ahead of the unpacking.
_AHEAD = 8


class Stream(Protocol):
    """Bytes of a blob: ``read`` gives some, and none at the end."""

    def read(self, count: int, /) -> bytes: ...
    def close(self) -> None: ...


#: Opens a blob at an offset.
Source = Callable[[Descriptor, int], Stream]


def take_in_layers(
    store: Store, layers: Sequence[tuple[Descriptor, str]], source: Source, tell: Teller
) -> None:
    """Have all layers in the store, packed and unpacked; those that are there are not asked for.

    The first failure ends the others and is raised; what was complete stays.
    """
    # A layer may be there twice, or as the same content compressed in two ways.
    todo = {diff_id: layer for layer, diff_id in layers}
    stop = threading.Event()
    if len(todo) == 1:
        ((diff_id, layer),) = todo.items()
        take_in(store, layer, diff_id, source, tell, stop)
        return
    with ThreadPoolExecutor(_AT_ONCE, "pycontainer-intake") as pool:
        work = [pool.submit(take_in, store, layer, diff_id, source, tell, stop) for diff_id, layer in todo.items()]
        try:
            done, _ = wait(work, return_when=FIRST_EXCEPTION)
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
        failed = next((each.exception() for each in done if each.exception() is not None), None)
        if failed is not None:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise failed
    for layer, _ in layers:
        # The same content in another compression than the one that was unpacked.
        if not store.has_blob(layer.digest):
            store_blob(store, layer, source, tell)


def store_blob(store: Store, blob: Descriptor, source: Source, tell: Teller) -> None:
    """Have a blob in the store that need not be unpacked."""
    if store.has_blob(blob.digest):
        tell("there", blob.digest, blob.size, blob.size)
        return
    with store.ingest(blob.digest, blob.size) as writer:
        for _ in writer.existing():
            pass
        for chunk in _chunks(source, blob, writer.offset):
            writer.write(chunk)
            tell("download", blob.digest, writer.offset, blob.size)
        writer.commit()
    tell("done", blob.digest, blob.size, blob.size)


def take_in(
    store: Store, layer: Descriptor, diff_id: str, source: Source, tell: Teller, stop: threading.Event
) -> None:
    """Have one layer in the store, packed and unpacked."""
    if store.layer(diff_id) is not None:
        store_blob(store, layer, source, tell)
        return
    with ExitStack() as stack:
        tree = stack.enter_context(store.new_layer(diff_id))
        unpacking = stack.enter_context(_Unpacking(tree.fd, diff_id))
        if store.has_blob(layer.digest):
            tell("there", layer.digest, layer.size, layer.size)
            with store.open_blob(layer.digest) as fd, open(fd.detach(), "rb") as file:
                while chunk := file.read(_CHUNK):
                    unpacking.feed(chunk)
            unpacking.finish()
        else:
            blob = stack.enter_context(store.ingest(layer.digest, layer.size))
            for chunk in blob.existing():
                unpacking.feed(chunk)
            for chunk in _chunks(source, layer, blob.offset):
                if stop.is_set():
                    raise ImageError("another layer of the image failed")
                blob.write(chunk)
                unpacking.feed(chunk)
                tell("download", layer.digest, blob.offset, layer.size)
            unpacking.finish()
            blob.commit()
        tree.commit()
    tell("done", layer.digest, layer.size, layer.size)


def _chunks(source: Source, blob: Descriptor, offset: int) -> Iterator[bytes]:
    if offset == blob.size:
        return
    stream = source(blob, offset)
    try:
        while chunk := stream.read(_CHUNK):
            yield chunk
    finally:
        stream.close()


class _Unpacking:
    """A thread that unpacks what it is fed; leaving the block without :meth:`finish` ends it."""

    def __init__(self, tree: int, diff_id: str) -> None:
        self._queue: queue.Queue[bytes | None] = queue.Queue(_AHEAD)
        self._failure: BaseException | None = None
        self._rest = memoryview(b"")
        self._ended = False
        self._abandoned = False
        self._thread = threading.Thread(target=self._run, args=(tree, diff_id), name="pycontainer-unpack")

    def feed(self, chunk: bytes) -> None:
        """Give it more; raises what it has failed with."""
        while True:
            if self._failure is not None:
                raise self._failure
            try:
                self._queue.put(chunk, timeout=0.2)
                return
            except queue.Full:
                continue

    def finish(self) -> None:
        """Tell it that this was all, and wait for its end; raises what it has failed with."""
        self._end()
        if self._failure is not None:
            raise self._failure

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            while self._thread.is_alive():
                try:
                    self._queue.put(None, timeout=0.2)
                    break
                except queue.Full:
                    continue
            self._thread.join()

    def _run(self, tree: int, diff_id: str) -> None:
        try:
            unpack_layer(self._read, tree, expected=diff_id)
        except BaseException as error:  # noqa: BLE001  (raised by who feeds)
            self._failure = error

    def _read(self, count: int) -> bytes:
        if not self._rest:
            chunk = None if self._abandoned else self._queue.get()
            if chunk is None:
                self._abandoned = True
                return b""
            self._rest = memoryview(chunk)
        part = bytes(self._rest[:count])
        self._rest = self._rest[count:]
        return part

    def __enter__(self) -> _Unpacking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
