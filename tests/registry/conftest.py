"""Registries to ask: a real one for all tests, and a place without anybody's credentials."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from pycontainer.image.descriptor import Descriptor
from pycontainer.image.digest import digest_of
from pycontainer.image.registry import Patience
from tests.support.oddserver import OddServer
from tests.support.registry import Authority, RealRegistry

BINARY = "application/octet-stream"


@attrs.frozen
class Blob:
    """Some bytes, and what a manifest would say of them."""

    content: bytes

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(media_type=BINARY, digest=digest_of(self.content), size=len(self.content))

    def open_at(self, offset: int) -> io.BytesIO:
        return io.BytesIO(self.content[offset:])


@pytest.fixture
def blob_of() -> Callable[[int], Blob]:
    """Make a blob of a size, of bytes that look random and are the same each time."""

    def make(size: int) -> Blob:
        return Blob(hashlib.shake_128(size.to_bytes(8, "big")).digest(size))

    return make


@pytest.fixture
def hasty() -> Patience:
    """So many attempts as usual, without the waiting."""
    return Patience(first=0.01, longest=0.02, asked=1.5)


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials and proxies of whoever runs the tests."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("DOCKER_CONFIG", str(home / ".docker"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / "run"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    """One registry for everybody who does not stop it; repositories are named after tests."""
    with RealRegistry(directory=tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who certifies the tests' servers."""
    return Authority.make(
        tmp_path_factory.mktemp("authority"),
        "registry.example",
        "auth.example",
        "registry-1.docker.io",
        "auth.docker.io",
    )


@pytest.fixture
def odd() -> Iterator[OddServer]:
    """A server that the test scripts."""
    with OddServer() as server:
        yield server
