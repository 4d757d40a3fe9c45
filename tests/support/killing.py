"""Host processes that use one store until they are killed, and what must be true of it afterwards.

A program: ``killing.py ROOT ROUNDS SEED``.  Each round two forked children pull, remove, collect and verify as fast
as they can, telling through a pipe what they begin and what they have done, and are killed at a random moment.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

from pycontainer.errors import PyContainerError
from pycontainer.image.digest import digest_of
from pycontainer.image.store import Store
from tests.support import stores

#: Content that images of both have in common: of several writes each.
SHARED = [bytes([number]) * (50_000 + 70_000 * number) for number in range(6)]


def pull(store: Store, name: str, parts: list[int]) -> str:
    """Put an image of some of the shared contents into the store and give it a name. Its digest."""
    with store.lease():
        blobs, diff_ids = set(), set()
        for number in parts:
            content = SHARED[number]
            digest = digest_of(content)
            if not store.has_blob(digest):
                with store.ingest(digest, len(content)) as writer:
                    for start in range(writer.offset, len(content), 30_000):
                        writer.write(content[start : start + 30_000])
                    writer.commit()
            diff_id = digest_of(b"tree %d" % number)
            stores.plant(store, diff_id, settled=number % 2 == 0)
            blobs.add(digest)
            diff_ids.add(diff_id)
        manifest = store.add_blob(f"{name} {parts}".encode())
        store.note_image(manifest, blobs, diff_ids)
        store.tag(name, manifest)
    return manifest


def build(store: Store, name: str, number: int) -> str:
    """Put an image of new content into the store as a commit does, everything together. Its digest."""
    parts = [f"{name} {part} {number}".encode() for part in ("configuration", "manifest")]
    diff_id = digest_of(b"tree of " + parts[0])
    with store.lease(), store.ingest() as layer, store.new_layer(settled=False) as tree:
        layer.write(b"layer of " + parts[0])
        stores.fill(tree.fd, diff_id)
        tree.commit(100, diff_id=diff_id)
        config, manifest, packed = store.add_blobs(parts, [layer])
        store.note_image(manifest, {config, packed}, {diff_id}, name=name)
    return manifest


def work(root: Path, who: str, seed: int, tell: int) -> None:
    """Use the store for ever; each line is "begin NAME DIGEST" or "done NAME DIGEST", "-" for no digest."""
    chance = random.Random(seed)
    store = Store(root)
    while True:
        name = f"{who}-{chance.randrange(4)}"
        what = chance.choice(["pull", "build", "remove", "collect", "verify", "untag"])
        if what == "pull":
            parts = sorted(chance.sample(range(len(SHARED)), 3))
            digest = digest_of(f"{name} {parts}".encode())
            os.write(tell, f"begin {name} {digest}\n".encode())
            pull(store, name, parts)
            os.write(tell, f"done {name} {digest}\n".encode())
        elif what == "build":
            number = chance.randrange(3)
            digest = digest_of(f"{name} manifest {number}".encode())
            os.write(tell, f"begin {name} {digest}\n".encode())
            build(store, name, number)
            os.write(tell, f"done {name} {digest}\n".encode())
        elif what == "collect":
            store.collect(unnamed=chance.random() < 0.5)
        elif what == "verify":
            report = store.verify()
            if not report.clean:
                os.write(tell, f"wrong {report}\n".encode())
        else:
            there = store.resolve(name)
            if there is not None:
                os.write(tell, f"begin {name} -\n".encode())
                if what == "remove":
                    store.remove(there)
                else:
                    store.untag(name)
                os.write(tell, f"done {name} -\n".encode())


def start(root: Path, who: str, seed: int) -> tuple[int, int]:
    """A child at work: its pid, and the end of its pipe."""
    heard, tell = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.close(heard)
            work(root, who, seed, tell)
        except PyContainerError as error:
            os.write(tell, f"wrong {error!r} {error}\n".encode())
        finally:
            os._exit(1)
    os.close(tell)
    return pid, heard


def check(root: Path, heard: list[str], known: dict[str, set[str]]) -> None:
    """Everything that was told as done is there; what had begun is done or not."""
    for line in heard:
        verb, _, rest = line.partition(" ")
        if verb not in {"begin", "done"}:
            raise AssertionError(line)
        name, digest = rest.split()
        known[name] = known.get(name, {"-"}) | {digest} if verb == "begin" else {digest}
    with Store(root) as store:
        report = store.verify()
        if not (report.clean and report == type(report)()):
            raise AssertionError(report)
        names = store.names()
        images = {image.digest: image for image in store.images()}
        for name, possible in known.items():
            found = names.get(name, "-")
            if found not in possible:
                raise AssertionError(f"{name} is {found}, and not one of {possible}")
            known[name] = {found}
            if found != "-":
                for diff_id in images[found].layers:
                    path = store.layer(diff_id)
                    if path is None or not stores.is_whole(path, diff_id):
                        raise AssertionError(f"{name} lacks the layer {diff_id}")


def main(root: Path, rounds: int, seed: int) -> None:
    """All rounds, and what is on the disk in the end."""
    chance = random.Random(seed)
    known: dict[str, set[str]] = {}
    done = 0
    for each in range(rounds):
        children = [start(root, who, chance.randrange(1 << 30)) for who in "ab"]
        time.sleep(chance.uniform(0.0, 0.12))
        for pid, _ in children:
            os.kill(pid, signal.SIGKILL)
            if chance.random() < 0.5:
                time.sleep(chance.uniform(0.0, 0.03))
        heard = []
        for pid, end in children:
            os.waitpid(pid, 0)
            with open(end, encoding="utf-8") as file:
                heard += file.read().splitlines()
        done += sum(line.startswith("done") for line in heard)
        try:
            check(root, heard, known)
        except AssertionError as error:
            raise AssertionError(f"round {each} of seed {seed}: {error}") from None
    with Store(root) as store:
        for image in store.images():
            store.remove(image.digest)
        store.collect()
        left = stores.files(root)
        if left or store.names():
            raise AssertionError(f"seed {seed}: {left} {store.names()}")
    sys.stdout.write(f"{done}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
