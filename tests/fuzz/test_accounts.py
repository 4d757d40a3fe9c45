"""An image's /etc/passwd and /etc/group, which say what they like."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from pycontainer.errors import ImageError, InvalidArgument, KernelError
from pycontainer.image.accounts import identify
from tests.fuzz import wild
from tests.fuzz.guard import guarded, scratch

NAMES = st.one_of(
    st.sampled_from(["root", "web", "staff", "0", "1000", "", "4294967294", "4294967295", "٣", "-1"]),
    wild.TEXT,
)
NUMBERS = st.one_of(
    st.sampled_from(
        ["0", "1000", "65534", "4294967294", "4294967295", "-1", "+1", "1_0", " 1", "٣", "", "0x1", "010"]
    ),
    wild.TEXT,
    wild.LONG_DIGITS,
)
PASSWD = st.lists(
    st.builds(
        "{}:{}:{}:{}:{}:{}".format,
        NAMES,
        wild.TEXT,
        NUMBERS,
        NUMBERS,
        wild.TEXT,
        st.one_of(st.sampled_from(["/root", "", "home"]), wild.TEXT),
    ),
    max_size=4,
).map("\n".join)
GROUP = st.lists(
    st.builds("{}:x:{}:{}".format, NAMES, NUMBERS, st.lists(NAMES, max_size=3).map(",".join)), max_size=4
).map("\n".join)
USERS = st.one_of(NAMES, st.builds("{}:{}".format, NAMES, NAMES))


def _bytes(lines: st.SearchStrategy[str]) -> st.SearchStrategy[bytes]:
    return st.one_of(lines.map(lambda text: text.encode(errors="surrogatepass")), st.binary(max_size=60))


@given(
    user=USERS,
    passwd=_bytes(PASSWD),
    group=_bytes(GROUP),
    place=st.sampled_from(["file", "link out", "fifo", "two layers"]),
)
def test_accounts(user: str, passwd: bytes, group: bytes, place: str) -> None:
    with scratch() as (root, outside):
        (root / "etc").mkdir()
        (root / "lower").mkdir()
        layers = [str(root)]
        if place == "link out":
            (outside.place / "passwd").write_bytes(b"web:x:7:7::/:")
            (root / "etc/passwd").symlink_to("../../outside/passwd")
        elif place == "fifo":
            os.mkfifo(root / "etc/passwd")
        else:
            (root / "etc/passwd").write_bytes(passwd)
        if place == "two layers":
            layers.insert(0, str(root / "lower"))
        (root / "etc/group").write_bytes(group)
        with guarded(InvalidArgument, ImageError, KernelError):
            found = identify(user, layers)
            assert 0 <= found.uid < (1 << 32) - 1
            assert 0 <= found.gid < (1 << 32) - 1
            assert all(0 <= number < (1 << 32) - 1 for number in found.groups)
            assert found.home.startswith("/")
            assert "\0" not in found.home + found.name
            assert (place, found.uid) != ("link out", 7) or user.split(":", maxsplit=1)[0] == "7"
        (outside.place / "passwd").unlink(missing_ok=True)
        os.utime(outside.place, ns=(0, outside.modified))
