"""Images of a few bytes for tests of the store, and what is on the disk of one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pycontainer
from pycontainer.image.digest import digest_of
from pycontainer.image.store import Store


def put(store: Store, name: str, *, layers: int = 2, shared: bytes = b"") -> str:
    """An image with a blob and a tree for each layer; ``shared`` makes one more blob and layer. Its digest."""
    blobs, trees = set(), set()
    for content in [f"{name} layer {number}".encode() for number in range(layers)] + [shared] * bool(shared):
        blobs.add(store.add_blob(content))
        diff_id = digest_of(b"tree of " + content)
        plant(store, diff_id)
        trees.add(diff_id)
    blobs.add(store.add_blob(f"{name} configuration".encode()))
    manifest = store.add_blob(f"{name} manifest".encode())
    store.note_image(manifest, blobs, trees, {("registry.example", name)})
    return manifest


def plant(store: Store, diff_id: str, *, settled: bool = True) -> str:
    """A small layer, unless it is there. Its path."""
    there = store.layer(diff_id)
    if there is not None:
        return there
    with store.new_layer(diff_id, settled=settled) as writer:
        fill(writer.fd, diff_id)
        return writer.commit(0)


def fill(tree: int, diff_id: str) -> None:
    """Make a small layer in this directory."""
    os.mkdir("etc", dir_fd=tree)
    for file in ("etc/a", "b"):
        fd = os.open(file, os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=tree)
        os.write(fd, diff_id.encode())
        os.close(fd)


def is_whole(path: str, diff_id: str) -> bool:
    """Whether a layer of :func:`plant` is all there."""
    return all(Path(path, file).read_text(encoding="utf-8") == diff_id for file in ("etc/a", "b"))


def files(root: Path) -> list[str]:
    """What a store has on the disk, but for its database and what is there in an empty one."""
    top = root / "images"
    found = [str(path.relative_to(top)) for path in top.rglob("*")]
    empty = {"blobs", "blobs/sha256", "layers", "ingest", "trash", "use", "leases", "pins", "reserve"}
    return sorted(name for name in found if name not in empty and not name.startswith("state.db"))


class Host(subprocess.Popen[str]):
    """A host process that is killed at the end of ``with``, if it has not ended."""

    def __exit__(self, *failure: Any) -> None:
        self.kill()
        super().__exit__(*failure)


def start(program: str, *words: object, before: tuple[str, ...] = ()) -> Host:
    """A host process of its own that runs this text, with its output to be read."""
    text = f"import os, sys, time\nfrom pycontainer.image.store import Store\n{program}"
    return Host(
        [*before, sys.executable, "-c", text, *map(str, words)],
        env=os.environ | {"PYTHONPATH": str(Path(pycontainer.__file__).parent.parent)},
        stdout=subprocess.PIPE,
        text=True,
    )
