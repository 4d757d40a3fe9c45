"""Volumes, and what is told of the engine as a whole."""

from __future__ import annotations

import json

import pytest

from tests.support.commandline import CommandLine


def test_a_volume_from_its_making_to_its_removal(cli: CommandLine) -> None:
    assert cli("volume", "create", "data", "--label", "team=a").good().out == "data\n"
    nameless = cli("volume", "create").good().out.strip()
    assert len(nameless) == 64
    lines = cli("volume", "ls").good().lines
    assert lines[0] == "DRIVER    VOLUME NAME"
    assert "local     data" in lines
    assert sorted(cli("volume", "ls", "-q").lines) == sorted(["data", nameless])
    assert cli("volume", "ls", "-q", "-f", "label=team=a").lines == ["data"]
    assert cli("volume", "ls", "--format", "{{.Name}}: {{.Labels}}", "--filter", "name=dat").lines == [
        "data: team=a"
    ]
    (found,) = json.loads(cli("volume", "inspect", "data").good().out)
    assert (found["Name"], found["Labels"], found["Scope"]) == ("data", {"team": "a"}, "local")
    assert cli("inspect", "-f", "{{.Driver}}", "data").good().out == "local\n"
    done = cli("volume", "rm", "nope", "data")
    assert (done.status, done.out, done.err) == (1, "data\n", "pycontainer: nope: no such volume\n")
    assert cli("volume", "rm", "-f", "nope").status == 0
    assert cli("volume", "prune", "-f").good().lines[:2] == ["Deleted Volumes:", nameless]


def test_options_of_a_volume(cli: CommandLine) -> None:
    place = cli.home / "place"
    place.mkdir()
    options = ("-o", "type=none", "-o", "o=bind", "-o", f"device={place}")
    cli("volume", "create", *options, "bound").good()
    assert cli("volume", "inspect", "-f", "{{.Mountpoint}}", "bound").good().out == f"{place}\n"
    assert cli("volume", "create", "-d", "nfs", "other").err.startswith("pycontainer: --driver nfs: ")
    assert cli("volume", "create", "-o", "colour", "other").err.startswith(
        "pycontainer: --opt colour: name=value"
    )


@pytest.mark.needs("userns", "busybox")
def test_a_volume_in_use_stays(cli: CommandLine, app: str) -> None:
    with cli.start("run", "--rm", "-i", "-v", "data:/data", app, "sh", "-c", "echo up; cat") as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"up\n"
        done = cli("volume", "rm", "data")
        assert done.status == 1
        assert "in use by container" in done.err
        assert cli("volume", "prune", "-a", "-f").good().out == "Total reclaimed space: 0B\n"
        process.stdin.close()
        process.wait()
    cli("volume", "rm", "data").good()


def test_the_engine_tells_of_itself(cli: CommandLine, app: str) -> None:
    cli("volume", "create", "data").good()
    lines = cli("info").good().lines
    assert "Images: 1" in lines
    assert "Volumes: 1" in lines
    assert f"Root Dir: {cli.engine}" in lines
    assert cli("info", "-f", "{{.Images}} {{.Driver}}").good().out == "1 overlay\n"
    assert json.loads(cli("system", "info", "--format", "json").good().out)["Volumes"] == 1
    lines = cli("system", "df").good().lines
    assert lines[0].split() == ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]
    assert lines[1].split()[:3] == ["Images", "1", "0"]
    assert lines[2].split()[:3] == ["Containers", "0", "0"]
    assert lines[3].split()[:4] == ["Local", "Volumes", "1", "0"]
    images, _, volumes = json.loads(cli("system", "df", "--json").good().out)
    assert images["size"] == images["reclaimable"] > 1 << 20
    assert volumes["total"] == 1


def test_an_engine_that_nobody_has_used_is_not_made_by_a_question(cli: CommandLine) -> None:
    assert "Images: 0" in cli("info").good().lines
    assert cli("version").good().lines[0] == "Client:"
    assert cli("--version").good().out.startswith("pycontainer version ")
    assert not cli.engine.exists()
