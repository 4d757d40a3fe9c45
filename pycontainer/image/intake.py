"""Layers on their way into the store: stored as they came, and unpacked at the same time.

::

    source --pieces--> hashed and written to the blob --> decompressed, hashed --> made into a tree
                       `------------------ one thread ------------------'          another

The tree and the blob get their names when both are complete and verified.  The blob is on disk then; the tree need not
be, it can be made from the blob again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from typing import Protocol

from pycontainer.errors import ImageError
from pycontainer.image.compression import Read
from pycontainer.image.descriptor import Descriptor
from pycontainer.image.layer import unpack_layer
from pycontainer.image.progress import Teller
from pycontainer.image.store import BlobWriter, Store

#: How many layers are taken in at once, as Docker does.
_AT_ONCE = 3
_PIECE = 1 << 20


class Stream(Protocol):
    """Bytes of a blob."""

    def read(self, count: int, /) -> bytes:
        """Some bytes, up to ``count``; none at the end."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


#: Opens a blob at an offset.
Source = Callable[[Descriptor, int], Stream]


def take_in_layers(
    store: Store, layers: Sequence[tuple[Descriptor, str]], source: Source, tell: Teller
) -> None:
    """Have all layers in the store, packed and unpacked; those that are there are not asked for.

    ``layers`` pairs each with its diff_id.  The first failure ends the others and is raised; what was complete
    stays.
    """
    # A layer may be there twice, or as the same content compressed in two ways.
    todo = {diff_id: layer for layer, diff_id in layers}
    stop = threading.Event()
    with ThreadPoolExecutor(_AT_ONCE, "pycontainer-intake") as pool:
        work = [
            pool.submit(_take_in, store, layer, diff_id, source, tell, stop)
            for diff_id, layer in todo.items()
        ]
        try:
            done, _ = wait(work, return_when=FIRST_EXCEPTION)
            for each in done:
                each.result()
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    for layer, _ in layers:
        store_blob(store, layer, source, tell)


def store_blob(store: Store, blob: Descriptor, source: Source, tell: Teller) -> None:
    """Have a blob in the store that need not be unpacked."""
    if store.has_blob(blob.digest):
        return
    with store.ingest(blob.digest, blob.size) as writer:
        for _ in _coming(writer, source, blob, tell):
            pass
        writer.commit()
    tell("done", blob.digest, blob.size, blob.size)


def take_in(store: Store, layer: Descriptor, diff_id: str, source: Source, tell: Teller) -> None:
    """Have one layer in the store, packed and unpacked."""
    _take_in(store, layer, diff_id, source, tell, threading.Event())


def _take_in(
    store: Store, layer: Descriptor, diff_id: str, source: Source, tell: Teller, stop: threading.Event
) -> None:
    if store.layer(diff_id) is not None:
        tell("there", layer.digest, layer.size, layer.size)
        return
    with ExitStack() as stack:
        tree = stack.enter_context(store.new_layer(diff_id, settled=False))
        if store.has_blob(layer.digest):
            file = stack.enter_context(open(store.open_blob(layer.digest).detach(), "rb", buffering=0))
            unpack_layer(file.read, tree.fd, expected=diff_id)
        else:
            blob = stack.enter_context(store.ingest(layer.digest, layer.size))

            # Closed here, not when a traceback is gone: it holds what it reads from.
            coming = stack.enter_context(closing(_coming(blob, source, layer, tell, stop)))
            unpack_layer(_reader(coming), tree.fd, expected=diff_id)
            for _ in coming:  # what no decompressor asked for belongs to the blob, too
                pass
            blob.commit()
        tree.commit()
    tell("done", layer.digest, layer.size, layer.size)


def _coming(
    writer: BlobWriter, source: Source, blob: Descriptor, tell: Teller, stop: threading.Event | None = None
) -> Generator[bytes, None, None]:
    """The pieces of a blob, each written before it is given: first those that a broken attempt has left."""
    yield from writer.existing()
    position = writer.offset
    if position == blob.size:
        return
    stream = source(blob, position)
    try:
        while piece := stream.read(_PIECE):
            if stop is not None and stop.is_set():
                raise ImageError("another layer of the image failed")
            writer.write(piece)
            position += len(piece)
            tell("download", blob.digest, position, blob.size)
            yield piece
    finally:
        stream.close()


def _reader(pieces: Iterator[bytes]) -> Read:
    rest = memoryview(b"")

    def read(count: int) -> bytes:
        nonlocal rest
        if not rest:
            rest = memoryview(next(pieces, b""))
        part, rest = rest[:count], rest[count:]
        return bytes(part)

    return read


def nowhere(blob: Descriptor, offset: int) -> Stream:
    """The source of blobs that must be in the store."""
    raise ImageError(
        f"the blob {blob.digest} is not in the store: pull the image again (needed from byte {offset})"
    )
