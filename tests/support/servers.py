"""PostgreSQL, Redis and nginx as Debian packages them, with their clients, in one root file system.

It is unpacked from packages that apt downloads as for an empty machine: no debootstrap, no root, nothing installed and
no package's script run.  Kept below /var/tmp by a name made from its recipe: making it takes half a minute and the network.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

import pycontainer as pc
from tests.support.kept import kept

#: What is asked for; apt adds what that depends on.
PACKAGES = (
    "postgresql",
    "redis-server",
    "nginx-light",
    "python3",
    "dash",
    "coreutils",
    "util-linux",
    "iperf3",
)
#: Large, and needed by nothing here: the compiler of queries, and words of other languages.
_LEFT_OUT = ("libllvm", "libz3", "locales", "libc-l10n")
_EXCLUDED = (
    "./usr/share/doc",
    "./usr/share/man",
    "./usr/share/locale",
    "./usr/share/info",
    "*/llvmjit*",
    "./dev",
)
_LINKS = ("bin", "sbin", "lib", "lib64")
_FOLDERS = ("dev", "proc", "sys", "run", "root", "tmp", "var/lib/postgresql", "var/lib/redis", "srv/www")
_ACCOUNTS = {"root": 0, "www-data": 33, "postgres": 101, "redis": 102, "nobody": 65534}
_NGINX = """
user www-data;
daemon off;
worker_processes 1;
pid /run/nginx.pid;
error_log /dev/stderr;
events { }
http {
    access_log off;
    server {
        listen 80;
        listen [::]:80;
        location / { default_type text/plain; return 200 "$remote_addr\\n"; }
        location /files/ { root /srv/www; }
    }
}
"""
#: As the entry point of Docker's image does it: a data directory is made where there is none, by the user of the server.
_POSTGRES = """#!/bin/sh
set -e
mkdir -p "$PGDATA"
chown -R postgres "$PGDATA"
chmod 700 "$PGDATA"
as="setpriv --reuid=postgres --regid=postgres --clear-groups"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    $as initdb --auth=trust --username=postgres --no-sync >/dev/null
    echo "host all all all trust" >> "$PGDATA/pg_hba.conf"
fi
exec $as postgres -c listen_addresses='*' -c unix_socket_directories=/tmp "$@"
"""
#: Raised when what is made of the packages changes.
_VERSION = 1
_MINUTES = 600.0


class NoServers(Exception):
    """The packages cannot be had here; the message says what was tried."""


@attrs.frozen(kw_only=True)
class Server:
    """A server: how it is started, its port, and a client's command, from which ``answer`` comes."""

    name: str
    command: tuple[str, ...]
    port: int
    client: tuple[str, ...]
    answer: str
    env: Mapping[str, str] = attrs.field(factory=dict)

    def ask(self, host: object, port: int | None = None) -> list[str]:
        """The command of its client; ``{}`` and ``{url}`` in that are the host, and the host as in a URL."""
        url = f"[{host}]" if ":" in str(host) else str(host)
        words = {"host": str(host), "url": url, "port": str(port or self.port)}
        return [each.format(**words) for each in self.client]


_FETCH = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).status)"
POSTGRES = Server(
    name="postgres",
    command=("/usr/local/bin/serve-postgres",),
    port=5432,
    client=("psql", "-h", "{host}", "-p", "{port}", "-U", "postgres", "-Atc", "select 6 * 7"),
    answer="42",
    env={"PGDATA": "/var/lib/postgresql/data", "PGCONNECT_TIMEOUT": "10"},
)
REDIS = Server(
    name="redis",
    command=("redis-server", "--bind", "*", "-::*", "--protected-mode", "no", "--save", ""),
    port=6379,
    client=("redis-cli", "-h", "{host}", "-p", "{port}", "ping"),
    answer="PONG",
)
NGINX = Server(
    name="nginx",
    command=("nginx", "-c", "/etc/nginx/nginx.conf"),
    port=80,
    client=("python3", "-c", _FETCH, "http://{url}:{port}/"),
    answer="200",
)
SERVERS = (POSTGRES, REDIS, NGINX)


def image() -> pc.Image:
    """The image, of the tree that is kept."""
    place = tree()
    programs = sorted(str(each)[len(str(place)) :] for each in place.glob("usr/lib/postgresql/*/bin"))
    path = ":".join([*programs, "/usr/local/bin", "/usr/bin", "/usr/sbin"])
    return pc.Image.from_rootfs(place, {"Env": [f"PATH={path}", "LANG=C.UTF-8"], "Cmd": ["sh"]})


@functools.cache
def tree() -> Path:
    """The directory of the root file system, made when it is not there yet. Raises :class:`NoServers`."""
    recipe = [PACKAGES, _LEFT_OUT, _EXCLUDED, _NGINX, _POSTGRES, _VERSION, os.uname().machine, os.geteuid()]
    return kept("servers", recipe, "tree", _make)


def _make(work: Path) -> None:
    top = work / "tree"
    for name in _LINKS:
        (top / "usr" / name).mkdir(parents=True)
        (top / name).symlink_to(f"usr/{name}")
    for package in _download(work):
        if not package.name.startswith(_LEFT_OUT):
            _unpack(package, top)
    for name in _FOLDERS:
        (top / name).mkdir(parents=True, exist_ok=True)
    top.chmod(0o755)
    (top / "tmp").chmod(0o1777)
    accounts = [f"{name}:x:{number}:{number}::/:/bin/sh\n" for name, number in _ACCOUNTS.items()]
    (top / "etc/passwd").write_text("".join(accounts))
    (top / "etc/group").write_text("".join(f"{name}:x:{number}:\n" for name, number in _ACCOUNTS.items()))
    (top / "etc/nginx/nginx.conf").write_text(_NGINX)
    entry = top / "usr/local/bin/serve-postgres"
    entry.parent.mkdir(parents=True, exist_ok=True)
    entry.write_text(_POSTGRES)
    entry.chmod(0o755)


def _download(work: Path) -> list[Path]:
    """The packages with all that they depend on; nothing counts as installed."""
    cache = work / "cache/archives"
    (cache / "partial").mkdir(parents=True)
    (work / "status").touch()
    options = {
        "Dir::State::status": f"{work}/status",
        "Dir::Cache": f"{work}/cache",
        "Debug::NoLocking": "1",
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    _call(["apt-get", *words, "-qy", "--download-only", "install", *PACKAGES])
    return sorted(cache.glob("*.deb"))


def _unpack(package: Path, top: Path) -> None:
    """Not by ``dpkg-deb -x``, which puts directories in the place of /bin and the like."""
    tar = ["tar", "-x", "--keep-directory-symlink", "--no-same-owner", "-C", str(top)]
    tar += [f"--exclude={each}" for each in _EXCLUDED]
    _call(["sh", "-c", 'deb="$1"; shift; dpkg-deb --fsys-tarfile "$deb" | "$@"', "sh", str(package), *tar])


def _call(command: Sequence[str]) -> None:
    if shutil.which(command[0]) is None:
        raise NoServers(f"there is no program {command[0]}")
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_MINUTES, check=False
    )
    if done.returncode:
        raise NoServers(f"{' '.join(command[:1])}: {done.stderr.strip()[-2000:]}")
