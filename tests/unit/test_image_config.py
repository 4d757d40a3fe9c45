"""The configuration of an image: translation of JSON, and refusal of what is none."""

from __future__ import annotations

from typing import Any

import pytest

from pycontainer.errors import InvalidArgument
from pycontainer.image.config import ImageConfig

JSON = {
    "Env": ["A=1", "B="],
    "Entrypoint": ["/entry"],
    "Cmd": ["a", "b"],
    "User": "7:8",
    "WorkingDir": "/w",
    "Labels": {"b": "2", "a": "1"},
    "Volumes": {"/v": {}, "/u": {}},
    "StopSignal": "SIGQUIT",
    "ExposedPorts": {"443/tcp": {}, "80/tcp": {}},
}


def test_json_there_and_back() -> None:
    config = ImageConfig.from_json(JSON)
    assert config.entrypoint == ("/entry",)
    assert config.labels == (("a", "1"), ("b", "2"))
    assert config.volumes == ("/u", "/v")
    assert config.to_json() == JSON


def test_null_and_absence_are_the_same() -> None:
    assert ImageConfig.from_json(dict.fromkeys(JSON)) == ImageConfig()
    assert ImageConfig().to_json() == {}


def test_unknown_keys_are_kept_and_tell_values_apart() -> None:
    told = {
        "Cmd": ["a"],
        "Healthcheck": {"Test": ["CMD", "x"], "Retries": 3},
        "OnBuild": None,
        "ArgsEscaped": True,
    }
    config = ImageConfig.from_json(told)
    assert config.to_json() == told
    assert dict(config.more)["Healthcheck"] == told["Healthcheck"]
    assert config == ImageConfig.from_json(dict(reversed(told.items())))
    assert hash(config) == hash(ImageConfig.from_json(dict(reversed(told.items()))))
    assert config != ImageConfig.from_json({**told, "Healthcheck": None})
    assert ImageConfig.from_json({"New": 1}) != ImageConfig()


def test_a_value_can_be_a_key_and_copied() -> None:
    config = ImageConfig.from_json(JSON)
    assert len({config, ImageConfig.from_json(config.to_json())}) == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Env", "A=1"),
        ("Env", 5),
        ("Env", [5]),
        ("Env", ["A=\0"]),
        ("Cmd", {"a": "b"}),
        ("Cmd", b"sh"),
        ("User", 0),
        ("User", ["root"]),
        ("Labels", ["a"]),
        ("Labels", {"a": 1}),
        ("Labels", 7),
        ("Volumes", "/v"),
        ("Volumes", {1: {}}),
        ("StopSignal", 9),
        ("ExposedPorts", "80/tcp"),
        ("ExposedPorts", [80]),
        ("Healthcheck", b"x"),
        ("Healthcheck", {"Test": object()}),
        ("Healthcheck", float("nan")),
        ("Healthcheck", ["\ud800"]),
        (5, None),
    ],
)
def test_other_types_are_refused(key: str, value: Any) -> None:
    with pytest.raises(InvalidArgument, match="config="):
        ImageConfig.from_json({key: value})


def test_only_an_object_is_a_configuration() -> None:
    with pytest.raises(InvalidArgument, match="an object"):
        ImageConfig.from_json([])  # type: ignore[arg-type]
