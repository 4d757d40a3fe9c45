"""Other programs: skopeo, umoci and podman read what we write, runc runs it; and we read what they write."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pycontainer.image.config import ImageConfig
from pycontainer.image.image import Image
from pycontainer.image.images import Images
from tests.support import imagery

NAME = "registry.invalid:5000/team/app:v1"
FORMATS = {"oci-dir": "oci", "oci": "oci-archive", "docker": "docker-archive"}

pytestmark = pytest.mark.needs("busybox")


def run(*command: str | Path, **options: str) -> str:
    """What a program writes; a failure tells what it said."""
    done = subprocess.run(
        [str(each) for each in command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **options},
        timeout=300,
    )
    if done.returncode:
        pytest.fail(f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def skopeo(*words: str | Path) -> str:
    return run("skopeo", "--insecure-policy", *words)


@pytest.fixture
def image(images: Images) -> Image:
    """Three layers, with whiteouts."""
    change = imagery.tar(
        ("etc", 0o755), ("etc/motd", "motd\n"), ("bin", 0o755), ("bin/.wh.nc", ""), ("srv/x", "x")
    )
    last = imagery.tar(("srv", 0o755), ("srv/.wh..wh..opq", ""), ("srv/y", "y"))
    config = ImageConfig(
        entrypoint=("/bin/sh", "-c"), cmd=("cat /etc/motd; ls /srv; id -u",), env=("A=b c",), user="1000:1000",
        labels=(("label", "ä"),), workdir="/srv",
    )  # fmt: skip
    return imagery.make_image(images, NAME, imagery.base(), change, last, config=config)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Images]:
    found = Images(str(tmp_path / "other"))
    yield found
    found.close()


def same(found: Image, image: Image) -> None:
    """The same image, perhaps with another manifest, and with a configuration that was written once more."""
    assert found.config == image.config
    assert [Path(layer).parent.name for layer in found.layers] == [
        Path(layer).parent.name for layer in image.layers
    ]
    assert [sorted(os.listdir(layer)) for layer in found.layers] == [
        sorted(os.listdir(layer)) for layer in image.layers
    ]


# -- skopeo ----------------------------------------------------------------------------------------


@pytest.mark.needs("skopeo")
@pytest.mark.parametrize("kind", FORMATS)
def test_skopeo_copies_what_we_wrote(
    images: Images, other: Images, image: Image, tmp_path: Path, kind: str
) -> None:
    images.save(image, tmp_path / "ours", format=kind)  # type: ignore[arg-type]
    ours = f"{FORMATS[kind]}:{tmp_path}/ours:{NAME}"
    told = json.loads(skopeo("inspect", "--config", ours))
    assert told["config"]["Env"] == ["A=b c"]
    assert told["rootfs"]["diff_ids"] == json.loads(image.stored.document.raw)["rootfs"]["diff_ids"]  # type: ignore[union-attr]
    if kind != "docker":
        assert json.loads(skopeo("inspect", ours))["Digest"] == image.digest
    for number, target in enumerate(["oci", "oci-archive", "docker-archive"]):
        place = tmp_path / f"theirs-{number}"
        skopeo("copy", ours, f"{target}:{place}:{NAME}")
        [found] = other.load(place)
        assert found.name == NAME
        same(found, image)
        if kind != "docker":
            assert (found.id, found.digest) == (image.id, image.digest) or target == "docker-archive"
        same(other.resolve(f"{target}:{place}"), image)


@pytest.mark.needs("skopeo")
@pytest.mark.parametrize("form", ["oci", "v2s2"])
def test_skopeo_converts_it_and_back(
    images: Images, other: Images, image: Image, tmp_path: Path, form: str
) -> None:
    images.save(image, tmp_path / "ours", format="oci-dir")
    skopeo("copy", "--format", form, f"oci:{tmp_path}/ours", f"dir:{tmp_path}/dir")
    skopeo("copy", f"dir:{tmp_path}/dir", f"oci:{tmp_path}/back:some-tag")
    found = other.resolve(f"oci:{tmp_path}/back:some-tag")
    same(found, image)


@pytest.mark.needs("skopeo")
def test_skopeo_copies_zstd(images: Images, other: Images, tmp_path: Path) -> None:
    image = imagery.make_image(images, NAME, imagery.base(), imagery.tar(("x", "x")), kinds=["zstd", "none"])
    images.save(image, tmp_path / "ours")
    skopeo("copy", f"oci-archive:{tmp_path}/ours", f"oci:{tmp_path}/theirs:v1")
    same(other.resolve(f"oci:{tmp_path}/theirs"), image)
    skopeo(
        "copy", "--dest-compress-format", "zstd", f"oci-archive:{tmp_path}/ours", f"oci:{tmp_path}/zstd:v1"
    )
    same(other.resolve(f"oci:{tmp_path}/zstd"), image)


# -- umoci and runc --------------------------------------------------------------------------------


def unpacked(layout: str, bundle: Path) -> Path:
    rootless = [] if os.geteuid() == 0 else ["--rootless"]
    run("umoci", "unpack", *rootless, "--image", layout, bundle)
    return bundle / "rootfs"


@pytest.mark.needs("umoci")
def test_umoci_unpacks_what_we_wrote(images: Images, image: Image, tmp_path: Path) -> None:
    images.save([image, images.tag(image, "localhost/other:v2")], tmp_path / "ours", format="oci-dir")
    assert run("umoci", "ls", "--layout", tmp_path / "ours").split() == [NAME, "localhost/other:v2"]
    rootfs = unpacked(f"{tmp_path}/ours:{NAME}", tmp_path / "bundle")
    assert (rootfs / "etc" / "motd").read_text() == "motd\n"
    assert os.listdir(rootfs / "srv") == ["y"]
    assert sorted(os.listdir(rootfs / "bin")) == sorted({*imagery.PROGRAMS, "busybox"} - {"nc"})
    told = json.loads((tmp_path / "bundle" / "config.json").read_text())["process"]
    assert told["args"] == [*image.config.entrypoint, *image.config.cmd]
    assert told["cwd"] == "/srv"


@pytest.mark.needs("umoci", "runc", "root", "cgroup1")
def test_runc_runs_what_umoci_unpacked(images: Images, image: Image, tmp_path: Path) -> None:
    images.save(image, tmp_path / "ours", format="oci-dir")
    unpacked(f"{tmp_path}/ours:{NAME}", tmp_path / "bundle")
    path = tmp_path / "bundle" / "config.json"
    config = json.loads(path.read_text())
    config["process"]["terminal"] = False
    path.write_text(json.dumps(config))
    name = f"interop-{os.getpid()}"
    ran = run("runc", "--root", tmp_path / "runc", "run", "--bundle", tmp_path / "bundle", name)
    assert ran == "motd\ny\n1000\n"


@pytest.mark.needs("umoci")
def test_what_umoci_builds(images: Images, image: Image, tmp_path: Path) -> None:
    layout, bundle = tmp_path / "theirs", tmp_path / "bundle"
    rootless = [] if os.geteuid() == 0 else ["--rootless"]
    run("umoci", "init", "--layout", layout)
    run("umoci", "new", "--image", f"{layout}:app")
    assert images.resolve(f"oci:{layout}:app").layers == ()
    rootfs = unpacked(f"{layout}:app", bundle)
    (rootfs / "srv").mkdir()
    (rootfs / "srv" / "x").write_text("x")
    (rootfs / "gone").write_text("x")
    os.link(rootfs / "srv" / "x", rootfs / "srv" / "linked")
    run("umoci", "repack", "--image", f"{layout}:app", bundle)
    (tmp_path / "inserted").write_text("inserted")
    run("umoci", "insert", *rootless, "--image", f"{layout}:app", tmp_path / "inserted", "/srv/inserted")
    run("umoci", "insert", *rootless, "--whiteout", "--image", f"{layout}:app", "/gone")
    run(
        "umoci",
        "config",
        "--image",
        f"{layout}:app",
        "--config.cmd",
        "/srv/x",
        "--config.env",
        "A=b",
        "--tag",
        "done",
    )
    found = images.resolve(f"oci:{layout}:done")
    assert [sorted(os.listdir(layer)) for layer in found.layers] == [["gone", "srv"], ["srv"], ["gone"]]
    assert Path(found.layers[0], "srv", "linked").stat().st_nlink == 2
    assert Path(found.layers[1], "srv", "inserted").read_text() == "inserted"
    assert Path(found.layers[2], "gone").is_char_device()
    assert (found.config.cmd, found.config.env) == (("/srv/x",), ("A=b",))
    assert len(images.load(layout)) == 2


# -- podman ----------------------------------------------------------------------------------------


@pytest.fixture
def podman() -> Iterator[Callable[..., str]]:
    place = Path(tempfile.mkdtemp(prefix="podman-"))  # it takes no path of more than 50 characters
    options = [
        f"--root={place}/root",
        f"--runroot={place}/run",
        f"--tmpdir={place}/tmp",
        "--storage-driver=vfs",
    ]
    options += ["--cgroup-manager=cgroupfs", "--events-backend=none", "--registries-conf=/dev/null"]

    def call(*words: str | Path) -> str:
        # Nothing of the person's own configuration, and no network.
        homes = {
            name: str(place)
            for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "TMPDIR")
        }
        return run("podman", *options, *words, **homes)

    yield call
    shutil.rmtree(place)


@pytest.mark.needs("podman", "root")
def test_podman_loads_and_saves(
    images: Images, other: Images, image: Image, tmp_path: Path, podman: Callable[..., str]
) -> None:
    for kind in ("oci", "docker", "oci-dir"):
        images.save(image, tmp_path / kind, format=kind)  # type: ignore[arg-type]
        if kind == "oci-dir":
            # It makes a name of an image of the path, so that has to be one.
            place = Path(tempfile.gettempdir(), f"layout{os.urandom(6).hex()}")
            shutil.copytree(tmp_path / kind, place)
            try:
                podman("tag", podman("pull", "--quiet", f"oci:{place}:{NAME}").strip(), NAME)
            finally:
                shutil.rmtree(place)
        else:
            assert NAME in podman("load", "--input", tmp_path / kind)
        told = json.loads(podman("image", "inspect", NAME))[0]
        assert told["RootFS"]["Layers"] == list(image.stored.document.diff_ids)  # type: ignore[union-attr]
        assert f"sha256:{told['Id']}" == image.id
        for form in ("oci-archive", "docker-archive", "oci-dir"):
            target = tmp_path / f"{kind}-{form}"
            podman("save", "--format", form, "--output", target, NAME)
            [found] = other.load(target)
            assert found.name == NAME
            same(found, image)
        podman("rmi", "--all", "--force")


@pytest.mark.needs("podman", "root")
def test_podman_and_several_images(
    images: Images, other: Images, image: Image, tmp_path: Path, podman: Callable[..., str]
) -> None:
    more = imagery.make_image(images, "docker.io/library/more:v2", imagery.base(), imagery.tar(("more", "")))
    images.save([image, more, images.tag(image, "localhost/app:v3")], tmp_path / "x", format="docker")
    loaded = podman("load", "--input", tmp_path / "x")
    for name in (NAME, "docker.io/library/more:v2", "localhost/app:v3"):
        assert name in loaded
    podman("save", "--multi-image-archive", "--output", tmp_path / "y", NAME, "docker.io/library/more:v2")
    found = {each.name: each for each in other.load(tmp_path / "y")}
    same(found[NAME], image)
    same(found["more:v2"], more)
    assert {*found} == {NAME, "more:v2"}


@pytest.mark.needs("podman", "root")
def test_a_list_that_podman_made(
    images: Images, image: Image, tmp_path: Path, podman: Callable[..., str]
) -> None:
    images.save(image, tmp_path / "x")
    podman("load", "--input", tmp_path / "x")
    podman("manifest", "create", "localhost/list:v1")
    podman("manifest", "add", "--all", "localhost/list:v1", f"oci-archive:{tmp_path}/x")
    podman("manifest", "push", "--all", "localhost/list:v1", f"oci:{tmp_path}/list:v1")
    same(images.resolve(f"oci:{tmp_path}/list:v1"), image)
