"""Configurations of images as documents: read, made, and extended without a loss."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from pycontainer.errors import ImageError, InvalidArgument
from pycontainer.image import mediatypes as types
from pycontainer.image.config import ImageConfig
from pycontainer.image.descriptor import Descriptor
from pycontainer.image.digest import digest_of
from pycontainer.image.document import Document, History, parse_document
from pycontainer.image.manifest import make_manifest
from pycontainer.image.platform import Platform

A, B, C = (f"sha256:{digit * 64}" for digit in "abc")
LINUX = Platform(architecture="amd64")
WHEN = "2024-05-06T07:08:09Z"

#: As Docker before BuildKit wrote them.
DOCKER: dict[str, Any] = {
    "architecture": "arm",
    "variant": "v7",
    "os": "linux",
    "os.version": "1",
    "config": {
        "Hostname": "", "Domainname": "", "User": "postgres", "AttachStdin": False, "Tty": False,
        "ExposedPorts": {"5432/tcp": {}}, "Env": ["PATH=/bin", "LANG=C"], "Cmd": ["postgres"], "Image": A,
        "Volumes": {"/var/lib/postgresql/data": {}}, "WorkingDir": "", "Entrypoint": ["docker-entrypoint.sh"],
        "OnBuild": None, "Labels": None, "StopSignal": "SIGINT", "Shell": ["/bin/bash", "-c"], "ArgsEscaped": True,
        "Healthcheck": {"Test": ["CMD-SHELL", "pg_isready"], "Interval": 30000000000, "Retries": 3},
    },
    "container": "0" * 64,
    "container_config": {"Hostname": "000000000000", "Cmd": ["/bin/sh", "-c", "#(nop) ", "CMD"]},
    "created": "2023-01-02T03:04:05.678901234Z",
    "author": "somebody",
    "docker_version": "20.10.12",
    "history": [
        {"created": "2023-01-02T03:04:05Z", "created_by": "ADD file in /", "new": [1]},
        {"created": "2023-01-02T03:04:05Z", "created_by": "CMD", "empty_layer": True, "comment": "c", "author": "a"},
        {"created_by": "RUN x"},
    ],
    "rootfs": {"type": "layers", "diff_ids": [A, B], "base_layer": "x"},
    "moby.buildkit.cache.v0": "e30=",
}  # fmt: skip


def read(value: Any) -> Document:
    return parse_document(json.dumps(value).encode(), "the image")


def test_all_that_docker_says_is_read() -> None:
    raw = json.dumps(DOCKER).encode()
    found = parse_document(raw, "the image")
    assert str(found.platform) == "linux/arm/v7"
    assert found.config.user == "postgres"
    assert found.config.exposed_ports == ("5432/tcp",)
    assert found.config.stop_signal == "SIGINT"
    assert dict(found.config.more)["Healthcheck"]["Retries"] == 3
    assert found.diff_ids == (A, B)
    assert [step.empty_layer for step in found.history] == [False, True, False]
    assert found.history[1] == History(
        created="2023-01-02T03:04:05Z", created_by="CMD", author="a", comment="c", empty_layer=True
    )
    assert (found.created, found.author) == ("2023-01-02T03:04:05.678901234Z", "somebody")
    assert dict(found.more)["docker_version"] == "20.10.12"
    assert (found.raw, found.digest) == (raw, digest_of(raw))
    assert {found: 1}[parse_document(raw, "another")] == 1
    assert pickle.loads(pickle.dumps(found)) == found


LEAST: dict[str, Any] = {"rootfs": {"diff_ids": []}}
#: Odd, and taken by everybody.
ODD: dict[str, dict[str, Any]] = {
    "nothing but layers": {},
    "null for all": dict.fromkeys(["architecture", "os", "variant", "config", "history", "created", "author"]),
    "empty texts": {"architecture": "", "os": "", "created": "", "author": ""},
    "no layers": {"rootfs": {"type": "layers", "diff_ids": None}},
    "a file system without type": {"rootfs": {"diff_ids": [A]}},
    "a layer twice": {"rootfs": {"type": "layers", "diff_ids": [A, A]}},
    "more history than layers": {"history": [{}, {"created_by": "x"}]},
    "a history of nulls": {"history": [{"created": None, "created_by": None, "empty_layer": None}]},
    "settings of nulls": {"config": dict.fromkeys(["Env", "Cmd", "Entrypoint", "Labels", "Volumes", "ExposedPorts", "User"])},
    "labels of nulls": {"config": {"Labels": {"a": None}}},
    "a time that is none": {"created": "yesterday"},
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_odd_ones_are_taken(name: str) -> None:
    found = read({**LEAST, **ODD[name]})
    assert found.platform == Platform(architecture="")
    assert found.config in {ImageConfig(), ImageConfig(labels={"a": ""})}


def test_the_settings_are_read_as_docker_does() -> None:
    told = {"cmd": "one word", "ENV": ["A=1"], "Entrypoint": "sh", "Labels": {"Env": "x", "env": "y"}}
    found = read({**LEAST, "config": told}).config
    assert (found.cmd, found.env, found.entrypoint) == (("one word",), ("A=1",), ("sh",))
    assert found.labels == (("Env", "x"), ("env", "y"))


#: What is wrong, and words of the message.
REFUSED: dict[str, tuple[Any, str]] = {
    "list": ([], "no JSON object"),
    "an artifact's": ({}, "it has no 'rootfs'"),
    "a file system in text": ({"rootfs": "layers"}, "it has no 'rootfs'"),
    "a file system of another kind": ({"rootfs": {"type": "windows", "diff_ids": []}}, "not made of layers"),
    "a file system of an odd kind": ({"rootfs": {"type": [], "diff_ids": []}}, "not made of layers"),
    "diff_ids in an object": ({"rootfs": {"diff_ids": {}}}, "no list"),
    "a diff_id that is a path": ({"rootfs": {"diff_ids": ["sha256:../../x"]}}, "digest"),
    "a diff_id that is a number": ({"rootfs": {"diff_ids": [5]}}, "digest"),
    "diff_ids twice": ({"rootfs": {"diff_ids": [], "Diff_IDs": [A]}}, "'diff_ids' twice"),
    "a file system twice": ({**LEAST, "RootFS": {"diff_ids": [A]}}, "'rootfs' twice"),
    "an architecture that is no text": ({**LEAST, "architecture": 5}, "platform"),
    "an os in a list": ({**LEAST, "os": ["linux"]}, "platform"),
    "history in an object": ({**LEAST, "history": {"a": 1}}, "history that is no list"),
    "history of texts": ({**LEAST, "history": [{}, "x"]}, "step 2 of the history of the image is no object"),
    "a step of numbers": ({**LEAST, "history": [{"created_by": 5}]}, "'created_by' that is no text"),
    "a step half empty": ({**LEAST, "history": [{"empty_layer": "no"}]}, "whether its layer is empty"),
    "a time of numbers": ({**LEAST, "created": 5}, "'created' that is no text"),
    "an author of lists": ({**LEAST, "author": []}, "'author' that is no text"),
    "settings in a list": ({**LEAST, "config": []}, "no object"),
    "settings in text": ({**LEAST, "config": "x"}, "no object"),
    "an environment of numbers": ({**LEAST, "config": {"Env": [1]}}, "a wrong setting"),
    "an environment in text": ({**LEAST, "config": {"Env": "A=1"}}, "a wrong setting"),
    "a NUL in a word": ({**LEAST, "config": {"Cmd": ["a\0b"]}}, "a wrong setting"),
    "settings twice": ({**LEAST, "config": {"Cmd": ["a"], "cmd": ["b"]}}, "'Cmd' twice"),
    "a label of numbers": ({**LEAST, "config": {"Labels": {"a": 1}}}, "a wrong setting"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_refused_with_the_reason(name: str) -> None:
    value, words = REFUSED[name]
    with pytest.raises(ImageError, match="the image") as caught:
        read(value)
    assert words in str(caught.value)
    assert not isinstance(caught.value, InvalidArgument)


def test_what_is_made_is_the_same_each_time() -> None:
    found = Document.make(
        platform=Platform(architecture="arm", variant="v7", more=(("os.version", "1"),)),
        config=ImageConfig(cmd=["sh"], labels={"ä": "<"}, more={"Shell": ["x"]}),
        diff_ids=[A],
        history=[History(created=WHEN, created_by="x")],
        created=WHEN,
        author="me",
        more={"new": {"b": 1, "a": 2}},
    )
    assert (
        found.raw
        == (
            '{"architecture":"arm","author":"me","config":{"Cmd":["sh"],"Labels":{"ä":"<"},"Shell":["x"]},'
            f'"created":"{WHEN}","history":[{{"created":"{WHEN}","created_by":"x"}}],'
            '"new":{"a":2,"b":1},"os":"linux","os.version":"1",'
            f'"rootfs":{{"diff_ids":["{A}"],"type":"layers"}},"variant":"v7"}}'
        ).encode()
    )
    assert found.digest == digest_of(found.raw)
    assert parse_document(found.raw, "x") == found


def test_what_is_made_from_its_parts_again_is_equal() -> None:
    first = read(DOCKER)
    found = Document.make(
        platform=first.platform,
        config=first.config,
        diff_ids=first.diff_ids,
        history=first.history,
        created=first.created,
        author=first.author,
        more=first.more,
    )
    assert (found.platform, found.config, found.history) == (first.platform, first.config, first.history)
    assert dict(found.more) == dict(first.more)


@pytest.mark.parametrize(
    ("further", "error"),
    [
        ({"diff_ids": ["x"]}, ImageError),
        ({"diff_ids": [object()]}, InvalidArgument),
        ({"created": 5}, ImageError),
        ({"author": "\ud800"}, InvalidArgument),
        ({"more": {"new": float("nan")}}, InvalidArgument),
        ({"more": {"OS": "linux"}}, ImageError),
    ],
)
def test_nothing_is_made_that_would_not_be_taken(further: dict[str, Any], error: type[Exception]) -> None:
    good: dict[str, Any] = {"platform": LINUX, "config": ImageConfig(), "diff_ids": [A]}
    assert Document.make(**good).diff_ids == (A,)
    with pytest.raises(error):
        Document.make(**{**good, **further})


def test_an_extended_one_keeps_all_that_it_said() -> None:
    first = read(DOCKER)
    found = first.extended(C, History(created=WHEN, created_by="change"))
    written = json.loads(found.raw)
    assert found.diff_ids == (A, B, C)
    assert found.history == (*first.history, History(created=WHEN, created_by="change"))
    assert found.created == WHEN
    assert found.config == first.config
    kept = {key: each for key, each in DOCKER.items() if key not in {"container", "container_config"}}
    expected = {
        **kept,
        "created": WHEN,
        "rootfs": {**DOCKER["rootfs"], "diff_ids": [A, B, C]},
        "history": [*DOCKER["history"], {"created": WHEN, "created_by": "change"}],
    }
    assert written == expected
    assert first.extended(C, History(created=WHEN, created_by="change")) == found


def test_an_extended_one_may_have_other_settings() -> None:
    first = read(DOCKER)
    config = ImageConfig(cmd=["x"], more=first.config.more)
    found = first.extended(None, History(created_by="CMD", empty_layer=True), config, WHEN)
    assert found.diff_ids == (A, B)
    assert found.config == config
    assert json.loads(found.raw)["config"]["Healthcheck"] == DOCKER["config"]["Healthcheck"]
    assert found.created == WHEN
    assert first.extended(C, History(created_by="x")).created == first.created


def test_the_least_one_can_be_extended() -> None:
    found = read(LEAST).extended(A, History(created_by="x"))
    assert (found.diff_ids, found.history) == ((A,), (History(created_by="x"),))
    odd = read({"RootFS": {"DIFF_IDS": None, "Type": "layers"}, "HISTORY": None}).extended(A, History())
    assert (odd.diff_ids, len(odd.history)) == ((A,), 1)


def test_a_step_and_its_layer_must_agree() -> None:
    with pytest.raises(InvalidArgument, match="history="):
        read(LEAST).extended(None, History())
    with pytest.raises(InvalidArgument, match="history="):
        read(LEAST).extended(A, History(empty_layer=True))
    with pytest.raises(ImageError, match="digest"):
        read(LEAST).extended("../x", History())


def layer(digest: str, media_type: str = types.OCI_LAYER) -> Descriptor:
    return Descriptor(media_type=media_type, digest=digest, size=1)


def test_layers_are_paired_with_what_they_unpack_to() -> None:
    document = read(DOCKER)
    config = layer(document.digest, types.OCI_CONFIG)
    pairs = document.layers(make_manifest(config, [layer(C), layer(C)]), "the image")
    assert [(each.digest, diff_id) for each, diff_id in pairs] == [(C, A), (C, B)]
    with pytest.raises(ImageError, match="1 layers, and its configuration tells of 2"):
        document.layers(make_manifest(config, [layer(C)]), "the image")
    with pytest.raises(ImageError, match="'text/x': that is none"):
        document.layers(make_manifest(config, [layer(A), layer(C, "text/x")]), "the image")
