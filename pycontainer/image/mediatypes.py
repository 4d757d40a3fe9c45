"""Media types of manifests, indexes, configurations and layers: the OCI's (media-types.md) and Docker's."""

from __future__ import annotations

from pycontainer.errors import ImageError, shown

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"

MANIFESTS = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEXES = frozenset({OCI_INDEX, DOCKER_INDEX})
#: Docker's first format: a signed list of JSON in JSON, with no digest of what is in it.
SCHEMA_1 = frozenset({
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
})  # fmt: skip
#: What says that something is the configuration of an image; the last three are what registries and Docker 1.10
#: made of it, and Docker takes them still.
CONFIGS = frozenset({OCI_CONFIG, DOCKER_CONFIG, "application/octet-stream", "application/json", "text/html"})

_LAYERS = {
    OCI_LAYER: "none",
    f"{OCI_LAYER}+gzip": "gzip",
    f"{OCI_LAYER}+zstd": "zstd",
    # Layers that were not to be pushed, such as those of Windows; no longer recommended.
    "application/vnd.oci.image.layer.nondistributable.v1.tar": "none",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip": "gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd": "zstd",
    DOCKER_LAYER: "none",
    f"{DOCKER_LAYER}.gzip": "gzip",
    f"{DOCKER_LAYER}.zstd": "zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar": "none",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip": "gzip",
}


def layer_compression(media_type: str) -> str | None:
    """How a layer of this type is compressed: ``gzip``, ``zstd`` or ``none``; ``None`` for what is no layer.

    Raises :class:`ImageError` for one that is encrypted.

    >>> layer_compression("application/vnd.docker.image.rootfs.diff.tar.gzip")
    'gzip'
    """
    if media_type.endswith("+encrypted"):
        raise ImageError(f"a layer is encrypted ({shown(media_type)}), and there is no key for it")
    return _LAYERS.get(media_type)
