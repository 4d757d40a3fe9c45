"""The store of images: blobs by digest, unpacked layers, and names; see :class:`Store`."""

from __future__ import annotations

from pycontainer.image.store.catalogue import Noted
from pycontainer.image.store.collect import Collected
from pycontainer.image.store.holds import Hold
from pycontainer.image.store.layers import LayerWriter
from pycontainer.image.store.leases import Lease
from pycontainer.image.store.store import Store
from pycontainer.image.store.usage import Usage
from pycontainer.image.store.verify import Report
from pycontainer.image.store.writer import BlobWriter

__all__ = ["BlobWriter", "Collected", "Hold", "LayerWriter", "Lease", "Noted", "Report", "Store", "Usage"]
