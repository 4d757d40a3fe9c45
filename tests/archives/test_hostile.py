"""Archives that lie, are damaged, or lead elsewhere: an error that says so, and nothing of them in the store."""

from __future__ import annotations

import gzip
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pycontainer.errors import ImageError, ImageNotFound, InvalidArgument, PyContainerError, UnsafeArchive
from pycontainer.image.archive import load
from pycontainer.image.archive.members import normal
from pycontainer.image.digest import digest_of
from pycontainer.image.images import Images
from tests.archives import making
from tests.support.tarball import END, entry, header, pax

MADE = making.image({"hello": b"hello"}, {"etc/motd": b"motd"})
LAYOUT = making.named(MADE)
SAVED = making.docker(MADE, "app:v1")
CONFIG = next(name for name in SAVED if name.endswith(".json") and len(name) > 64)
LAYERS = [name for name in SAVED if name.endswith("layer.tar")]
BLOBS = sorted(name for name in LAYOUT if name.startswith("blobs/"))


def blob(content: bytes) -> str:
    return f"blobs/sha256/{digest_of(content)[7:]}"


def refused(images: Images, path: Path, match: str, kind: type[PyContainerError] = ImageError) -> None:
    with pytest.raises(kind, match=match) as caught:
        load(images, path)
    assert str(caught.value).startswith(f"{path}: ")
    assert images.store.images() == []
    assert images.store.names() == {}
    assert not [name for name in os.listdir(f"{images.store.path}/ingest") if name.startswith("tmp")]


# -- directories -----------------------------------------------------------------------------------


def fifo(place: Path) -> None:
    os.mkfifo(place)


def device(place: Path) -> None:
    os.symlink("/dev/zero", place)


def directory(place: Path) -> None:
    place.mkdir()


def bound(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = os.getcwd()
        os.chdir(place.parent)
        try:
            made.bind(place.name)
        finally:
            os.chdir(here)


@pytest.mark.parametrize("name", ["index.json", "oci-layout", *BLOBS])
@pytest.mark.parametrize("make", [fifo, device, directory, bound])
def test_what_is_no_file(images: Images, tmp_path: Path, name: str, make: Callable[[Path], None]) -> None:
    place = making.folder(tmp_path / "layout", LAYOUT)
    (place / name).unlink()
    make(place / name)
    refused(images, place, rf"{name} is .*, not a regular file")


@pytest.mark.parametrize("name", ["blobs", "blobs/sha256"])
def test_links_on_the_way(images: Images, tmp_path: Path, name: str) -> None:
    place = making.folder(tmp_path / "layout", LAYOUT)
    (place / name).rename(tmp_path / "elsewhere")
    (place / name).symlink_to(tmp_path / "elsewhere")
    refused(images, place, "a directory on the way to .* is a symbolic link")


@pytest.mark.parametrize("name", ["index.json", "oci-layout", *BLOBS])
def test_what_is_missing(images: Images, tmp_path: Path, name: str) -> None:
    files = {key: value for key, value in LAYOUT.items() if key != name}
    match = (
        f"there is no {name} in it"
        if name in BLOBS
        else "it has no oci-layout and index.json, or manifest.json"
    )
    refused(images, making.folder(tmp_path / "layout", files), match)
    refused(images, making.written(tmp_path / "x.tar", making.tar(files)), match)


def test_the_archive_itself(images: Images, tmp_path: Path) -> None:
    with images.store.lease():
        pass
    refused(images, tmp_path / "none", "there is no such archive", ImageNotFound)
    refused(images, tmp_path / "none" / "x", "there is no such archive", ImageNotFound)
    os.mkfifo(tmp_path / "fifo")
    refused(images, tmp_path / "fifo", "it is a fifo, and a file or a directory is needed")
    refused(images, Path("/dev/zero"), "it is a character device")
    refused(images, making.written(tmp_path / "empty", b""), "truncated")
    refused(images, making.written(tmp_path / "zeros", bytes(10240)), "it is no archive of images")
    refused(images, making.written(tmp_path / "text", b"text" * 1000), "no tar archive")
    (tmp_path / "folder").mkdir()
    refused(images, tmp_path / "folder", "it is no archive of images")
    with pytest.raises(InvalidArgument, match="NUL"):
        load(images, "a\0b")


# -- what documents tell ---------------------------------------------------------------------------


def changed(**changes: Any) -> dict[str, bytes]:
    """A layout whose index tells something else of the manifest."""
    told = {**MADE.annotated(ref="app:v1"), **changes}
    return making.oci(MADE.blobs, making.index(told))


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({**LAYOUT, "oci-layout": b'{"imageLayoutVersion": "2.0.0"}'}, "version '2.0.0': 1.0.0 is needed"),
        ({**LAYOUT, "oci-layout": b"{}"}, "version None"),
        ({**LAYOUT, "oci-layout": b"[]"}, "no JSON object"),
        ({**LAYOUT, "index.json": b"{"}, "index.json is no JSON document"),
        ({**LAYOUT, "index.json": LAYOUT[BLOBS[0]] * 0 + b"[" * 100_000}, "index.json is no JSON document"),
        ({**LAYOUT, "index.json": b" " * (5 << 20)}, "4194304 are possible"),
        ({**LAYOUT, "index.json": making.index()}, "there is no image in it"),
        (
            {
                **LAYOUT,
                "index.json": making.text({"schemaVersion": 2, "layers": [], "config": MADE.descriptor}),
            },
            "is a manifest",
        ),
        (changed(size=1), "has 556 bytes, and 1 were told|bytes, and 1 were told"),
        (changed(size=-1), "no possible size"),
        (changed(digest="sha256:" + "0" * 64), "there is no blobs/sha256/0000"),
        (changed(digest="sha256:../../../etc/passwd"), "has the digest"),
        (changed(digest="md5:" + "0" * 32), "has the digest"),
        (changed(mediaType=making.INDEX), "was sent as .*index.* and says"),
    ],
    ids=range(14),
)
def test_documents_that_lie(images: Images, tmp_path: Path, files: dict[str, bytes], match: str) -> None:
    refused(images, making.folder(tmp_path / "layout", files), match)
    refused(images, making.written(tmp_path / "x.tar", making.tar(files)), match)


@pytest.mark.parametrize("name", BLOBS)
def test_content_of_another_digest(images: Images, tmp_path: Path, name: str) -> None:
    content = LAYOUT[name]
    for wrong in (content[:-1] + bytes([content[-1] ^ 1]), content[:-1], content + b"x"):
        refused(
            images,
            making.folder(tmp_path / "layout", {**LAYOUT, name: wrong}),
            "bytes, and|digest|damaged|truncated",
        )


def test_a_layer_of_another_diff_id(images: Images, tmp_path: Path) -> None:
    other = making.image({"hello": b"another"})
    for made in (making.docker(MADE, "app:v1"), {**SAVED, LAYERS[0]: other.layers[0]}):
        files = {**made, LAYERS[1]: gzip.compress(other.layers[0])}
        refused(images, making.written(tmp_path / "x.tar", making.tar(files)), "was expected|digest")


def test_an_index_of_itself_and_of_too_many(images: Images, tmp_path: Path) -> None:
    raw = making.index(MADE.descriptor)
    blobs = dict(MADE.blobs)
    for _ in range(10):
        blobs[digest_of(raw)] = raw
        raw = making.index(making.described(making.INDEX, raw))
    refused(images, making.folder(tmp_path / "layout", making.oci(blobs, raw)), "indexes in each other")


@pytest.mark.parametrize(
    ("told", "match"),
    [
        ({}, "no JSON array"),
        ([[]], "image 1 of manifest.json is no object"),
        ([{}], "configuration that are no texts"),
        ([{"Config": 1, "Layers": []}], "are no texts"),
        ([{"Config": CONFIG, "Layers": [1]}], "layers that are no texts"),
        ([{"Config": CONFIG, "Layers": LAYERS, "RepoTags": [None]}], "names that are no texts"),
        ([{"Config": CONFIG, "Layers": LAYERS[:1]}], "tells of 2 layers, and manifest.json of 1"),
        ([{"Config": CONFIG, "Layers": ["none", *LAYERS]}], "tells of 2 layers"),
        ([{"Config": CONFIG, "Layers": ["none", LAYERS[1]]}], "there is no none in it"),
        ([{"Config": CONFIG, "Layers": ["../../../etc/passwd", LAYERS[1]]}], r"there is no '\.\./"),
        ([{"Config": CONFIG, "Layers": ["/etc/passwd", LAYERS[1]]}], "there is no etc/passwd in it"),
        ([{"Config": "/etc/passwd", "Layers": []}], "there is no etc/passwd in it"),
        ([{"Config": CONFIG, "config": CONFIG, "Layers": LAYERS}], "twice, in two spellings"),
        ([{"Config": LAYERS[0], "Layers": []}], "no JSON document"),
        ([{"Config": "repositories", "Layers": []}], "rootfs"),
        ([], "there is no image in it"),
    ],
    ids=range(16),
)
def test_what_a_saved_manifest_may_not_say(images: Images, tmp_path: Path, told: Any, match: str) -> None:
    files = {**SAVED, "manifest.json": making.text(told)}
    refused(images, making.written(tmp_path / "x.tar", making.tar(files)), match)


def test_a_configuration_of_another_digest(images: Images, tmp_path: Path) -> None:
    config = json.loads(SAVED[CONFIG]) | {"author": "another"}
    files = {**SAVED, CONFIG: making.text(config)}
    refused(images, making.written(tmp_path / "x.tar", making.tar(files)), f"{CONFIG} is damaged")


def test_an_archive_of_before_docker_1_10(images: Images, tmp_path: Path) -> None:
    files = {key: value for key, value in SAVED.items() if key != "manifest.json"}
    refused(
        images, making.written(tmp_path / "x.tar", making.tar(files)), "before Docker 1.10: save it again"
    )


# -- tar -------------------------------------------------------------------------------------------


def test_truncated_anywhere(images: Images, tmp_path: Path) -> None:
    for files in (LAYOUT, SAVED):
        data = making.tar(files)
        packed = gzip.compress(data)
        for end in [*range(0, len(data) - len(END) + 1, 300), len(data) - len(END)]:
            refused(images, making.written(tmp_path / "x.tar", data[:end]), "truncated")
        for end in range(1, len(packed), 100):
            refused(images, making.written(tmp_path / "x.gz", packed[:end]), "truncated|no tar archive")


@pytest.mark.parametrize(
    ("link", "kind", "match", "error"),
    [
        ("../../../../etc/passwd", b"2", "is a link out of the archive", ImageError),
        ("/etc/passwd", b"2", "is a link out of the archive", ImageError),
        ("/etc/passwd", b"1", "is a link out of the archive", ImageError),
        ("layer.tar", b"2", "from link to link", UnsafeArchive),
        ("../none/layer.tar", b"2", "there is no none/layer.tar in it, to which", ImageNotFound),
        ("x" * 300, b"2", "is a link out of the archive", ImageError),
        ("..", b"2", "is a link out of the archive", ImageError),
    ],
)
def test_links_that_lead_nowhere(
    images: Images, tmp_path: Path, link: str, kind: bytes, match: str, error: type[ImageError]
) -> None:
    data = b"".join(
        entry(name.encode(), b"0", content) for name, content in SAVED.items() if name != LAYERS[1]
    )
    data += pax((b"linkpath", link.encode())) + entry(LAYERS[1].encode(), kind)
    refused(images, making.written(tmp_path / "x.tar", data + END), match, error)


def test_a_chain_of_links_is_bounded(images: Images, tmp_path: Path) -> None:
    data = b"".join(
        entry(name.encode(), b"0", content) for name, content in SAVED.items() if name != LAYERS[1]
    )
    chain = b"".join(entry(b"l%d" % number, b"1", link=b"l%d" % (number + 1)) for number in range(60))
    data += entry(LAYERS[1].encode(), b"1", link=b"l0") + chain + entry(b"l60", b"0", SAVED[LAYERS[1]])
    refused(
        images,
        making.written(tmp_path / "x.tar", data + END),
        "from link to link, more than 40",
        UnsafeArchive,
    )


@pytest.mark.parametrize("kind", [b"3", b"4", b"5", b"6"])
def test_layers_that_are_no_files(images: Images, tmp_path: Path, kind: bytes) -> None:
    data = b"".join(
        entry(name.encode(), b"0", content) for name, content in SAVED.items() if name != LAYERS[1]
    )
    refused(
        images,
        making.written(tmp_path / "x.tar", data + entry(LAYERS[1].encode(), kind) + END),
        "and a file is needed",
    )


def test_sparse_files_are_no_blobs(images: Images, tmp_path: Path) -> None:
    content = SAVED[LAYERS[1]]
    sparse = pax(
        (b"GNU.sparse.map", b"512,%d" % len(content)), (b"GNU.sparse.realsize", b"%d" % (len(content) + 512))
    ) + entry(LAYERS[1].encode(), b"0", content)
    data = b"".join(entry(name.encode(), b"0", each) for name, each in SAVED.items() if name != LAYERS[1])
    refused(images, making.written(tmp_path / "x.tar", data + sparse + END), "is a sparse file")


def test_two_of_one_name(images: Images, tmp_path: Path) -> None:
    """Of what decides there may be one; of blobs the last one counts, as for who unpacks the archive."""
    for name, files in (("index.json", LAYOUT), ("oci-layout", LAYOUT), ("manifest.json", SAVED)):
        for again in (name, f"./{name}", f"x/../{name}"):
            data = making.tar([(again, files[name]), *files.items()])
            refused(images, making.written(tmp_path / "x.tar", data), f"it has {name} twice")
    wrong = [(BLOBS[0], b"wrong"), *LAYOUT.items()]
    assert load(images, making.written(tmp_path / "x.tar", making.tar(wrong)))[0].digest == MADE.digest


def test_more_entries_than_anybody_needs(images: Images, tmp_path: Path) -> None:
    data = entry(b"x") * 200_001 + END
    refused(images, making.written(tmp_path / "x.tar", data), "more than 200000 headers", UnsafeArchive)


def test_a_size_beyond_the_end(images: Images, tmp_path: Path) -> None:
    for told in (b"77777777777\0", b"\x80" + b"\x7f" + bytes(10), b"\xff" * 12):
        data = header(b"index.json", told=told) + b"{}"
        refused(images, making.written(tmp_path / "x.tar", data + END), "truncated|impossible size")


def test_a_bomb(images: Images, tmp_path: Path) -> None:
    data = gzip.compress(entry(b"x", b"0", bytes(100 << 20)) + END)
    refused(
        images, making.written(tmp_path / "x.tar", data), "come out of each compressed byte", UnsafeArchive
    )


def test_an_archive_that_becomes_shorter(images: Images, tmp_path: Path) -> None:
    from pycontainer.image.archive.members import Members
    from pycontainer.kernel.fd import Fd

    path = making.written(tmp_path / "x.tar", making.tar(LAYOUT))
    with Fd(os.open(path, os.O_RDONLY | os.O_CLOEXEC)) as file:
        members = Members.read(file)
        os.truncate(path, 512)
        with members.open("index.json") as piece, pytest.raises(ImageError, match="became shorter"):
            piece.content()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a", "a"),
        ("./a/./b//c/", "a/b/c"),
        ("/a", "a"),
        ("a/../b", "b"),
        ("..", None),
        ("a/../..", None),
        ("", ""),
    ],
)
def test_names_of_entries(name: str, expected: str | None) -> None:
    assert normal(name) == expected


def test_a_layer_without_what_pads_its_end(images: Images, tmp_path: Path) -> None:
    """As "umoci insert" writes it: neither zeros behind the last file nor an end mark."""
    for cut in (1, 511):
        raw = entry(b"hello", b"0", bytes(1024 - cut))[:-cut]
        config = making.text({"os": "linux", "rootfs": {"diff_ids": [digest_of(raw)]}})
        told = [{"Config": "c", "RepoTags": None, "Layers": ["layer"]}]
        files = {"manifest.json": making.text(told), "c": config, "layer": raw}
        [found] = load(images, making.written(tmp_path / "x.tar", making.tar(files)))
        assert Path(found.layers[0], "hello").read_bytes() == bytes(1024 - cut)


@pytest.mark.parametrize("files", [LAYOUT, SAVED], ids=["oci", "docker"])
def test_a_wrong_archive_does_no_harm_to_a_right_one(tmp_path: Path, files: dict[str, bytes]) -> None:
    """What it had for a layer would be gone on with by whoever has the right one."""
    for number, name in enumerate({*BLOBS, *LAYERS, CONFIG} & {*files}):
        images = Images(str(tmp_path / str(number)))
        bad = {**files, name: bytes(len(files[name]))}
        with pytest.raises(ImageError):
            load(images, making.written(tmp_path / "x.tar", making.tar(bad)))
        assert os.listdir(f"{images.store.path}/ingest") == []
        assert load(images, making.written(tmp_path / "x.tar", making.tar(files)))[0].name == "app:v1"
        images.close()


def test_a_wrong_beginning_is_not_gone_on_with(images: Images, tmp_path: Path) -> None:
    for digest, content in MADE.blobs.items():
        with images.store.ingest(digest, len(content)) as writer:
            writer.write(bytes(len(content) // 2))
    assert len(os.listdir(f"{images.store.path}/ingest")) == len(MADE.blobs)
    [found] = load(images, making.folder(tmp_path / "layout", LAYOUT))
    assert images.get("app:v1") == found
    assert not images.store.verify().damaged
