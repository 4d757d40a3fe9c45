"""The library as a contender: a worker process with an engine root of its own."""

from __future__ import annotations

import os
import sys

from benchmarks.contender import Program
from benchmarks.material import Material

_TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def start_worker(
    material: Material,
    *,
    name: str = "pycontainer",
    network: str = "none",
    userns: str = "auto",
    touch: int = 0,
    noise: int = 0,
    limited: bool = False,
    security: str = "default",
) -> Program:
    """A worker, ready for commands. Its engine root is removed with the material."""
    root = f"{material.folder}/engine-{os.urandom(4).hex()}"
    options = ["--root", root, "--network", network, "--userns", userns]
    options += ["--touch", str(touch), "--noise", str(noise)]
    options += ["--security", security, *(["--limited"] if limited else [])]
    env = {**os.environ, "PYTHONPATH": _TOP}
    return Program(name, [sys.executable, "-m", "benchmarks.worker", *options], env)
