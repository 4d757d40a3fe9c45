"""The wire to one host: which scheme it speaks, and how far its redirects are followed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import attrs

from pycontainer.errors import InvalidArgument, NotSupported
from pycontainer.image.registry.answer import Answer
from pycontainer.image.registry.certificates import Certificates
from pycontainer.image.registry.location import BadLocation, Location, is_loopback, split_host
from pycontainer.image.registry.patience import Broken

if TYPE_CHECKING:
    from pycontainer.image.registry.transport import Transport

#: Makes the body of a request anew for each attempt at it.
Body = Callable[[], Iterable[bytes] | bytes]

#: Where images without a registry in their name come from, and the host that serves them.
HUB = "docker.io"
_HUB_HOST = "registry-1.docker.io"
_HUB_NAMES = frozenset({HUB, "index.docker.io", _HUB_HOST})
_REDIRECTS = 5
_MOVED = frozenset({301, 302, 303, 307, 308})


@attrs.frozen(kw_only=True)
class Settings:
    """What the wire to a host is made of."""

    insecure: bool = False
    timeout: float = 60.0
    agent: str = "pycontainer"
    ca: str | None = None
    certificate: str | tuple[str, str] | None = None


class Wire:
    """Sends requests to one registry, and on to where it sends them; what is told to it stays with it.

    ``host`` is ``name[:port]`` as in names of images; ``https://`` or ``http://`` before it decides on the
    scheme.  Nothing is connected to before the first request.
    """

    def __init__(self, host: str, settings: Settings) -> None:
        try:
            if not isinstance(host, str):
                raise BadLocation("it is no text")
            scheme, found, rest = host.partition("://")
            self.host = name = rest if found else host
            if found and scheme not in {"http", "https"}:
                raise BadLocation("http:// or https:// is needed")
            hub = name.lower() in _HUB_NAMES
            self._name, self._port = split_host(_HUB_HOST if hub else name)
            self._has_port = split_host(name, "http")[1] == self._port or hub
        except BadLocation as error:
            raise InvalidArgument(
                "host", host, f"a host as in 'registry.example:5000' is needed: {error}"
            ) from None
        self.is_hub = hub
        self.timeout = settings.timeout
        self.insecure = settings.insecure or is_loopback(self._name)
        if scheme == "http" and not self.insecure:
            raise InvalidArgument("host", host, "http is spoken with insecure=True alone")
        self._verified = not settings.insecure
        self._settings = settings
        self._scheme = scheme if found else None if self.insecure else "https"
        self._lock = threading.Lock()
        self._transport: Transport | None = None
        #: Whether it has ever answered.
        self.known = False

    @property
    def base(self) -> Location:
        """The registry itself; finds out which scheme it speaks. Raises :class:`Broken`."""
        with self._lock:
            if self._scheme is None:
                self._scheme = self._find_scheme()
            return self._at(self._scheme)

    @property
    def trusted(self) -> bool:
        """Whether answers are of the registry for certain: it showed a certificate, and that was verified."""
        return self.base.scheme == "https" and self._verified

    def follow(
        self,
        method: str,
        location: Location,
        *,
        headers: dict[str, str],
        authorization: str | None = None,
        body: Body | None = None,
        timeout: float | None = None,
        secret: bool = False,
    ) -> Answer:
        """Send a request and follow where it is sent on; the caller closes the answer.

        ``authorization`` goes to the origin of ``location`` alone, and not again when a foreign host sends
        back to it.  With ``secret`` there are secrets in the body, and nothing is followed.  Raises
        :class:`Broken`.
        """
        self.check(self.base, location)
        first, crossed = location, False
        for _ in range(_REDIRECTS + 1):
            crossed = crossed or location.origin != first.origin
            sent = dict(headers)
            if authorization and not crossed:
                sent["Authorization"] = authorization
            answer = self._send(method, location, sent, body, timeout)
            told = answer.header("Location")
            if answer.status not in _MOVED or told is None or secret:
                return answer
            if answer.status < 307 and method not in {"GET", "HEAD"}:
                return answer
            answer.drop()
            location = self.check(location, told)
        raise Broken(f"it sends requests on and on: more than {_REDIRECTS} times", again=False)

    def check(self, origin: Location, told: str | Location) -> Location:
        """Read an address that an answer named. Raises :class:`Broken` for one that no request may go to."""
        try:
            location = told if isinstance(told, Location) else origin.join(told)
        except BadLocation as error:
            raise Broken(f"it names an address that is none: {error}", again=False) from None
        if location.scheme == "http" and origin.scheme == "https" and not self._settings.insecure:
            raise Broken(
                f"it names {str(location)[:200]}: what https protects is not asked for by http", again=False
            )
        return location

    def is_own(self, location: Location) -> bool:
        """Whether this is the registry itself, by host and port."""
        base = self._at(location.scheme)
        return (location.host, location.port) == (base.host, base.port)

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    def _send(
        self,
        method: str,
        location: Location,
        headers: dict[str, str],
        body: Body | None,
        timeout: float | None,
    ) -> Answer:
        own = self.is_own(location)
        content = None if body is None else body()
        try:
            answer = self._open().send(
                method,
                location,
                headers={"User-Agent": self._settings.agent, **headers},
                body=content,
                own=own,
                verified=self._verified,
                timeout=timeout,
            )
        finally:
            close = getattr(content, "close", None)
            if close is not None:
                close()
        self.known = self.known or own
        return answer

    def _open(self) -> Transport:
        with self._lock:
            return self._opened()

    def _opened(self) -> Transport:
        if self._transport is None:
            try:
                from pycontainer.image.registry.transport import Transport
            except ModuleNotFoundError as error:
                if (error.name or "").partition(".")[0] != "urllib3":
                    raise
                raise NotSupported(
                    "registries are spoken to with urllib3, which is not installed",
                    "pip install 'pycontainer-linux[images]'",
                ) from None
            certificates = Certificates.find(
                self.host, authority=self._settings.ca, certificate=self._settings.certificate
            )
            self._transport = Transport(
                host=self.host, certificates=certificates, timeout=self._settings.timeout
            )
        return self._transport

    def _at(self, scheme: str) -> Location:
        port = self._port if self._has_port else 80 if scheme == "http" else 443
        return Location(scheme, self._name, port, "/v2/")

    def _find_scheme(self) -> str:
        """Ask without credentials, by both schemes at the most.

        This machine is asked by http first: nobody is in between.  Others by https first, as Docker does
        with registries that are declared insecure, or everybody in between could have our credentials.
        """
        answered = False
        order = ["http", "https"] if is_loopback(self._name) else ["https", "http"]
        failures: list[Broken] = []
        for scheme in order:
            try:
                answer = self._opened().send(
                    "GET",
                    self._at(scheme),
                    headers={"User-Agent": self._settings.agent},
                    own=True,
                    verified=self._verified,
                )
            except Broken as error:
                failures.append(error)
                continue
            answer.drop()
            # A server that speaks TLS answers plain requests with 400, or sends them on to https.
            if scheme == "https" or answer.status not in {400, *_MOVED}:
                return scheme
            answered = True
        untrusted = [each for each in failures if not each.again]
        if answered and not untrusted:
            return "http"
        raise (untrusted or failures)[0]
