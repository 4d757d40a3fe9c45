"""What people and scripts say to Docker's command line, beyond its plain words."""

from __future__ import annotations

import json

import pytest

from tests.support.commandline import CommandLine

pytestmark = pytest.mark.needs("userns", "busybox")

SLEEP = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done")


@pytest.fixture
def web(cli: CommandLine, app: str) -> str:
    """The name of a container that runs."""
    labels = ("--label", "tier=front,left", "--label", "com.example.my-key=1")
    cli("run", "-d", "--name", "web", *labels, "-v", "notes:/data", app, *SLEEP).good()
    return "web"


def test_what_is_so_already_is_no_failure(cli: CommandLine, web: str) -> None:
    assert cli("start", web).good().out == "web\n"
    assert cli("stop", "--timeout", "2", f"/{web}").good().out == "/web\n"
    assert cli("stop", "--time", "2", web).good().out == "web\n"
    assert "--timeout int" in cli("stop", "--help").out


def test_templates_of_lists(cli: CommandLine, web: str) -> None:
    def shown(form: str) -> str:
        return cli("ps", "--format", form).good().out

    assert (
        shown('{{.Label "tier"}} {{upper (.Label "tier")}} {{.LocalVolumes}}') == "front,left FRONT,LEFT 1\n"
    )
    assert shown('{{.Label "none"}}|{{with .Label "tier"}}{{.}}{{end}}') == "|front,left\n"
    heads, line = shown('table {{upper .Names}}\t{{.Label "com.example.my-key"}}').splitlines()
    assert (heads.split(), line.split()) == (["NAMES", "my", "key"], ["WEB", "1"])
    for form in ("{{.Label}}", '{{.Names "x"}}', '{{. "x"}}'):
        done = cli("ps", "--format", form)
        assert (done.status, done.err.count("\n")) == (1, 1), form


def test_templates_of_inspect(cli: CommandLine, web: str) -> None:
    def shown(form: str) -> str:
        return cli("inspect", "-f", form, "/web").good().out.strip()

    mounted = cli("volume", "inspect", "-f", "{{.Mountpoint}}", "notes").good().out.strip()
    assert shown("{{(index .Mounts 0).Source}}") == mounted
    assert shown("{{range .Mounts}}{{.Driver}} {{.Mode}} {{.RW}}{{end}}") == "local  true"
    assert shown("{{.State.ExitCode}} {{.HostConfig.Binds}} {{.Platform}}") == "0 [notes:/data] linux"
    assert shown("{{(index .Args 0) | len}}") == "2"
    assert shown("{{.Config.StopSignal}} {{.Config.Entrypoint}} {{index .Config.Cmd 0}}") == "SIGTERM [] sh"


def test_filters_of_ps(cli: CommandLine, app: str, web: str) -> None:
    cli("create", "--name", "web2", app, "true").good()
    cli("create", "--name", "db", app, "true").good()
    digits = cli("images", "-q").good().out.strip()
    for words, names in (
        (("name=^web$",), "web"), (("name=^/web$",), "web"), (("name=web|db",), "db web2 web"),
        (("before=web2",), "web"), (("since=web",), "db web2"), (("since=web", "before=db"), "web2"),
        (("volume=notes",), "web"), ((f"ancestor={digits}",), "db web2 web"), (("name=(",), ""),
    ):  # fmt: skip
        told = [word for text in words for word in ("-f", text)]
        assert cli("ps", "-a", "--format", "{{.Names}}", *told).good().out.split() == names.split(), words
    assert cli("ps", "-n", "-1", "--format", "{{.Names}}").good().out == "web\n"
    assert "no such container: nobody" in cli("ps", "-f", "since=nobody").err
    assert "--filter status=gone: there are" in cli("ps", "-f", "status=gone").err


def test_what_scripts_leave_empty_is_not_said(cli: CommandLine, app: str) -> None:
    empty = (
        "--name",
        "--user",
        "--workdir",
        "--hostname",
        "--network",
        "--restart",
        "--cidfile",
        "--platform",
    )
    words = [word for name in empty for word in (name, "")]
    assert cli("run", "--rm", *words, app, "echo", "ran").good().out == "ran\n"
    zeros = (
        "--memory=0",
        "--cpus=0",
        "--cpu-shares=0",
        "--blkio-weight=0",
        "--memory-swap=0",
        "--pids-limit=0",
    )
    assert cli("run", "--rm", *zeros, app, "echo", "ran").good().out == "ran\n"


def test_words_of_mounts_that_mean_nothing_here(cli: CommandLine, app: str) -> None:
    host = str(cli.home)
    done = cli(
        "run", "--rm", "-v", f"{host}:/a:ro,cached", "--mount", f"type=bind,src={host},dst=/b,consistency=delegated",
        "--mount", "type=volume,dst=/c,volume-driver=local", "--tmpfs", "/d:rw,noexec,nosuid,size=65536k",
        app, "sh", "-c", "cp /bin/busybox /d/; /d/busybox true; echo $?",
    ).good()  # fmt: skip
    assert done.out == "126\n"
    assert (
        cli(
            "run", "--rm", "--tmpfs", "/d:exec", app, "sh", "-c", "cp /bin/busybox /d/; /d/busybox echo ran"
        ).out
        == "ran\n"
    )
    assert "'loud'" in cli("run", "--rm", "--tmpfs", "/d:loud", app, "true").err


def test_a_commit_keeps_what_the_container_was_told(cli: CommandLine, app: str) -> None:
    cli(
        "run", "--name", "web", "-e", "A=1", "-l", "tier=front", "-w", "/srv", app, "sh", "-c", "echo $A $PWD"
    ).good()
    cli("commit", "web", "kept:v1").good()
    assert cli("run", "--rm", "kept:v1").good().out == "1 /srv\n"
    assert cli("images", "-q", "--filter", "label=tier=front").good().lines != []


def test_instructions_change_what_an_image_sets(cli: CommandLine, app: str) -> None:
    cli("create", "--name", "web", app, "true").good()
    changes = ('CMD ["echo", "hi"]', 'ENV B=2 C="3 4"', "ENV D some words", "LABEL k=v", "EXPOSE 80 53/udp",
               "WORKDIR /srv", "VOLUME /vol", "USER 5", 'ENTRYPOINT ["env"]')  # fmt: skip
    words = [word for text in changes for word in ("-c", text)]
    cli("commit", *words, "web", "told:v1").good()
    found = json.loads(cli("image", "inspect", "-f", "{{json .Config}}", "told:v1").good().out)
    assert found["Cmd"] == ["echo", "hi"]
    assert found["Entrypoint"] == ["env"]
    assert found["Env"][-3:] == ["B=2", "C=3 4", "D=some words"]
    assert (found["WorkingDir"], found["User"], found["Labels"]["k"]) == ("/srv", "5", "v")
    assert (sorted(found["ExposedPorts"]), sorted(found["Volumes"])) == (["53/udp", "80/tcp"], ["/vol"])
    for text in ("FROM x", "ENV", "ENV =x", "USER", "EXPOSE http"):
        done = cli("commit", "-c", text, "web")
        assert done.status == 1, text
        assert f"--change {text}: " in done.err, text


def test_an_import_can_be_told_its_command(cli: CommandLine, base: bytes) -> None:
    cli("import", "--change", "CMD echo imported", "-", "told:v1", input=base).good()
    assert cli("run", "--rm", "told:v1").good().out == "imported\n"


def test_events_name_their_container(cli: CommandLine, web: str) -> None:
    def told(*filters: str) -> list[str]:
        words = [word for text in filters for word in ("--filter", text)]
        form = "{{.Status}} {{.From}} {{.Actor.Attributes.name}}"
        return cli("events", "--since", "1h", "--until", "0s", *words, "--format", form).good().lines

    both = ["create app:v1 web", "start app:v1 web"]
    for text in ("container=web", "type=container", "image=app:v1", "label=tier"):
        assert told(text) == both, text
    assert told("container=web", "event=start") == both[1:]
    assert told("type=image") == told("label=tier=back") == told("container=we") == []


def test_what_prune_leaves(cli: CommandLine, app: str) -> None:
    for name, *words in (("old",), ("kept", "-l", "keep")):
        cli("create", "--name", name, *words, app, "true").good()
        cli("volume", "create", *(word.replace("-l", "--label") for word in words), f"{name}-data").good()
    assert cli("container", "prune", "-f", "--filter", "until=1h").good().out == ""
    assert cli("container", "prune", "-f", "--filter", "label=none").good().out == ""
    cli("system", "prune", "-f", "--filter", "label!=keep").good()
    assert cli("ps", "-a", "--format", "{{.Names}}").out == "kept\n"
    cli("volume", "prune", "-af", "--filter", "label!=keep").good()
    assert cli("volume", "ls", "-q").lines == ["kept-data"]
    cli("container", "prune", "-f", "--filter", "label=keep").good()
    cli("image", "prune", "-af", "--filter", "label=none").good()
    assert cli("images", "-q").lines != []
    cli("image", "prune", "-af", "--filter", "label=team=a").good()
    assert cli("images", "-q").lines == []
    assert "--filter nope=1: one of until=" in cli("network", "prune", "-f", "--filter", "nope=1").err


def test_numbers_of_links_and_processes(cli: CommandLine, web: str) -> None:
    heads, *lines = cli("top", web, "-o", "pid,args").good().lines
    assert heads.split() == ["PID", "COMMAND"]
    assert sum("trap" in line for line in lines) == 1
    assert cli("top", web, "-o", "args").status == 1
    assert "unsupported" in cli("top", web, "--nope").err or "error" in cli("top", web, "--nope").err


@pytest.mark.needs("cgroup")
def test_the_traffic_is_among_the_numbers(cli: CommandLine, web: str) -> None:
    form = "{{.Container}} {{.NetIO}}"
    assert cli("stats", "--no-stream", "--format", form).good().out == "web 0B / 0B\n"
    assert "NET I/O" in cli("stats", "--no-stream").good().lines[0]


def test_one_that_cannot_begin_and_was_to_go_is_gone(cli: CommandLine, app: str) -> None:
    assert cli("run", "-d", "--rm", "--name", "web", app, "no-such-program").status == 127
    assert cli("ps", "-aq").good().out == ""


def test_the_words_of_networks_are_the_command_lines(cli: CommandLine) -> None:
    for words, told in (
        (("-p", "8080:80", "--network", "none"), "--publish 8080:80: it needs a network of the container's own: --network bridge"),
        (("-p", "abc"), "--publish abc: [[ip:]host port:]port[/udp] is needed"),
        (("--network", "lab"), "'pycontainer network create' makes one"),
    ):  # fmt: skip
        done = cli("run", "--rm", *words, "host:", "true")
        assert done.status == 125, words
        assert told in done.err, words
