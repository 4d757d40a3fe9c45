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
TOPICS = {
    row.topic: [name for name, other in ROWS.items() if other.topic == row.topic] for row in ROWS.values()
}


@pytest.mark.parametrize("topic", TOPICS)
@pytest.mark.parametrize("mode", [pytest.param(mode, marks=NEEDS.get(mode, [])) for mode in MODES])
def test_it_comes_to_what_the_table_says(inside, outside, mode, topic):
    found = inside(mode)
    wrong = {
        name: f"{found[name]}; outside: {outside[name]}"
        for name in TOPICS[topic]
        if found[name].short not in ROWS[name].expected(mode, outside[name].short)
    }
    assert wrong == {}


@pytest.mark.needs("root")
@pytest.mark.parametrize("topic", TOPICS)
def test_it_is_reached_without_confinement(outside, topic):
    """Else the attempt could not tell an escape."""
    wrong = {name: str(outside[name]) for name in TOPICS[topic] if outside[name].short not in ROWS[name].host}
    assert wrong == {}


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
