"""What one host process keeps while it has containers: its folder, its id leases, its cgroup.

Below the engine root::

    <root>/run/<host>/          one folder for each host process, locked by it (flock) while it lives
        lock
        cgroups                 where this process's cgroup may be: a line for each directory
        skeleton-<uid>/         the host image's tree, owned by a container's root
        <container id>/         the writable layer of a kept container
        <container id>.pid      who runs in it

The folder is registered with the reaper.  A folder whose lock is free belongs to a process that is gone
and whose reaper was killed, too: the next start sweeps it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from pycontainer.container.accounting import COUNTED
from pycontainer.container.bounds import Bounds
from pycontainer.container.start import Exports, Recipes
from pycontainer.errors import NotSupported
from pycontainer.home import make_private
from pycontainer.kernel import idmap
from pycontainer.kernel.cgroup import NO_LIMITS, Cgroup, home, places_below
from pycontainer.kernel.identity import boot_id, started_at
from pycontainer.kernel.quota import Project, bound
from pycontainer.kernel.reach import Reach
from pycontainer.kernel.reaper import reaper
from pycontainer.kernel.rooted import named
from pycontainer.kernel.tree import remove_tree
from pycontainer.kernel.userns import Leases
from pycontainer.state.notes import end_noted, remove_cgroups

if TYPE_CHECKING:
    from pycontainer.container.launch import Launch
    from pycontainer.image.image import Hold, Image
    from pycontainer.image.images import Images
    from pycontainer.network.stacks import Stacks

_PREFIX = "pycontainer-"
#: How old a folder without a lock is, in seconds, when nobody is about to lock it any more.
_ABANDONED = 60


class Workspace:
    """The folder and the caches of this process below an engine root. Thread-safe; made when first needed."""

    def __init__(self, root: str, images: Callable[[], Images]) -> None:
        """``images`` gives the images of the engine, whose store is opened when first needed."""
        self.root = root
        self.images = images
        self.pid = os.getpid()
        self.leases = Leases()
        self.exports = Exports()
        self.recipes = Recipes()
        self.reach = Reach()
        self._lock = threading.Lock()
        self._skeletons: dict[tuple[int, int], str] = {}
        self._projects: dict[str, Project] = {}
        self._cgroup: Cgroup | None = None
        self._stacks: Stacks | None = None
        #: Containers that run, by id: their names, and what they consist of.
        self.running: dict[str, tuple[str, Launch]] = {}
        make_private(root)
        make_private(f"{root}/run")
        self._run = os.open(f"{root}/run", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            reaper()  # before there is something that it would have to remove
            self._sweep()
            self.name, self._held = self._claim()
        except BaseException:
            self.reach.close()
            os.close(self._run)
            raise
        self.path = f"{root}/run/{self.name}"
        self._tree = reaper().register_tree(self._run, self.name, lock=self._held)
        self._reaper_reaches_all = idmap.rules_host()

    def _claim(self) -> tuple[str, int]:
        """A new folder and its held lock. Another process may sweep it before it is locked: then once more."""
        while True:
            name = f"{os.getpid()}-{os.urandom(4).hex()}"
            path = f"{self.root}/run/{name}/lock"
            os.mkdir(os.path.dirname(path), 0o700)
            try:
                held = _lock(path, os.O_CREAT)
            except (BlockingIOError, FileNotFoundError):
                continue
            if os.path.exists(path):
                return name, held
            os.close(held)

    @property
    def alive(self) -> str:
        """Below the root, the file that is locked until this process has ended, and its containers with it."""
        return f"run/{self.name}/lock"

    @property
    def stacks(self) -> Stacks:
        """Makes the network stacks of this process's containers."""
        if self._stacks is None:
            from pycontainer.network.networks import networks_at
            from pycontainer.network.stacks import Stacks

            with self._lock:
                if self._stacks is None:
                    self._stacks = Stacks(networks_at(self.root), self.name, self.path)
        return self._stacks

    def find_running(self, name: str) -> Launch | None:
        """What the running container of that name, id or start of an id consists of, if there is just one."""
        every = list(self.running.items())
        found = [each for _, (called, each) in every if called == name]
        found = found or [each for key, (_, each) in every if key.startswith(name[:12])]
        return found[0] if len(found) == 1 else None

    def hold_image(self, image: Image) -> Hold | None:
        """Keep an image until the hold is closed; ``None``: nobody can, or need."""
        return image.hold()

    def skeleton(self, owner: tuple[int, int]) -> str:
        """The directory of the host image's own tree for this owner, built when first asked for."""
        with self._lock:
            if owner not in self._skeletons:
                from pycontainer.image.host import build_host_skeleton

                path = f"{self.path}/skeleton-{owner[0]}"
                partial = f"{path}.{os.urandom(4).hex()}"  # one that fails is not in the way of the next
                os.mkdir(partial, 0o755)
                fd = os.open(partial, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    build_host_skeleton(fd, *owner)
                finally:
                    os.close(fd)
                os.rename(partial, path)
                self._skeletons[owner] = path
            return self._skeletons[owner]

    def make_folder(self, name: str, *, other_users: bool, size: int | None = None) -> str:
        """A new folder of this process, removed by :meth:`remove_folder` or by the reaper.

        ``other_users``: users other than the caller may come to have files in it.  ``size`` bounds what it may
        hold, in bytes, by a project quota.  Raises :class:`NotSupported` with nothing made.
        """
        if other_users and not self._reaper_reaches_all:
            self._let_the_reaper_reach_all()
        path = f"{self.path}/{name}"
        os.mkdir(path, 0o755)
        if size is not None:
            try:
                self._projects[name] = bound(path, size, in_userns=other_users)
            except BaseException:
                os.rmdir(path)
                raise
        return path

    def note_process(self, name: str, pid: int) -> None:
        """Note a container's first process, so that a sweep finds it when its reaper could not do its work."""
        with named(f"note the process of {name}"), open(f"{self.path}/{name}.pid", "w") as file:
            file.write(f"{pid} {started_at(pid)} {boot_id()}")

    def forget_process(self, name: str) -> None:
        """Remove the note; idempotent."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.path}/{name}.pid")

    def remove_folder(self, name: str) -> None:
        """Remove a folder with all that is in it; idempotent."""
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.reach.remove(fd, name)
        finally:
            os.close(fd)
        project = self._projects.pop(name, None)
        if project is not None:
            project.close()

    def _let_the_reaper_reach_all(self) -> None:
        userns = self.reach.steward().userns
        with self._lock:
            if not self._reaper_reaches_all:
                before = self._tree
                self._tree = reaper().register_tree(self._run, self.name, lock=self._held, userns=userns)
                reaper().forget(before)
                self._reaper_reaches_all = True

    def _remove_host(self, name: str) -> None:
        """Remove the folder of a host process; the lock goes last, so that a sweep finds what is left."""
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._run)
        try:
            for each in os.listdir(fd):
                if each != "lock":
                    self.reach.remove(fd, each)
        finally:
            os.close(fd)
        remove_tree(self._run, name)

    def cgroup(self, name: str, bounds: Bounds) -> Cgroup | None:
        """A new cgroup for a container, below this process's own; ``None`` where the host gives none.

        Raises :class:`NotSupported` when a limit that was asked for cannot be had.
        """
        try:
            with self._lock:
                if self._cgroup is None:
                    self._cgroup = self._make_cgroup(move=bounds.required)
            above = self._cgroup
            return Cgroup.make(
                name, bounds.limits, parent=above, accounting=COUNTED, optional=bounds.optional
            )
        except NotSupported:
            if bounds.required:
                raise
            return None

    def _make_cgroup(self, *, move: bool) -> Cgroup:
        name = _PREFIX + self.name
        # First: who is killed in the midst of it leaves nothing that nobody knows of.
        noted = self._note_cgroups(places_below(home(move=move), name))
        group = Cgroup.make(name, NO_LIMITS, move=move, leashed=True)
        try:
            if group.places != noted:
                self._note_cgroups(group.places)
        except BaseException:
            group.close()
            raise
        return group

    def _note_cgroups(self, places: list[str]) -> list[str]:
        with named("note the cgroups"), open(f"{self.path}/cgroups", "w") as file:
            file.write("\n".join(places))
        return places

    def close(self) -> None:
        """Remove everything; the containers must have been removed before."""
        reaper().forget(self._tree)
        if self._stacks is not None:
            self._stacks.close()
        self.leases.close()
        self.exports.close()
        if self._cgroup is not None:
            self._cgroup.close()
        try:
            self._remove_host(self.name)
        finally:
            self.reach.close()
            os.close(self._held)
            os.close(self._run)

    def _sweep(self) -> None:
        """Remove the folders of processes that are gone and could not be swept by their reaper."""
        for name in os.listdir(self._run):
            held = self._take_over(name)
            if held is None:
                continue
            try:
                end_noted(f"{self.root}/run/{name}")
                remove_cgroups(f"{self.root}/run/{name}")
                self._remove_host(name)
            finally:
                os.close(held)

    def _take_over(self, name: str) -> int | None:
        """The lock of a folder whose process is gone; ``None`` if it lives, or nothing is left to do."""
        path = f"{self.root}/run/{name}/lock"
        try:
            return _lock(path)
        except (BlockingIOError, NotADirectoryError):
            return None
        except FileNotFoundError:
            pass
        # Killed before it had a lock, or just about to have one: it notices and takes another name.
        with contextlib.suppress(OSError):
            os.rmdir(name, dir_fd=self._run)
        try:
            # Not empty: somebody removes it in this moment, or was ended while doing so.
            if time.time() - os.stat(name, dir_fd=self._run).st_mtime < _ABANDONED:
                return None
            return _lock(path, os.O_CREAT)
        except (BlockingIOError, FileNotFoundError):
            return None


def _lock(path: str, flags: int = 0) -> int:
    fd = os.open(path, os.O_RDWR | flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(fd)
        raise
    return fd
