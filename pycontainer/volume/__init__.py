"""Named data that outlives containers."""

from __future__ import annotations

from pycontainer.volume.record import check_name
from pycontainer.volume.volume import Archived, Volume
from pycontainer.volume.volumes import Held, Volumes, volumes_at

__all__ = ["Archived", "Held", "Volume", "Volumes", "check_name", "volumes_at"]
