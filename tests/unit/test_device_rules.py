"""Device rules: what they read, and that their program decides as the rules say."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontainer.errors import InvalidArgument, NotSupported
from pycontainer.kernel.cgroup import devices
from pycontainer.kernel.cgroup.device_program import assemble
from pycontainer.kernel.cgroup.devices import DEFAULT, DeviceRule
from tests.unit import ebpf_machine

BLOCK, CHARACTER = 1, 2
MKNOD, READ, WRITE = 1, 2, 4
LETTERS = {MKNOD: "m", READ: "r", WRITE: "w"}


def rule(text: str, *, allow: bool = True) -> DeviceRule:
    return DeviceRule.parse("devices", text, allow=allow)


def deny(text: str) -> DeviceRule:
    return rule(text, allow=False)


def decide(rules: list[DeviceRule], kind: int, major: int, minor: int, access: int) -> bool:
    """What the program says; the context is struct bpf_cgroup_dev_ctx."""
    code = ebpf_machine.check(assemble(rules))
    return bool(ebpf_machine.run(code, struct.pack("<III", access << 16 | kind, major, minor)))


def expected(rules: list[DeviceRule], kind: int, major: int, minor: int, access: int) -> bool:
    """What the documentation says: for each kind of access the last rule that fits decides."""

    def one(letter: str) -> bool:
        fits = [
            each.allow
            for each in rules
            if each.kind in ("a", "b" if kind == BLOCK else "c")
            and each.major in (None, major)
            and each.minor in (None, minor)
            and letter in each.access
        ]
        return fits[-1] if fits else False

    return all(one(letter) for bit, letter in LETTERS.items() if access & bit)


class TestText:
    @pytest.mark.parametrize(
        ("text", "kind", "major", "minor", "access"),
        [
            ("c 1:3 rwm", "c", 1, 3, "rwm"),
            ("b 8:* r", "b", 8, None, "r"),
            ("c *:* m", "c", None, None, "m"),
            ("a", "a", None, None, "rwm"),
            ("a *:* rw", "a", None, None, "rw"),
            ("c 1:3", "c", 1, 3, "rwm"),
            (" c  136:0 w ", "c", 136, 0, "w"),
        ],
    )
    def test_of_a_rule(self, text: str, kind: str, major: int | None, minor: int | None, access: str) -> None:
        assert rule(text) == DeviceRule(kind=kind, major=major, minor=minor, access=access)

    @pytest.mark.parametrize(
        "text",
        ["", "c", "c 1", "x 1:3 r", "c 1:3 rwx", "c 1:3 rr", "c -1:3 r", "c 1:3 r w", "c 4096:0 r", "c 1:1048576", 7, None],
    )  # fmt: skip
    def test_that_is_none_is_refused_by_name(self, text: object) -> None:
        with pytest.raises(InvalidArgument, match=r"^devices="):
            DeviceRule.parse("devices", text)

    @pytest.mark.parametrize("text", ["c 1:3 rwm", "b 8:* r", "a *:* rwm"])
    def test_of_a_rule_is_what_was_read(self, text: str) -> None:
        assert str(rule(text)) == text


class TestProgram:
    def test_without_rules_refuses_everything(self) -> None:
        assert not decide([], CHARACTER, 1, 3, READ)

    def test_of_docker_allows_null_and_makes_nodes(self) -> None:
        rules = list(DEFAULT)
        assert decide(rules, CHARACTER, 1, 3, READ | WRITE)
        assert decide(rules, BLOCK, 8, 0, MKNOD)
        assert not decide(rules, BLOCK, 8, 0, READ)
        assert not decide(rules, CHARACTER, 10, 229, READ)

    def test_wants_every_kind_of_access_that_is_asked_for(self) -> None:
        assert not decide([rule("c 1:3 r")], CHARACTER, 1, 3, READ | WRITE)
        assert decide([rule("c 1:* r"), rule("c 1:3 w")], CHARACTER, 1, 3, READ | WRITE)

    def test_of_all_but_one(self) -> None:
        rules = [rule("a"), deny("c 1:8 r")]
        assert decide(rules, BLOCK, 8, 0, READ | WRITE | MKNOD)
        assert decide(rules, CHARACTER, 1, 8, WRITE)
        assert not decide(rules, CHARACTER, 1, 8, READ | WRITE)

    RULES = st.builds(
        DeviceRule,
        kind=st.sampled_from("abc"),
        major=st.sampled_from([None, 1, 4095]),
        minor=st.sampled_from([None, 0, 3, (1 << 20) - 1]),
        access=st.sampled_from(["r", "w", "m", "rw", "wm", "rm", "rwm"]),
        allow=st.booleans(),
    )

    @given(st.lists(RULES, max_size=8))
    def test_decides_as_the_rules_say(self, rules: list[DeviceRule]) -> None:
        asked = itertools.product((BLOCK, CHARACTER), (1, 2, 4095), (0, 3, (1 << 20) - 1), range(1, 8))
        assert [case for case in asked if decide(rules, *case) != expected(rules, *case)] == []


class TestVersion1:
    """Its form of the same rules; the kernel's part is in tests/kernel/test_devices.py."""

    def test_of_a_list_of_what_is_allowed(self) -> None:
        assert devices._as_lists([rule("c 1:3 rw"), rule("c 1:3 m"), rule("a 7:* r")]) == (
            False,
            {"c 1:3": "rwm", "b 7:*": "r", "c 7:*": "r"},
        )

    def test_of_a_special_rule_has_what_the_general_one_allows(self) -> None:
        assert devices._as_lists([rule("c 1:* r"), rule("c 1:3 w")])[1]["c 1:3"] == "rw"

    def test_of_all_but_some(self) -> None:
        assert devices._as_lists([rule("c 1:3"), rule("a"), deny("c 1:8 r")]) == (True, {"c 1:8": "r"})

    @pytest.mark.parametrize(
        "rules", [[rule("c 1:* r"), deny("c 1:3 r")], [rule("a"), deny("c 1:* r"), rule("c 1:3 r")]]
    )
    def test_that_it_cannot_express_are_refused(self, rules: list[DeviceRule]) -> None:
        with pytest.raises(NotSupported, match="version 1"):
            devices._as_lists(rules)
