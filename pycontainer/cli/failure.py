"""Failures: one line on stderr that names the thing and the way out, and the exit status."""

from __future__ import annotations

import sys

from pycontainer.cli.text import coloured, printable
from pycontainer.errors import CommandNotExecutable, CommandNotFound, InvalidArgument

#: Commands that tell their own failures from the program's, as in Docker.
_STARTING = frozenset({"run"})
#: Arguments of the library whose option is called otherwise.
_OPTIONS = {
    "cpu_weight": "cpu-shares", "devices": "device", "group_add": "group-add", "io_max": "device-read-bps", "labels": "label",
    "memory_low": "memory-reservation", "mounts": "mount", "pids": "pids-limit", "size": "storage-opt",
    "sysctls": "sysctl", "ulimits": "ulimit", "workdir": "workdir", "ports": "publish", "aliases": "network-alias",
    "extra_hosts": "add-host", "dns_options": "dns-option", "capability": "cap-add", "options": "opt", "changes": "change",
}  # fmt: skip
#: Arguments that are no options of a command.
_PLAIN = frozenset(
    {
        "image",
        "name",
        "command",
        "config",
        "container",
        "network",
        "path",
        "file",
        "port",
        "reference",
        "ps options",
    }
)
#: Ways out that are the library's, and ours.
_REASONS = {
    "no such network: make it with Network.create": "no such network: 'pycontainer network create' makes one",
}
#: Values of what was not given, or of an option that has none.
_NO_VALUES = (None, True, "")


def tell(error: BaseException | str) -> None:
    """Write the line."""
    text = error if isinstance(error, str) else sentence(error)
    print(f"{coloured('pycontainer:', 'red', sys.stderr)} {printable(text)}", file=sys.stderr)


def sentence(error: BaseException) -> str:
    """What an exception says, in the words of the command line, as one line."""
    if isinstance(error, InvalidArgument) and error.reason == "no such container":
        text = f"no such container: {error.value}"
    elif isinstance(error, InvalidArgument):
        text = f"{_thing(error)}: {_REASONS.get(error.reason, error.reason)}"
    elif isinstance(error, OSError) and not str(error).strip():
        text = type(error).__name__
    elif type(error).__module__ == "builtins" and isinstance(error, OSError) and error.filename:
        text = f"{error.filename}: {error.strerror}"
    else:
        text = str(error)
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())


def _thing(error: InvalidArgument) -> str:
    """What is wrong, as it was typed."""
    name, value = error.argument, error.value
    has_value = not any(value is each or value == each == "" for each in _NO_VALUES)
    if name in _PLAIN:
        return f"{name} {value!r}" if has_value else name
    if name == "filters" and isinstance(value, dict):
        return "--filter " + ", ".join(f"{key}={each}" for key, each in value.items())
    option = f"--{_OPTIONS.get(name, name.replace('_', '-'))}"
    return f"{option} {value}" if has_value else option


def status(error: BaseException, command: str) -> int:
    """The exit status: 127 and 126 for programs, 125 for what keeps ``run`` from starting one, else 1."""
    if isinstance(error, (CommandNotFound, CommandNotExecutable)):
        return error.exit_code
    return 125 if command in _STARTING else 1
