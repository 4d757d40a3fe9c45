"""What an image says of itself, when programs are run from it."""

from __future__ import annotations

import pytest

import pycontainer as pc
from pycontainer.image.config import ImageConfig
from tests.support import imagery


@pytest.fixture
def made(engine, base):
    """Make an image with some settings."""

    def make(**config) -> pc.Image:
        return imagery.make_image(engine.images, "app:v1", base, config=ImageConfig(**config))

    return make


def said(engine, image, *command, **options) -> str:
    result = engine.run(image, list(command) or None, text=True, **options)
    assert result.exit_code == 0, result
    return result.stdout


def test_the_layers_are_shown_as_one(engine, image):
    script = "cat /srv/file; ls /etc; stat -c %u:%a /home/app; touch /srv/new; echo more >> /srv/file"
    result = engine.run("app:v1", ["sh", "-c", script], text=True)
    assert result.stdout == "of the image\npasswd\n1000:700\n"
    assert {change.path: change.kind for change in result.changes()} == {
        "/srv/file": "modified",
        "/srv/new": "added",
    }
    assert said(engine, "app:v1", "cat", "/srv/file") == "of the image\n"


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="default"),
        pytest.param({"userns": "host"}, id="host", marks=pytest.mark.needs("root")),
        pytest.param({"security": pc.Security.strict()}, id="strict", marks=pytest.mark.needs("cgroup")),
    ],
)
def test_all_kinds_of_containers(engine, image, options):
    assert said(engine, image, "ls", "/etc", **options) == "passwd\n"


@pytest.mark.parametrize(
    ("config", "command", "options", "argv"),
    [
        ({"cmd": ["echo", "a"]}, [], {}, "a"),
        ({"cmd": ["echo", "a"]}, ["echo", "b"], {}, "b"),
        ({"entrypoint": ["echo"], "cmd": ["a"]}, [], {}, "a"),
        ({"entrypoint": ["echo"], "cmd": ["a"]}, ["b", "c"], {}, "b c"),
        ({"entrypoint": ["echo", "x"], "cmd": ["a"]}, ["b"], {"entrypoint": ["echo"]}, "b"),
        ({"entrypoint": ["false"], "cmd": ["a"]}, [], {"entrypoint": ["echo", "own"]}, "own"),
    ],
)
def test_entrypoint_and_command(engine, made, config, command, options, argv):
    assert said(engine, made(**config), *command, **options) == argv + "\n"


def test_environment_user_and_directory(engine, made):
    image = made(
        env=["A=image", "B=image", "PATH=/bin"],
        user="app",
        workdir="/srv/deep/er",
        cmd=["sh", "-c", "id; pwd; echo $A $B"],
    )
    expected = "uid=1000(app) gid=1000(app) groups=1000(app),1001(extra)\n/srv/deep/er\nimage own\n"
    assert (
        said(engine, image, env={"B": "own"}).replace(
            "gid=1000(app) groups=1001(extra)", "gid=1000(app) groups=1000(app),1001(extra)"
        )
        == expected
    )
    assert said(engine, image, "id", "-u", user="0:0") == "0\n"
    assert said(engine, image, "pwd", workdir="/tmp") == "/tmp\n"


def test_stop_signal_and_labels(engine, made):
    image = made(
        stop_signal="SIGINT",
        labels={"a": "b"},
        cmd=["sh", "-c", "trap 'exit 7' INT; echo; while :; do sleep 0.05; done"],
    )
    with engine.containers.create(image, init=True) as container:
        container.start()
        assert container.stop(timeout=10) in {7, 130}
        assert dict(container.spec.labels)["a"] == "b"


def test_an_image_without_a_command(engine, base):
    image = imagery.make_image(engine.images, None, base, config=ImageConfig())
    with pytest.raises(pc.InvalidArgument, match="names no command"):
        engine.run(image)


def test_a_name_that_nobody_has(engine):
    with pytest.raises(pc.RegistryError):
        engine.run("localhost:1/nobody/nothing:v1", ["true"])
    with pytest.raises(pc.InvalidArgument):
        engine.run("Upper:v1", ["true"])
