"""What our resolver knows by itself: names and addresses of the containers on a network, from the engine's record."""

from __future__ import annotations

import json
import os
import random
import sqlite3
from collections.abc import Sequence
from urllib.parse import quote

from pycontainer.network import dns
from pycontainer.network.address import Address
from pycontainer.network.owner import is_alive


class Directory:
    """Reads the record anew for each question: what was said once may be wrong by now."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._root = os.path.dirname(path)
        self._connection: sqlite3.Connection | None = None

    def answer(self, question: dns.Question, networks: Sequence[str]) -> bytes | None:
        """The answer for one who is on these networks; ``None``: others may know."""
        about = dns.reversed_address(question.name)
        if about is not None:
            return self._name_of(question, about, networks)
        found = self._addresses(question.name, networks)
        if not found:
            return None
        random.shuffle(found)
        return question.addresses(found)

    def _rows(self, networks: Sequence[str]) -> list[tuple[str, str, str | None, str | None, str, str]]:
        if self._connection is None:
            self._connection = sqlite3.connect(f"file:{quote(self._path)}?mode=ro", uri=True, timeout=5)
        marks = ",".join("?" * len(networks))
        return self._connection.execute(
            "SELECT e.name, e.names, e.address4, e.address6, n.name, e.owner FROM endpoints e JOIN networks n ON n.id = e.network"
            f" WHERE e.network IN ({marks})",
            list(networks),
        ).fetchall()

    def _addresses(self, name: str, networks: Sequence[str]) -> list[str]:
        found: list[str] = []
        for _, names, address4, address6, network, owner in self._rows(networks):
            known = [each.lower() for each in json.loads(names)]
            is_meant = name in known or name in {f"{each}.{network.lower()}" for each in known}
            # The row of one that nobody has swept yet is there still.
            if is_meant and is_alive(self._root, owner):
                found += [each for each in (address4, address6) if each]
        return list(dict.fromkeys(found))

    def _name_of(self, question: dns.Question, about: Address, networks: Sequence[str]) -> bytes | None:
        for name, _, address4, address6, network, _ in self._rows(networks):
            if str(about) in (address4, address6):
                return question.pointer(f"{name}.{network}")
        if about.is_private:
            # Nobody outside can know it, and what is asked for is nobody's business there.
            return question.answer(dns.NO_NAME)
        return None
