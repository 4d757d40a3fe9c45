"""A real distribution with Python and PostgreSQL: pushed, pulled, run, changed, committed, and all that again."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

import pycontainer as pc
from pycontainer.image.descriptor import Descriptor
from pycontainer.image.registry import Registry
from tests.support import distribution
from tests.support.registry import RealRegistry

pytestmark = [pytest.mark.slow, pytest.mark.needs("root", "debootstrap", "registry", "overlay")]

PROGRAM = "import sys, os, ssl, sqlite3, json; print(json.dumps([sys.version_info[:2], os.getuid(), os.getcwd(), os.environ['ENTERED']]))"
#: A server with a new database: sockets alone, for the container has no network.
SERVER = "initdb -D $PGDATA -E UTF8 --no-sync > /tmp/log && exec postgres -c listen_addresses= -k /tmp"
AGAIN = "exec postgres -c listen_addresses= -k /tmp"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry that has the image as ``base:latest``, brought there blob by blob."""
    place = distribution.layout()
    raw, told = distribution.manifest(place)
    with RealRegistry(directory=tmp_path_factory.mktemp("registry")) as server:
        with Registry(server.host, auth=lambda _host: None) as client:
            for each in (*told["layers"], told["config"]):
                found = Descriptor.from_json(each, "the layout")

                def open_at(offset: int, found: Descriptor = found) -> IO[bytes]:
                    file = distribution.blob(place, found.digest).open("rb")
                    file.seek(offset)
                    return file

                client.push_blob("base", found, open_at)
            client.push_manifest("base", "latest", raw, told["mediaType"])
        yield server.host


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[list[pc.Engine]]:
    made = [pc.Engine(tmp_path / name) for name in ("first", "second", "third")]
    yield made
    for each in made:
        each.close()


def tree(top: Path) -> dict[str, Any]:
    """All that a layer is: of every path its type, mode, owner, time, attributes and content."""
    found = {}
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        attributes = {
            name: os.getxattr(path, name, follow_symlinks=False)
            for name in os.listxattr(path, follow_symlinks=False)
        }
        is_whiteout = (
            stat.S_ISCHR(status.st_mode) and status.st_rdev == 0
        )  # these have the time of their making
        content: str | bytes = ""
        if path.is_symlink():
            content = os.readlink(path)
        elif stat.S_ISREG(status.st_mode):
            content = hashlib.sha256(path.read_bytes()).digest()
        found[str(path.relative_to(top))] = (
            status.st_mode,
            status.st_uid,
            status.st_gid,
            0 if is_whiteout else int(status.st_mtime),
            status.st_rdev,
            attributes,
            content,
        )
    return found


def assert_same(image: pc.Image, other: pc.Image) -> None:
    """The layers have the same in them."""
    assert len(image.layers) == len(other.layers)
    for own, its in zip(image.layers, other.layers, strict=True):
        left, right = tree(Path(own)), tree(Path(its))
        assert left.keys() == right.keys()
        assert [(path, left[path], right[path]) for path in left if left[path] != right[path]] == []


def query(container: pc.Container, text: str) -> str:
    """Ask the database, as soon as it answers."""
    script = (
        "for n in $(seq 300); do pg_isready -qh /tmp && break; sleep 0.2; done; exec psql -qAth /tmp postgres -c "
        '"$1"'
    )
    result = container.exec(["sh", "-c", script, "sh", text], text=True, user="postgres", timeout=120)
    assert result.exit_code == 0, (result, container.logs() if hasattr(container, "logs") else "")
    return result.stdout.strip()


def test_there_and_back(registry: str, engines: list[pc.Engine]) -> None:
    first, second, third = engines

    # Through two stores and two repositories.
    image = first.images.pull(f"{registry}/base")
    assert first.images.push(image, f"{registry}/copies/debian:12") == image.digest
    copy = second.images.pull(f"{registry}/copies/debian:12")
    assert copy.digest == image.digest
    assert copy.config == image.config
    assert_same(copy, image)

    # Its programs, as its configuration says.
    result = second.run(copy, ["python3", "-c", PROGRAM], text=True)
    assert (result.exit_code, result.stderr) == (0, "")
    postgres = int(second.run(copy, ["id", "-u", "postgres"], text=True).stdout)
    assert result.stdout.strip() == f'[[3, 11], {postgres}, "/var/lib/postgresql", "yes"]'
    assert second.run(copy, text=True).stdout == "no command\n"
    assert second.run(copy, ["dpkg", "--verify"], text=True, user="root").exit_code == 0

    # A database, which ends by the signal that the configuration names.
    with second.containers.create(copy, ["sh", "-c", SERVER]) as server:
        server.start()
        assert query(server, "select 1") == "1"
        query(server, "create table kept as select generate_series(1, 1000) as n")
        assert server.stop(timeout=60) == 0
        changed = server.commit(f"{registry}/changed:v1", message="with a database")
    assert len(changed.layers) == len(copy.layers) + 1
    assert second.images.push(changed) == changed.digest

    # In a third store, with what the second one wrote.
    pulled = third.images.pull(f"{registry}/changed:v1")
    assert pulled.digest == changed.digest
    assert pulled.config == changed.config
    assert_same(pulled, changed)
    assert pulled.history[-1].comment == "with a database"
    with third.containers.create(pulled, ["sh", "-c", AGAIN]) as server:
        server.start()
        assert query(server, "select count(*), sum(n) from kept") == "1000|500500"
        assert server.stop(timeout=60) == 0
