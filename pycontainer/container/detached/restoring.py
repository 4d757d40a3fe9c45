"""A detached container whose processes go on where a checkpoint has left them.

Its monitor starts CRIU in the place of the program, and takes over what that has made (``csrc/monitor_restore.c``)::

    <folder>/restoring/     for as long as it takes: the images, with this start's ids; hook, log, pid
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import attrs

from pycontainer.container.detached import hooks
from pycontainer.container.detached.anew import ROOT
from pycontainer.container.detached.checkpointing import USUAL, refuse
from pycontainer.container.detached.checkpoints import Told, check_files, place_of
from pycontainer.container.detached.joining import Joined
from pycontainer.container.detached.preparation import Order, Preparation
from pycontainer.container.detached.starting import start
from pycontainer.container.launch import Layer
from pycontainer.container.recipe import shape_of
from pycontainer.container.start import Seat
from pycontainer.errors import KernelError, NotSupported, StateError
from pycontainer.kernel import criu, monitor, native
from pycontainer.kernel.cgroup import Cgroup
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.flat import Places
from pycontainer.kernel.idmap import IdMap
from pycontainer.kernel.native import lib
from pycontainer.kernel.rooted import OPEN_DIRECTORY
from pycontainer.kernel.spawn import Spawn

if TYPE_CHECKING:
    from pycontainer.container.detached.container import Detached

FOLDER = "restoring"
#: Numbers of the streams' ends, in CRIU.
_STREAMS = (10, 11, 12)
_NULL = 13
_SEARCH = b"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def restore(container: Detached, name: str) -> None:
    """Start the container from a checkpoint; see :meth:`Detached.restore`."""
    program = criu.able()
    with container._places.verb(container.id) as verb:
        if verb is None:
            raise StateError(f"container {container.name}", "removed", "restore")
        container.allow("restore")
        place = place_of(container, name)
        refuse(container.spec)
        told = Told.read(f"{place}/told")
        container._let_go()
        with _files_of(container, place), container._places.alive(container.id) as alive:
            order = container._order(alive, verb)
            folder = f"{container._home.folder}/{FOLDER}"
            _clear(container)
            try:
                start(order, partial(Restoration, program, place, told))
            except KernelError as error:
                reason = hooks.said(folder) or criu.errors_in(f"{folder}/restore.log")
                raise KernelError(error.errno or 0, f"restore the checkpoint {name}", hint=reason) from None
            finally:
                _clear(container)


def _clear(container: Detached) -> None:
    with Fd(os.open(container._home.folder, OPEN_DIRECTORY)) as above:
        container._workspace.reach.remove(above.fileno(), FOLDER)


@contextmanager
def _files_of(container: Detached, place: str) -> Iterator[None]:
    """Have the writable layer as it was, where the checkpoint has it, if the body succeeds; else it must not have changed."""
    check_files(container, place, "restore")
    if not os.path.isdir(f"{place}/upper"):
        yield
        return
    from pycontainer.image.commit import copy_layer

    reach, other = container._workspace.reach, f"upper.{os.urandom(4).hex()}"
    os.makedirs(f"{container._folder}/upper", 0o755, exist_ok=True)
    with Fd(os.open(container._folder, OPEN_DIRECTORY)) as files:
        fd = files.fileno()

        def exchange() -> None:
            native.renameat2(fd, other.encode(), fd, b"upper", lib.RENAME_EXCHANGE)

        try:
            copy_layer(f"{place}/upper", f"{container._folder}/{other}", container._marks(), reach)
            exchange()
            try:
                yield
            except BaseException:
                exchange()
                raise
        finally:
            reach.remove(fd, other)


class Restoration(Preparation):
    """What a monitor is given that restores its container at the first start."""

    restores = True

    def __init__(
        self,
        program: str,
        place: str,
        told: Told,
        order: Order,
        joined: Joined,
        cgroup: Cgroup | None,
        seat: Seat,
    ) -> None:
        super().__init__(order, joined, cgroup, seat)
        self._program_path, self._place, self._told = program, place, told

    @contextmanager
    def plan(self, start_: monitor.Program) -> Iterator[monitor.Plan]:
        """The whole plan, with CRIU as what comes first."""
        folder = f"{self._order.home.folder}/{FOLDER}"
        os.mkdir(folder, 0o700)
        os.chmod(
            folder, 0o711
        )  # CRIU opens images there also as root of the container; what is above is ours alone
        _link_images(f"{self._place}/images", folder, _map_of(self._told.map), self.map)
        with Fd(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)) as null:
            restorer = self._criu(folder, null.fileno())
            with super().plan(start_) as plan:
                yield attrs.evolve(plan, restore=restorer)

    def _criu(self, folder: str, null: int) -> monitor.Program:
        spec, told = self._order.spec, self._told
        layer = Layer(upper=f"{self._order.home.folder}/files", mounts=self._order.mounts)
        made = hooks.Made(
            shape=shape_of(spec, self.map, self.lowers, layer, None),
            own_users=self.map is not None,
            first=(0, 0) if self.map is None else self.map.first,
        )
        words = [self._program_path, "restore", "-D", folder, "-o", "restore.log", "--pidfile", "pid", *USUAL]
        words += ["--root", ROOT, "--restore-detached", "--restore-sibling", *hooks.write(folder, made)]
        for number, (_, path) in enumerate(told.externals):
            words += ["--external", f"mnt[m{number}]:{path}"]
        for each in told.files:
            words += ["--inherit-fd", f"fd[{_NULL}]:{each}"]
        for number, stream in zip(_STREAMS, told.streams, strict=True):
            words += [] if stream is None else ["--inherit-fd", f"fd[{number}]:{stream}"]
        # As in a recipe: the streams and the report are filled in by the monitor.
        own = self.fds.add(null)
        table = [own, -1, -1, -1, -1]
        pairs = [(0, 0), (0, 1), (0, 2), (0, _NULL), *((1 + i, number) for i, number in enumerate(_STREAMS))]
        cgroup = -1
        if self._seat.directory >= 0:
            cgroup = len(table)
            table.append(self.fds.add(self._seat.directory))
        tasks = tuple(range(len(table), len(table) + len(self._seat.tasks)))
        table += [self.fds.add(fd) for fd in self._seat.tasks]
        request = Spawn(
            argv=tuple(map(os.fsencode, words)),
            candidates=(os.fsencode(self._program_path),),
            env=(_SEARCH,),
            fds=tuple(table),
            stdio=tuple(pairs),
            cgroup=cgroup,
            tasks=tasks,
            umask=0o077,
            # CRIU makes neither anew: what it starts has its own.
            cgroup_namespace=True,
            keyring=spec.security.keyring,
            no_new_privs=spec.security.no_new_privs,
        )
        return monitor.Program(request=request, places=Places(stdio=(1, 2, 3), report=4))


def _map_of(told: object) -> IdMap | None:
    if not isinstance(told, list):
        return None
    uids, gids = ([tuple(each) for each in extents] for extents in told)
    return IdMap(uids, gids)


def _link_images(source: str, target: str, before: IdMap | None, after: IdMap | None) -> None:
    """The images in another directory, for a start with other ids."""
    if (before is None) != (after is None):
        raise NotSupported("a checkpoint of a container with other users", "restore it where it was made")
    for name in os.listdir(source):
        place = f"{source}/{name}"
        if (
            before is None
            or after is None
            or before == after
            or not name.startswith(("userns-", "mountpoints-"))
        ):
            os.link(place, f"{target}/{name}")
            continue
        with open(place, "rb") as file:
            image = file.read()
        with open(f"{target}/{name}", "xb") as changed:
            if name.startswith("userns-"):
                changed.write(criu.userns_image(image, after))
            else:
                changed.write(criu.mounts_image(image, before, after))
