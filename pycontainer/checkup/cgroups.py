"""Probes of control groups."""

from __future__ import annotations

from pycontainer.checkup.feature import Probes

PROBES = Probes()
