"""The tree of the host image: all that a container needs beside the host's /usr, made by us.

By allow-list: a file of the host that is not named here is not in the container, so that nothing of the
host's people, secrets and identity can be: no accounts, keys, tokens, host names, mounts, machine id.
"""

from __future__ import annotations

import errno
import os
import stat

from pycontainer.errors import KernelError
from pycontainer.kernel.creation import creating_as
from pycontainer.kernel.fd import Fd, write_all
from pycontainer.kernel.rooted import OPEN_DIRECTORY, Rooted, named

#: Links into /usr where the host has merged them (file-hierarchy(7)), directories to mount on elsewhere.
_USR_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_DIRECTORIES = {
    "boot": 0o755, "dev": 0o755, "etc": 0o755, "home": 0o755, "media": 0o755, "mnt": 0o755, "opt": 0o755,
    "proc": 0o755, "root": 0o700, "run": 0o755, "run/lock": 0o1777, "srv": 0o755, "sys": 0o755,
    "tmp": 0o1777, "usr": 0o755, "var": 0o755, "var/cache": 0o755, "var/lib": 0o755, "var/lock": 0o1777,
    "var/log": 0o755, "var/mail": 0o755, "var/spool": 0o755, "var/tmp": 0o1777,
}  # fmt: skip
#: Of the host's /etc: what programs are configured with by their packages. Trees with all that is public in
#: them; of the certificates only the bundle, which every TLS library reads, not its hundreds of links.
_FROM_ETC = (
    "alternatives", "debian_version", "ethertypes", "fonts/fonts.conf", "gai.conf", "inputrc", "ld.so.cache", "ld.so.conf",
    "ld.so.conf.d", "localtime", "magic", "magic.mime", "mime.types", "os-release", "perl",
    "pki/tls/certs/ca-bundle.crt", "protocols", "python3", "rpc", "services", "shells", "ssl/cert.pem",
    "ssl/certs/ca-certificates.crt", "ssl/openssl.cnf", "terminfo", "timezone",
)  # fmt: skip
#: The same, for packages that carry a version in their name.
_FROM_ETC_BY_PREFIX = ("java-", "python3.")
#: What is larger is no configuration; nor is a tree of more entries.
_FILE_LIMIT = 4 << 20
_TREE_LIMIT = 5000
#: Where a link may lead: what the container has of the host.
_SHOWN = ("/usr/", "/bin/", "/sbin/", "/lib")
#: Absent, broken, or not for everybody's eyes.
_LEFT_OUT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES}

#: Debian's base accounts (base-passwd): user, uid, gid, home.
_USERS = (
    ("root", 0, 0, "/root"), ("daemon", 1, 1, "/usr/sbin"), ("bin", 2, 2, "/bin"), ("sys", 3, 3, "/dev"),
    ("sync", 4, 65534, "/bin"), ("games", 5, 60, "/usr/games"), ("man", 6, 12, "/var/cache/man"),
    ("lp", 7, 7, "/var/spool/lpd"), ("mail", 8, 8, "/var/mail"), ("news", 9, 9, "/var/spool/news"),
    ("uucp", 10, 10, "/var/spool/uucp"), ("proxy", 13, 13, "/bin"), ("www-data", 33, 33, "/var/www"),
    ("backup", 34, 34, "/var/backups"), ("list", 38, 38, "/var/list"), ("irc", 39, 39, "/run/ircd"),
    ("_apt", 42, 65534, "/nonexistent"), ("nobody", 65534, 65534, "/nonexistent"),
)  # fmt: skip
_GROUPS = {
    "root": 0, "daemon": 1, "bin": 2, "sys": 3, "adm": 4, "tty": 5, "disk": 6, "lp": 7, "mail": 8, "news": 9,
    "uucp": 10, "man": 12, "proxy": 13, "kmem": 15, "dialout": 20, "fax": 21, "voice": 22, "cdrom": 24,
    "floppy": 25, "tape": 26, "sudo": 27, "audio": 29, "dip": 30, "www-data": 33, "backup": 34, "operator": 37,
    "list": 38, "irc": 39, "src": 40, "shadow": 42, "utmp": 43, "video": 44, "sasl": 45, "plugdev": 46,
    "staff": 50, "games": 60, "users": 100, "nogroup": 65534,
}  # fmt: skip
#: The password "*" fits none: there is no need of a file of shadows.
_WRITTEN = {
    "group": "".join(f"{name}:*:{gid}:\n" for name, gid in _GROUPS.items()),
    "host.conf": "multi on\n",
    "hostname": "localhost\n",
    "hosts": "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n"
    "protocols: files\nservices: files\nethers: files\nrpc: files\n",
    "passwd": "".join(
        f"{name}:*:{uid}:{gid}:{name}:{home}:{'/usr/sbin/nologin' if uid else '/bin/sh'}\n"
        for name, uid, gid, home in _USERS
    ),
    "profile": "# The environment is the one the container was given.\n",
    "resolv.conf": "# No network.\n",
}


def build_host_skeleton(directory: int, uid: int, gid: int, host: str = "/") -> None:
    """Fill an empty directory with the host image's tree, all of it owned by these host ids.

    ``directory`` is an open directory, which stays the caller's; ``host`` is the root to take from.
    /usr is an empty directory to mount on, and so is each of /bin, /sbin and /lib* that is no link on the
    host.  Of the named files in /etc those are taken that exist, that everybody may read on the host and
    that are no larger than 4 MiB.  Links into what the container has stay links.

    Raises :class:`KernelError`, and leaves what is there by then.

    >>> build_host_skeleton(fd, 0x70000000, 0x70000000)  # doctest: +SKIP
    """
    with named("build the host image's tree"), Fd(os.open(host, OPEN_DIRECTORY)) as top:
        os.fchown(directory, uid, gid)
        os.fchmod(directory, 0o755)
        with creating_as(uid, gid):  # a chown of each would be dear
            for name, mode in _DIRECTORIES.items():
                _mkdir(directory, name, mode)
            for name in _USR_LINKS:
                _usr_link(top.fileno(), directory, name)
            os.symlink("../proc/self/mounts", "etc/mtab", dir_fd=directory)
            with Fd(os.open("etc", OPEN_DIRECTORY, dir_fd=directory)) as etc:
                for name, text in _WRITTEN.items():
                    _write(etc.fileno(), name, text.encode())
                _Copy(Rooted(top.fileno(), where="on the host", trusted=True), etc.fileno()).run()


def _mkdir(parent: int, name: str, mode: int) -> None:
    os.mkdir(name, 0o700, dir_fd=parent)
    # By name, which nobody else can replace: the tree is not in use yet.
    os.chmod(name, mode, dir_fd=parent)


def _write(parent: int, name: str, data: bytes, mode: int = 0o644) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with Fd(os.open(name, flags, 0o600, dir_fd=parent)) as file:
        write_all(file.fileno(), data)
        os.fchmod(file.fileno(), mode)


def _usr_link(host: int, directory: int, name: str) -> None:
    try:
        status = os.stat(name, dir_fd=host, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=host), name, dir_fd=directory)
    elif stat.S_ISDIR(status.st_mode):
        _mkdir(directory, name, 0o755)


class _Copy:
    """Takes the named files of the host's /etc into another."""

    def __init__(self, host: Rooted, etc: int) -> None:
        self._host = host
        self._etc = etc
        self._left = _TREE_LIMIT

    def run(self) -> None:
        """Take all that is named and there."""
        names = self._host.listdir("/etc")
        wanted = [*_FROM_ETC, *(name for name in names if name.startswith(_FROM_ETC_BY_PREFIX))]
        there = set(names)
        made: set[str] = set()
        for path in wanted:
            if path.partition("/")[0] not in there:
                continue
            parts = path.split("/")[:-1]
            for depth in range(1, len(parts) + 1):
                above = "/".join(parts[:depth])
                if above not in made:
                    _mkdir(self._etc, above, 0o755)
                    made.add(above)
            self._tree(path)

    def _tree(self, top: str) -> None:
        paths = [top]
        while paths and self._left:
            self._left -= 1
            path = paths.pop()
            try:
                paths += self._entry(path, top)
            except KernelError as error:
                if error.errno not in _LEFT_OUT:
                    raise

    def _entry(self, path: str, top: str) -> list[str]:
        """Take one entry, and return those of a directory."""
        source = f"/etc/{path}"
        status = self._host.stat(source, follow=False)
        if stat.S_ISLNK(status.st_mode):
            link = self._host.readlink(source)
            target = os.path.normpath(os.path.join(os.path.dirname(source), link))
            if target.startswith((*_SHOWN, f"/etc/{top}/")):
                os.symlink(link, path, dir_fd=self._etc)
                return []
            status = self._host.stat(source)
            if path != top or not stat.S_ISREG(status.st_mode):
                return []
        if stat.S_ISDIR(status.st_mode) and status.st_mode & 0o005 == 0o005:
            _mkdir(self._etc, path, 0o755)
            # Half of the alternatives are manual pages.
            return [f"{path}/{name}" for name in self._host.listdir(source) if not name.endswith(".gz")]
        if stat.S_ISREG(status.st_mode) and status.st_mode & 0o004 and status.st_size <= _FILE_LIMIT:
            mode = 0o755 if status.st_mode & 0o111 else 0o644
            _write(self._etc, path, self._host.read_bytes(source, limit=_FILE_LIMIT), mode)
        return []
