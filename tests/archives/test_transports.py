"""Archives in the place of an image's name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pycontainer.errors import ImageError, ImageNotFound, InvalidArgument
from pycontainer.image.archive import transport
from pycontainer.image.images import Images
from tests.archives import making

MADE = making.image({"hello": b"hello"})
OTHER = making.image({"other": b""})


def two(first: str, second: str) -> dict[str, bytes]:
    top = making.index(MADE.annotated(ref=first), OTHER.annotated(ref=second))
    return making.oci(MADE.blobs | OTHER.blobs, top)


def test_the_three_of_them(images: Images, tmp_path: Path) -> None:
    place = making.folder(tmp_path / "layout", making.named(MADE))
    oci = making.written(tmp_path / "oci.tar", making.tar(making.named(MADE)))
    docker = making.written(tmp_path / "docker.tar", making.tar(making.docker(MADE, "app:v1")))
    for name in (f"oci:{place}", f"oci-archive:{oci}", f"docker-archive:{docker}"):
        for label in ("", ":app:v1", ":v1", ":docker.io/library/app:v1"):
            found = images.resolve(name + label)
            assert found.name == name + label
            assert [os.listdir(layer) for layer in found.layers] == [["hello"]]
            hold = found.hold()
            assert hold is not None
            hold.close()
    assert images.store.names() == {}


def test_relative_paths(images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    making.folder(tmp_path / "layout", making.named(MADE))
    monkeypatch.chdir(tmp_path)
    assert images.resolve("oci:./layout:v1").digest == MADE.digest


def test_which_of_several(images: Images, tmp_path: Path) -> None:
    for number, (first, second) in enumerate(
        [("v1", "v2"), ("docker.io/library/app:v1", "docker.io/library/app:v2")]
    ):
        place = making.folder(tmp_path / str(number), two(first, second))
        assert images.resolve(f"oci:{place}:v1").digest == MADE.digest
        assert images.resolve(f"oci:{place}:v2").digest == OTHER.digest
        with pytest.raises(InvalidArgument, match=f"there are 2 in it, name one: {first}, {second}"):
            images.resolve(f"oci:{place}")
        with pytest.raises(ImageNotFound, match="there is no image 'v3' in it, only:"):
            images.resolve(f"oci:{place}:v3")


def test_a_tag_of_two_names(images: Images, tmp_path: Path) -> None:
    place = making.folder(tmp_path / "layout", two("a:v1", "b:v1"))
    with pytest.raises(InvalidArgument, match="there are 2"):
        images.resolve(f"oci:{place}:v1")
    assert images.resolve(f"oci:{place}:b:v1").digest == OTHER.digest


def test_a_path_with_a_colon(images: Images, tmp_path: Path) -> None:
    place = making.folder(tmp_path / "a:b", making.named(MADE))
    assert images.resolve(f"oci:{place}").digest == MADE.digest


def test_what_is_of_another_kind(images: Images, tmp_path: Path) -> None:
    place = making.folder(tmp_path / "layout", making.named(MADE))
    oci = making.written(tmp_path / "oci.tar", making.tar(making.named(MADE)))
    docker = making.written(tmp_path / "docker.tar", making.tar(making.docker(MADE, "app:v1")))
    for name, match in (
        (f"oci:{oci}", "it is no directory: write 'oci-archive:"),
        (f"oci-archive:{place}", "it is a directory: write 'oci:'"),
        (f"oci-archive:{docker}", "it has no oci-layout and index.json"),
        (f"docker-archive:{oci}", "it has no manifest.json"),
    ):
        with pytest.raises(ImageError, match=match):
            images.resolve(name)
    with pytest.raises(ImageNotFound, match=r"/none: there is no such archive"):
        images.resolve(f"oci-archive:{tmp_path}/none")


@pytest.mark.parametrize("kind", ["oci", "oci-archive"])
def test_it_is_read_once(images: Images, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def put(made: making.Made) -> str:
        files = making.named(made)
        if kind == "oci":
            making.folder(tmp_path / "x", files)
        else:
            making.written(tmp_path / "x", making.tar(files))
        return f"{kind}:{tmp_path}/x"

    monkeypatch.setattr(transport, "_SETTLED", -1)
    name = put(MADE)
    first = images.resolve(name)
    with monkeypatch.context() as patch:
        patch.setattr(transport, "load_one", None)
        assert images.resolve(name) == first
    assert images.resolve(put(OTHER)).digest == OTHER.digest
    images.remove(images.resolve(name).digest)
    assert images.resolve(name).digest == OTHER.digest


def test_what_has_just_changed_is_read_again(
    images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can change again within the same tick of the file system's clock."""
    place = making.folder(tmp_path / "x", making.named(MADE))
    images.resolve(f"oci:{place}")
    monkeypatch.setattr(transport, "load_one", None)
    with pytest.raises(TypeError):
        images.resolve(f"oci:{place}")
