"""Files of the host: mounts with names of all bytes, cgroups, counters, subordinate ids."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from pycontainer.kernel import idmap
from pycontainer.kernel.cgroup import v1, v2
from pycontainer.kernel.cgroup.layout import parse_layout
from pycontainer.kernel.cgroup.stat import Pressure, read_account
from pycontainer.kernel.mountinfo import split_mountinfo
from tests.fuzz import wild
from tests.fuzz.guard import guarded

#: A directory's name: any bytes but "/" and NUL.
NAMES = st.one_of(
    st.sampled_from(
        [
            b"a",
            b"-",
            b" ",
            b"\t",
            b"\n",
            b"\\",
            b"\\040",
            b"\r",
            b"\x0b",
            b"\x0c",
            b"\x1c",
            b"\x85",
            b"\xc2\x85",
            b"\xe2\x80\xa8",
            b"\xff",
            b"(deleted)",
        ]
    ),
    st.binary(min_size=1, max_size=6).map(lambda name: name.replace(b"/", b"+").replace(b"\0", b"+")),
)
PATHS = st.lists(NAMES, max_size=4).map(lambda names: b"/" + b"/".join(names))


def escaped(path: bytes) -> bytes:
    """As the kernel prints it (fs/proc_namespace.c, mangle)."""
    return b"".join(b"\\%03o" % byte if byte in b" \t\n\\" else bytes([byte]) for byte in path)


@st.composite
def mounts(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A mountinfo, and where each of its mounts is."""
    lines, places = [], []
    for number in range(draw(st.integers(0, 8))):
        kind, options = draw(
            st.sampled_from(
                [
                    (b"cgroup2", b"rw"),
                    (b"cgroup", b"rw,memory"),
                    (b"cgroup", b"rw,cpu,cpuacct"),
                    (b"cgroup", b"rw,name=x"),
                    (b"ext4", b"rw"),
                    (b"fuse.sshfs", b"rw"),
                ]
            )
        )
        place, root = draw(PATHS), draw(st.one_of(st.just(b"/"), PATHS))
        more = draw(st.sampled_from([b"", b" shared:1", b" master:2 propagate_from:3"]))
        source = draw(st.one_of(st.just(b"none"), NAMES))
        above = draw(st.integers(0, number))
        lines.append(b"%d %d 0:%d %s %s %s%s - %s %s %s\n" % (number + 1, above, number, escaped(root), escaped(place), draw(st.sampled_from([b"rw", b"ro,nosuid"])), more, kind, escaped(source), options))  # fmt: skip
        places.append(place)
    return b"".join(lines), places


@given(
    mounted=mounts(),
    own=st.lists(PATHS.filter(lambda path: b"\n" not in path), min_size=3, max_size=3),
    data=st.data(),
)
def test_layouts(mounted: tuple[bytes, list[bytes]], own: list[bytes], data: st.DataObject) -> None:
    text, places = mounted
    cgroups = b"12:memory:%s\n3:cpu,cpuacct:%s\n0::%s\n" % tuple(own)
    with guarded():
        assert len(split_mountinfo(os.fsdecode(text))) == len(places)
        layout = parse_layout(os.fsdecode(cgroups), os.fsdecode(text))
        for found in filter(None, (layout.unified, *layout.v1.values())):
            assert any(
                os.fsencode(found).startswith(place.rstrip(b"/") + b"/") or os.fsencode(found) == place
                for place in places
            )


def test_a_layout_with_names_of_all_bytes_is_read_from_the_files(tmp_path: Path) -> None:
    """What a user mounts must not be able to take everybody's limits away."""
    odd = b"/mnt/\xff\x0b\r\xc2\x85x"
    text = b"1 0 0:1 / %s rw - ext4 none rw\n2 0 0:2 / /sys/fs/cgroup rw - cgroup2 none rw\n" % odd
    layout = parse_layout("0::/a\n", os.fsdecode(text))
    assert layout.unified == "/sys/fs/cgroup/a"
    assert [os.fsencode(fields[4]) for fields in split_mountinfo(os.fsdecode(text))] == [
        odd,
        b"/sys/fs/cgroup",
    ]


LINES = st.lists(
    st.one_of(
        st.builds(
            "{}:{}:{}".format,
            st.one_of(st.just("web"), wild.TEXT),
            st.one_of(st.integers(-1, 2**33), wild.TEXT, wild.LONG_DIGITS),
            st.one_of(st.integers(-1, 2**33), wild.TEXT),
        ),
        wild.TEXT,
        st.just("# a comment: of: three parts"),
    ),
    max_size=5,
).map("\n".join)


@given(content=st.one_of(LINES.map(lambda text: text.encode(errors="surrogatepass")), st.binary(max_size=60)))
@example(content=b"web:abc:1\n\xff:1:2\n")
def test_subordinate_ids(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "subuid")
        path.write_bytes(content)
        with guarded():
            for owner, start, count in idmap._subordinate(str(path)):
                assert owner
                assert start >= 0 <= count


class Told:
    """Counters as the kernel prints them."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self._files = files

    def find(self, name: str) -> bytes | None:
        return self._files.get(name)

    def below(self) -> Iterator[Any]:
        return iter(())


COUNT = st.integers(0, 2**64 - 1).map(lambda number: b"%d" % number)
NUMBER_FILE = st.one_of(COUNT.map(lambda text: text + b"\n"), st.just(b"max\n"))
FLAT = st.dictionaries(
    st.sampled_from(
        [
            b"user_usec",
            b"system_usec",
            b"throttled_usec",
            b"throttled_time",
            b"oom_kill",
            b"user",
            b"system",
            b"nr_periods",
            b"new_in_some_kernel",
        ]
    ),
    COUNT,
).map(lambda pairs: b"".join(b"%s %s\n" % pair for pair in pairs.items()))
IO2 = st.lists(
    st.dictionaries(
        st.sampled_from([b"rbytes", b"wbytes", b"rios", b"wios", b"dbytes", b"cost.usage"]), COUNT
    ),
    max_size=3,
).map(
    lambda disks: b"".join(
        b"8:%d %s\n" % (number, b" ".join(b"%s=%s" % pair for pair in disk.items()))
        for number, disk in enumerate(disks)
    )
)
IO1 = st.lists(st.tuples(st.sampled_from([b"Read", b"Write", b"Sync", b"Total"]), COUNT), max_size=9).map(
    lambda rows: (
        b"".join(b"8:%d %s %s\n" % (number % 3, *row) for number, row in enumerate(rows)) + b"Total 7\n"
    )
)
AVERAGE = st.floats(0, 100).map(lambda number: b"%.2f" % number)
PRESSURE = st.builds(
    lambda a, b: b"some avg10=%s avg60=%s avg300=0.00 total=%s\n" % (a, a, b), AVERAGE, COUNT
)
FILES = {
    "cpu.stat": FLAT, "memory.events": FLAT, "memory.oom_control": FLAT, "cpuacct.stat": FLAT, "cpuacct.usage": NUMBER_FILE,
    "memory.current": NUMBER_FILE, "memory.peak": NUMBER_FILE, "memory.swap.current": NUMBER_FILE, "pids.current": NUMBER_FILE,
    "pids.peak": NUMBER_FILE, "memory.usage_in_bytes": NUMBER_FILE, "memory.max_usage_in_bytes": NUMBER_FILE,
    "memory.memsw.usage_in_bytes": NUMBER_FILE, "io.stat": IO2, "blkio.throttle.io_service_bytes_recursive": IO1,
    "blkio.throttle.io_serviced_recursive": IO1, "cpu.pressure": PRESSURE,
}  # fmt: skip


@given(files=st.fixed_dictionaries({}, optional=FILES), version=st.sampled_from([1, 2]))
def test_counters(files: dict[str, bytes], version: int) -> None:
    told = Told(files)
    with guarded():
        found = read_account(
            told if version == 2 else None,
            dict.fromkeys(("memory", "cpu", "cpuacct", "pids", "io"), told) if version == 1 else {},
        )
        assert all(value is None or name == "pressure" or value >= 0 for name, value in found.items())
        if "cpu.pressure" in files:
            assert Pressure.parse(files["cpu.pressure"].decode()).some_total >= 0
    with contextlib.suppress(KeyError):
        assert v2.number(files["memory.current"]) == v1.number(files["memory.current"])
