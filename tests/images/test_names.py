"""Names of images: given, taken away, and what happens to what they stood for."""

from __future__ import annotations

import os

import pytest

import pycontainer as pc
from tests.support import imagery


def names(engine: pc.Engine) -> list[str]:
    return [each.name for each in engine.images.list()]


def test_it_is_found_by_what_stands_for_it(engine, image):
    for name in (
        "app:v1",
        "docker.io/library/app:v1",
        image.digest,
        image.digest[7:],
        image.digest[7:19],
        f"app@{image.digest}",
    ):
        found = engine.images.get(name)
        assert (found.digest, found.layers) == (image.digest, image.layers), name
    for name in ("app", "app:v2", "other/app:v1", "sha256:" + "0" * 64, "0123456789ab"):
        with pytest.raises(pc.ImageNotFound):
            engine.images.get(name)


def test_what_it_tells(image):
    assert image.size == sum(layer.size for layer in image.stored.manifest.layers) + len(
        image.stored.document.raw
    )
    assert [each.created_by for each in image.history] == ["step 0", "step 1"]
    assert image.id == image.stored.document.digest
    assert image.created == "2026-01-01T00:00:00Z"


def test_further_names(engine, image):
    assert image.tag("other/name:v2").name == "other/name:v2"
    assert engine.images.get("other/name:v2").digest == image.digest
    assert names(engine) == ["app:v1", "other/name:v2"]
    engine.images.remove("app:v1")
    assert names(engine) == ["other/name:v2"]
    assert engine.run("other/name:v2", ["cat", "/srv/file"]).stdout == b"of the image\n"
    engine.images.remove("other/name:v2")
    assert names(engine) == []


def test_a_name_that_another_gets(engine, image, base):
    other = imagery.make_image(engine.images, "app:v1", base)
    assert other.digest != image.digest
    assert engine.images.get("app:v1").digest == other.digest
    assert {each.digest for each in engine.images.list()} == {image.digest, other.digest}
    engine.images.prune()
    assert [each.digest for each in engine.images.list()] == [other.digest]


def test_by_digest_with_several_names(engine, image):
    image.tag("other:v2")
    with pytest.raises(pc.StateError, match="2 names"):
        engine.images.remove(image.digest)
    engine.images.remove(image.digest[7:], force=True)
    assert names(engine) == []


def test_a_container_has_it(engine, image):
    with engine.containers.create("app:v1", ["true"]) as container:
        with pytest.raises(pc.StateError, match=f"in use by process {os.getpid()}"):
            image.remove()
        engine.images.prune(all=True)
        assert names(engine) == ["app:v1"]
        container.start()
        assert container.wait(30) == 0
    image.remove()
    assert names(engine) == []


@pytest.mark.parametrize("name", ["", "Upper:v1", "a b", "app:v1@sha256:" + "0" * 64, "-x", 7, None])
def test_what_is_no_name(engine, image, name):
    with pytest.raises(pc.InvalidArgument):
        image.tag(name)


def test_what_was_removed_is_gone_from_the_disk(engine, image, base):
    other = imagery.make_image(engine.images, "other", base)
    shared = set(image.layers) & set(other.layers)
    assert len(shared) == 1
    image.remove()
    engine.images.close()
    assert not any(os.path.exists(layer) for layer in set(image.layers) - shared)
    assert engine.run("other", ["true"]).exit_code == 0
    other.remove()
    engine.images.close()
    store = engine.images.store.path
    assert (
        os.listdir(f"{store}/layers")
        == os.listdir(f"{store}/blobs/sha256")
        == os.listdir(f"{store}/trash")
        == []
    )


def test_images_that_are_in_no_store(engine):
    for verb in (lambda: pc.Image.from_host().tag("x"), lambda: pc.Image.from_host().remove()):
        with pytest.raises(pc.ImageError, match="in no store"):
            verb()


def test_an_image_of_another_engine(engine, image, tmp_path):
    with pc.Engine(tmp_path / "other") as other:
        with pytest.raises(pc.InvalidArgument, match="of this engine"):
            other.images.tag(image, "x")
        assert other.run(image, ["true"]).exit_code == 0


def test_equal_images_of_two_stores(tmp_path, base):
    """What was opened for one is not used for the other, nor left open."""
    for _ in range(2):
        with pc.Engine(tmp_path / "engine") as engine:
            imagery.make_image(engine.images, "app:v1", base)
            for image in engine.images.list():
                assert engine.run(image, ["true"]).exit_code == 0


def test_what_they_take(engine, image, base):
    other = imagery.make_image(engine.images, "other", base)
    found = engine.images.usage()
    assert found.keys() == {image.digest, other.digest}
    assert found[image.digest].shared == found[other.digest].shared > len(base)
    assert found[image.digest].unique > found[other.digest].unique > 0
