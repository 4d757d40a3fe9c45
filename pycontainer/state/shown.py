"""Detached containers as lists show them: from their rows and files alone, without the code that it takes to use them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from pycontainer.state.places import Places
from pycontainer.state.records import Record, Records
from pycontainer.state.runs import Run, is_paused, read_run

_RUNS = frozenset({"running", "paused"})


class Shown:
    """A container as it was when it was looked at, but for what is asked for by then."""

    def __init__(self, places: Places, record: Record) -> None:
        """Read how it is. Raises :class:`FileNotFoundError` for one that is gone."""
        self.id = record.id
        self.name = record.name
        #: Seconds since 1970.
        self.created = record.created / 1e9
        self.image = record.image
        self.labels: Mapping[str, str] = record.labels
        self.record = record
        self._places = places
        self.run, self.status = state_of(places, record.id)
        if self.status == "removed":
            raise FileNotFoundError(record.id)

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What it was made from, as it was written."""
        spec: dict[str, Any] = json.loads(self.record.spec)
        return spec

    @property
    def digest(self) -> str | None:
        """Its image's digest."""
        digest: str | None = self.spec["image"]["digest"]
        return digest

    @property
    def command(self) -> list[str]:
        """The words of its program."""
        return list(self.spec["argv"])

    @property
    def exposed(self) -> list[str]:
        """The ports that its image tells of."""
        return list(self.spec["image"]["config"]["exposed_ports"])

    @property
    def mounts(self) -> list[str]:
        """What is mounted: sources, or where they are if they have none."""
        return [str(mount.get("source") or mount["target"]) for mount, _ in self.spec["mounts"]]

    @property
    def volumes(self) -> int:
        """How many volumes are mounted."""
        return sum(mount["$"] == "VolumeMount" for mount, _ in self.spec["mounts"])

    @property
    def runs(self) -> bool:
        """Is there a program of it?"""
        return self.status in _RUNS

    @property
    def networks(self) -> list[str]:
        """The names of its networks, or ``none``, ``host``, ``container``."""
        if self.runs and self._network:
            return [place["name"] for place in self._network["places"]]
        wish = self.spec["network"]
        return [place["network"] for place in wish.get("places", ())] or [wish["mode"]]

    @property
    def ports(self) -> dict[str, list[tuple[str, int]]]:
        """Of each published port the addresses and ports of the host that lead to it, while it runs."""
        found: dict[str, list[tuple[str, int]]] = {}
        for lead in self._network.get("leads", ()) if self.runs else ():
            key = f"{lead['number']}/{lead['protocol']}"
            found.setdefault(key, []).append((lead["host"], lead["host_port"]))
        return found

    @cached_property
    def _network(self) -> dict[str, Any]:
        try:
            with open(f"{self._places.folder(self.id)}/network", "rb") as file:
                found: dict[str, Any] = json.load(file)
                return found
        except FileNotFoundError:
            return {}

    @property
    def exit_code(self) -> int | None:
        """The exit code of the last run; ``None``: none has ended, or nobody saw how."""
        return self.run.code

    @property
    def health(self) -> str | None:
        """What its health check says, if it has one."""
        return self.run.health if self.record.options["keeping"]["health"] is not None else None


def run_of(places: Places, id_: str) -> Run:
    """A container's last start; what is left of one whose monitor was killed is ended now."""
    run = read_run(places.folder(id_))
    if run.is_lost:
        from pycontainer.state.sweeping import settle

        run = settle(places, id_, run)
    return run


def state_of(places: Places, id_: str) -> tuple[Run, str]:
    """A container's last start, and ``created``, ``running``, ``paused``, ``restarting``, ``exited``, ``dead`` or ``removed``.

    What is left of one whose monitor was killed is ended now.
    """
    run = run_of(places, id_)
    if not places.exists(id_):
        return run, "removed"
    return run, "paused" if run.phase == "running" and is_paused(places, id_) else run.phase


def shown(root: str) -> list[Shown]:
    """The containers below an engine root, oldest first."""
    places = Places(root)
    records = Records(places)
    found, gone = [], []
    for record in records.all():
        try:
            found.append(Shown(places, record))
        except FileNotFoundError:
            gone.append(record.id)  # removed with its end
    records.remove(*gone)
    return found
