"""Linux containers in the Python process: no daemon, at the speed of exec.

>>> import pycontainer as pc
>>> pc.run("host:", ["echo", "hi"]).stdout      # doctest: +SKIP
b'hi\\n'

Names are loaded when first used, so that the import costs little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pycontainer.checkup import Feature as Feature
    from pycontainer.checkup import HostFeatures as HostFeatures
    from pycontainer.checkup import doctor as doctor
    from pycontainer.container import waiting
    from pycontainer.container.detached.options import HealthCheck as HealthCheck
    from pycontainer.container.logreader import LogEntry as LogEntry
    from pycontainer.container.mounts import Bind as Bind
    from pycontainer.container.mounts import ImageMount as ImageMount
    from pycontainer.container.mounts import Tmpfs as Tmpfs
    from pycontainer.container.mounts import VolumeMount as VolumeMount
    from pycontainer.container.result import Result as Result
    from pycontainer.container.result import Usage as Usage
    from pycontainer.container.security import Security as Security
    from pycontainer.container.snapshot import Snapshot as Snapshot
    from pycontainer.container.stdio import DEVNULL as DEVNULL
    from pycontainer.container.stdio import PIPE as PIPE
    from pycontainer.container.stdio import STDOUT as STDOUT
    from pycontainer.engine import Container as Container
    from pycontainer.engine import Engine as Engine
    from pycontainer.engine import Pool as Pool
    from pycontainer.engine import default_engine as default_engine
    from pycontainer.engine import run as run
    from pycontainer.engine.executors import Executor as Executor
    from pycontainer.errors import CallFailed as CallFailed
    from pycontainer.errors import CallTimeout as CallTimeout
    from pycontainer.errors import CommandNotExecutable as CommandNotExecutable
    from pycontainer.errors import CommandNotFound as CommandNotFound
    from pycontainer.errors import ContainerFailed as ContainerFailed
    from pycontainer.errors import ImageError as ImageError
    from pycontainer.errors import ImageNotFound as ImageNotFound
    from pycontainer.errors import InvalidArgument as InvalidArgument
    from pycontainer.errors import KernelError as KernelError
    from pycontainer.errors import NotSupported as NotSupported
    from pycontainer.errors import PyContainerError as PyContainerError
    from pycontainer.errors import RateLimited as RateLimited
    from pycontainer.errors import RegistryDenied as RegistryDenied
    from pycontainer.errors import RegistryError as RegistryError
    from pycontainer.errors import RemoteError as RemoteError
    from pycontainer.errors import StateError as StateError
    from pycontainer.errors import UnsafeArchive as UnsafeArchive
    from pycontainer.errors import VolumeNotFound as VolumeNotFound
    from pycontainer.errors import WaitTimeout as WaitTimeout
    from pycontainer.image.bars import ProgressBars as ProgressBars
    from pycontainer.image.config import ImageConfig as ImageConfig
    from pycontainer.image.image import Image as Image
    from pycontainer.image.images import Images as Images
    from pycontainer.image.platform import Platform as Platform
    from pycontainer.image.progress import Progress as Progress
    from pycontainer.image.reference import Reference as Reference
    from pycontainer.kernel.cgroup import Cgroup as Cgroup
    from pycontainer.kernel.cgroup import CgroupStat as CgroupStat
    from pycontainer.kernel.cgroup import DeviceRule as DeviceRule
    from pycontainer.kernel.cgroup import Limits as Limits
    from pycontainer.kernel.cgroup import Pressure as Pressure
    from pycontainer.kernel.changes import Change as Change
    from pycontainer.kernel.idmap import IdMap as IdMap
    from pycontainer.kernel.namespace import Namespace as Namespace
    from pycontainer.kernel.namespace import NamespaceSet as NamespaceSet
    from pycontainer.kernel.overlay import OverlayMount as OverlayMount
    from pycontainer.kernel.process import Process as Process
    from pycontainer.network.bandwidth import Bandwidth as Bandwidth
    from pycontainer.network.network import Network as Network
    from pycontainer.state.events import Event as Event
    from pycontainer.volume import Volume as Volume
    from pycontainer.volume import VolumeInfo as VolumeInfo
    from pycontainer.volume import Volumes as Volumes

    wait = waiting

#: Where each public name lives.
_HOMES = {
    "checkup": ("Feature", "HostFeatures", "doctor"),
    "container.logreader": ("LogEntry",),
    "container.detached.options": ("HealthCheck",),
    "container.mounts": ("Bind", "ImageMount", "Tmpfs", "VolumeMount"),
    "container.result": ("Result", "Usage"),
    "container.security": ("Security",),
    "container.snapshot": ("Snapshot",),
    "container.stdio": ("DEVNULL", "PIPE", "STDOUT"),
    "engine": ("Container", "Engine", "Pool", "default_engine", "run"),
    "engine.executors": ("Executor",),
    "errors": (
        "CallFailed", "CallTimeout", "CommandNotExecutable", "CommandNotFound", "ContainerFailed", "ImageError", "ImageNotFound",
        "InvalidArgument", "KernelError", "NotSupported", "PyContainerError", "RateLimited", "RegistryDenied",
        "RegistryError", "RemoteError", "StateError", "UnsafeArchive", "VolumeNotFound", "WaitTimeout",
    ),
    "image.bars": ("ProgressBars",),
    "image.config": ("ImageConfig",),
    "image.image": ("Image",),
    "image.images": ("Images",),
    "image.platform": ("Platform",),
    "image.progress": ("Progress",),
    "image.reference": ("Reference",),
    "kernel.cgroup": ("Cgroup", "CgroupStat", "DeviceRule", "Limits", "Pressure"),
    "kernel.changes": ("Change",),
    "kernel.idmap": ("IdMap",),
    "kernel.namespace": ("Namespace", "NamespaceSet"),
    "kernel.overlay": ("OverlayMount",),
    "kernel.process": ("Process",),
    "network.bandwidth": ("Bandwidth",),
    "network.network": ("Network",),
    "state.events": ("Event",),
    "volume": ("Volume", "VolumeInfo", "Volumes"),
}  # fmt: skip
_MODULES = {name: module for module, names in _HOMES.items() for name in names}

#: Modules with names of their own.
_SPACES = {"aio": "aio", "wait": "container.waiting"}

__all__ = [*sorted(_MODULES), "__version__", *_SPACES]  # noqa: PLE0604  computed from the table above


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _SPACES:
        return import_module(f"pycontainer.{_SPACES[name]}")
    if name not in _MODULES:
        raise AttributeError(f"module 'pycontainer' has no attribute {name!r}")
    value = getattr(import_module(f"pycontainer.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
