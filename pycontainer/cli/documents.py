"""What ``inspect`` tells, by Docker's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pycontainer.errors import ImageError

if TYPE_CHECKING:
    from pycontainer.engine.detached import DetachedContainer
    from pycontainer.image.image import Image
    from pycontainer.image.images import Images
    from pycontainer.network.network import Network
    from pycontainer.volume import Volume


def of_container(container: DetachedContainer) -> dict[str, Any]:
    """As ``docker container inspect``."""
    return dict(container.inspect())


def of_image(images: Images, image: Image) -> dict[str, Any]:
    """As ``docker image inspect``."""
    from pycontainer.image.reference import Reference

    stored = image.stored
    if stored is None:
        raise ImageError(f"{image.name} is in no store")
    names = [name for name, digest in sorted(images.store.names().items()) if digest == image.digest]
    repositories = {Reference.parse(name).name for name in names}
    repositories |= {f"{host}/{name}" for host, name in images.store.sources(image.digest)}
    usage = images.usage().get(image.digest)
    document = stored.document
    return {
        "Id": image.digest,
        "RepoTags": [Reference.parse(name).familiar for name in names],
        "RepoDigests": sorted(Reference.parse(f"{name}@{image.digest}").familiar for name in repositories),
        "Comment": document.history[-1].comment if document.history else "",
        "Created": image.created or "",
        "Author": document.author,
        "Config": image.config.to_json(),
        "Architecture": document.platform.architecture,
        "Variant": document.platform.variant,
        "Os": document.platform.os,
        "Size": image.size if usage is None else usage.size,
        "GraphDriver": {"Name": "overlay", "Data": {"LowerDir": ":".join(reversed(image.layers))}},
        "RootFS": {"Type": "layers", "Layers": list(document.diff_ids)},
        "Descriptor": {
            "mediaType": stored.manifest.media_type,
            "digest": image.digest,
            "size": len(stored.manifest.raw),
        },
    }


def of_network(network: Network) -> dict[str, Any]:
    """As ``docker network inspect``."""
    from pycontainer.cli.text import rfc3339

    told = network.inspect()
    ranges = zip(told["subnets"], told["gateways"], strict=True)
    return {
        "Name": told["name"],
        "Id": told["id"],
        "Created": rfc3339(told["created"]),
        "Scope": "local",
        "Driver": told["driver"],
        "EnableIPv6": len(told["subnets"]) > 1,
        "IPAM": {"Config": [{"Subnet": subnet, "Gateway": gateway} for subnet, gateway in ranges]},
        "Internal": told["internal"],
        "Containers": {
            each["id"]: {
                "Name": each["name"],
                "IPv4Address": each["ipv4"] or "",
                "IPv6Address": each["ipv6"] or "",
            }
            for each in told["containers"]
        },
        "Options": {"link": told["link"], **told["options"]},
        "Labels": told["labels"],
    }


def of_volume(volume: Volume) -> dict[str, Any]:
    """As ``docker volume inspect``."""
    told = volume.inspect()
    options = {} if volume.device is None else {"type": "none", "o": "bind", "device": volume.device}
    if told.size is not None:
        options["size"] = str(told.size)
    return {
        "CreatedAt": told.created,
        "Driver": told.driver,
        "Labels": dict(told.labels),
        "Mountpoint": told.mountpoint,
        "Name": told.name,
        "Options": options,
        "Scope": "local",
        "UsageData": {"RefCount": len(told.users), "Size": told.used},
        "Users": list(told.users),
    }
