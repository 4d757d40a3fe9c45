"""Reads the seccomp JSON of Docker and of the OCI runtime specification into a profile.

By tables: what is not in them is refused by name.  The differences between the two formats are few (Docker
adds ``archMap``, ``includes``, ``excludes``, ``comment`` and ``name``), so one reader takes both.
"""

from __future__ import annotations

import errno as errors
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import attrs

from pycontainer.errors import InvalidArgument, shown
from pycontainer.kernel.seccomp import syscalls
from pycontainer.kernel.seccomp.profile import (
    ALLOW,
    KILL_PROCESS,
    KILL_THREAD,
    LOG,
    LONG,
    TRAP,
    Action,
    Condition,
    Op,
    Profile,
    Rule,
)

T = TypeVar("T")

#: Docker's own is 17 KiB.
MAX_BYTES = 1 << 20
#: Calls times their alternatives: a megabyte could say billions, and a filter has 4096 instructions.
MAX_PAIRS = 1 << 16

ACTIONS = {
    "SCMP_ACT_ALLOW": ALLOW,
    "SCMP_ACT_KILL": KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": KILL_PROCESS,
    "SCMP_ACT_KILL_THREAD": KILL_THREAD,
    "SCMP_ACT_LOG": LOG,
    "SCMP_ACT_TRAP": TRAP,
}
#: These take a number.
NUMBERED = {"SCMP_ACT_ERRNO": Action.errno, "SCMP_ACT_TRACE": Action.trace}

OPERATORS: dict[str, Op] = {
    "SCMP_CMP_EQ": "EQ",
    "SCMP_CMP_GE": "GE",
    "SCMP_CMP_GT": "GT",
    "SCMP_CMP_LE": "LE",
    "SCMP_CMP_LT": "LT",
    "SCMP_CMP_MASKED_EQ": "MASKED_EQ",
    "SCMP_CMP_NE": "NE",
}

#: The specification's names of architectures, and ours where there is a table; x32 is known, and always refused.
ARCHITECTURES = {
    "SCMP_ARCH_X86": "i386",
    "SCMP_ARCH_X86_64": "x86_64",
    "SCMP_ARCH_ARM": "arm",
    "SCMP_ARCH_AARCH64": "aarch64",
} | dict.fromkeys(
    "SCMP_ARCH_" + name
    for name in """
    X32 LOONGARCH64 M68K MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PARISC PARISC64 PPC PPC64 PPC64LE RISCV64
    S390 S390X SH SHEB
    """.split()
)
#: The same by Docker's names in ``includes`` and ``excludes``.
MACHINES = {"amd64": "x86_64", "x86": "i386", "arm": "arm", "arm64": "aarch64"} | dict.fromkeys(
    """
    x32 386 loong64 mips mips64 mips64n32 mipsel mipsel64 mipsel64n32 mips64le mipsle ppc ppc64 ppc64le riscv64 s390
    s390x
    """.split()
)

PROFILE = {
    "architectures",
    "archMap",
    "defaultAction",
    "defaultErrnoRet",
    "flags",
    "listenerMetadata",
    "listenerPath",
    "syscalls",
}
FAMILY = {"architecture", "subArchitectures"}
SYSCALL = {"action", "args", "comment", "errnoRet", "excludes", "includes", "name", "names"}
ARGUMENT = {"index", "op", "value", "valueTwo"}
FILTER = {"arches", "caps", "minKernel"}


def read(source: str | os.PathLike[str] | Mapping[str, Any]) -> Profile:
    """See :meth:`Profile.from_json`."""
    data = _object(source if isinstance(source, Mapping) else _load(source), PROFILE, "seccomp")
    for field in ("flags", "listenerMetadata", "listenerPath"):
        if data.get(field):
            raise InvalidArgument(f"seccomp.{field}", data[field], "not supported")
    entries = _list(data, "syscalls", "seccomp")
    rules: list[Rule] = []
    left = MAX_PAIRS
    for number, entry in enumerate(entries):
        found, pairs = _rules(entry, f"seccomp.syscalls[{number}]", left)
        rules += found
        left -= pairs
    return Profile(
        default=_action(data, "defaultAction", "defaultErrnoRet", "seccomp"),
        rules=rules,
        compat=_compat(data),
    )


def _load(path: str | os.PathLike[str]) -> object:
    import json

    try:
        with open(path, "rb") as file:
            text = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise InvalidArgument("seccomp", path, getattr(error, "strerror", None) or str(error)) from error
    if len(text) > MAX_BYTES:
        raise InvalidArgument("seccomp", os.fspath(path), f"is larger than {MAX_BYTES} bytes")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument("seccomp", os.fspath(path), f"is not JSON: {error}") from error


def _compat(data: Mapping[str, Any]) -> frozenset[str]:
    """The 32-bit calls that are filtered too, rather than killed for."""
    families = _list(data, "archMap", "seccomp")
    arches = {
        _one_of(ARCHITECTURES, name, "seccomp.architectures")
        for name in _list(data, "architectures", "seccomp")
    }
    if families and arches:
        raise InvalidArgument(
            "seccomp.archMap", families, "stands beside architectures: only one of them is needed"
        )
    for number, entry in enumerate(families):
        place = f"seccomp.archMap[{number}]"
        family = _object(entry, FAMILY, place)
        main = _one_of(ARCHITECTURES, family.get("architecture"), f"{place}.architecture")
        below = {_one_of(ARCHITECTURES, name, place) for name in _list(family, "subArchitectures", place)}
        arches |= below & {syscalls.COMPAT.get(main or "")}
    return frozenset(arch for arch in syscalls.COMPAT.values() if arch in arches)


def _rules(entry: object, where: str, most: int) -> tuple[list[Rule], int]:
    """The rules of an entry, and how many pairs of a call and an alternative they are; at most so many."""
    data = _object(entry, SYSCALL, where)
    names = _list(data, "names", where) + ([data["name"]] if data.get("name") else [])
    if not names or (data.get("names") and data.get("name")):
        raise InvalidArgument(f"{where}.names", names, "the names of calls are needed, in one field")
    include, exclude = (
        _object(data.get(field) or {}, FILTER, f"{where}.{field}") for field in ("includes", "excludes")
    )
    arches = _machines(include, f"{where}.includes") if include.get("arches") else set(syscalls.ARCHES)
    arches -= _machines(exclude, f"{where}.excludes")
    with _at(where):
        rule = Rule(
            names=names,
            action=_action(data, "action", "errnoRet", where),
            capabilities=_list(include, "caps", f"{where}.includes"),
            unless=_list(exclude, "caps", f"{where}.excludes"),
            arches=arches,
        )
    alternatives = _alternatives(_list(data, "args", where), f"{where}.args")
    pairs = len(rule.names) * len(alternatives)
    if pairs > most:
        raise InvalidArgument(
            "seccomp.syscalls", where, f"these are more than {MAX_PAIRS} calls with conditions"
        )
    past = _runs_since(exclude, f"{where}.excludes") if exclude.get("minKernel") else False
    ready = _runs_since(include, f"{where}.includes") if include.get("minKernel") else True
    applies = arches and ready and not past
    return [
        attrs.evolve(rule, conditions=conditions) for conditions in alternatives
    ] if applies else [], pairs


def _alternatives(entries: Iterable[object], where: str) -> list[tuple[Condition, ...]]:
    """Conditions that must hold together; or, where two are about one argument, each alone (as runc does)."""
    conditions = tuple(_condition(entry, f"{where}[{number}]") for number, entry in enumerate(entries))
    if len({condition.index for condition in conditions}) < len(conditions):
        return [(condition,) for condition in conditions]
    return [conditions]


def _condition(entry: object, where: str) -> Condition:
    data = _object(entry, ARGUMENT, where)
    op = _one_of(OPERATORS, data.get("op"), f"{where}.op")
    index, value, second = (_number(data, field, where) for field in ("index", "value", "valueTwo"))
    with _at(where):
        if op == "MASKED_EQ":
            return Condition(index, op, second, value)
        if second:
            raise InvalidArgument("valueTwo", second, f"{data['op']} takes none")
        return Condition(index, op, value)


def _action(data: Mapping[str, Any], field: str, number_field: str, where: str) -> Action:
    name, number = data.get(field), data.get(number_field)
    if isinstance(name, str) and name in NUMBERED:
        with _at(f"{where}.{number_field}"):
            return NUMBERED[name](errors.EPERM if number is None else _number(data, number_field, where))
    if name == "SCMP_ACT_NOTIFY":
        raise InvalidArgument(
            f"{where}.{field}", name, "needs an agent outside of the container, which is not supported"
        )
    action = _one_of(ACTIONS, name, f"{where}.{field}", known=[*ACTIONS, *NUMBERED])
    if number is not None:
        raise InvalidArgument(f"{where}.{number_field}", number, f"{name} takes none")
    return action


def _machines(data: Mapping[str, Any], where: str) -> set[str]:
    arches = (_one_of(MACHINES, name, f"{where}.arches") for name in _list(data, "arches", where))
    return {arch for arch in arches if arch is not None}


def _runs_since(data: Mapping[str, Any], where: str) -> bool:
    """Is the running kernel of ``minKernel``, such as "4.8", or later?"""
    text = data["minKernel"]
    parts = text.split(".") if isinstance(text, str) else []
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise InvalidArgument(f"{where}.minKernel", text, 'a version such as "4.8" is needed')
    major, minor, *_ = os.uname().release.replace("-", ".").split(".")
    return (int(major), int(minor)) >= (int(parts[0]), int(parts[1]))


@contextmanager
def _at(where: str) -> Iterator[None]:
    """Let an error of a value name its place in the file."""
    try:
        yield
    except InvalidArgument as error:
        argument = error.argument if error.argument.startswith("seccomp") else f"{where}: {error.argument}"
        raise InvalidArgument(argument, error.value, error.reason) from error


def _object(value: object, fields: set[str], where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidArgument(where, value, "an object is needed")
    for field in value:
        if field not in fields:
            name = field if isinstance(field, str) else shown(field)
            known = ", ".join(sorted(fields))
            raise InvalidArgument(f"{where}.{name}", value[field], f"no such field; known are {known}")
    return value


def _list(data: Mapping[str, Any], field: str, where: str) -> list[Any]:
    value = data.get(field)
    if value is not None and not isinstance(value, list | tuple):
        raise InvalidArgument(f"{where}.{field}", value, "a list is needed")
    return list(value or ())


def _number(data: Mapping[str, Any], field: str, where: str) -> int:
    value = data.get(field, 0)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LONG:
        raise InvalidArgument(f"{where}.{field}", value, "an unsigned number of 64 bits is needed")
    return value


def _one_of(table: Mapping[str, T], name: object, where: str, *, known: Iterable[str] = ()) -> T:
    if not isinstance(name, str) or name not in table:
        raise InvalidArgument(where, name, f"known are {', '.join(known or table)}")
    return table[name]
