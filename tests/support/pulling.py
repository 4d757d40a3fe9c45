"""A host process that pulls, commits, removes and collects images until it is killed.

A program: ``pulling.py ROOT NAME SEED``.  It writes what it has done, a line each: "pulled NAME DIGEST", "removed NAME".
"""

from __future__ import annotations

import random
import sys

import pycontainer as pc


def main(root: str, name: str, seed: int) -> None:
    chance = random.Random(seed)
    engine = pc.Engine(root)
    own = f"local/of-{seed % 2}:v1"
    while True:
        what = chance.choice(["pull", "pull", "commit", "remove", "prune", "run"])
        try:
            if what == "pull":
                tell("pulled", name, engine.images.pull(name).digest)
            elif what == "commit":
                with engine.containers.create(
                    name, ["sh", "-c", f"head -c 100000 /dev/urandom > /srv/{seed}"]
                ) as made:
                    made.start()
                    made.wait(30)
                    tell("pulled", own, made.commit(own).digest)
            elif what == "run":
                engine.run(name, ["true"])
            elif what == "remove":
                for each in (own, name):
                    tell("removing", each)
                    engine.images.remove(each)
                    tell("removed", each)
            else:
                engine.images.prune()
        except (pc.ImageNotFound, pc.StateError):
            pass  # the other one has removed it, or has it


def tell(*words: str) -> None:
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
