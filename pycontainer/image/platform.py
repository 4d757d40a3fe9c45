"""Platforms: for which machines an image is (OCI image specification, image-index.md)."""

from __future__ import annotations

import os
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
_ARCHITECTURES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm", "i386": "386"}
#: What is meant where no variant is said.
_USUAL = {"arm64": "v8", "arm": "v7", "amd64": "v1"}


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
        if not 1 <= len(parts) <= 3 or not all(
            part.replace("-", "").replace("_", "").isalnum() for part in parts
        ):
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
        """Whether a machine of this platform is what ``other`` is for; a variant that is not said is the usual one."""
        if (self.os, self.architecture) != (other.os, other.architecture):
            return False
        usual = _USUAL.get(self.architecture, "")
        return (self.variant or usual) == (other.variant or usual)

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)
