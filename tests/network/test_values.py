"""What is said of networks, checked before anything happens; no root, no kernel."""

from __future__ import annotations

import contextlib
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontainer.errors import InvalidArgument
from pycontainer.network import dns, pool
from pycontainer.network.bandwidth import Bandwidth
from pycontainer.network.egress import matches, parse_egress
from pycontainer.network.networks import check_name
from pycontainer.network.parse import parse
from pycontainer.network.ports import Port, parse_ports


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


@given(st.binary(max_size=300))
def test_no_answer_breaks_it_either(data: bytes) -> None:
    with contextlib.suppress(dns.Malformed):
        dns.addresses(b"\0\1\x81\x80\0\1\0\3\0\0\0\0\3abc\0\0\1\0\1" + data)


def test_a_question_and_its_answer() -> None:
    data = b"\x12\x34\1\0\0\1\0\0\0\0\0\0\3API\7example\0\0\1\0\1"
    question = dns.Question(data)
    assert (question.name, question.kind, question.identity) == ("api.example", dns.A, 0x1234)
    answer = question.answer(dns.NO_ERROR, [dns.record("192.0.2.1")])
    assert dns.addresses(answer) == [(ipaddress.ip_address("192.0.2.1"), 0)]
    assert question.fits(answer, 0x1234)
    assert not question.fits(answer, 0x1235)
    assert dns.reversed_address("1.2.0.192.in-addr.arpa") == "192.0.2.1"
    assert dns.reversed_address("x.2.0.192.in-addr.arpa") is None
