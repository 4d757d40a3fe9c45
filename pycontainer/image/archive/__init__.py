"""Archives of images: OCI layouts, as directories and in tar archives, and what ``docker save`` writes; both ways."""

from __future__ import annotations

from pycontainer.image.archive.reader import load, load_one
from pycontainer.image.archive.writer import save

__all__ = ["load", "load_one", "save"]
