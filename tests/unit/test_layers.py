"""Imports go down only, third-party packages have one home, and some calls have none.

Reads every module of the package; nothing is imported or run.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "pycontainer"

#: Bottom to top. Modules of one line do not import each other.
FLOORS = [
    {"errors"},
    {"duration", "home", "size"},
    {"kernel"},
    {"state"},
    {"image"},
    {"network", "volume"},
    {"checkup"},
    {"container"},
    {"build"},
    {"engine"},
    {"cli", "api", "aio", "oci_runtime", "pytest_plugin", "distributed", "__init__", "__main__"},
]

#: (importer, imported) between units, with the reason.
UPWARD = {
    ("__main__", "cli"): "python -m pycontainer is the command line",
    ("cli", "__init__"): "the command line tells the version of the library",
}
#: The same, for imports below `if TYPE_CHECKING`.
UPWARD_FOR_TYPES = {
    ("errors", "container"): "ContainerFailed.result is typed by what it carries",
}

#: Package -> the modules, or packages, that may import it.
HOMES = {
    "dns": {"pycontainer.network.dns"},
    "pyroute2": set[str](),  # pycontainer.network.netlink says why
    "prctl": {"pycontainer.kernel.capabilities"},
    "cffi": set[str](),  # csrc/build_native.py, outside the package
    "pycontainer._native": {"pycontainer.kernel.native"},
    # The C boundary is csrc/, typed and compiled; a program for a container's own Python has none.
    "ctypes": {"pycontainer.container.calls.inside"},
    "multiprocessing": set[str](),  # forks
    "http": {"pycontainer.image.registry", "pycontainer.api"},
    "urllib.request": {"pycontainer.image.registry"},
    "urllib3": {"pycontainer.image.registry.transport"},
    "rich": {"pycontainer.image.bars"},
    "ssl": {"pycontainer.image.registry", "pycontainer.api"},
    "asyncio": {"pycontainer.aio", "pycontainer.api"},
}

PROCESS_WIDE = "changes the whole host process"
FORKS = "copies the page tables of the host process, and runs Python between fork and exec"
UNCONFINED = "the one way to make a process is kernel.spawn"
BARE_PID = "a pid may be another process by now: use the pidfd"
#: Dotted call -> why nobody makes it.
BANNED = {
    "os.fork": FORKS,
    "os.forkpty": FORKS,
    "pty.fork": FORKS,
    "pty.spawn": FORKS,
    "os.register_at_fork": PROCESS_WIDE,
    "os.system": "a shell parses the argument",
    "os.popen": "a shell parses the argument",
    "os.posix_spawn": UNCONFINED,
    "os.posix_spawnp": UNCONFINED,
    "os.execv": "replaces the host process",
    "os.execve": "replaces the host process",
    "os.execvp": "replaces the host process",
    "os.execvpe": "replaces the host process",
    "os._exit": "ends the host process without its cleanup",
    "os.abort": "ends the host process",
    "os.chdir": PROCESS_WIDE,
    "os.fchdir": PROCESS_WIDE,
    "os.chroot": PROCESS_WIDE,
    "os.umask": PROCESS_WIDE,
    "os.nice": PROCESS_WIDE,
    "os.setpriority": PROCESS_WIDE,
    "os.setsid": PROCESS_WIDE,
    "os.setpgid": PROCESS_WIDE,
    "os.setpgrp": PROCESS_WIDE,
    "os.putenv": PROCESS_WIDE,
    "os.unsetenv": PROCESS_WIDE,
    "os.environ.update": PROCESS_WIDE,
    "os.environ.setdefault": PROCESS_WIDE,
    "os.environ.pop": PROCESS_WIDE,
    "os.unshare": PROCESS_WIDE,
    "os.setns": PROCESS_WIDE,
    "os.setuid": PROCESS_WIDE,
    "os.setgid": PROCESS_WIDE,
    "os.seteuid": PROCESS_WIDE,
    "os.setegid": PROCESS_WIDE,
    "os.setreuid": PROCESS_WIDE,
    "os.setregid": PROCESS_WIDE,
    "os.setresuid": PROCESS_WIDE,
    "os.setresgid": PROCESS_WIDE,
    "os.setgroups": PROCESS_WIDE,
    "os.initgroups": PROCESS_WIDE,
    "resource.setrlimit": PROCESS_WIDE,
    "resource.prlimit": "limits are set by the child itself before exec",
    "locale.setlocale": PROCESS_WIDE,
    "socket.setdefaulttimeout": PROCESS_WIDE,
    "signal.signal": "the handlers are the host's",
    "signal.sigaction": "the handlers are the host's",
    "signal.set_wakeup_fd": "the event loop's",
    "signal.setitimer": PROCESS_WIDE,
    "signal.alarm": PROCESS_WIDE,
    "signal.siginterrupt": PROCESS_WIDE,
    "os.wait": "reaps the host's own children",
    "os.wait3": "reaps the host's own children",
    "os.wait4": BARE_PID,
    "os.waitpid": BARE_PID,
    "os.kill": BARE_PID,
    "os.killpg": BARE_PID,
    "signal.pthread_kill": BARE_PID,
    "threading.Thread": "no hidden Python thread below the interfaces: a forking host would lose it",
    "warnings.filterwarnings": PROCESS_WIDE,
    "warnings.simplefilter": PROCESS_WIDE,
    "logging.basicConfig": PROCESS_WIDE,
    "tempfile.mktemp": "another process may take the name first",
    "tarfile.open": "images are hostile: the reader in image/unpack bounds and resolves everything",
    "shutil.unpack_archive": "images are hostile: the reader in image/unpack bounds and resolves everything",
    "pickle.loads": "runs what the bytes say",
    "pickle.load": "runs what the bytes say",
    "eval": "runs what the text says",
    "exec": "runs what the text says",
    "__import__": "hides an import from this test",
    "importlib.import_module": "hides an import from this test",
}
#: Module -> calls that are right there, with the reason.
EXCUSED: dict[str, dict[str, str]] = {
    "pycontainer": {"importlib.import_module": "the public names load their modules on first use"},
    "pycontainer.kernel.reaper": {
        "os.register_at_fork": "a forked copy of the host must let go of its parent's leash"
    },
    "pycontainer.kernel.scribe": {
        "os.register_at_fork": "a forked copy of the host must let go of its parent's writer of logs"
    },
    "pycontainer.kernel.steward": {
        "pickle.loads": "both ends are this code, over memory that nobody else has: no byte is foreign code"
    },
    "pycontainer.network.networks": {
        "os.register_at_fork": "a forked copy of the host opens records of its own"
    },
    "pycontainer.image.relay": {
        "threading.Thread": "it ends with the call that starts it, which one thread of a forked copy does not go on with"
    },
    "pycontainer.image.forks": {
        "os.register_at_fork": "a forked copy of the host must let go of its parent's locks and database"
    },
    "pycontainer.image.catalog": {
        "threading.Thread": "it deletes what nobody has a name for; what it does not finish the next process does"
    },
    "pycontainer.container.calls.inside": dict.fromkeys(
        (
            "os.fork",
            "os._exit",
            "os.kill",
            "os.wait4",
            "signal.signal",
            "signal.set_wakeup_fd",
            "pickle.loads",
            "exec",
            "__import__",
            "importlib.import_module",
        ),
        "it is no module of this process: a program that a container's own Python runs",
    ),
    "pycontainer.container.calls.executor": {
        "threading.Thread": "each drives one container, as in the executors of the standard library"
    },
    "pycontainer.container.pool": {
        "threading.Thread": "it sets up what a run would have to wait for; without it a run does that itself"
    },
    "pycontainer.engine.default": {
        "os.register_at_fork": "the leases of the default engine are the parent's"
    },
    "pycontainer.cli": {"signal.signal": "the command line is its own host process"},
    "pycontainer.cli.attached": {
        "threading.Thread": "the command line is its own host process, which forks nothing"
    },
    "pycontainer.cli.catalog": {
        "importlib.import_module": "the command that is called is loaded, and no other"
    },
}


@attrs.frozen(kw_only=True)
class Import:
    """One import statement."""

    importer: str
    imported: str
    line: int
    for_types: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def _modules() -> dict[str, ast.Module]:
    modules = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = list(path.relative_to(ROOT).with_suffix("").parts)
        if parts[-1] == "__init__":
            parts.pop()
        modules[".".join(parts)] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return modules


MODULES = _modules()


def _imports(name: str, tree: ast.Module) -> Iterator[Import]:
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno}: imports are absolute"
            # `from pycontainer.kernel import fd` imports a module; `from x import Class` names one of x.
            targets = [_longest_module(f"{node.module}.{alias.name}") for alias in node.names]
        else:
            continue
        for target in targets:
            yield Import(importer=name, imported=target, line=node.lineno, for_types=id(node) in for_types)


def _longest_module(dotted: str) -> str:
    if dotted in MODULES or dotted == "pycontainer._native":
        return dotted
    return dotted.rpartition(".")[0]


IMPORTS = [found for name, tree in MODULES.items() for found in _imports(name, tree)]


def _unit(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def _floor(unit: str) -> int:
    return next((level for level, units in enumerate(FLOORS) if unit in units), -1)


def _inside(module: str, places: set[str]) -> bool:
    return any(module == place or module.startswith(place + ".") for place in places)


def _climbs(found: Import) -> bool:
    importer, imported = _unit(found.importer), _unit(found.imported)
    excuses = UPWARD | UPWARD_FOR_TYPES if found.for_types else UPWARD
    return (
        importer != imported and _floor(imported) >= _floor(importer) and (importer, imported) not in excuses
    )


def _none(found: list[str]) -> None:
    if found:
        pytest.fail("\n".join(found), pytrace=False)


def test_every_module_has_a_floor() -> None:
    units = {_unit(module) for module in MODULES}
    _none([f"{unit}: name its place in FLOORS" for unit in sorted(units) if _floor(unit) < 0])


def test_imports_go_down_only() -> None:
    ours = [
        found
        for found in IMPORTS
        if found.imported.split(".")[0] == "pycontainer" and found.imported != "pycontainer._native"
    ]
    _none([f"{found}, which is not below it" for found in ours if _climbs(found)])


@pytest.mark.parametrize("package", HOMES)
def test_package_is_imported_only_at_home(package: str) -> None:
    strangers = [
        str(found)
        for found in IMPORTS
        if _inside(found.imported, {package})
        and not _inside(found.importer, HOMES[package])
        and not found.for_types
    ]
    _none(strangers)


def _calls(name: str, tree: ast.Module) -> Iterator[tuple[str, int, ast.Call]]:
    """Calls by the full name of what is called: `from os import fork` and `import os as o` do not hide it."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update({alias.asname: alias.name for alias in node.names if alias.asname})
        elif isinstance(node, ast.ImportFrom):
            names.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            head, dot, rest = ast.unparse(node.func).partition(".")
            yield names.get(head, head) + dot + rest, node.lineno, node


def _banned(name: str, tree: ast.Module) -> list[str]:
    found = []
    for call, line, node in _calls(name, tree):
        reason = BANNED.get(call)
        if reason and call not in _excuses(name):
            found.append(f"{name}:{line}: {call}: {reason}")
        if any(keyword.arg == "preexec_fn" for keyword in node.keywords):
            found.append(f"{name}:{line}: preexec_fn: {FORKS}")
        if any(keyword.arg == "shell" for keyword in node.keywords):
            found.append(f"{name}:{line}: shell=: a shell parses the argument")
    return found


def _excuses(module: str) -> set[str]:
    return {
        call
        for place, calls in EXCUSED.items()
        for call in calls
        if module == place or (place != "pycontainer" and module.startswith(place + "."))
    }


def test_nobody_makes_a_banned_call() -> None:
    _none([line for name, tree in MODULES.items() for line in _banned(name, tree)])


def test_nobody_changes_the_environment() -> None:
    """Assignments to os.environ, which are no calls."""
    found = []
    for name, tree in MODULES.items():
        for node in ast.walk(tree):
            targets = node.targets if isinstance(node, ast.Assign | ast.Delete) else []
            found += [
                f"{name}:{node.lineno}" for target in targets if ast.unparse(target).startswith("os.environ[")
            ]
    _none(found)


class TestTheReaderItself:
    """It must be able to fail."""

    @pytest.mark.parametrize(
        "source",
        [
            "import os\nos.fork()",
            "from os import fork\nfork()",
            "import os as o\no.fork()",
            "from os import fork as f\nf()",
        ],
    )
    def test_a_banned_call_is_found_under_any_name(self, source: str) -> None:
        assert _banned("pycontainer.x", ast.parse(source)) != []

    def test_preexec_fn_is_found(self) -> None:
        assert _banned("pycontainer.x", ast.parse("subprocess.run(a, preexec_fn=f)")) != []

    @pytest.mark.parametrize(
        ("importer", "source"),
        [
            ("pycontainer.kernel.fd", "from pycontainer.container.spec import Spec"),
            ("pycontainer.kernel.fd", "def f():\n    import pycontainer.engine"),
            (
                "pycontainer.kernel.fd",
                "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pycontainer.engine",
            ),
            ("pycontainer.volume", "from pycontainer.network import link"),
            ("pycontainer.engine", "import pycontainer"),
        ],
    )
    def test_an_import_upwards_is_found(self, importer: str, source: str) -> None:
        assert any(_climbs(found) for found in _imports(importer, ast.parse(source)))

    def test_types_alone_may_point_upwards_from_the_errors(self) -> None:
        source = "if TYPE_CHECKING:\n    from pycontainer.container.result import Result\n"
        assert not any(_climbs(found) for found in _imports("pycontainer.errors", ast.parse(source)))
        assert any(
            _climbs(found)
            for found in _imports("pycontainer.errors", ast.parse(source.splitlines()[1].strip()))
        )
