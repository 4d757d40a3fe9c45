"""A container that outlives its creator holds its image: by its folder, whoever runs, for as long as it is there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import pycontainer as pc
from tests.detached.conftest import prune_images, until
from tests.support import imagery


@pytest.fixture
def image():
    made = imagery.make_image(pc.default_engine().images, "held:v1", imagery.base())
    yield made
    prune_images()


def layers() -> set[str]:
    """The trees of layers that are on disk, and the blobs."""
    store = Path(os.environ["PYCONTAINER_ROOT"])
    return {str(path) for kind in ("layers", "blobs/sha256") for path in store.glob(f"images/{kind}/*")}


def gone() -> bool:
    prune_images()
    return not pc.default_engine().images.list()


@pytest.mark.parametrize("started", [False, True])
def test_it_stays_until_the_container_goes(box, image, other, started):
    images = pc.default_engine().images
    container = box(("sleep", "1000"), image=image, start=started, name="holder")
    container.close()
    before = layers()
    with pytest.raises(pc.StateError, match="holder") as refused:
        images.remove("held:v1")
    assert container.id[:12] in str(refused.value)
    for verb in (
        "engine.images.remove('held:v1', force=True)",
        "engine.images.remove(engine.images.list()[0].digest)",
    ):
        words = other(
            f"try:\n    {verb}\n    say('removed')\nexcept pc.StateError as error:\n    say(str(error))"
        )
        assert "holder" in words
    other("engine.images.prune(all=True); say(1)")
    images.prune(all=True)
    assert layers() == before
    if started:
        assert container.exec(["cat", "/etc/passwd"]).exit_code == 0
        container.kill()
        container.wait(20)
    container.start()
    container.stop(0)
    images.prune(all=True)
    container.start()
    container.remove(force=True)
    images.remove("held:v1")
    until(lambda: not layers() & before)


def test_it_is_held_after_a_name_was_taken_away(box, image):
    images = pc.default_engine().images
    images.tag(image, "other:v1")
    container = box(("sleep", "1000"), image="held:v1")
    images.remove("held:v1")
    with pytest.raises(pc.StateError):
        images.remove("other:v1")
    images.prune(all=True)
    container.stop(0)
    container.start()
    assert container.status == "running"
    container.remove(force=True)
    images.remove("other:v1")
    assert gone()


def test_one_that_goes_with_its_end_lets_go(box, image):
    container = box(("sleep", "1000"), image=image, auto_remove=True)
    with pytest.raises(pc.StateError):
        pc.default_engine().images.remove("held:v1")
    container.kill()
    until(lambda: container.status == "removed")
    pc.default_engine().images.remove("held:v1")
    assert gone()


def test_one_that_could_not_be_made_lets_go(image):
    with pytest.raises(pc.PyContainerError):
        pc.Container.create(image, ["true"], detach=True, mounts=[pc.Bind("/nonexistent", "/x")])
    pc.default_engine().images.remove("held:v1")
    assert gone()


@pytest.mark.needs("cgroup")
def test_a_loaded_one_and_a_commit_of_it(box, image, tmp_path, other):
    """An archive, a container of it, an image of that container, a container of that; and back again."""
    images = pc.default_engine().images
    image.save(tmp_path / "held.tar")
    images.remove("held:v1")
    loaded = pc.Image.load(tmp_path / "held.tar")
    loaded = loaded[0] if isinstance(loaded, list) else loaded
    first = box(["sh", "-c", "echo one > /srv/one"], image=loaded)
    assert first.wait(20) == 0
    first.commit("second:v1")
    second = box(["sh", "-c", "cat /srv/one; echo two > /srv/two; sleep 1000"], image="second:v1")
    until(lambda: b"one\n" in list(second.logs()))
    third = other("say(engine.containers.get(sys.argv[1]).commit('third:v1').digest)", second.id)
    first.remove()
    images.prune(all=True)
    assert {each.digest for each in images.list()} >= {second.spec.image.digest}
    assert third not in {each.digest for each in images.list()}
    second.remove(force=True)
    assert gone()
