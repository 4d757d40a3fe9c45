"""Names and what they keep: tags, notes, removal, leases, holds."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from pycontainer.errors import ImageNotFound, InvalidArgument, PyContainerError, StateError
from pycontainer.image.digest import digest_of
from pycontainer.image.store import Store, Usage
from tests.support import stores

NOTHING = digest_of(b"nothing")


def test_a_name_stands_for_an_image(store):
    assert (store.names(), store.resolve("a"), store.images()) == ({}, None, [])
    first, second = stores.put(store, "first"), stores.put(store, "second")
    store.tag("b", first)
    store.tag("a", second)
    assert list(store.names().items()) == [("a", second), ("b", first)]
    store.tag("a", first)
    assert store.resolve("a") == first
    store.note_image(second, (), name="a")
    assert store.resolve("a") == second
    store.untag("a")
    assert store.names() == {"b": first}
    assert {image.digest for image in store.images()} == {first, second}


def test_other_processes_see_it_at_once(store, root):
    first = stores.put(store, "first")
    store.tag("a", first)
    with stores.start(
        "store = Store(sys.argv[1]); print(store.resolve('a')); store.untag('a')", root
    ) as process:
        assert process.communicate()[0] == f"{first}\n"
    assert store.names() == {}


def test_what_cannot_be(store):
    manifest = stores.put(store, "an image")
    with pytest.raises(ImageNotFound):
        store.tag("a", NOTHING)
    with pytest.raises(ImageNotFound):
        store.untag("a")
    for name in ("", "a\0b", "a\nb", 1, None):
        with pytest.raises(InvalidArgument):
            store.tag(name, manifest)
        if name is not None:
            with pytest.raises(InvalidArgument):
                store.note_image(manifest, (), name=name)
    with pytest.raises(ImageNotFound, match=NOTHING):
        store.note_image(manifest, {NOTHING})
    for ask in (store.remove, store.hold):
        with pytest.raises(ImageNotFound):
            ask(NOTHING)
    assert store.names() == {}
    assert NOTHING not in store.images()[0].blobs


def test_an_index_has_a_name_and_keeps_its_image(store):
    index = store.add_blob(b"an index")
    manifest = store.add_blob(b"a manifest")
    store.note_image(manifest, {index}, sources=[("registry.example", "a/b")])
    store.tag("a", index)
    assert store.resolve("a") == index
    assert store.sources(index) == {("registry.example", "a/b")}
    assert store.collect(unnamed=True).blobs == ()
    assert store.remove(manifest).blobs == tuple(sorted((index, manifest)))
    assert store.names() == {}


def test_what_several_images_share_stays_as_long_as_one_of_them(store, root):
    first, second = (stores.put(store, name, shared=b"for both") for name in ("first", "second"))
    shared = digest_of(b"for both")
    usage = store.usage()
    assert usage[first].shared == usage[second].shared > 0
    assert isinstance(usage[first], Usage)
    removed = store.remove(first)
    assert first in removed.blobs
    assert shared not in removed.blobs
    assert len(removed.layers) == 2
    assert removed.bytes > 0
    assert store.verify().clean
    path = store.layer(digest_of(b"tree of for both"))
    assert path is not None
    assert store.usage()[second].shared == 0
    assert shared in store.remove(second).blobs
    assert len(os.listdir(root / "images/trash")) == 2
    store.sweep()
    assert stores.files(root) == []


def test_noting_again_adds(store):
    manifest, other = store.add_blob(b"manifest"), store.add_blob(b"other")
    store.note_image(manifest, ())
    store.note_image(manifest, {other}, {NOTHING})
    store.note_image(manifest, ())
    [image] = store.images()
    assert (image.blobs, image.layers) == ({manifest, other}, {NOTHING})


def test_what_no_image_needs_is_collected(store, root):
    kept = stores.put(store, "kept")
    before = stores.files(root)
    loose = store.add_blob(b"loose")
    with store.ingest(digest_of(b"broken")) as writer:
        writer.write(b"bro")
    stores.plant(store, NOTHING)
    found = store.collect()
    assert (found.blobs, found.layers) == ((loose,), (NOTHING,))
    assert found.bytes >= len(b"loosebro")
    assert stores.files(root) == before
    assert {image.digest for image in store.images()} == {kept}


def test_images_without_a_name_are_collected_if_asked_for(store):
    named, unnamed, held = (stores.put(store, name) for name in ("named", "unnamed", "held"))
    store.tag("a", named)
    with store.hold(held), store.lease():
        leased = stores.put(store, "leased")
        with Store(store.path.removesuffix("/images")) as other:
            assert unnamed in other.collect(unnamed=True).blobs
        assert {image.digest for image in store.images()} == {named, held, leased}
    store.collect(unnamed=True)
    assert {image.digest for image in store.images()} == {named}
    assert store.verify().clean


class TestLeases:
    def test_what_is_put_in_and_what_is_found_stays(self, store, root):
        there = store.add_blob(b"there")
        stores.plant(store, NOTHING)
        gone = store.add_blob(b"not asked for")
        with Store(root) as other, store.lease():
            assert store.has_blob(there)
            assert store.layer(NOTHING)
            new = store.add_blob(b"new")
            found = other.collect()
            assert (found.blobs, found.layers) == ((gone,), ())
            assert store.has_blob(there)
            assert store.has_blob(new)
        assert set(store.collect().blobs) == {there, new}
        assert stores.files(root) == []

    def test_each_lease_protects_for_itself(self, store):
        first, second = store.lease(), store.lease()
        blob = store.add_blob(b"both")
        first.close()
        first.close()
        assert store.collect().blobs == ()
        second.close()
        assert store.collect().blobs == (blob,)

    def test_the_lease_of_a_killed_process_is_none(self, store, root):
        program = (
            "store = Store(sys.argv[1]); lease = store.lease(); store.add_blob(b'x');"
            "print('leased', flush=True); time.sleep(1000)"
        )
        with stores.start(program, root) as process:
            assert process.stdout is not None
            process.stdout.readline()
            assert store.collect().blobs == ()
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert store.collect().blobs == (digest_of(b"x"),)
        assert stores.files(root) == []

    def test_between_finding_and_noting_nobody_collects(self, store, root):
        """Two threads that pull and one process that collects, as fast as they can."""
        with stores.start(
            "store = Store(sys.argv[1]); print('ready', flush=True)\n"
            "while not os.path.exists(sys.argv[2]): store.collect()",
            root, root / "stop",
        ) as process:  # fmt: skip
            assert process.stdout is not None
            process.stdout.readline()
            failures = []

            def pull(name):
                for _ in range(30):
                    try:
                        with store.lease():
                            manifest = stores.put(store, name, shared=b"for both")
                            store.tag(name, manifest)
                        store.remove(manifest)
                    except PyContainerError as error:
                        failures.append(error)

            threads = [threading.Thread(target=pull, args=(name,)) for name in ("a", "b")]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            (root / "stop").touch()
            process.communicate()
            assert failures == []
            assert process.returncode == 0
        store.collect()
        (root / "stop").unlink()
        assert stores.files(root) == []


class TestHolds:
    def test_an_image_in_use_is_not_removed(self, store):
        manifest = stores.put(store, "an image")
        store.tag("a", manifest)
        with store.hold(manifest), store.hold(manifest):
            assert store.holders(manifest) == [os.getpid()]
            with pytest.raises(StateError, match=f"in use by process {os.getpid()}: cannot remove it"):
                store.remove(manifest)
            assert store.resolve("a") == manifest
            store.untag("a")
            store.tag("b", manifest)
        assert store.holders(manifest) == []
        store.remove(manifest)
        with pytest.raises(ImageNotFound):
            store.hold(manifest)
        assert os.listdir(f"{store.path}/use") == []

    def test_the_hold_of_a_killed_process_is_none(self, store, root):
        manifest = stores.put(store, "an image")
        program = "hold = Store(sys.argv[1]).hold(sys.argv[2]); print('held', flush=True); time.sleep(1000)"
        with stores.start(program, root, manifest) as process:
            assert process.stdout is not None
            process.stdout.readline()
            with pytest.raises(StateError, match=str(process.pid)):
                store.remove(manifest)
            process.send_signal(signal.SIGKILL)
            process.wait()
        store.remove(manifest)

    def test_no_write_to_the_database(self, store, root):
        manifest = stores.put(store, "an image")
        before = (root / "images/state.db-wal").stat()
        store.hold(manifest).close()
        after = (root / "images/state.db-wal").stat()
        assert (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)

    def test_holding_and_removing_at_once(self, store, root):
        """Whoever has a hold has the image."""
        stop = threading.Event()
        failures, held = [], 0

        def hold():
            nonlocal held
            while not stop.is_set():
                try:
                    with store.hold(manifest):
                        held += 1
                        path = store.layer(digest_of(b"tree of an image layer 0"))
                        if path is None or not os.path.exists(f"{path}/b") or not store.has_blob(manifest):
                            failures.append(path)
                except ImageNotFound:
                    pass
                time.sleep(0.001)  # else one of them always has it

        manifest = stores.put(store, "an image")
        threads = [threading.Thread(target=hold) for _ in range(2)]
        for thread in threads:
            thread.start()
        with Store(root) as other:
            removed = 0
            while removed < 20:
                try:
                    other.remove(manifest)
                except StateError:
                    continue
                removed += 1
                stores.put(other, "an image")
        stop.set()
        for thread in threads:
            thread.join()
        assert failures == []
        assert held
