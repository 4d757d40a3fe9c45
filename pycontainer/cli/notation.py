"""Values of options in Docker's notation, as the library takes them. All raise :class:`InvalidArgument`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pycontainer.errors import InvalidArgument

_LARGEST_FILE = 1 << 20


def whole(option: str) -> Callable[[str], int]:
    """A reader of whole numbers."""

    def read(text: str) -> int:
        try:
            return int(text)
        except ValueError:
            raise InvalidArgument(option, text, "a whole number is needed") from None

    return read


def decimal(option: str) -> Callable[[str], float]:
    """A reader of numbers."""

    def read(text: str) -> float:
        try:
            return float(text)
        except ValueError:
            raise InvalidArgument(option, text, "a number is needed, such as 1.5") from None

    return read


def pairs(option: str) -> Callable[[Sequence[str]], dict[str, str]]:
    """A reader of ``name=value``."""

    def read(texts: Sequence[str]) -> dict[str, str]:
        found = {}
        for text in texts:
            name, equals, value = text.partition("=")
            if not name or not equals:
                raise InvalidArgument(option, text, "name=value is needed")
            found[name] = value
        return found

    return read


def memory(text: str) -> int | str | None:
    """Bytes; -1 as the number that it is, and 0 is no limit, as in Docker."""
    return {"-1": -1, "0": None}.get(text.strip(), text)


def processors_of(text: str) -> float | None:
    """How many processors; 0 is no limit, as in Docker."""
    return decimal("cpus")(text) or None


def pids(text: str) -> int | str:
    """How many processes; 0 and -1 are any number, as in Docker."""
    number = whole("pids-limit")(text)
    return "max" if number in {0, -1} else number


def cpu_weight(text: str) -> int | None:
    """Docker's shares, from 2 to 262144, as the kernel's weight, as runc converts them; 0 is the usual weight."""
    shares = whole("cpu-shares")(text)
    if shares == 0:
        return None
    if not 2 <= shares <= 262144:
        raise InvalidArgument("cpu-shares", text, "2 to 262144 is needed")
    return 1 + (shares - 2) * 9999 // 262142


def io_weight(text: str) -> int | None:
    """Docker's weight, from 10 to 1000, as the kernel's, as runc converts it; 0 is the usual weight."""
    weight = whole("blkio-weight")(text)
    if weight == 0:
        return None
    if not 10 <= weight <= 1000:
        raise InvalidArgument("blkio-weight", text, "10 to 1000 is needed")
    return 1 + (weight - 10) * 9999 // 990


def processors(period: str | None, quota: str | None, cpus: float | None) -> dict[str, Any]:
    """``--cpu-quota`` in a ``--cpu-period``, as a number of processors."""
    if quota is None:
        if period is not None:
            raise InvalidArgument("cpu-period", period, "it needs --cpu-quota; --cpus says both in one")
        return {}
    if cpus is not None:
        raise InvalidArgument("cpu-quota", quota, "give either --cpus, or --cpu-period and --cpu-quota")
    length = whole("cpu-period")(period or "100000")
    time = whole("cpu-quota")(quota)
    if length <= 0 or time == 0:
        raise InvalidArgument("cpu-quota", quota, "microseconds, more than 0, are needed")
    return {} if time < 0 else {"cpus": time / length}


def rates(given: Mapping[str, Sequence[str]]) -> dict[str, dict[str, str]]:
    """Rates of disks: ``/dev/sda:1mb``, by the kernel's name for the rate."""
    found: dict[str, dict[str, str]] = {}
    for kind, texts in given.items():
        for text in texts:
            path, colon, rate = text.rpartition(":")
            if not colon or not path.startswith("/"):
                raise InvalidArgument("device-read-bps", text, "/path:rate is needed")
            found.setdefault(path, {})[kind] = rate
    return found


def entrypoint(text: str) -> list[str]:
    """One word, as in Docker; an empty one is none."""
    return [text] if text else []


def userns(text: str) -> str:
    """The modes of the library."""
    if text not in {"auto", "host", "keep-id"}:
        raise InvalidArgument("userns", text, "'auto', 'keep-id' or 'host' is needed")
    return text


def storage(texts: Sequence[str]) -> str:
    """``size=10G``, all that there is."""
    for text in texts:
        name, _, value = text.partition("=")
        if name != "size" or not value:
            raise InvalidArgument("storage-opt", text, "size=10G is all there is")
    return texts[-1].partition("=")[2]


def ulimits(texts: Sequence[str]) -> dict[str, int | tuple[int, int]]:
    """``name=soft[:hard]``, -1 for unlimited."""
    found: dict[str, int | tuple[int, int]] = {}
    for text in texts:
        name, _, value = text.partition("=")
        soft, _, hard = value.partition(":")
        try:
            least, most = int(soft), int(hard or soft)
        except ValueError:
            raise InvalidArgument(
                "ulimit", text, "name=soft[:hard] is needed, such as nofile=1024:2048"
            ) from None
        if most != -1 and not -1 < least <= most:
            raise InvalidArgument("ulimit", text, "the soft limit is at most the hard one")
        found[name] = least, most
    return found


# -- environment and labels ----------------------------------------------------------------


def environment(texts: Sequence[str], files: Sequence[str]) -> dict[str, Any]:
    """``env``: what the files say, then what the options say; a name alone has the caller's value, if it has one."""
    found: dict[str, str] = {}
    for path in files:
        for number, line in enumerate(_lines("env-file", path), 1):
            text = line.lstrip()
            if text and not text.startswith("#"):
                name = text.partition("=")[0]
                if not name or any(sign.isspace() for sign in name):
                    raise InvalidArgument("env-file", path, f"line {number} is no name=value: {text!r}")
                _set(found, text)
    for text in texts:
        if not text.partition("=")[0]:
            raise InvalidArgument("env", text, "name=value is needed, or a name")
        _set(found, text)
    return {"env": found} if found else {}


def _set(found: dict[str, str], text: str) -> None:
    name, equals, value = text.partition("=")
    if equals:
        found[name] = value
    elif name in os.environ:
        found[name] = os.environ[name]
    else:
        found.pop(name, None)


def labels(texts: Sequence[str], files: Sequence[str]) -> dict[str, Any]:
    """``labels``: a name alone has an empty value."""
    found: dict[str, str] = {}
    lines = [line.strip() for path in files for line in _lines("label-file", path)]
    for text in [*(line for line in lines if line and not line.startswith("#")), *texts]:
        name, _, value = text.partition("=")
        if not name:
            raise InvalidArgument("label", text, "name=value is needed, or a name")
        found[name] = value
    return {"labels": found} if found else {}


def _lines(option: str, path: str) -> list[str]:
    with open(path, "rb") as file:
        content = file.read(_LARGEST_FILE + 1)
    if len(content) > _LARGEST_FILE:
        raise InvalidArgument(option, path, "a file of at most 1 MiB is needed")
    try:
        return content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InvalidArgument(option, path, "a text file in UTF-8 is needed") from None
