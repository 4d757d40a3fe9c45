"""Named data that outlives containers."""

from __future__ import annotations

from pycontainer.volume.archive import Archived
from pycontainer.volume.record import check_name
from pycontainer.volume.volume import Volume, VolumeInfo
from pycontainer.volume.volumes import Held, Volumes, volumes_at

__all__ = ["Archived", "Held", "Volume", "VolumeInfo", "Volumes", "check_name", "volumes_at"]
