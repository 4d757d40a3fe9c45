"""What a user may ask for: Docker's rules, and errors that name the argument."""

from __future__ import annotations

import attrs
import pytest

from pycontainer.container.mounts import Bind, Tmpfs, parse_mount
from pycontainer.container.security import Security
from pycontainer.container.spec import DEFAULT_PATH, make_spec
from pycontainer.errors import InvalidArgument
from pycontainer.image.config import ImageConfig
from pycontainer.image.image import Image
from pycontainer.kernel import capabilities
from pycontainer.size import parse_size

IMAGE = Image(
    name="test",
    layers=("/layer",),
    config=ImageConfig(entrypoint=["/entry"], cmd=["a", "b"], env=["A=1", "PATH=/only"], workdir="/w", user="7:8"),
)


@pytest.mark.parametrize(
    ("command", "entrypoint", "argv"),
    [
        (None, None, ("/entry", "a", "b")),
        (["c"], None, ("/entry", "c")),
        (None, ["e"], ("e",)),
        (["c"], ["e", "f"], ("e", "f", "c")),
        ("one word", None, ("/entry", "one word")),
        ([], None, ("/entry",)),
        (["c"], [], ("c",)),
    ],
)
def test_entrypoint_and_command_are_dockers(command, entrypoint, argv):
    assert make_spec(IMAGE, command, entrypoint=entrypoint).argv == argv


def test_the_images_settings_are_defaults():
    spec = make_spec(IMAGE, env={"B": "2", "A": "3"})
    assert dict(spec.env) == {"PATH": "/only", "A": "3", "B": "2"}
    assert (spec.workdir, spec.user) == ("/w", "7:8")
    assert dict(make_spec(Image(name="x"), ["sh"]).env) == {"PATH": DEFAULT_PATH}
    assert make_spec(IMAGE, user=0).user == "0"


def test_env_may_be_a_list():
    assert dict(make_spec(IMAGE, env=["A=x=y", "B="]).env)["A"] == "x=y"


def test_an_image_without_a_command_needs_one():
    with pytest.raises(InvalidArgument, match="command"):
        make_spec(Image(name="x", config=ImageConfig()))


def test_capabilities_by_dockers_flags():
    spec = make_spec(IMAGE, cap_add=["net_admin"], cap_drop=["CAP_CHOWN"])
    assert "CAP_NET_ADMIN" in spec.security.capabilities
    assert "CAP_CHOWN" not in spec.security.capabilities
    assert make_spec(IMAGE, cap_drop=["ALL"]).security.capabilities == frozenset()
    assert make_spec(IMAGE).security.capabilities == capabilities.DOCKER_DEFAULT


def test_privileged_and_security_exclude_each_other():
    with pytest.raises(InvalidArgument, match="privileged"):
        make_spec(IMAGE, privileged=True, security=Security.default())
    assert make_spec(IMAGE, privileged=True).security.seccomp is None


def test_ulimits():
    core = make_spec(IMAGE).ulimits
    assert [(soft, hard) for _, soft, hard in core] == [(0, 0)]
    limits = make_spec(IMAGE, ulimits={"nofile": (10, 20), "core": -1}).ulimits
    assert {(soft, hard) for _, soft, hard in limits} == {(10, 20), ((1 << 64) - 1, (1 << 64) - 1)}
    with pytest.raises(InvalidArgument, match="nofile"):
        make_spec(IMAGE, ulimits={"nofile": (20, 10)})


@pytest.mark.parametrize(
    ("text", "size"), [("64M", 64 << 20), ("1.5g", 3 << 29), ("512KiB", 512 << 10), ("10", 10), (7, 7), ("2kb", 2048)]
)
def test_sizes(text, size):
    assert parse_size("size", text) == size


@pytest.mark.parametrize("text", ["", "M", "1X", "-1", "0", 0, -5, None, True, "1e400", "nan", "inf", "1 2"])
def test_nonsense_sizes(text):
    with pytest.raises(InvalidArgument, match="size"):
        parse_size("size", text)


def test_mounts_as_docker_writes_them():
    assert parse_mount("/a:/b") == Bind("/a", "/b")
    assert parse_mount("/a:/b:ro,rslave") == Bind("/a", "/b", read_only=True, propagation="rslave")
    for text in ("/a", "/a:", ":/b", "/a:/b:rx", "/a:b", "/a:/b:ro:z", "/a:/../b", "/a:/"):
        with pytest.raises(InvalidArgument):
            parse_mount(text)


def test_tmpfs_as_docker_writes_it():
    spec = make_spec(IMAGE, tmpfs=["/t:size=1m,mode=700"])
    assert spec.mounts == ((Tmpfs("/t", size="1m", mode=0o700), True),)


def test_values_are_frozen():
    spec = make_spec(IMAGE)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        spec.argv = ()
    assert hash(spec) == hash(make_spec(IMAGE))
