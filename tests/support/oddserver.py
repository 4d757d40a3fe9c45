"""Servers that answer as no registry should: http.server in a thread, scripted by the test."""

from __future__ import annotations

import contextlib
import http.server
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import attrs

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT")


class Exchange(http.server.BaseHTTPRequestHandler):
    """One request; a test's script answers it."""

    protocol_version = "HTTP/1.1"
    #: A client that forgets a connection does not hold the test for ever.
    timeout = 20
    owner: OddServer

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Answer with a body of honest length; ``_`` in names of headers stands for ``-``."""
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        self.send_response(status)
        if "Content-Length" not in told:
            self.send_header("Content-Length", str(len(body)))
        for name, value in told.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def error(self, status: int, code: str, message: str = "no", **headers: str) -> None:
        """Answer with an error in the form of the specification."""
        body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
        self.answer(status, body, Content_Type="application/json", **headers)

    def cut(self) -> None:
        """Break the connection."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(2)

    def handle_any(self) -> None:
        """Whatever the method."""
        self.owner.handle(self)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  (the name is http.server's)
        """Stay silent: what was asked is in ``requests``."""


@attrs.frozen
class Seen:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def authorization(self) -> str | None:
        """What the client said of itself."""
        return self.headers.get("authorization")


Script = Callable[[Exchange], None]


class OddServer:
    """A server on a loopback address; what nobody scripted is answered as a registry without anything would."""

    def __init__(self, address: str = "127.0.0.1", *, tls: ssl.SSLContext | None = None) -> None:
        verbs = {f"do_{name}": Exchange.handle_any for name in _METHODS}
        handler = type("Handler", (Exchange,), {"owner": self, **verbs})
        self._server = _Server((address, 0), handler)
        if tls is not None:
            self._server.tls = tls
        self._scripts: dict[tuple[str, str], Script] = {}
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.requests: list[Seen] = []
        #: Set when the test is over: what stalls waits for this.
        self.over = threading.Event()
        self.address = address
        self.scheme = "http" if tls is None else "https"
        self.port: int = self._server.server_address[1]
        self.fallback: Script | None = None

    @property
    def host(self) -> str:
        """Host and port."""
        return f"{self.address}:{self.port}"

    @property
    def url(self) -> str:
        """The address of its root, without the slash."""
        return f"{self.scheme}://{self.host}"

    def on(self, method: str, path: str, script: Script) -> None:
        """Answer requests of this method and path, whatever their query, by a script."""
        self._scripts[method, path] = script

    def paths(self, method: str) -> list[str]:
        """Return the paths of the requests of a method, in order; the question about the scheme left out."""
        return [seen.path for seen in self.requests if seen.method == method and seen.path != "/v2/"]

    def handle(self, exchange: Exchange) -> None:
        """Note a request, and have it answered."""
        length = int(exchange.headers.get("Content-Length") or 0)
        body = b""
        with contextlib.suppress(OSError):
            body = exchange.rfile.read(length) if exchange.command != "CONNECT" else b""
        headers = {name.lower(): value for name, value in exchange.headers.items()}
        with self._lock:
            self.requests.append(Seen(exchange.command, exchange.path, headers, body))
        exchange.body = body  # type: ignore[attr-defined]
        script = self._scripts.get((exchange.command, exchange.path.partition("?")[0]), self.fallback)
        # The client may have left: that is its right.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLError):
            if script is not None:
                script(exchange)
            elif exchange.path == "/v2/":
                exchange.answer(200, b"{}")
            else:
                exchange.error(404, "NAME_UNKNOWN")

    def __enter__(self) -> OddServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 64
    tls: ssl.SSLContext | None = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.tls is not None:
            request.settimeout(10)
            # The client may refuse our certificate: that is what some tests are about.
            with contextlib.suppress(OSError):
                with self.tls.wrap_socket(request, server_side=True) as secured:
                    super().finish_request(secured, client_address)
            return
        with contextlib.suppress(ConnectionResetError):
            super().finish_request(request, client_address)


@contextlib.contextmanager
def odd_server(address: str = "127.0.0.1", *, tls: ssl.SSLContext | None = None) -> Iterator[OddServer]:
    """A server for the length of a block."""
    with OddServer(address, tls=tls) as server:
        yield server
