"""Registries: images from and to servers of the OCI distribution specification 1.1.

From top to bottom: ``client`` is what callers use; ``manifests``, ``blobstream``, ``upload`` and ``listing``
are what it does; ``endpoint`` sends requests authenticated and again (``authentication``, ``credentials``,
``patience``); ``wire`` follows redirects within bounds; ``transport`` is the one home of urllib3.
"""

from __future__ import annotations

from pycontainer.image.registry.blobstream import BlobStream
from pycontainer.image.registry.client import Registry
from pycontainer.image.registry.credentials import Credential
from pycontainer.image.registry.patience import Patience

__all__ = ["BlobStream", "Credential", "Patience", "Registry"]
