"""Pushing an image: what the registry does not have yet, the manifest last."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import IO, TYPE_CHECKING

from pycontainer.image.descriptor import Descriptor
from pycontainer.image.manifest import Manifest
from pycontainer.image.progress import Teller
from pycontainer.image.store import Store

if TYPE_CHECKING:
    from pycontainer.image.registry import Registry

#: How many blobs are sent at once.
_AT_ONCE = 3


def push(
    registry: Registry, store: Store, repository: str, tag: str, manifest: Manifest, *, tell: Teller
) -> str:
    """Send a manifest and all it names; the manifest's digest.

    A blob that the registry has in another repository from where it came is mounted from there
    (distribution-spec, "Mounting a blob from another repository").  Raises :class:`RegistryError`.
    """
    blobs = {blob.digest: blob for blob in (*manifest.layers, manifest.config)}

    def send(blob: Descriptor) -> None:
        def open_at(offset: int) -> IO[bytes]:
            with store.open_blob(blob.digest) as fd:
                file = open(fd.detach(), "rb")  # noqa: SIM115  (the registry closes it)
            file.seek(offset)
            return file

        known = [
            each for host, each in store.sources(blob.digest) if host == registry.host and each != repository
        ]
        how = registry.push_blob(
            repository,
            blob,
            open_at,
            mount_from=known[0] if known else None,
            progress=lambda done: tell("upload", blob.digest, done, blob.size),
        )
        tell("done" if how == "uploaded" else "there", blob.digest, blob.size, blob.size)

    with ThreadPoolExecutor(_AT_ONCE, "pycontainer-push") as pool:
        try:
            for _ in pool.map(send, blobs.values()):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return registry.push_manifest(repository, tag, manifest.raw, manifest.media_type)
