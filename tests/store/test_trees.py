"""Unpacked layers: complete from the moment they have their name, and shared."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pycontainer.errors import ImageError, KernelError, StateError
from pycontainer.image.digest import digest_of
from pycontainer.image.store import layers
from pycontainer.kernel.native import syncfs
from tests.support import stores

DIFF_ID = digest_of(b"a layer")


def test_a_layer_is_there_when_it_is_committed(store, root):
    assert store.layer(DIFF_ID) is None
    with store.new_layer(DIFF_ID) as writer:
        assert os.fstat(writer.fd).st_mode & 0o7777 == 0o755
        assert os.listdir(writer.fd) == []
        os.mkdir("x", dir_fd=writer.fd)
        assert store.layer(DIFF_ID) is None
        path = writer.commit(0)
        assert store.layer(DIFF_ID) == path
        with pytest.raises(StateError):
            writer.commit(0)
    assert os.listdir(path) == ["x"]
    assert path.startswith(f"{root}/images/layers/{DIFF_ID[7:]}")
    assert os.listdir(root / "images/ingest") == []


def test_the_diff_id_need_not_be_known_before(store, root):
    with store.lease(), store.new_layer() as writer:
        stores.fill(writer.fd, DIFF_ID)
        with pytest.raises(ImageError, match="digest"):
            writer.commit(0)
        path = writer.commit(0, diff_id=DIFF_ID)
        with stores.start("Store(sys.argv[1]).collect()", root) as other:
            assert other.wait(60) == 0
    assert stores.is_whole(path, DIFF_ID)
    assert store.layers([DIFF_ID, digest_of(b"another")]) == [path, None]


def test_without_a_commit_nothing_stays(store, root):
    with store.new_layer(DIFF_ID) as writer:
        os.makedirs(f"/proc/self/fd/{writer.fd}/a/b")
    writer.close()
    with pytest.raises(StateError):
        writer.fd  # noqa: B018
    assert store.layer(DIFF_ID) is None
    assert stores.files(root) == []


def test_many_make_the_same_at_once(store, root):
    barrier = threading.Barrier(5)

    def make(_):
        with store.new_layer(DIFF_ID) as writer:
            os.mkdir("x", dir_fd=writer.fd)
            barrier.wait()
            return writer.commit(0)

    with ThreadPoolExecutor(5) as pool:
        [path] = set(pool.map(make, range(5)))
    assert os.listdir(path) == ["x"]
    assert os.listdir(root / "images/ingest") == []


def test_the_root_of_a_layer_may_be_anybody_s_and_closed(store):
    with store.new_layer(DIFF_ID) as writer:
        os.mkdir("x", dir_fd=writer.fd)
        os.fchmod(writer.fd, 0)
        path = writer.commit(0)
    assert os.stat(path).st_mode & 0o7777 == 0
    assert store.collect().layers == (DIFF_ID,)


def test_what_a_killed_process_left_is_collected_and_what_a_living_one_makes_is_not(store, root):
    program = (
        f"writer = Store(sys.argv[1]).new_layer({DIFF_ID!r}).__enter__()\n"
        "os.mkdir('x', dir_fd=writer.fd); print('made', flush=True); time.sleep(1000)"
    )
    with stores.start(program, root) as process:
        assert process.stdout is not None
        process.stdout.readline()
        store.collect()
        assert len(os.listdir(root / "images/ingest")) == 1
        process.send_signal(signal.SIGKILL)
        process.wait()
    store.collect()
    assert stores.files(root) == []


class TestNotSettled:
    """Trees that nobody has waited for are believed until the next boot."""

    @pytest.mark.parametrize("way", ["settle", "verify"])
    def test_it_is_there_at_once_and_for_good_when_settled(self, store, monkeypatch, way):
        path = stores.plant(store, DIFF_ID, settled=False)
        assert store.layer(DIFF_ID) == path
        getattr(store, way)()
        monkeypatch.setattr(layers, "boot_id", lambda: "the next")
        assert store.layer(DIFF_ID) == path
        assert store.verify().layers == ()

    def test_after_a_boot_it_is_not_believed_and_made_anew(self, store, root, monkeypatch):
        first = stores.plant(store, DIFF_ID, settled=False)
        os.unlink(f"{first}/b")  # as a loss of power may leave it
        monkeypatch.setattr(layers, "boot_id", lambda: "the next")
        assert store.layer(DIFF_ID) is None
        store.settle()  # does not make it believed
        assert store.layer(DIFF_ID) is None
        assert stores.is_whole(stores.plant(store, DIFF_ID), DIFF_ID)
        store.sweep()
        assert os.listdir(root / "images/trash") == []

    @pytest.mark.parametrize("left", [None, b"", bytes(36), b"\xff" * 36])
    def test_whatever_a_loss_of_power_leaves_of_the_mark_it_is_not_believed(self, store, left):
        folder = Path(stores.plant(store, DIFF_ID, settled=False)).parent
        for name in ("boot", "size"):
            (folder / name).unlink()
            if left is not None:
                (folder / name).write_bytes(left)
        assert store.layer(DIFF_ID) is None
        manifest = store.add_blob(b"manifest")
        store.note_image(manifest, (), {DIFF_ID})
        assert store.usage()[manifest].size == len(b"manifest")
        assert store.verify().layers == (DIFF_ID,)

    def test_verify_drops_it(self, store, root, monkeypatch):
        stores.plant(store, DIFF_ID, settled=False)
        monkeypatch.setattr(layers, "boot_id", lambda: "the next")
        assert store.verify().layers == (DIFF_ID,)
        assert store.verify().layers == ()
        store.sweep()
        assert stores.files(root) == []


def test_the_size_is_what_was_said(store):
    other = digest_of(b"another")
    for diff_id, size in ((DIFF_ID, 12345), (other, 200_000)):
        with store.new_layer(diff_id) as writer:
            writer.commit(size)
    manifest = store.add_blob(b"manifest")
    store.note_image(manifest, (), {DIFF_ID})
    second = store.add_blob(b"second")
    store.note_image(second, (), {DIFF_ID, other})
    usage = store.usage()
    assert usage[manifest].shared == 12345
    assert usage[manifest].unique == len(b"manifest")
    assert usage[second].unique == 200_000 + len(b"second")
    assert usage[second].size == usage[second].shared + usage[second].unique


@pytest.mark.needs("user", "subuid")
def test_trees_of_subordinate_ids_are_removed(store, root):
    """As an ordinary user: the directory is another's, and nobody else may enter it."""
    with store.new_layer(DIFF_ID) as writer:
        os.mkdir("theirs", 0o700, dir_fd=writer.fd)
        os.mkdir("theirs/below", dir_fd=writer.fd)
        userns = f"/proc/{os.getpid()}/fd/{store._reach.steward().userns}"
        theirs = os.readlink(f"/proc/self/fd/{writer.fd}") + "/theirs"
        subprocess.run(["nsenter", f"--user={userns}", "chown", "-R", "5:5", theirs], check=True)
        writer.commit(0)
    assert store.collect().layers == (DIFF_ID,)
    assert stores.files(root) == []


def test_what_cannot_be_written_out_is_told():
    with pytest.raises(KernelError, match="write the file system out"):
        syncfs(-1)
