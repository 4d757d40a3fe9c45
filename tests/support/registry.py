"""A real registry: Debian's docker-registry on a loopback port, for as long as a test wants it.

Owns the process, its configuration and its storage, all below one directory.  Where the program is not
installed its package is downloaded and unpacked, not installed: the package would start a service that
listens to everybody.
"""

from __future__ import annotations

import functools
import http.client
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from pathlib import Path

import attrs

USER, PASSWORD = "tester", "pa:ss wörd"
#: ``htpasswd -nbB -C 5 tester 'pa:ss wörd'``; made once, so that nobody needs the program.
HTPASSWD = "tester:$2y$05$JFl6DOmKMTcE26YI9Spt3O96bTfnwjgsb8vCxGUUFvsO90Xf.9iI.\n"
START_SECONDS = 20.0


class NoRegistry(Exception):
    """There is no docker-registry here, and none can be had; the message says what was tried."""


@functools.cache
def program() -> str:
    """Return the path of docker-registry."""
    installed = shutil.which("docker-registry")
    if installed is not None:
        return installed
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise NoRegistry("there is no program docker-registry, and no apt-get to have it from")
    root = os.environ.get("PYCONTAINER_ROOT")  # what is beside it is removed at the end of the tests
    place = tempfile.mkdtemp(prefix="docker-registry-", dir=root and os.path.dirname(root))
    for command in (
        ["apt-get", "download", "-q", "docker-registry"],
        ["sh", "-c", "dpkg-deb -x docker-registry_*.deb ."],
    ):
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            raise NoRegistry(f"{' '.join(command)}: {done.stderr.strip()}")
    return f"{place}/usr/bin/docker-registry"


def free_port() -> int:
    """Return a port of this machine that nobody listens on at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@attrs.define(kw_only=True)
class RealRegistry:
    """A registry that runs; ``kill`` and ``start`` it as often as you like: storage and port stay."""

    directory: Path
    auth: bool = False
    tls: Authority | None = None
    clients: bool = False
    port: int = attrs.field(factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        """What names of images have before the first slash."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What it wrote: one line for each request, among others."""
        return (self.directory / "log").read_text(errors="replace")

    def start(self) -> None:
        """Start it; it answers when this returns."""
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "htpasswd").write_text(HTPASSWD)
        config = self.directory / "config.yml"
        config.write_text(self._config())
        with open(self.directory / "log", "ab") as log:
            self._process = subprocess.Popen(
                [program(), "serve", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"},
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise NoRegistry(f"docker-registry does not start:\n{self.log[-2000:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """End it as nobody expects; nothing happens when it does not run."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def __enter__(self) -> RealRegistry:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _answers(self) -> bool:
        connection: http.client.HTTPConnection
        if self.tls is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        elif self.clients:
            # Without a certificate there is no answer; that it listens has to do.
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        else:
            context = ssl.create_default_context(cafile=str(self.tls.certificate))
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=5, context=context)
        try:
            connection.request("GET", "/v2/")
            return connection.getresponse().status in {200, 400, 401}
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _config(self) -> str:
        lines = [
            "version: 0.1",
            "log: {level: info, accesslog: {disabled: false}}",
            "storage:",
            f"  filesystem: {{rootdirectory: {self.directory}/storage}}",
            "  delete: {enabled: true}",
            "http:",
            f"  addr: 127.0.0.1:{self.port}",
            # Uploads go on after a restart when the addresses that it gave are still its own.
            "  secret: the same after a restart",
        ]
        if self.tls is not None:
            lines += [
                "  tls:",
                f"    certificate: {self.tls.directory}/server.pem",
                f"    key: {self.tls.directory}/server.key",
            ]
            if self.clients:
                lines.append(f"    clientcas: [{self.tls.certificate}]")
        if self.auth:
            lines += ["auth:", f"  htpasswd: {{realm: tests, path: {self.directory}/htpasswd}}"]
        return "\n".join(lines) + "\n"


@attrs.frozen
class Authority:
    """A certificate authority made on the spot, with a server's and a client's certificate."""

    directory: Path

    @property
    def certificate(self) -> Path:
        """The authority's own certificate: whoever believes in it believes in the others."""
        return self.directory / "ca.pem"

    @classmethod
    def make(cls, directory: Path, *names: str) -> Authority:
        """Make one, whose server has these names besides those of this machine."""
        directory.mkdir(parents=True, exist_ok=True)
        subject = ",".join(["IP:127.0.0.1", "IP:::1", "DNS:localhost", *(f"DNS:{name}" for name in names)])
        (directory / "server.ext").write_text(f"subjectAltName={subject}\n")
        (directory / "client.ext").write_text("extendedKeyUsage=clientAuth\n")
        _openssl(
            directory,
            *("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout ca.key".split()),
            *("-out ca.pem -subj /CN=tests -addext keyUsage=critical,keyCertSign,cRLSign".split()),
        )
        for name in ("server", "client"):
            _openssl(
                directory,
                *("req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes".split()),
                *(f"-keyout {name}.key -out {name}.csr -subj /CN={name}".split()),
            )
            _openssl(
                directory,
                *(f"x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2".split()),
                *(f"-out {name}.pem -extfile {name}.ext".split()),
            )
        return cls(directory)

    def server_context(self) -> ssl.SSLContext:
        """For servers of the tests' own."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.directory / "server.pem", self.directory / "server.key")
        return context


def _openssl(directory: Path, *arguments: str) -> None:
    done = subprocess.run(
        ["openssl", *arguments], cwd=directory, capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        raise NoRegistry(f"openssl {' '.join(arguments)}: {done.stderr.strip()}")
