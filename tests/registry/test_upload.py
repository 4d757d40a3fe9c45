"""Uploads to servers that break, want other chunks, forget, and lead elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from pycontainer.errors import ImageError, RegistryError
from pycontainer.image.digest import digest_of
from pycontainer.image.registry import Patience, Registry
from tests.registry.conftest import Blob
from tests.support.oddserver import Exchange, OddServer, odd_server

Maker = Callable[[int], Blob]


class UploadServer:
    """A registry's uploads as the specification has them, with faults on demand."""

    def __init__(self, server: OddServer) -> None:
        self.server = server
        self.got = b""
        self.stored: dict[str, bytes] = {}
        self.sessions = 0
        #: After so many bytes of a request the connection breaks, once each.
        self.breaks: list[int] = []
        self.least = 0
        self.forgets = False
        server.fallback = self.script

    def script(self, exchange: Exchange) -> None:
        path, _, query = exchange.path.partition("?")
        body: bytes = getattr(exchange, "body", b"")
        if exchange.command == "HEAD":
            digest = path.rpartition("/")[2]
            exchange.answer(200 if digest in self.stored else 404)
        elif exchange.command == "POST":
            self.got, self.sessions = b"", self.sessions + 1
            more = {"OCI_Chunk_Min_Length": str(self.least)} if self.least else {}
            exchange.answer(202, Location=f"/upload/{self.sessions}?state=a", **more)
        elif not path.startswith("/upload/"):
            exchange.answer(200, b"{}")
        elif exchange.command == "GET":
            if self.forgets:
                exchange.error(404, "BLOB_UPLOAD_UNKNOWN")
            else:
                exchange.answer(204, Location=f"{path}?state=b", Range=f"0-{max(0, len(self.got) - 1)}")
        elif self.breaks:
            self.got += body[: self.breaks.pop(0)]
            exchange.cut()
        elif exchange.command == "PATCH":
            start, _, end = exchange.headers["Content-Range"].partition("-")
            if int(start) != len(self.got) or int(end) - int(start) + 1 != len(body):
                exchange.error(416, "BLOB_UPLOAD_INVALID")
                return
            self.got += body
            exchange.answer(202, Location=f"{path}?state=c", Range=f"0-{len(self.got) - 1}")
        else:
            self.got += body
            digest = query.rpartition("digest=")[2]
            if digest_of(self.got) != digest:
                exchange.error(400, "DIGEST_INVALID")
                return
            self.stored[digest] = self.got
            exchange.answer(201)


@pytest.fixture
def uploads(odd: OddServer) -> UploadServer:
    return UploadServer(odd)


def push(server: UploadServer, blob: Blob, hasty: Patience, chunk: int | None = None) -> str:
    with Registry(server.server.host, patience=hasty) as registry:
        done = registry.push_blob("x", blob.descriptor, blob.open_at, chunk=chunk)
    assert server.stored == {blob.descriptor.digest: blob.content}
    return done


def test_in_one(uploads: UploadServer, blob_of: Maker, hasty: Patience) -> None:
    assert push(uploads, blob_of(300_000), hasty) == "uploaded"
    assert [seen.method for seen in uploads.server.requests if seen.path != "/v2/"] == ["HEAD", "POST", "PUT"]


def test_in_chunks_as_large_as_the_registry_wants(
    uploads: UploadServer, blob_of: Maker, hasty: Patience
) -> None:
    uploads.least = 100_000
    push(uploads, blob_of(250_000), hasty, chunk=1000)
    sizes = [len(seen.body) for seen in uploads.server.requests if seen.method == "PATCH"]
    assert sizes == [100_000, 100_000, 50_000]


@pytest.mark.parametrize("got", [0, 1, 100_000, 300_000])
@pytest.mark.parametrize("chunk", [None, 120_000])
def test_it_goes_on_after_what_arrived(
    uploads: UploadServer, blob_of: Maker, hasty: Patience, got: int, chunk: int | None
) -> None:
    blob = blob_of(300_000)
    uploads.breaks = [got]
    assert push(uploads, blob, hasty, chunk) == "uploaded"
    # Of one byte registries say what they say of none.
    assert uploads.sessions == (2 if got < 2 else 1)


def test_it_begins_anew_when_it_is_forgotten(uploads: UploadServer, blob_of: Maker, hasty: Patience) -> None:
    uploads.breaks, uploads.forgets = [100_000], True
    push(uploads, blob_of(300_000), hasty)
    assert uploads.sessions == 2


def test_it_ends_when_it_always_breaks(uploads: UploadServer, blob_of: Maker, hasty: Patience) -> None:
    uploads.breaks = [0] * 100
    with Registry(uploads.server.host, patience=hasty) as registry:
        with pytest.raises(RegistryError, match="tried 6 times"):
            registry.push_blob("x", blob_of(1000).descriptor, blob_of(1000).open_at)


def test_an_answer_that_got_lost_is_no_second_upload(odd: OddServer, blob_of: Maker, hasty: Patience) -> None:
    blob = blob_of(1000)
    server = UploadServer(odd)

    def lose(exchange: Exchange) -> None:
        server.stored[blob.descriptor.digest] = blob.content
        exchange.cut()

    odd.on("PUT", "/upload/1", lose)
    assert push(server, blob, hasty) == "uploaded"
    assert len(odd.paths("PUT")) == 1


def test_progress_is_told(uploads: UploadServer, blob_of: Maker) -> None:
    told: list[int] = []
    blob = blob_of(600_000)
    with Registry(uploads.server.host) as registry:
        registry.push_blob("x", blob.descriptor, blob.open_at, progress=told.append)
        assert told == sorted(told)
        assert told[-1] == 600_000
        assert len(told) > 2
        told.clear()
        registry.push_blob("x", blob.descriptor, blob.open_at, progress=told.append)
        assert told == [600_000]


def test_a_source_that_is_too_short_is_an_error(uploads: UploadServer, blob_of: Maker) -> None:
    blob = blob_of(1000)
    with Registry(uploads.server.host) as registry, pytest.raises(ImageError, match="ends after 999 of 1000"):
        registry.push_blob("x", blob.descriptor, Blob(blob.content[:-1]).open_at)
    assert uploads.stored == {}


def test_sources_are_closed_and_their_errors_passed_on(uploads: UploadServer, blob_of: Maker) -> None:
    blob = blob_of(1000)

    class Failing:
        closed = False

        def read(self, _count: int, /) -> bytes:
            raise OSError(5, "the disk")

        def close(self) -> None:
            self.closed = True

    source = Failing()
    with Registry(uploads.server.host) as registry, pytest.raises(OSError, match="the disk"):
        registry.push_blob("x", blob.descriptor, lambda _: source)
    assert source.closed
    assert uploads.server.paths("DELETE") == ["/upload/1?state=a"]


def test_no_location_is_an_error(odd: OddServer, blob_of: Maker) -> None:
    odd.on("POST", "/v2/x/blobs/uploads/", lambda exchange: exchange.answer(202))
    with Registry(odd.host) as registry, pytest.raises(RegistryError, match="does not say where to"):
        registry.push_blob("x", blob_of(10).descriptor, blob_of(10).open_at)


@pytest.mark.parametrize(
    "told", ["file:///etc/passwd", "ftp://127.0.0.1/", "http://a:b@127.0.0.1/", "http://[::1"]
)
def test_a_location_that_is_none_is_an_error(odd: OddServer, blob_of: Maker, told: str) -> None:
    odd.on("POST", "/v2/x/blobs/uploads/", lambda exchange: exchange.answer(202, Location=told))
    with Registry(odd.host) as registry, pytest.raises(RegistryError, match="names an address that is none"):
        registry.push_blob("x", blob_of(10).descriptor, blob_of(10).open_at)


def test_an_upload_elsewhere_gets_no_password(odd: OddServer, blob_of: Maker, hasty: Patience) -> None:
    blob = blob_of(1000)

    def script(exchange: Exchange) -> None:
        if exchange.headers.get("Authorization") is None:
            exchange.error(401, "UNAUTHORIZED", WWW_Authenticate='Basic realm="x"')
        elif exchange.command == "POST":
            exchange.answer(202, Location=f"{elsewhere.url}/upload/1")
        else:
            exchange.answer(404)

    odd.fallback = script
    with odd_server("127.0.0.2") as elsewhere:
        server = UploadServer(elsewhere)
        with Registry(odd.host, auth=("me", "secret"), patience=hasty) as registry:
            assert registry.push_blob("x", blob.descriptor, blob.open_at) == "uploaded"
        assert server.stored == {blob.descriptor.digest: blob.content}
        assert [seen.authorization for seen in elsewhere.requests] == [None]


def test_a_chunk_that_is_taken_in_part_is_followed_by_the_rest(odd: OddServer, blob_of: Maker) -> None:
    blob = blob_of(1000)
    server = UploadServer(odd)

    def part(exchange: Exchange) -> None:
        server.got += exchange.body[:300]  # type: ignore[attr-defined]
        exchange.answer(202, Location="/upload/1", Range=f"0-{len(server.got) - 1}")

    odd.on("PATCH", "/upload/1", part)
    with Registry(odd.host) as registry:
        assert registry.push_blob("x", blob.descriptor, blob.open_at, chunk=600) == "uploaded"
    assert server.stored == {blob.descriptor.digest: blob.content}


class TestManifests:
    KIND = "application/vnd.oci.image.manifest.v1+json"

    def test_a_manifest_is_pushed_again_after_a_break(self, odd: OddServer, hasty: Patience) -> None:
        answers: list[Callable[[Exchange], None]] = [
            lambda exchange: exchange.cut(),
            lambda exchange: exchange.answer(503),
            lambda exchange: exchange.answer(201),
        ]
        odd.on("PUT", "/v2/x/manifests/v1", lambda exchange: answers.pop(0)(exchange))
        with Registry(odd.host, patience=hasty) as registry:
            assert registry.push_manifest("x", "v1", b"{}", self.KIND) == digest_of(b"{}")
        assert [seen.body for seen in odd.requests if seen.method == "PUT"] == [b"{}"] * 3

    def test_another_digest_is_an_error(self, odd: OddServer) -> None:
        told = digest_of(b"something else")
        odd.on("PUT", "/v2/x/manifests/v1", lambda exchange: exchange.answer(201, Docker_Content_Digest=told))
        with Registry(odd.host) as registry, pytest.raises(ImageError, match="the registry says"):
            registry.push_manifest("x", "v1", b"{}", self.KIND)

    def test_a_subject_is_noted_under_its_tag(self, odd: OddServer, blob_of: Maker) -> None:
        stored: dict[str, bytes] = {}

        def script(exchange: Exchange) -> None:
            name = exchange.path.rpartition("/")[2]
            if exchange.command == "PUT":
                stored[name] = exchange.body  # type: ignore[attr-defined]
                exchange.answer(201)
            elif name in stored:
                exchange.answer(200, stored[name], Content_Type="application/vnd.oci.image.index.v1+json")
            else:
                exchange.answer(404)

        odd.fallback = script
        subject = blob_of(10).descriptor
        config = Blob(b"{}").descriptor.to_json()
        made = []
        with Registry(odd.host) as registry:
            assert registry.referrers("x", subject.digest).manifests == ()
            for kind in ("text/a", "text/b", "text/b"):
                raw = json.dumps({
                    "schemaVersion": 2,
                    "mediaType": self.KIND,
                    "artifactType": kind,
                    "config": config,
                    "layers": [],
                    "subject": subject.to_json(),
                }).encode()  # fmt: skip
                made.append(registry.push_manifest("x", digest_of(raw), raw, self.KIND))
            found = registry.referrers("x", subject.digest)
            assert [each.digest for each in found.manifests] == made[:2]
            assert [each.artifact_type for each in found.manifests] == ["text/a", "text/b"]
            chosen = registry.referrers("x", subject.digest, artifact_type="text/b")
            assert [each.digest for each in chosen.manifests] == made[1:2]

    def test_a_registry_that_keeps_referrers_is_left_to_it(self, odd: OddServer, blob_of: Maker) -> None:
        subject = blob_of(10).descriptor
        raw = json.dumps({
            "schemaVersion": 2,
            "mediaType": self.KIND,
            "config": Blob(b"{}").descriptor.to_json(),
            "layers": [],
            "subject": subject.to_json(),
        }).encode()  # fmt: skip
        index = {"schemaVersion": 2, "manifests": [Blob(raw).descriptor.to_json()]}
        odd.on("PUT", "/v2/x/manifests/v1", lambda exchange: exchange.answer(201, OCI_Subject=subject.digest))
        odd.on(
            "GET",
            f"/v2/x/referrers/{subject.digest}",
            lambda exchange: exchange.answer(200, json.dumps(index).encode()),
        )
        with Registry(odd.host) as registry:
            registry.push_manifest("x", "v1", raw, self.KIND)
            assert [each.digest for each in registry.referrers("x", subject.digest).manifests] == [
                digest_of(raw)
            ]
        assert len(odd.paths("PUT")) == 1
