"""Arguments that would be something else than what they are: in names, variables, users, paths."""

from __future__ import annotations

import os

import pytest

import pycontainer as pc


def run(*command: str, **options: object) -> pc.Result[str]:
    return pc.run("host:", list(command), text=True, timeout=60, **options)


def test_words_arrive_as_they_are():
    words = ["", " ", "a\nb", "$(id)", ";", "--", "-c", "=", "\\", "'\"", "*", "\x01\x7f", "ü", "\udcff"]
    result = pc.run("host:", ["sh", "-c", 'for w; do printf "%s\\0" "$w"; done', "sh", *words], timeout=60)
    assert result.stdout == b"".join(os.fsencode(word) + b"\0" for word in words)
    below = pc.run(
        "host:", ["sh", "-c", 'for w; do printf "%s\\0" "$w"; done', "sh", *words], timeout=60, init=True
    )
    assert below.stdout == result.stdout


def test_variables_arrive_as_they_are():
    env = {"A": "1\nB=2", "C": "", "D E": "x", "F\n": "y", "LD_PRELOAD": "", "PATH": "/usr/bin:/bin"}
    result = pc.run("host:", ["cat", "/proc/self/environ"], env=env, hostname="box", timeout=60)
    assert dict(pair.split(b"=", 1) for pair in result.stdout.rstrip(b"\0").split(b"\0")) == {
        **{os.fsencode(name): os.fsencode(value) for name, value in env.items()},
        b"HOME": b"/root",
        b"HOSTNAME": b"box",
    }


@pytest.mark.parametrize(
    "options",
    [
        {"env": {"A=B": "x"}}, {"env": {"": "x"}}, {"env": {"A\0": "x"}}, {"env": {"A": "x\0B=y"}}, {"env": ["=x"]}, {"env": ["A\0=b"]},
        {"hostname": "a\nb"}, {"hostname": "a\0b"}, {"hostname": ""}, {"hostname": "a" * 65}, {"hostname": "../x"}, {"hostname": "a\n"},
        {"workdir": "/a\0b"}, {"workdir": ""}, {"workdir": "a"}, {"workdir": "./a"},
        {"user": "4294967295"}, {"user": "4294967296"}, {"user": "-1"}, {"user": "+1"}, {"user": "0x1"}, {"user": "1e3"}, {"user": " 0"},
        {"user": "0 "}, {"user": "0:"}, {"user": "0:-1"}, {"user": "0:4294967295"}, {"user": "٣"}, {"user": "1\n0"}, {"user": "root\0"},
        {"user": -1}, {"user": 4294967295}, {"user": 1 << 64}, {"user": "18446744073709551616"}, {"user": "0:0:0"},
        {"entrypoint": ["a\0b"]}, {"mounts": ["/usr\0x:/y"]}, {"mounts": [("/usr", "/x")]}, {"tmpfs": ["/x:size=1,uid=0"]},
        {"tmpfs": ["/../x"]}, {"tmpfs": ["/"]}, {"tmpfs": ["x"]}, {"mounts": ["/usr:/a/../b"]}, {"mounts": ["/usr:b"]}, {"mounts": ["/usr:/"]},
        {"size": -1}, {"size": "1Q"}, {"shm_size": "-1"}, {"umask": 0o7777777}, {"ulimits": {"nofile": -2}}, {"cap_add": ["SYS_ADMIN\n"]},
    ],
    ids=repr,
)  # fmt: skip
def test_it_is_refused(options):
    with pytest.raises(pc.InvalidArgument):
        pc.run("host:", ["true"], timeout=60, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"workdir": "/a\0b"}, {"workdir": "tmp"}, {"workdir": ""}, {"env": {"A\0": "x"}}, {"env": {"A=B": "x"}}, {"user": "4294967295"},
        {"user": "-1"}, {"user": -1}, {"user": "+0"}, {"user": "root\0"}, {"user": "0x0"}, {"user": 1 << 32},
    ],
    ids=repr,
)  # fmt: skip
def test_it_is_refused_in_an_exec(options):
    with pc.Container.create("host:", ["sleep", "100"]) as container:
        container.start()
        with pytest.raises(pc.InvalidArgument):
            container.exec(["true"], timeout=60, **options)
        with pytest.raises(pc.InvalidArgument):
            container.exec(["tr\0ue"], timeout=60)


@pytest.mark.needs("root")
def test_the_bounds_of_ids():
    assert run("id", "-u", user="65535:65535").stdout == "65535\n"
    for user in ("65536", "0:65536", "4294967294"):
        with pytest.raises(pc.InvalidArgument, match="mapped"):
            run("true", user=user)
    assert run("id", "-u", user="4294967294", userns="host").stdout == "4294967294\n"


def test_names_of_containers():
    for name in ("", "a", "../x", "a/b", "a\nb", "a\0b", "-a", ".a", "a b", "ab\n"):
        with pytest.raises(pc.InvalidArgument):
            pc.Container.create("host:", ["true"], name=name)
