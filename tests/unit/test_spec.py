"""What a user may ask for: Docker's rules, and errors that name the argument."""

from __future__ import annotations

import copy
import inspect
import os
from pathlib import Path

import attrs
import pytest

from pycontainer.container import attributes, bounds
from pycontainer.container.container import Container
from pycontainer.container.exchange import Exchange
from pycontainer.container.mounts import Bind, Tmpfs, VolumeMount, parse_mount
from pycontainer.container.options import KNOWN, ContainerOptions, ExchangeOptions, LimitOptions
from pycontainer.container.security import Security
from pycontainer.container.spec import DEFAULT_PATH, make_spec, spec_of
from pycontainer.errors import InvalidArgument
from pycontainer.image.config import ImageConfig
from pycontainer.image.image import Image
from pycontainer.kernel import capabilities
from pycontainer.network import wish
from pycontainer.size import parse_size

IMAGE = Image(
    name="test",
    layers=("/layer",),
    config=ImageConfig(
        entrypoint=["/entry"], cmd=["a", "b"], env=["A=1", "PATH=/only"], workdir="/w", user="7:8"
    ),
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
    # With 0 the kernel would still start the host's collector of dumps.
    assert [(soft, hard) for _, soft, hard in core] == [(1, 1)]
    assert make_spec(IMAGE, ulimits={"core": 0}).ulimits == core
    limits = make_spec(IMAGE, ulimits={"nofile": (10, 20), "core": -1}).ulimits
    assert {(soft, hard) for _, soft, hard in limits} == {(10, 20), ((1 << 64) - 1, (1 << 64) - 1)}
    with pytest.raises(InvalidArgument, match="nofile"):
        make_spec(IMAGE, ulimits={"nofile": (20, 10)})


@pytest.mark.parametrize(
    ("text", "size"),
    [("64M", 64 << 20), ("1.5g", 3 << 29), ("512KiB", 512 << 10), ("10", 10), (7, 7), ("2kb", 2048)],
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
    assert parse_mount("/a:/b:Z,ro") == Bind("/a", "/b", read_only=True)
    assert parse_mount("./a:/b").source == f"{os.getcwd()}/a"
    assert parse_mount("a.b:/c") == VolumeMount("a.b", "/c")
    assert parse_mount("data:/c:ro,z,nocopy") == VolumeMount("data", "/c", read_only=True, nocopy=True)
    assert parse_mount("/c") == VolumeMount(None, "/c")
    for text in (
        "a",
        "data:c",
        "data:/c:rshared",
        "_x:/c",
        "d:/c",
        "/a:",
        ":/b",
        "/a:/b:rx",
        "/a:b",
        "/a:/b:ro:z",
        "/a:/../b",
        "/a:/",
    ):
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


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"command": 5}, "command"),
        ({"command": {"a": 1}}, "command"),
        ({"entrypoint": 5}, "entrypoint"),
        ({"umask": "022"}, "umask"),
        ({"umask": 0o1000}, "umask"),
        ({"security": "strict"}, "security"),
        ({"labels": {"a": 1}}, "labels['a']"),
        ({"labels": ["a"]}, "labels"),
        ({"init": "yes"}, "init"),
        ({"tty": 1}, "tty"),
        ({"read_only": 1}, "read_only"),
        ({"privileged": "no"}, "privileged"),
        ({"ulimits": {"nofile": "64"}}, "ulimits"),
        ({"ulimits": {"nofile": (1, 2, 3)}}, "ulimits"),
        ({"ulimits": {"nofile": True}}, "ulimits"),
        ({"ulimits": [("nofile", 1)]}, "ulimits"),
        ({"tmpfs": "/x"}, "tmpfs"),
        ({"tmpfs": ["/x:mode=9"]}, "tmpfs"),
        ({"mounts": {"/a": "/b"}}, "mounts"),
        ({"mounts": "/a:/b"}, "mounts"),
        ({"mounts": Tmpfs("/a")}, "mounts"),
        ({"mounts": [5]}, "mounts"),
        ({"workdir": "tmp"}, "workdir"),
        ({"workdir": 5}, "workdir"),
        ({"user": True}, "user"),
        ({"user": 1.5}, "user"),
        ({"hostname": 5}, "hostname"),
        ({"cap_add": "NET_ADMIN"}, "cap_add"),
        ({"cap_drop": 5}, "cap_drop"),
        ({"stop_signal": 1.5}, "stop_signal"),
        ({"stop_signal": 0}, "stop_signal"),
        ({"stop_signal": "NOPE"}, "stop_signal"),
        ({"extra_fds": 5}, "extra_fds"),
        ({"extra_fds": {0: "x"}}, "extra_fds"),
        ({"extra_fds": [(0, 1)]}, "extra_fds"),
        ({"network": ["none"]}, "network"),
        ({"size": True}, "size"),
        ({"shm_size": None}, "shm_size"),
    ],
)
def test_wrong_values_are_refused_by_name(options, argument):
    with pytest.raises(InvalidArgument) as caught:
        make_spec(IMAGE, **options)
    assert caught.value.argument == argument
    assert str(caught.value).endswith(caught.value.reason)


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: Bind(5, "/a"), "source"),
        (lambda: Bind("/a", 5), "target"),
        (lambda: Bind("/a", "/b", read_only="yes"), "read_only"),
        (lambda: Tmpfs("/a", mode="700"), "mode"),
    ],
)
def test_wrong_mounts_are_refused_by_name(make, argument):
    with pytest.raises(InvalidArgument) as caught:
        make()
    assert caught.value.argument == argument


def test_paths_are_taken_as_paths():
    assert make_spec(IMAGE, workdir=Path("/a/b")).workdir == "/a/b"
    assert Bind(Path("/a"), Path("/b")) == Bind("/a", "/b")


def test_one_list_of_options():
    """The types, the checks and the defaults name the same arguments."""
    named = set(inspect.signature(make_spec).parameters) - {"image", "command", "further"} | attributes.NAMES
    assert named | bounds.ARGUMENTS | wish.ARGUMENTS == set(ContainerOptions.__annotations__)
    assert set(LimitOptions.__annotations__) == bounds.ARGUMENTS
    fields = set(attrs.fields_dict(Exchange)) | {"encoding", "errors"}
    assert set(ExchangeOptions.__annotations__) == fields
    popen = inspect.signature(Container.popen).parameters
    assert KNOWN["popen"] | {"self", "command", "unknown"} == set(popen)
    entry = inspect.signature(Container.exec).parameters
    assert KNOWN["exec"] == (set(entry) - {"self", "command", "exchange"}) | set(
        ExchangeOptions.__annotations__
    )


def test_equal_arguments_are_checked_once():
    options = {
        "env": {"A": "1"},
        "cap_add": ["NET_ADMIN"],
        "ulimits": {"nofile": (1, 2)},
        "labels": {"a": "b"},
    }
    first = spec_of(IMAGE, ["c"], options)
    assert first == make_spec(IMAGE, ["c"], **options)
    assert spec_of(IMAGE, ["c"], copy.deepcopy(options)) is first
    options["env"]["A"] = "2"
    assert dict(spec_of(IMAGE, ["c"], options).env)["A"] == "2"
    assert spec_of(IMAGE, "c", {}).argv == spec_of(IMAGE, ["c"], {}).argv


def test_equal_values_of_another_type_are_checked():
    assert spec_of(IMAGE, ["c"], {"init": True}).init
    with pytest.raises(InvalidArgument, match="init"):
        spec_of(IMAGE, ["c"], {"init": 1})
    with pytest.raises(InvalidArgument, match="command"):
        spec_of(IMAGE, ["c", ["d"]], {})
    assert spec_of(IMAGE, ["c"], {"ulimits": {"nofile": [1, 2]}}).ulimits


def test_what_may_vanish_is_looked_at_each_time(tmp_path):
    (tmp_path / "a").mkdir()
    options = {"mounts": [f"{tmp_path}/a:/a"]}
    assert spec_of(IMAGE, ["c"], options).mounts
    (tmp_path / "a").rmdir()
    with pytest.raises(InvalidArgument, match="does not exist"):
        spec_of(IMAGE, ["c"], options)
    read, write = os.pipe()
    os.close(write)
    assert spec_of(IMAGE, ["c"], {"extra_fds": [read]}).extra_fds
    os.close(read)
    with pytest.raises(InvalidArgument, match="no such fd"):
        spec_of(IMAGE, ["c"], {"extra_fds": [read]})
