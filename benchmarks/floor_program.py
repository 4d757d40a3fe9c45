"""The floor as a contender: compiled when its sources are newer, started with the material."""

from __future__ import annotations

import glob
import os
import shlex
import subprocess
from collections.abc import Sequence

import attrs

from benchmarks.benchmark import BenchmarkError
from benchmarks.contender import Program
from benchmarks.material import Material
from pycontainer.kernel import capabilities

_HERE = os.path.dirname(os.path.abspath(__file__))
_SOURCES = f"{_HERE}/floor"
_BINARY = f"{os.path.dirname(_HERE)}/build/benchmarks/floor"
_STEP = f"{_BINARY}-step"
_FLAGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror", "-pthread"]
_ALONE = ["-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-fno-pie", "-no-pie"]


@attrs.frozen(kw_only=True)
class Spot:
    """A directory in which each round makes a cgroup, the files that are written there, and those that are read."""

    directory: str
    unified: bool
    limits: tuple[tuple[str, str], ...] = ()
    counters: tuple[str, ...] = ()


def build() -> str:
    """Compile the floor if it is not up to date; the program's path."""
    sources = sorted(glob.glob(f"{_SOURCES}/*.[ch]"))
    if not os.path.exists(_BINARY) or os.path.getmtime(_BINARY) < max(map(os.path.getmtime, sources)):
        os.makedirs(os.path.dirname(_BINARY), exist_ok=True)
        step = f"{_SOURCES}/step.c"
        units = [source for source in sources if source.endswith(".c") and source != step]
        compile_program(*_ALONE, step, "-o", _STEP)
        compile_program(*units, "-o", _BINARY)
    return _BINARY


def compile_program(*arguments: str) -> None:
    """Compile with the flags of the floor. Raises :class:`BenchmarkError`."""
    command = [*shlex.split(os.environ.get("CC", "cc")), *_FLAGS, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchmarkError(f"{arguments[-1]} does not compile:\n{done.stderr}")


def start_floor(
    material: Material,
    *,
    network: str = "none",
    userns: str = "auto",
    container: int | None = None,
    spots: Sequence[Spot] = (),
    name: str = "floor (C)",
) -> Program:
    """The floor, ready for commands; with as many identities as the material has."""
    settings = [
        *(f"masked={path}" for path in material.security.masked),
        *(f"read_only={path}" for path in material.security.read_only),
        *(f"environment={variable}" for variable in material.environment),
        *(f"program={path}" for path in material.programs),
        f"step={_STEP}",
        f"seccomp={material.seccomp}",
        f"capabilities={material.capability_mask:#x}",
        f"last_capability={capabilities.last()}",
        f"own_network={int(network != 'host')}",
        f"skeleton={material.host_skeleton}",
    ]
    if userns == "auto":
        settings += [f"identity={each.base:#x}:{each.skeleton}" for each in material.identities]
    if container is not None:
        settings.append(f"container={container}")
    for spot in spots:
        settings.append(f"{'tree' if spot.unified else 'hierarchy'}={spot.directory}")
        settings += [f"limit={file}={value}" for file, value in spot.limits]
        settings += [f"counter={file}" for file in spot.counters]
    return Program(name, [build(), *settings])
