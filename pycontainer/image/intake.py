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
from contextlib import ExitStack, closing, contextmanager
from typing import Protocol

from pycontainer.errors import ImageError
from pycontainer.image.compression import Read
from pycontainer.image.descriptor import Descriptor
from pycontainer.image.layer import unpack_file, unpack_layer
from pycontainer.image.progress import Teller
from pycontainer.image.store import BlobWriter, Store
from pycontainer.kernel.idmap import has_range

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
    from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

    # A layer may be there twice, or as the same content compressed in two ways.
    todo = {diff_id: layer for layer, diff_id in layers}
    stop = threading.Event()
    with ThreadPoolExecutor(_AT_ONCE, "pycontainer-intake") as pool:
        work = [
            pool.submit(take_in, store, layer, diff_id, source, tell, stop) for diff_id, layer in todo.items()
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

    def attempt() -> None:
        with _writing(store, blob) as writer:
            for _ in _coming(writer, source, blob, tell):
                pass
            writer.commit()

    _attempted(attempt)
    tell("done", blob.digest, blob.size, blob.size)


def take_in(
    store: Store,
    layer: Descriptor,
    diff_id: str,
    source: Source,
    tell: Teller,
    stop: threading.Event | None = None,
) -> None:
    """Have one layer in the store, packed and unpacked; given up when ``stop`` is set."""
    if store.layer(diff_id) is not None:
        tell("there", layer.digest, layer.size, layer.size)
        return
    _attempted(lambda: _unpack(store, layer, diff_id, source, tell, stop))
    tell("done", layer.digest, layer.size, layer.size)


def _unpack(
    store: Store, layer: Descriptor, diff_id: str, source: Source, tell: Teller, stop: threading.Event | None
) -> None:
    if has_range():
        store_blob(store, layer, source, tell)
        with store.new_layer(diff_id, settled=False) as writer, store.open_blob(layer.digest) as packed:
            # In its user namespace, for the files of other users; so it begins when the download has ended.
            made = store.steward().call(unpack_file, (packed.fileno(), writer.fd), expected=diff_id)
            writer.commit(made.room)
        return
    with ExitStack() as stack:
        tree = stack.enter_context(store.new_layer(diff_id, settled=False))
        if store.has_blob(layer.digest):
            file = stack.enter_context(open(store.open_blob(layer.digest).detach(), "rb", buffering=0))
            made = unpack_layer(file.read, tree.fd, expected=diff_id)
        else:
            blob = stack.enter_context(_writing(store, layer))
            # Closed here, not when a traceback is gone: it holds what it reads from.
            coming = stack.enter_context(closing(_coming(blob, source, layer, tell, stop)))
            made = unpack_layer(_reader(coming), tree.fd, expected=diff_id)
            for _ in coming:  # what no decompressor asked for belongs to the blob, too
                pass
            blob.commit()
        tree.commit(made.room)


class _Stopped(ImageError):
    """Something else failed; what has come is right as far as is known."""


class _BadStart(ImageError):
    """It went wrong after the beginning that an earlier attempt had left, whoever's fault that is."""


def _attempted(work: Callable[[], None]) -> None:
    try:
        work()
    except _BadStart:
        # From the start: nobody can have an image refused by having left something wrong.
        work()


@contextmanager
def _writing(store: Store, blob: Descriptor) -> Iterator[BlobWriter]:
    """A writer for the body; what is wrong is not kept for the next attempt."""
    with store.ingest(blob.digest, blob.size) as writer:
        left = writer.offset
        try:
            yield writer
        except _Stopped:
            raise
        except ImageError as error:
            writer.discard()
            if left:
                raise _BadStart(str(error)) from error
            raise


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
                raise _Stopped("another layer of the image failed")
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
