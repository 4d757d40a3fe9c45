"""Templates, tables and the words for sizes and times are those of Docker."""

from __future__ import annotations

import time
from argparse import Namespace
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontainer.cli import text
from pycontainer.cli.gotemplate import Template
from pycontainer.cli.listing import Listing, Row, filters, table
from pycontainer.errors import InvalidArgument

VALUE: dict[str, Any] = {
    "Name": "web",
    "Up": True,
    "Count": 3,
    "Nothing": None,
    "Labels": {"team": "a", "b": "2"},
    "Ports": ["80/tcp", "53/udp"],
    "State": {"Status": "running", "Pid": 7},
    "Empty": [],
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("plain", "plain"),
        ("{{.Name}}", "web"),
        ("{{ .Name }}-{{.State.Status}}", "web-running"),
        ("{{.Labels.team}}", "a"),
        ("{{.Labels.nope}}", "<no value>"),
        ('{{index .Labels "team"}}{{index .Labels "nope"}}', "a"),
        ("{{index .Ports 1}}", "53/udp"),
        ("{{json .Labels}}", '{"team":"a","b":"2"}'),
        ("{{json .Nothing}} {{json .Up}}", "null true"),
        ("{{.Up}} {{.Count}} {{.Nothing}}", "true 3 <no value>"),
        ("{{.Ports}} {{.Labels}}", "[80/tcp 53/udp] map[b:2 team:a]"),
        ("{{range .Ports}}<{{.}}>{{end}}", "<80/tcp><53/udp>"),
        ("{{range $i, $p := .Ports}}{{$i}}={{$p}} {{end}}", "0=80/tcp 1=53/udp "),
        ("{{range $k, $v := .Labels}}{{$k}}:{{$v}} {{end}}", "b:2 team:a "),
        ("{{range .Empty}}x{{else}}none{{end}}", "none"),
        ("{{if .Up}}up{{else}}down{{end}}", "up"),
        ("{{if not .Up}}a{{else if eq .Count 3}}b{{else}}c{{end}}", "b"),
        ("{{with .State}}{{.Pid}}{{end}}", "7"),
        ("{{range .Ports}}{{$.Name}} {{end}}", "web web "),
        ("{{$x := .Name}}{{upper $x}}", "WEB"),
        ('{{join .Ports ", "}}', "80/tcp, 53/udp"),
        ("{{.Name | upper | printf \"%-5s|\"}}", "WEB  |"),
        ('{{printf "%s has %d" .Name .Count}}', "web has 3"),
        ('{{index (split .Name "e") 0}}', "w"),
        ("{{len .Ports}}", "2"),
        ("{{.Name}} {{- /* nothing */ -}} {{.Count}}", "web3"),
        ("a {{- .Name -}} b", "aweb b".replace(" ", "")),
        ("{{.Name}}\\t{{.Count}}\\n", "web\t3\n"),
        ("{{and .Up .Name}} {{or .Nothing .Count}}", "web 3"),
        ("{{eq .Name \"x\" \"web\"}}", "true"),
        ('{{println "a" 1}}', "a 1\n"),
        ("{{`raw`}}{{\"quo\\\"te\"}}", 'rawquo"te'),
        ("{{.}}", None),
    ],
)  # fmt: skip
def test_a_template(template: str, expected: str | None) -> None:
    found = Template(template).render(VALUE)
    assert found == expected if expected is not None else found.startswith("map[")


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{.Nmae}}", "there is no field .Nmae; there are Count, Empty, Labels, Name,"),
        ("{{.Name.First}}", "there is no field .First in 'web'"),
        ("{{nope .Name}}", "function 'nope' is not defined; there are and,"),
        ("{{.Name", "'{{' without '}}'"),
        ("{{if .Up}}x", "{{if}} without {{end}}"),
        ("{{end}}", "{{end}} without a beginning"),
        ("{{}}", "a value is missing"),
        ("{{.Name ?}}", "'?' cannot be understood"),
        ("{{.Name .Count}}", ".Name is no function"),
        ("{{index .Ports 9}}", "index: index out of range: 9"),
        ("{{$x}}", "the variable $x is not defined"),
        ("{{(.Name}}", "')' is missing"),
    ],
)
def test_a_wrong_template_is_refused(template: str, why: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Template(template).render(VALUE)
    assert why in caught.value.reason


@given(st.text(alphabet='{}.$|()"` ifendrageNm-=:,/*x', max_size=40))
def test_no_template_does_anything_but_text_or_a_refusal(template: str) -> None:
    with suppress(InvalidArgument):
        assert isinstance(Template(template).render(VALUE), str)


@given(st.text())
def test_text_without_actions_is_itself(plain: str) -> None:
    if "{{" not in plain and "\\" not in plain:
        assert Template(plain).render({}) == plain


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0B"),
        (999, "999B"),
        (1000, "1kB"),
        (1234567, "1.23MB"),
        (124_000_000, "124MB"),
        (999_900, "1MB"),
        (5e15, "5PB"),
    ],
)
def test_a_size(count: float, shown: str) -> None:
    assert text.size(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.5, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (61, "About a minute"), (125, "2 minutes"),
        (3700, "About an hour"), (7200, "2 hours"), (47 * 3600, "47 hours"), (49 * 3600, "2 days"),
        (15 * 86400, "2 weeks"), (70 * 86400, "2 months"), (800 * 86400, "2 years"),
    ],
)  # fmt: skip
def test_a_duration(seconds: float, shown: str) -> None:
    assert text.duration(seconds) == shown


@pytest.mark.parametrize(
    "moment", ["1970-01-02T00:00:00Z", "1970-01-02T01:00:00.5+01:00", "1970-01-02T00:00:00.123456789Z"]
)
def test_a_time_of_an_image(moment: str) -> None:
    seconds = text.seconds_of(moment)
    assert seconds is not None
    assert 86400 <= seconds < 86401


def test_what_is_no_time_is_told_as_none() -> None:
    assert text.since("0001-01-01T00:00:00Z") == text.since("yesterday") == text.since(None) == "N/A"
    assert text.since(time.time() - 7200) == "2 hours ago"


LIST = Listing({"Name": "NAME", "ID": "THING ID"}, ("ID", "Name"), "ID")
ROWS = [
    Row({"Name": "short", "ID": "abcdef123456"}, {"name": "short", "size": 5}),
    Row({"Name": "one that is longer", "ID": "0"}, {"name": "longer", "size": 6}),
]


def _shown(capsys: pytest.CaptureFixture[str], **told: Any) -> str:
    LIST.show(ROWS, Namespace(**{"format": None, "json": False, "quiet": False, **told}))
    return capsys.readouterr().out


def test_a_table_has_the_widths_of_dockers(capsys: pytest.CaptureFixture[str]) -> None:
    expected = "THING ID       NAME\nabcdef123456   short\n0              one that is longer\n"
    assert _shown(capsys) == _shown(capsys, format="table") == expected
    table([["A", "B"], ["1", "2"]])
    assert capsys.readouterr().out == "A         B\n1         2\n"


def test_the_other_forms_of_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert _shown(capsys, quiet=True) == "abcdef123456\n0\n"
    assert _shown(capsys, format="{{.Name}}") == "short\none that is longer\n"
    assert (
        _shown(capsys, format="table {{.Name}}\\t{{.ID}}").splitlines()[0] == "NAME                 THING ID"
    )
    assert _shown(capsys, format="json").splitlines()[0] == '{"Name":"short","ID":"abcdef123456"}'
    assert '"size": 5' in _shown(capsys, json=True)


def test_nothing_that_a_terminal_would_obey_is_in_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    table([["NAME"], ["\x1b[31mred\x9b\r\n"]])
    assert capsys.readouterr().out == "NAME\n\\x1b[31mred\\x9b\\r\\n\n"


def test_filters_are_told_apart_and_checked() -> None:
    assert filters(["label=a", "label=b=c", "name=x"], ("label", "name")) == {
        "label": ["a", "b=c"],
        "name": ["x"],
    }
    with pytest.raises(InvalidArgument, match=r"one of label=\.\.\., name=\.\.\. is needed"):
        filters(["nope=1"], ("label", "name"))
