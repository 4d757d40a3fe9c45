"""Instructions of a Dockerfile that change an image's configuration and nothing else.

As the Dockerfile reference has them; what ``docker commit --change`` and ``docker import --change`` take.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs

from pycontainer.duration import parse_duration
from pycontainer.errors import InvalidArgument
from pycontainer.image.config import ImageConfig
from pycontainer.image.words import expand, split
from pycontainer.kernel.signals import signal_number

_SHELL = ("/bin/sh", "-c")
_PORT = re.compile(r"(\d+)(?:-(\d+))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)
_NOT_LATER = {"ONBUILD", "FROM", "MAINTAINER"}
_TIMES = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start-period": "StartPeriod",
    "start-interval": "StartInterval",
}


def changed(config: ImageConfig, instructions: str | Iterable[str]) -> ImageConfig:
    """The configuration after these instructions, in turn: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD,
    STOPSIGNAL, USER, VOLUME, WORKDIR.

    An ENTRYPOINT without a CMD before it takes the CMD away, which belonged to the one before.
    Raises :class:`InvalidArgument` for another instruction, and for a wrong one.

    >>> changed(ImageConfig(), ['CMD ["serve"]', "ENV A=1 B=$A"]).env
    ('A=1', 'B=')
    """
    if isinstance(instructions, str):
        instructions = instructions.splitlines()
    if isinstance(instructions, bytes) or not isinstance(instructions, Iterable):
        raise InvalidArgument("changes", instructions, "a list of instructions is needed")
    has_command = False
    for each in instructions:
        if not isinstance(each, str):
            raise InvalidArgument("changes", each, "an instruction is text, such as 'ENV A=1'")
        word, _, rest = each.strip().partition(" ")
        name, rest = word.upper(), rest.strip()
        if not word:
            continue
        if name not in _INSTRUCTIONS:
            known = ", ".join(_INSTRUCTIONS)
            raise InvalidArgument("changes", each, f"one of {known} is needed: others change files")
        if not rest:
            raise InvalidArgument("changes", each, f"{name} says nothing")
        try:
            config = _INSTRUCTIONS[name](config, rest)
        except InvalidArgument as error:
            raise InvalidArgument("changes", each, error.reason) from None
        has_command |= name == "CMD"
        if name == "ENTRYPOINT" and not has_command:
            config = attrs.evolve(config, cmd=())
    return config


def _variables(config: ImageConfig) -> dict[str, str]:
    return dict(each.partition("=")[::2] for each in config.env)


def _expanded(config: ImageConfig, text: str) -> str:
    return expand(text, _variables(config))


def _listed(text: str) -> list[str] | None:
    """A list of words in JSON; ``None``: it is none."""
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if all(isinstance(each, str) for each in found) else None


def _command(config: ImageConfig, text: str) -> list[str]:
    listed = _listed(text)
    return [*(dict(config.more).get("Shell") or _SHELL), text] if listed is None else listed


def _pairs(config: ImageConfig, text: str) -> list[tuple[str, str]]:
    """``name=value`` each, or one name and its value with a blank between."""
    variables = _variables(config)
    words = split(text)
    if "=" not in words[0]:
        name, _, value = text.partition(" ")
        if not value:
            raise InvalidArgument("changes", text, "name=value is needed")
        return [(expand(name, variables), expand(value.strip(), variables))]
    found = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise InvalidArgument("changes", word, "name=value is needed")
        found.append((expand(name, variables), expand(value, variables)))
    return found


def _with_more(config: ImageConfig, key: str, value: Any) -> ImageConfig:
    return attrs.evolve(config, more=tuple({**dict(config.more), key: value}.items()))


def _cmd(config: ImageConfig, text: str) -> ImageConfig:
    return attrs.evolve(config, cmd=_command(config, text))


def _entrypoint(config: ImageConfig, text: str) -> ImageConfig:
    return attrs.evolve(config, entrypoint=_command(config, text))


def _env(config: ImageConfig, text: str) -> ImageConfig:
    values = {**_variables(config), **dict(_pairs(config, text))}
    return attrs.evolve(config, env=[f"{name}={value}" for name, value in values.items()])


def _label(config: ImageConfig, text: str) -> ImageConfig:
    return attrs.evolve(config, labels={**dict(config.labels), **dict(_pairs(config, text))})


def _expose(config: ImageConfig, text: str) -> ImageConfig:
    ports = set(config.exposed_ports)
    for word in _expanded(config, text).split():
        match = _PORT.fullmatch(word)
        if match is None or not 0 < int(match[1]) <= int(match[2] or match[1]) <= 0xFFFF:
            raise InvalidArgument("changes", word, "a port is needed, such as 80, 53/udp or 8000-8010")
        protocol = (match[3] or "tcp").lower()
        ports.update(f"{port}/{protocol}" for port in range(int(match[1]), int(match[2] or match[1]) + 1))
    return attrs.evolve(config, exposed_ports=sorted(ports))


def _user(config: ImageConfig, text: str) -> ImageConfig:
    return attrs.evolve(config, user=_expanded(config, text))


def _volume(config: ImageConfig, text: str) -> ImageConfig:
    listed = _listed(text)
    paths: Sequence[str] = [_expanded(config, each) for each in split(text)] if listed is None else listed
    if not all(path.strip() for path in paths):
        raise InvalidArgument("changes", text, "a volume is a path")
    return attrs.evolve(config, volumes=[*config.volumes, *paths])


def _workdir(config: ImageConfig, text: str) -> ImageConfig:
    path = posixpath.join(config.workdir or "/", _expanded(config, text))
    # Two slashes at the beginning are kept by POSIX, and mean nothing here.
    return attrs.evolve(config, workdir="/" + posixpath.normpath(path).lstrip("/"))


def _stopsignal(config: ImageConfig, text: str) -> ImageConfig:
    name = _expanded(config, text)
    signal_number(int(name) if name.isdecimal() else name)
    return attrs.evolve(config, stop_signal=name)


def _onbuild(config: ImageConfig, text: str) -> ImageConfig:
    if text.split(maxsplit=1)[0].upper() in _NOT_LATER:
        raise InvalidArgument("changes", text, f"{', '.join(sorted(_NOT_LATER))} cannot come after ONBUILD")
    return _with_more(config, "OnBuild", [*(dict(config.more).get("OnBuild") or ()), text])


def _healthcheck(config: ImageConfig, text: str) -> ImageConfig:
    if text.upper() == "NONE":
        return _with_more(config, "Healthcheck", {"Test": ["NONE"]})
    found: dict[str, Any] = {}
    while match := re.match(r"--([a-z-]+)=(\S+)\s+", text):
        option, value = match[1], match[2]
        if option in _TIMES:
            found[_TIMES[option]] = round(parse_duration(option, value) * 1e9)
        elif option == "retries" and value.isdecimal():
            found["Retries"] = int(value)
        else:
            raise InvalidArgument("changes", match[0].strip(), "no such option of HEALTHCHECK")
        text = text[match.end() :]
    kind, _, command = text.partition(" ")
    if kind.upper() != "CMD" or not command.strip():
        raise InvalidArgument("changes", text, "HEALTHCHECK [OPTIONS] CMD command, or NONE, is needed")
    listed = _listed(command.strip())
    test = ["CMD-SHELL", command.strip()] if listed is None else ["CMD", *listed]
    return _with_more(config, "Healthcheck", {"Test": test, **found})


_INSTRUCTIONS: dict[str, Callable[[ImageConfig, str], ImageConfig]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "ONBUILD": _onbuild,
    "STOPSIGNAL": _stopsignal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
