"""What a user may mount into a container, as frozen values."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import attrs

from pycontainer.container.arguments import flag, several, text
from pycontainer.errors import InvalidArgument
from pycontainer.kernel.native import lib
from pycontainer.size import parse_size

if TYPE_CHECKING:
    from pycontainer.image.image import Image

#: Docker's names for the propagation of mount events (mount_namespaces(7)), and the kernel's.
PROPAGATION = {
    "private": lib.MS_PRIVATE, "rprivate": lib.MS_PRIVATE,
    "slave": lib.MS_SLAVE, "rslave": lib.MS_SLAVE,
    "shared": lib.MS_SHARED, "rshared": lib.MS_SHARED,
}  # fmt: skip


#: What a container on the host's network needs to find others by name, as Docker gives it.
_NAME_SERVICE = ("/etc/hosts", "/etc/resolv.conf")


def _path(path: Any) -> Any:
    return os.fspath(path) if isinstance(path, os.PathLike) else path


def _flag(_: object, attribute: Any, value: Any) -> None:
    flag(attribute.name, value)


def _mode(_: object, __: Any, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 0o7777:
        raise InvalidArgument("mode", value, "a number from 0 to 0o7777 is needed")


def _absolute(_: object, attribute: Any, value: Any) -> None:
    text(attribute.name, value)
    parts = value.split("/")
    if not value.startswith("/") or ".." in parts:
        raise InvalidArgument(attribute.name, value, "an absolute path without '..' is needed")
    if not any(parts):
        raise InvalidArgument(attribute.name, value, "the root itself cannot be mounted over")


def _source(path: str | os.PathLike[str]) -> str:
    if not isinstance(path, (str, os.PathLike)):
        raise InvalidArgument("source", path, "a path is needed")
    return os.path.abspath(text("source", os.fspath(path)))


def _size(value: int | str | None) -> int | None:
    return None if value is None else parse_size("size", value)


def _propagation(_: object, __: Any, value: str) -> None:
    if not isinstance(value, str) or value not in PROPAGATION:
        raise InvalidArgument("propagation", value, f"one of {', '.join(PROPAGATION)} is needed")


@attrs.frozen
class Bind:
    """A file or directory of the host, shown in the container at ``target`` (``docker run -v``).

    ``source`` is a path of the host, absolute or from the caller's directory; it must exist when the
    container is described.  Its symbolic links are followed then and never again: a start that meets one where
    there was none is refused.  For a root caller ``/proc/self/fd/N`` names what it has opened.  ``target`` is
    made where it is absent.  With ``idmap`` (the default) the container's
    root appears on the host as the caller, so that files made inside belong to the caller; it needs a file
    system with idmapped mounts (mount_setattr(2): ext4, xfs, btrfs, tmpfs since 6.3).  ``idmap=False``
    shows the host's ids as they are: nobody, in a user namespace.  ``propagation`` as in Docker.

    >>> Bind("/srv/data", "/data", read_only=True).target
    '/data'
    """

    source: str = attrs.field(converter=_source)
    target: str = attrs.field(converter=_path, validator=_absolute)
    read_only: bool = attrs.field(default=False, kw_only=True, validator=_flag)
    propagation: str = attrs.field(default="rprivate", kw_only=True, validator=_propagation)
    idmap: bool = attrs.field(default=True, kw_only=True, validator=_flag)


@attrs.frozen
class Tmpfs:
    """A memory file system, empty at each start (``docker run --tmpfs``); ``size`` in bytes or as "64M".

    Without ``size`` the kernel bounds it to half of the memory (tmpfs(5)).  With ``noexec`` no program in it can be run.

    >>> Tmpfs("/scratch", size="64M").size
    67108864
    """

    target: str = attrs.field(converter=_path, validator=_absolute)
    size: int | None = attrs.field(default=None, kw_only=True, converter=_size)
    mode: int = attrs.field(default=0o1777, kw_only=True, validator=_mode)
    noexec: bool = attrs.field(default=False, kw_only=True, validator=_flag)


def _volume(source: Any) -> Any:
    if source is None:
        return None
    from pycontainer.volume import Volume, check_name

    return source.name if isinstance(source, Volume) else check_name(source)


def _subpath(_: object, __: Any, value: Any) -> None:
    if value is None:
        return
    parts = text("subpath", value).split("/")
    if "" in parts or "." in parts or ".." in parts:
        raise InvalidArgument("subpath", value, "a path from the top, without '..', is needed: 'a/b'")


@attrs.frozen
class VolumeMount:
    """A volume at ``target`` (``docker run -v name:/target``).

    ``source`` is its name, or a :class:`Volume`; one that does not exist is made.  ``None``: a volume of the
    container alone, which goes with it.  One that is empty is filled with what the image has at ``target``, before
    anything uses it, unless ``nocopy``.  ``subpath`` shows a part of the volume, which must exist and have no links
    in its path; then nothing is filled.

    >>> VolumeMount("data", "/var/lib/data", read_only=True).source
    'data'
    """

    source: str | None = attrs.field(converter=_volume)
    target: str = attrs.field(converter=_path, validator=_absolute)
    read_only: bool = attrs.field(default=False, kw_only=True, validator=_flag)
    subpath: str | None = attrs.field(default=None, kw_only=True, converter=_path, validator=_subpath)
    nocopy: bool = attrs.field(default=False, kw_only=True, validator=_flag)
    declared: bool = attrs.field(default=False, kw_only=True, repr=False)
    """Nobody asked for it but the image."""

    def __attrs_post_init__(self) -> None:
        if self.source is None and self.subpath is not None:
            raise InvalidArgument("subpath", self.subpath, "a volume without a name begins empty")


def _image(image: Any) -> Any:
    from pycontainer.image.image import Image

    if isinstance(image, Image) or (isinstance(image, str) and image):
        return image
    raise InvalidArgument("image", image, "an Image, or its name, is needed")


@attrs.frozen
class ImageMount:
    """The files of another image at ``target``, read-only (``docker run --mount type=image``).

    ``subpath`` shows a part of them, which must have no links in its path.  The image stays while the container does.

    >>> ImageMount("model:v1", "/model", subpath="weights").target
    '/model'
    """

    image: str | Image = attrs.field(converter=_image)
    target: str = attrs.field(converter=_path, validator=_absolute)
    subpath: str | None = attrs.field(default=None, kw_only=True, converter=_path, validator=_subpath)

    @property
    def read_only(self) -> bool:
        """It is, always."""
        return True


#: What ``mounts=`` accepts beside text.
Mount = Bind | Tmpfs | VolumeMount | ImageMount


#: Words of Docker's that mean nothing on Linux, as there: labels of SELinux, how a Mac shares its files.
_NOTHING = frozenset({"z", "Z", "cached", "consistent", "delegated"})


def parse_mount(text: str) -> Bind | VolumeMount:
    """A mount as ``docker run -v`` writes it: ``[source:]target[:ro|rw]``. Raises :class:`InvalidArgument`.

    A source with a slash, or "." in front, is a path of the host, any other the name of a volume.
    """
    parts = text.split(":")
    if len(parts) == 1 and text.startswith("/"):
        return VolumeMount(None, text)
    if len(parts) not in (2, 3) or not all(parts):
        way_out = "'/source:/target', 'volume:/target', either with ':ro', or '/target' is needed"
        raise InvalidArgument("mounts", text, way_out)
    source, target = parts[:2]
    is_path = "/" in source or source.startswith(".")
    told: dict[str, Any] = {}
    for option in parts[2].split(",") if len(parts) == 3 else ():
        if option in ("ro", "rw"):
            told["read_only"] = option == "ro"
        elif option in _NOTHING:
            pass
        elif option == "nocopy" and not is_path:
            told["nocopy"] = True
        elif option in PROPAGATION and is_path:
            told["propagation"] = option
        else:
            known = "ro, rw or a propagation" if is_path else "ro, rw or nocopy"
            raise InvalidArgument("mounts", text, f"unknown option {option!r}: {known} is needed")
    return Bind(source, target, **told) if is_path else VolumeMount(source, target, **told)


#: Words for how a tmpfs is mounted: most are so in any case.
_WAYS = {"rw": {}, "nosuid": {}, "nodev": {}, "exec": {"noexec": False}, "noexec": {"noexec": True}}


def parse_tmpfs(argument: str) -> Tmpfs:
    """A tmpfs as ``docker run --tmpfs`` writes it: ``/path[:size=64m,mode=1777]``. Raises :class:`InvalidArgument`."""
    target, _, options = text("tmpfs", argument).partition(":")
    known: dict[str, Any] = {}
    for option in filter(None, options.split(",")):
        name, _, value = option.partition("=")
        if name == "size":
            known["size"] = value
        elif option in _WAYS:
            known |= _WAYS[option]
        elif name == "mode" and value and not value.strip("01234567"):
            known["mode"] = int(value, 8)
        else:
            raise InvalidArgument(
                "tmpfs", argument, f"unknown option {option!r}: size=, mode= or noexec is needed"
            )
    return Tmpfs(target, **known)


def check_mounts(
    mounts: Iterable[Mount | str], tmpfs: Iterable[str], *, host_network: bool = False
) -> tuple[tuple[Mount, bool], ...]:
    """The mounts of a container, each with "is a directory".  Looks whether the sources are there.

    On the host's network the files by which it finds names are added, where the caller mounts nothing.
    Raises :class:`InvalidArgument`.
    """
    found: list[tuple[Mount, bool]] = []
    every = [
        parse_mount(each) if isinstance(each, str) else each
        for each in several("mounts", mounts, "Bind, Tmpfs, VolumeMount, ImageMount or 'source:target[:ro]'")
    ]
    every += [parse_tmpfs(each) for each in several("tmpfs", tmpfs, "'/path[:size=64m,mode=1777]'")]
    for mount in every:
        if isinstance(mount, (Tmpfs, VolumeMount, ImageMount)):
            found.append((mount, True))
        elif not isinstance(mount, Bind):
            raise InvalidArgument(
                "mounts", mount, "a Bind, Tmpfs, VolumeMount, ImageMount or 'source:target[:ro]' is needed"
            )
        elif not os.path.exists(mount.source):
            raise InvalidArgument("mounts", mount.source, "the source does not exist")
        else:
            bind = _without_links(mount)
            found.append((bind, os.path.isdir(bind.source)))
    targets = [os.path.normpath(mount.target) for mount, _ in found]
    for target in targets:
        if targets.count(target) > 1:
            raise InvalidArgument("mounts", target, "two mounts have this target")
    if host_network and "/etc" not in targets:
        found += [(bind, False) for bind in _name_service(targets)]
    return tuple(found)


def _without_links(mount: Bind) -> Bind:
    """The same with a source that has no links: who may change a part of the path must not choose another later."""
    if is_magic(mount.source):
        return mount
    try:
        source = os.path.realpath(mount.source)
    except OSError:  # a link was none any more when it was read
        raise InvalidArgument("mounts", mount.source, "somebody is exchanging a part of this path") from None
    return mount if source == mount.source else attrs.evolve(mount, source=source)


def is_magic(source: str) -> bool:
    """Is it a path in which links stand for open files, and lead where no path does (proc(5))?"""
    return source.startswith("/proc/")


def is_name_service(mount: Bind) -> bool:
    """Is it one of those that :func:`check_mounts` adds?"""
    return mount.target in _NAME_SERVICE and mount.read_only and not mount.idmap


def _name_service(taken: list[str]) -> list[Bind]:
    places = [(path, os.path.realpath(path)) for path in _NAME_SERVICE if path not in taken]
    # The host's own ids: the file systems below /etc and /run need not know id maps, and all may read these.
    return [
        Bind(source, path, read_only=True, idmap=False) for path, source in places if os.path.isfile(source)
    ]
