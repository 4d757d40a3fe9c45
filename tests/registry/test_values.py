"""Addresses, challenges and waits, as values: no server is asked."""

from __future__ import annotations

import doctest
import email.utils
import time
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontainer.errors import InvalidArgument
from pycontainer.image.digest import digest_of
from pycontainer.image.registry import Registry, challenge, client, endpoint, location, patience, reach
from pycontainer.image.registry.challenge import parse_challenges
from pycontainer.image.registry.location import BadLocation, Location, is_loopback
from pycontainer.image.registry.patience import retry_after
from pycontainer.image.registry.reach import Reach, reach_of


@pytest.mark.parametrize(
    "module", [location, challenge, patience, reach, endpoint, client], ids=lambda module: module.__name__
)
def test_examples_are_true(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


class TestLocations:
    BASE = Location.parse("https://registry.example:5000/v2/a/blobs/uploads/?x=1")

    @pytest.mark.parametrize(
        ("told", "expected"),
        [
            ("/v2/y", "https://registry.example:5000/v2/y"),
            ("y?z=1", "https://registry.example:5000/v2/a/blobs/uploads/y?z=1"),
            ("?z=1", "https://registry.example:5000/v2/a/blobs/uploads/?z=1"),
            ("//other/z", "https://other/z"),
            ("HTTP://Other:80/z#f", "http://other/z"),
            ("https://[::1]:5000", "https://[::1]:5000/"),
            ("https://a_b.example?x", "https://a_b.example/?x"),
            ("", "https://registry.example:5000/v2/a/blobs/uploads/"),
        ],
    )
    def test_what_answers_tell_is_read(self, told: str, expected: str) -> None:
        assert str(self.BASE.join(told)) == expected

    @given(st.text(max_size=80) | st.from_regex(r"https?://[a-z@:\\/\[\]?#.%0-9]{0,40}"))
    def test_what_is_taken_is_the_same_for_others(self, text: str) -> None:
        """The standard library's parser finds the host that ours found."""
        try:
            found = Location.parse(text)
        except BadLocation:
            return
        other = urllib.parse.urlsplit(str(found))
        assert (
            other.scheme,
            other.hostname,
            other.port or {"http": 80, "https": 443}[found.scheme],
        ) == found.origin
        assert other.username is None
        assert Location.parse(str(found)) == found
        again = urllib.parse.urlsplit(text)
        assert (again.hostname or "").rstrip("]") in {found.host, found.host.upper()} or ":" in found.host

    @given(st.text(max_size=80))
    def test_nothing_but_its_error(self, text: str) -> None:
        try:
            assert self.BASE.join(text).scheme in {"http", "https"}
        except BadLocation as error:
            assert str(error).isprintable()

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.255.0.1", "::1"])
    def test_this_machine(self, host: str) -> None:
        assert is_loopback(host)

    @pytest.mark.parametrize("host", ["localhost.example", "128.0.0.1", "0.0.0.0", "::", "127.1", "example"])
    def test_not_this_machine(self, host: str) -> None:
        assert not is_loopback(host)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("8.8.8.8", Reach.PUBLIC), ("2606:4700::1", Reach.PUBLIC), ("10.0.0.1", Reach.PRIVATE), ("192.168.0.1", Reach.PRIVATE),
        ("100.64.0.1", Reach.PRIVATE), ("fc00::1", Reach.PRIVATE), ("127.0.0.1", Reach.LOOPBACK), ("0.0.0.0", Reach.LOOPBACK),
        ("::", Reach.LOOPBACK), ("::1", Reach.LOOPBACK), ("169.254.169.254", Reach.LINK), ("fe80::1%lo", Reach.LINK),
        ("::ffff:127.0.0.1", Reach.LOOPBACK), ("64:ff9b::a9fe:a9fe", Reach.LINK), ("2002:7f00:1::", Reach.LOOPBACK),
        ("100.100.100.200", Reach.LINK), ("224.0.0.1", Reach.LINK), ("255.255.255.255", Reach.PRIVATE),
    ],
)  # fmt: skip
def test_how_far_inside(address: str, expected: Reach) -> None:
    assert reach_of(address) is expected


class TestChallenges:
    def test_several_are_read(self) -> None:
        header = 'Negotiate, Basic realm="a, b=\\"c\\"", Bearer realm=https , service="x",scope="repository:a:pull,push"'
        assert [(each.scheme, each.parameters) for each in parse_challenges(header)] == [
            ("negotiate", {}),
            ("basic", {"realm": 'a, b="c"'}),
            ("bearer", {"realm": "https", "service": "x", "scope": "repository:a:pull,push"}),
        ]

    @given(st.text(max_size=200) | st.text('Bearer realm=",\\ x', max_size=200))
    def test_nothing_fails(self, header: str) -> None:
        for each in parse_challenges(header):
            assert each.scheme

    @pytest.mark.parametrize(
        "header",
        [
            'Bearer realm="' + "\\" * 1_000_000,
            "Bearer " + "a=b," * 500_000,
            "," * 1_000_000,
            "B " + 'a="' * 100_000,
        ],
    )
    def test_long_ones_come_to_an_end(self, header: str) -> None:
        assert len(parse_challenges(header)) < 100_000


def test_waits() -> None:
    assert retry_after("5") == 5
    soon = retry_after(email.utils.formatdate(time.time() + 100, usegmt=True))
    assert soon is not None
    assert 50 < soon <= 100
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    for text in (
        None,
        "",
        "-5",
        "1e9",
        "soon",
        "\u0665",
        "9" * 50,
        "x" * 100_000,
        "Wed, 99 Oct 99999 07:28:00 GMT",
    ):
        assert retry_after(text) is None


class TestArguments:
    @pytest.mark.parametrize(
        "host",
        ["", "a/b", "a b", "a:0", "a:99999", "a:x", "user@a", "http://a.example", "ftp://a", "[::1", "[x]:1", "-a", "a\n", None, 5],
    )  # fmt: skip
    def test_hosts(self, host: object) -> None:
        with pytest.raises(InvalidArgument, match="host"):
            Registry(host)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgument, match="host"):
            Registry("localhost", mirrors=[host])  # type: ignore[list-item]

    @pytest.mark.parametrize("timeout", [0, -1, True, "5", None, float("nan"), float("inf")])
    def test_timeouts(self, timeout: object) -> None:
        with pytest.raises(InvalidArgument, match="timeout"):
            Registry("localhost", timeout=timeout)  # type: ignore[arg-type]

    def test_mirrors(self) -> None:
        with pytest.raises(InvalidArgument, match="mirrors"):
            Registry("localhost", mirrors="mirror.example")

    @pytest.mark.parametrize(
        "name", ["", "A", "a//b", "../a", "a/..", "a b", "a:b", "a@b", "/a", "a/", "a" * 256, "a\n", None]
    )
    def test_repositories(self, name: object) -> None:
        with Registry("localhost:1") as registry, pytest.raises(InvalidArgument, match="repository"):
            registry.manifest(name, "v1")  # type: ignore[arg-type]

    @pytest.mark.parametrize("name", ["a", "a/b-c/d_e__f.g", "0/1", "a" * 255, "a--b"])
    def test_possible_repositories(self, name: str) -> None:
        assert endpoint.check_repository(name) == name

    @pytest.mark.parametrize(
        "name", ["", ".a", "-a", "a/b", "a b", "x" * 129, "sha256:abc", digest_of(b"").upper(), "a\n", None]
    )
    def test_references(self, name: object) -> None:
        with Registry("localhost:1") as registry, pytest.raises(InvalidArgument, match="reference"):
            registry.manifest("x", name)  # type: ignore[arg-type]

    def test_a_manifest_under_the_digest_of_another(self) -> None:
        with (
            Registry("localhost:1") as registry,
            pytest.raises(InvalidArgument, match="the digest of these bytes"),
        ):
            registry.push_manifest("x", digest_of(b"other"), b"{}", "a/b")

    def test_a_manifest_that_is_too_large(self) -> None:
        with Registry("localhost:1") as registry, pytest.raises(InvalidArgument, match="4 MiB"):
            registry.push_manifest("x", "v1", b" " * ((4 << 20) + 1), "a/b")
