"""Proxies of the environment; behind one, any host can be imitated: docker.io among them."""

from __future__ import annotations

import base64
import contextlib
import json
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycontainer.errors import NotSupported, RegistryDenied, RegistryError
from pycontainer.image.registry import Patience, Registry
from pycontainer.image.registry.location import Location
from pycontainer.image.registry.proxy import proxy_for
from tests.support.oddserver import Exchange, OddServer, odd_server
from tests.support.registry import Authority

ONCE = Patience(attempts=1)


class Proxy:
    """Sends every host where the test says."""

    def __init__(self, server: OddServer) -> None:
        self.server = server
        self.hosts: dict[str, OddServer] = {}
        server.fallback = self.script

    def script(self, exchange: Exchange) -> None:
        if exchange.command != "CONNECT":
            # A plain request names the whole address.
            host, _, path = exchange.path.removeprefix("http://").partition("/")
            exchange.path = f"/{path}"
            self.hosts[host].handle(exchange)
            return
        target = self.hosts.get(exchange.path)
        if target is None:
            exchange.answer(403)
            return
        exchange.send_response(200)
        exchange.end_headers()
        exchange.close_connection = True
        with socket.create_connection((target.address, target.port)) as other:
            with contextlib.suppress(OSError):
                _relay(exchange.connection, other)


def _relay(one: socket.socket, other: socket.socket) -> None:
    while True:
        ready, _, _ = select.select([one, other], [], [], 20)
        for source, target in ((one, other), (other, one)):
            if source in ready:
                part = source.recv(65536)
                if not part:
                    return
                target.sendall(part)
        if not ready:
            return


@pytest.fixture
def proxy(odd: OddServer, monkeypatch: pytest.MonkeyPatch) -> Proxy:
    monkeypatch.setenv("HTTPS_PROXY", odd.url)
    monkeypatch.setenv("HTTP_PROXY", odd.url)
    return Proxy(odd)


@pytest.fixture
def secured(authority: Authority) -> Iterator[OddServer]:
    with OddServer(tls=authority.server_context()) as server:
        server.on("GET", "/v2/x/manifests/v1", lambda exchange: exchange.answer(200, b"{}"))
        yield server


def test_https_goes_through_it(proxy: Proxy, secured: OddServer, authority: Authority) -> None:
    proxy.hosts["registry.example:443"] = secured
    with Registry("registry.example", ca=authority.certificate) as registry:
        assert registry.manifest("x", "v1")[0] == b"{}"
    assert proxy.server.paths("CONNECT") == ["registry.example:443"]


def test_http_goes_through_it(proxy: Proxy) -> None:
    with odd_server() as plain:
        plain.on("GET", "/v2/x/manifests/v1", lambda exchange: exchange.answer(200, b"{}"))
        proxy.hosts["registry.example:5000"] = plain
        with Registry("registry.example:5000", insecure=True, patience=ONCE) as registry:
            assert registry.manifest("x", "v1")[0] == b"{}"


def test_its_password_is_told_to_it_alone(
    proxy: Proxy, secured: OddServer, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@{proxy.server.host}")
    proxy.hosts["registry.example:443"] = secured
    with Registry("registry.example", ca=authority.certificate) as registry:
        registry.manifest("x", "v1")
    code = base64.b64encode(b"me:secret").decode()
    assert proxy.server.requests[0].headers["proxy-authorization"] == f"Basic {code}"
    assert "proxy-authorization" not in secured.requests[-1].headers


def test_one_that_refuses_is_named(proxy: Proxy) -> None:
    with Registry("registry.example", patience=ONCE) as registry:
        with pytest.raises(RegistryError, match="the proxy fails"):
            registry.manifest("x", "v1")


def test_plain_http_is_not_spoken_without_leave(proxy: Proxy) -> None:
    with odd_server() as plain:
        proxy.hosts["registry.example:443"] = proxy.hosts["registry.example:80"] = plain
        with Registry("registry.example", auth=("me", "x"), patience=ONCE) as registry:
            with pytest.raises(RegistryError):
                registry.manifest("x", "v1")
        assert plain.requests == []


def test_an_insecure_registry_is_asked_by_https_first(proxy: Proxy, secured: OddServer) -> None:
    with odd_server() as plain:
        proxy.hosts["registry.example:443"] = secured
        proxy.hosts["registry.example:80"] = plain
        with Registry("registry.example", insecure=True) as registry:
            assert registry.manifest("x", "v1")[0] == b"{}"
        assert plain.requests == []


@pytest.mark.parametrize("host", ["169.254.169.254", "127.0.0.1", "2852039166", "[::1]"])
def test_further_inside_is_not_gone_to(
    proxy: Proxy, secured: OddServer, authority: Authority, host: str
) -> None:
    proxy.hosts["registry.example:443"] = secured
    secured.on(
        "GET", "/v2/x/manifests/v1", lambda exchange: exchange.answer(307, Location=f"https://{host}/")
    )
    with Registry("registry.example", ca=authority.certificate, patience=ONCE) as registry:
        with pytest.raises(RegistryError, match="further inside"):
            registry.manifest("x", "v1")


@pytest.mark.usefixtures("hub")
class TestTheHub:
    """docker.io is asked elsewhere, under another name in files, and has its realm on another host."""

    @pytest.fixture
    def realm(self, authority: Authority) -> Iterator[OddServer]:
        with OddServer(tls=authority.server_context()) as server:
            server.on(
                "GET", "/token", lambda exchange: exchange.answer(200, json.dumps({"token": "t"}).encode())
            )
            yield server

    @pytest.fixture
    def hub(self, proxy: Proxy, secured: OddServer, realm: OddServer) -> OddServer:
        proxy.hosts["registry-1.docker.io:443"] = secured
        proxy.hosts["auth.docker.io:443"] = realm

        def script(exchange: Exchange) -> None:
            if exchange.headers.get("Authorization") == "Bearer t":
                exchange.answer(200, b"{}")
            else:
                told = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io"'
                exchange.error(401, "UNAUTHORIZED", WWW_Authenticate=told)

        secured.on("GET", "/v2/library/debian/manifests/12", script)
        return secured

    @pytest.mark.parametrize("name", ["docker.io", "index.docker.io", "registry-1.docker.io"])
    def test_anonymously(self, realm: OddServer, authority: Authority, name: str) -> None:
        with Registry(name, ca=authority.certificate) as registry:
            assert registry.manifest("library/debian", "12")[0] == b"{}"
            assert registry.host == "docker.io"
        assert [seen.authorization for seen in realm.requests] == [None]

    def test_as_who_logged_in(self, realm: OddServer, authority: Authority, tmp_path: Path) -> None:
        place = tmp_path / "home/.docker"
        place.mkdir()
        code = base64.b64encode(b"me:secret").decode()
        (place / "config.json").write_text(
            json.dumps({"auths": {"https://index.docker.io/v1/": {"auth": code}}})
        )
        with Registry("docker.io", ca=authority.certificate) as registry:
            registry.manifest("library/debian", "12")
        assert [seen.authorization for seen in realm.requests] == [f"Basic {code}"]

    def test_its_realm_has_to_be_verified(self, realm: OddServer) -> None:
        with Registry("docker.io", patience=ONCE) as registry:
            with pytest.raises(RegistryError, match="not to be trusted"):
                registry.manifest("library/debian", "12")
        assert realm.requests == []

    def test_an_insecure_hub_gets_no_password(self, realm: OddServer) -> None:
        with Registry("docker.io", auth=("me", "secret"), insecure=True) as registry:
            with pytest.raises(RegistryDenied):
                registry.manifest("library/debian", "12")
        assert realm.requests == []


def at(text: str) -> Location:
    return Location.parse(text)


class TestTheEnvironment:
    @pytest.mark.parametrize(
        ("names", "asked", "expected"),
        [
            ({"HTTPS_PROXY": "http://p:1"}, "https://a.example", "http://p:1"),
            ({"https_proxy": "p:1"}, "https://a.example", "http://p:1"),
            ({"HTTPS_PROXY": "http://p:1"}, "http://a.example", None),
            ({"HTTP_PROXY": "http://p:1"}, "http://a.example", "http://p:1"),
            ({"ALL_PROXY": "http://p:1"}, "https://a.example", "http://p:1"),
            ({"HTTPS_PROXY": "http://p:1"}, "https://localhost:5000", None),
            ({"HTTPS_PROXY": "http://p:1"}, "https://127.0.0.9:5000", None),
            ({"HTTPS_PROXY": "http://p:1"}, "https://[::1]:5000", None),
            ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "a.example"}, "https://a.example:5000", None),
            ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": ".example, b"}, "https://a.example", None),
            ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "a.example:5000"}, "https://a.example:5000", None),
            (
                {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "a.example:5001"},
                "https://a.example:5000",
                "http://p:1",
            ),
            ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/8"}, "https://10.1.2.3", None),
            ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/8,x/y"}, "https://11.1.2.3", "http://p:1"),
            ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, "https://a.example", None),
            ({"HTTP_PROXY": "http://p:1", "REQUEST_METHOD": "GET"}, "http://a.example", None),
        ],
    )
    def test_it_decides(
        self, monkeypatch: pytest.MonkeyPatch, names: dict[str, str], asked: str, expected: str | None
    ) -> None:
        for name, value in names.items():
            monkeypatch.setenv(name, value)
        assert proxy_for(at(asked)) == expected

    @pytest.mark.parametrize("value", ["socks5://p:1", "file:///x", "http://"])
    def test_what_speaks_no_http_is_named(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        monkeypatch.setenv("HTTPS_PROXY", value)
        with pytest.raises(NotSupported, match="none of http"):
            proxy_for(at("https://a.example"))
