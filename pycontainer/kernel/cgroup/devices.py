"""Which devices the processes of a cgroup may make and open: the rules, and their version 1 controller.

On version 1 rules are written to ``devices.deny`` and ``devices.allow`` (cgroup-v1/devices.rst); on version 2
they become a program (:mod:`pycontainer.kernel.cgroup.device_program`).  A cgroup below another never
gets more than that one allows.  Needs CAP_SYS_ADMIN in both.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from pycontainer.errors import InvalidArgument, KernelError, NotSupported

if TYPE_CHECKING:
    from pycontainer.kernel.cgroup.device_program import DeviceProgram
    from pycontainer.kernel.cgroup.directory import Directory

_TEXT = re.compile(r"([abc])(?: +([0-9]{1,9}|\*):([0-9]{1,9}|\*)(?: +([rwm]{1,3}))?)?")
ROOT_NEEDED = "run as root: limiting devices needs CAP_SYS_ADMIN, and CAP_BPF on version 2"
#: The kernel's dev_t has 12 bits of major and 20 of minor (linux/kdev_t.h).
_MAJORS, _MINORS = 1 << 12, 1 << 20
_KINDS = ("a", "b", "c")


@attrs.frozen(kw_only=True)
class DeviceRule:
    """Devices, what may be done with them, and whether it may.

    ``kind``: ``b`` block, ``c`` character, ``a`` both.  ``major`` and ``minor``: ``None`` for any.  ``access``:
    of ``r`` read, ``w`` write, ``m`` mknod(2).  ``allow``: else it is refused.
    """

    kind: str
    major: int | None = None
    minor: int | None = None
    access: str = "rwm"
    allow: bool = True

    def __attrs_post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise InvalidArgument("kind", self.kind, "'a', 'b' or 'c' is needed")
        if not self.access or len(set(self.access)) != len(self.access) or set(self.access) - set("rwm"):
            raise InvalidArgument("access", self.access, "letters of 'rwm', each once, are needed")
        for name, number, end in (("major", self.major, _MAJORS), ("minor", self.minor, _MINORS)):
            if number is not None and not 0 <= number < end:
                raise InvalidArgument(name, number, f"None or a number below {end} is needed")

    @classmethod
    def parse(cls, argument: str, text: object, *, allow: bool = True) -> DeviceRule:
        """A rule as the devices controller writes them: ``"c 1:3 rwm"``, ``"b 8:* r"``, or ``"a"`` for all.

        Raises :class:`InvalidArgument` naming ``argument``.

        >>> DeviceRule.parse("devices", "c 136:* rw")
        DeviceRule(kind='c', major=136, minor=None, access='rw', allow=True)
        """
        match = _TEXT.fullmatch(text.strip()) if isinstance(text, str) else None
        access = (match and match[4]) or "rwm"
        if match is None or (match[1] != "a" and match[2] is None) or len(set(access)) != len(access):
            raise InvalidArgument(argument, text, "a rule like 'c 1:3 rwm', 'b 8:* r' or 'a' is needed")
        major, minor = (None if part in {None, "*"} else int(part) for part in (match[2], match[3]))
        try:
            return cls(kind=match[1], major=major, minor=minor, access=access, allow=allow)
        except InvalidArgument as error:
            raise InvalidArgument(argument, text, f"{error.argument}: {error.reason}") from None

    def covers(self, other: DeviceRule) -> bool:
        """Are the devices of ``other`` among those of this rule?"""
        return (
            self.kind in ("a", other.kind)
            and self.major in (None, other.major)
            and self.minor in (None, other.minor)
        )

    def __str__(self) -> str:
        numbers = ":".join("*" if number is None else str(number) for number in (self.major, self.minor))
        return f"{self.kind} {numbers} {self.access}"


def _rules(*texts: str) -> tuple[DeviceRule, ...]:
    return tuple(DeviceRule.parse("devices", text) for text in texts)


#: What Docker allows: every node may be made; null, zero, full, random, urandom, tty, console, ptmx, ptys, opened.
DEFAULT = _rules(
    "c *:* m", "b *:* m", "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm",
    "c 5:0 rwm", "c 5:1 rwm", "c 5:2 rwm", "c 136:* rwm",
)  # fmt: skip


class DeviceLimit:
    """The device rules of one cgroup, whichever version has them. ``close`` changes nothing in the cgroup."""

    def __init__(self) -> None:
        self._program: DeviceProgram | None = None

    def set(
        self, old: Directory | None, new: Directory | None, rules: Sequence[DeviceRule] | None
    ) -> dict[str, NotSupported]:
        """Let ``rules`` hold in a cgroup; ``None``: all that the cgroup above allows.

        ``old`` is its directory in version 1's hierarchy of devices, which decides where there is one; ``new`` the
        one in version 2's tree.  Returns why it cannot be had, by the limit's name, or nothing.  Raises
        :class:`KernelError`.
        """
        try:
            if old is not None:
                write_rules(old.fileno(), (DeviceRule(kind="a"),) if rules is None else rules)
            elif new is not None:
                self._set_program(new.fileno(), rules)
            else:
                raise NotSupported("the controller devices is mounted nowhere", "mount it")
        except NotSupported as reason:
            return {"devices": reason}
        return {}

    def _set_program(self, cgroup: int, rules: Sequence[DeviceRule] | None) -> None:
        if rules is not None and self._program is not None:
            self._program.replace(cgroup, rules)
        elif rules is not None:
            from pycontainer.kernel.cgroup.device_program import DeviceProgram

            self._program = DeviceProgram.attach(cgroup, rules)
        elif self._program is not None:
            self._program.detach(cgroup)
            self.close()

    def close(self) -> None:
        """Let go of the program; idempotent."""
        program, self._program = self._program, None
        if program is not None:
            program.close()


def write_rules(directory: int, rules: Sequence[DeviceRule]) -> None:
    """Make ``rules`` those of the version 1 devices cgroup whose directory is open as ``directory``.

    For each kind of access the last rule that fits decides; without one it is refused.  Lists of what is allowed
    replace each other without a moment in which something that both allow is refused.  Where one of them begins
    with ``a``, the kernel forgets the old list first: then for a moment all is allowed, or all refused.
    Raises :class:`NotSupported` for rules that version 1 cannot express, or that the cgroup above does not
    allow, and :class:`KernelError`.
    """
    default, wanted = _as_lists(rules)
    before = _read(directory)
    everything = any(line.startswith("a ") for line in before)
    if default or everything:
        _write(directory, "devices.allow" if default else "devices.deny", "a")
        before = []
    for key, access in wanted.items():
        line = f"{key} {access}"
        if line not in before:
            _write(directory, "devices.deny" if default else "devices.allow", line)
    for line in before:
        key, _, access = line.rpartition(" ")
        surplus = "".join(letter for letter in access if letter not in wanted.get(key, ""))
        if surplus:
            _write(directory, "devices.deny", f"{key} {surplus}")


def _as_lists(rules: Sequence[DeviceRule]) -> tuple[bool, dict[str, str]]:
    """Version 1's form: is all allowed but for the exceptions, or nothing; and the exceptions' access.

    A rule for all devices and every access starts anew. All others must go against it.
    """
    default = False
    exceptions: list[DeviceRule] = []
    for rule in rules:
        if str(rule) == "a *:* rwm":
            default, exceptions = rule.allow, []
        else:
            exceptions.append(rule)
    for rule in exceptions:
        if rule.allow == default:
            raise NotSupported(
                f"cgroup version 1 cannot {'allow' if rule.allow else 'refuse'} '{rule}' within the other device rules",
                "list what is allowed, or begin with 'a' and list what is refused",
            )
    split = [attrs.evolve(rule, kind=kind) for rule in exceptions for kind in rule.kind.replace("a", "bc")]
    listed: dict[str, str] = {}
    for rule in split:
        # Of all exceptions that fit the kernel wants one that has everything that was asked for.
        access = {letter for other in split if other.covers(rule) for letter in other.access}
        listed[str(rule).rpartition(" ")[0]] = "".join(letter for letter in "rwm" if letter in access)
    return default, listed


def _read(directory: int) -> list[str]:
    fd = os.open("devices.list", os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    with open(fd) as file:
        return file.read().splitlines()


def _write(directory: int, name: str, rule: str) -> None:
    try:
        fd = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory)
        try:
            os.write(fd, rule.encode())
        finally:
            os.close(fd)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EACCES):
            raise NotSupported(
                f"'{rule}' cannot be written to {name} of a cgroup ({error.strerror})",
                f"allow it in the cgroup above, and {ROOT_NEEDED}",
            ) from None
        raise KernelError(error.errno or 0, f"write '{rule}' to {name} of a cgroup") from None
