"""A full disk: a clear error, nothing lost, and removing makes room."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import errno, os, sys
from pycontainer.errors import KernelError
from pycontainer.image.digest import digest_of
from pycontainer.image.store import Report, Store
from tests.support import stores

from pathlib import Path
root = Path(sys.argv[1])
store = Store(root)
kept = stores.put(store, "kept")
store.tag("kept", kept)
content = os.urandom(1 << 20)

def refused(action):
    try:
        action()
    except KernelError as error:
        assert error.errno == errno.ENOSPC, error
        assert str(error).count(":") >= 1 and len(str(error)) > 20, error
        return
    raise AssertionError("it was not refused")

def check():
    assert store.verify() == Report(), store.verify()
    assert store.names() == {"kept": kept}, store.names()
    assert [name for name in stores.files(root) if name.startswith(("ingest", "trash"))] == [], stores.files(root)

def fill_by_blobs():
    with store.lease():
        for number in range(100):
            store.add_blob(content + bytes([number]))

def one_blob():
    digest = digest_of(content * 30)
    with store.ingest(digest) as writer:
        for _ in range(30): writer.write(content)
        writer.commit()

def one_layer():
    with store.new_layer(digest_of(b"a layer")) as writer:
        for number in range(100):
            fd = os.open(str(number), os.O_WRONLY | os.O_CREAT, dir_fd=writer.fd)
            try:
                try: os.write(fd, content) == len(content) or os.write(fd, content)
                except OSError as error: raise KernelError(error.errno, "write into the layer") from error
            finally: os.close(fd)
        writer.commit(0)

# What did not fit is gone, and what did fit is whole.
refused(one_blob); check()
refused(one_layer); check()
refused(fill_by_blobs); check()
store.collect(); check()

# Now to the last byte, and with names until the database cannot grow.
ballast = os.open(root / "ballast", os.O_WRONLY | os.O_CREAT)
for size in (1 << 20, 1 << 12, 1):
    try:
        while True: os.write(ballast, bytes(size))
    except OSError: pass
tagged = []
def fill_by_names():
    for number in range(10_000):
        store.tag(f"name-{number}-" + "x" * 2000, kept)
        tagged.append(number)
refused(fill_by_names)
assert len(store.names()) == 1 + len(tagged), "what was acknowledged is there, and nothing else"
refused(lambda: store.add_blob(content))
assert store.verify() == Report()

# Removing works all the same.
removed = store.remove(kept)
assert len(removed.blobs) == 4 and len(removed.layers) == 2, removed
store.collect()
assert stores.files(root) == [] and store.names() == {}
os.unlink(root / "ballast")
os.close(ballast)
again = stores.put(store, "again")
store.tag("again", again)
assert store.verify() == Report()
store.sweep()
assert os.path.exists(root / "images/reserve")
store.close()
print("end")
"""


@pytest.mark.needs("userns")
@pytest.mark.parametrize("size", ["16m", "9m"])
def test_a_full_file_system(tmp_path, size):
    """A small tmpfs in a mount namespace of the test's own."""
    script = 'mount -t tmpfs -o size="$1",mode=700 none "$2" && shift 2 && exec "$@"'
    words = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-ec",
        script,
        "sh",
        size,
        str(tmp_path),
    ]
    answer = subprocess.run(
        [*words, sys.executable, "-c", PROGRAM, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.stdout == "end\n", answer.stderr
