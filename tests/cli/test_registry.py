"""Registries: pull, push, login and logout, with a real one."""

from __future__ import annotations

import base64
import json
import os
import stat
from pathlib import Path

import pytest

from tests.support.commandline import CommandLine
from tests.support.registry import PASSWORD, USER, RealRegistry

pytestmark = pytest.mark.needs("registry", "busybox", "userns")


@pytest.fixture
def pushed(cli: CommandLine, app: str, registry: RealRegistry, request: pytest.FixtureRequest) -> str:
    """The name of an image that the registry has, and the store has no more."""
    name = f"{registry.host}/{request.node.name.split('[')[0].replace('_', '-')}:v1"
    cli("tag", app, name).good()
    done = cli("push", name).good()
    digest = cli("images", "-q", "--no-trunc").lines[0]
    assert done.lines == [
        f"The push refers to repository [{name.rpartition(':')[0]}]",
        f"v1: digest: {digest} size: {json.loads(cli('inspect', name).out)[0]['Descriptor']['size']}",
    ]
    cli("rmi", "-f", digest).good()
    return name


def test_a_pull_tells_what_docker_tells(cli: CommandLine, pushed: str) -> None:
    done = cli("pull", pushed).good()
    repository = pushed.partition("/")[2].rpartition(":")[0]
    digest = cli("images", "-q", "--no-trunc").lines[0]
    assert done.lines == [
        f"v1: Pulling from {repository}",
        f"Digest: {digest}",
        f"Status: Downloaded newer image for {pushed}",
        pushed,
    ]
    assert f"Status: Image is up to date for {pushed}" in cli("pull", pushed).lines
    assert cli("pull", "-q", pushed).good().out == f"{pushed}\n"
    assert (
        cli("inspect", "-f", "{{index .RepoDigests 0}}", pushed).good().out
        == f"{pushed.rpartition(':')[0]}@{digest}\n"
    )


def test_run_fetches_what_is_missing(cli: CommandLine, pushed: str) -> None:
    done = cli("run", "--rm", pushed, "cat", "/srv/file").good()
    assert done.out == "x\n"
    assert done.err.splitlines()[0] == f"Unable to find image '{pushed}' locally"
    assert done.err.splitlines()[-1] == f"Status: Downloaded newer image for {pushed}"
    assert cli("run", pushed, "cat", "/srv/file").good().err == ""
    done = cli("run", "--pull=always", pushed, "true").good()
    assert done.err.splitlines()[-1] == f"Status: Image is up to date for {pushed}"
    assert cli("run", "--pull=always", "-q", pushed, "true").good().err == ""


def test_bars_are_for_terminals(cli: CommandLine, pushed: str) -> None:
    with cli.on_terminal("pull", pushed, columns=120) as terminal:
        assert terminal.wait() == 0
        assert "\x1b[" in terminal.screen
        assert "done" in terminal.screen


def test_what_the_registry_has_not_is_an_error(cli: CommandLine, registry: RealRegistry) -> None:
    done = cli("pull", f"{registry.host}/nope:v1")
    assert done.status == 1
    assert registry.host in done.err
    assert done.err.count("\n") == 1
    assert cli("run", f"{registry.host}/nope:v1").status == 125
    assert cli("push", "nope:v1").err == "pycontainer: nope:v1: no such image in the store\n"
    assert cli("pull", "UPPER").err.startswith("pycontainer: ")


# -- credentials ---------------------------------------------------------------------------


@pytest.fixture
def guarded(tmp_path: Path) -> RealRegistry:
    return RealRegistry(directory=tmp_path / "guarded", auth=True)


def test_credentials_are_checked_kept_used_and_forgotten(
    cli: CommandLine, app: str, guarded: RealRegistry
) -> None:
    with guarded as server:
        name = f"{server.host}/team/app:v1"
        cli("tag", app, name).good()
        refused = cli("push", name)
        assert refused.status == 1
        wrong = cli("login", "-u", USER, "--password-stdin", server.host, input="wrong")
        assert wrong.status == 1
        assert not (cli.home / ".docker").exists()
        done = cli("login", "-u", USER, "--password-stdin", server.host, input=PASSWORD + "\n").good()
        assert done.out == "Login Succeeded\n"
        file = cli.home / ".docker/config.json"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        kept = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        assert json.loads(file.read_text()) == {"auths": {server.host: {"auth": kept}}}
        assert str(file) in done.err
        cli("push", name).good()
        assert cli("logout", server.host).good().out == f"Removing login credentials for {server.host}\n"
        assert json.loads(file.read_text()) == {"auths": {}}
        assert cli("logout", server.host).good().out == f"Not logged in to {server.host}\n"
        assert cli("push", name).status == 1


def test_a_helper_keeps_them_where_one_is_named(
    cli: CommandLine, guarded: RealRegistry, tmp_path: Path
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    helper = programs / "docker-credential-test"
    helper.write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/verbs\ncat > {tmp_path}/$1\n')
    helper.chmod(0o755)
    config = cli.home / ".docker/config.json"
    config.parent.mkdir()
    config.write_text('{"credsStore": "test", "other": {"kept": 1}}')
    env = {"PATH": f"{programs}:{os.environ['PATH']}"}
    with guarded as server:
        done = cli("login", "-u", USER, "-p", PASSWORD, server.host, env=env).good()
        assert done.err == ""
        told = json.loads((tmp_path / "store").read_text())
        assert told == {"ServerURL": server.host, "Username": USER, "Secret": PASSWORD}
        assert json.loads(config.read_text()) == {
            "credsStore": "test",
            "other": {"kept": 1},
            "auths": {server.host: {}},
        }
        cli("logout", server.host, env=env).good()
        assert (tmp_path / "erase").read_text() == server.host
    assert "kept" in config.read_text()


def test_a_password_is_asked_for_unseen(cli: CommandLine, guarded: RealRegistry) -> None:
    with guarded as server, cli.on_terminal("login", server.host) as terminal:
        terminal.until("Username: ")
        terminal.type(f"{USER}\n")
        terminal.until("Password: ")
        terminal.type(f"{PASSWORD}\n")
        terminal.until("Login Succeeded")
        assert terminal.wait() == 0
        assert PASSWORD not in terminal.screen


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--password-stdin", "localhost:1"], "stdin is no terminal"),
        (
            ["-u", "x", "-p", "y", "--password-stdin", "localhost:1"],
            "give either --password or --password-stdin",
        ),
        (["-u", "x", "localhost:1"], "stdin is no terminal"),
    ],
)
def test_what_login_needs(cli: CommandLine, words: list[str], message: str) -> None:
    done = cli("login", *words)
    assert done.status == 1
    assert message in done.err
