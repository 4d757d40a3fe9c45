"""Whole runs with any arguments that are accepted: a result, or a typed error; nothing stays either way."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

import pycontainer as pc
from pycontainer.errors import PyContainerError
from tests.fuzz import wild
from tests.fuzz.guard import guarded

WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=8)
NAMES = st.text(st.characters(exclude_characters="\0=", exclude_categories=["Cs"]), min_size=1, max_size=8)
PLACES = st.one_of(
    st.sampled_from(
        [
            "/",
            "/tmp",
            "/a/b/c",
            "/proc",
            "/proc/self/cwd",
            "/dev/shm",
            "/etc/passwd",
            "//x//",
            "/usr/../y",
            "/" + "n" * 255,
            "/" + "n" * 256,
            "/" + "d/" * 2100,
            "/dev/null",
        ]
    ),
    WORDS.map(lambda text: "/" + text),
)
OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "env": st.dictionaries(NAMES, WORDS, max_size=3), "workdir": PLACES,
    "user": st.one_of(st.sampled_from(["0", "1000:1000", "nobody", "65536", "4294967294", "0:100000"]), WORDS),
    "hostname": st.sampled_from(["a", "a.b-c", "x" * 64]),
    "tmpfs": st.lists(st.builds("{}{}".format, PLACES.filter(lambda place: ":" not in place), st.sampled_from(["", ":size=1m", ":mode=0", ":size=1"])), max_size=2),
    "mounts": st.lists(st.builds("{}:{}:{}".format, st.sampled_from(["/tmp", "/etc/hostname", "/dev/null", "/proc"]), PLACES.filter(lambda place: ":" not in place), st.sampled_from(["ro", "rw", "ro,slave"])), max_size=2),
    "read_only": st.booleans(), "tty": st.booleans(), "init": st.booleans(), "umask": st.integers(0, 0o777),
    "cap_add": st.lists(st.sampled_from(["ALL", "NET_ADMIN", "SYS_ADMIN"]), max_size=1), "cap_drop": st.lists(st.sampled_from(["ALL", "CHOWN"]), max_size=1),
    "userns": st.sampled_from(["auto", "keep-id"]), "group_add": st.lists(st.sampled_from(["audio", "5", "65535", "100000"]), max_size=2),
    "ulimits": st.dictionaries(st.sampled_from(["nofile", "core", "fsize", "stack", "nproc", "cpu"]), st.sampled_from([(1, 1), 64, -1, (0, 2**40)]), max_size=2),
    "shm_size": st.sampled_from([1, "64m"]), "size": st.sampled_from([1, 4096, "16m"]), "stop_signal": st.sampled_from(["TERM", "RTMIN+3"]),
    "oom_score_adj": st.sampled_from([0, 500, 1000, -1]), "sysctls": st.dictionaries(st.sampled_from(["net.ipv4.ip_forward", "kernel.shmmax", "net.nothing"]), st.sampled_from(["1", 0, "x", -1]), max_size=1),
    "devices": st.lists(st.sampled_from(["/dev/null:/dev/x", "/dev/zero:/dev/a/b:r"]), max_size=1), "labels": st.dictionaries(WORDS, WORDS, max_size=1),
    "security": st.sampled_from([pc.Security.strict(), pc.Security.default(), pc.Security.privileged()]),
    "text": st.booleans(), "output_limit": st.integers(0, 10), "network": st.just("none"), "best_effort": st.just(True),
}  # fmt: skip


@given(
    command=st.one_of(
        st.just(["true"]), st.just(["sh", "-c", "echo x; exit 3"]), st.lists(WORDS, min_size=1, max_size=3)
    ),
    options=st.lists(st.sampled_from(sorted(OPTIONS)), max_size=6, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: OPTIONS[name] for name in names})
    ),
)
def test_runs(command: list[str], options: dict[str, Any]) -> None:
    with guarded(PyContainerError):
        result = pc.run("host:", command, timeout=20, **options)
        assert 0 <= result.exit_code <= 255
        assert not result.timed_out


@given(
    command=st.lists(wild.TEXT, min_size=1, max_size=2),
    options=st.dictionaries(st.sampled_from(["workdir", "user", "hostname", "env"]), wild.TEXT, max_size=2),
)
@example(command=["\udcff"], options={})
def test_words_of_all_sorts(command: list[str], options: dict[str, Any]) -> None:
    with guarded(PyContainerError):
        pc.run("host:", command, timeout=20, **options)
