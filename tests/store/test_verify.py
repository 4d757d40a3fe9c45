"""Damage: found, told, repaired by what the caller brings, and noted again when the database is lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pycontainer.errors import ImageError, RegistryError
from pycontainer.image.config import ImageConfig
from pycontainer.image.descriptor import Descriptor
from pycontainer.image.digest import digest_of
from pycontainer.image.document import Document
from pycontainer.image.manifest import make_manifest
from pycontainer.image.platform import Platform
from pycontainer.image.store import Report, Store
from tests.support import stores

CONTENTS = {
    digest_of(content): content
    for content in (b"an image layer 0", b"an image layer 1", b"an image manifest")
}
FIRST, SECOND, MANIFEST = CONTENTS


def place(root: Path, digest: str) -> Path:
    return root / "images/blobs/sha256" / digest[7:]


def flip(path: Path) -> None:
    path.chmod(0o600)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def shorten(path: Path) -> None:
    path.chmod(0o600)
    os.truncate(path, 3)


def link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


@pytest.mark.parametrize("damage", [flip, shorten, link])
def test_damage_is_found_and_nothing_touched(store, root, damage):
    stores.put(store, "an image")
    assert store.verify() == Report()
    damage(place(root, FIRST))
    before = stores.files(root)
    report = store.verify()
    assert (report.damaged, report.missing, report.repaired, report.clean) == ((FIRST,), (), (), False)
    assert stores.files(root) == before


def test_what_is_missing_is_found(store, root):
    stores.put(store, "an image")
    place(root, FIRST).unlink()
    report = store.verify()
    assert (report.damaged, report.missing, report.clean) == ((), (FIRST,), False)


@pytest.mark.parametrize("damage", [flip, shorten, link, Path.unlink])
def test_it_is_repaired_by_what_the_caller_brings(store, root, damage):
    store.tag("a", stores.put(store, "an image"))
    damage(place(root, FIRST))
    damage(place(root, MANIFEST))

    def repair(digest):
        assert not store.has_blob(digest)
        store.add_blob(CONTENTS[digest])

    report = store.verify(repair)
    assert {*report.damaged, *report.missing} == {FIRST, MANIFEST}
    assert report.repaired == tuple(sorted((FIRST, MANIFEST)))
    assert report.clean
    assert store.verify() == Report()
    assert store.names() == {"a": MANIFEST}
    store.sweep()
    assert os.listdir(root / "images/trash") == []


def test_what_cannot_be_repaired_is_told(store, root):
    stores.put(store, "an image")
    for digest in (FIRST, SECOND):
        flip(place(root, digest))

    def repair(digest):
        if digest == FIRST:
            raise RegistryError("registry.example", "is not there")

    report = store.verify(repair)
    assert not report.clean
    assert report.errors == ((FIRST, "registry.example: is not there"),)
    assert report.repaired == ()
    assert store.verify().missing == tuple(sorted((FIRST, SECOND)))


def an_image(store: Store, number: int) -> str:
    layer = b"layer %d" % number
    diff_id = digest_of(layer)
    document = Document.make(
        platform=Platform.parse("linux/amd64"), config=ImageConfig(cmd=("x",)), diff_ids=(diff_id,)
    )
    config = Descriptor(
        media_type="application/vnd.oci.image.config.v1+json", digest=document.digest, size=len(document.raw)
    )
    tar = Descriptor(
        media_type="application/vnd.oci.image.layer.v1.tar", digest=store.add_blob(layer), size=len(layer)
    )
    store.add_blob(document.raw)
    manifest = make_manifest(config, [tar])
    store.add_blob(manifest.raw)
    store.note_image(manifest.digest, {config.digest, tar.digest}, {diff_id})
    return manifest.digest


def test_images_are_noted_again_when_the_database_is_lost(root):
    with Store(root) as store:
        digests = {an_image(store, number) for number in range(3)}
        before = {image.digest: (image.blobs, image.layers) for image in store.images()}
        store.add_blob(b"{}")
        store.add_blob(b"not json")
        incomplete = an_image(store, 3)
        place(root, digest_of(b"layer 3")).unlink()
        assert store.rebuild() == []
    (root / "images/state.db").write_bytes(b"garbage" * 1000)
    with Store(root) as store:
        with pytest.raises(ImageError, match=r"rebuild\(\)"):
            store.images()
        assert set(store.rebuild()) == digests
        assert incomplete not in digests
        assert {image.digest: (image.blobs, image.layers) for image in store.images()} == before
        store.tag("again", min(digests))
        store.collect()
        assert store.verify() == Report()
    [away] = [name for name in os.listdir(root / "images") if "damaged" in name]
    assert (root / "images" / away).read_bytes() == b"garbage" * 1000


def test_a_stamp_differs_after_each_change_of_anybody(store, root):
    manifest = stores.put(store, "an image")
    seen = [store.stamp()]
    assert store.stamp() == seen[0]
    with Store(root) as other:
        for change in (
            lambda: store.tag("a", manifest),
            lambda: other.tag("b", manifest),
            lambda: other.untag("a"),
            lambda: store.remove(manifest),
        ):
            change()
            seen.append(store.stamp())
            assert store.stamp() == seen[-1]
            assert seen[-1] not in seen[:-1]
