"""``container save``, ``container load`` and ``checkpoint``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.commandline import CommandLine

pytestmark = pytest.mark.needs("userns", "busybox")


def test_a_container_moves(cli: CommandLine, app: str, tmp_path: Path) -> None:
    cli(
        "run", "--name", "job", "-v", "/data", app, "sh", "-c", "echo made > /srv/made; echo own > /data/own"
    ).good()
    archive = tmp_path / "job.tar"
    cli("container", "save", "-o", archive, "job").good()
    assert "a container has this name" in cli("container", "load", "-i", archive).err
    identity = cli("container", "load", "-i", archive, "--name", "there").good().out.strip()
    assert len(identity) == 64
    assert cli("diff", "there").good().out == cli("diff", "job").good().out
    assert "A /srv/made" in cli("diff", "there").out
    streamed = cli.raw("container", "save", "-q", "job")
    assert streamed.returncode == 0
    cli("container", "load", "-q", "--name", "streamed", input=streamed.stdout).good()
    assert cli("ps", "-a", "--format", "{{.Names}}").lines == ["streamed", "there", "job"]
    # What other commands find in it is the image.
    assert cli("load", "-i", archive).good().out == f"Loaded image: {app}\n"


def test_what_it_wants_of_the_host_is_told(cli: CommandLine, app: str, tmp_path: Path) -> None:
    cli("create", "--name", "job", "-v", f"{tmp_path}:/there", "--cap-add", "SYS_ADMIN", app, "true").good()
    archive = tmp_path / "job.tar"
    cli("container", "save", "--output", archive, "job").good()
    refused = cli("container", "load", "-i", archive, "--name", "other")
    assert refused.status != 0
    assert f"the host's {tmp_path}, the capability CAP_SYS_ADMIN" in refused.err
    cli("container", "load", "-i", archive, "--name", "other", "--trusted").good()


def test_checkpoints(cli: CommandLine, app: str) -> None:
    cli("run", "-d", "--name", "web", app, "sleep", "1000").good()
    assert cli("checkpoint", "ls", "web").good().out == "CHECKPOINT NAME\n"
    assert "no such checkpoint" in cli("checkpoint", "rm", "web", "none").err
    made = cli("checkpoint", "create", "web", "first")
    if made.status == 0:
        assert made.out == "first\n"
        assert cli("checkpoint", "ls", "web").lines == ["CHECKPOINT NAME", "first"]
        assert cli("ps", "-q").out == ""
        assert cli("start", "--checkpoint", "first", "web").good().out == "web\n"
        cli("checkpoint", "rm", "web", "first").good()
    else:
        assert made.err.startswith("pycontainer: checkpoints")
        assert "install" in made.err or "run as root" in made.err
    assert cli("ps", "--format", "{{.Names}} {{.State}}").out == "web running\n"
    assert "attach" in cli("start", "-a", "--checkpoint", "first", "web").err
