"""Images and archives of them, made byte by byte, so that they can say what no honest program would write."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from pycontainer.image.digest import digest_of
from tests.support.tarball import END, entry

OCI = "application/vnd.oci.image"
MANIFEST, INDEX = f"{OCI}.manifest.v1+json", f"{OCI}.index.v1+json"
REF, NAME = "org.opencontainers.image.ref.name", "io.containerd.image.name"


def layer(files: Mapping[str, bytes]) -> bytes:
    """A layer, not compressed."""
    return b"".join(entry(name.encode(), b"0", data) for name, data in files.items()) + END


def text(value: object) -> bytes:
    return json.dumps(value).encode()


@attrs.frozen
class Made:
    """An image: its blobs by digest, and the descriptor of its manifest."""

    blobs: dict[str, bytes]
    descriptor: dict[str, Any]
    config: bytes
    layers: tuple[bytes, ...]

    @property
    def digest(self) -> str:
        return str(self.descriptor["digest"])

    def annotated(self, **notes: str) -> dict[str, Any]:
        keys = {"ref": REF, "name": NAME}
        return {**self.descriptor, "annotations": {keys.get(key, key): value for key, value in notes.items()}}


def described(media_type: str, raw: bytes, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(raw), "size": len(raw), **more}


def image(
    *layers: Mapping[str, bytes],
    packed: bool = True,
    architecture: str = "amd64",
    settings: Any = None,
    **more: Any,
) -> Made:
    """An image of these layers; ``more`` is put into the manifest."""
    plain = [layer(files) for files in layers]
    stored = [gzip.compress(each, mtime=0) if packed else each for each in plain]
    config = text({
        "architecture": architecture,
        "os": "linux",
        "config": settings or {"Cmd": ["/hello"]},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(each) for each in plain]},
    })  # fmt: skip
    manifest = text({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": described(f"{OCI}.config.v1+json", config),
        "layers": [described(f"{OCI}.layer.v1.tar{'+gzip' if packed else ''}", each) for each in stored],
        **more,
    })  # fmt: skip
    blobs = {digest_of(each): each for each in (*stored, config, manifest)}
    return Made(blobs, described(MANIFEST, manifest), config, tuple(plain))


def index(*manifests: dict[str, Any], **more: Any) -> bytes:
    return text({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(manifests), **more})


def oci(blobs: Mapping[str, bytes], top: bytes) -> dict[str, bytes]:
    """The files of a layout."""
    return {
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        "index.json": top,
        **{f"blobs/sha256/{digest[7:]}": content for digest, content in blobs.items()},
    }


def named(made: Made, name: str = "docker.io/library/app:v1") -> dict[str, bytes]:
    """The files of a layout with one image."""
    return oci(made.blobs, index(made.annotated(ref=name)))


def docker(made: Made, *tags: str) -> dict[str, bytes]:
    """The files of what docker save wrote before it wrote a layout."""
    ids = [f"{number:064x}" for number in range(1, len(made.layers) + 1)]
    config = f"{digest_of(made.config)[7:]}.json"
    files = {config: made.config}
    for each, content in zip(ids, made.layers, strict=True):
        files |= {f"{each}/VERSION": b"1.0", f"{each}/json": b"{}", f"{each}/layer.tar": content}
    told = [
        {"Config": config, "RepoTags": list(tags) or None, "Layers": [f"{each}/layer.tar" for each in ids]}
    ]
    repositories = {tag.split(":")[0]: {tag.split(":")[1]: ids[-1]} for tag in tags}
    return {**files, "manifest.json": text(told), "repositories": text(repositories)}


def tar(files: Mapping[str, bytes] | Sequence[tuple[str, bytes]]) -> bytes:
    items = files.items() if isinstance(files, Mapping) else files
    return b"".join(entry(name.encode(), b"0", data) for name, data in items) + END


def folder(place: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    return place


def written(place: Path, content: bytes) -> Path:
    place.write_bytes(content)
    return place
