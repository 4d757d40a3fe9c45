"""What the floor and the peers need so that their containers are like the library's.

The filter's bytes, the masks and the capabilities are the library's own; the lowest layers are built
by it, too, and the host ids are claimed from it.  All is gone when the context is left.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator

import attrs

from pycontainer.container.security import Security
from pycontainer.container.spec import DEFAULT_PATH
from pycontainer.image.host import build_host_skeleton
from pycontainer.kernel import capabilities, seccomp
from pycontainer.kernel.idmap import BLOCK, claim_block


@attrs.frozen
class Identity:
    """A block of host ids that nobody else uses, and the lowest layer, which belongs to its first one."""

    base: int
    skeleton: str

    @property
    def count(self) -> int:
        return BLOCK


@attrs.frozen(kw_only=True)
class Material:
    """Folders, files and numbers for others to make the same container with."""

    folder: str
    seccomp: str
    security: Security
    identities: tuple[Identity, ...]
    host_skeleton: str

    @property
    def capability_mask(self) -> int:
        return capabilities.mask(self.security.capabilities)

    @property
    def environment(self) -> list[str]:
        return ["HOSTNAME=floor", "HOME=/root", f"PATH={DEFAULT_PATH}"]

    @property
    def programs(self) -> list[str]:
        """Where execvp(3) would look for ``true``."""
        return [f"{folder}/true" for folder in DEFAULT_PATH.split(":")]


@contextlib.contextmanager
def material(identities: int = 1) -> Iterator[Material]:
    """Make it, and remove it at the end."""
    security = Security.default()
    assert security.seccomp is not None  # noqa: S101  the default has one
    with contextlib.ExitStack() as stack:
        folder = tempfile.mkdtemp(prefix="pycontainer-bench-")
        stack.callback(shutil.rmtree, folder)
        os.chmod(folder, 0o755)
        program = f"{folder}/seccomp.bpf"
        with open(program, "wb") as file:
            file.write(seccomp.compile(security.seccomp, security.capabilities))
        blocks = []
        for _ in range(identities):
            claim = claim_block()
            stack.callback(claim.release)
            blocks.append(Identity(claim.base, _skeleton(folder, claim.base)))
        yield Material(
            folder=folder,
            seccomp=program,
            security=security,
            identities=tuple(blocks),
            host_skeleton=_skeleton(folder, 0),
        )


def _skeleton(folder: str, owner: int) -> str:
    path = f"{folder}/skeleton-{owner:#x}"
    os.mkdir(path, 0o755)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        build_host_skeleton(fd, owner, owner)
    finally:
        os.close(fd)
    return path
