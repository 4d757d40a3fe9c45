"""The hostile program that containers are tried with."""

from __future__ import annotations

from tests.support.fixtures import probe

__all__ = ["probe"]
