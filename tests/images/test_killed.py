"""Two processes that pull, commit and remove in one store, killed at random moments."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

import pycontainer as pc
from tests.support import imagery
from tests.support.registry import RealRegistry

TOP = Path(__file__).parents[2]

pytestmark = pytest.mark.needs("registry")


def room(path: Path) -> int:
    """What a directory takes on disk, in bytes."""
    return sum(
        os.lstat(os.path.join(folder, name)).st_blocks * 512
        for folder, _, names in os.walk(path)
        for name in names
    )


@pytest.mark.parametrize("rounds", [5, pytest.param(200, marks=pytest.mark.exhaustive)])
def test_nothing_is_half_there(engine, base, tmp_path, rounds):
    big = imagery.tar(*((f"srv/{number}", os.urandom(20_000)) for number in range(300)))
    root = tmp_path / "shared"
    with RealRegistry(directory=tmp_path / "registry") as registry:
        name = f"{registry.host}/team/app:v1"
        digest = imagery.make_image(engine.images, name, base, big).push()
        for _ in range(rounds):
            workers = [
                subprocess.Popen(
                    [sys.executable, "-m", "tests.support.pulling", str(root), name, str(random.randrange(1 << 30))],
                    cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                )
                for _ in range(2)
            ]  # fmt: skip
            time.sleep(0.5 + random.random())
            said = []
            for worker in workers:
                worker.kill()
                out, errors = worker.communicate()
                assert not errors, errors
                said.append(out.split("\n"))
            with pc.Engine(root) as after:
                assert after.images.verify().clean
                if not any("removing" in line for lines in said for line in lines) and any(
                    line == f"pulled {name} {digest}" for lines in said for line in lines
                ):
                    assert after.images.get(name).digest == digest
                for image in after.images.list():
                    assert after.run(image, ["true"]).exit_code == 0
        with pc.Engine(root) as after:
            after.images.pull(name)
            assert after.run(name, ["cat", "/srv/299"]).exit_code == 0
            after.images.prune(all=True)
            after.images.close()
            # What is left is the database, and the room that is kept for removing.
            assert room(root / "images") < 4 << 20
            assert os.listdir(root / "images/layers") == os.listdir(root / "images/blobs/sha256") == []
