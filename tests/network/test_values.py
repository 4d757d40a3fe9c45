"""What is said of networks, checked before anything happens; no root, no kernel."""

from __future__ import annotations

import contextlib
import ipaddress
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontainer.errors import InvalidArgument, NotSupported
from pycontainer.network import dns, pool
from pycontainer.network.bandwidth import Bandwidth
from pycontainer.network.egress import matches, parse_egress
from pycontainer.network.naming import Asker, Naming
from pycontainer.network.networks import check_name
from pycontainer.network.parse import parse
from pycontainer.network.ports import Port, parse_ports
from pycontainer.network.site import Site


def test_ports() -> None:
    assert parse_ports({5432: None, "53/udp": 5353, 8000: ("0.0.0.0", 80)}) == (
        Port(5432, "tcp", "127.0.0.1", None),
        Port(53, "udp", "127.0.0.1", 5353),
        Port(8000, "tcp", "0.0.0.0", 80),
    )
    assert parse_ports([80]) == (Port(80, "tcp", "127.0.0.1", None),)
    assert parse_ports({80: "[::]:8080"}) == (Port(80, "tcp", "::", 8080),)
    assert [each.host_port for each in parse_ports({"1-3": "11-13"})] == [11, 12, 13]


@pytest.mark.parametrize(
    "value",
    [
        "80", 80, {0: None}, {65536: None}, {"80/sctp": None}, {"x": None}, {80: "x"}, {80: ("nohost", 1)}, {True: None},
        {80: 70000}, {"1-3": 5}, {"3-1": None}, {80: 1, 81: 1}, {80: (1, 2, 3)}, {80: True}, {80: 1.5},
    ],
)  # fmt: skip
def test_wrong_ports(value: object) -> None:
    with pytest.raises(InvalidArgument):
        parse_ports(value)


@pytest.mark.parametrize(
    ("network", "options"),
    [
        (1, {}), ("", {}), (["a", "a"], {}), (["a", "host"], {}), ("container:", {}), ("none", {"ports": {1: 1}}),
        ("host", {"aliases": ["a"]}), ("a", {"aliases": "x"}), ("a", {"aliases": ["a b"]}), ("a", {"ip": "x"}),
        ("a", {"ip": "::1"}), ("a", {"ip6": "10.0.0.1"}), ("a", {"dns": ["x"]}), ("a", {"dns_options": ["a b"]}),
        ("a", {"extra_hosts": {"a b": "10.0.0.1"}}), ("a", {"extra_hosts": {"a": "x"}}), ({"a": {"b": 1}}, {}),
        ("egress", {}), ("a", {"dns_search": ["a\nb"]}), ("a", {"bandwidth": 5}), (b"a", {}), ({"a": 5}, {}),
    ],
)  # fmt: skip
def test_wrong_networks(network: object, options: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        parse(network, **options)


def test_an_egress_network_is_the_only_one() -> None:
    with pytest.raises(InvalidArgument, match="by itself"):
        parse([parse_egress(["pypi.org"]), "lab"])


@pytest.mark.parametrize("name", ["", "none", "host", "a b", "-a", "a/b", "é", "container", "egress", 5])
def test_wrong_names(name: object) -> None:
    with pytest.raises(InvalidArgument):
        check_name(name)


def test_egress() -> None:
    found = parse_egress(
        ["api.Example.com", "*.example.org:443", "10.0.0.0/8", "[2001:db8::1]:443", "1.2.3.4:80", "::1"]
    )
    assert found.names == (("api.example.com", 0), ("*.example.org", 443))
    assert found.subnets == (("10.0.0.0/8", 0), ("2001:db8::1/128", 443), ("1.2.3.4/32", 80), ("::1/128", 0))
    assert matches("*.example.org", "a.b.example.org")
    assert not matches("*.example.org", "example.org")
    assert not matches("*.example.org", "badexample.org")
    assert not matches("example.org", "www.example.org")


@pytest.mark.parametrize(
    "item", ["", "a b", "a:0", "a:99999", "a:b", "a/b", "*", "*.", "1.2.3.4/33", "10.0.0.1/8", "a..b", 5]
)
def test_wrong_egress(item: object) -> None:
    with pytest.raises(InvalidArgument):
        parse_egress([item])  # type: ignore[list-item]
    with pytest.raises(InvalidArgument):
        parse_egress("example.org")


def test_bandwidth() -> None:
    assert Bandwidth(download="1M").download == 1 << 20
    for wrong in ({"download": 1}, {"loss": 2}, {"delay": -1}, {"upload": "x"}):
        with pytest.raises(InvalidArgument):
            Bandwidth(**wrong)


def test_subnets_do_not_run_dry_and_never_overlap() -> None:
    taken: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = [ipaddress.ip_network("10.128.0.0/10")]
    for _ in range(300):
        taken.append(pool.free_subnet(taken, "seed"))
    assert all(not taken[0].overlaps(each) for each in taken[1:])
    assert len({str(each) for each in taken}) == 301


def test_an_address_is_not_soon_used_again() -> None:
    subnet = ipaddress.ip_network("10.9.0.0/29")
    assert [str(each) for each in pool.candidates(subnet, 4)] == [
        "10.9.0.5", "10.9.0.6", "10.9.0.1", "10.9.0.2", "10.9.0.3", "10.9.0.4",
    ]  # fmt: skip


@given(st.binary(max_size=600))
def test_no_bytes_break_the_reader_of_dns(data: bytes) -> None:
    for read in (dns.Question, dns.addresses):
        try:
            read(data)
        except dns.Malformed:
            continue


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 65535))
def test_every_question_has_an_answer(flags: int, more: int, kind: int) -> None:
    data = QUESTION[:2] + bytes([flags & 0x7F, more]) + QUESTION[4:-4] + kind.to_bytes(2, "big") + b"\0\1"
    with contextlib.suppress(dns.Malformed):
        question = dns.Question(data)
        assert question.answer(dns.NOT_IMPLEMENTED)[3] & 15 == 4
        assert question.fits(question.addresses(["192.0.2.1", "2001:db8::1"]), 0x1234)


@given(st.binary(max_size=300))
def test_no_answer_breaks_it_either(data: bytes) -> None:
    with contextlib.suppress(dns.Malformed):
        dns.addresses(b"\0\1\x81\x80\0\1\0\3\0\0\0\0\3abc\0\0\1\0\1" + data)


QUESTION = b"\x12\x34\1\0\0\1\0\0\0\0\0\0\3API\7example\0\0\1\0\1"


def test_a_question_and_its_answer() -> None:
    question = dns.Question(QUESTION)
    assert question.name == "api.example"
    assert question.is_query
    answer = question.addresses(["192.0.2.1", "2001:db8::1"])
    assert dns.addresses(answer) == [(ipaddress.ip_address("192.0.2.1"), 0)]
    assert answer.startswith(b"\x12\x34\x85\x80\0\1\0\1")
    assert question.answer(dns.REFUSED)[3] & 15 == 5
    assert question.truncated()[2] & 2
    assert dns.Question(question.renumbered(7)).name == "api.example"


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("1.2.0.192.in-addr.arpa", "192.0.2.1"),
        ("x.2.0.192.in-addr.arpa", None),
        ("1.1.2.0.192.in-addr.arpa", None),
        ("2.0.192.in-addr.arpa", None),
        ("1." + "0." * 23 + "8.b.d.0.1.0.0.2.ip6.arpa", "2001:db8::1"),
        ("web", None),
    ],
)
def test_names_of_addresses(name: str, address: str | None) -> None:
    assert dns.reversed_address(name) == (None if address is None else ipaddress.ip_address(address))


def test_an_answer_is_taken_only_for_the_question_that_was_sent() -> None:
    question = dns.Question(QUESTION)
    answer = question.addresses(["192.0.2.1"])
    assert question.fits(answer, 0x1234)
    assert not question.fits(answer, 0x1235)
    assert not question.fits(QUESTION, 0x1234)
    assert not question.fits(answer.replace(b"\3API", b"\3IPA"), 0x1234)
    assert not question.fits(answer[:-16].replace(b"\0\1\0\1", b"\0\x1c\0\1"), 0x1234)
    assert not question.fits(b"", 0x1234)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        QUESTION[:11],
        QUESTION[:-1],  # cut off
        QUESTION[:12] + b"\xc0\x0c\0\1\0\1",  # a name that is itself
        QUESTION[:12] + b"\xc0\x0e\xc0\x0c\0\1\0\1",  # two that are each other
        QUESTION[:12] + b"\x3f" * 600,  # a name without end
        QUESTION[:4] + b"\0\2" + QUESTION[6:] + QUESTION[12:],  # two questions
        QUESTION[:4] + b"\xff\xff" * 4 + QUESTION[12:],  # a quarter of a million records
        b"\x12\x34\x81" + QUESTION[3:],  # an answer
        QUESTION[:-1] + b"\3",  # of another class
    ],
)
def test_what_is_no_question(data: bytes) -> None:
    with pytest.raises(dns.Malformed):
        dns.Question(data)


@pytest.mark.parametrize(
    "record",
    [
        b"\xc0\x0c\0\1\0\1\0\0\0\1\0\5\1\2\3\4\5",  # an address of five bytes
        b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\1\2\3",  # cut off
        b"\xc0\xff\0\1\0\1\0\0\0\1\0\4\1\2\3\4",  # the name is behind the end
        b"\xc0\x1d\0\1\0\1\0\0\0\1\0\4\1\2\3\4",  # the name is itself
    ],
)
def test_what_is_no_answer(record: bytes) -> None:
    with pytest.raises(dns.Malformed):
        dns.addresses(b"\x12\x34\x81\x80\0\1\0\1" + QUESTION[8:] + record)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dns", None)
    with pytest.raises(NotSupported, match=r"pip install 'pycontainer-linux\[network\]'"):
        Naming(Site("/nonexistent")).add(Asker(id="x", networks=(), servers=()), None)  # type: ignore[arg-type]
