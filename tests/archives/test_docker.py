"""Docker itself, a daemon of the test's own: it reads what we save, and we read what it builds and saves."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pycontainer as pc
from pycontainer.image.image import Image
from pycontainer.image.images import Images
from tests.support import imagery

pytestmark = [pytest.mark.needs("root", "dockerd", "busybox"), pytest.mark.slow]

#: Nothing is executed while it is built: so no network, no bridge, no rules are needed.
DOCKERFILE = """
FROM scratch
COPY bin /bin
COPY one /srv/one
COPY two /srv/deep/two
ENV GREETING=hello
WORKDIR /srv
CMD ["/bin/sh", "-c", "echo $GREETING; cat one deep/two"]
"""

Docker = Callable[..., str]


@pytest.fixture
def docker() -> Iterator[Docker]:
    """The client of a daemon in a mount and a network namespace of its own."""
    with tempfile.TemporaryDirectory(dir="/tmp") as home:  # a socket's path is short
        with daemon(Path(home)) as client:
            yield client


@contextlib.contextmanager
def daemon(home: Path) -> Iterator[Docker]:
    host = f"unix://{home}/socket"
    command = ["unshare", "--mount", "--net", "dockerd", "--host", host, "--pidfile", f"{home}/pid"]
    command += ["--data-root", f"{home}/data", "--exec-root", f"{home}/exec", "--storage-driver=vfs"]
    command += ["--bridge=none", "--iptables=false", "--ip6tables=false"]

    def client(*words: str | Path) -> str:
        environment = {**os.environ, "DOCKER_BUILDKIT": "0", "DOCKER_CONFIG": str(home)}
        done = subprocess.run(
            ["docker", "--host", host, *words], capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr + (home / "log").read_text()[-2000:]
        return done.stdout

    with open(home / "log", "w") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 120
        while not (home / "socket").exists():
            assert process.poll() is None, (home / "log").read_text()[-2000:]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield client
    finally:
        process.terminate()
        process.wait(60)


def test_what_docker_builds_and_saves_is_run(docker: Docker, tmp_path: Path) -> None:
    context = tmp_path / "context"
    (context / "bin").mkdir(parents=True)
    busybox = shutil.which("busybox")
    assert busybox is not None
    shutil.copy(busybox, context / "bin")
    for name in ("sh", "cat"):
        (context / "bin" / name).symlink_to("busybox")
    (context / "one").write_text("one\n")
    (context / "two").write_text("two\n")
    (context / "Dockerfile").write_text(DOCKERFILE)
    docker("build", "--quiet", "--tag", "team/app:v1", "--tag", "team/app:again", context)
    docker("save", "--output", tmp_path / "app.tar", "team/app:v1", "team/app:again")
    with pc.Engine(tmp_path / "engine") as engine:
        assert engine.run(f"docker-archive:{tmp_path}/app.tar:team/app:v1").stdout == b"hello\none\ntwo\n"
        taken = engine.images.load(tmp_path / "app.tar")
        assert len({each.digest for each in taken}) == 1
        for name in ("team/app:v1", "team/app:again"):
            assert engine.run(name).stdout == b"hello\none\ntwo\n"
        # The configuration is the same to the byte: its digest is what Docker calls the image's id.
        digest = docker("image", "inspect", "--format", "{{.Id}}", "team/app:v1").strip()
        assert engine.images.get("team/app:v1").stored.manifest.config.digest == digest


def test_docker_loads_what_was_saved(docker: Docker, images: Images, tmp_path: Path) -> None:
    change = imagery.tar(("etc", 0o755), ("etc/.wh.group", ""), ("srv/x", "x"))
    image = imagery.make_image(images, "team/app:v2", imagery.base(), change)
    image.save(tmp_path / "app.tar", format="docker")
    assert "team/app:v2" in docker("load", "--input", tmp_path / "app.tar")
    layers = docker("image", "inspect", "--format", "{{range .RootFS.Layers}}{{.}} {{end}}", "team/app:v2")
    assert [each.partition(":")[2] for each in layers.split()] == [
        Path(layer).parent.name for layer in image.layers
    ]
    # And gives it back as it was.
    docker("save", "--output", tmp_path / "back.tar", "team/app:v2")
    with pc.Engine(tmp_path / "engine") as engine:
        back: list[Image] = engine.images.load(tmp_path / "back.tar")
        assert [Path(layer).parent.name for layer in back[0].layers] == [
            Path(layer).parent.name for layer in image.layers
        ]
