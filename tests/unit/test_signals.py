"""Signals as users write them."""

from __future__ import annotations

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontainer.errors import InvalidArgument
from pycontainer.kernel.signals import signal_name, signal_number


@pytest.mark.parametrize("spelling", [15, signal.SIGTERM, "15", "TERM", "SIGTERM", "term", "SigTerm"])
def test_every_spelling_is_the_same_signal(spelling: int | str) -> None:
    assert signal_number(spelling) == 15
    assert type(signal_number(spelling)) is int


@pytest.mark.parametrize(
    ("spelling", "number"),
    [
        ("RTMIN", signal.SIGRTMIN),
        ("SIGRTMIN+3", signal.SIGRTMIN + 3),
        ("rtmax-1", signal.SIGRTMAX - 1),
        ("RTMAX", signal.SIGRTMAX),
        ("SIGCHLD", signal.SIGCHLD),
        ("CLD", signal.SIGCHLD),
    ],
)
def test_real_time_signals_and_aliases(spelling: str, number: int) -> None:
    assert signal_number(spelling) == number


@pytest.mark.parametrize(
    "wrong",
    [0, -1, 65, 1000, "", "SIG", "NOPE", "SIG15", "15.0", "-9", "+9", "TERM+1", "RTMIN+99", "RTMIN-1", "RTMAX-99",
     "RTMIN+", "RTMAX+1", "٩", "9" * 10_000, "SIG_DFL", "SIGSIGTERM", " TERM"],
)  # fmt: skip
def test_what_is_no_signal_is_refused(wrong: int | str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        signal_number(wrong)
    assert caught.value.argument == "signal"


@given(st.text(max_size=12) | st.integers())
def test_any_input_is_a_valid_signal_or_refused(value: int | str) -> None:
    try:
        number = signal_number(value)
    except InvalidArgument:
        return
    assert 0 < number < signal.NSIG


@given(st.sampled_from(sorted(signal.valid_signals())))
def test_a_signals_name_leads_back_to_it(number: signal.Signals | int) -> None:
    name = signal_name(number)
    assert name == f"signal {int(number)}" or signal_number(name) == number
