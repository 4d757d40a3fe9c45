"""A registry on the loopback with the layers in it, for all who pull."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from benchmarks.benchmark import BenchmarkError
from benchmarks.layers import Packed
from pycontainer.image.descriptor import Descriptor
from pycontainer.image.registry import Registry
from tests.support.registry import NoRegistry, RealRegistry

REPOSITORY = "bench/layers"


@contextmanager
def serving(folder: str, images: dict[str, Packed]) -> Iterator[str]:
    """A docker-registry with files below ``folder`` that has ``images`` as tags of a repository; its host and port."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(RealRegistry(directory=Path(folder, "registry")))
        except NoRegistry as error:
            raise BenchmarkError(str(error)) from None
        with Registry(server.host, auth=_nobody) as registry:
            for tag, image in images.items():
                _push(registry, tag, image)
        yield server.host


def _nobody(host: str) -> None:  # noqa: ARG001  asked for each host
    return None


def _push(registry: Registry, tag: str, image: Packed) -> None:
    for blob in (*image.manifest.layers, image.manifest.config):

        def open_at(offset: int, blob: Descriptor = blob) -> IO[bytes]:
            file = open(image.files[blob.digest], "rb")  # noqa: SIM115  closed by who has asked
            file.seek(offset)
            return file

        registry.push_blob(REPOSITORY, blob, open_at)
    registry.push_manifest(REPOSITORY, tag, image.manifest.raw, image.manifest.media_type)
