"""The streams of a program: what it can open behind them."""

from __future__ import annotations

import os

import pytest

import pycontainer as pc
from tests.security.running import options_of


@pytest.fixture
def reopened(probe):
    """What came of opening a regular file among the streams again, for writing."""

    def run(mode, **streams):
        mounts = [pc.Bind(probe, "/probe", read_only=True)]
        command = ["/probe", "try", "reopen_streams"]
        given = {**options_of(mode), "timeout": 60, **streams}
        result = pc.run("host:", command, text=True, mounts=mounts, **given)
        return result.stdout.strip().partition("=")[2]

    return run


MODES = ["default", pytest.param("strict", marks=pytest.mark.needs("cgroup")), "privileged"]


@pytest.mark.parametrize("mode", MODES)
def test_streams_that_nobody_gave_are_no_files_of_the_caller(reopened, mode):
    assert reopened(mode) == "refused EOPNOTSUPP"
    assert reopened(mode, input="some text") == "refused EOPNOTSUPP"


@pytest.mark.needs("root")
@pytest.mark.parametrize("mode", MODES)
def test_a_file_of_the_hosts_root_opens_for_nothing_more(reopened, tmp_path, mode):
    file = tmp_path / "given"
    file.write_text("for reading")
    file.chmod(0o644)
    with open(file, "rb") as stream:
        assert reopened(mode, stdin=stream) == "refused EACCES"


@pytest.mark.needs("user")
def test_a_file_of_an_ordinary_user_is_given_with_all_that_its_owner_may(reopened, tmp_path):
    """Root of the container is this user: to hand over a file, even for reading, is to hand over the file."""
    file = tmp_path / "given"
    file.write_text("for reading")
    with open(file, "rb") as stream:
        assert reopened("default", stdin=stream) == "reached 0"
    file.chmod(0o444)
    with open(file, "rb") as stream:
        # As its owner it may change that.
        assert reopened("default", stdin=stream) in {"refused EACCES", "reached 0"}
    assert os.path.exists(file)
