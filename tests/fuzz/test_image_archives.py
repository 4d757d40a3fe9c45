"""Archives of images: whatever they say, nothing outside is touched or read, and what is loaded is right."""

from __future__ import annotations

import copy
import gzip
import json
import os
import socket
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pycontainer.errors import PyContainerError
from pycontainer.image.archive import load
from pycontainer.image.digest import digest_of
from pycontainer.image.images import Images
from tests.archives import making
from tests.fuzz import archives, wild
from tests.fuzz.guard import guarded, holds_secret, scratch
from tests.support.tarball import END, entry

MADE = making.image({"hello": b"hello"}, {"etc/motd": b"motd"}, packed=False)
OTHER = making.image({"hello": b"hello"}, {"more": b""}, architecture="arm64")
TOP = making.index(
    {**MADE.annotated(ref="app:v1"), "platform": {"os": "linux", "architecture": "amd64"}},
    {
        **OTHER.annotated(name="docker.io/library/app:v1"),
        "platform": {"os": "linux", "architecture": "arm64"},
    },
)
LAYOUT = making.oci(MADE.blobs | OTHER.blobs, TOP)
SAVED = making.docker(MADE, "app:v1", "app:v2")
FORMS = [LAYOUT, SAVED, {**LAYOUT, **SAVED}]
TARS = [making.tar(files) for files in FORMS]
#: A store writes everything out to its disk; where there is none, that takes no time.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
#: What may be in the place of a file.
KINDS = st.sampled_from(
    ["nothing", "fifo", "directory", "socket", "link", "secret", "copy", "zeros", "kernel"]
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, bytes]:
    """Files with JSON documents changed in one place or two; mostly with the digests put right again."""
    files = dict(draw(st.sampled_from(FORMS)))
    for _ in range(draw(st.integers(1, 2))):
        names = [name for name, content in files.items() if content.startswith((b"{", b"["))]
        if not names:
            break
        name = draw(st.sampled_from(names))
        content = draw(st.one_of(st.just(changed(draw, files[name])), st.binary(max_size=20)))
        if name.startswith("blobs/") and draw(st.integers(0, 4)):
            # Whoever made it knows how to count.
            old, new = name.rpartition("/")[2], digest_of(content)[7:]
            size = len(files.pop(name))
            files[f"blobs/sha256/{new}"] = content
            files = {
                key: value.replace(old.encode(), new.encode()).replace(
                    b'"size": %d' % size, b'"size": %d' % len(content)
                )
                for key, value in files.items()
            }
        else:
            files[name] = content
    return files


def changed(draw: st.DrawFn, content: bytes) -> bytes:
    try:
        value = json.loads(content)
    except ValueError:
        return content
    places: list[tuple[Any, Any]] = []

    def walk(inner: Any) -> None:
        for key in inner if isinstance(inner, dict) else range(len(inner)) if isinstance(inner, list) else ():
            places.append((inner, key))
            walk(inner[key])

    walk(value)
    if places:
        container, key = draw(st.sampled_from(places))
        others = [each[1] for each in places] + [each[0][each[1]] for each in places]
        new = draw(st.one_of(st.sampled_from(others), JSON))
        if draw(st.booleans()) or not isinstance(container, dict):
            container[key] = copy.deepcopy(new)
        else:
            container[str(draw(wild.TEXT))] = container.pop(key)
    return json.dumps(value, default=str).encode(errors="replace")


JSON: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([None, True, -1, 0, 1, 2**63, 2**70, 1.5, "", "..", "/etc/passwd", [], {}, [[]], [{}]]),
    st.sampled_from(
        [digest_of(MADE.config), "sha256:" + "0" * 64, "sha256:../../etc", making.INDEX, making.MANIFEST]
    ),
    wild.TEXT,
    st.lists(wild.TEXT, max_size=2),
)


def tried(path: Path, store: Path) -> None:
    """Load it as often as there are ways to do it; what is loaded can be used."""
    images = Images(str(store))
    try:
        with guarded(PyContainerError):
            for image in load(images, path):
                assert images.get(image.digest).id == image.id
                assert all(os.path.isdir(layer) for layer in image.layers)
        transports = ("oci",) if path.is_dir() else ("oci-archive", "docker-archive")
        for transport in transports:
            with guarded(PyContainerError):
                images.resolve(f"{transport}:{path}:app:v1")
        if store.exists():
            report = images.store.verify()
            assert not report.damaged
            assert not report.missing
    finally:
        images.close()


def clean(store: Path) -> None:
    ingest = store / "images" / "ingest"
    assert not ingest.exists() or not [name for name in os.listdir(ingest) if name.startswith("tmp")]
    assert not store.exists() or not holds_secret(store)


@given(data=archives.damaged(TARS, sums=True))
def test_damaged_archives(data: bytes) -> None:
    with scratch(MEMORY) as (root, _):
        (root / "x").write_bytes(data)
        tried(root / "x", root / "store")
        clean(root / "store")


@given(data=archives.damaged([gzip.compress(each) for each in TARS], sums=False))
def test_damaged_compressed_archives(data: bytes) -> None:
    with scratch(MEMORY) as (root, _):
        (root / "x").write_bytes(data)
        tried(root / "x", root / "store")
        clean(root / "store")


@given(files=documents(), folder=st.booleans())
def test_documents_that_lie(files: dict[str, bytes], folder: bool) -> None:
    with scratch(MEMORY) as (root, _):
        if folder:
            making.folder(root / "x", files)
        else:
            (root / "x").write_bytes(making.tar(files))
        tried(root / "x", root / "store")
        clean(root / "store")


@given(
    files=st.sampled_from(FORMS),
    changes=st.dictionaries(st.integers(0, 20), KINDS, min_size=1, max_size=3),
    above=st.booleans(),
)
def test_other_things_than_files(files: dict[str, bytes], changes: dict[int, str], above: bool) -> None:
    with scratch(MEMORY) as (root, outside):
        place = making.folder(root / "x", files)
        names = [*sorted(files), "blobs", "blobs/sha256"] if above else sorted(files)
        for number, kind in changes.items():
            put(place / names[number % len(names)], kind, outside.place)
        tried(place, root / "store")
        outside.check()
        clean(root / "store")


def put(place: Path, kind: str, outside: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        place.rename(place.parent / "moved")
    elif os.path.lexists(place):
        place.unlink()
    elif not place.parent.is_dir():
        return
    links = {
        "link": place.parent / "moved",
        "secret": outside / "file",
        "zeros": Path("/dev/zero"),
        "kernel": Path("/proc/self/environ"),
    }
    if kind in links:
        place.symlink_to(links[kind])
    elif kind == "copy":
        place.write_bytes((outside / "file").read_bytes())
    elif kind == "fifo":
        os.mkfifo(place)
    elif kind == "directory":
        place.mkdir()
    elif kind == "socket":
        # By a short way: its address has room for 107 bytes.
        above = os.open(place.parent, os.O_PATH)
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{above}/{place.name[:60]}")
        os.rename(place.parent / place.name[:60], place)
        os.close(above)


LINKS = st.one_of(st.sampled_from([*SAVED, "../x", "..", ".", "", "/", "/etc/passwd", "@"]), wild.TEXT)


@given(
    order=st.permutations(sorted(SAVED)),
    links=st.dictionaries(
        st.sampled_from(sorted(SAVED)), st.tuples(st.sampled_from([b"1", b"2", b"5", b"6", b"0"]), LINKS)
    ),
    again=st.lists(st.sampled_from(sorted(SAVED)), max_size=2),
    prefix=st.sampled_from(["", "./", "/", "x/../", "../", "x/"]),
)
def test_links_and_names(
    order: list[str], links: dict[str, tuple[bytes, str]], again: list[str], prefix: str
) -> None:
    with scratch(MEMORY) as (root, outside):
        data = b""
        for name in [*order, *again]:
            kind, link = links.get(name, (b"0", ""))
            target = link.replace("@", str(outside.place / "file")).encode(errors="replace")[:100]
            data += entry(
                (prefix + name).encode()[:100], kind, SAVED[name] if kind == b"0" else b"", link=target
            )
        (root / "x").write_bytes(data + END)
        tried(root / "x", root / "store")
        outside.check()
        clean(root / "store")
