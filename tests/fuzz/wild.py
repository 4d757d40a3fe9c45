"""Strategies for Python values and text of all sorts, which arguments and documents may hold."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

#: Text with what no path, name or number has: NUL, half characters, controls, digits of other scripts.
ODD = st.sampled_from(
    [
        "",
        "\0",
        "\ud800",
        "\udcff",
        "\x1b[31m",
        "\n",
        "\r",
        "\x0b",
        "\x85",
        "\u2028",
        "٣",
        "²",
        " ",
        "=",
        ":",
        ",",
        "/",
        "..",
        "é",
        "𝔘",
    ]
)
TEXT = st.one_of(st.text(max_size=12), st.lists(st.one_of(ODD, st.text(max_size=3)), max_size=6).map("".join))
LONG_DIGITS = st.integers(4301, 6000).map(lambda count: "9" * count)
INTEGERS = st.one_of(
    st.integers(-3, 3),
    st.integers(),
    st.sampled_from([2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64, 10**400]),
    # Python has no decimal text for these, unless asked for it (sys.set_int_max_str_digits).
    st.sampled_from([1, -1]).map(lambda sign: sign * 10**5000),
)
FLOATS = st.floats()
SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), INTEGERS, FLOATS, TEXT, LONG_DIGITS, st.binary(max_size=4)
)
#: What no argument wants to be.
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(SCALARS, st.just(object())),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(TEXT, INTEGERS), inner, max_size=3),
    ),
    max_leaves=6,
)


def mostly(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly what is meant, sometimes anything."""
    return st.integers(0, 11).flatmap(lambda chance: good if chance else VALUES)


def json(keys: st.SearchStrategy[str], leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Values as a JSON document has them."""
    return st.recursive(
        st.one_of(leaves, st.none(), st.booleans(), INTEGERS, FLOATS, TEXT),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(st.one_of(keys, TEXT), inner, max_size=5)
        ),
        max_leaves=12,
    )
