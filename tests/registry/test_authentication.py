"""Tokens and passwords: got, kept, and never told to anybody else."""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from pycontainer.errors import RegistryDenied, RegistryError
from pycontainer.image.registry import Credential, Patience, Registry
from tests.registry.conftest import Blob
from tests.support.oddserver import Exchange, OddServer, odd_server
from tests.support.registry import Authority

Maker = Callable[[int], Blob]
ME = ("me", "se:cret")
BASIC = "Basic " + base64.b64encode(b"me:se:cret").decode()


class TokenServer:
    """Gives tokens that tell their scope, on a host of its own."""

    def __init__(self, server: OddServer, path: str = "/token") -> None:
        self.server = server
        self.realm = f"{server.url}{path}"
        self.queries: list[dict[str, list[str]]] = []
        self.life = 300
        self.more: dict[str, object] = {}
        for method in ("GET", "POST"):
            server.on(method, path, self.script)

    def script(self, exchange: Exchange) -> None:
        body: bytes = getattr(exchange, "body", b"")
        query = exchange.path.partition("?")[2] if exchange.command == "GET" else body.decode()
        self.queries.append(urllib.parse.parse_qs(query))
        token = f"token-{len(self.queries)}:{' '.join(self.queries[-1].get('scope', []))}"
        exchange.answer(200, json.dumps({"token": token, "expires_in": self.life, **self.more}).encode())


def guard(server: OddServer, realm: str, need: str = "pull", scope: str = "") -> None:
    """Let nobody see anything without a token of a scope."""

    def script(exchange: Exchange) -> None:
        told = exchange.headers.get("Authorization") or ""
        if told.startswith("Bearer token-") and need in told:
            exchange.answer(200, b"{}")
        else:
            more = f',scope="{scope}"' if scope else ""
            exchange.error(
                401, "UNAUTHORIZED", WWW_Authenticate=f'Bearer realm="{realm}",service="tests"{more}'
            )

    server.fallback = script


@pytest.fixture
def elsewhere() -> Iterator[OddServer]:
    """A host that is another one."""
    with OddServer("127.0.0.2") as server:
        yield server


@pytest.fixture
def secured(authority: Authority) -> Iterator[OddServer]:
    with OddServer(tls=authority.server_context()) as server:
        yield server


def authorizations(server: OddServer) -> list[str]:
    return [seen.authorization for seen in server.requests if seen.authorization is not None]


class TestTokens:
    def test_one_is_got_and_kept(self, odd: OddServer) -> None:
        with odd_server() as other:
            tokens = TokenServer(other)
            guard(odd, tokens.realm)
            with Registry(odd.host) as registry:
                for _ in range(3):
                    registry.manifest("a/b", "v1")
            assert tokens.queries == [
                {"service": ["tests"], "scope": ["repository:a/b:pull"], "client_id": ["pycontainer"]}
            ]
            assert authorizations(other) == []
        assert set(authorizations(odd)) == {"Bearer token-1:repository:a/b:pull"}

    def test_one_for_each_scope(self, odd: OddServer, blob_of: Maker) -> None:
        blob = blob_of(1)
        tokens = TokenServer(odd)
        guard(odd, tokens.realm)
        with Registry(odd.host) as registry:
            registry.manifest("a", "v1")
            registry.manifest("b", "v1")
            registry.push_manifest("a", "v1", b"{}", "x/y")
            registry.push_blob("a", blob.descriptor, blob.open_at, mount_from="b")
            registry.manifest("a", "v1")
        assert [query["scope"] for query in tokens.queries] == [
            ["repository:a:pull"],
            ["repository:b:pull"],
            ["repository:a:pull,push"],
            ["repository:a:pull,push", "repository:b:pull"],
        ]

    def test_many_threads_ask_for_one(self, odd: OddServer) -> None:
        tokens = TokenServer(odd)
        guard(odd, tokens.realm)
        with Registry(odd.host) as registry, ThreadPoolExecutor(8) as pool:
            registry.manifest("a", "v1")
            list(pool.map(lambda number: registry.manifest("b", f"v{number}"), range(32)))
        assert len(tokens.queries) == 2

    def test_one_that_is_over_is_got_anew(self, odd: OddServer, monkeypatch: pytest.MonkeyPatch) -> None:
        tokens = TokenServer(odd)
        guard(odd, tokens.realm)
        now = [1000.0]
        with Registry(odd.host) as registry:
            registry.manifest("a", "v1")
            import time

            real = time.monotonic
            monkeypatch.setattr(time, "monotonic", lambda: real() + now[0])
            registry.manifest("a", "v1")
            registry.manifest("a", "v1")
        assert len(tokens.queries) == 2

    def test_one_that_is_refused_is_got_anew(self, odd: OddServer) -> None:
        tokens = TokenServer(odd)
        guard(odd, tokens.realm, need="token-1")
        with Registry(odd.host) as registry:
            registry.manifest("a", "v1")
            guard(odd, tokens.realm, need="token-2")
            registry.manifest("a", "v1")
            guard(odd, tokens.realm, need="never")
            with pytest.raises(RegistryDenied):
                registry.manifest("a", "v1")
        assert len(tokens.queries) == 3

    def test_what_the_registry_wants_besides_is_asked_for(self, odd: OddServer) -> None:
        tokens = TokenServer(odd)
        guard(odd, tokens.realm, need="repository:a:pull repository:base:pull", scope="repository:base:pull")
        with Registry(odd.host) as registry:
            registry.manifest("a", "v1")
            registry.manifest("a", "v2")
        assert [query["scope"] for query in tokens.queries] == [["repository:a:pull", "repository:base:pull"]]

    def test_with_a_password(self, odd: OddServer) -> None:
        tokens = TokenServer(odd)
        guard(odd, tokens.realm)
        with Registry(odd.host, auth=ME) as registry:
            registry.manifest("a", "v1")
        assert tokens.queries[0]["account"] == ["me"]
        assert BASIC in authorizations(odd)

    def test_with_an_identity_token(self, odd: OddServer) -> None:
        tokens = TokenServer(odd)
        tokens.more = {"access_token": "token-x", "refresh_token": "second"}
        guard(odd, tokens.realm)
        with Registry(odd.host, auth=Credential(identity_token="first")) as registry:
            registry.manifest("a", "v1")
            registry.manifest("b", "v1")
        assert [query["refresh_token"] for query in tokens.queries] == [["first"], ["second"]]
        assert tokens.queries[0]["grant_type"] == ["refresh_token"]
        assert odd.paths("POST") == ["/token", "/token"]

    def test_with_the_token_itself(self, odd: OddServer) -> None:
        guard(odd, f"{odd.url}/token", need="of-mine")
        with Registry(odd.host, auth=Credential(registry_token="token-of-mine")) as registry:
            registry.manifest("a", "v1")

    @pytest.mark.parametrize(
        "answer",
        [
            b"", b"[]", b"{}", b'{"token": 5}', b'{"token": "a\\nb"}', b'{"token": "x", "expires_in": "soon"}',
            b"[" * 100_000, b'{"token": "' + b"x" * (2 << 20) + b'"}', '{"token": "\u20ac"}'.encode(),
        ],
        ids=lambda answer: repr(answer[:20]),
    )  # fmt: skip
    def test_what_is_no_token_is_an_error(self, odd: OddServer, answer: bytes) -> None:
        guard(odd, f"{odd.url}/token")
        odd.on("GET", "/token", lambda exchange: exchange.answer(200, answer))
        with Registry(odd.host) as registry, pytest.raises(RegistryError):
            registry.manifest("a", "v1")
        assert len([path for path in odd.paths("GET") if path.startswith("/token")]) == 1

    def test_who_gets_no_token_is_denied(self, odd: OddServer) -> None:
        guard(odd, f"{odd.url}/token")
        odd.on("GET", "/token", lambda exchange: exchange.error(401, "UNAUTHORIZED", "wrong password"))
        with Registry(odd.host, auth=ME) as registry, pytest.raises(RegistryDenied, match="wrong password"):
            registry.manifest("a", "v1")

    @pytest.mark.parametrize(
        "header",
        ["", "Bearer", 'Bearer realm=""', "Bearer realm=/x", "Digest a=b", "\x7f", "=,=", 'Bearer realm="x'],
    )
    def test_odd_challenges_are_errors(self, odd: OddServer, header: str) -> None:
        odd.fallback = lambda exchange: exchange.error(401, "UNAUTHORIZED", WWW_Authenticate=header)
        with Registry(odd.host, auth=ME) as registry, pytest.raises(RegistryError):
            registry.manifest("a", "v1")
        assert authorizations(odd) in ([], [BASIC])


class TestWhereThePasswordGoes:
    """To the registry, and to a realm that it names itself, provably."""

    def test_not_to_another_host_by_plain_http(self, odd: OddServer, elsewhere: OddServer) -> None:
        guard(odd, TokenServer(elsewhere).realm)
        for auth in (ME, None):
            with Registry(odd.host, auth=auth) as registry, pytest.raises(RegistryDenied, match="plain http"):
                registry.manifest("a", "v1")
        assert elsewhere.requests == []

    @pytest.mark.parametrize("insecure", [False, True])
    def test_not_to_another_host_that_plain_http_named(
        self, odd: OddServer, authority: Authority, insecure: bool
    ) -> None:
        with odd_server("localhost", tls=authority.server_context()) as other:
            guard(odd, TokenServer(other).realm)
            options = {"insecure": insecure, "ca": authority.certificate}
            with Registry(odd.host, auth=ME, **options) as registry:  # type: ignore[arg-type]
                with pytest.raises(RegistryDenied, match="was not verified itself"):
                    registry.manifest("a", "v1")
            assert other.requests == []
            with Registry(odd.host, **options) as registry:  # type: ignore[arg-type]
                registry.manifest("a", "v1")
            assert authorizations(other) == []

    def test_not_to_another_host_that_anybody_could_have_named(
        self, secured: OddServer, authority: Authority
    ) -> None:
        with odd_server("localhost", tls=authority.server_context()) as other:
            guard(secured, TokenServer(other).realm)
            with Registry(secured.host, auth=ME, insecure=True) as registry:
                with pytest.raises(RegistryDenied, match="was not verified itself"):
                    registry.manifest("a", "v1")
            assert other.requests == []

    def test_to_another_host_that_the_verified_registry_named(
        self, secured: OddServer, authority: Authority
    ) -> None:
        with odd_server("localhost", tls=authority.server_context()) as other:
            guard(secured, TokenServer(other).realm)
            with Registry(secured.host, auth=ME, ca=authority.certificate) as registry:
                registry.manifest("a", "v1")
            assert authorizations(other) == [BASIC]

    def test_to_another_host_only_if_that_is_verified(self, secured: OddServer, authority: Authority) -> None:
        """It has no certificate for its name."""
        with odd_server("127.0.0.2", tls=authority.server_context()) as other:
            guard(secured, TokenServer(other).realm)
            with Registry(secured.host, auth=ME, ca=authority.certificate) as registry:
                with pytest.raises(RegistryError, match="not to be trusted"):
                    registry.manifest("a", "v1")
            assert other.requests == []

    def test_not_from_https_to_http(self, secured: OddServer, authority: Authority) -> None:
        with odd_server() as plain:
            guard(secured, TokenServer(plain).realm)
            with Registry(secured.host, auth=ME, ca=authority.certificate) as registry:
                with pytest.raises(RegistryError, match="what https protects"):
                    registry.manifest("a", "v1")
            assert plain.requests == []

    def test_a_realm_that_sends_on_loses_the_password(self, odd: OddServer, elsewhere: OddServer) -> None:
        tokens = TokenServer(elsewhere)
        guard(odd, f"{odd.url}/token")
        odd.on("GET", "/token", lambda exchange: exchange.answer(307, Location=f"{tokens.realm}?scope=pull"))
        with Registry(odd.host, auth=ME) as registry:
            registry.manifest("a", "v1")
        assert BASIC in authorizations(odd)
        assert authorizations(elsewhere) == []

    def test_an_identity_token_is_not_sent_on(self, odd: OddServer, elsewhere: OddServer) -> None:
        tokens = TokenServer(elsewhere)
        guard(odd, f"{odd.url}/token")
        odd.on("POST", "/token", lambda exchange: exchange.answer(307, Location=tokens.realm))
        with Registry(odd.host, auth=Credential(identity_token="first")) as registry:
            with pytest.raises(RegistryError, match="gives no token: it answers 307"):
                registry.manifest("a", "v1")
        assert elsewhere.requests == []

    @pytest.mark.parametrize(
        "realm", ["file:///etc/passwd", "http://169.254.169.254/", "https://169.254.169.254/", "gopher://x/"]
    )
    def test_not_to_what_is_no_realm(self, odd: OddServer, realm: str) -> None:
        guard(odd, realm)
        with Registry(odd.host) as registry, pytest.raises(RegistryError):
            registry.manifest("a", "v1")

    @pytest.mark.parametrize("kind", ["basic", "bearer"])
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_a_redirect_takes_nothing_along(
        self, odd: OddServer, elsewhere: OddServer, blob_of: Maker, kind: str, status: int
    ) -> None:
        blob = blob_of(100)
        TokenServer(odd)

        def script(exchange: Exchange) -> None:
            if exchange.headers.get("Authorization") is None:
                told = 'Basic realm="x"' if kind == "basic" else f'Bearer realm="{odd.url}/token"'
                exchange.error(401, "UNAUTHORIZED", WWW_Authenticate=told)
            else:
                exchange.answer(status, Location=f"{elsewhere.url}/there")

        odd.fallback = script
        elsewhere.on("GET", "/there", lambda exchange: exchange.answer(200, blob.content))
        with Registry(odd.host, auth=ME) as registry, registry.blob("x", blob.descriptor) as stream:
            assert stream.read(1000) == blob.content
        assert authorizations(odd) != []
        assert [seen.headers.get("authorization") for seen in elsewhere.requests] == [None]

    def test_another_port_is_another_host(self, odd: OddServer, blob_of: Maker) -> None:
        blob = blob_of(100)

        def script(exchange: Exchange) -> None:
            if exchange.headers.get("Authorization") is None:
                exchange.error(401, "UNAUTHORIZED", WWW_Authenticate='Basic realm="x"')
            else:
                exchange.answer(307, Location=f"{other.url}/there")

        odd.fallback = script
        with odd_server() as other:
            other.on("GET", "/there", lambda exchange: exchange.answer(307, Location=f"{odd.url}/back"))
            odd.on("GET", "/back", lambda exchange: exchange.answer(200, blob.content))
            with Registry(odd.host, auth=ME) as registry, registry.blob("x", blob.descriptor) as stream:
                assert stream.read(1000) == blob.content
            assert authorizations(other) == []
        assert [seen.authorization for seen in odd.requests if seen.path == "/back"] == [None]

    def test_a_challenge_of_another_host_is_not_answered(self, odd: OddServer, elsewhere: OddServer) -> None:
        odd.fallback = lambda exchange: exchange.answer(307, Location=f"{elsewhere.url}/there")
        elsewhere.fallback = lambda exchange: exchange.error(
            401, "UNAUTHORIZED", WWW_Authenticate='Basic realm="x"'
        )
        with Registry(odd.host, auth=ME, patience=Patience(attempts=1)) as registry:
            with pytest.raises(RegistryDenied):
                registry.manifest("a", "v1")
        assert authorizations(elsewhere) == []

    def test_nothing_is_told_before_it_is_asked_for(self, odd: OddServer) -> None:
        odd.on("GET", "/v2/a/manifests/v1", lambda exchange: exchange.answer(200, b"{}"))
        with Registry(odd.host, auth=ME) as registry:
            registry.manifest("a", "v1")
        assert authorizations(odd) == []

    def test_no_message_tells_a_secret(self, odd: OddServer) -> None:
        assert "secret" not in repr(Credential(user="me", password="secret", identity_token="secret"))
        odd.fallback = lambda exchange: exchange.error(
            401, "UNAUTHORIZED", WWW_Authenticate='Basic realm="x"'
        )
        with Registry(odd.host, auth=ME) as registry, pytest.raises(RegistryDenied) as caught:
            registry.manifest("a", "v1")
        assert "cret" not in str(caught.value)
