"""Images: listed, named, removed, saved, loaded, imported, told about."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

import pycontainer as pc
from pycontainer.image.config import ImageConfig
from pycontainer.image.platform import Platform
from tests.support import imagery
from tests.support.commandline import CommandLine

pytestmark = pytest.mark.needs("busybox")


@pytest.fixture
def other(cli: CommandLine, app: str, base: bytes) -> str:
    with pc.Engine(cli.engine) as engine:
        imagery.make_image(
            engine.images, "localhost:5000/team/other:v2", base, platform=Platform.parse("linux/arm64")
        )
        imagery.make_image(engine.images, None, imagery.tar(("x", "nameless")), config=ImageConfig())
    return "localhost:5000/team/other:v2"


def test_the_table_of_images_is_dockers(cli: CommandLine, other: str) -> None:
    lines = cli("images").good().lines
    assert lines[0].split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    rows = {line.split()[0]: line.split() for line in lines[1:]}
    assert set(rows) == {"app", "localhost:5000/team/other", "<none>"}
    assert rows["app"][1] == "v1"
    assert len(rows["app"][2]) == 12
    starts = [lines[0].index(head) for head in ("TAG", "IMAGE ID", "CREATED", "SIZE")]
    for line in lines[1:]:
        assert all(line[start - 1] == " " and line[start] != " " for start in starts)
    assert cli("image", "ls").lines == cli("image", "list").lines == lines


def test_ids_of_the_table_name_images(cli: CommandLine, app: str) -> None:
    identity = cli("images", "-q").good().out.strip()
    whole = cli("images", "-q", "--no-trunc").good().out.strip()
    assert whole.startswith(f"sha256:{identity}")
    assert json.loads(cli("inspect", identity).good().out)[0]["Id"] == whole
    cli("tag", identity, "by-id:v1").good()
    assert cli("inspect", "-f", "{{.RepoTags}}", app).good().out == "[app:v1 by-id:v1]\n"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["app"], {"app"}),
        (["app:v1"], {"app"}),
        (["app:v2"], set()),
        (["other"], {"localhost:5000/team/other"}),
        (["localhost:5000/*/other"], {"localhost:5000/team/other"}),
        (["-f", "dangling=true"], {"<none>"}),
        (["-f", "dangling=false"], {"app", "localhost:5000/team/other"}),
        (["-f", "label=team"], {"app"}),
        (["-f", "label=team=b"], set()),
        (["-f", "reference=a*", "-f", "reference=*other*"], {"app", "localhost:5000/team/other"}),
        (["-f", "since=app:v1"], set()),
    ],
)
def test_images_are_chosen(cli: CommandLine, other: str, words: list[str], found: set[str]) -> None:
    assert set(cli("images", "--format", "{{.Repository}}", *words).good().lines) == found


def test_images_in_json(cli: CommandLine, app: str) -> None:
    (found,) = json.loads(cli("images", "--json").good().out)
    assert found["repository"], found["tag"] == ("app", "v1")
    assert found["size"] > found["transfer_size"] > 0
    assert found["created"] == "2026-01-01T00:00:00Z"
    (line,) = cli("images", "--format", "json").good().lines
    assert json.loads(line)["Repository"] == "app"
    assert cli("images", "-f", "nope=1").err == (
        "pycontainer: --filter nope=1: one of dangling=..., reference=..., label=..., before=..., since=... is needed\n"
    )


def test_names_are_given_and_taken(cli: CommandLine, app: str) -> None:
    cli("tag", app, "further:v2").good()
    assert cli("rmi", "further:v2").good().out == "Untagged: further:v2\n"
    whole = cli("images", "-q", "--no-trunc").good().out.strip()
    assert cli("rmi", app).good().lines == ["Untagged: app:v1", f"Deleted: {whole}"]
    assert cli("images", "-q").out == ""
    done = cli("rmi", app)
    assert (done.status, done.err) == (1, "pycontainer: app:v1: no such image in the store\n")
    assert cli("rmi", "-f", app).good().out == ""


def test_by_id_an_image_with_several_names_needs_force(cli: CommandLine, app: str) -> None:
    cli("tag", app, "further:v2").good()
    identity = cli("images", "-q").good().out.strip()
    done = cli("rmi", identity)
    assert (done.status, done.out) == (1, "")
    assert "known by 2 names" in done.err
    assert cli("image", "rm", "-f", identity).good().lines[:2] == ["Untagged: app:v1", "Untagged: further:v2"]


def test_what_fails_does_not_keep_the_rest(cli: CommandLine, app: str) -> None:
    done = cli("rmi", "nope:v1", app)
    assert done.status == 1
    assert "Untagged: app:v1" in done.lines
    assert done.err.count("\n") == 1


def test_history_is_newest_first(cli: CommandLine, app: str) -> None:
    lines = cli("history", app).good().lines
    assert lines[0].split() == ["IMAGE", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]
    assert lines[2].startswith("<missing>")
    assert "step 1" in lines[1]
    assert cli("history", "--format", "{{.CreatedBy}} {{.CreatedAt}}", app).good().lines == [
        "step 1 2026-01-01T00:00:00Z",
        "step 0 2026-01-01T00:00:00Z",
    ]
    assert json.loads(cli("history", "--json", app).good().out)[1]["id"] is None


def test_an_image_is_inspected(cli: CommandLine, app: str) -> None:
    (found,) = json.loads(cli("image", "inspect", app).good().out)
    assert found["RepoTags"] == ["app:v1"]
    assert found["Config"]["Labels"] == {"team": "a"}
    assert found["Architecture"]
    assert len(found["RootFS"]["Layers"]) == 2
    assert (
        cli("inspect", "--format", "{{.Config.Labels.team}} {{json .Config.Env}}", app).good().out
        == 'a ["FROM=image"]\n'
    )
    done = cli("inspect", "nope", app)
    assert done.status == 1
    assert done.err == "pycontainer: no such object: nope\n"
    assert len(json.loads(done.out)) == 1
    assert cli("inspect", "--type", "volume", "nope").err == "pycontainer: no such volume: nope\n"
    assert "there is no field .Nope; there are Architecture" in cli("inspect", "-f", "{{.Nope}}", app).err


@pytest.mark.parametrize("form", ["oci", "docker"])
def test_an_archive_goes_out_and_in(cli: CommandLine, app: str, tmp_path: Path, form: str) -> None:
    file = tmp_path / "x.tar"
    cli("save", "--format", form, "-o", str(file), app).good()
    stream = cli.raw("save", "--format", form, app)
    assert stream.stdout == file.read_bytes()
    for words, data in ((["-i", str(file)], b""), ([], stream.stdout), ([], gzip.compress(stream.stdout, 1))):
        cli("rmi", app).good()
        assert cli("load", *words, input=data).good().out == "Loaded image: app:v1\n"
    if form == "oci":
        assert cli("run", app, "cat", "/srv/file").good().out == "x\n"


def test_an_archive_is_nothing_for_a_terminal(cli: CommandLine, app: str) -> None:
    with cli.on_terminal("save", app) as terminal:
        assert terminal.wait() == 1
        assert "say -o FILE, or redirect" in terminal.screen
    with cli.on_terminal("load") as terminal:
        assert terminal.wait() == 1
        assert "say -i FILE, or redirect" in terminal.screen
    assert cli("load", input=b"no archive").status == 1


@pytest.mark.needs("userns")
def test_a_file_system_is_imported(cli: CommandLine, base: bytes, tmp_path: Path) -> None:
    file = tmp_path / "root.tar.gz"
    file.write_bytes(gzip.compress(base, 1))
    one = cli("import", "-m", "from afar", str(file), "imported:v1").good().out.strip()
    two = cli("import", "-", "piped", input=base).good().out.strip()
    assert one.startswith("sha256:")
    assert two.startswith("sha256:")
    assert cli("run", "imported:v1", "id", "-u").good().out == "0\n"
    assert cli("run", "piped", "id", "-u").good().out == "0\n"
    assert "from afar" in cli("history", "imported:v1").out
    assert cli("import", str(tmp_path / "nope")).err.endswith("there is no such file; '-' is stdin\n")
    assert "curl http://x | pycontainer import -" in cli("import", "http://x").err
    before = cli("images", "-q").out
    assert cli("import", "-", input=b"this is no archive" * 100).status == 1
    assert cli("images", "-q").out == before


def test_what_nobody_needs_is_pruned(cli: CommandLine, other: str) -> None:
    done = cli("image", "prune", input="n\n").good()
    assert done.out == ""
    assert done.err.startswith("WARNING! This will remove all images without a name.\nAre you sure")
    done = cli("image", "prune", input="y\n").good()
    assert "Deleted Images:" in done.lines
    assert done.lines[-1].startswith("Total reclaimed space: ")
    assert len(cli("images", "-q").lines) == 2
    cli("system", "prune", "-a", "-f").good()
    assert cli("images", "-q").out == ""


@pytest.mark.needs("userns")
def test_an_image_that_a_container_has_stays(cli: CommandLine, app: str) -> None:
    with cli.start("run", "--rm", "-i", app, "sh", "-c", "echo up; cat") as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"up\n"
        done = cli("rmi", app)
        assert done.status == 1
        assert "in use by " in done.err
        assert (
            cli("system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}}").lines[0] == "Images 1 1"
        )
        process.stdin.close()
        process.wait()
    cli("rmi", app).good()
