"""Options are written as for Docker, whatever argparse thinks of it."""

from __future__ import annotations

import pytest

from pycontainer.cli import catalog
from pycontainer.cli.command import Command
from pycontainer.cli.dispatch import dispatch, parser_of
from pycontainer.cli.help import of_command
from pycontainer.cli.parser import Parser, UsageError
from pycontainer.cli.refused import reason
from tests.support.commandline import CommandLine


@pytest.fixture
def parser() -> Parser:
    made = Parser("run", lambda option: "no magic" if option == "--magic" else None)
    made.flag("--rm", help="Remove")
    made.flag("--sig-proxy", help="Proxy", default=True)
    made.flag("--interactive", "-i", help="Stdin")
    made.flag("--tty", "-t", help="Terminal")
    made.value("--user", "-u", help="User")
    made.value("--cpus", type=float, help="Processors")
    made.each("--volume", "-v", help="Volumes")
    return made


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--rm"], {"rm": True}),
        (["--rm=false"], {"rm": False}),
        (["--sig-proxy=false"], {"sig_proxy": False}),
        (["--sig-proxy"], {"sig_proxy": True}),
        (["-it"], {"interactive": True, "tty": True}),
        (["-itu", "root"], {"interactive": True, "tty": True, "user": "root"}),
        (["-uroot"], {"user": "root"}),
        (["-u=root"], {"user": "root"}),
        (["-u", "-1"], {"user": "-1"}),
        (["--user", "--rm"], {"user": "--rm", "rm": False}),
        (["--user="], {"user": ""}),
        (["--user", "a", "--user", "b"], {"user": "b"}),
        (["-v", "/a:/b", "-v/c:/d", "--volume=/e:/f"], {"volume": ["/a:/b", "/c:/d", "/e:/f"]}),
        (["--cpus=1.5"], {"cpus": 1.5}),
    ],
)
def test_a_way_to_write_an_option(parser: Parser, words: list[str], expected: dict[str, object]) -> None:
    given, others = parser.read(words, interspersed=False)
    assert {name: getattr(given, name) for name in expected} == expected
    assert others == []


@pytest.mark.parametrize(
    ("words", "others"),
    [
        (["image", "ls", "-la"], ["image", "ls", "-la"]),
        (["--rm", "image", "--rm"], ["image", "--rm"]),
        (["--", "image", "-u"], ["image", "-u"]),
        (["image", "--", "x"], ["image", "--", "x"]),
        (["-", "x"], ["-", "x"]),
    ],
)
def test_options_end_with_the_first_argument(parser: Parser, words: list[str], others: list[str]) -> None:
    assert parser.read(words, interspersed=False)[1] == others


def test_options_may_come_later_where_the_command_says_so(parser: Parser) -> None:
    given, others = parser.read(["a", "--rm", "b", "-u", "x"], interspersed=True)
    assert (given.rm, given.user, others) == (True, "x", ["a", "b"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--us", "x"], "unknown flag: --us; did you mean --user?"),
        (["-itx"], "unknown shorthand flag: 'x' in -itx"),
        (["--user"], "flag needs an argument: --user"),
        (["-tu"], "flag needs an argument: -u in -tu"),
        (["--rm=perhaps"], "--rm: true or false is needed"),
        (["--cpus=many"], "--cpus: invalid float value: 'many'"),
        (["--magic"], "--magic is not supported: no magic"),
    ],
)
def test_what_cannot_be_understood_is_named(parser: Parser, words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parser.read(words, interspersed=False)
    assert str(caught.value).startswith(message)
    assert str(caught.value).endswith("; see 'pycontainer run --help'")


#: All that ``docker run`` of version 28 has.
DOCKER_RUN = """
add-host annotation attach blkio-weight blkio-weight-device cap-add cap-drop cgroup-parent cgroupns cidfile cpu-count
cpu-percent cpu-period cpu-quota cpu-rt-period cpu-rt-runtime cpu-shares cpus cpuset-cpus cpuset-mems detach
detach-keys device device-cgroup-rule device-read-bps device-read-iops device-write-bps device-write-iops
disable-content-trust dns dns-option dns-search domainname entrypoint env env-file expose gpus group-add health-cmd
health-interval health-retries health-start-interval health-start-period health-timeout help hostname init interactive
io-maxbandwidth io-maxiops ip ip6 ipc isolation kernel-memory label label-file link link-local-ip log-driver log-opt
mac-address memory memory-reservation memory-swap memory-swappiness mount name network network-alias no-healthcheck
oom-kill-disable oom-score-adj pid pids-limit platform privileged publish publish-all pull quiet read-only restart rm
runtime security-opt shm-size sig-proxy stop-signal stop-timeout storage-opt sysctl tmpfs tty ulimit user userns uts
volume volume-driver volumes-from workdir
""".split()


@pytest.mark.parametrize("name", DOCKER_RUN)
def test_every_option_of_docker_run_is_there_or_refused_with_a_reason(name: str) -> None:
    option = f"--{name}"
    known = parser_of("run", catalog.load("run")).known
    assert (option in known) != bool(reason("run", option)), option


@pytest.mark.parametrize("name", catalog.COMMANDS)
def test_every_command_has_help(name: str) -> None:
    command = catalog.load(name)
    assert isinstance(command, Command)
    text = of_command(name, command, parser_of(name, command))
    assert text.startswith(f"Usage:  pycontainer {name}")
    assert "--help" in text


def test_no_option_is_both_there_and_refused() -> None:
    for name in catalog.COMMANDS:
        for option in parser_of(name, catalog.load(name)).known:
            assert reason(name, option) is None, f"{name} {option}"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["iamges"], "unknown command: 'iamges'; did you mean 'images'?; see 'pycontainer --help'"),
        (
            ["volume", "creat"],
            "unknown command: 'volume creat'; did you mean 'volume create'?; see 'pycontainer volume --help'",
        ),
        (["search", "x"], "search is not supported: "),
        (["rmi"], "'rmi' takes at least 1 argument, and got 0; usage: pycontainer rmi"),
        (["tag", "x"], "'tag' takes exactly 2 arguments, and got 1; usage: pycontainer tag"),
        (["version", "x"], "'version' takes no arguments, and got 1"),
        (["--nope"], "unknown flag: --nope"),
    ],
)
def test_a_wrong_call_is_one_line_and_status_125(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dispatch(words) == 125
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"pycontainer: {message}")
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    "words", [[], ["--help"], ["help"], ["volume", "--help"], ["help", "volume"], ["help", "run"]]
)
def test_help_is_printed(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(words) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("Usage:  pycontainer")
    assert captured.err == ""


def test_what_docker_has_before_the_command_is_refused_with_the_reason(cli: CommandLine) -> None:
    for words, told in (
        (("-H", "tcp://x", "ps"), "there is no daemon to choose"),
        (("--context=x", "ps"), "there is no daemon to choose"),
        (("-D", "ps"), "there is no daemon"),
        (("--config", "x", "ps"), "$DOCKER_CONFIG"),
        (("builder", "prune"), "'docker build'"),
        (("image", "build", "."), "'docker build'"),
        (("system", "df", "-v"), "see 'pycontainer images'"),
        (("save", "--platform", "x", "y"), "one platform"),
    ):
        done = cli(*words)
        assert done.status == 125, words
        assert "is not supported: " in done.err, words
        assert told in done.err, words
    assert cli("container", "help").good().out == cli("container", "--help").good().out


def test_what_is_missing_is_not_shown_as_a_value(cli: CommandLine) -> None:
    for words, line in (
        (("run", "-it", "host:", "true"), "--tty: stdin is no terminal"),
        (("login", "localhost:1"), "--username: stdin is no terminal"),
        (("pull", "BAD"), "reference 'BAD': "),
        (("cp", "/a", "/b"), "path '/a /b': "),
        (("run", "--ulimit", "nofile=2:1", "host:", "true"), "--ulimit nofile=2:1: "),
    ):
        assert line in cli(*words).err, words
    assert cli("update", "x").err == (
        "pycontainer: nothing is to be changed: say one option at least; see 'pycontainer update --help'\n"
    )
