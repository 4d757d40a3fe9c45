"""The benchmarks' own arithmetic, record and picture; what they measure needs a quiet machine and is no test."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from benchmarks import floor_program, run
from benchmarks.benchmark import Benchmark, BenchmarkError, Outcome, Settings, Target, ratio_targets
from benchmarks.catalog import CATALOG
from benchmarks.contender import Peer, Program, gather, interleave
from benchmarks.picture import draw_start
from benchmarks.samples import Samples, Table, times_table

ECHO = "import sys\nprint('ready', flush=True)\nfor line in sys.stdin: print(len(line), flush=True)"


def samples(name: str, *seconds: float) -> Samples:
    return Samples(name=name, seconds=seconds)


def test_every_benchmark_has_a_name_of_its_own() -> None:
    names = [each.name for each in CATALOG]
    assert len(set(names)) == len(names)
    assert all(each.description for each in CATALOG)


def test_samples_know_their_minimum_median_and_p90() -> None:
    found = samples("x", *(number / 10 for number in range(10, 0, -1)))
    assert (found.minimum, found.median, found.p90) == (0.1, 0.55, 1.0)


def test_a_table_is_aligned() -> None:
    assert (
        Table(("", "n"), [("first", "1"), ("b", "22")]).render()
        == "        n\n-----  --\nfirst   1\nb      22"
    )


def test_times_are_shown_beside_the_base_and_in_order() -> None:
    table = times_table([samples("slow", 0.004), samples("floor", 0.002)], "floor")
    assert [row[0] for row in table.rows] == ["floor", "slow"]
    assert table.rows[1][-2:] == ("2.00", "2.00")


@pytest.mark.parametrize(
    ("value", "at_least", "met"), [(1.3, False, True), (1.4, False, False), (2.4, True, True)]
)
def test_a_target_is_met_up_to_its_bound(value: float, at_least: bool, met: bool) -> None:
    assert Target(text="x", value=value, bound=1.3, at_least=at_least).met is met


def test_ratios_are_of_minima_and_of_medians() -> None:
    targets = ratio_targets(samples("a", 1.0, 3.0, 5.0), samples("b", 1.0, 2.0, 9.0), 1.3, "a beside b")
    assert [target.value for target in targets] == [1.0, 1.5]


def test_a_program_answers_each_command() -> None:
    with Program("echo", [sys.executable, "-c", ECHO]) as program:
        assert [program.ask("four"), program.ask("a")] == ["5", "2"]


def test_a_program_that_fails_is_quoted() -> None:
    with pytest.raises(BenchmarkError, match="no such thing"):
        Program("bad", [sys.executable, "-c", "raise SystemExit('no such thing')"])


def test_a_program_that_does_not_answer_hangs() -> None:
    code = "import sys\nprint('ready', flush=True)\nsys.stdin.read()"
    with (
        Program("mute", [sys.executable, "-c", code]) as program,
        pytest.raises(BenchmarkError, match="hangs"),
    ):
        program.ask("start", patience=0.05)


def test_peers_that_fail_are_absent_with_the_reason() -> None:
    with ExitStack() as stack:
        working, absent = gather(
            stack,
            [
                ("good", lambda: Peer("good", ["true"])),
                ("bad", lambda: Peer("bad", ["sh", "-c", "echo broken >&2; exit 3"])),
                ("gone", lambda: Peer("gone", ["/nonexistent"])),
            ],
        )
    assert [each.name for each in working] == ["good"]
    assert absent == [("bad", "does not work here: sh ended with 3: broken"), ("gone", "not installed")]


def test_rounds_are_interleaved() -> None:
    with closing(Peer("a", ["true"])) as one, closing(Peer("b", ["true"])) as other:
        found = interleave([one, other], Settings(rounds=4, pause=0), warm_up=1)
    assert {each.name: len(each.seconds) for each in found} == {"a": 4, "b": 4}


def test_the_floor_compiles_and_refuses_what_it_does_not_know() -> None:
    with pytest.raises(BenchmarkError, match="what is nonsense"):
        Program("floor", [floor_program.build(), "nonsense=1"])


def test_a_benchmark_replaces_its_entry_of_the_record_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "record.json"
    record.write_text('{"other": {"kept": true}, "one": {"old": true}}')

    def measure(settings: Settings) -> Outcome:
        missed = Target(text="too slow", value=2, bound=1)
        return Outcome(tables=[], targets=[missed], data={"starts": settings.starts})

    monkeypatch.setattr(run, "CATALOG", (Benchmark(name="one", description="of one", measure=measure),))
    assert run.main(["--output", str(record), "--starts", "7"]) == 1
    written = json.loads(record.read_text())
    assert written["other"] == {"kept": True}
    assert written["one"]["starts"] == 7
    assert written["one"]["targets"][0]["met"] is False
    assert "MISS too slow: 2.00 (at most 1)" in capsys.readouterr().out


def test_what_takes_long_is_done_when_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(settings: Settings) -> Outcome:
        return Outcome(tables=[])

    short, long = (
        Benchmark(name=name, description="x", measure=measure, long=name == "long")
        for name in ("short", "long")
    )
    monkeypatch.setattr(run, "CATALOG", (short, long))
    for number, (options, names) in enumerate([([], {"short"}), (["--only", "long"], {"long"})]):
        record = tmp_path / f"{number}.json"
        assert run.main(["--output", str(record), *options]) == 0
        assert set(json.loads(record.read_text())) == names


def test_the_picture_is_svg_with_a_bar_for_each() -> None:
    times = [
        {"name": "pycontainer", "min_ms": 1.0, "median_ms": 2.0},
        {"name": "a & b", "min_ms": 3.0, "median_ms": 4.0},
    ]
    host = {"kernel": "6.1.0-x", "cpus": 2, "python": "3.11.7"}
    root = ET.fromstring(draw_start({"times": times, "rounds": 3, "host": host}))
    bars = [each for each in root.iter() if each.tag.endswith("rect")]
    widths = [float(each.attrib["width"]) for each in bars]
    assert widths[1] == pytest.approx(2 * widths[0])
    assert [each.attrib["class"] for each in bars] == ["bar ours", "bar"]
