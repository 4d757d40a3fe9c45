"""Against Debian's docker-registry: what a registry is for."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pycontainer.errors import ImageNotFound, InvalidArgument, RegistryDenied, RegistryError
from pycontainer.image.digest import digest_of
from pycontainer.image.registry import Credential, Patience, Registry
from tests.registry.conftest import Blob
from tests.support.registry import PASSWORD, USER, Authority, RealRegistry

pytestmark = pytest.mark.needs("registry")

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
Maker = Callable[[int], Blob]


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    with RealRegistry(directory=tmp_path_factory.mktemp("closed"), auth=True) as server:
        yield server


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[RealRegistry]:
    with RealRegistry(directory=tmp_path_factory.mktemp("secure"), tls=authority) as server:
        yield server


def push_image(registry: Registry, repository: str, *layers: Blob, tag: str = "v1", more: str = "") -> bytes:
    """Push an image of these layers; the bytes of its manifest."""
    config = Blob(b'{"os":"linux"}')
    for each in (config, *layers):
        registry.push_blob(repository, each.descriptor, each.open_at)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {**config.descriptor.to_json(), "mediaType": CONFIG},
        "layers": [each.descriptor.to_json() for each in layers],
        "annotations": {"more": more},
    }
    raw = json.dumps(manifest).encode()
    assert registry.push_manifest(repository, tag, raw, MANIFEST) == digest_of(raw)
    return raw


def fetch(registry: Registry, repository: str, blob: Blob, offset: int = 0, verify: bool = True) -> bytes:
    with registry.blob(repository, blob.descriptor, offset, verify=verify) as stream:
        return b"".join(iter(lambda: stream.read(100_000), b""))


def test_an_image_goes_there_and_comes_back(real: RealRegistry, blob_of: Maker) -> None:
    layers = [blob_of(3_000_000), blob_of(1), blob_of(0)]
    with Registry(real.host) as registry:
        raw = push_image(registry, "there/and/back", *layers)
        assert registry.manifest("there/and/back", "v1") == (raw, MANIFEST, digest_of(raw))
        assert registry.manifest("there/and/back", digest_of(raw)) == (raw, MANIFEST, digest_of(raw))
        assert [fetch(registry, "there/and/back", layer) for layer in layers] == [
            layer.content for layer in layers
        ]
        found = registry.resolve("there/and/back", "v1")
        assert (found.digest, found.size, found.media_type) == (digest_of(raw), len(raw), MANIFEST)


def test_a_blob_is_read_from_the_middle(real: RealRegistry, blob_of: Maker) -> None:
    blob = blob_of(1_000_000)
    with Registry(real.host) as registry:
        registry.push_blob("middle", blob.descriptor, blob.open_at)
        assert fetch(registry, "middle", blob, 999_990) == blob.content[999_990:]
        assert fetch(registry, "middle", blob, 1_000_000) == b""
        with pytest.raises(InvalidArgument, match="offset"):
            registry.blob("middle", blob.descriptor, 1_000_001)


def test_what_is_there_is_not_sent_again(real: RealRegistry, blob_of: Maker) -> None:
    blob = blob_of(200_001)
    told: list[int] = []
    with Registry(real.host) as registry:
        assert not registry.has_blob("again/one", blob.descriptor.digest)
        assert (
            registry.push_blob("again/one", blob.descriptor, blob.open_at, progress=told.append) == "uploaded"
        )
        assert told[-1] == 200_001
        assert registry.has_blob("again/one", blob.descriptor.digest)

        def never(offset: int) -> Blob:
            raise AssertionError("nothing is to be read")

        assert registry.push_blob("again/one", blob.descriptor, never) == "present"
        assert registry.push_blob("again/two", blob.descriptor, never, mount_from="again/one") == "mounted"
        assert fetch(registry, "again/two", blob) == blob.content


def test_a_mount_from_where_it_is_not_is_an_upload(real: RealRegistry, blob_of: Maker) -> None:
    blob = blob_of(200_002)
    with Registry(real.host) as registry:
        done = registry.push_blob("mount/to", blob.descriptor, blob.open_at, mount_from="mount/from")
        assert done == "uploaded"
        assert fetch(registry, "mount/to", blob) == blob.content


@pytest.mark.parametrize("chunk", [1, 99_999, 100_000, 1 << 20])
def test_a_blob_is_sent_in_chunks(real: RealRegistry, blob_of: Maker, chunk: int) -> None:
    blob = blob_of(3 if chunk == 1 else 300_000 + chunk % 7)
    with Registry(real.host) as registry:
        name = f"chunks/of-{chunk}"
        assert registry.push_blob(name, blob.descriptor, blob.open_at, chunk=chunk) == "uploaded"
        assert fetch(registry, name, blob) == blob.content


def test_a_blob_of_another_digest_is_refused(real: RealRegistry, blob_of: Maker) -> None:
    with Registry(real.host) as registry, pytest.raises(RegistryError, match="DIGEST_INVALID") as caught:
        registry.push_blob("wrong/digest", blob_of(1000).descriptor, Blob(b"x" * 1000).open_at)
    assert (caught.value.status, caught.value.code, caught.value.host) == (400, "DIGEST_INVALID", real.host)


def test_what_is_not_there_is_not_found(real: RealRegistry, blob_of: Maker) -> None:
    absent = blob_of(77)
    with Registry(real.host) as registry:
        with pytest.raises(ImageNotFound, match="no/such"):
            registry.manifest("no/such", "v1")
        with pytest.raises(ImageNotFound):
            registry.resolve("no/such", "v1")
        with pytest.raises(ImageNotFound):
            registry.tags("no/such")
        with pytest.raises(RegistryError, match="BLOB_UNKNOWN") as caught:
            registry.blob("no/such", absent.descriptor)
        assert caught.value.status == 404


def test_lists_have_several_pages(real: RealRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pycontainer.image.registry.listing._PAGE", 2)
    with Registry(real.host) as registry:
        for number in range(5):
            push_image(registry, f"lists/{number}", tag=f"t{number}")
            push_image(registry, "lists/0", tag=f"t{number}")
        assert registry.tags("lists/0") == [f"t{number}" for number in range(5)]
        assert {f"lists/{number}" for number in range(5)} <= set(registry.catalog())


def test_a_manifest_is_deleted_and_its_tags_with_it(real: RealRegistry) -> None:
    with Registry(real.host) as registry:
        raw = push_image(registry, "to/delete", tag="one", more="unlike any other")
        with pytest.raises(RegistryError, match="does not let this be deleted"):
            registry.delete("to/delete", "one")
        assert registry.tags("to/delete") == ["one"]
        registry.delete("to/delete", digest_of(raw))
        assert registry.tags("to/delete") == []
        with pytest.raises(ImageNotFound):
            registry.delete("to/delete", digest_of(raw))


def test_a_blob_is_deleted(real: RealRegistry, blob_of: Maker) -> None:
    blob = blob_of(31)
    with Registry(real.host) as registry:
        registry.push_blob("blob/delete", blob.descriptor, blob.open_at)
        registry.delete_blob("blob/delete", blob.descriptor.digest)
        assert not registry.has_blob("blob/delete", blob.descriptor.digest)


def test_many_threads_share_one_client(real: RealRegistry, blob_of: Maker) -> None:
    blobs = [blob_of(100_000 + number) for number in range(24)]
    with Registry(real.host) as registry, ThreadPoolExecutor(8) as pool:
        done = list(
            pool.map(lambda blob: registry.push_blob("threads", blob.descriptor, blob.open_at), blobs)
        )
        assert done == ["uploaded"] * 24
        assert list(pool.map(lambda blob: fetch(registry, "threads", blob), blobs)) == [
            blob.content for blob in blobs
        ]


class TestKilled:
    """The registry is killed with bytes on their way, and started again."""

    def test_a_download_goes_on(self, tmp_path: Path, blob_of: Maker) -> None:
        blob = blob_of(40 << 20)
        with RealRegistry(directory=tmp_path / "registry") as server:
            with Registry(server.host) as registry:
                registry.push_blob("killed", blob.descriptor, blob.open_at)
                with registry.blob("killed", blob.descriptor) as stream:
                    parts = [stream.read(1000)]
                    server.kill()
                    restart = threading.Timer(0.3, server.start)
                    restart.start()
                    parts += iter(lambda: stream.read(1 << 18), b"")
                    restart.join()
            assert b"".join(parts) == blob.content
            assert server.log.count(" 206 ") == 1

    def test_an_upload_goes_on_between_chunks(self, tmp_path: Path, blob_of: Maker) -> None:
        blob = blob_of(4 << 20)
        with RealRegistry(directory=tmp_path / "registry") as server:
            offsets: list[int] = []

            def open_at(offset: int) -> object:
                offsets.append(offset)
                if offsets == [0, 1 << 20]:
                    server.kill()
                    server.start()
                return blob.open_at(offset)

            with Registry(server.host) as registry:
                registry.push_blob("killed", blob.descriptor, open_at, chunk=1 << 20)  # type: ignore[arg-type]
                assert fetch(registry, "killed", blob) == blob.content
        assert offsets == [0, 1 << 20, 1 << 20, 2 << 20, 3 << 20]

    def test_an_upload_is_made_anew_where_it_cannot_go_on(self, tmp_path: Path, blob_of: Maker) -> None:
        blob = blob_of(30 << 20)
        with RealRegistry(directory=tmp_path / "registry") as server:
            killed = []

            def progress(count: int) -> None:
                if count > 10 << 20 and not killed:
                    killed.append(count)
                    server.kill()
                    server.start()

            with Registry(server.host) as registry:
                assert (
                    registry.push_blob("killed", blob.descriptor, blob.open_at, progress=progress)
                    == "uploaded"
                )
                assert fetch(registry, "killed", blob) == blob.content
        assert killed

    def test_one_that_stays_away_is_an_error(self, tmp_path: Path, blob_of: Maker, hasty: Patience) -> None:
        blob = blob_of(40 << 20)
        with RealRegistry(directory=tmp_path / "registry") as server:
            with Registry(server.host, patience=hasty) as registry:
                registry.push_blob("killed", blob.descriptor, blob.open_at)
                with registry.blob("killed", blob.descriptor) as stream:
                    stream.read(1000)
                    server.kill()
                    with pytest.raises(RegistryError, match=r"Connection refused.*tried 6 times"):
                        list(iter(lambda: stream.read(1 << 18), b""))


class TestBasic:
    @pytest.mark.parametrize("auth", [(USER, PASSWORD), Credential(user=USER, password=PASSWORD)])
    def test_who_is_known_is_let_in(self, closed: RealRegistry, blob_of: Maker, auth: object) -> None:
        blob = blob_of(50_000)
        with Registry(closed.host, auth=auth) as registry:  # type: ignore[arg-type]
            raw = push_image(registry, "closed/one", blob)
            assert registry.manifest("closed/one", "v1")[0] == raw
            assert fetch(registry, "closed/one", blob) == blob.content

    def test_a_callable_is_asked_for_this_host(self, closed: RealRegistry) -> None:
        asked = []

        def who(host: str) -> tuple[str, str]:
            asked.append(host)
            return USER, PASSWORD

        with Registry(closed.host, auth=who) as registry:
            registry.catalog()
            registry.catalog()
        assert asked == [closed.host]

    @pytest.mark.parametrize("auth", [None, (USER, "wrong"), ("somebody", PASSWORD)])
    def test_others_are_denied(self, closed: RealRegistry, auth: tuple[str, str] | None) -> None:
        with Registry(closed.host, auth=auth) as registry, pytest.raises(RegistryDenied) as caught:
            registry.manifest("closed/one", "v1")
        assert (caught.value.status, caught.value.code) == (401, "UNAUTHORIZED")
        assert "wrong" not in str(caught.value)

    def test_a_configuration_file_says_who(self, closed: RealRegistry, tmp_path: Path) -> None:
        place = tmp_path / "home/.docker"
        place.mkdir()
        (place / "config.json").write_text(
            json.dumps({"auths": {closed.host: {"username": USER, "password": PASSWORD}}})
        )
        with Registry(closed.host) as registry:
            registry.catalog()


class TestTls:
    def test_with_its_authority(self, secure: RealRegistry, authority: Authority, blob_of: Maker) -> None:
        blob = blob_of(2_000_000)
        with Registry(secure.host, ca=authority.certificate) as registry:
            raw = push_image(registry, "secure", blob)
            assert registry.manifest("secure", "v1")[0] == raw
            assert fetch(registry, "secure", blob) == blob.content

    def test_without_it_nobody_is_believed(self, secure: RealRegistry) -> None:
        with Registry(secure.host) as registry, pytest.raises(RegistryError, match="not to be trusted"):
            registry.catalog()

    def test_insecure_believes_everybody(self, secure: RealRegistry) -> None:
        with Registry(secure.host, insecure=True) as registry:
            registry.catalog()

    def test_authorities_of_docker_are_ours(
        self, secure: RealRegistry, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = tmp_path / "certs.d" / secure.host
        place.mkdir(parents=True)
        (place / "ca.crt").write_bytes(authority.certificate.read_bytes())
        monkeypatch.setattr("pycontainer.image.registry.certificates.DIRECTORY", str(tmp_path / "certs.d"))
        with Registry(secure.host) as registry:
            registry.catalog()

    def test_a_missing_authority_is_a_wrong_argument(self, secure: RealRegistry) -> None:
        with Registry(secure.host, ca="/no/such.pem") as registry:
            with pytest.raises(InvalidArgument, match=re.escape("ca='/no/such.pem'")):
                registry.catalog()

    def test_a_client_shows_its_certificate(
        self, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hasty: Patience
    ) -> None:
        pair = str(authority.directory / "client.pem"), str(authority.directory / "client.key")
        with RealRegistry(directory=tmp_path / "registry", tls=authority, clients=True) as server:
            with Registry(server.host, ca=authority.certificate, certificate=pair) as registry:
                registry.catalog()
            with Registry(server.host, ca=authority.certificate, patience=hasty) as registry:
                with pytest.raises(RegistryError):
                    registry.catalog()
            place = tmp_path / "certs.d" / server.host
            place.mkdir(parents=True)
            (place / "ca.crt").write_bytes(authority.certificate.read_bytes())
            (place / "me.cert").write_bytes(Path(pair[0]).read_bytes())
            (place / "me.key").write_bytes(Path(pair[1]).read_bytes())
            monkeypatch.setattr(
                "pycontainer.image.registry.certificates.DIRECTORY", str(tmp_path / "certs.d")
            )
            with Registry(server.host) as registry:
                registry.catalog()


def test_without_urllib3_the_way_out_is_told() -> None:
    program = (
        "import sys; sys.modules['urllib3'] = None\n"
        "from pycontainer.image.registry import Registry\n"
        "from pycontainer.errors import NotSupported\n"
        "try: Registry('localhost:1').catalog()\n"
        "except NotSupported as error: print(error.fix)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "pip install 'pycontainer-linux[images]'\n"


def test_the_library_is_loaded_at_the_first_request_alone() -> None:
    program = (
        "import sys; from pycontainer.image.registry import Registry; Registry('localhost:1')\n"
        "print([name for name in ('urllib3', 'ssl', 'http.client') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
