"""What one container may reach through an egress network, for the resolver: which names, and how they are opened."""

from __future__ import annotations


class Permit:
    """Placeholder until egress networks exist."""

    def __init__(self, told: dict[str, object]) -> None:
        self._told = told

    def allows(self, name: str) -> bool:
        """May this name be asked for?"""
        raise NotImplementedError

    def open(self, name: str, answer: bytes) -> bool:
        """Open the addresses of an answer."""
        raise NotImplementedError
