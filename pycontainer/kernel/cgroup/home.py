"""Where the cgroups of this process are made, found once.

Version 1 and hybrid: below the caller's own cgroup of each hierarchy.  Version 2 alone has the rule of "no
internal processes" (cgroups(7)): controllers can be had below a cgroup only while no process is in it. So:

* the caller is in the real root, for which the rule does not hold: there;
* the caller's cgroup is its own to use (delegated, or the root of a cgroup namespace): below it, and when
  controllers are needed first all its processes move to the leaf ``pycontainer.host`` in it;
* it is not, as in the session of root: at the top of the mounted tree, where the service manager has
  nothing but slices;
* an ordinary user may do neither: when a limit that must hold needs it, this process moves to a scope of the
  user's systemd, which is delegated.

A process in a leaf ``pycontainer.host`` uses the cgroup above.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Collection
from contextlib import suppress

from pycontainer.errors import NotSupported
from pycontainer.kernel.cgroup import v2
from pycontainer.kernel.cgroup.directory import Directory
from pycontainer.kernel.cgroup.layout import Layout, read_layout
from pycontainer.kernel.cgroup.place import Place
from pycontainer.kernel.cgroup.scope import enter_scope

#: Where the processes of a delegated cgroup go.
LEAF = "pycontainer.host"
#: How often what is started meanwhile is moved, too.
_ROUNDS = 50


class Home(Place):
    """The place of this process; its directories stay open. Thread-safe: everything can be done twice."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layout = layout
        self.tree, self._is_ours = _find_tree(layout)
        #: May no cgroup be made here, by a user who might get a place from systemd?
        self.is_denied = _is_denied(layout, self.tree)
        #: Why systemd gave none.
        self.refusal: str | None = None
        self._hierarchies: dict[str, Directory] = {}

    def hierarchy(self, name: str) -> Directory:
        """The caller's own directory."""
        found = self._hierarchies.get(name)
        if found is None:
            found = self._hierarchies.setdefault(name, Directory.open(name, lasting=True))
        return found

    def explained(self, error: NotSupported) -> NotSupported:
        """With the reason why systemd gave no other place."""
        return error if self.refusal is None else NotSupported(f"{error.what} ({self.refusal})", error.fix)

    def _enable_here(self, tree: Directory, controllers: Collection[str]) -> dict[str, int]:
        refused = v2.enable(tree, controllers)
        if self._is_ours and errno.EBUSY in refused.values():
            return _empty_and_enable(tree, controllers)
        return refused

    def close(self) -> None:
        """Let go of the directories; for tests with layouts of their own."""
        self.forget_patterns()
        for directory in self._hierarchies.values():
            directory.close()
        self._hierarchies.clear()
        if self.tree is not None:
            self.tree.close()


def _find_tree(layout: Layout) -> tuple[Directory | None, bool]:
    """The directory in version 2's tree, and whether it may be emptied."""
    if layout.unified is None or layout.mount is None:
        return None, False
    path, is_ours = _choose(layout.unified, layout.mount, layout.is_pure)
    try:
        return Directory.open(path, lasting=True), is_ours
    except OSError:
        return None, False  # a sandbox shows the mount, and not what is in it


def _choose(own: str, mount: str, is_pure: bool) -> tuple[str, bool]:
    if not os.path.exists(f"{own}/cgroup.type"):
        return own, False  # only the real root has no type
    if os.path.basename(own) == LEAF and _may_use(os.path.dirname(own)):
        return os.path.dirname(own), True
    if _is_own(own, mount):
        return own, True
    if is_pure and _may_use(mount):
        return mount, False
    return own, False


def _is_denied(layout: Layout, tree: Directory | None) -> bool:
    return (
        layout.is_pure
        and tree is not None
        and os.geteuid() != 0
        and tree.path == layout.unified
        and not _may_use(tree.path)
    )


def _may_use(path: str) -> bool:
    return all(
        os.access(name, os.W_OK, effective_ids=True)
        for name in (path, f"{path}/cgroup.procs", f"{path}/cgroup.subtree_control")
    )


def _is_own(path: str, mount: str) -> bool:
    """May we change what is in this cgroup, and does nobody else think it is theirs?

    Root may write everywhere: then it must have been delegated, which systemd notes (251: user.delegate,
    245: trusted.delegate), or be all that a cgroup namespace shows.
    """
    if not _may_use(path):
        return False
    if path == mount or not _may_use(mount):
        return True
    for name in ("user.delegate", "trusted.delegate"):
        with suppress(OSError):
            if os.getxattr(path, name) == b"1":
                return True
    return False


def _empty_and_enable(tree: Directory, controllers: Collection[str]) -> dict[str, int]:
    """Move the processes of our cgroup to the leaf in it, and have the controllers; or all is as before."""
    try:
        leaf = tree.make(LEAF)
        made = True
    except FileExistsError:
        leaf, made = Directory.open(f"{tree.path}/{LEAF}"), False
    except OSError as error:
        return dict.fromkeys(controllers, error.errno or errno.EIO)
    moved: list[int] = []
    try:
        refused = dict.fromkeys(controllers, errno.EBUSY)
        for _ in range(_ROUNDS):
            movable = _move(tree, leaf, moved)
            refused = v2.enable(tree, controllers)
            if errno.EBUSY not in refused.values() or not movable:
                break
        if len(refused) == len(controllers) and made:
            for pid in moved:
                with suppress(OSError):
                    tree.write("cgroup.procs", b"%d" % pid)
            with suppress(OSError):
                os.rmdir(leaf.path)
        return refused
    finally:
        leaf.close()


def _move(tree: Directory, leaf: Directory, moved: list[int]) -> bool:
    """Move all processes; false when there is one that we may not move, or cannot name."""
    complete = True
    for pid in tree.processes():
        if pid == 0:
            complete = False
            continue
        try:
            leaf.write("cgroup.procs", b"%d" % pid)
            moved.append(pid)
        except ProcessLookupError:
            continue  # it has ended
        except OSError:
            complete = False
    return complete


_home: Home | None = None
#: One at a time asks systemd. By pid: a forked child does not wait for a thread that it does not have.
_moving: dict[int, threading.Lock] = {}


def home(*, move: bool = False) -> Home:
    """The place of this process, found at the first call. Raises :class:`NotSupported` where there is none.

    With ``move`` an ordinary user's process that stands in a cgroup of root's moves to a scope of the user's
    systemd, which is asked once; ``refusal`` tells why it gave none.  A forked child goes on with its parent's
    place: it is in the same cgroups.
    """
    global _home
    found = _home
    if found is None:
        found = _home = _find()
    if move and found.is_denied and found.refusal is None:
        with _moving.setdefault(os.getpid(), threading.Lock()):
            if _home is found and found.refusal is None:
                _home = _move_from(found)
            found = _home or found
    return found


def _find() -> Home:
    layout = read_layout()
    if layout.unified is None and not layout.v1:
        raise NotSupported(
            "no cgroup tree that shows this process is mounted",
            "mount one: mount -t cgroup2 none /sys/fs/cgroup",
        )
    return Home(layout)


def _move_from(denied: Home) -> Home:
    """The place in a scope, or ``denied`` with the reason. What was begun in the old place ends there."""
    found = _find()
    if not found.is_denied:
        return found  # forked from a process while it was moved, or moved by somebody else
    found.close()
    denied.refusal = enter_scope()
    if denied.refusal is None:
        found = _find()
        if not found.is_denied:
            return found
        found.close()
        denied.refusal = f"the scope {found.layout.unified} may not be used, either"
    return denied


def forget_home() -> None:
    """Find it anew at the next call: what it was has been removed."""
    global _home
    _home = None
