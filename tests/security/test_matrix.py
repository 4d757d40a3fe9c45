"""Every attempt under every kind of confinement, against the table of what comes of it."""

from __future__ import annotations

import pytest

from tests.security.matrix import ROWS
from tests.security.running import MODES

NEEDS = {
    "host ids": [pytest.mark.needs("root")],
    # Its limits are asked for.
    "strict": [pytest.mark.needs("cgroup")],
}
CASES = [
    pytest.param(mode, name, id=f"{mode}-{name}", marks=NEEDS.get(mode, []))
    for mode in MODES
    for name in ROWS
]


@pytest.mark.parametrize(("mode", "name"), CASES)
def test_it_comes_to_what_the_table_says(inside, outside, mode, name):
    verdict = inside(mode)[name]
    expected = ROWS[name].expected(mode, outside[name].short)
    assert verdict.short in expected, f"{verdict}; outside it is: {outside[name]}"


@pytest.mark.needs("root")
@pytest.mark.parametrize("name", ROWS)
def test_it_is_reached_without_confinement(outside, name):
    """Else the attempt could not tell an escape."""
    assert outside[name].short in ROWS[name].host, outside[name]


def test_the_table_has_every_attempt(inside, outside):
    assert set(outside) == set(ROWS)
    assert set(inside("default")) == set(ROWS)


def test_what_a_host_lacks_is_accepted_only_there():
    row = ROWS["device_kvm"]
    assert row.expected("default", "absent") == {"absent"}
    row = ROWS["init_module"]
    assert row.expected("privileged", "reached") == {"EPERM"}
    assert row.expected("privileged", "ENOSYS") == {"EPERM", "ENOSYS"}


def test_nothing_but_these_is_reached_in_strict_confinement():
    assert {name for name, row in ROWS.items() if "reached" in row.strict} == {"netlink_route"}
