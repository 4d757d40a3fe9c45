"""Transport: one request, one answer, over connections that are kept; the one home of urllib3.

urllib3 keeps connections, verifies TLS, speaks to proxies and streams both ways.  What it would decide is
switched off: redirects and retries are of ``endpoint`` and ``patience``.  Ours are here: addresses that
answers name are checked before they are connected to, and a server that sends too slowly, or headers
without end, is left.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, cast

import urllib3
from urllib3 import exceptions
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.connection import create_connection

from pycontainer.image.registry.answer import Answer
from pycontainer.image.registry.certificates import Certificates
from pycontainer.image.registry.location import Location
from pycontainer.image.registry.pace import PacedResponse
from pycontainer.image.registry.patience import Broken
from pycontainer.image.registry.proxy import proxy_for
from pycontainer.image.registry.reach import Reach, numeric, reach_of

_CONNECT = 30.0
#: How long one address of several is waited for.
_NEXT = 5.0
_BLOCK = 1 << 18


class Transport:
    """Connections to a registry and to the hosts that it names. Thread-safe; ``close`` may be called twice.

    ``certificates`` say whom to believe.  With ``verified`` false no certificate is looked at, of the
    registry and of hosts that it names: whoever sends credentials there asks :attr:`Wire.trusted` before.
    """

    def __init__(self, *, host: str, certificates: Certificates, timeout: float) -> None:
        self._host = host
        self._certificates = certificates
        self._timeout = timeout
        self._lock = threading.Lock()
        self._managers: dict[tuple[str, bool, bool, str | None], urllib3.PoolManager] = {}
        self._reach = Reach.PUBLIC

    def send(
        self,
        method: str,
        location: Location,
        *,
        headers: dict[str, str],
        body: bytes | Iterable[bytes] | None = None,
        own: bool,
        verified: bool,
        timeout: float | None = None,
    ) -> Answer:
        """Send a request; the answer is to be closed. ``own`` says that it goes to the registry itself.

        Raises :class:`Broken`, :class:`NotSupported` for a proxy or a certificate that is none, and what
        ``body`` raises.
        """
        proxy = proxy_for(location)
        if proxy is not None and not own and (address := numeric(location.host)) is not None:
            self._check(address)
        manager = self._manager(location.scheme, own, verified, proxy)
        limit = urllib3.Timeout(connect=min(self._timeout, _CONNECT), read=timeout or self._timeout)
        try:
            found = manager.urlopen(
                method,
                str(location),
                headers=headers,
                body=cast("Any", body),
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=limit,
            )
        except (exceptions.HTTPError, OSError, http.client.HTTPException) as error:
            _raise(error, self._timeout)
        return Answer(
            cast("urllib3.HTTPResponse", found), location, lambda error: _raise(error, self._timeout)
        )

    def close(self) -> None:
        """Close the connections that nobody uses; those of open streams are closed with them."""
        with self._lock:
            managers, self._managers = list(self._managers.values()), {}
        for manager in managers:
            # To clear a manager leaves connections open until the last reference to them is gone.
            for key in manager.pools.keys():  # noqa: SIM118  (it is no dict, and cannot be iterated)
                pool = manager.pools.get(key)
                if pool is not None:
                    pool.close()
            manager.clear()

    def _manager(self, scheme: str, own: bool, verified: bool, proxy: str | None) -> urllib3.PoolManager:
        with self._lock:
            key = scheme, own, verified, proxy
            if key not in self._managers:
                self._managers[key] = self._make(*key)
            return self._managers[key]

    def _make(self, scheme: str, own: bool, verified: bool, proxy: str | None) -> urllib3.PoolManager:
        options: dict[str, Any] = {
            "num_pools": 16,
            "maxsize": 16,
            "blocksize": _BLOCK,
        }
        if scheme == "https" or (proxy is not None and proxy.lower().startswith("https:")):
            # It reads all authorities of the system: 20 ms.
            options["ssl_context"] = self._certificates.context(own=own, verified=verified)
        manager: urllib3.PoolManager
        if proxy is None:
            manager = urllib3.PoolManager(**options)
            check = self._note if own else self._check
        else:
            # Names are resolved by the proxy: what is behind it is its own affair, and in any case not public.
            self._reach = max(self._reach, Reach.PRIVATE)
            userinfo = urllib3.util.parse_url(proxy).auth
            told = urllib3.make_headers(proxy_basic_auth=userinfo) if userinfo else None
            manager = urllib3.ProxyManager(proxy, proxy_headers=told, **options)
            check = _anything
        manager.pool_classes_by_scheme = _pool_classes(check, self._timeout)
        return manager

    def _note(self, address: str) -> None:
        self._reach = max(self._reach, reach_of(address))

    def _check(self, address: str) -> None:
        """Refuse an address further inside than the registry is."""
        reach = reach_of(address)
        if reach > self._reach:
            raise Broken(
                f"it sends requests on to {address}, {reach.words} address, which is further inside than it is itself",
                again=False,
            )


def _anything(address: str) -> None:
    """Any address: that of a proxy, which the user named."""


def _pool_classes(check: Callable[[str], None], timeout: float) -> dict[str, type[HTTPConnectionPool]]:
    """Pools of connections whose addresses are checked."""

    class Plain(HTTPConnection):
        response_class = PacedResponse

        def _new_conn(self) -> socket.socket:
            return _connect(self, check, timeout)

    class Secure(HTTPSConnection):
        response_class = PacedResponse

        def _new_conn(self) -> socket.socket:
            return _connect(self, check, timeout)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

        def _validate_conn(self, conn: Any) -> None:
            # Without the warning: not to verify was asked for, and filters of warnings are the host's.
            if conn.is_closed:
                conn.connect()

    return {"http": PlainPool, "https": SecurePool}


def _connect(connection: HTTPConnection, check: Callable[[str], None], timeout: float) -> socket.socket:
    """What ``HTTPConnection._new_conn`` does, with a look at each address before it is used."""
    host = connection.host.strip("[]")
    try:
        found = socket.getaddrinfo(host, connection.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise exceptions.NameResolutionError(host, connection, cast("socket.gaierror", error)) from error
    failure: OSError = OSError("it has no address")
    for position, entry in enumerate(found):
        address = str(entry[4][0])
        check(address)
        # Where IPv6 leads nowhere, the next address is to be reached before everybody has left.
        limit = min(timeout, _CONNECT if position == len(found) - 1 else _NEXT)
        try:
            sock = create_connection(
                (address, connection.port),
                limit,
                source_address=connection.source_address,
                socket_options=connection.socket_options,
            )
        except OSError as error:
            failure = error
            continue
        # What is sent may take its time, as what is received may.
        sock.settimeout(timeout)
        return sock
    if isinstance(failure, TimeoutError):
        raise exceptions.ConnectTimeoutError(connection, "the connection") from failure
    raise exceptions.NewConnectionError(connection, failure.strerror or str(failure)) from failure


def _raise(error: BaseException, timeout: float) -> NoReturn:
    """Tell what went wrong in words, and whether to try again can help."""
    if not isinstance(error, exceptions.HTTPError | OSError | http.client.HTTPException):
        raise error
    chain: list[BaseException] = [error]
    again = True
    while (inner := _inner(chain[-1])) is not None and len(chain) < 8:
        chain.append(inner)
    if any(isinstance(each, ssl.SSLCertVerificationError) for each in chain):
        found = next(each for each in chain if isinstance(each, ssl.SSLCertVerificationError))
        what, again = f"its certificate is not to be trusted: {found.verify_message}", False
    elif any(isinstance(each, exceptions.NameResolutionError) for each in chain):
        what = "no host of that name is known"
    elif any(
        isinstance(each, exceptions.ConnectTimeoutError)
        and not isinstance(each, exceptions.NewConnectionError)
        for each in chain
    ):
        what = f"nothing answers there: no connection within {min(timeout, _CONNECT):g} seconds"
    elif any(isinstance(each, TimeoutError | exceptions.ReadTimeoutError) for each in chain):
        what = f"the time-out of {timeout:g} seconds is over: it sends nothing, or next to nothing"
    elif isinstance(chain[-1], http.client.HTTPException) and not isinstance(
        chain[-1], http.client.IncompleteRead | http.client.RemoteDisconnected
    ):
        what, again = f"its answer is no HTTP, or beyond all bounds: {ascii(str(chain[-1]))[:200]}", False
    elif any(isinstance(each, exceptions.ProxyError) for each in chain):
        what = f"the proxy fails: {ascii(str(chain[-1]))[:200]}"
    elif isinstance(chain[-1], OSError) and chain[-1].strerror:
        what = f"the connection failed: {chain[-1].strerror}"
    else:
        what = f"the connection broke: {ascii(str(chain[-1]))[:200]}"
    raise Broken(what, again=again) from error


def _inner(error: BaseException) -> BaseException | None:
    """What an error of urllib3 is about."""
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException):
        return reason
    for each in reversed(error.args):
        if isinstance(each, BaseException):
            return each
    return error.__cause__
