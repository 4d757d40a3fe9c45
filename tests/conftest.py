"""The house rules of every test: its needs, its own engine root, and that it leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support import leaks, needs

# A slow machine is no failure, and examples of one run are no state of the next.
settings.register_profile("here", deadline=None, database=None, print_blob=True)
settings.register_profile("emulated", settings.get_profile("here"), max_examples=20)
settings.load_profile("emulated" if "CGROUP2_VM" in os.environ else "here")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--allow-missing",
        action="append",
        default=[],
        metavar="NEED",
        choices=sorted(needs.PROBES),
        help="skip, instead of fail, the tests that need what this host lacks (repeatable)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Give the session a root of its own, on a real file system: an overlay cannot lie on overlay or tmpfs."""
    root = Path(tempfile.mkdtemp(prefix="pycontainer-tests-", dir=_real_directory()))
    config.stash[_ROOT] = root
    os.environ["PYCONTAINER_ROOT"] = str(root / "engine")
    if config.option.basetemp is None:
        config.option.basetemp = str(root / "tmp")


_ROOT = pytest.StashKey[Path]()


def _real_directory() -> str:
    kinds = {}
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        fields = line.split()
        kinds[fields[2]] = fields[fields.index("-") + 1]
    places = ("/var/tmp", "/tmp", str(Path.home()))
    for place in places:
        device = os.stat(place).st_dev
        kind = kinds.get(f"{os.major(device)}:{os.minor(device)}")
        if kind not in {"overlay", "tmpfs", "ramfs"} and os.access(place, os.W_OK):
            return place
    raise pytest.UsageError(f"none of {', '.join(places)} is on a file system that can hold an overlay")


def pytest_unconfigure(config: pytest.Config) -> None:
    root = config.stash.get(_ROOT, None)
    if root is not None:
        _remove(root)


def _remove(root: Path) -> None:
    """Remove a tree; the overlay's work directories in it have no permissions, even for their owner.

    The reaper of a host process that a test ended may still be at work in it.
    """
    # Programs, not os.walk and shutil: a test that failed may have left a tree that is deeper than Python's stack.
    for command in (["chmod", "-R", "u+rwX"], ["rm", "-rf", "--one-file-system"]):
        deadline = time.monotonic() + 5
        while root.exists() and subprocess.run([*command, root], capture_output=True, check=False).returncode:
            if time.monotonic() > deadline:
                break


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell why tests were tried once more: one that passes then may have met a mistake all the same."""
    for report in terminalreporter.stats.get("rerun", ()):
        terminalreporter.section(f"tried again: {report.nodeid} ({report.when})", sep="-")
        terminalreporter.write_line(report.longreprtext[-3000:])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for name in _needs_of(item):
            if name not in needs.PROBES:
                known = ", ".join(sorted(needs.PROBES))
                raise pytest.UsageError(f"{item.nodeid}: needs({name!r}) is not known; there are {known}")


def _needs_of(item: pytest.Item) -> list[str]:
    return [name for mark in item.iter_markers("needs") for name in mark.args]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    for name in _needs_of(item):
        reason = needs.lacking(name)
        if reason is None:
            continue
        if name in item.config.getoption("--allow-missing"):
            pytest.skip(f"needs {name}: {reason}")
        pytest.fail(f"needs {name}: {reason}\n(--allow-missing {name} skips such tests)", pytrace=False)


@pytest.fixture(scope="session", autouse=True)
def _nothing_left_by_the_session() -> Iterator[None]:
    yield from _checked("the session")


@pytest.fixture(autouse=True)
def _nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    yield from _checked(request.node.name)


def _checked(name: str) -> Iterator[None]:
    watch = leaks.Watch()
    yield
    found = watch.leaks()
    if found:
        pytest.fail("\n  ".join([f"{name} did not leave everything as it was:", *found]), pytrace=False)
