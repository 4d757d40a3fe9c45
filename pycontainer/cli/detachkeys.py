"""The keys that leave a container to itself."""

from __future__ import annotations

from pycontainer.errors import InvalidArgument

DEFAULT = "ctrl-p,ctrl-q"
_SIGNS = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


class DetachKeys:
    """Finds the keys in what is typed; what may be the beginning of them is held back until it is none."""

    def __init__(self, text: str) -> None:
        """``text`` is in Docker's notation: letters, and ``ctrl-`` before one. Raises :class:`InvalidArgument`."""
        self._keys = bytes(_key(text, part) for part in text.split(",")) if text else b""
        self._held = b""

    def feed(self, typed: bytes) -> tuple[bytes, bool]:
        """What goes to the program, and whether the keys were typed."""
        if not self._keys:
            return typed, False
        passed = bytearray()
        for sign in typed:
            self._held += bytes([sign])
            while self._held and not self._keys.startswith(self._held):
                passed.append(self._held[0])
                self._held = self._held[1:]
            if self._held == self._keys:
                return bytes(passed), True
        return bytes(passed), False


def _key(text: str, part: str) -> int:
    letter = part.removeprefix("ctrl-").lower()
    if len(part) == 1 and part.isascii():
        return ord(part)
    if part.startswith("ctrl-") and len(letter) == 1:
        if "a" <= letter <= "z":
            return ord(letter) - ord("a") + 1
        if letter in _SIGNS:
            return _SIGNS[letter]
    raise InvalidArgument("detach-keys", text, f"keys such as {DEFAULT} are needed")
