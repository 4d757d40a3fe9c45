"""The options of containers that are kept: restarts, health checks, logs."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import attrs

from pycontainer.cli.notation import pairs, whole
from pycontainer.cli.parser import Parser
from pycontainer.container.detached.options import HealthCheck, parse_keeping
from pycontainer.duration import parse_duration
from pycontainer.errors import InvalidArgument
from pycontainer.image.image import Image

_TIMES = ("interval", "timeout", "start_period", "start_interval")


def add(parser: Parser) -> None:
    """Have them among the options of a command."""
    parser.value("--health-cmd", help="Command to run to check health")
    parser.value("--health-interval", metavar="duration", help="Time between running the check (ms|s|m|h)")
    parser.value("--health-retries", metavar="int", help="Consecutive failures needed to report unhealthy")
    parser.value(
        "--health-start-interval", metavar="duration", help="Time between checks during the start period"
    )
    parser.value("--health-start-period", metavar="duration", help="Time in which failures do not count")
    parser.value("--health-timeout", metavar="duration", help="Maximum time to allow one check to run")
    parser.flag("--no-healthcheck", help="Disable the image's health check")
    parser.each("--log-opt", help="Log options: max-size=20m, max-file=5")
    parser.value("--restart", help="Restart policy: no, on-failure[:n], always, unless-stopped", default="no")


def arguments(given: Namespace, image: Image) -> dict[str, Any]:
    """The library's arguments. Raises :class:`InvalidArgument`."""
    found: dict[str, Any] = {"restart": given.restart or "no"}
    check = _health(given, image)
    if check is not None:
        found["healthcheck"] = check
    for name, value in pairs("log-opt")(given.log_opt).items():
        if name == "max-size":
            found["log_size"] = value
        elif name == "max-file":
            found["log_files"] = whole("log-opt")(value)
        else:
            raise InvalidArgument(
                "log-opt", f"{name}={value}", "max-size=20m and max-file=5 are all there is"
            )
    return found


def _health(given: Namespace, image: Image) -> HealthCheck | bool | None:
    told: dict[str, Any] = {}
    for name in _TIMES:
        text = getattr(given, f"health_{name}")
        if text is not None:
            told[name] = parse_duration(f"health-{name.replace('_', '-')}", text)
    if given.health_retries is not None:
        told["retries"] = whole("health-retries")(given.health_retries)
    if given.no_healthcheck:
        if told or given.health_cmd:
            raise InvalidArgument("no-healthcheck", True, "leave the --health options out")
        return False
    if given.health_cmd is not None:
        return HealthCheck(given.health_cmd, **told)
    if not told:
        return None
    known = parse_keeping({}, image.config).health
    if known is None:
        raise InvalidArgument("health-cmd", "", "the image has no health check: give one")
    return attrs.evolve(known, **told)
