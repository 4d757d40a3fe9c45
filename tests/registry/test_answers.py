"""Answers that no honest registry gives: each is refused in bounds and words, and odd ones that are right are taken."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pycontainer.errors import ImageError, ImageNotFound, PyContainerError, RegistryError
from pycontainer.image.digest import digest_of
from pycontainer.image.registry import Patience, Registry
from tests.registry.conftest import Blob
from tests.support.oddserver import Exchange, OddServer, odd_server
from tests.support.registry import Authority

Maker = Callable[[int], Blob]
ONCE = Patience(attempts=1)


def _sending_to(address: str) -> Callable[[Exchange], None]:
    return lambda exchange: exchange.answer(302, Location=address)


class TestManifests:
    def test_a_digest_that_is_another_is_refused(self, odd: OddServer) -> None:
        asked = digest_of(b"asked for")
        odd.on("GET", f"/v2/x/manifests/{asked}", lambda exchange: exchange.answer(200, b"{}"))
        with Registry(odd.host) as registry, pytest.raises(ImageError, match="has the digest"):
            registry.manifest("x", asked)

    def test_a_digest_that_is_told_otherwise_is_refused(self, odd: OddServer) -> None:
        told = digest_of(b"told")
        odd.on(
            "GET",
            "/v2/x/manifests/v1",
            lambda exchange: exchange.answer(200, b"{}", Docker_Content_Digest=told),
        )
        with Registry(odd.host) as registry, pytest.raises(ImageError, match="the registry says"):
            registry.manifest("x", "v1")

    @pytest.mark.parametrize("told", ["sha512:abc", "nonsense", ""])
    def test_what_is_told_in_other_words_does_not_count(self, odd: OddServer, told: str) -> None:
        odd.on(
            "GET",
            "/v2/x/manifests/v1",
            lambda exchange: exchange.answer(200, b"{}", Docker_Content_Digest=told),
        )
        with Registry(odd.host) as registry:
            assert registry.manifest("x", "v1")[2] == digest_of(b"{}")

    @pytest.mark.parametrize("announced", [True, False])
    def test_one_without_end_is_refused(self, odd: OddServer, announced: bool) -> None:
        def endless(exchange: Exchange) -> None:
            exchange.send_response(200)
            if announced:
                exchange.send_header("Content-Length", str(1 << 40))
            exchange.end_headers()
            exchange.close_connection = True
            while not exchange.owner.over.is_set():
                exchange.wfile.write(b" " * 65536)

        odd.on("GET", "/v2/x/manifests/v1", endless)
        with Registry(odd.host) as registry, pytest.raises(RegistryError, match="more than 4194304 bytes"):
            registry.manifest("x", "v1")

    def test_one_of_4_mib_is_taken(self, odd: OddServer) -> None:
        raw = b" " * (4 << 20)
        odd.on("GET", "/v2/x/manifests/v1", lambda exchange: exchange.answer(200, raw))
        with Registry(odd.host) as registry:
            assert registry.manifest("x", "v1") == (raw, "", digest_of(raw))

    def test_one_that_breaks_is_got_again(self, odd: OddServer, hasty: Patience) -> None:
        broken = [True, True]

        def script(exchange: Exchange) -> None:
            exchange.send_response(200)
            exchange.send_header("Content-Length", "100")
            exchange.end_headers()
            exchange.wfile.write(b"x" * (50 if broken else 100))
            if broken:
                broken.pop()
                exchange.cut()

        odd.on("GET", "/v2/x/manifests/v1", script)
        with Registry(odd.host, patience=hasty) as registry:
            assert registry.manifest("x", "v1")[0] == b"x" * 100

    def test_a_registry_that_tells_nothing_of_a_tag_is_asked_for_all(self, odd: OddServer) -> None:
        odd.on("HEAD", "/v2/x/manifests/v1", lambda exchange: exchange.answer(200))
        kind = {"Content_Type": "application/vnd.oci.image.index.v1+json; charset=utf-8"}
        odd.on("GET", "/v2/x/manifests/v1", lambda exchange: exchange.answer(200, b"{}", **kind))
        with Registry(odd.host) as registry:
            found = registry.resolve("x", "v1")
        assert (found.digest, found.size) == (digest_of(b"{}"), 2)
        assert found.media_type == "application/vnd.oci.image.index.v1+json"

    @pytest.mark.parametrize("code", ["MANIFEST_UNKNOWN", "NAME_UNKNOWN", ""])
    def test_unknown_is_not_found(self, odd: OddServer, code: str) -> None:
        odd.on(
            "GET",
            "/v2/x/manifests/v1",
            lambda exchange: exchange.error(404, code) if code else exchange.answer(404, b"<html>"),
        )
        with Registry(odd.host) as registry, pytest.raises(ImageNotFound, match="v1 of x"):
            registry.manifest("x", "v1")


class TestRedirects:
    @pytest.fixture
    def elsewhere(self) -> Iterator[OddServer]:
        with OddServer("127.0.0.2") as server:
            server.on("GET", "/there", lambda exchange: exchange.answer(200, b"{}"))
            yield server

    def test_five_are_followed_and_no_more(self, odd: OddServer) -> None:
        def script(exchange: Exchange) -> None:
            left = int(exchange.path.rpartition("=")[2])
            if left:
                exchange.answer(307, Location=f"?n={left - 1}")
            else:
                exchange.answer(200, b"{}")

        odd.on("GET", "/hop", script)
        for count, passes in ((4, True), (5, False), (10_000_000, False)):
            odd.requests.clear()
            first = f"/hop?n={count}"
            odd.on("GET", "/v2/x/manifests/v1", _sending_to(first))
            with Registry(odd.host, patience=ONCE) as registry:
                if passes:
                    assert registry.manifest("x", "v1")[0] == b"{}"
                else:
                    with pytest.raises(RegistryError, match="more than 5 times"):
                        registry.manifest("x", "v1")
            assert len(odd.paths("GET")) == min(count + 2, 6)

    @pytest.mark.parametrize(
        "told",
        [
            "file:///etc/passwd", "ftp://127.0.0.1/x", "unix:///run/docker.sock", "data:text/plain,x", "javascript:x",
            "http://user@127.0.0.1/x", "http://127.0.0.1:99999/", "http://127.0.0.1:0/", "http:///x", "http://",
            "http://127.0.0.1\\@other/", "http://a b/", "http://127.0.0.1/\x7f", "http://[::1%25lo]/", "http://[x]/",
            "https:127.0.0.1", "x" * 60_000,
        ],
    )  # fmt: skip
    def test_addresses_that_are_none_are_refused(self, odd: OddServer, told: str) -> None:
        odd.on("GET", "/v2/x/manifests/v1", lambda exchange: exchange.answer(307, Location=told))
        with Registry(odd.host, patience=ONCE) as registry, pytest.raises(RegistryError):
            registry.manifest("x", "v1")
        assert len(odd.paths("GET")) == 1

    @pytest.mark.parametrize(
        "host",
        [
            "169.254.169.254",
            "[fe80::1]",
            "[::ffff:169.254.169.254]",
            "[fd00:ec2::254]",
            "100.100.100.200",
            "2852039166",
            "0xa9fea9fe",
            "224.0.0.1",
        ],
    )
    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_further_inside_is_not_gone_to(self, odd: OddServer, host: str, scheme: str) -> None:
        odd.on(
            "GET",
            "/v2/x/manifests/v1",
            lambda exchange: exchange.answer(307, Location=f"{scheme}://{host}/latest/"),
        )
        with Registry(odd.host, patience=ONCE, timeout=2, insecure=True) as registry:
            with pytest.raises(
                RegistryError, match=r"link-local or metadata|no host of that name|names an address"
            ):
                registry.manifest("x", "v1")

    def test_from_plain_http_to_plain_http(self, odd: OddServer, elsewhere: OddServer) -> None:
        odd.on(
            "GET",
            "/v2/x/manifests/v1",
            lambda exchange: exchange.answer(307, Location=f"{elsewhere.url}/there"),
        )
        with Registry(odd.host) as registry:
            assert registry.manifest("x", "v1")[0] == b"{}"

    def test_from_https_to_plain_http_only_when_it_is_insecure(
        self, authority: Authority, elsewhere: OddServer
    ) -> None:
        with odd_server(tls=authority.server_context()) as secured:
            secured.on(
                "GET",
                "/v2/x/manifests/v1",
                lambda exchange: exchange.answer(307, Location=f"{elsewhere.url}/there"),
            )
            with Registry(secured.host, ca=authority.certificate, patience=ONCE) as registry:
                with pytest.raises(RegistryError, match="what https protects"):
                    registry.manifest("x", "v1")
            assert elsewhere.requests == []
            with Registry(secured.host, insecure=True) as registry:
                assert registry.manifest("x", "v1")[0] == b"{}"

    def test_a_body_goes_where_it_is_sent_on(self, odd: OddServer, elsewhere: OddServer) -> None:
        odd.on(
            "PUT",
            "/v2/x/manifests/v1",
            lambda exchange: exchange.answer(308, Location=f"{elsewhere.url}/there"),
        )
        elsewhere.on("PUT", "/there", lambda exchange: exchange.answer(201))
        with Registry(odd.host) as registry:
            registry.push_manifest("x", "v1", b"{}", "a/b")
        assert [seen.body for seen in elsewhere.requests] == [b"{}"]

    def test_a_body_is_no_get(self, odd: OddServer) -> None:
        odd.on("PUT", "/v2/x/manifests/v1", lambda exchange: exchange.answer(302, Location="/there"))
        with Registry(odd.host) as registry, pytest.raises(RegistryError, match="302"):
            registry.push_manifest("x", "v1", b"{}", "a/b")

    def test_a_signed_address_arrives_as_it_was(self, odd: OddServer) -> None:
        target = "/s3/a%2Fb?X-Amz-Signature=aB%2b%2F==&x=~!$'()*,;:@|"
        odd.on(
            "GET", "/v2/x/manifests/v1", lambda exchange: exchange.answer(307, Location=f"{odd.url}{target}")
        )
        odd.on("GET", "/s3/a%2Fb", lambda exchange: exchange.answer(200, b"{}"))
        with Registry(odd.host) as registry:
            registry.manifest("x", "v1")
        assert odd.paths("GET")[-1].replace("%2b", "%2B").replace("%7C", "|") == target.replace("%2b", "%2B")


class TestLists:
    def answer_with(self, odd: OddServer, *pages: tuple[object, str]) -> None:
        left = list(pages)

        def script(exchange: Exchange) -> None:
            value, link = left.pop(0) if len(left) > 1 else left[0]
            more = {"Link": link} if link else {}
            exchange.answer(200, json.dumps(value).encode(), **more)

        odd.on("GET", "/v2/x/tags/list", script)

    def test_pages_are_followed(self, odd: OddServer) -> None:
        self.answer_with(
            odd,
            ({"tags": ["b", "a"]}, '</v2/x/tags/list?last=b&n=2>; rel="next"'),
            ({"tags": ["c"]}, f"<{odd.url}/v2/x/tags/list?last=c>; rel=next"),
            ({"tags": None}, ""),
        )
        with Registry(odd.host) as registry:
            assert registry.tags("x") == ["a", "b", "c"]

    @pytest.mark.parametrize(
        "value",
        [
            {"tags": [1]},
            {"tags": {"a": 1}},
            {"tags": ["a b"]},
            {"tags": ["../x"]},
            {"tags": ["x" * 129]},
            [],
            5,
        ],
    )
    def test_what_is_no_list_is_an_error(self, odd: OddServer, value: object) -> None:
        self.answer_with(odd, (value, ""))
        with Registry(odd.host) as registry, pytest.raises(RegistryError, match="something else"):
            registry.tags("x")

    def test_a_circle_is_an_error(self, odd: OddServer) -> None:
        self.answer_with(odd, ({"tags": ["a"]}, '</v2/x/tags/list?last=a>; rel="next"'))
        with Registry(odd.host) as registry, pytest.raises(RegistryError, match="no end"):
            registry.tags("x")

    def test_a_list_without_end_is_an_error(self, odd: OddServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("pycontainer.image.registry.listing._MOST_PAGES", 20)
        count = 0

        def script(exchange: Exchange) -> None:
            nonlocal count
            count += 1
            exchange.answer(200, b'{"tags": ["a"]}', Link=f'</v2/x/tags/list?last={count}>; rel="next"')

        odd.on("GET", "/v2/x/tags/list", script)
        with Registry(odd.host) as registry, pytest.raises(RegistryError, match="no end"):
            registry.tags("x")
        assert count == 21

    @pytest.mark.parametrize(
        "link", ["<http://127.0.0.2:1/v2/x>; rel=next", "</elsewhere>; rel=next", "<file:///x>; rel=next"]
    )
    def test_the_next_page_is_not_elsewhere(self, odd: OddServer, link: str) -> None:
        self.answer_with(odd, ({"tags": ["a"]}, link))
        with Registry(odd.host) as registry, pytest.raises(RegistryError):
            registry.tags("x")

    @pytest.mark.parametrize("link", ["<>", "nonsense", '</v2/x>; rel="prev"', "<" * 10_000])
    def test_other_links_are_passed_over(self, odd: OddServer, link: str) -> None:
        self.answer_with(odd, ({"tags": ["a"]}, link))
        with Registry(odd.host) as registry:
            assert registry.tags("x") == ["a"]

    @pytest.mark.parametrize(
        "body", [b"", b"{", b"[" * 1_000_000, b'{"tags": ["a"]}' + b" " * (9 << 20), b"\xff\xfe"]
    )
    def test_what_is_no_json_is_an_error(self, odd: OddServer, body: bytes) -> None:
        odd.on("GET", "/v2/x/tags/list", lambda exchange: exchange.answer(200, body))
        with Registry(odd.host) as registry, pytest.raises(RegistryError):
            registry.tags("x")


class TestErrors:
    @pytest.mark.parametrize(
        "body",
        [
            b"", b"<html>", b"[]", b"null", b'{"errors": []}', b'{"errors": [5]}', b'{"errors": {"a": 1}}',
            b'{"errors": [{"code": 5, "message": []}]}', b"[" * 100_000, b"x" * 10_000_000, b"\x1b[2J\xff",
        ],
        ids=lambda body: repr(body[:20]),
    )  # fmt: skip
    def test_the_words_may_be_anything(self, odd: OddServer, body: bytes) -> None:
        odd.on("GET", "/v2/x/manifests/v1", lambda exchange: exchange.answer(400, body))
        with Registry(odd.host) as registry, pytest.raises(RegistryError, match="answers 400") as caught:
            registry.manifest("x", "v1")
        assert caught.value.code is None

    def test_the_words_are_cut_and_printable(self, odd: OddServer) -> None:
        message = "\x1b]0;title\x07\n\u202e" + "x" * 50_000
        odd.on("GET", "/v2/x/manifests/v1", lambda exchange: exchange.error(418, "A\nB" * 1000, message))
        with Registry(odd.host) as registry, pytest.raises(RegistryError) as caught:
            registry.manifest("x", "v1")
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 1500


class TestBytes:
    """Below HTTP: a socket that answers with what it likes."""

    @pytest.fixture
    def answer(self) -> Iterator[Callable[[bytes, bool], str]]:
        listener = socket.create_server(("127.0.0.1", 0))
        threads: list[threading.Thread] = []
        over = threading.Event()

        def serve(content: bytes, repeated: bool) -> None:
            while not over.is_set():
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    client.settimeout(5)
                    try:
                        first = client.recv(65536)
                        if first.startswith(b"GET /v2/ "):
                            client.sendall(
                                b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                            )
                            continue
                        client.sendall(content)
                        while repeated and not over.is_set():
                            client.sendall(content)
                    except OSError:
                        continue

        def start(content: bytes, repeated: bool = False) -> str:
            threads.append(threading.Thread(target=serve, args=(content, repeated)))
            threads[-1].start()
            return f"127.0.0.1:{listener.getsockname()[1]}"

        yield start
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in threads:
            thread.join()

    @pytest.mark.parametrize(
        "content",
        [
            b"", b"\r\n", b"\x00" * 1000, b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 99 X\r\n\r\n",
            b"HTTP/9.9 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"X" * 100_000, b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
            b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFFFF\r\nab",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nab",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nab",
            b"HTTP/1.1 401 X\r\nWWW-Authenticate: Bearer realm=\xff\r\n\r\n", b"HTTP/1.1 307 X\r\nLocation: \xff\r\n\r\n",
        ],
        ids=lambda content: repr(content[:40]),
    )  # fmt: skip
    def test_what_is_no_answer_is_an_error(
        self, answer: Callable[[bytes, bool], str], content: bytes, hasty: Patience
    ) -> None:
        with Registry(answer(content, False), patience=hasty, timeout=5) as registry:
            with pytest.raises(RegistryError):
                registry.manifest("x", "v1")

    @pytest.mark.parametrize("content", [b"HTTP/1.1 100 Continue\r\n\r\n", b"A: b\r\n", b"x" * 1000])
    def test_headers_without_end_are_an_error(
        self, answer: Callable[[bytes, bool], str], content: bytes
    ) -> None:
        with Registry(answer(content, True), patience=ONCE) as registry:
            with pytest.raises(RegistryError, match=r"no HTTP|broke|failed"):
                registry.manifest("x", "v1")

    @pytest.mark.parametrize(
        "content",
        [
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"HTTP/1.0 200 OK\r\n\r\n{}", b"HTTP/1.1 200\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}",
            b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;x=y\r\n}\r\n0\r\n\r\n",
        ],
        ids=lambda content: repr(content[:60]),
    )  # fmt: skip
    def test_odd_ones_that_are_right_are_taken(
        self, answer: Callable[[bytes, bool], str], content: bytes
    ) -> None:
        with Registry(answer(content, False), patience=ONCE, timeout=5) as registry:
            assert registry.manifest("x", "v1")[0] == b"{}"


_HEADERS = st.dictionaries(
    st.sampled_from(
        ["Location", "WWW-Authenticate", "Content-Range", "Content-Length", "Content-Type", "Link", "Retry-After", "Docker-Content-Digest", "OCI-Subject", "Transfer-Encoding", "Content-Encoding"]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60)
    | st.sampled_from(
        ["/v2/", "//x", "http://127.0.0.1:1/", 'Bearer realm="/"', "Basic realm=x", "bytes 0-1/2", "gzip", "chunked", "0", "5", "</v2/x>; rel=next"]
    ),
    max_size=4,
)  # fmt: skip


def test_no_answer_makes_anything_but_our_errors(blob_of: Maker) -> None:
    """Whatever statuses, headers and bodies: an answer or one of our errors, in bounded time."""
    blob = blob_of(5)
    script: list[tuple[int, dict[str, str], bytes]] = []

    def odd_answer(exchange: Exchange) -> None:
        if exchange.path == "/v2/":
            exchange.answer(200, b"{}")
            return
        status, headers, body = script[0]
        exchange.close_connection = True
        exchange.send_response(status)
        for name, value in headers.items():
            exchange.send_header(name, value)
        exchange.end_headers()
        exchange.wfile.write(body)

    tries: list[Callable[[Registry], object]] = [
        lambda registry: registry.manifest("x", "v1"),
        lambda registry: registry.resolve("x", "v1"),
        lambda registry: registry.blob("x", blob.descriptor, 1).read(),
        lambda registry: registry.push_blob("x", blob.descriptor, blob.open_at, chunk=2),
        lambda registry: registry.push_manifest("x", "v1", b"{}", "a/b"),
        lambda registry: registry.tags("x"),
        lambda registry: registry.referrers("x", blob.descriptor.digest),
        lambda registry: registry.delete("x", "v1"),
    ]

    with odd_server() as server:
        server.fallback = odd_answer

        @settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
        @given(
            st.sampled_from([200, 201, 202, 204, 206, 301, 307, 400, 401, 403, 404, 416, 429, 500, 503, 999]),
            _HEADERS,
            st.binary(max_size=50)
            | st.sampled_from([b"{}", b'{"errors": [{"code": "X"}]}', b'{"manifests": [{}]}']),
            st.sampled_from(tries),
        )
        def run(
            status: int, headers: dict[str, str], body: bytes, action: Callable[[Registry], object]
        ) -> None:
            script[:] = [(status, headers, body)]
            with Registry(server.host, auth=("me", "x"), patience=ONCE, timeout=2) as registry:
                try:
                    action(registry)
                except PyContainerError as error:
                    assert str(error)

        run()
