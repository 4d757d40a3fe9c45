"""A result is a value: it compares, pickles, checks itself and tells people what went wrong."""

from __future__ import annotations

import pickle
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontainer.container.result import Result, Usage
from pycontainer.container.text import Text
from pycontainer.errors import ContainerFailed, InvalidArgument, StateError
from pycontainer.kernel.changes import Change

USAGE = Usage(wall=0.25, cpu_user=0.01, cpu_system=0.02)


def result(**fields: Any) -> Result[Any]:
    given: dict[str, Any] = {"args": ["sh", "-c", "exit 3"], "exit_code": 3, "stdout": b"", "stderr": b""}
    return Result(**{**given, "usage": USAGE, **fields})


def test_what_was_not_measured_is_none() -> None:
    assert (USAGE.memory_peak, USAGE.pids_peak, USAGE.io_read, USAGE.io_write) == (None, None, None, None)


def test_a_result_cannot_be_changed() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        result().exit_code = 0  # type: ignore[misc]


@pytest.mark.parametrize("changes", [None, [], [Change(kind="added", path="/tmp/x")]])
def test_it_survives_pickling_with_all_it_holds(changes: list[Change] | None) -> None:
    before = result(stdout=b"\xff", signal=9, exit_code=137, oom_killed=True, truncated=True, changes=changes)
    assert pickle.loads(pickle.dumps(before)) == before


def test_the_failure_survives_pickling_with_its_result() -> None:
    with pytest.raises(ContainerFailed) as caught:
        result().check()
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.result, str(copy)) == (caught.value.result, str(caught.value))


def test_check_returns_the_result_of_a_success() -> None:
    success = result(exit_code=0)
    assert success.check() is success


@pytest.mark.parametrize("fields", [{"exit_code": 1}, {"exit_code": 0, "timed_out": True}])
def test_check_raises_for_a_status_and_for_a_timeout(fields: dict[str, Any]) -> None:
    with pytest.raises(ContainerFailed) as caught:
        result(**fields).check()
    assert caught.value.result == result(**fields)


def test_a_child_killed_for_memory_does_not_fail_a_program_that_lived_on() -> None:
    result(exit_code=0, oom_killed=True).check()


def test_changes_are_a_list_of_its_own() -> None:
    changed = result(changes=[Change(kind="added", path="/x")])
    changed.changes().clear()
    assert changed.changes() == [Change(kind="added", path="/x")]


def test_changes_that_were_not_recorded_are_an_error_and_no_empty_list() -> None:
    assert result(changes=[]).changes() == []
    with pytest.raises(StateError, match="not recorded"):
        result().changes()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "sh -c 'exit 3' ended with exit code 3 after 0.25 s; it wrote nothing"),
        ({"exit_code": 143, "signal": 15}, "was killed by SIGTERM (exit code 143)"),
        ({"exit_code": 163, "signal": 35}, "was killed by signal 35 (exit code 163)"),
        ({"exit_code": 137, "signal": 9, "oom_killed": True}, "ran out of memory (exit code 137)"),
        ({"exit_code": 137, "signal": 9, "timed_out": True, "oom_killed": True}, "ran into its timeout"),
        ({"container_name": "web", "container_id": "ab" * 32}, "in container web ended"),
        ({"container_id": "ab" * 32}, "in container abababababab ended"),
        ({"args": ["x" * 500]}, f"{'x' * 199}… ended"),
        ({"args": ["a\x1b[2Jb"]}, r"'a\x1b[2Jb' ended"),
    ],
)
def test_the_description_names_the_command_and_its_end(fields: dict[str, Any], said: str) -> None:
    assert said in result(**fields).describe_failure()


def test_the_description_shows_the_last_lines_of_stderr() -> None:
    text = result(stdout=b"out", stderr=b"".join(b"line %d\n" % i for i in range(100))).describe_failure()
    assert text.splitlines()[0].endswith("the last lines of its stderr:")
    assert text.splitlines()[1:] == [f"  line {i}" for i in range(90, 100)]


def test_the_description_shows_stdout_where_stderr_is_empty() -> None:
    assert (
        result(stdout="no such table\n", stderr="")
        .describe_failure()
        .endswith("its stdout:\n  no such table")
    )


@given(st.one_of(st.binary(max_size=6000), st.text(max_size=6000)))
def test_the_description_is_short_and_safe_on_a_terminal(output: bytes | str) -> None:
    text = result(stdout=output[:0], stderr=output).describe_failure()
    # A character outside of what is printable takes at most ten to write down.
    assert len(text) < 25_000
    assert all(char.isprintable() or char in "\n\t" for char in text)
    assert len(text.splitlines()) <= 11
    text.encode()


def test_the_repr_is_short_whatever_was_written() -> None:
    long = result(stdout=b"x" * 10_000, args=["y" * 10_000])
    assert len(repr(long)) < 200
    assert "10000 of stdout" in repr(long)


@pytest.mark.parametrize(
    ("arguments", "mode"),
    [
        ((None, None, None), None),
        ((False, None, None), None),
        ((True, None, None), Text("utf-8", "strict")),
        ((None, "latin-1", None), Text("latin-1", "strict")),
        ((None, None, "replace"), Text("utf-8", "replace")),
        ((True, "utf-16", "ignore"), Text("utf-16", "ignore")),
    ],
)
def test_text_mode_is_chosen_as_in_subprocess(arguments: tuple[Any, Any, Any], mode: Text | None) -> None:
    assert Text.choose(*arguments) == mode


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ((True, "utf-99", None), "encoding"),
        ((True, None, "nope"), "errors"),
        ((False, "utf-8", None), "text"),
    ],
)
def test_a_wrong_text_mode_is_refused_by_name(arguments: tuple[Any, Any, Any], argument: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Text.choose(*arguments)
    assert caught.value.argument == argument


def test_newlines_are_universal() -> None:
    assert Text().decode(b"a\r\nb\rc\n") == "a\nb\nc\n"


def test_a_character_that_is_cut_is_left_out_only_when_it_was_cut() -> None:
    head = "añ".encode()[:-1]
    assert Text().decode(head, cut=True) == "a"
    with pytest.raises(UnicodeDecodeError):
        Text().decode(head)


def test_a_cut_does_not_hide_wrong_bytes_before_it() -> None:
    with pytest.raises(UnicodeDecodeError):
        Text().decode(b"\xff\xffabc", cut=True)


@given(st.text(alphabet="aé€𐍈\r\n", max_size=40), st.integers(1, 5))
def test_decoding_pieces_is_decoding_the_whole(text: str, size: int) -> None:
    data = text.encode()
    decoder = Text().decoder()
    pieces = [decoder.decode(data[i : i + size]) for i in range(0, len(data), size)]
    assert "".join([*pieces, decoder.decode(b"", final=True)]) == Text().decode(data)
