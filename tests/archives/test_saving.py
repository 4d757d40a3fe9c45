"""What is written: whole or not at all, the same bytes for the same images, and read again."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from pycontainer.errors import ImageError, ImageNotFound, InvalidArgument, KernelError
from pycontainer.image.archive import load, save
from pycontainer.image.image import Image
from pycontainer.image.images import Images
from tests.archives import making

MADE = making.image({"hello": b"hello"}, {"etc/motd": b"motd"})


@pytest.fixture
def image(images: Images, tmp_path: Path) -> Image:
    [found] = load(images, making.folder(tmp_path / "layout", making.named(MADE)))
    shutil.rmtree(tmp_path / "layout")
    return found


@pytest.fixture
def other(tmp_path: Path) -> Images:
    return Images(str(tmp_path / "other"))


@pytest.mark.parametrize("kind", ["oci", "docker", "oci-dir"])
def test_what_was_saved_is_loaded(
    images: Images, image: Image, other: Images, tmp_path: Path, kind: str
) -> None:
    more = images.tag(image, "localhost:5000/team/app:v2")
    images.save([image, more], tmp_path / "x", format=kind)  # type: ignore[arg-type]
    found = other.load(tmp_path / "x")
    assert [each.name for each in found] == ["app:v1", "localhost:5000/team/app:v2"]
    assert {each.digest for each in found} == {image.digest}
    assert [sorted(os.listdir(layer)) for layer in found[0].layers] == [["hello"], ["etc"]]
    other.close()


@pytest.mark.parametrize("kind", ["oci", "docker"])
def test_the_same_image_is_the_same_bytes(
    images: Images, image: Image, other: Images, tmp_path: Path, kind: str
) -> None:
    images.save("app:v1", tmp_path / "x", format=kind)  # type: ignore[arg-type]
    other.load(tmp_path / "x")
    other.save("app:v1", tmp_path / "y", format=kind)  # type: ignore[arg-type]
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()
    with tarfile.open(tmp_path / "x") as made:
        members = made.getmembers()
    assert {(each.uid, each.gid, each.mtime) for each in members} == {(0, 0, 0)}
    names = [each.name for each in members]
    assert names[2 + (kind == "docker") :] == sorted(names[2 + (kind == "docker") :])
    other.close()


def test_what_docker_reads(images: Images, image: Image, tmp_path: Path) -> None:
    images.tag(image, "localhost:5000/app:v2")
    images.save(["app:v1", "localhost:5000/app:v2", image.digest], tmp_path / "x", format="docker")
    with tarfile.open(tmp_path / "x") as made:
        names = made.getnames()
        file = made.extractfile("manifest.json")
        assert file is not None
        [told] = json.load(file)
    assert told["RepoTags"] == ["docker.io/library/app:v1", "localhost:5000/app:v2"]
    assert {told["Config"], *told["Layers"]} <= set(names)
    assert len(told["Layers"]) == 2


def test_an_image_by_its_digest_has_no_name(
    images: Images, image: Image, other: Images, tmp_path: Path
) -> None:
    images.store.untag("docker.io/library/app:v1")
    for kind in ("oci", "docker"):
        images.save(image.digest, tmp_path / kind, format=kind)  # type: ignore[arg-type]
        [found] = other.load(tmp_path / kind)
        assert found.name == image.digest
    place = making.folder(tmp_path / "layout", making.named(MADE))
    images.save(images.resolve(f"oci:{place}"), tmp_path / "x")
    assert other.load(tmp_path / "x")[0].name == image.digest
    other.close()


def test_a_file_is_replaced_and_a_link_stays(images: Images, image: Image, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"before")
    (tmp_path / "link").symlink_to("x")
    images.save(image, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "x").stat().st_size > 1024
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


@pytest.mark.parametrize("kind", ["oci", "docker", "oci-dir"])
def test_a_damaged_blob_leaves_nothing(images: Images, image: Image, tmp_path: Path, kind: str) -> None:
    assert image.stored is not None
    layer = image.stored.manifest.layers[1]
    blob = Path(images.store.path, "blobs", "sha256", layer.hex)
    content = blob.read_bytes()
    before = sorted(os.listdir(tmp_path))
    for wrong in (content[:-1] + b"x", content[:-1], content + b"x", b""):
        blob.chmod(0o600)
        blob.write_bytes(wrong)
        with pytest.raises(ImageError, match="damaged"):
            images.save(image, tmp_path / "x", format=kind)  # type: ignore[arg-type]
        assert sorted(os.listdir(tmp_path)) == before


def test_a_place_that_is_none(images: Images, image: Image, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    before = sorted(os.listdir(tmp_path))
    for place in ("fifo", "full", "."):
        with pytest.raises(InvalidArgument, match="name a"):
            images.save(image, tmp_path / place)
    with pytest.raises(InvalidArgument, match="it is a character device"):
        images.save(image, "/dev/null")
    for place in ("fifo", "full"):
        with pytest.raises(InvalidArgument, match="it is there already"):
            images.save(image, tmp_path / place, format="oci-dir")
    with pytest.raises(KernelError, match="No such file or directory"):
        images.save(image, tmp_path / "none" / "x")
    with pytest.raises(InvalidArgument, match="NUL"):
        images.save(image, f"{tmp_path}/a\0b")
    assert sorted(os.listdir(tmp_path)) == before
    images.save(image, tmp_path / ("n" * 255))
    (tmp_path / "empty").mkdir()
    images.save(image, tmp_path / "empty", format="oci-dir")
    assert sorted(os.listdir(tmp_path / "empty")) == ["blobs", "index.json", "oci-layout"]


def test_wrong_arguments(images: Images, image: Image, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="one of oci, docker, oci-dir"):
        images.save(image, tmp_path / "x", format="tar")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="at least one"):
        images.save([], tmp_path / "x")
    with pytest.raises(InvalidArgument, match="load or pull it"):
        save(images, [Image.from_host()], tmp_path / "x")
    with pytest.raises(ImageNotFound):
        images.save("nowhere:1", tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.needs("userns")
def test_a_full_disk_leaves_what_was_there(images: Images, image: Image, tmp_path: Path) -> None:
    """On a file system of 64 KiB, which there is in a mount namespace of its own."""
    (tmp_path / "disk").mkdir()
    big = making.image({"big": os.urandom(1 << 16)})
    load(images, making.folder(tmp_path / "big", making.named(big, "localhost/big:1")))
    images.close()
    script = """if True:
        import os, sys
        from pycontainer.errors import KernelError
        from pycontainer.image.images import Images
        os.chdir(sys.argv[2])
        open("x", "w").write("before")
        for kind, name in (("oci", "x"), ("docker", "y"), ("oci-dir", "z")):
            try:
                Images(sys.argv[1]).save("localhost/big:1", name, format=kind)
            except KernelError as error:
                print(error.errno, error.step.rpartition("/")[2], os.listdir("."), open("x").read())
    """
    mount = 'mount -t tmpfs -o size=64k none "$4"; exec "$@"'
    words = [sys.executable, "-c", script, str(tmp_path / "root"), str(tmp_path / "disk")]
    unshare = (
        ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    )
    done = subprocess.run(
        [*unshare, "sh", "-ec", mount.replace("$4", str(tmp_path / "disk")), "sh", *words],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "".join(f"{errno.ENOSPC} {name} ['x'] before\n" for name in "xyz"), done.stderr


@pytest.mark.parametrize("buffering", [0, -1])
def test_to_a_pipe(images: Images, image: Image, tmp_path: Path, buffering: int) -> None:
    for kind in ("oci", "docker"):
        images.save(image, tmp_path / kind, format=kind)  # type: ignore[arg-type]
        reading, writing = os.pipe()
        with subprocess.Popen(["cat"], stdin=reading, stdout=subprocess.PIPE) as program:
            os.close(reading)
            with open(writing, "wb", buffering=buffering) as file:
                images.save(image, file, format=kind)  # type: ignore[arg-type]
                assert not file.closed
            assert program.stdout is not None
            assert program.stdout.read() == (tmp_path / kind).read_bytes()
    with pytest.raises(InvalidArgument, match="a directory has a path"):
        images.save(image, sys.stdout.buffer, format="oci-dir")


def test_to_a_pipe_that_nobody_reads(images: Images, image: Image) -> None:
    reading, writing = os.pipe2(os.O_NONBLOCK)
    with open(reading, "rb"), open(writing, "wb", buffering=0) as file:
        while True:
            try:
                images.save(image, file)
            except KernelError as error:
                assert error.errno == errno.EAGAIN
                break
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb", buffering=0) as file, pytest.raises(KernelError, match="Broken pipe"):
        images.save(image, file)
