"""Blobs: whole or not there, whoever writes them and however that ends."""

from __future__ import annotations

import errno
import os
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pycontainer.errors import ImageError, ImageNotFound, KernelError, NotSupported, StateError
from pycontainer.image.digest import digest_of
from pycontainer.image.store import Store
from tests.support import stores

CONTENT = bytes(range(256)) * 8000
DIGEST = digest_of(CONTENT)


def place(root: Path, digest: str = DIGEST) -> Path:
    return root / "images/blobs/sha256" / digest[7:]


def write(store: Store, content: bytes, digest: str | None, size: int | None) -> str:
    with store.ingest(digest, size) as writer:
        writer.write(content[writer.offset :])
        return writer.commit()


def test_nothing_is_touched_before_it_is_used(root):
    Store(root).close()
    assert not root.exists()


def test_a_blob_is_there_when_it_is_committed(store, root):
    assert not store.has_blob(DIGEST)
    assert store.blob_size(DIGEST) is None
    with store.ingest(DIGEST, len(CONTENT)) as writer:
        assert (writer.offset, list(writer.existing())) == (0, [])
        writer.write(CONTENT[:1000])
        writer.write(memoryview(CONTENT)[1000:])
        assert not store.has_blob(DIGEST)
        assert writer.commit() == DIGEST
        assert store.has_blob(DIGEST)
    assert store.blob_size(DIGEST) == len(CONTENT)
    assert place(root).stat().st_mode & 0o7777 == 0o400
    with store.open_blob(DIGEST) as file:
        assert os.read(file.fileno(), 256) == CONTENT[:256]
    assert store.read_blob(DIGEST) == CONTENT
    assert stores.files(root) == [f"blobs/sha256/{DIGEST[7:]}"]
    assert {path.stat().st_mode & 0o77 for path in (root, root / "images")} == {0}


def test_the_digest_need_not_be_known_before(store, root):
    with store.ingest() as writer:
        writer.write(CONTENT)
        assert writer.commit() == DIGEST
    assert store.add_blob(CONTENT) == DIGEST
    assert store.add_blob(b"") == digest_of(b"")
    assert store.read_blob(digest_of(b"")) == b""
    with store.ingest() as writer:
        writer.write(b"given up")
    assert len(stores.files(root)) == 2


def test_what_is_not_there_and_what_is_no_digest(store):
    for ask in (store.open_blob, store.read_blob):
        with pytest.raises(ImageNotFound):
            ask(DIGEST)
    for ask in (
        store.has_blob,
        store.open_blob,
        store.read_blob,
        store.ingest,
        store.layer,
        store.new_layer,
        store.hold,
    ):
        with pytest.raises(ImageError, match="sha256 and 64 digits"):
            ask("sha256:../../../etc/passwd")


def test_a_broken_attempt_is_gone_on_with(store, root):
    with store.ingest(DIGEST, len(CONTENT)) as writer:
        writer.write(CONTENT[:70_000])
    with store.ingest(DIGEST, len(CONTENT)) as writer:
        assert writer.offset == 70_000
        writer.write(CONTENT[70_000:80_000])
    assert not store.has_blob(DIGEST)
    with store.ingest(DIGEST, len(CONTENT)) as writer:
        assert b"".join(writer.existing()) == CONTENT[: writer.offset]
        assert writer.offset == 80_000
        writer.write(CONTENT[80_000:])
        writer.commit()
    assert store.read_blob(DIGEST) == CONTENT
    assert stores.files(root) == [f"blobs/sha256/{DIGEST[7:]}"]


def test_a_process_that_was_killed_is_gone_on_with(store, root):
    with stores.start(
        f"writer = Store(sys.argv[1]).ingest({DIGEST!r}).__enter__()\n"
        "writer.write(bytes(range(256)) * 10); print('written', flush=True); time.sleep(1000)",
        root,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        with store.ingest(DIGEST) as writer:
            assert writer.offset == 0  # the other one is at work
        process.send_signal(signal.SIGKILL)
        process.wait()
    with store.ingest(DIGEST) as writer:
        assert writer.offset == 2560
        writer.write(CONTENT[2560:])
        assert writer.commit() == DIGEST


@pytest.mark.parametrize(
    ("told", "size", "content", "error"),
    [
        (DIGEST, None, CONTENT[:-1] + b"x", "digest"),
        (DIGEST, len(CONTENT), CONTENT[:-1], "bytes"),
        (DIGEST, len(CONTENT), CONTENT + b"x", "longer"),
        (None, 3, b"12", "bytes"),
        (None, 3, b"1234", "longer"),
    ],
)
def test_what_is_not_as_it_was_told_is_refused_and_gone(store, root, told, size, content, error):
    with pytest.raises(ImageError, match=error):
        write(store, content, told, size)
    assert stores.files(root) == []


def test_a_damaged_beginning_is_told_and_does_not_stay(store, root):
    with store.ingest(DIGEST, len(CONTENT)) as writer:
        writer.write(b"x" + CONTENT[1:1000])
    with pytest.raises(ImageError, match="earlier attempt"):
        write(store, CONTENT, DIGEST, len(CONTENT))
    with store.ingest(DIGEST, 10) as writer:  # longer than it may be
        writer.write(b"0123456789")
    with store.ingest(DIGEST, 5) as writer:
        assert writer.offset == 0
    assert stores.files(root) == []


def test_several_are_put_there_together(store, root):
    there = store.add_blob(b"there")
    with store.lease(), store.ingest() as writer:
        writer.write(CONTENT)
        assert writer.digest == DIGEST
        found = store.add_blobs([b"new", b"there", b""], [writer])
        assert found == [digest_of(b"new"), there, digest_of(b""), DIGEST]
        store.collect()
        assert store.read_blob(DIGEST) == CONTENT
        assert store.read_blob(found[0]) == b"new"
    assert store.add_blobs([]) == []
    assert len(stores.files(root)) == 4


def test_one_that_is_wrong_keeps_the_others_out(store, root):
    with store.ingest() as writer, store.ingest(digest_of(b"another")) as wrong:
        writer.write(CONTENT)
        wrong.write(b"other")
        with pytest.raises(ImageError, match="digest"):
            store.add_blobs([b"new"], [writer, wrong])
    assert stores.files(root) == []


def test_a_writer_is_used_only_while_it_is_open(store):
    writer = store.ingest()
    with pytest.raises(StateError):
        writer.write(b"x")
    with writer:
        pass
    writer.close()
    with pytest.raises(StateError):
        writer.commit()


def test_many_write_the_same_at_once(store, root):
    barrier = threading.Barrier(6)

    def write(_):
        with store.ingest(DIGEST, len(CONTENT)) as writer:
            barrier.wait()
            writer.write(CONTENT[writer.offset :])
            return writer.commit()

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(write, range(6))) == {DIGEST}
    assert stores.files(root) == [f"blobs/sha256/{DIGEST[7:]}"]


def test_a_stopped_writer_hinders_nobody(store, root):
    with stores.start(
        f"writer = Store(sys.argv[1]).ingest({DIGEST!r}).__enter__()\n"
        "writer.write(b'x'); print('written', flush=True); os.kill(os.getpid(), 19)",
        root,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with store.ingest(DIGEST) as writer:
            writer.write(CONTENT)
            writer.commit()
        assert store.collect().blobs == (DIGEST,)
        process.kill()


def make_fifo(path):
    os.mkfifo(path)


def make_socket(path):
    here = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{here}/{path.name[:8]}")
    os.close(here)
    (path.parent / path.name[:8]).rename(path)


STRANGE = {
    "fifo": make_fifo,
    "link": lambda path: path.symlink_to("/etc/passwd"),
    "link to itself": lambda path: path.symlink_to(path),
    "directory": lambda path: (path.mkdir(), (path / "x").write_text("x")),
    "socket": make_socket,
}


@pytest.mark.parametrize("kind", STRANGE)
def test_what_is_no_regular_file_is_no_blob_and_makes_room_for_one(store, root, kind):
    store.has_blob(DIGEST)
    STRANGE[kind](place(root))
    assert not store.has_blob(DIGEST)
    for ask in (store.open_blob, store.read_blob):
        with pytest.raises(ImageError, match="damaged"):
            ask(DIGEST)
    with pytest.raises(ImageNotFound):
        store.note_image(DIGEST, ())
    assert store.verify().damaged == (DIGEST,)
    assert store.add_blob(CONTENT) == DIGEST
    assert store.read_blob(DIGEST) == CONTENT
    store.sweep()
    assert stores.files(root) == [f"blobs/sha256/{DIGEST[7:]}"]


@pytest.mark.parametrize("kind", STRANGE)
def test_strange_things_are_collected(store, root, kind):
    store.has_blob(DIGEST)
    STRANGE[kind](place(root))
    STRANGE[kind](root / "images/ingest" / DIGEST[7:])
    store.collect()
    assert stores.files(root) == []


@pytest.mark.parametrize("size", [0, 100, len(CONTENT) + 1])
def test_a_blob_of_another_size_than_was_noted_is_none(store, root, size):
    store.add_blob(CONTENT)
    store.note_image(DIGEST, ())
    os.chmod(place(root), 0o600)
    os.truncate(place(root), size)
    assert not store.has_blob(DIGEST)
    for ask in (store.open_blob, store.read_blob):
        with pytest.raises(ImageError, match="damaged"):
            ask(DIGEST)
    store.add_blob(CONTENT)
    assert store.read_blob(DIGEST) == CONTENT


def test_content_that_changed_is_noticed_when_it_is_read_whole(store, root):
    store.add_blob(CONTENT)
    os.chmod(place(root), 0o600)
    with place(root).open("r+b") as file:
        file.write(b"x")
    with pytest.raises(ImageError, match="damaged"):
        store.read_blob(DIGEST)


def test_only_small_blobs_are_read_whole(store):
    store.add_blob(CONTENT)
    with pytest.raises(ImageError, match="more than 10"):
        store.read_blob(DIGEST, largest=10)


def test_a_store_that_others_can_enter_is_refused(store, root):
    root.mkdir(mode=0o755)
    with pytest.raises(NotSupported, match="0700"):
        store.add_blob(CONTENT)


def test_an_error_of_the_disk_names_the_step_and_what_was_written_can_be_written_again(store):
    with store.ingest(DIGEST, len(CONTENT)) as writer:
        writer.write(CONTENT[:5000])
        file = writer._file
        real = file.dup()
        null = os.open("/dev/full", os.O_RDWR)
        os.dup2(null, file.fileno(), inheritable=False)
        os.close(null)
        with pytest.raises(KernelError, match=f"write the blob {DIGEST}") as caught:
            writer.write(CONTENT[5000:])
        assert caught.value.errno == errno.ENOSPC
        os.dup2(real.fileno(), file.fileno(), inheritable=False)
        real.close()
        writer.write(CONTENT[5000:])
        writer.commit()
    assert store.read_blob(DIGEST) == CONTENT
