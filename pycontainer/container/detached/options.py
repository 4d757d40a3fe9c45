"""What only a detached container can be told, as frozen and checked values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from pycontainer.container.arguments import flag, words
from pycontainer.errors import InvalidArgument
from pycontainer.image.config import ImageConfig
from pycontainer.size import parse_size

POLICIES = ("no", "on-failure", "always", "unless-stopped")
_LEAST_LOG = 16 << 10
_NANOSECONDS = 1e9
_LONGEST = 1e9


def _seconds(_: object, attribute: Any, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < _LONGEST:
        raise InvalidArgument(attribute.name, value, "a number of seconds is needed")
    if attribute.name in {"interval", "timeout"} and value < 0.001:
        raise InvalidArgument(attribute.name, value, "a millisecond at least is needed")


def _count(_: object, attribute: Any, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 1 << 31:
        raise InvalidArgument(attribute.name, value, "a number from 1 on is needed")


def _test(value: Any) -> tuple[str, ...]:
    found = ("/bin/sh", "-c", value) if isinstance(value, str) else value
    told = words("test", found)
    if not told or not told[-1 if isinstance(value, str) else 0]:
        raise InvalidArgument("test", value, "a command, or a line for the container's shell, is needed")
    return told


@attrs.frozen
class HealthCheck:
    """A program that tells by its exit code 0 that the container does its work (Docker's ``HEALTHCHECK``).

    ``test`` is a command as a list, or a line for the container's shell.  It is run ``interval`` seconds after the
    start and after each end of it; one that takes longer than ``timeout`` seconds has failed, and is
    killed with its process group.  ``retries`` failures in turn make
    the container unhealthy.  Failures in the first ``start_period`` seconds do not count, as long as none has
    succeeded; in that time it is run every ``start_interval`` seconds (0: as ever).

    >>> HealthCheck("curl -f http://localhost/", interval=5).test
    ('/bin/sh', '-c', 'curl -f http://localhost/')
    """

    test: tuple[str, ...] = attrs.field(converter=_test)
    interval: float = attrs.field(default=30.0, kw_only=True, validator=_seconds)
    timeout: float = attrs.field(default=30.0, kw_only=True, validator=_seconds)
    retries: int = attrs.field(default=3, kw_only=True, validator=_count)
    start_period: float = attrs.field(default=0.0, kw_only=True, validator=_seconds)
    start_interval: float = attrs.field(default=0.0, kw_only=True, validator=_seconds)


@attrs.frozen(kw_only=True)
class Restart:
    """When a container is started again after its end: a policy, and how often at most (0: no bound)."""

    policy: str = "no"
    retries: int = 0

    @classmethod
    def parse(cls, value: Any) -> Restart:
        """From Docker's notation: ``"on-failure:3"``. Raises :class:`InvalidArgument`."""
        found = re.fullmatch(r"([a-z-]+)(?::(\d{1,9}))?", value) if isinstance(value, str) else None
        if found is None or found[1] not in POLICIES or (found[2] and found[1] != "on-failure"):
            raise InvalidArgument(
                "restart", value, f"one of {', '.join(POLICIES)}, or 'on-failure:3', is needed"
            )
        return cls(policy=found[1], retries=int(found[2] or 0))

    def __str__(self) -> str:
        return f"{self.policy}:{self.retries}" if self.retries else self.policy


@attrs.frozen(kw_only=True)
class Keeping:
    """How a detached container is kept."""

    restart: Restart = Restart()
    health: HealthCheck | None = None
    auto_remove: bool = False
    stdin_open: bool = False
    log_size: int = 20 << 20
    log_files: int = 5

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON can say it."""
        return attrs.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Keeping:
        """What :meth:`to_json` gave."""
        health = value["health"]
        return cls(
            **{
                **value,
                "restart": Restart(**value["restart"]),
                "health": None if health is None else HealthCheck(**health),
            }
        )


#: The arguments of ``create`` that only a detached container takes.
NAMES = frozenset({"restart", "healthcheck", "auto_remove", "stdin_open", "log_size", "log_files"})


def parse_keeping(given: Mapping[str, Any], config: ImageConfig) -> Keeping:
    """From the arguments of ``create``. Raises :class:`InvalidArgument`."""
    restart = Restart.parse(given.get("restart") or "no")
    auto_remove = flag("auto_remove", given.get("auto_remove", False))
    if auto_remove and restart.policy != "no":
        raise InvalidArgument(
            "auto_remove", auto_remove, f"with restart={restart!s} it would never be removed"
        )
    size = parse_size("log_size", given.get("log_size", 20 << 20))
    if size < _LEAST_LOG:
        raise InvalidArgument("log_size", size, f"{_LEAST_LOG} bytes at least are needed")
    files = given.get("log_files", 5)
    if isinstance(files, bool) or not isinstance(files, int) or not 1 <= files <= 1000:
        raise InvalidArgument("log_files", files, "a number from 1 to 1000 is needed")
    return Keeping(
        restart=restart,
        health=_health(given.get("healthcheck"), config),
        auto_remove=auto_remove,
        stdin_open=flag("stdin_open", given.get("stdin_open", False)),
        log_size=size,
        log_files=files,
    )


def _health(given: Any, config: ImageConfig) -> HealthCheck | None:
    if given is False:
        return None
    if isinstance(given, HealthCheck):
        return given
    if given is not None:
        if not isinstance(given, (str, Sequence)):
            raise InvalidArgument("healthcheck", given, "a HealthCheck, a command, or False is needed")
        return HealthCheck(given)
    return _of_image(dict(config.more).get("Healthcheck"))


def _of_image(told: Any) -> HealthCheck | None:
    """An image's own, in Docker's JSON: ``{"Test": ["CMD-SHELL", "..."], "Interval": nanoseconds}``."""
    test = told.get("Test") if isinstance(told, Mapping) else None
    if (
        not isinstance(test, Sequence)
        or isinstance(test, str)
        or len(test) < 2
        or test[0] not in {"CMD", "CMD-SHELL"}
    ):
        return None
    assert isinstance(told, Mapping)  # noqa: S101
    names = {
        "Interval": "interval",
        "Timeout": "timeout",
        "StartPeriod": "start_period",
        "StartInterval": "start_interval",
    }
    try:
        times = {name: told[key] / _NANOSECONDS for key, name in names.items() if told.get(key)}
        retries = {"retries": told["Retries"]} if told.get("Retries") else {}
        return HealthCheck(test[1] if test[0] == "CMD-SHELL" else list(test[1:]), **times, **retries)
    except (InvalidArgument, TypeError) as error:
        raise InvalidArgument(
            "healthcheck", dict(told), f"the image's HEALTHCHECK is wrong ({error}): give another, or False"
        ) from None
