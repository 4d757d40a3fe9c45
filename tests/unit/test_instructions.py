"""Instructions of a Dockerfile that change a configuration: what the Dockerfile reference says of each."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontainer.errors import InvalidArgument
from pycontainer.image.config import ImageConfig
from pycontainer.image.instructions import changed
from pycontainer.image.words import expand, split

BASE = ImageConfig(
    env=["PATH=/bin", "HOME=/root", "EMPTY="],
    entrypoint=["/entry"],
    cmd=["base"],
    workdir="/srv",
    labels={"kept": "1"},
    volumes=["/data"],
    exposed_ports=["80/tcp"],
    more=[("Shell", ["/bin/bash", "-c"]), ("OnBuild", ["RUN true"])],
)


@pytest.mark.parametrize(
    ("instruction", "name", "value"),
    [
        ('CMD ["a", "b c"]', "cmd", ("a", "b c")),
        ('cmd ["a"]', "cmd", ("a",)),
        ("CMD []", "cmd", ()),
        ("CMD echo $HOME", "cmd", ("/bin/bash", "-c", "echo $HOME")),
        ("CMD ['a']", "cmd", ("/bin/bash", "-c", "['a']")),
        ("CMD [1]", "cmd", ("/bin/bash", "-c", "[1]")),
        ('ENTRYPOINT ["/new"]', "entrypoint", ("/new",)),
        ("ENV A=1", "env", ("PATH=/bin", "HOME=/root", "EMPTY=", "A=1")),
        ("ENV HOME=/new X=$HOME", "env", ("PATH=/bin", "HOME=/new", "EMPTY=", "X=/root")),
        ("ENV PATH=/opt:$PATH", "env", ("PATH=/opt:/bin", "HOME=/root", "EMPTY=")),
        ("ENV A  one value", "env", ("PATH=/bin", "HOME=/root", "EMPTY=", "A=one value")),
        ("ENV A='$HOME' B=\"$HOME x\"", "env", ("PATH=/bin", "HOME=/root", "EMPTY=", "A=$HOME", "B=/root x")),
        ("LABEL a=1 b.c='x y'", "labels", (("a", "1"), ("b.c", "x y"), ("kept", "1"))),
        ("LABEL kept=2", "labels", (("kept", "2"),)),
        ("EXPOSE 443 53/UDP", "exposed_ports", ("443/tcp", "53/udp", "80/tcp")),
        ("EXPOSE 8000-8002", "exposed_ports", ("80/tcp", "8000/tcp", "8001/tcp", "8002/tcp")),
        ("USER ${NOBODY:-7}:8", "user", "7:8"),
        ("VOLUME /a /b", "volumes", ("/a", "/b", "/data")),
        ('VOLUME ["/a b"]', "volumes", ("/a b", "/data")),
        ("VOLUME ['/a']", "volumes", ("/data", "[/a]")),  # no JSON, as Docker reads it
        ("WORKDIR app/../lib", "workdir", "/srv/lib"),
        ("WORKDIR /abs/", "workdir", "/abs"),
        ("WORKDIR //abs", "workdir", "/abs"),
        ("STOPSIGNAL SIGINT", "stop_signal", "SIGINT"),
        ("STOPSIGNAL 9", "stop_signal", "9"),
    ],
)
def test_one(instruction: str, name: str, value: Any) -> None:
    found = changed(BASE, [instruction])
    assert getattr(found, name) == value
    others = {each: getattr(found, each) for each in ("env", "user", "labels", "volumes") if each != name}
    assert others == {each: getattr(BASE, each) for each in others}


def test_an_entrypoint_takes_the_command_of_the_one_before_away() -> None:
    assert changed(BASE, ["ENTRYPOINT /new"]).cmd == ()
    assert changed(BASE, ["CMD x", "ENTRYPOINT /new"]).cmd == ("/bin/bash", "-c", "x")
    assert changed(BASE, 'ENTRYPOINT ["/new"]\n\nCMD ["y"]\n').cmd == ("y",)


def test_what_is_only_in_dockers_json() -> None:
    more = dict(
        changed(
            BASE, ["ONBUILD RUN make", "HEALTHCHECK --interval=1m30s --retries=3 CMD curl -f localhost"]
        ).more
    )
    assert more["OnBuild"] == ["RUN true", "RUN make"]
    assert more["Healthcheck"] == {
        "Test": ["CMD-SHELL", "curl -f localhost"],
        "Interval": 90 * 10**9,
        "Retries": 3,
    }
    assert more["Shell"] == ["/bin/bash", "-c"]
    assert dict(changed(BASE, ["HEALTHCHECK NONE"]).more)["Healthcheck"] == {"Test": ["NONE"]}
    exact = dict(changed(BASE, ['HEALTHCHECK --start-period=500ms CMD ["ok", "now"]']).more)["Healthcheck"]
    assert exact == {"Test": ["CMD", "ok", "now"], "StartPeriod": 500_000_000}


@pytest.mark.parametrize(
    "wrong",
    [
        "RUN make",
        "COPY a b",
        "CMD",
        "ENV A",
        "ENV A=1 B",
        "ENV =1",
        "ENV A='1",
        "ENV A=${",
        "ENV A=${B:?no}",
        "ENV A=${B",
        "LABEL a",
        "EXPOSE 0",
        "EXPOSE 65536",
        "EXPOSE 90-80",
        "EXPOSE http",
        'VOLUME [""]',
        "STOPSIGNAL SIGNONE",
        "ONBUILD FROM x",
        "HEALTHCHECK true",
        "HEALTHCHECK --interval=soon CMD x",
        "HEALTHCHECK --colour=red CMD x",
        "HEALTHCHECK CMD",
        "\N{SNOWMAN}",
    ],
)
def test_what_is_wrong_is_named(wrong: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        changed(BASE, ["USER x", wrong])
    assert (caught.value.argument, caught.value.value) == ("changes", wrong)


@pytest.mark.parametrize("wrong", [b"CMD x", 7, [b"CMD x"], [None]])
def test_what_is_no_text(wrong: Any) -> None:
    with pytest.raises(InvalidArgument, match="changes"):
        changed(BASE, wrong)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", "a"),
        (r"a\ b", "a b"),
        (r"\$a", "$a"),
        ("'$a'", "$a"),
        ('"$a"', "1"),
        (r'"\$a \n \""', r'$a \n "'),
        ("${a}b", "1b"),
        ("$ab", ""),
        ("$", "$"),
        ("$1", "$1"),
        ("${a:+x$a}", "x1"),
        ("${no:+x}", ""),
        ("${no:-${a}-'}'}", "1-}"),
        ("a\\", "a\\"),
    ],
)
def test_expansion(text: str, expected: str) -> None:
    assert expand(text, {"a": "1"}) == expected


@given(st.text(alphabet="ab $\\{}:-+'\"\t=1[],"))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidArgument):
        assert not any(word.strip(" \t") == "" for word in split(text))
    for word in ("ENV", "LABEL", "USER", "VOLUME", "WORKDIR", "EXPOSE", "CMD", "HEALTHCHECK"):
        with contextlib.suppress(InvalidArgument):
            changed(BASE, [f"{word} {text}"])


@given(st.text(alphabet="ab\\'\"$ x"))
def test_what_is_between_single_quotes_stays(text: str) -> None:
    inner = text.replace("'", "")
    assert expand(f"'{inner}'", {"a": "1"}) == inner
