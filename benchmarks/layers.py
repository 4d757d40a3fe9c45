"""An image to be pulled: five layers of files of this machine's /usr, packed with gzip and with zstd.

The same machine always gives the same bytes.  They are kept in /var/tmp, below a name made from what they are
made of, and stay there: making them takes a minute.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator

import attrs

from benchmarks.benchmark import BenchmarkError
from pycontainer.image.config import ImageConfig
from pycontainer.image.descriptor import Descriptor
from pycontainer.image.document import Document
from pycontainer.image.manifest import Manifest, make_manifest
from pycontainer.image.platform import Platform

#: Of which directories each layer is, and how many bytes and entries it takes of them at most.
RECIPE = (
    (("/usr/bin", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"), 225_000_000, 2700),
    (("/usr/share",), 70_000_000, 6500),
    (("/usr/lib/python3", "/usr/lib/python3.11"), 75_000_000, 4300),
    (("/usr/lib/gcc", "/usr/include"), 80_000_000, 3300),
    (("/usr/lib/jvm", "/usr/lib/postgresql", "/usr/sbin"), 75_000_000, 1500),
)
#: What a shell needs, which the first layer has in any case.
NEEDED = (
    "/bin",
    "/lib",
    "/lib64",
    "/usr/bin/sh",
    "/usr/bin/dash",
    "/usr/bin/head",
    "/usr/lib*/ld-linux*",
    "/usr/lib/*-linux-gnu/ld-linux*",
    "/usr/lib/*-linux-gnu/libc.so.6",
)
_PLACE = "/var/tmp"  # kept between runs, and on a disk
_EDITION = 2
_CONFIG = "application/vnd.oci.image.config.v1+json"
#: By kind: the suffix of its media type, and the program that packs, as registries' images mostly are.
PACKERS = {"gzip": ["gzip", "-6", "-n", "-c"], "zstd": ["zstd", "-3", "-q", "-c"]}
#: How the fastest programs unpack it.
UNPACKERS = {"gzip": ["igzip", "-d", "-c"], "zstd": ["zstd", "-d", "-q", "-c"]}


@attrs.frozen(kw_only=True)
class Packed:
    """The image in one kind of compression: its manifest, its configuration, and where each blob lies."""

    kind: str
    manifest: Manifest
    document: Document
    files: dict[str, str]

    @property
    def size(self) -> int:
        """Of all layers as they are packed, in bytes."""
        return sum(layer.size for layer in self.manifest.layers)

    def layers(self) -> list[str]:
        """The files of the layers, lowest first."""
        return [self.files[layer.digest] for layer in self.manifest.layers]


@attrs.frozen(kw_only=True)
class Content:
    """What the layers have in them: bytes of the tars, and entries."""

    size: int
    entries: int


def make_images() -> tuple[dict[str, Packed], Content]:
    """The image by kind of compression; made when it is not there yet."""
    needed = [path for pattern in NEEDED for path in sorted(glob.glob(pattern))]
    chosen = [list(_chosen(*layer, needed if number == 0 else [])) for number, layer in enumerate(RECIPE)]
    place = f"{_PLACE}/pycontainer-bench-{os.geteuid()}-{_name(chosen)}"
    if not os.path.exists(f"{place}/sizes.json"):
        _make(place, chosen)
    with open(f"{place}/sizes.json", encoding="ascii") as file:
        told = json.load(file)
    content = Content(size=sum(told["sizes"]), entries=sum(len(layer) for layer in chosen))
    return {kind: _packed(place, kind, told["diff_ids"]) for kind in PACKERS}, content


def _chosen(
    directories: tuple[str, ...], size: int, entries: int, needed: list[str]
) -> Iterator[tuple[str, os.stat_result]]:
    """What is needed, then directories, links and files in the order of their paths, while there is room for each."""
    for path in needed:
        yield path, os.lstat(path)
    for path, status in _walk(directories):
        if entries == 0:
            return
        if path in needed:
            continue
        if stat.S_ISREG(status.st_mode):
            if status.st_size > size // 4 or not os.access(path, os.R_OK):
                continue
            size -= status.st_size
        entries -= 1
        yield path, status


def _walk(directories: tuple[str, ...]) -> Iterator[tuple[str, os.stat_result]]:
    for top in directories:
        if not os.path.isdir(top):
            continue
        for path, names, files in os.walk(top):
            names.sort()
            yield path, os.lstat(path)
            for name in sorted([*files, *(name for name in names if os.path.islink(f"{path}/{name}"))]):
                status = os.lstat(f"{path}/{name}")
                if stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
                    yield f"{path}/{name}", status


def _name(chosen: list[list[tuple[str, os.stat_result]]]) -> str:
    told = [
        [(path, status.st_mode, status.st_size, int(status.st_mtime)) for path, status in layer]
        for layer in chosen
    ]
    return hashlib.sha256(json.dumps([_EDITION, told]).encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _make(place: str, chosen: list[list[tuple[str, os.stat_result]]]) -> None:
    made = tempfile.mkdtemp(prefix="pycontainer-bench-", dir=_PLACE)
    try:
        sizes, diff_ids = [], []
        for number, layer in enumerate(chosen):
            path = f"{made}/{number}.tar"
            _write(path, layer)
            for kind, command in PACKERS.items():
                with open(path, "rb") as source, open(f"{made}/{number}.{kind}", "wb") as target:
                    subprocess.run(command, stdin=source, stdout=target, check=True)
            sizes.append(os.path.getsize(path))
            diff_ids.append(_digest(path))
            os.unlink(path)
        with open(f"{made}/sizes.json", "w", encoding="ascii") as file:
            json.dump({"sizes": sizes, "diff_ids": diff_ids}, file)
        os.rename(made, place)
    except FileNotFoundError as error:
        raise BenchmarkError(f"the layers cannot be made: {error}") from None
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _write(path: str, layer: list[tuple[str, os.stat_result]]) -> None:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.dereference = False
        for source, status in layer:
            tar.inodes.clear()  # no hard links: what else has the inode may be in no layer
            entry = tar.gettarinfo(source)
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mtime = int(status.st_mtime)
            if entry.isreg():
                with open(source, "rb") as file:
                    tar.addfile(entry, file)
            else:
                tar.addfile(entry)


def _packed(place: str, kind: str, diff_ids: list[str]) -> Packed:
    files, layers = {}, []
    for number in range(len(diff_ids)):
        path = f"{place}/{number}.{kind}"
        digest = _digest(path)
        files[digest] = path
        media_type = f"application/vnd.oci.image.layer.v1.tar+{kind}"
        layers.append(Descriptor(media_type=media_type, digest=digest, size=os.path.getsize(path)))
    document = Document.make(
        platform=Platform.host(), config=ImageConfig(cmd=("/usr/bin/true",)), diff_ids=diff_ids
    )
    path = f"{place}/{document.digest.partition(':')[2]}.json"
    with open(path, "wb") as file:
        file.write(document.raw)
    config = Descriptor(media_type=_CONFIG, digest=document.digest, size=len(document.raw))
    files[document.digest] = path
    return Packed(kind=kind, manifest=make_manifest(config, layers), document=document, files=files)


def _digest(path: str) -> str:
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            found.update(piece)
    return f"sha256:{found.hexdigest()}"
