"""``--change`` of ``commit`` and ``import``: instructions of a Dockerfile, and the configuration that they make of another."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from pycontainer.container.spec import Spec
from pycontainer.errors import InvalidArgument
from pycontainer.image.config import ImageConfig


def of_container(spec: Spec) -> ImageConfig:
    """What an image of a container sets, as with Docker: what its image did, and what was said when it was made."""
    image = spec.image.config
    entrypoint = image.entrypoint if spec.argv[: len(image.entrypoint)] == image.entrypoint else ()
    return attrs.evolve(
        image,
        entrypoint=entrypoint,
        cmd=spec.argv[len(entrypoint) :],
        env=[f"{name}={value}" for name, value in spec.env],
        user=spec.user,
        workdir=spec.workdir if spec.workdir != "/" else image.workdir,
        labels=dict(spec.labels),
    )


def changed(config: ImageConfig, texts: Sequence[str]) -> ImageConfig:
    """The configuration after the instructions. Raises :class:`InvalidArgument`."""
    for text in texts:
        name, _, value = text.strip().partition(" ")
        read = _INSTRUCTIONS.get(name.upper())
        if read is None:
            raise InvalidArgument("change", text, f"one of {', '.join(_INSTRUCTIONS)} is needed")
        try:
            config = read(config, value.strip())
        except ValueError as error:
            raise InvalidArgument("change", text, str(error)) from None
    return config


def _words(value: str) -> list[str]:
    """A list in JSON, or a line for the shell."""
    if not value:
        raise ValueError("a value is missing")
    if value.startswith("["):
        found = json.loads(value)
        if not all(isinstance(word, str) for word in found):
            raise ValueError("a list of text is needed")
        return list(found)
    return ["/bin/sh", "-c", value]


def _pairs(value: str) -> dict[str, str]:
    """``NAME=value`` each, or ``NAME value``."""
    words = shlex.split(value)
    if not words:
        raise ValueError("NAME=value is needed")
    if "=" not in words[0]:
        name, _, rest = value.partition(" ")
        return {name: rest.strip()}
    pairs = [word.partition("=") for word in words]
    if not all(name and equals for name, equals, _ in pairs):
        raise ValueError("NAME=value is needed")
    return {name: text for name, _, text in pairs}


def _env(config: ImageConfig, value: str) -> ImageConfig:
    known = dict(pair.partition("=")[::2] for pair in config.env) | _pairs(value)
    return attrs.evolve(config, env=[f"{name}={text}" for name, text in known.items()])


def _one(name: str) -> Callable[[ImageConfig, str], ImageConfig]:
    def read(config: ImageConfig, value: str) -> ImageConfig:
        if not value:
            raise ValueError("a value is missing")
        told: dict[str, Any] = {name: value}
        return attrs.evolve(config, **told)

    return read


def _expose(config: ImageConfig, value: str) -> ImageConfig:
    ports = [port if "/" in port else f"{port}/tcp" for port in value.split()]
    return attrs.evolve(config, exposed_ports=[*config.exposed_ports, *ports])


def _volume(config: ImageConfig, value: str) -> ImageConfig:
    paths = _words(value) if value.startswith("[") else value.split()
    return attrs.evolve(config, volumes=[*config.volumes, *paths])


_INSTRUCTIONS: dict[str, Callable[[ImageConfig, str], ImageConfig]] = {
    "CMD": lambda config, value: attrs.evolve(config, cmd=_words(value)),
    "ENTRYPOINT": lambda config, value: attrs.evolve(config, entrypoint=_words(value)),
    "ENV": _env,
    "EXPOSE": _expose,
    "LABEL": lambda config, value: attrs.evolve(config, labels={**dict(config.labels), **_pairs(value)}),
    "STOPSIGNAL": _one("stop_signal"),
    "USER": _one("user"),
    "VOLUME": _volume,
    "WORKDIR": _one("workdir"),
}
