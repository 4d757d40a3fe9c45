"""Connections that break, stall and lie, with bytes of blobs on their way."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from pycontainer.errors import ImageError, ImageNotFound, RateLimited, RegistryError, StateError
from pycontainer.image.registry import Patience, Registry, transport
from tests.registry.conftest import Blob
from tests.support.oddserver import Exchange, OddServer, odd_server

Maker = Callable[[int], Blob]
Script = Callable[[Exchange], None]


def path_of(blob: Blob) -> str:
    return f"/v2/x/blobs/{blob.descriptor.digest}"


def serve(server: OddServer, blob: Blob, *scripts: Script) -> None:
    """Answer the requests for a blob by one script after the other, and honestly from then on."""
    left = list(scripts)

    def script(exchange: Exchange) -> None:
        (left.pop(0) if left else honest(blob))(exchange)

    server.on("GET", path_of(blob), script)


def start_of(exchange: Exchange) -> int:
    told = exchange.headers.get("Range")
    return 0 if told is None else int(told.removeprefix("bytes=").partition("-")[0])


def honest(blob: Blob) -> Script:
    def script(exchange: Exchange) -> None:
        start, size = start_of(exchange), len(blob.content)
        if start == 0:
            exchange.answer(200, blob.content)
        else:
            exchange.answer(206, blob.content[start:], Content_Range=f"bytes {start}-{size - 1}/{size}")

    return script


def breaking(blob: Blob, count: int) -> Script:
    """So many bytes, then nothing more."""

    def script(exchange: Exchange) -> None:
        start, size = start_of(exchange), len(blob.content)
        exchange.send_response(206 if start else 200)
        exchange.send_header("Content-Length", str(size - start))
        if start:
            exchange.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        exchange.end_headers()
        exchange.wfile.write(blob.content[start : start + count])
        exchange.cut()

    return script


def stalling(blob: Blob, count: int) -> Script:
    def script(exchange: Exchange) -> None:
        exchange.send_response(200)
        exchange.send_header("Content-Length", str(len(blob.content)))
        exchange.end_headers()
        exchange.wfile.write(blob.content[:count])
        exchange.wfile.flush()
        exchange.owner.over.wait(20)
        exchange.close_connection = True

    return script


def fetch(registry: Registry, blob: Blob, offset: int = 0) -> bytes:
    with registry.blob("x", blob.descriptor, offset) as stream:
        return b"".join(iter(lambda: stream.read(70_000), b""))


def ranges(server: OddServer) -> list[str | None]:
    return [seen.headers.get("range") for seen in server.requests if "/blobs/" in seen.path]


def test_it_goes_on_where_it_broke(odd: OddServer, blob_of: Maker, hasty: Patience) -> None:
    blob = blob_of(500_000)
    serve(odd, blob, breaking(blob, 200_000), breaking(blob, 100_000), breaking(blob, 0))
    with Registry(odd.host, patience=hasty) as registry:
        assert fetch(registry, blob) == blob.content
    assert ranges(odd) == [None, "bytes=200000-", "bytes=300000-", "bytes=300000-"]


def test_a_server_that_knows_no_ranges_sends_all_again(
    odd: OddServer, blob_of: Maker, hasty: Patience
) -> None:
    blob = blob_of(500_000)
    again = lambda exchange: exchange.answer(200, blob.content)  # noqa: E731
    serve(odd, blob, breaking(blob, 200_000), again)
    with Registry(odd.host, patience=hasty) as registry:
        assert fetch(registry, blob) == blob.content
        serve(odd, blob, again)
        assert fetch(registry, blob, 499_999) == blob.content[-1:]


def test_part_of_a_range_is_followed_by_the_rest(odd: OddServer, blob_of: Maker, hasty: Patience) -> None:
    blob = blob_of(100_000)

    def part(exchange: Exchange) -> None:
        start = start_of(exchange)
        content = blob.content[start : start + 40_000]
        exchange.answer(206, content, Content_Range=f"bytes {start}-{start + len(content) - 1}/*")

    serve(odd, blob, *[part] * 3)
    with Registry(odd.host, patience=hasty) as registry:
        assert fetch(registry, blob, 1) == blob.content[1:]
    assert ranges(odd) == ["bytes=1-", "bytes=40001-", "bytes=80001-"]


def test_one_that_always_breaks_is_an_error(odd: OddServer, blob_of: Maker, hasty: Patience) -> None:
    blob = blob_of(500_000)
    serve(odd, blob, *[breaking(blob, 10)] * 100)
    with Registry(odd.host, patience=hasty) as registry:
        with pytest.raises(RegistryError, match="tried 6 times"):
            fetch(registry, blob)
    assert len(ranges(odd)) == 6


def test_progress_is_a_fresh_start(odd: OddServer, blob_of: Maker, hasty: Patience) -> None:
    blob = blob_of(12 << 20)
    serve(odd, blob, *[breaking(blob, 1_100_000)] * 10)
    with Registry(odd.host, patience=hasty) as registry:
        assert fetch(registry, blob) == blob.content


@pytest.mark.parametrize("count", [0, 1000])
def test_silence_is_timed_out(odd: OddServer, blob_of: Maker, hasty: Patience, count: int) -> None:
    blob = blob_of(300_000)
    serve(odd, blob, stalling(blob, count))
    with Registry(odd.host, patience=hasty, timeout=0.3) as registry:
        assert fetch(registry, blob) == blob.content


def test_silence_for_ever_is_an_error(odd: OddServer, blob_of: Maker) -> None:
    blob = blob_of(300_000)
    serve(odd, blob, *[stalling(blob, 5)] * 2)
    with Registry(odd.host, patience=Patience(attempts=2, first=0.01), timeout=0.2) as registry:
        with pytest.raises(RegistryError, match=r"time-out of 0.2 seconds is over.*tried 2 times"):
            fetch(registry, blob)


def test_dripping_is_silence(odd: OddServer, blob_of: Maker) -> None:
    blob = blob_of(300_000)

    def dripping(exchange: Exchange) -> None:
        exchange.send_response(200)
        exchange.send_header("Content-Length", str(len(blob.content)))
        exchange.end_headers()
        for byte in blob.content[:1000]:
            exchange.wfile.write(bytes([byte]))
            exchange.wfile.flush()
            if exchange.owner.over.wait(0.15):
                break

    serve(odd, blob, dripping)
    with Registry(odd.host, patience=Patience(attempts=1), timeout=0.6) as registry:
        with pytest.raises(RegistryError, match=r"next to nothing"):
            fetch(registry, blob)


def test_headers_that_drip_are_silence(odd: OddServer) -> None:
    def dripping(exchange: Exchange) -> None:
        exchange.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not exchange.owner.over.wait(0.15):
            exchange.wfile.write(b"X")
            exchange.wfile.flush()

    odd.on("GET", "/v2/x/manifests/v1", dripping)
    with Registry(odd.host, patience=Patience(attempts=1), timeout=0.6) as registry:
        with pytest.raises(RegistryError, match=r"next to nothing"):
            registry.manifest("x", "v1")


class TestLies:
    """The blob is not what the manifest says."""

    @pytest.mark.parametrize("difference", [-1, 1, 1_000_000])
    def test_another_size_announced(self, odd: OddServer, blob_of: Maker, difference: int) -> None:
        blob = blob_of(10_000)
        serve(odd, blob, lambda exchange: exchange.answer(200, b"x" * (10_000 + difference)))
        with Registry(odd.host) as registry, pytest.raises(ImageError, match="10000 bytes"):
            fetch(registry, blob)

    @pytest.mark.parametrize("chunked", [False, True])
    def test_more_than_announced_by_nobody(self, odd: OddServer, blob_of: Maker, chunked: bool) -> None:
        blob = blob_of(10_000)

        def endless(exchange: Exchange) -> None:
            exchange.send_response(200)
            if chunked:
                exchange.send_header("Transfer-Encoding", "chunked")
            exchange.send_header("Connection", "close")
            exchange.end_headers()
            exchange.close_connection = True
            part = blob.content
            while not exchange.owner.over.is_set():
                exchange.wfile.write(b"%x\r\n%s\r\n" % (len(part), part) if chunked else part)

        serve(odd, blob, endless)
        with Registry(odd.host) as registry, pytest.raises(ImageError, match="larger than the 10000 bytes"):
            fetch(registry, blob)

    def test_fewer_than_told_without_a_length(self, odd: OddServer, blob_of: Maker, hasty: Patience) -> None:
        blob = blob_of(10_000)

        def short(exchange: Exchange) -> None:
            exchange.send_response(200)
            exchange.send_header("Connection", "close")
            exchange.end_headers()
            exchange.wfile.write(blob.content[:9_000])
            exchange.close_connection = True

        serve(odd, blob, short)
        with Registry(odd.host, patience=hasty) as registry:
            assert fetch(registry, blob) == blob.content
        serve(odd, blob, *[short] * 10)
        odd.requests.clear()
        with Registry(odd.host, patience=hasty) as registry, pytest.raises(RegistryError):
            fetch(registry, blob)

    def test_another_digest(self, odd: OddServer, blob_of: Maker) -> None:
        blob = blob_of(10_000)
        serve(odd, blob, lambda exchange: exchange.answer(200, b"x" * 10_000))
        got = 0
        with Registry(odd.host) as registry, registry.blob("x", blob.descriptor) as stream:
            while got < 9_000:
                got += len(stream.read(1000))
            with pytest.raises(ImageError, match="came with the digest"):
                stream.read(1000)

    def test_unverified_is_for_those_who_verify_themselves(self, odd: OddServer, blob_of: Maker) -> None:
        blob = blob_of(100)
        serve(odd, blob, lambda exchange: exchange.answer(200, b"x" * 100))
        with Registry(odd.host) as registry, registry.blob("x", blob.descriptor, verify=False) as stream:
            assert stream.read(1000) == b"x" * 100

    @pytest.mark.parametrize(
        "told",
        ["bytes 0-9/10000", "bytes 6-9999/10000", "bytes 5-9999/10001", "bytes 5-10000/10001", "x", None],
    )
    def test_another_range(self, odd: OddServer, blob_of: Maker, told: str | None) -> None:
        blob = blob_of(10_000)
        headers = {} if told is None else {"Content_Range": told}
        serve(odd, blob, lambda exchange: exchange.answer(206, blob.content[5:], **headers))
        with Registry(odd.host) as registry, pytest.raises(RegistryError, match="from 5 to 9999"):
            fetch(registry, blob, 5)

    def test_an_encoding_that_nobody_asked_for(self, odd: OddServer, blob_of: Maker) -> None:
        blob = blob_of(100)
        serve(odd, blob, lambda exchange: exchange.answer(200, blob.content, Content_Encoding="gzip"))
        with Registry(odd.host) as registry, pytest.raises(RegistryError, match="gzip"):
            fetch(registry, blob)


class TestLater:
    """Answers that say to come later."""

    @pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
    def test_it_is_tried_again(self, odd: OddServer, blob_of: Maker, hasty: Patience, status: int) -> None:
        blob = blob_of(1000)
        serve(odd, blob, *[lambda exchange: exchange.answer(status)] * 5)
        with Registry(odd.host, patience=hasty) as registry:
            assert fetch(registry, blob) == blob.content

    @pytest.mark.parametrize("status", [400, 405, 501, 505])
    def test_others_are_final(self, odd: OddServer, blob_of: Maker, hasty: Patience, status: int) -> None:
        blob = blob_of(1000)
        serve(odd, blob, lambda exchange: exchange.answer(status))
        with Registry(odd.host, patience=hasty) as registry, pytest.raises(RegistryError) as caught:
            fetch(registry, blob)
        assert caught.value.status == status

    def test_a_limit_is_told_with_what_the_registry_says(self, odd: OddServer, hasty: Patience) -> None:
        odd.on(
            "GET",
            "/v2/x/manifests/v1",
            lambda exchange: exchange.error(
                429,
                "TOOMANYREQUESTS",
                "You have reached your pull rate limit.",
                RateLimit_Limit="100;w=21600",
                RateLimit_Remaining="0;w=21600",
            ),
        )
        with Registry(odd.host, patience=hasty) as registry, pytest.raises(RateLimited) as caught:
            registry.manifest("x", "v1")
        text = str(caught.value)
        for part in ("pull rate limit", "100;w=21600", "RateLimit-Remaining: 0", "tried 6 times"):
            assert part in text
        assert (caught.value.status, caught.value.code) == (429, "TOOMANYREQUESTS")

    def test_it_comes_back_when_it_is_told_to(self, odd: OddServer, monkeypatch: pytest.MonkeyPatch) -> None:
        waited: list[float] = []
        monkeypatch.setattr(threading.Event, "wait", _noting(waited))
        answers = [429, 200]

        def script(exchange: Exchange) -> None:
            exchange.answer(answers.pop(0), b"{}", Retry_After="7")

        odd.on("GET", "/v2/x/manifests/v1", script)
        with Registry(odd.host) as registry:
            registry.manifest("x", "v1")
        assert waited == [7.0]

    def test_too_long_is_not_waited_for(self, odd: OddServer) -> None:
        odd.on("GET", "/v2/x/manifests/v1", lambda exchange: exchange.answer(429, Retry_After="3600"))
        with Registry(odd.host) as registry, pytest.raises(RateLimited, match="Retry-After: 3600"):
            registry.manifest("x", "v1")
        assert len(odd.paths("GET")) == 1

    def test_closing_ends_the_waiting(self, odd: OddServer) -> None:
        asked = threading.Event()

        def script(exchange: Exchange) -> None:
            exchange.answer(503)
            asked.set()

        odd.on("GET", "/v2/x/manifests/v1", script)
        registry = Registry(odd.host, patience=Patience(first=60, longest=60))
        closer = threading.Thread(target=lambda: (asked.wait(20), registry.close()))
        closer.start()
        with pytest.raises(StateError, match="closed"):
            registry.manifest("x", "v1")
        closer.join()


def _noting(waited: list[float]) -> Callable[..., bool]:
    """``threading.Event.wait`` that does not wait where a client would."""
    real = threading.Event.wait

    def wait(self: threading.Event, timeout: float | None = None) -> bool:
        if timeout is not None and timeout >= 5:
            waited.append(timeout)
            return False
        return real(self, timeout)

    return wait


def test_closing_closes_all_connections(odd: OddServer, blob_of: Maker) -> None:
    before = set(os.listdir("/proc/self/fd"))
    blob = blob_of(10 << 20)
    serve(odd, blob)
    odd.on("GET", "/v2/x/manifests/v1", lambda exchange: exchange.answer(404))
    registry = Registry(odd.host)
    with pytest.raises(ImageNotFound):
        registry.manifest("x", "v1")
    stream = registry.blob("x", blob.descriptor)
    stream.read(1)
    registry.close()
    stream.close()
    # The server's ends are of this process, too, and closed soon after.
    deadline = time.monotonic() + 10
    while set(os.listdir("/proc/self/fd")) > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert set(os.listdir("/proc/self/fd")) <= before


class TestMirrors:
    def test_a_mirror_is_asked_first(self, odd: OddServer, blob_of: Maker) -> None:
        blob = blob_of(1000)
        with odd_server() as mirror:
            serve(mirror, blob)
            mirror.on("GET", "/v2/x/manifests/v1", lambda exchange: exchange.answer(200, b"{}"))
            with Registry(odd.host, mirrors=[mirror.host]) as registry:
                assert registry.manifest("x", "v1")[0] == b"{}"
                assert fetch(registry, blob) == blob.content
        assert odd.requests == []

    def test_a_mirror_stands_in_for_the_default_registry(self, blob_of: Maker) -> None:
        blob = blob_of(1000)
        with odd_server() as mirror, Registry("docker.io", mirrors=[mirror.host]) as registry:
            serve(mirror, blob)
            assert fetch(registry, blob) == blob.content
            assert registry.host == "docker.io"

    def test_without_a_mirror_it_goes_on(self, odd: OddServer, blob_of: Maker, hasty: Patience) -> None:
        blob = blob_of(100_000)
        with odd_server() as gone:
            pass
        with odd_server() as empty, odd_server() as breaks:
            serve(breaks, blob, *[breaking(blob, 50_000), *[breaking(blob, 0)] * 20])
            serve(odd, blob)
            odd.on("GET", "/v2/x/manifests/v1", lambda exchange: exchange.answer(200, b"{}"))
            mirrors = [gone.host, empty.host, breaks.host]
            with Registry(odd.host, mirrors=mirrors, patience=hasty) as registry:
                assert registry.manifest("x", "v1")[0] == b"{}"
                assert fetch(registry, blob) == blob.content
        assert ranges(odd) == ["bytes=50000-"]

    def test_a_mirror_that_is_gone_is_asked_once(
        self, odd: OddServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waited: list[float] = []
        monkeypatch.setattr(threading.Event, "wait", _noting(waited))
        odd.on("GET", "/v2/x/manifests/v1", lambda exchange: exchange.answer(200, b"{}"))
        with odd_server() as gone:
            port = gone.port
        connects: list[int] = []
        real = transport.create_connection

        def noting(address: tuple[str, int], *arguments: Any, **options: Any) -> socket.socket:
            connects.append(address[1])
            return real(address, *arguments, **options)

        monkeypatch.setattr(transport, "create_connection", noting)
        mirrors = [f"127.0.0.1:{port}"]
        with Registry(odd.host, mirrors=mirrors, patience=Patience(first=60, longest=60)) as registry:
            for _ in range(3):
                registry.manifest("x", "v1")
        assert connects.count(port) == 2, "once by http and once by https"
        assert waited == []

    def test_a_mirror_that_lies_is_left(self, odd: OddServer, blob_of: Maker) -> None:
        blob = blob_of(1000)
        with odd_server() as liar, Registry(odd.host, mirrors=[liar.host]) as registry:
            serve(liar, blob, lambda exchange: exchange.answer(200, b"x" * 999))
            serve(odd, blob)
            assert fetch(registry, blob) == blob.content

    def test_what_is_written_goes_to_the_registry_itself(self, odd: OddServer) -> None:
        odd.on("PUT", "/v2/x/manifests/v1", lambda exchange: exchange.answer(201))
        with odd_server() as mirror, Registry(odd.host, mirrors=[mirror.host]) as registry:
            registry.push_manifest("x", "v1", b"{}", "application/vnd.oci.image.manifest.v1+json")
            assert mirror.requests == []

    def test_the_password_is_not_for_the_mirror(self, odd: OddServer) -> None:
        with odd_server() as mirror:
            for server in (odd, mirror):
                server.fallback = lambda exchange: exchange.error(
                    401, "UNAUTHORIZED", WWW_Authenticate='Basic realm="x"'
                )
            with Registry(odd.host, auth=("me", "secret"), mirrors=[mirror.host]) as registry:
                with pytest.raises(RegistryError):
                    registry.manifest("x", "v1")
            assert [seen.authorization for seen in mirror.requests if seen.authorization] == []
        assert [seen.authorization for seen in odd.requests if seen.authorization] != []
