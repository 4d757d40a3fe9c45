"""Where volumes are kept, and the locks on them.

::

    <root>/volumes/                 0700
        <name>/                     0700, complete from the moment it has this name
            volume.json             what it is (record.py); never changed
            users/<random>          who uses it: a name, and which file is locked for as long as that one lives
            tree/data/              its content
            tree/<else>             content that is being made; whoever has the lock removes it
        .new-<random>/              a volume being made, locked by who makes it
        .trash-<random>/            one being removed, locked by who removes it

The directory ``<name>`` is locked (flock(2)) by who changes what the volume holds as a whole or notes a user: the
lock is had for a moment, and for as long as its first content is made.  It goes with its process, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator

import attrs

from pycontainer.home import make_private
from pycontainer.image.locked import lock
from pycontainer.kernel.fd import Fd, write_all
from pycontainer.kernel.rooted import OPEN_DIRECTORY, named

RECORD, USERS, TREE, DATA = "volume.json", "users", "tree", "data"
NEW, TRASH = ".new-", ".trash-"
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PROBE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_NOTE_LIMIT = 4096


@attrs.frozen
class Section:
    """A volume whose lock is held: nobody else begins to use, fill, change or remove it meanwhile."""

    root: str
    fd: int

    def users(self) -> list[str]:
        """Who uses it. Notes of those who are gone are removed."""
        found = []
        with Fd(os.open(USERS, OPEN_DIRECTORY, dir_fd=self.fd)) as users:
            for note in os.listdir(users.fileno()):
                who, lives = _read_note(self.root, users.fileno(), note)
                if lives:
                    found.append(who)
                else:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(note, dir_fd=users.fileno())
        return sorted(found)

    def note(self, who: str, alive: str | None) -> tuple[str, Fd | None]:
        """Note a user: its note's name; ``alive`` is a file below the root that is locked while it lives.

        Without one the note itself is, and comes locked with the answer.
        """
        name = os.urandom(8).hex()
        path = f"{USERS}/{name}"
        with Fd(os.open(path, _NEW_FILE, 0o600, dir_fd=self.fd)) as file:
            write_all(file.fileno(), f"{who}\n{alive or ''}\n".encode())
        if alive is not None:
            return name, None
        return name, lock(self.fd, path)

    def tree(self) -> Fd:
        """The directory that holds the content, and what is being made to take its place."""
        return Fd(os.open(TREE, OPEN_DIRECTORY, dir_fd=self.fd))


def _read_note(root: str, users: int, note: str) -> tuple[str, bool]:
    try:
        with Fd(os.open(note, _PROBE, dir_fd=users)) as file:
            who, _, alive = os.read(file.fileno(), _NOTE_LIMIT).decode(errors="replace").partition("\n")
            alive = alive.strip("\n")
            if not alive:
                return who, _is_locked(file.fileno())
        with Fd(os.open(f"{root}/{alive}", _PROBE)) as file:
            return who, _is_locked(file.fileno())
    except FileNotFoundError:
        return "", False


def _is_locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


class Places:
    """The directory of an engine root's volumes, made when first needed."""

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)
        self.path = f"{self.root}/volumes"
        self._made = False

    @contextlib.contextmanager
    def top(self) -> Iterator[int]:
        """The directory, open. Raises :class:`NotSupported` for one that others can get at."""
        if not self._made or not os.path.isdir(self.path):
            make_private(self.root)
            make_private(self.path)
            self._made = True
        with named(f"open {self.path}"):
            top = Fd(os.open(self.path, OPEN_DIRECTORY))
        with top:
            yield top.fileno()

    @contextlib.contextmanager
    def section(self, name: str) -> Iterator[Section | None]:
        """The volume of this name with its lock, waited for if need be; ``None`` where there is none."""
        with self.top() as top:
            with named(f"lock the volume {name}"):
                held = lock(top, name, os.O_RDONLY | os.O_DIRECTORY, wait=True)
            if held is None:
                yield None
                return
            with held:
                yield Section(self.root, held.fileno())

    def data(self, name: str) -> str:
        """The path of a volume's content, without links."""
        return f"{os.path.realpath(self.path)}/{name}/{TREE}/{DATA}"
