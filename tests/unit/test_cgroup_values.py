"""Limits as people write them, and what is written to the kernel's files for them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontainer.errors import InvalidArgument
from pycontainer.kernel.cgroup import v1, v2
from pycontainer.kernel.cgroup.limits import DeviceRule, IoLimit, Limits
from pycontainer.kernel.cgroup.stat import Pressure

GOOD = [
    ({"memory_max": "64M"}, {"memory_max": 64 << 20}, {"memory"}),
    ({"memory_max": 67108864, "memory_swap_max": 0}, {"memory_swap_max": 0}, {"memory"}),
    ({"memory_max": "max", "pids_max": None}, {"memory_max": None, "pids_max": None}, set()),
    ({"memory_low": "0", "memory_oom_group": True}, {"memory_low": 0, "memory_oom_group": True}, {"memory"}),
    ({"memory_oom_group": False}, {}, set()),
    ({"cpu_max": "1.5", "cpu_weight": 10000}, {"cpu_max": 1.5, "cpu_weight": 10000}, {"cpu"}),
    ({"cpuset_cpus": "0-3, 5", "cpuset_mems": 0}, {"cpuset_cpus": "0-3,5", "cpuset_mems": "0"}, {"cpuset"}),
    ({"pids_max": "12"}, {"pids_max": 12}, {"pids"}),
    ({"io_weight": 1}, {"io_weight": 1}, {"io"}),
    (
        {"hugetlb_max": {"2M": "64M", 1 << 30: 0, "64k": "max"}},
        {"hugetlb_max": (("2MB", 64 << 20), ("1GB", 0))},
        {"hugetlb"},
    ),
    ({"devices": []}, {"devices": ()}, {"devices"}),
    (
        {"devices": ["c 1:3 rwm", "b 8:* r", "a"]},
        {
            "devices": (
                DeviceRule(kind="c", major=1, minor=3, access="rwm"),
                DeviceRule(kind="b", major=8, minor=None, access="r"),
                DeviceRule(kind="a"),
            )
        },
        {"devices"},
    ),
]


@pytest.mark.parametrize(("given_", "expected", "controllers"), GOOD)
def test_good_ones(given_: dict[str, Any], expected: dict[str, Any], controllers: set[str]) -> None:
    limits = Limits.of(**given_)
    assert {name: getattr(limits, name) for name in expected} == expected
    assert limits.controllers == controllers


BAD = [
    ("memory_max", value) for value in ("64X", "", 0, -1, "-5M", 1.5, True, "1e400M", 1 << 63, [])
] + [
    ("memory_high", "much"),
    ("memory_low", -1),
    ("memory_swap_max", False),
    ("memory_oom_group", "yes"),
    *(("cpu_max", value) for value in (0, -1, 0.0001, math.nan, math.inf, "all", True, 1e9, [])),
    *(("cpu_weight", value) for value in (0, 10001, 1.5, "heavy", True, "١")),
    *(("cpuset_cpus", value) for value in ("", "a", "3-1", "1,,2", "1-", "-1", 1.5, True, "0\n")),
    ("cpuset_mems", "x"),
    *(("pids_max", value) for value in (0, -1, (1 << 22) + 1, "many", 1.0)),
    *(
        ("io_max", value)
        for value in ("10M", {"/": "10M"}, {"/": {"bps": 1}}, {"/nowhere": {}}, {"/proc": {}}, {5: {}}, {"999:0": {}})
    ),
    ("io_max", {"/dev/null": {"rbps": "1M"}}),
    ("io_weight", 0),
    *(("hugetlb_max", value) for value in ("2M", {"3M": 1}, {"2M": "x"}, {"": 1})),
    *(("devices", value) for value in ("c 1:3 rwm", ["c"], ["x 1:3 r"], ["c 1:3 rr"], ["c 1:3 rwx"], [5], 5)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD)
def test_bad_ones_are_named(name: str, value: object) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Limits.of(**{name: value})
    assert caught.value.argument.startswith(name)


def test_the_name_that_was_typed() -> None:
    with pytest.raises(InvalidArgument, match=r"^memory='much'"):
        Limits.parse({"memory_max": "much"}, {"memory_max": "memory"})


def test_unknown_ones() -> None:
    with pytest.raises(TypeError, match="memory_maximum"):
        Limits.of(memory_maximum=1)


@given(
    st.dictionaries(
        st.sampled_from(["memory_max", "cpu_max", "cpuset_cpus", "pids_max", "devices"]),
        st.text() | st.integers() | st.floats() | st.lists(st.text()),
    )
)
def test_any_value_is_taken_or_refused(values: dict[str, Any]) -> None:
    try:
        limits = Limits.of(**values)
    except InvalidArgument:
        return
    for name in limits.names:
        assert name in values


def written(module: Any, before: dict[str, Any] | None = None, **limits: Any) -> list[tuple[str, bytes]]:
    """The first choice of every file."""
    held = Limits.of(**(before or {}))
    found = module.settings(held.replaced(Limits.of(**limits), limits), list(limits), held)
    return [setting.choices[0] if setting.choices else (setting.limit, b"cannot") for setting in found]


def test_version_2() -> None:
    assert written(v2, memory_max="64M", memory_high=None, memory_swap_max=0, memory_oom_group=True) == [
        ("memory.max", b"67108864"),
        ("memory.high", b"max"),
        ("memory.swap.max", b"0"),
        ("memory.oom.group", b"1"),
    ]
    assert written(v2, cpu_max=0.5, cpu_weight=200, cpuset_cpus="0-1") == [
        ("cpu.max", b"50000 100000"),
        ("cpu.weight", b"200"),
        ("cpuset.cpus", b"0-1"),
    ]
    assert written(v2, cpu_max=None, cpuset_cpus=None, pids_max=None) == [
        ("cpu.max", b"max"),
        ("cpuset.cpus", b"\n"),
        ("pids.max", b"max"),
    ]
    assert written(v2, io_weight=1) == [("io.weight", b"default 1")]
    assert written(v2, {"hugetlb_max": {"2M": 1024}}, hugetlb_max={"1G": 0}) == [
        ("hugetlb.2MB.max", b"max"),
        ("hugetlb.1GB.max", b"0"),
    ]


def test_version_1() -> None:
    assert written(v1, memory_max="64M", memory_swap_max="1M", memory_high="32M", memory_low="16M") == [
        ("memory.limit_in_bytes", b"67108864"),
        ("memory.memsw.limit_in_bytes", b"68157440"),
        ("memory_high", b"cannot"),
        ("memory.soft_limit_in_bytes", b"16777216"),
    ]
    assert written(v1, memory_swap_max="1M") == [
        ("memory.limit_in_bytes", b"-1"),
        ("memory_swap_max", b"cannot"),
    ]
    assert written(v1, {"memory_max": "1M", "memory_swap_max": "1M"}, memory_max="2M") == [
        ("memory.limit_in_bytes", b"2097152"),
        ("memory.memsw.limit_in_bytes", b"3145728"),
    ]
    assert written(v1, cpu_max=2, cpu_weight=100) == [
        ("cpu.cfs_quota_us", b"200000"),
        ("cpu.shares", b"1024"),
    ]
    assert written(v1, {"cpu_max": 0.001}, cpu_max=None) == [
        ("cpu.cfs_period_us", b"100000"),
        ("cpu.cfs_quota_us", b"-1"),
    ]
    assert written(v1, {"hugetlb_max": {"2M": 1024}}, hugetlb_max=None) == [
        ("hugetlb.2MB.limit_in_bytes", b"-1")
    ]


def test_disks() -> None:
    """Of each disk, for each of its bounds; and those that are bounded no longer."""
    held = Limits(io_max=(IoLimit(device="8:0", rbps=1, wiops=2), IoLimit(device="8:16", rbps=5)))
    new = Limits(io_max=(IoLimit(device="8:0", rbps=7),))
    assert [setting.choices for setting in v2.settings(new, ["io_max"], held)] == [
        (("io.max", b"8:0 rbps=7 wbps=max riops=max wiops=max"),),
        (("io.max", b"8:16 rbps=max wbps=max riops=max wiops=max"),),
    ]
    assert [setting.choices[0] for setting in v1.settings(new, ["io_max"], held)] == [
        ("blkio.throttle.read_bps_device", b"8:0 7"),
        ("blkio.throttle.read_bps_device", b"8:16 0"),
        ("blkio.throttle.write_iops_device", b"8:0 0"),
    ]


@given(st.integers(1, 10000))
def test_weights_keep_their_order_in_version_1(weight: int) -> None:
    """And are read back by the OCI runtimes' formula as what they were, as closely as whole shares allow."""
    shares = v1.shares(weight)
    assert v1.shares(max(weight - 1, 1)) <= shares
    logarithm = math.log2(shares)
    back = 10 ** ((logarithm**2 + 125 * logarithm) / 612 - 7 / 34)
    assert abs(back - weight) / weight < 0.2


def test_pressure() -> None:
    text = "some avg10=1.00 avg60=2.00 avg300=3.00 total=4000000\nfull avg10=0.50 avg60=0.25 avg300=0.10 total=500000\n"
    told = Pressure.parse(text)
    assert (told.some_avg300, told.some_total, told.full_avg10, told.full_total) == (3.0, 4.0, 0.5, 0.5)
