"""Images on their way between stores and a real registry."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pycontainer as pc
from pycontainer.image.descriptor import Descriptor
from pycontainer.image.manifest import make_index
from pycontainer.image.platform import Platform
from pycontainer.image.registry import Registry
from tests.support import imagery
from tests.support.registry import PASSWORD, USER, Authority, RealRegistry

pytestmark = pytest.mark.needs("registry")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    with RealRegistry(directory=tmp_path_factory.mktemp("registry")) as made:
        yield made


@pytest.fixture
def other(tmp_path: Path) -> Iterator[pc.Engine]:
    """An engine with another store."""
    with pc.Engine(tmp_path / "other") as made:
        yield made


@pytest.fixture
def pushed(engine: pc.Engine, base: bytes, registry: RealRegistry, tmp_path: Path) -> pc.Image:
    """An image of its own, which the registry has."""
    big = imagery.tar(("srv/big", os.urandom(20 << 20)), ("srv/file", "of the image\n"))
    made = imagery.make_image(
        engine.images, f"{registry.host}/team/{tmp_path.name}:v1", base, big, kinds=["zstd", "gzip"]
    )
    made.push()
    return made


@pytest.fixture
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RealRegistry]]:
    made: list[RealRegistry] = []

    def make(**options: object) -> RealRegistry:
        made.append(RealRegistry(directory=tmp_path_factory.mktemp("registry"), **options))
        made[-1].start()
        return made[-1]

    yield make
    for each in made:
        each.kill()


def downloaded(steps: list[pc.Progress]) -> int:
    """How many bytes came."""
    found: dict[str, list[int]] = {}
    for step in steps:
        if step.step == "download":
            found.setdefault(step.digest, []).append(step.done)
    return sum(done[-1] - done[0] for done in found.values())


def test_it_is_the_same_elsewhere(other, pushed):
    steps: list[pc.Progress] = []
    image = other.images.pull(pushed.name, progress=steps.append)
    assert (image.digest, image.id, image.history) == (pushed.digest, pushed.id, pushed.history)
    assert other.run(pushed.name, ["cat", "/srv/file"]).stdout == b"of the image\n"
    assert {step.digest for step in steps if step.step == "done"} >= {
        layer.digest for layer in image.stored.manifest.layers
    }
    for blob in (image.stored.manifest.config, *image.stored.manifest.layers):
        content = other.images.store.read_blob(blob.digest, 1 << 30)
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (blob.hex, blob.size)
    assert other.images.verify().clean


def test_what_is_there_is_not_fetched_again(other, pushed):
    other.images.pull(pushed.name)
    steps: list[pc.Progress] = []
    other.images.pull(pushed.name, progress=steps.append)
    assert {step.step for step in steps} <= {"there", "done"}


def test_run_pulls_what_the_store_does_not_have(other, pushed):
    assert other.run(pushed.name, ["cat", "/srv/file"]).stdout == b"of the image\n"
    by_digest = f"{pushed.name.rpartition(':')[0]}@{pushed.digest}"
    assert other.run(by_digest, ["true"]).exit_code == 0


def test_names_that_the_registry_does_not_have(other, registry):
    for name in ("team/nothing:v1", "team/nothing@sha256:" + "0" * 64):
        with pytest.raises(pc.ImageNotFound, match="team/nothing"):
            other.images.pull(f"{registry.host}/{name}")
    assert other.images.list() == []


def test_a_registry_that_is_killed_and_comes_back(engine, other, base, guarded):
    """The rest is asked for, not all of it again."""
    registry = guarded()
    big = imagery.tar(("srv/big", os.urandom(20 << 20)))
    pushed = imagery.make_image(engine.images, f"{registry.host}/team/app:v1", base, big)
    pushed.push()
    steps: list[pc.Progress] = []

    def watch(step: pc.Progress) -> None:
        steps.append(step)
        if step.total > 10 << 20 and step.done > step.total // 3 and not killed:
            killed.append(True)
            registry.kill()
            threading.Timer(0.3, registry.start).start()

    killed: list[bool] = []
    image = other.images.pull(pushed.name, progress=watch)
    assert killed
    assert image.digest == pushed.digest
    assert downloaded(steps) < 1.5 * image.size
    assert other.images.verify().clean


def test_a_pull_that_is_given_up_and_begun_anew(other, pushed):
    """What had come is not asked for again the next time."""

    def stop(step: pc.Progress) -> None:
        if step.total > 10 << 20 and step.done > step.total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        other.images.pull(pushed.name, progress=stop)
    with pytest.raises(pc.ImageNotFound):
        other.images.get(pushed.name)
    steps: list[pc.Progress] = []
    image = other.images.pull(pushed.name, progress=steps.append)
    assert downloaded(steps) < image.size * 3 // 4
    assert other.run(image, ["cat", "/srv/file"]).stdout == b"of the image\n"


def test_a_layer_that_is_another(other, pushed, registry):
    digest = pushed.stored.manifest.layers[1].hex
    [blob] = registry.directory.glob(f"**/sha256/{digest[:2]}/{digest}/data")
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 1
    blob.write_bytes(content)
    with pytest.raises(pc.ImageError):
        other.images.pull(pushed.name)
    assert other.images.list() == []
    other.images.prune()
    assert not other.images.store.has_blob(f"sha256:{digest}")
    assert other.images.verify().clean


def test_the_platform_is_chosen_from_an_index(engine, other, base, registry):
    images = {}
    name = f"{registry.host}/team/several"
    for platform in (Platform.host(), Platform.parse("linux/s390x")):
        content = imagery.tar(("srv/platform", str(platform)))
        image = imagery.make_image(
            engine.images, f"{name}:{platform.architecture}", base, content, platform=platform
        )
        image.push()
        images[str(platform)] = image
    index = make_index(
        [
            Descriptor(
                media_type=image.stored.manifest.media_type,
                digest=image.digest,
                size=len(image.stored.manifest.raw),
                platform=Platform.parse(platform),
            )
            for platform, image in images.items()
        ]
    )
    with Registry(registry.host) as client:
        client.push_manifest("team/several", "v1", index.raw, index.media_type)
    assert other.images.pull(f"{name}:v1").digest == images[str(Platform.host())].digest
    assert other.run(f"{name}:v1", ["cat", "/srv/platform"], text=True).stdout == str(Platform.host())
    assert other.images.pull(f"{name}:v1", platform="s390x").digest == images["linux/s390x"].digest
    assert other.images.pull(f"{name}@{index.digest}").digest == images[str(Platform.host())].digest
    with pytest.raises(pc.ImageNotFound, match="s390x"):
        other.images.pull(f"{name}:v1", platform="linux/riscv64")


def test_several_at_once_into_one_store(other, pushed, tmp_path):
    outcomes: list[object] = []

    def pull() -> None:
        try:
            with pc.Engine(tmp_path / "other") as mine:
                outcomes.append(mine.images.pull(pushed.name).digest)
        except BaseException as error:  # noqa: BLE001  (reported below)
            outcomes.append(error)

    threads = [threading.Thread(target=pull) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [pushed.digest] * 4
    assert other.run(pushed.name, ["true"]).exit_code == 0


def test_pushing_sends_what_is_not_there(engine, pushed, base, registry):
    further = imagery.make_image(
        engine.images, "further", base, imagery.tar(("srv/more", "more")), kinds=["zstd", "gzip"]
    )
    steps: list[pc.Progress] = []
    engine.images.push(further, f"{pushed.name}-2", progress=steps.append)
    [there] = [step.digest for step in steps if step.step == "there"]
    assert there == pushed.stored.manifest.layers[0].digest


def test_with_a_password_and_a_certificate_of_its_own(engine, other, base, guarded, tmp_path):
    authority = Authority.make(tmp_path, "127.0.0.1")
    registry = guarded(auth=True, tls=authority)
    options = {"auth": (USER, PASSWORD), "ca": authority.certificate}
    image = imagery.make_image(engine.images, f"{registry.host}/team/secret:v1", base)
    with pytest.raises(pc.RegistryDenied):
        image.push(ca=authority.certificate)
    with pytest.raises(pc.RegistryError, match=r"(?i)certificate"):
        image.push(auth=(USER, PASSWORD))
    image.push(**options)
    with pytest.raises(pc.RegistryDenied):
        other.images.pull(image.name, ca=authority.certificate, auth=(USER, "wrong"))
    assert other.images.pull(image.name, **options).digest == image.digest
    with pytest.raises(TypeError, match="pasword"):
        other.images.pull(image.name, pasword="x")


def test_repaired_from_where_it_came(other, pushed):
    image = other.images.pull(pushed.name)
    store = other.images.store
    layer = image.stored.manifest.layers[1]
    blob = Path(store.path, "blobs/sha256", layer.hex)
    os.chmod(blob, 0o600)
    with blob.open("r+b") as file:
        file.write(b"something else")
    report = other.images.verify()
    assert report.damaged == (layer.digest,)
    assert not report.clean
    assert other.images.verify(repair=True).repaired == (layer.digest,)
    assert other.images.verify().clean
