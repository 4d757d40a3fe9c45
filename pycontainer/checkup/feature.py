"""A feature of the host as a value, all of them as one, and the form in which a probe is written down.

A probe is a function that tries the feature: it returns a detail in words, raises :class:`Lacking` with the
reason, or lets the kernel's error through.  It leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from pycontainer.errors import KernelError, NotSupported

if TYPE_CHECKING:
    from pycontainer.checkup.host import Host


@attrs.frozen(kw_only=True)
class Feature:
    """What one feature of the host is to this process.

    ``probed`` says what was tried, ``detail`` what came of it.  ``needed``: without it no container starts;
    other features are optional, ``needed_for`` says for what.  ``fix`` mends it; empty where it is available.
    """

    name: str
    available: bool
    needed: bool
    probed: str
    detail: str
    needed_for: str
    fix: str


def _listed(features: Iterator[Feature]) -> tuple[Feature, ...]:
    return tuple(features)


@attrs.frozen(kw_only=True)
class HostFeatures:
    """All features of the host as :func:`pycontainer.doctor` found them, in a fixed order.

    >>> host = doctor()                                      # doctest: +SKIP
    >>> host.ok, host["landlock"].detail                     # doctest: +SKIP
    (True, 'ABI 7')
    """

    features: tuple[Feature, ...] = attrs.field(converter=_listed)

    @property
    def ok(self) -> bool:
        """Is everything there without which no container starts?"""
        return all(feature.available for feature in self.features if feature.needed)

    @property
    def missing(self) -> tuple[Feature, ...]:
        """What is not available, needed or optional."""
        return tuple(feature for feature in self.features if not feature.available)

    def as_dict(self) -> dict[str, Any]:
        """Plain data: ``{"ok": ..., "features": [{"name": ..., ...}, ...]}``, as ``doctor --json`` prints it."""
        return {"ok": self.ok, "features": [attrs.asdict(feature) for feature in self.features]}

    def __getitem__(self, name: str) -> Feature:
        for feature in self.features:
            if feature.name == name:
                return feature
        raise KeyError(name)

    def __iter__(self) -> Iterator[Feature]:
        return iter(self.features)

    def __len__(self) -> int:
        return len(self.features)


class Lacking(Exception):
    """The feature is not to be had; ``fix`` where the cause that was found has one of its own."""

    def __init__(self, detail: str, fix: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.fix = fix


Ask: TypeAlias = "Callable[[Host], str]"


@attrs.frozen(kw_only=True)
class Probe:
    """A feature before it was asked for."""

    name: str
    needed: bool
    tries: str
    needed_for: str
    fix: str
    ask: Ask

    def run(self, host: Host) -> Feature:
        """Try it. Never raises: a probe that breaks is a feature that says so."""
        available, fix = False, self.fix
        try:
            detail = self.ask(host)
            available, fix = True, ""
        except Lacking as lack:
            detail, fix = lack.detail, lack.fix or fix
        except NotSupported as error:
            detail, fix = error.what, error.fix
        except KernelError as error:
            detail = str(error)
        except OSError as error:
            detail = str(error)
        except Exception as error:  # noqa: BLE001  the report must come, whatever a strange host does
            detail = f"the probe itself failed: {type(error).__name__}: {error}"
        return Feature(
            name=self.name,
            available=available,
            needed=self.needed,
            probed=self.tries,
            detail=detail,
            needed_for=self.needed_for,
            fix=fix,
        )


class Probes:
    """The probes of one module, in the order in which they are written.

    >>> PROBES = Probes()
    >>> @PROBES.add("nothing", tries="nothing", needed_for="nothing", fix="none is needed")
    ... def nothing(host): return "always there"
    >>> [probe.name for probe in PROBES]
    ['nothing']
    """

    def __init__(self) -> None:
        self._probes: list[Probe] = []

    def add(
        self, name: str, *, tries: str, needed_for: str, fix: str, needed: bool = False
    ) -> Callable[[Ask], Ask]:
        """Decorate a probe's function."""

        def keep(ask: Ask) -> Ask:
            self._probes.append(
                Probe(name=name, needed=needed, tries=tries, needed_for=needed_for, fix=fix, ask=ask)
            )
            return ask

        return keep

    def __iter__(self) -> Iterator[Probe]:
        return iter(self._probes)
