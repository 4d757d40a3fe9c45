"""A real distribution as an image: Debian by debootstrap(8), Python and PostgreSQL by apt in layers of their own.

It is an OCI layout, made with nothing of the library, and kept below /var/tmp by a name made from its recipe:
making it takes minutes and the network.  Needs root.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.kept import kept

SUITE = "bookworm"
MIRROR = "http://deb.debian.org/debian"
ENTRY = "/usr/local/bin/entry"
PGDATA = "/var/lib/postgresql/data"
#: By layer: what is done in it, by a shell as root of the tree.
STEPS = (
    "echo 'APT::Install-Recommends false;' > /etc/apt/apt.conf.d/90small; rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin",
    "apt-get update -q && apt-get install -qy python3 && apt-get clean && rm -rf /var/lib/apt/lists/*",
    (
        "mkdir /etc/postgresql-common && echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf;"
        " apt-get update -q && apt-get install -qy postgresql && apt-get clean && rm -rf /var/lib/apt/lists/*;"
        f" printf '#!/bin/sh\\nexport ENTERED=yes\\nexec \"$@\"\\n' > {ENTRY} && chmod 755 {ENTRY};"
        " ln -s /usr/lib/postgresql/15/bin/postgres /usr/local/bin/postgres"
    ),
)
CONFIG: dict[str, Any] = {
    "User": "postgres",
    "Env": [
        "PATH=/usr/local/bin:/usr/bin:/bin:/usr/lib/postgresql/15/bin",
        "LANG=C.UTF-8",
        f"PGDATA={PGDATA}",
    ],
    "Entrypoint": [ENTRY],
    "Cmd": ["python3", "-c", "print('no command')"],
    "WorkingDir": "/var/lib/postgresql",
    "StopSignal": "SIGINT",
    "Labels": {"org.example.suite": SUITE},
}
#: Layers are packed as they may be.
_PACKED = ("gzip", "none", "gzip")
_TYPES = {
    "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "none": "application/vnd.oci.image.layer.v1.tar",
}
_MINUTES = 1200


def layout() -> Path:
    """The directory of the OCI layout, which has one image; made when it is not there yet."""
    recipe = [SUITE, MIRROR, STEPS, CONFIG, _PACKED, os.uname().machine]
    return kept("distribution", recipe, "layout", _make)


def blob(place: Path, digest: str) -> Path:
    """The file of a blob in a layout."""
    return place / "blobs" / digest.replace(":", "/")


def manifest(place: Path) -> tuple[bytes, dict[str, Any]]:
    """The manifest of the image: its bytes, and what they say."""
    index = json.loads((place / "index.json").read_text())
    raw = blob(place, index["manifests"][0]["digest"]).read_bytes()
    return raw, json.loads(raw)


def _make(work: Path) -> None:
    base = work / "layer0"
    _call("debootstrap", "--variant=minbase", SUITE, str(base), MIRROR)
    layers = [base]
    for number, step in enumerate(STEPS):
        if number > 0:
            layers.append(work / f"layer{number}")
            layers[-1].mkdir()
        _in_chroot(work, layers, step)
    place = work / "layout"
    (place / "blobs/sha256").mkdir(parents=True)
    packed = [_pack(place, layer, kind) for layer, kind in zip(layers, _PACKED, strict=True)]
    _describe(place, [each for each, _ in packed], [diff_id for _, diff_id in packed])


def _in_chroot(work: Path, layers: list[Path], step: str) -> None:
    """Run a script in an overlay of the layers, which writes to the last one; its mounts are gone afterwards."""
    *lowers, upper = layers
    (work / "merged").mkdir(exist_ok=True)
    (work / "work").mkdir(exist_ok=True)
    below = ":".join(str(lower) for lower in reversed(lowers))
    mount = (
        f"mount -t overlay -o lowerdir={below},upperdir={upper},workdir={work}/work overlay {work}/merged"
        if lowers
        else f"mount --bind {upper} {work}/merged"
    )
    # Services are not started by what is installed (invoke-rc.d(8)).
    setup = f"printf '#!/bin/sh\\nexit 101\\n' > {work}/policy; chmod 755 {work}/policy"
    files = f"touch {work}/merged/usr/sbin/policy-rc.d; mount --bind {work}/policy {work}/merged/usr/sbin/policy-rc.d"
    files += f"; mount -t proc proc {work}/merged/proc"
    resolve = f"cp /etc/resolv.conf {work}/merged/etc/resolv.conf"
    enter = f'DEBIAN_FRONTEND=noninteractive LC_ALL=C chroot {work}/merged /bin/sh -ec "$1"'
    script = f"set -e; {setup}; {mount}; {files}; {resolve}; {enter}"
    script += f"; umount {work}/merged/proc {work}/merged/usr/sbin/policy-rc.d; rm {work}/merged/usr/sbin/policy-rc.d"
    _call("unshare", "--mount", "--pid", "--fork", "--propagation", "private", "sh", "-c", script, "sh", step)


def _call(*command: str) -> None:
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        if name in os.environ:
            env[name] = os.environ[name]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_MINUTES,
        env=env,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(
            f"{command[0]} ended with {done.returncode}:\n{done.stdout[-3000:].decode(errors='replace')}"
        )


# -- packing ---------------------------------------------------------------------------------------


def _pack(place: Path, layer: Path, kind: str) -> tuple[dict[str, Any], str]:
    """Write a layer as a blob; its descriptor and its diff_id."""
    plain = place / "plain.tar"
    with tarfile.open(plain, "w", format=tarfile.PAX_FORMAT) as tar:
        for path, name in _entries(layer, ""):
            _add(tar, path, name)
    diff_id = _digest(plain)
    if kind == "gzip":
        packed = place / "packed"
        with plain.open("rb") as source, gzip.open(packed, "wb", compresslevel=6) as target:
            shutil.copyfileobj(source, target, 1 << 20)
        plain.unlink()
    else:
        packed = plain
    return _store(place, packed, _TYPES[kind]), diff_id


def _entries(top: Path, name: str) -> Iterator[tuple[Path, str]]:
    for entry in sorted(os.scandir(top), key=lambda each: each.name):
        below = f"{name}{entry.name}"
        yield Path(entry.path), below
        if entry.is_dir(follow_symlinks=False):
            yield from _entries(Path(entry.path), f"{below}/")


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    """Add an entry of a tree, or of the upper layer of an overlay: image-spec, layer.md, "Whiteouts"."""
    status = path.lstat()
    if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
        tar.addfile(tarfile.TarInfo(f"{os.path.dirname(name)}/.wh.{os.path.basename(name)}".lstrip("/")))
        return
    if stat.S_ISSOCK(status.st_mode):
        return
    entry = tar.gettarinfo(path, name)
    headers = dict(entry.pax_headers)
    for attribute in os.listxattr(path, follow_symlinks=False):
        if attribute.startswith("trusted.overlay."):
            continue
        value = os.getxattr(path, attribute, follow_symlinks=False)
        headers[f"SCHILY.xattr.{attribute}"] = value.decode("utf-8", "surrogateescape")
    entry.pax_headers = headers
    if entry.isreg():
        with path.open("rb") as file:
            tar.addfile(entry, file)
        return
    tar.addfile(entry)
    if entry.isdir() and _is_opaque(path):
        tar.addfile(tarfile.TarInfo(f"{name}/.wh..wh..opq"))


def _is_opaque(path: Path) -> bool:
    try:
        return os.getxattr(path, "trusted.overlay.opaque", follow_symlinks=False) == b"y"
    except OSError:
        return False


def _describe(place: Path, layers: list[dict[str, Any]], diff_ids: list[str]) -> None:
    """Write configuration, manifest and index."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    document = {
        "architecture": machine,
        "os": "linux",
        "config": CONFIG,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [{"created_by": step} for step in STEPS],
    }
    config = _write(place, document, "application/vnd.oci.image.config.v1+json")
    media_type = "application/vnd.oci.image.manifest.v1+json"
    told = {"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers}
    whole = _write(place, told, media_type)
    whole["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
    (place / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [whole]}))
    (place / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def _write(place: Path, value: dict[str, Any], media_type: str) -> dict[str, Any]:
    path = place / "written"
    path.write_text(json.dumps(value))
    return _store(place, path, media_type)


def _store(place: Path, path: Path, media_type: str) -> dict[str, Any]:
    digest, size = _digest(path), path.stat().st_size
    path.rename(blob(place, digest))
    return {"mediaType": media_type, "digest": digest, "size": size}


def _digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            found.update(piece)
    return f"sha256:{found.hexdigest()}"
