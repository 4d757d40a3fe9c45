"""The hostile program that containers are tried with."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[1] / "support" / "payload"


@pytest.fixture(scope="session")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``tests/support/payload`` as one static file, which runs in any image and on the host."""
    target = tmp_path_factory.mktemp("payload") / "probe"
    sources = [str(path) for path in sorted(SOURCES.glob("*.c"))]
    compiler = shutil.which("cc")
    assert compiler is not None
    flags = ["-static", "-O2", "-Wall", "-Wextra", "-Werror", "-Wno-unused-result"]
    subprocess.run([compiler, *flags, *sources, "-o", str(target)], check=True, timeout=120)
    # Containers of other users than the caller read it, too.
    target.chmod(0o755)
    for above in target.parents:
        if above.is_relative_to(tmp_path_factory.getbasetemp().parent):
            above.chmod(above.stat().st_mode | 0o011)
    return target
