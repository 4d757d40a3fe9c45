"""What a caller hands over: text of mounts, sizes, limits, images; and every argument of a container."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from pycontainer.container import arguments, mounts
from pycontainer.container.bounds import make_bounds
from pycontainer.container.exchange import Exchange
from pycontainer.container.security import Security
from pycontainer.container.spec import make_spec
from pycontainer.errors import ImageError, InvalidArgument, NotSupported
from pycontainer.image.image import Image, image_in_no_store
from pycontainer.kernel import capabilities
from pycontainer.kernel.cgroup.devices import DeviceRule
from pycontainer.kernel.signals import signal_number
from pycontainer.size import parse_size
from tests.fuzz import wild
from tests.fuzz.guard import guarded

#: Text in which separators meet.
_PLACES = st.sampled_from(["/a", "/tmp", "/usr", "b", "/x/../y", "//", "/é"])
_FLAGS = st.lists(st.sampled_from(["ro", "rw", "rshared", "slave", "x", ""]), max_size=3).map(",".join)
_BOUNDS = st.lists(
    st.one_of(
        st.builds("size={}".format, st.sampled_from(["64m", "1", "0", "x"])),
        st.builds("mode={}".format, st.integers(0, 9999)),
    ),
    max_size=2,
).map(",".join)
MOUNTS = st.one_of(
    st.builds("{}:{}:{}".format, _PLACES, _PLACES, _FLAGS),
    st.builds("{}:{}".format, _PLACES, st.one_of(_PLACES, _BOUNDS)),
    _PLACES,
    st.lists(
        st.one_of(
            st.sampled_from(
                [
                    "/a",
                    "/",
                    "/tmp",
                    ":",
                    ",",
                    "ro",
                    "rw",
                    "rshared",
                    "..",
                    "size=64m",
                    "mode=777",
                    "mode=",
                    "size=",
                    "=",
                ]
            ),
            wild.TEXT,
        ),
        max_size=8,
    ).map("".join),
)
SIZES = st.one_of(
    st.builds("{}{}".format, st.one_of(st.integers(), st.floats(), wild.LONG_DIGITS), st.sampled_from(["", "k", "MiB", "gb", "b", "ib", "t ", "kk"])),
    wild.TEXT, wild.INTEGERS,
)  # fmt: skip


@given(value=wild.mostly(SIZES))
@example(value=10**5000)
@example(value="9" * 5000)
def test_sizes(value: Any) -> None:
    with guarded(InvalidArgument):
        assert 0 < parse_size("memory", value) < 1 << 63


@given(text=MOUNTS)
@example(text="/tmp:/\ud800")
def test_mounts(text: str) -> None:
    with guarded(InvalidArgument):
        made = mounts.parse_mount(text)
        assert os.fsencode(made.target)[:1] == b"/"
        assert ".." not in made.target.split("/")
        assert b"\0" not in os.fsencode(made.target)
        if isinstance(made, mounts.Bind):
            assert os.fsencode(made.source)[:1] == b"/"
            assert b"\0" not in os.fsencode(made.source)
        elif made.source is not None:
            assert "/" not in made.source


@given(text=MOUNTS)
@example(text="/\ud800")
def test_tmpfs(text: str) -> None:
    with guarded(InvalidArgument):
        made = mounts.parse_tmpfs(text)
        assert os.fsencode(made.target)[:1] == b"/"
        assert 0 <= made.mode <= 0o7777
        assert made.size is None or made.size > 0


@given(
    source=wild.mostly(wild.TEXT),
    target=wild.mostly(wild.TEXT),
    options=st.dictionaries(st.sampled_from(["read_only", "propagation", "idmap"]), wild.VALUES),
)
@example(source="/a", target="/b", options={"propagation": []})
def test_binds(source: Any, target: Any, options: dict[str, Any]) -> None:
    with guarded(InvalidArgument):
        mounts.Bind(source, target, **options)


@given(
    text=st.one_of(
        wild.TEXT,
        st.builds("{}:{}".format, st.sampled_from(["host", "rootfs", "docker.io/a", ""]), wild.TEXT),
    )
)
@example(text="rootfs:/a\0b")
@example(text="rootfs:/\ud800")
def test_images(text: str) -> None:
    with guarded(InvalidArgument, ImageError, NotSupported):
        image_in_no_store(text)


@given(
    value=wild.mostly(
        st.one_of(st.sampled_from(["TERM", "SIGKILL", "rtmin+3", "RTMAX-1", "RTMIN+99", "9"]), wild.TEXT)
    )
)
def test_signals(value: Any) -> None:
    if isinstance(value, (str, int)):
        with guarded(InvalidArgument):
            assert 0 < signal_number(value) < 65


@given(
    value=wild.mostly(
        st.one_of(
            st.builds(
                "{} {}:{} {}".format,
                st.sampled_from("abc"),
                wild.INTEGERS,
                st.sampled_from(["*", "1", "-1"]),
                st.sampled_from(["rwm", "rr", "", "x"]),
            ),
            wild.TEXT,
        )
    )
)
@example(value="c " + "9" * 5000 + ":1")
def test_device_rules(value: Any) -> None:
    with guarded(InvalidArgument):
        rule = DeviceRule.parse("devices", value)
        assert DeviceRule.parse("devices", str(rule)) == rule


@given(
    add=wild.mostly(st.lists(st.one_of(st.sampled_from(["ALL", "kill", "CAP_SYS_ADMIN"]), wild.VALUES))),
    drop=wild.mostly(st.lists(wild.TEXT)),
)
@example(add=[[]], drop=[])
def test_capabilities(add: Any, drop: Any) -> None:
    with guarded(InvalidArgument):
        add = arguments.several("cap_add", add, "names")
        drop = arguments.several("cap_drop", drop, "names")
        assert capabilities.resolve(add, drop) <= capabilities.all_names()


@given(
    env=st.one_of(
        wild.VALUES,
        st.dictionaries(wild.TEXT, wild.mostly(wild.TEXT)),
        st.lists(st.builds("{}={}".format, wild.TEXT, wild.TEXT)),
    )
)
@example(env={"A": "\ud800"})
def test_environments(env: Any) -> None:
    with guarded(InvalidArgument):
        for name, value in arguments.environment("env", env).items():
            assert b"\0" not in os.fsencode(f"{name}={value}")


LIMITS = {
    "memory": SIZES, "memory_swap": SIZES, "memory_high": SIZES, "memory_low": SIZES,
    "cpus": st.one_of(wild.FLOATS, wild.INTEGERS, wild.TEXT), "cpu_weight": st.one_of(wild.INTEGERS, wild.LONG_DIGITS),
    "cpuset_cpus": st.one_of(st.sampled_from(["0-3,5", "3-1", "0-", "٣"]), wild.LONG_DIGITS, wild.TEXT),
    "cpuset_mems": wild.TEXT, "pids": st.one_of(wild.INTEGERS, wild.LONG_DIGITS, st.just("²")),
    "io_max": st.dictionaries(st.one_of(st.just("/"), wild.TEXT), st.dictionaries(st.sampled_from(["rbps", "wiops", "x"]), SIZES, max_size=2), max_size=2),
    "io_weight": wild.INTEGERS, "hugetlb": st.dictionaries(st.one_of(st.sampled_from(["2M", "1G", "3M", "1"]), SIZES.filter(lambda v: isinstance(v, (str, int)))), SIZES, max_size=2),
}  # fmt: skip


@given(given_=st.fixed_dictionaries({}, optional={name: wild.mostly(good) for name, good in LIMITS.items()}))
@example(given_={"pids": "9" * 5000})
@example(given_={"cpuset_cpus": "9" * 5000})
@example(given_={"cpuset_cpus": 10**5000})
@example(given_={"io_max": {10**5000: {}}})
@example(given_={"cpuset_cpus": "٣"})
@example(given_={"io_max": {"/a\0": {"rbps": 1}}})
@example(given_={"io_max": {"²:1": {"rbps": 1}}})
def test_limits(given_: dict[str, Any]) -> None:
    with guarded(InvalidArgument):
        make_bounds(given_)


DEVICES = st.builds(
    "{}{}{}".format,
    st.sampled_from(["/dev/null", "/dev/tty", "/etc", "/nowhere", "", "x"]),
    st.sampled_from(
        ["", ":/dev/x", ":x/y", ":x", ":./", ":/dev/../etc", ":/dev/", ":", ":/dev/pts", ":/dev/a/../../b"]
    ),
    st.sampled_from(["", ":rwm", ":r", ":rr", ":x", ":"]),
)
SYSCTLS = st.dictionaries(
    st.sampled_from(
        [
            "net.ipv4.ip_forward",
            "kernel.shmmax",
            "kernel.core_pattern",
            "net..x",
            "net.é",
            "fs.mqueue.x",
            "net.a/b",
        ]
    ),
    st.one_of(wild.INTEGERS, wild.TEXT),
    max_size=2,
)
NAMES = st.dictionaries(wild.TEXT, wild.TEXT, max_size=3)
OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "entrypoint": st.lists(wild.TEXT, max_size=3), "env": NAMES, "workdir": wild.TEXT.map(lambda text: "/" + text),
    "user": st.one_of(wild.TEXT, wild.INTEGERS), "hostname": wild.TEXT, "mounts": st.lists(MOUNTS, max_size=2),
    "tmpfs": st.lists(MOUNTS, max_size=2), "read_only": st.booleans(), "tty": st.booleans(), "init": st.booleans(),
    "network": st.sampled_from(["none", "host"]), "privileged": st.booleans(), "cap_add": st.lists(st.sampled_from(["ALL", "KILL", "X"])),
    "cap_drop": st.lists(st.sampled_from(["ALL", "KILL"])), "userns": st.sampled_from(["auto", "host"]),
    "ulimits": st.dictionaries(st.sampled_from(["nofile", "core", "x"]), st.one_of(wild.INTEGERS, st.tuples(wild.INTEGERS, wild.INTEGERS)), max_size=2),
    "size": SIZES, "shm_size": SIZES, "stop_signal": st.sampled_from(["TERM", 9, "x"]), "labels": NAMES,
    "extra_fds": st.one_of(st.lists(wild.INTEGERS, max_size=2), st.dictionaries(wild.INTEGERS, wild.INTEGERS, max_size=2)),
    "umask": wild.INTEGERS, "best_effort": st.booleans(), "oom_score_adj": wild.INTEGERS,
    "group_add": st.lists(st.one_of(wild.TEXT, wild.INTEGERS), max_size=2),
    "devices": st.lists(DEVICES, max_size=2), "sysctls": SYSCTLS,
    "security": st.sampled_from([Security.default(), Security.strict(), Security.privileged()]),
}  # fmt: skip


@given(
    command=wild.mostly(st.lists(wild.TEXT, min_size=1, max_size=3)),
    options=st.fixed_dictionaries({}, optional={name: wild.mostly(good) for name, good in OPTIONS.items()}),
)
@example(command=["\ud800"], options={})
@example(command=["true"], options={"extra_fds": {2**40: 3}})
@example(command=["true"], options={"extra_fds": {3: 2**40}})
@example(command=["true"], options={"devices": ["/dev/null:./"]})
@example(command=["true"], options={"sysctls": {"net.ipv4.ip_forward": 10**5000}})
def test_specifications(command: Any, options: dict[str, Any]) -> None:
    with guarded(InvalidArgument):
        spec = make_spec(Image.from_host(), command, **options)
        # All of it can be handed to the kernel.
        for word in (
            *spec.argv,
            *(f"{name}={value}" for name, value in spec.env),
            spec.workdir,
            spec.hostname or "",
        ):
            assert b"\0" not in os.fsencode(word)
        assert spec.workdir.startswith("/")
        assert all(0 <= soft <= hard < 1 << 64 for _, soft, hard in spec.ulimits)
        for device in spec.devices:
            assert not {"", ".", ".."} & set(device.name.split("/"))
        for file, content in spec.sysctls:
            assert b"\0" not in os.fsencode(file + content)
            assert not {"", ".", ".."} & set(file.split("/"))


@given(name=st.sampled_from(sorted(OPTIONS)), value=wild.VALUES)
@example(name="user", value=10**5000)
@example(name="umask", value=10**5000)
@example(name="extra_fds", value=[[]])
def test_single_options(name: str, value: Any) -> None:
    with guarded(InvalidArgument):
        make_spec(Image.from_host(), ["true"], **{name: value})


@given(
    given_=st.fixed_dictionaries(
        {},
        optional={
            "text": wild.VALUES, "encoding": wild.VALUES, "errors": wild.VALUES, "output_limit": wild.mostly(SIZES),
            "timeout": wild.mostly(wild.FLOATS), "cpu_timeout": wild.VALUES, "input": wild.VALUES,
        },
    )
)  # fmt: skip
@example(given_={"timeout": 10**400})
@example(given_={"encoding": "hex"})
def test_exchanges(given_: dict[str, Any]) -> None:
    with guarded(InvalidArgument):
        exchange = Exchange.of(**given_)
        for seconds in (exchange.timeout, exchange.cpu_timeout):
            assert seconds is None or float(seconds) > 0
