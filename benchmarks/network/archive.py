"""An image with nothing but ``probe``, as an archive that every engine loads: Docker's format, made without any of them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile

from benchmarks.floor_program import compile_program

NAME = "bench.example/probe:1"
PROBE = "/probe"
_HERE = os.path.dirname(os.path.abspath(__file__))
_BINARY = f"{os.path.dirname(os.path.dirname(_HERE))}/build/benchmarks/probe"


def probe() -> str:
    """The program, compiled if it is not up to date."""
    source = f"{_HERE}/probe.c"
    if not os.path.exists(_BINARY) or os.path.getmtime(_BINARY) < os.path.getmtime(source):
        os.makedirs(os.path.dirname(_BINARY), exist_ok=True)
        compile_program("-static", source, "-o", _BINARY)
    return _BINARY


def make_archive(path: str) -> None:
    """Write the image to ``path``."""
    with open(probe(), "rb") as file:
        program = file.read()
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        info = tarfile.TarInfo(PROBE.lstrip("/"))
        info.mode = 0o755
        _add(tar, info, program)
    config = json.dumps({
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine],
        "os": "linux",
        "config": {"Cmd": [PROBE, "clock"], "Env": ["PATH=/"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"]},
    }).encode()  # fmt: skip
    named = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": named, "RepoTags": [NAME], "Layers": ["layer.tar"]}]
    with tarfile.open(path, "w") as tar:
        _add(tar, tarfile.TarInfo(named), config)
        _add(tar, tarfile.TarInfo("layer.tar"), layer.getvalue())
        _add(tar, tarfile.TarInfo("manifest.json"), json.dumps(manifest).encode())


def _add(tar: tarfile.TarFile, info: tarfile.TarInfo, data: bytes) -> None:
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
