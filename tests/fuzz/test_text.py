"""What a program writes: decoded in pieces as in whole, and shown to people without its control characters."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from pycontainer.container.result import Result, Usage
from pycontainer.container.text import Text
from pycontainer.errors import ContainerFailed, InvalidArgument
from tests.fuzz import wild
from tests.fuzz.guard import guarded

ENCODINGS = st.one_of(
    st.sampled_from(["utf-8", "utf-16", "utf-32-le", "utf-7", "shift_jis", "gb18030", "latin-1", "cp437", "big5", "euc_jp", "iso2022_jp", "utf-8-sig", "punycode", "idna", "hex", "rot13", "undefined", "unicode_escape"]),
    wild.TEXT,
)  # fmt: skip
HANDLERS = st.one_of(
    st.sampled_from(
        [
            "strict",
            "ignore",
            "replace",
            "backslashreplace",
            "surrogateescape",
            "surrogatepass",
            "xmlcharrefreplace",
            "namereplace",
        ]
    ),
    wild.TEXT,
)
OUTPUT = st.one_of(
    st.binary(max_size=60),
    st.lists(
        st.sampled_from(
            [b"\r", b"\n", b"\xf0", b"\x9f\x98\x80", b"\xff", b"\x1b[2J", b"+AGE-", b"\x00", b"a"]
        ),
        max_size=20,
    ).map(b"".join),
    st.text().map(lambda text: text.encode(errors="surrogatepass")),
)


@given(encoding=ENCODINGS, errors=HANDLERS, data=OUTPUT, cut=st.booleans())
@example(encoding="hex", errors="strict", data=b"x", cut=False)
@example(encoding="utf-8", errors="xmlcharrefreplace", data=b"\xff", cut=False)
@example(encoding="\0", errors="strict", data=b"", cut=False)
@example(encoding="utf-8", errors="\ud800", data=b"", cut=False)
def test_any_mode_decodes_or_says_that_it_is_no_text(
    encoding: str, errors: str, data: bytes, cut: bool
) -> None:
    with guarded(InvalidArgument, UnicodeError):
        mode = Text.choose(True, encoding, errors)
        assert mode is not None
        assert "\r" not in mode.decode(data, cut=cut) or mode.encoding not in {"utf-8", "latin-1", "cp437"}


@given(
    errors=st.sampled_from(["replace", "ignore", "backslashreplace", "surrogateescape"]),
    # Not those that Python itself decodes otherwise in pieces, such as gb18030.
    encoding=st.sampled_from(["utf-8", "utf-16-le", "utf-32-be", "latin-1", "cp437"]),
    pieces=st.lists(OUTPUT, max_size=6),
)
def test_pieces_give_what_the_whole_gives(errors: str, encoding: str, pieces: list[bytes]) -> None:
    mode = Text(encoding, errors)
    with guarded(UnicodeDecodeError):  # half a unit of UTF-16 cannot be escaped
        decoder = mode.decoder()
        found = "".join(decoder.decode(piece) for piece in pieces) + decoder.decode(b"", final=True)
        assert found == mode.decode(b"".join(pieces))


@given(
    args=st.lists(wild.TEXT, max_size=3),
    output=st.one_of(OUTPUT, OUTPUT.map(lambda data: data * 300), wild.TEXT),
    code=st.integers(0, 255),
    signal=st.one_of(st.none(), st.integers(1, 64)),
    name=st.one_of(st.none(), wild.TEXT),
)
def test_a_failure_is_described_in_printable_text(
    args: list[str], output: Any, code: int, signal: int | None, name: str | None
) -> None:
    with guarded():
        empty = "" if isinstance(output, str) else b""
        result: Result[Any] = Result(
            args=tuple(args), exit_code=code, signal=signal, stdout=empty, stderr=output, container_name="box" if name else None,
            usage=Usage(wall=1.0, cpu_user=0.0, cpu_system=0.0),
        )  # fmt: skip
        text = str(ContainerFailed(result))
        assert all(char.isprintable() or char in "\n\t" for char in text)
        assert len(text) < 30000
        text.encode()
        assert repr(result)
