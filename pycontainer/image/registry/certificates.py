"""Certificates: whom to believe, and as whom to come (docs.docker.com, "Verify repository client with certificates").

For a registry ``HOST`` that is ``HOST:PORT`` or a host alone, files are looked for in ``/etc/docker/certs.d/HOST``:
``*.crt`` are authorities, added to those of the system, and ``NAME.cert`` with ``NAME.key`` the client's own.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from pycontainer.errors import InvalidArgument, NotSupported

if TYPE_CHECKING:
    import ssl

DIRECTORY = "/etc/docker/certs.d"
_LARGEST = 1 << 20


@attrs.frozen(kw_only=True)
class Certificates:
    """Files of authorities, and the pairs of certificate and key with which a client may identify itself."""

    authorities: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str | None], ...] = ()

    @classmethod
    def find(
        cls,
        host: str,
        *,
        authority: str | os.PathLike[str] | None = None,
        certificate: str | os.PathLike[str] | tuple[str, str] | None = None,
    ) -> Certificates:
        """Return what is said by argument, and what the directory of this host has.

        Raises :class:`InvalidArgument` for a file that is not there, :class:`NotSupported` for a certificate
        without its key.
        """
        authorities = [] if authority is None else [os.fspath(authority)]
        pairs: list[tuple[str, str | None]] = []
        if isinstance(certificate, tuple):
            pairs.append(certificate)
        elif certificate is not None:
            pairs.append((os.fspath(certificate), None))
        for name, path in [("ca", each) for each in authorities] + [
            ("certificate", each) for pair in pairs for each in pair if each is not None
        ]:
            if not os.path.isfile(path):
                raise InvalidArgument(name, path, "there is no such file")
        place = Path(DIRECTORY, host)
        if os.path.isdir(place):
            authorities += [str(path) for path in sorted(place.glob("*.crt"))]
            for own in [] if pairs else sorted(place.glob("*.cert")):
                key = own.with_suffix(".key")
                if not key.is_file():
                    raise NotSupported(
                        f"{own} has no key", f"put the key at {key}, or remove the certificate"
                    )
                pairs.append((str(own), str(key)))
        return cls(authorities=tuple(authorities), pairs=tuple(pairs))

    def context(self, *, own: bool, verified: bool) -> ssl.SSLContext:
        """Return the rules for connections; ``own`` are those to the registry itself, which alone see our certificate.

        Raises :class:`NotSupported` for a file that holds no certificate.
        """
        import ssl

        context = ssl.create_default_context()
        for path in self.authorities:
            try:
                context.load_verify_locations(cadata=_text(path))
            except (OSError, ValueError) as error:
                raise NotSupported(
                    f"{path} holds no certificate authority: {error}", "put PEM there"
                ) from None
        for certificate, key in self.pairs if own else ():
            try:
                # A password is asked for at the terminal otherwise, whoever reads there.
                context.load_cert_chain(certificate, key, password="")
            except (OSError, ValueError) as error:
                raise NotSupported(
                    f"{certificate} is no certificate with its key: {error}",
                    "put PEM there, the key without password",
                ) from None
        if not verified:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def _text(path: str) -> str:
    # O_NONBLOCK: a fifo in the place of the file must not hold us.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(fd, encoding="ascii", errors="replace") as file:
        return file.read(_LARGEST)
