"""Platforms: for which machines an image is (OCI image specification, image-index.md)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import attrs

from pycontainer.errors import ImageError, InvalidArgument

#: The machine as the kernel names it -> as Go does, and images with it.
_MACHINES = {
    "x86_64": ("amd64", ""), "aarch64": ("arm64", ""), "armv7l": ("arm", "v7"), "armv6l": ("arm", "v6"),
    "i386": ("386", ""), "i686": ("386", ""), "ppc64le": ("ppc64le", ""), "riscv64": ("riscv64", ""),
    "s390x": ("s390x", ""), "loongarch64": ("loong64", ""),
}  # fmt: skip
#: What others call the same architecture.
_ARCHITECTURES = {
    "x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm", "armel": "arm", "i386": "386",
}  # fmt: skip
#: What is meant where no variant is said.
_USUAL = {"arm64": "v8", "armel": "v6", "arm": "v7", "amd64": "v1"}
_WORD = re.compile(r"[a-z0-9_.-]{1,100}")
#: "v7", and as some write it: "7", "armv7l".
_LEVEL = re.compile(r"(?:arm)?v?([0-9]{1,3})(?:\.([0-9]{1,3}))?l?")


@attrs.frozen(kw_only=True)
class Platform:
    """An operating system and an architecture, by their names in Go.

    >>> Platform.parse("linux/arm/v7")
    Platform(os='linux', architecture='arm', variant='v7')
    """

    os: str = "linux"
    architecture: str
    variant: str = ""
    more: tuple[tuple[str, Any], ...] = attrs.field(default=(), eq=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> Platform:
        """From ``os/architecture[/variant]`` or an architecture alone. Raises :class:`InvalidArgument`."""
        parts = text.lower().split("/") if isinstance(text, str) else []
        if not 1 <= len(parts) <= 3 or not all(map(_WORD.fullmatch, parts)):
            raise InvalidArgument("platform", text, "'linux/amd64' or 'linux/arm/v7' is needed")
        if len(parts) == 1:
            parts.insert(0, "linux")
        return cls(
            os=parts[0],
            architecture=_ARCHITECTURES.get(parts[1], parts[1]),
            variant=parts[2] if len(parts) == 3 else "",
        )

    @classmethod
    def host(cls) -> Platform:
        """This machine's."""
        machine = os.uname().machine
        architecture, variant = _MACHINES.get(machine, (machine, ""))
        return cls(architecture=architecture, variant=variant)

    @classmethod
    def from_json(cls, value: object, where: str) -> Platform:
        """Read one that ``where`` tells. Raises :class:`ImageError`."""
        if not isinstance(value, Mapping):
            raise ImageError(f"{where} has a platform that is none")
        told = {name: value.get(name) or "" for name in ("os", "architecture", "variant")}
        if not all(isinstance(text, str) for text in told.values()):
            raise ImageError(f"{where} has a platform that is not made of texts")
        return cls(**told, more=tuple((key, each) for key, each in value.items() if key not in told))

    def to_json(self) -> dict[str, Any]:
        """The object in an index."""
        found = {"architecture": self.architecture, "os": self.os}
        return {**found, **({"variant": self.variant} if self.variant else {}), **dict(self.more)}

    def runs(self, other: Platform) -> bool:
        """Whether a machine of this platform runs what is for ``other``: its own variant, or a lower one.

        A variant that is not said is the usual one.

        >>> Platform.parse("linux/arm/v7").runs(Platform.parse("linux/arm/v6"))
        True
        """
        return self.fitness(other) is not None

    def fitness(self, other: Platform) -> tuple[int, int, int] | None:
        """How near ``other`` is among those that this one runs, more is nearer; ``None`` if it does not run."""
        if "unknown" in {other.os, other.architecture} or self.os.lower() != (other.os or self.os).lower():
            return None
        (machine, most), (found, level) = self._machine(), other._machine()
        if machine != found:
            return None
        if most == level:
            return 3, 0, 0
        bound, number = _LEVEL.fullmatch(most), _LEVEL.fullmatch(level)
        if bound and number:
            (major, minor), wanted = (
                tuple(int(text or 0) for text in match.groups()) for match in (number, bound)
            )
            return (2, major, minor) if (major, minor) <= wanted else None
        return None if level else (1, 0, 0)

    def _machine(self) -> tuple[str, str]:
        """The architecture as Go names it, and the variant that is meant."""
        told = self.architecture.lower()
        machine = _ARCHITECTURES.get(told, told)
        return machine, self.variant.lower() or _USUAL.get(told) or _USUAL.get(machine, "")

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)
