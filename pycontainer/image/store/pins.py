"""Pins: images that something needs which outlives processes, such as a container that does not run now.

A pin is a file that names a path below the engine root, and holds for as long as there is something at that path::

    <root>/images/pins/<hex>.<random>
"""

from __future__ import annotations

import contextlib
import os

from pycontainer.image.digest import check_digest
from pycontainer.image.store.places import PINS, Places
from pycontainer.kernel.fd import Fd, write_all
from pycontainer.kernel.rooted import named

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_LONGEST = 4096


def pin(places: Places, digest: str, path: str) -> None:
    """Have an image stay for as long as there is something at ``path``, below the root; the caller holds it meanwhile."""
    name = f"{PINS}/{check_digest(digest, 'the image')[7:]}.{os.urandom(8).hex()}"
    with named(f"pin the image {digest}"), Fd(os.open(name, _NEW, 0o600, dir_fd=places.fd)) as file:
        write_all(file.fileno(), path.encode())


def pinned(places: Places, digest: str) -> list[str]:
    """The paths that an image is pinned by; pins of what is gone are removed."""
    begin = check_digest(digest, "the image")[7:] + "."
    found = []
    for name in places.list(PINS):
        if not name.startswith(begin):
            continue
        with contextlib.suppress(FileNotFoundError):
            with Fd(os.open(f"{PINS}/{name}", _READ, dir_fd=places.fd)) as file:
                path = os.read(file.fileno(), _LONGEST).decode(errors="surrogateescape")
            if path and os.path.lexists(f"{places.root}/{path}"):
                found.append(path)
            else:
                os.unlink(f"{PINS}/{name}", dir_fd=places.fd)
    return found
