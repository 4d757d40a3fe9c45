"""References: Docker's grammar, its defaults, and what is no name."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from pycontainer.errors import InvalidArgument
from pycontainer.image.reference import Reference

A, F = "a" * 64, "f" * 64
SHA = f"sha256:{F}"
SONG = "thisisthesongthatneverendsitgoesonandonandonthisisthesongthatnev"

#: Text -> registry, repository, tag, digest, and the familiar form where it is another text.
NAMES: dict[str, tuple[str, str, str | None, str | None, str | None]] = {
    "debian": ("docker.io", "library/debian", "latest", None, "debian:latest"),
    "debian:12": ("docker.io", "library/debian", "12", None, None),
    "library/debian:12": ("docker.io", "library/debian", "12", None, "debian:12"),
    "docker.io/debian:12": ("docker.io", "library/debian", "12", None, "debian:12"),
    "docker.io/library/debian:12": ("docker.io", "library/debian", "12", None, "debian:12"),
    "index.docker.io/debian:12": ("docker.io", "library/debian", "12", None, "debian:12"),
    "index.docker.io/team/app:1": ("docker.io", "team/app", "1", None, "team/app:1"),
    "team/app:1": ("docker.io", "team/app", "1", None, None),
    "team/sub/app:1": ("docker.io", "team/sub/app", "1", None, None),
    "library/sub/app:1": ("docker.io", "library/sub/app", "1", None, None),
    f"debian@{SHA}": ("docker.io", "library/debian", None, SHA, None),
    f"debian:12@{SHA}": ("docker.io", "library/debian", "12", SHA, None),
    f"h:1/a/b:c@{SHA}": ("h:1", "a/b", "c", SHA, None),
    # What is a host, and what is none.
    "localhost/app:1": ("localhost", "app", "1", None, None),
    "localhost:5000/app:1": ("localhost:5000", "app", "1", None, None),
    "localhost:5000": ("docker.io", "library/localhost", "5000", None, None),
    "localhost": ("docker.io", "library/localhost", "latest", None, "localhost:latest"),
    "docker.io": ("docker.io", "library/docker.io", "latest", None, "docker.io:latest"),
    "192.168.0.1:80": ("docker.io", "library/192.168.0.1", "80", None, None),
    "192.168.0.1:8/debian:12": ("192.168.0.1:8", "debian", "12", None, None),
    "a.b/c:1": ("a.b", "c", "1", None, None),
    "a-b:80/c:1": ("a-b:80", "c", "1", None, None),
    "test_com/foo:1": ("docker.io", "test_com/foo", "1", None, None),
    "foo/foo_bar.com:8080": ("docker.io", "foo/foo_bar.com", "8080", None, None),
    "Docker/docker:1": ("Docker", "docker", "1", None, None),
    "DOCKER/docker:1": ("DOCKER", "docker", "1", None, None),
    "Registry.Example:443/app:1": ("Registry.Example:443", "app", "1", None, None),
    "xn--n3h.com:18080/foo:xn--n3h.com": ("xn--n3h.com:18080", "foo", "xn--n3h.com", None, None),
    "[::1]:5000/app:1": ("[::1]:5000", "app", "1", None, None),
    "[::1]/app:1": ("[::1]", "app", "1", None, None),
    "[2001:DB8:1:2:3:4:5:6]:5000/library/app:1": ("[2001:DB8:1:2:3:4:5:6]:5000", "library/app", "1", None, None),
    # Grammar lets them through: that there is no such port shows when it is asked.
    "h:99999999/a:1": ("h:99999999", "a", "1", None, None),
    # Odd, and names all the same.
    f"{SONG}:1": ("docker.io", f"library/{SONG}", "1", None, None),
    f"docker.io/{A}": ("docker.io", f"library/{A}", "latest", None, f"{A}:latest"),
    f"{A}:1": ("docker.io", f"library/{A}", "1", None, None),
    A[:63]: ("docker.io", f"library/{A[:63]}", "latest", None, f"{A[:63]}:latest"),
    f"sha256:{F}": ("docker.io", "library/sha256", F, None, None),
    "a__b/c---d/e.f_g:1": ("docker.io", "a__b/c---d/e.f_g", "1", None, None),
    "d/docker:_T.-a": ("docker.io", "d/docker", "_T.-a", None, None),
    "a:Up.Per_-": ("docker.io", "library/a", "Up.Per_-", None, None),
    f"a:{'t' * 128}": ("docker.io", "library/a", "t" * 128, None, None),
    f"h:1/{'r' * 255}:1": ("h:1", "r" * 255, "1", None, None),
    f"{'a/' * 127}a:1": ("docker.io", f"{'a/' * 127}a", "1", None, None),
    # Docker's short form of these is the name of another image.
    "docker.io/localhost/app:1": ("docker.io", "localhost/app", "1", None, None),
    "docker.io/a.b/app:1": ("docker.io", "a.b/app", "1", None, None),
    "docker.io/library/a.b:1": ("docker.io", "library/a.b", "1", None, "a.b:1"),
}  # fmt: skip


@pytest.mark.parametrize("text", NAMES)
def test_a_name_is_read_as_docker_does(text: str) -> None:
    *parts, familiar = NAMES[text]
    found = Reference.parse(text)
    assert [found.registry, found.repository, found.tag, found.digest] == parts
    assert found.familiar == (familiar or text)
    assert found.name == f"{found.registry}/{found.repository}"
    assert str(found).startswith(found.name)
    assert Reference.parse(str(found)) == Reference.parse(found.familiar) == found


#: Text -> words of the message.
NO_NAMES = {
    "": "the name of an image is needed",
    "docker/Docker": "lower case: 'docker/docker'",
    "Uppercase:tag": "lower case: 'library/uppercase'",
    "test:5000/Uppercase/lowercase:tag": "lower case",
    "docker.io/docker/Docker": "lower case",
    "a/É": "lower case",
    A: "64 digits are no name",
    "https://github.com/docker/docker": "no URL",
    "docker:/x": "wrong registry",
    "-docker": "wrong repository",
    "-docker.io/docker/docker": "wrong registry",
    "docker-.io/x": "wrong registry",
    "docker-/docker": "wrong repository",
    "____/____": "wrong repository",
    "_docker/_docker": "wrong repository",
    "dock..er/docker": "wrong registry",
    "docker/dock..er": "wrong repository",
    "docker/dock_.er": "wrong repository",
    "docker/dock___er": "wrong repository",
    "docker/": "wrong repository",
    "/docker": "wrong repository",
    "docker///docker": "wrong repository",
    # Docker takes it, for a repository that is at no registry at all.
    "test_com.foo/bar": "wrong registry",
    "[fc00::1]": "wrong repository",
    "[fc00::1]:5000": "wrong repository",
    "fc00::1:5000/debian": "wrong registry",
    "[fe80::1%eth0]:5000/debian": "wrong registry",
    "[2001:db8:3:4::192.0.2.33]:5000/debian": "wrong registry",
    "h:/a": "wrong registry",
    "h:a/a": "wrong registry",
    "h:٣/a": "wrong registry",
    "user@h.example/a": "wrong registry",
    ":justtag": "wrong repository",
    f"@{SHA}": "wrong repository",
    "a:": "wrong tag",
    "a:-t": "wrong tag",
    "a:.t": "wrong tag",
    "a:b:c": "wrong tag",
    "a:é": "wrong tag",
    f"a:{'t' * 129}": "wrong tag",
    f"a@{SHA}:1": "wrong digest",
    "a@": "wrong digest",
    f"a@{SHA}@{SHA}": "wrong digest",
    f"a@sha256:{'F' * 64}": "wrong digest",
    "a@sha256:ffff": "wrong digest",
    f"a@sha512:{F}{F}": "wrong digest",
    f"a@md5:{'f' * 32}": "wrong digest",
    "a@sha256:..": "wrong digest",
    f"h:1/{'r' * 256}": "more than 255",
    f"{'a/' * 128}a:tag": "more than 255",
    " debian": "wrong repository",
    "debian ": "wrong repository",
    "debian\n": "wrong repository",
    "debian:12\n": "wrong tag",
    "debian\0": "wrong repository",
    "../../etc": "wrong registry",
    "a/../b": "wrong repository",
    "a/%2e%2e/b": "wrong repository",
    "deb\ud800ian": "wrong repository",
}


@pytest.mark.parametrize("text", NO_NAMES)
def test_what_is_no_name_is_refused_with_the_reason(text: str) -> None:
    with pytest.raises(InvalidArgument, match="reference=") as caught:
        Reference.parse(text)
    assert NO_NAMES[text] in str(caught.value)


@pytest.mark.parametrize("value", [None, 5, b"debian", ["debian"]])
def test_only_text_is_a_name(value: Any) -> None:
    with pytest.raises(InvalidArgument, match="name of an image"):
        Reference.parse(value)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("registry", ""),
        ("registry", "a/b"),
        ("registry", "index.docker.io"),
        ("registry", None),
        ("repository", "debian"),
        ("repository", "a/B"),
        ("repository", ""),
        ("repository", "a/" + "b" * 254),
        ("tag", ""),
        ("tag", "a/b"),
        ("tag", 12),
        ("digest", A),
        ("digest", ""),
    ],
)
def test_one_made_by_hand_is_checked_as_well(argument: str, value: Any) -> None:
    good: dict[str, Any] = {"registry": "docker.io", "repository": "library/debian"}
    assert Reference(**good).tag is None
    with pytest.raises(InvalidArgument, match=f"{argument}="):
        Reference(**{**good, argument: value})


def test_it_is_a_value() -> None:
    found = Reference.parse("debian")
    assert {found: 1}[Reference.parse("docker.io/library/debian:latest")] == 1
    assert pickle.loads(pickle.dumps(found)) == found


def test_a_long_text_that_is_no_name_is_refused_at_once() -> None:
    for text in (
        "a" * (1 << 20) + "!",
        "a-" * (1 << 19),
        "A." * (1 << 19) + "/x",
        "a/" * (1 << 19),
        "-" * (1 << 20),
    ):
        with pytest.raises(InvalidArgument) as caught:
            Reference.parse(text)
        assert len(str(caught.value)) < 3000
