"""`import pycontainer` loads nothing heavy: a test run, a command line and a web server all pay for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HEAVY = {
    "asyncio",
    "concurrent.futures",
    "dataclasses",
    "dns",
    "http",
    "inspect",
    "logging",
    "pyroute2",
    "shutil",
    "sqlite3",
    "ssl",
    "subprocess",
    "tarfile",
    "tempfile",
    "urllib.request",
}

#: What `attrs` and `cffi` need themselves is theirs; the start of the interpreter (site, .pth files) is not ours.
SCRIPT = """
import sys
import attrs
try:
    import _cffi_backend
except ImportError:
    pass
before = set(sys.modules)
import pycontainer
print("\\n".join(set(sys.modules) - before))
"""


def test_importing_the_package_imports_nothing_heavy(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        cwd=tmp_path,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    loaded = set(done.stdout.split())
    assert "pycontainer" in loaded
    assert loaded & HEAVY == set()
