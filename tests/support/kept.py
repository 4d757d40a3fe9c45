"""What takes long to make, kept between sessions below /var/tmp by a name made from its recipe."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path


def kept(kind: str, recipe: Sequence[object], made: str, make: Callable[[Path], None]) -> Path:
    """The directory; where it is not there yet, ``make`` puts it at ``made`` in the empty directory it gets."""
    name = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:12]
    place = Path("/var/tmp", f"pycontainer-{kind}-{name}")
    if not place.exists():
        work = Path(tempfile.mkdtemp(prefix=f"pycontainer-{kind}-", dir="/var/tmp"))
        try:
            make(work)
            os.rename(work / made, place)
        finally:
            shutil.rmtree(work)
    return place
