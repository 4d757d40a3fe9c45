"""The house rules hold in a real pytest run: leaks fail, needs fail or are skipped by name, typing errors are errors."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Nine starts of pytest; nothing in them depends on the kernel.
pytestmark = pytest.mark.slow


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A copy of the rules with no tests yet."""
    shutil.copytree(ROOT / "tests/support", tmp_path / "tests/support")
    shutil.copy(ROOT / "tests/conftest.py", tmp_path / "tests")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def run(suite: Path, source: str, *options: str) -> subprocess.CompletedProcess[str]:
    (suite / "tests/test_it.py").write_text(source, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", *options]
    return subprocess.run(command, cwd=suite, env=environment, capture_output=True, text=True, check=False)


def test_a_clean_test_passes(suite: Path) -> None:
    done = run(suite, "def test_it(): pass")
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_a_leak_fails_the_test_and_is_named(suite: Path) -> None:
    done = run(suite, "import os\ndef test_it(): os.open('/dev/null', os.O_RDONLY)")
    assert done.returncode == 1
    assert "test_it did not leave everything as it was" in done.stdout
    assert "-> /dev/null" in done.stdout


def test_a_missing_need_fails(suite: Path) -> None:
    wrong = "user" if os.geteuid() == 0 else "root"
    done = run(suite, f"import pytest\n@pytest.mark.needs('{wrong}')\ndef test_it(): pass")
    assert done.returncode == 1
    assert f"needs {wrong}" in done.stdout


def test_a_missing_need_that_is_named_skips_with_the_reason(suite: Path) -> None:
    wrong, right = ("user", "root") if os.geteuid() == 0 else ("root", "user")
    source = f"import pytest\n@pytest.mark.needs('{wrong}')\ndef test_it(): pass\n@pytest.mark.needs('{right}')\ndef test_that(): pass"
    done = run(suite, source, "--allow-missing", wrong)
    assert done.returncode == 0, done.stdout
    assert "1 passed, 1 skipped" in done.stdout
    assert f"needs {wrong}: " in done.stdout


def test_an_unknown_need_is_an_error(suite: Path) -> None:
    done = run(suite, "import pytest\n@pytest.mark.needs('fame')\ndef test_it(): pass")
    assert done.returncode == 4
    assert "needs('fame') is not known" in done.stderr + done.stdout


def test_an_unknown_name_on_the_command_line_is_an_error(suite: Path) -> None:
    done = run(suite, "def test_it(): pass", "--allow-missing", "fame")
    assert done.returncode == 4


def test_a_warning_is_an_error(suite: Path) -> None:
    done = run(suite, "import warnings\ndef test_it(): warnings.warn('careful')")
    assert done.returncode == 1


def test_a_mark_that_is_not_declared_is_an_error(suite: Path) -> None:
    done = run(suite, "import pytest\n@pytest.mark.fast\ndef test_it(): pass")
    assert done.returncode == 2


def test_the_engine_root_of_a_session_is_its_own_and_goes_with_it(suite: Path) -> None:
    source = "import os, pathlib\ndef test_it(tmp_path):\n    pathlib.Path('root').write_text(os.environ['PYCONTAINER_ROOT'])\n    os.makedirs(os.environ['PYCONTAINER_ROOT'] + '/image', mode=0)"
    done = run(suite, source)
    assert done.returncode == 0, done.stdout
    root = Path((suite / "root").read_text(encoding="utf-8"))
    assert root != Path(os.environ["PYCONTAINER_ROOT"])
    assert not root.parent.exists()
