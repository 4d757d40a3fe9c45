"""What a filter says, as frozen values: actions, conditions on arguments, rules, profiles.

Knows nothing of BPF (bpf.py compiles) and has no opinion of its own (default.py has).
"""

from __future__ import annotations

import errno as errors
import os
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

import attrs

from pycontainer.errors import InvalidArgument
from pycontainer.kernel import capabilities as caps
from pycontainer.kernel.seccomp import syscalls

Op = Literal["EQ", "NE", "LT", "LE", "GT", "GE", "MASKED_EQ"]

ARGUMENTS = 6
WORD = 0xFFFF_FFFF
LONG = 0xFFFF_FFFF_FFFF_FFFF
#: Larger error numbers are cut to it by the kernel (linux/err.h).
MAX_ERRNO = 4095

# The upper half of what a filter returns (linux/seccomp.h, SECCOMP_RET_*).
_KILL_PROCESS = 0x8000_0000
_KILL_THREAD = 0x0000_0000
_TRAP = 0x0003_0000
_ERRNO = 0x0005_0000
_TRACE = 0x7FF0_0000
_LOG = 0x7FFC_0000
_ALLOW = 0x7FFF_0000
_KIND = 0xFFFF_0000
_NAMES = {
    _KILL_PROCESS: "KILL_PROCESS",
    _KILL_THREAD: "KILL_THREAD",
    _TRAP: "TRAP",
    _ERRNO: "ERRNO",
    _TRACE: "TRACE",
    _LOG: "LOG",
    _ALLOW: "ALLOW",
}


def _word(_: object, __: object, value: int) -> None:
    if value & _KIND not in _NAMES:
        raise InvalidArgument("action", hex(value), f"none of {', '.join(_NAMES.values())}")


@attrs.frozen
class Action:
    """What becomes of a call: the value that the filter returns (seccomp(2)).

    ``ALLOW``, ``LOG``, ``TRAP``, ``KILL_THREAD`` and ``KILL_PROCESS`` are constants of this module;
    the call fails with ``Action.errno(number)``; a tracer is told by ``Action.trace(message)``.

    >>> str(Action.errno(38)), str(ALLOW)
    ('ERRNO(ENOSYS)', 'ALLOW')
    """

    word: int = attrs.field(validator=_word)

    @classmethod
    def errno(cls, number: int) -> Action:
        """The call is not made and fails with this error number, 0 to 4095."""
        if not 0 <= number <= MAX_ERRNO:
            raise InvalidArgument("errno", number, f"0 to {MAX_ERRNO} is needed")
        return cls(_ERRNO | number)

    @classmethod
    def trace(cls, message: int) -> Action:
        """The tracer decides, told this message of 16 bits; without one the call fails with ENOSYS."""
        if not 0 <= message <= 0xFFFF:
            raise InvalidArgument("message", message, "0 to 65535 is needed")
        return cls(_TRACE | message)

    @property
    def strictness(self) -> int:
        """Rank among actions, less is stricter: the order in which the kernel prefers stacked filters' answers."""
        kind = self.word & _KIND
        return kind - (1 << 32) if kind >> 31 else kind

    @property
    def permits(self) -> bool:
        """Is the call made, with nobody asked?"""
        return self.word & _KIND in {_ALLOW, _LOG}

    @property
    def refuses(self) -> bool:
        """Does the call fail with an error number?"""
        return self.word & _KIND == _ERRNO

    def __str__(self) -> str:
        kind, data = self.word & _KIND, self.word & ~_KIND
        if kind == _ERRNO:
            return f"ERRNO({errors.errorcode.get(data, data)})"
        return f"TRACE({data})" if kind == _TRACE else _NAMES[kind]


KILL_PROCESS = Action(_KILL_PROCESS)
KILL_THREAD = Action(_KILL_THREAD)
TRAP = Action(_TRAP)
EPERM = Action.errno(errors.EPERM)
ENOSYS = Action.errno(errors.ENOSYS)
LOG = Action(_LOG)
ALLOW = Action(_ALLOW)


@attrs.frozen
class Condition:
    """A comparison of one argument, as an unsigned number of 64 bits.

    ``MASKED_EQ`` compares only the bits of ``mask``.  The kernel takes many arguments (flags, families,
    ioctl requests) as 32 bits and ignores what is above: compare those with :meth:`low32`, or a caller
    passes a refused value with a bit set above it (CVE-2019-10063 was such a hole).
    """

    index: int
    op: Op
    value: int
    mask: int = LONG

    @classmethod
    def low32(cls, index: int, value: int) -> Condition:
        """The low 32 bits of the argument are ``value``."""
        return cls(index, "MASKED_EQ", value, WORD)

    def __attrs_post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.index not in range(ARGUMENTS):
            raise InvalidArgument("index", self.index, "an argument from 0 to 5 is needed")
        if self.op not in get_args(Op):
            raise InvalidArgument("op", self.op, f"known are {', '.join(get_args(Op))}")
        for name, number in (("value", self.value), ("mask", self.mask)):
            if not 0 <= number <= LONG:
                raise InvalidArgument(name, number, "an unsigned number of 64 bits is needed")
        if self.op != "MASKED_EQ" and self.mask != LONG:
            raise InvalidArgument("mask", hex(self.mask), f"{self.op} takes none")
        if self.value & ~self.mask:
            raise InvalidArgument(
                "value", hex(self.value), f"has bits outside of the mask {self.mask:#x}: never true"
            )


def _names(names: Iterable[str]) -> tuple[str, ...]:
    if isinstance(names, str):
        raise InvalidArgument("names", names, "a list of names is needed")
    return tuple(dict.fromkeys(map(syscalls.check_name, names)))


def _arches(arches: Iterable[str]) -> frozenset[str]:
    return frozenset(syscalls.check_arch(arch) for arch in arches)


def _conditions(conditions: Iterable[Condition]) -> tuple[Condition, ...]:
    return tuple(conditions)


@attrs.frozen(kw_only=True)
class Rule:
    """Calls, when the rule is about them, and what becomes of them then.

    The rule applies on machines of ``arches`` (none named: all) to programs that have all of
    ``capabilities`` and none of ``unless``, and to a call whose arguments meet all ``conditions``.
    """

    names: tuple[str, ...] = attrs.field(converter=_names)
    action: Action = ALLOW
    conditions: tuple[Condition, ...] = attrs.field(default=(), converter=_conditions)
    capabilities: frozenset[str] = attrs.field(default=frozenset(), converter=caps.parse)
    unless: frozenset[str] = attrs.field(default=frozenset(), converter=caps.parse)
    arches: frozenset[str] = attrs.field(default=frozenset(), converter=_arches)

    def applies(self, capabilities: frozenset[str], arch: str) -> bool:
        """Is it about programs with these capabilities on such a machine?"""
        return (
            self.capabilities <= capabilities
            and not self.unless & capabilities
            and (not self.arches or arch in self.arches)
        )


def _rules(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    return tuple(rules)


@attrs.frozen(kw_only=True, cache_hash=True)
class Profile:
    """What the programs of a container may ask of the kernel.

    Of the rules that match a call the strictest decides, as among stacked filters in the kernel: a
    refusal cannot be undone by another rule, and the order of rules has no meaning (of two equally strict
    ones, such as two error numbers, the first decides).  Where none matches, ``default`` does.

    Calls that the table of numbers does not know fail with ENOSYS unless ``default`` permits, so that
    programs fall back instead of taking EPERM for an answer.  Calls of x32 always do.  Calls of another
    architecture kill the process, but for those of ``compat``: the 32-bit calls (``i386`` on x86-64,
    ``arm`` on arm64) that the rules are applied to as well.

    >>> from pycontainer.kernel import seccomp
    >>> program = seccomp.compile(seccomp.default_profile(), frozenset({"CAP_CHOWN"}))
    """

    default: Action
    rules: tuple[Rule, ...] = attrs.field(converter=_rules)
    compat: frozenset[str] = attrs.field(default=frozenset(), converter=_arches)

    @classmethod
    def from_json(cls, source: str | os.PathLike[str] | Mapping[str, Any]) -> Profile:
        """Read Docker's seccomp JSON, or ``linux.seccomp`` of an OCI configuration: a path, or the parsed object.

        Where several rules match a call, the strictest decides, which is never weaker than what Docker does
        with the same file.  Raises :class:`InvalidArgument`, which names the place in the file, for
        fields, actions, operators, architectures, capabilities and calls that are not known, and for those
        that need an agent outside of the container (``SCMP_ACT_NOTIFY``, ``listenerPath``).
        """
        from pycontainer.kernel.seccomp import oci

        return oci.read(source)

    @property
    def unknown(self) -> Action:
        """What becomes of calls that the table of numbers does not know."""
        return self.default if self.default.permits else ENOSYS

    def logged(self) -> Profile:
        """A copy that refuses nothing: what would fail with an error number is made, and logged by the kernel.

        For finding out what a program needs (audit log, type SECCOMP); it confines nothing, but for
        calls that kill.  The kernel logs where ``/proc/sys/kernel/seccomp/actions_logged`` has ``log``.
        """

        def soft(action: Action) -> Action:
            return LOG if action.refuses else action

        rules = tuple(attrs.evolve(rule, action=soft(rule.action)) for rule in self.rules)
        return attrs.evolve(self, default=soft(self.default), rules=rules)
