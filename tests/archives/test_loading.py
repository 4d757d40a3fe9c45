"""Archives that honest programs write, in all their forms: what is in them comes into the store."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from pycontainer.errors import ImageError, ImageNotFound, InvalidArgument, KernelError
from pycontainer.image.archive import load
from pycontainer.image.digest import digest_of
from pycontainer.image.images import Images
from pycontainer.image.progress import Progress
from tests.archives import making
from tests.support.tarball import END, entry, pax

MADE = making.image({"hello": b"hello"}, {"etc/motd": b"motd"})
PLAIN = making.image({"hello": b"hello"}, {"etc/motd": b"motd"}, packed=False)


def check_tree(images: Images, name: str) -> None:
    found = images.get(name)
    assert [sorted(os.listdir(layer)) for layer in found.layers] == [["hello"], ["etc"]]
    assert Path(found.layers[0], "hello").read_bytes() == b"hello"
    assert found.config.cmd == ("/hello",)


def test_a_layout_in_a_directory(images: Images, tmp_path: Path) -> None:
    [found] = load(images, making.folder(tmp_path / "layout", making.named(MADE)))
    assert (found.name, found.digest) == ("app:v1", MADE.digest)
    assert found.id == digest_of(MADE.config)
    check_tree(images, "app:v1")


@pytest.mark.parametrize(
    "compress",
    [
        bytes,
        gzip.compress,
        lambda data: zstandard.ZstdCompressor().compress(data),
        lzma.compress,
        bz2.compress,
        lambda data: gzip.compress(data[:700]) + gzip.compress(data[700:]),
    ],
    ids=["plain", "gzip", "zstd", "xz", "bzip2", "two members"],
)
@pytest.mark.parametrize("files", [making.named(MADE), making.docker(MADE, "app:v1")], ids=["oci", "docker"])
def test_a_tar_archive(
    images: Images, tmp_path: Path, files: dict[str, bytes], compress: Callable[[bytes], bytes]
) -> None:
    [found] = load(images, making.written(tmp_path / "x.tar", compress(making.tar(files))))
    assert found.name == "app:v1"
    assert found.id == digest_of(MADE.config)
    check_tree(images, "app:v1")
    assert not os.listdir(f"{images.store.path}/ingest")


def test_names_as_tar_programs_write_them(images: Images, tmp_path: Path) -> None:
    """``tar c .`` begins them with a dot, and writes directories."""
    files = making.named(MADE)
    place = making.folder(tmp_path / "layout", files)
    for options in (["--format=gnu"], ["--format=posix"], ["--format=v7"]):
        subprocess.run(["tar", "cf", tmp_path / "x.tar", *options, "-C", place, "."], check=True)
        assert [each.name for each in load(images, tmp_path / "x.tar")] == ["app:v1"]


def test_both_kinds_in_one_archive(images: Images, tmp_path: Path) -> None:
    """As Docker writes it since version 25: the layout tells more, and is taken."""
    files = making.named(PLAIN) | {
        "manifest.json": making.text([
            {
                "Config": f"blobs/sha256/{digest_of(PLAIN.config)[7:]}",
                "RepoTags": ["other:v2"],
                "Layers": [f"blobs/sha256/{digest_of(each)[7:]}" for each in PLAIN.layers],
            }
        ])
    }  # fmt: skip
    path = making.written(tmp_path / "x.tar", making.tar(files))
    [found] = load(images, path)
    assert (found.name, found.digest) == ("app:v1", PLAIN.digest)
    by_manifest = images.resolve(f"docker-archive:{path}:other:v2")
    assert by_manifest.layers == found.layers
    with pytest.raises(ImageNotFound, match=r"other:v2' in it, only: docker.io/library/app:v1"):
        images.resolve(f"oci-archive:{path}:other:v2")


def test_several_images_and_names(images: Images, tmp_path: Path) -> None:
    other = making.image({"other": b""})
    top = making.index(
        MADE.annotated(name="docker.io/library/app:v1", ref="v1"),
        MADE.annotated(name="docker.io/library/app:latest", ref="latest"),
        other.annotated(ref="localhost/team/other:2"),
        making.image({"more": b""}).annotated(ref="only-a-tag"),
    )
    blobs = MADE.blobs | other.blobs | making.image({"more": b""}).blobs
    found = load(images, making.folder(tmp_path / "layout", making.oci(blobs, top)))
    assert [each.name for each in found[:3]] == ["app:v1", "app:latest", "localhost/team/other:2"]
    assert found[3].name == found[3].digest
    assert len(images.list()) == 4
    both = making.docker(MADE, "a:1", "a:2")
    found = load(images, making.written(tmp_path / "x.tar", making.tar(both)))
    assert [each.name for each in found] == ["a:1", "a:2"]


def test_an_index_for_several_platforms(images: Images, tmp_path: Path) -> None:
    made = {name: making.image({name: b""}, architecture=name) for name in ("amd64", "arm64", "s390x")}
    listed = [
        {**each.descriptor, "platform": {"os": "linux", "architecture": name}} for name, each in made.items()
    ]
    record = {**made["amd64"].descriptor, "platform": {"os": "unknown", "architecture": "unknown"}}
    inner = making.index(*listed, record)
    blobs = {digest: raw for each in made.values() for digest, raw in each.blobs.items()}
    top = making.described(making.INDEX, inner, annotations={making.REF: "app:v1"})
    nested = making.oci(blobs | {digest_of(inner): inner}, making.index(top))
    for number, files in enumerate([nested, making.oci(blobs, making.index(*listed))]):
        place = making.folder(tmp_path / str(number), files)
        for platform, name in (("linux/arm64", "arm64"), ("s390x", "s390x")):
            [found] = load(images, place, platform=platform)
            assert found.digest == made[name].digest
        with pytest.raises(
            ImageNotFound, match="no image for linux/riscv64 in it, only for linux/amd64, linux/arm64"
        ):
            load(images, place, platform="linux/riscv64")
        if os.uname().machine == "x86_64":
            assert load(images, place)[0].digest == made["amd64"].digest


def test_one_image_for_another_machine(images: Images, tmp_path: Path) -> None:
    """It may be on its way to that machine; but it is not what was asked for by platform."""
    made = making.image({"x": b""}, architecture="mips64le")
    for name, files in (("a", making.named(made)), ("b", making.docker(made, "app:v1"))):
        path = making.written(tmp_path / name, making.tar(files))
        assert str(load(images, path)[0].platform) == "linux/mips64le"
        with pytest.raises(ImageNotFound, match="only for linux/mips64le"):
            load(images, path, platform="amd64")


def test_artifacts_beside_images_are_left_out(images: Images, tmp_path: Path) -> None:
    chart = making.image({"x": b""}, artifactType="application/vnd.chart")
    raw = making.text({
        "schemaVersion": 2, "config": making.described("application/vnd.signature", b"{}"), "layers": [],
    })  # fmt: skip
    blobs = MADE.blobs | chart.blobs | {digest_of(raw): raw, digest_of(b"{}"): b"{}"}
    top = making.index(
        MADE.annotated(ref="app:v1"),
        making.described(making.MANIFEST, raw, annotations={making.REF: "app:sig"}),
        {**chart.descriptor, "artifactType": "application/vnd.chart"},
        making.described("application/json", b"{}"),
    )
    place = making.folder(tmp_path / "layout", making.oci(blobs, top))
    assert [each.name for each in load(images, place)] == ["app:v1"]
    with pytest.raises(ImageError, match="is no image, but another artifact"):
        images.resolve(f"oci:{place}:app:sig")


def test_linked_layers(images: Images, tmp_path: Path) -> None:
    """Docker wrote a link where two images, or two steps of one, had the same layer."""
    made = making.image({"hello": b"hello"}, {"etc/motd": b"motd"}, {"hello": b"hello"})
    files = making.docker(made, "app:v1")
    first, last = [name for name in files if name.endswith("layer.tar")][:: len(made.layers) - 1]
    for kind, link in ((b"2", f"../{first}"), (b"1", first), (b"1", f"./{first}")):
        entries = [
            entry(last.encode(), kind, link=link.encode())
            if name == last
            else entry(name.encode(), b"0", content)
            for name, content in files.items()
        ]
        # Also before what it leads to.
        for order in (entries, entries[::-1]):
            [found] = load(images, making.written(tmp_path / "x.tar", b"".join(order) + END))
            assert len(found.layers) == 3


def test_long_names_and_what_else_tar_programs_write(images: Images, tmp_path: Path) -> None:
    long = "x" * 150
    files = making.docker(MADE, "app:v1")
    layer = next(name for name in files if name.endswith("layer.tar"))
    manifest = files["manifest.json"].replace(layer.encode(), f"{long}/layer.tar".encode())
    data = pax((b"comment", b"x"), kind=b"g")
    for name, content in {**files, "manifest.json": manifest}.items():
        told = f"{long}/layer.tar" if name == layer else name
        data += pax((b"path", told.encode()), (b"mtime", b"1.5")) + entry(b"short", b"0", content)
    assert load(images, making.written(tmp_path / "x.tar", data + END))[0].name == "app:v1"
    with tarfile.open(tmp_path / "y.tar", "w", format=tarfile.GNU_FORMAT) as made:
        for name, content in {**files, "manifest.json": manifest}.items():
            member = tarfile.TarInfo(f"{long}/layer.tar" if name == layer else name)
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
    assert load(images, tmp_path / "y.tar")[0].name == "app:v1"


@pytest.mark.parametrize("compress", [gzip.compress, lambda data: zstandard.ZstdCompressor().compress(data)])
def test_compressed_layers_in_what_docker_would_write(
    images: Images, tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    """As kaniko, ko and Bazel write them."""
    files = {
        name: compress(data) if name.endswith(".tar") else data
        for name, data in making.docker(MADE, "a:1").items()
    }
    [found] = load(images, making.written(tmp_path / "x.tar", making.tar(files)))
    check_tree(images, "a:1")
    assert found.stored is not None
    assert [each.media_type.rpartition("+")[2] for each in found.stored.manifest.layers] in (
        ["gzip"] * 2,
        ["zstd"] * 2,
    )


def test_an_image_without_a_name_or_layers(images: Images, tmp_path: Path) -> None:
    empty = making.image()
    for name, files in (
        ("a", making.oci(empty.blobs, making.index(empty.descriptor))),
        ("b", making.docker(empty)),
    ):
        [found] = load(images, making.written(tmp_path / name, making.tar(files)))
        assert found.name == found.digest
        assert found.layers == ()
        assert images.get(found.digest).id == digest_of(empty.config)


def test_what_the_store_has_is_not_read(images: Images, tmp_path: Path) -> None:
    place = making.folder(tmp_path / "layout", making.named(MADE))
    load(images, place)
    for digest, content in MADE.blobs.items():
        if content.startswith(b"\x1f\x8b"):
            (place / "blobs" / "sha256" / digest[7:]).unlink()
    told: list[Progress] = []
    assert load(images, place, progress=told.append)[0].digest == MADE.digest
    assert {each.step for each in told} == {"there"}


def test_a_name_moves_to_what_was_loaded_last(images: Images, tmp_path: Path) -> None:
    first = load(images, making.folder(tmp_path / "a", making.named(MADE)))[0]
    other = making.image({"other": b""})
    load(images, making.folder(tmp_path / "b", making.named(other)))
    assert images.get("app:v1").digest == other.digest
    assert images.get(first.digest).digest == MADE.digest


@pytest.mark.parametrize(
    "name", ["../../etc", "app@sha256:" + "0" * 64, "upper/CASE:x", "v1", "-", "x" * 5000, "a b:c"]
)
def test_names_that_name_nothing(images: Images, tmp_path: Path, name: str) -> None:
    [found] = load(images, making.folder(tmp_path / "a", making.named(MADE, name)))
    assert found.name == found.digest
    assert images.store.names() == {}


def test_a_digest_in_a_name_is_not_believed(images: Images, tmp_path: Path) -> None:
    lie = "docker.io/library/app:v1@sha256:" + "0" * 64
    [found] = load(images, making.folder(tmp_path / "a", making.named(MADE, lie)))
    assert found.name == "app:v1"
    assert list(images.store.names()) == ["docker.io/library/app:v1"]


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_from_a_pipe(images: Images, compress: Callable[[bytes], bytes]) -> None:
    """As ``docker save app | ...`` writes it."""
    for files in (making.named(MADE), making.docker(MADE, "app:v1")):
        script = "import sys; sys.stdout.buffer.write(bytes.fromhex(sys.stdin.read()))"
        with subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as program:
            assert program.stdin is not None
            assert program.stdout is not None
            program.stdin.write(compress(making.tar(files)).hex().encode())
            program.stdin.close()
            assert [each.name for each in images.load(program.stdout)] == ["app:v1"]
            assert not program.stdout.closed
    with pytest.raises(ImageError, match=r"^the archive: .*truncated"):
        images.load(io.BytesIO(compress(making.tar(making.named(MADE)))[:-1500]))
    with pytest.raises(InvalidArgument, match="open for reading bytes"):
        images.load(io.StringIO("text"))  # type: ignore[arg-type]


def test_from_what_has_nothing_yet(images: Images) -> None:
    reading, writing = os.pipe2(os.O_NONBLOCK)
    with (
        open(reading, "rb", buffering=0) as file,
        open(writing, "wb"),
        pytest.raises(KernelError, match="unavailable"),
    ):
        images.load(file)
