"""The tree of the host image: everything beside the host's /usr, made by us.

An allow-list: what is not named here is not in the container, so nothing secret of the host can be.
"""

from __future__ import annotations

import os
import shutil
import stat

#: Links into /usr of a merged host; made as the host has them.
_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_DIRECTORIES = (
    "boot", "dev", "etc", "home", "media", "mnt", "opt", "proc", "root", "run", "run/lock", "srv", "sys", "tmp",
    "var", "var/cache", "var/lib", "var/lock", "var/log", "var/mail", "var/spool", "var/tmp",
)  # fmt: skip
_MODES = {"tmp": 0o1777, "var/tmp": 0o1777, "root": 0o700, "run/lock": 0o1777}
#: Files of the host's /etc that programs need and that say nothing of the host.
_COPIED = (
    "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "mime.types", "services", "protocols",
    "rpc", "ethertypes", "inputrc", "bash.bashrc", "profile", "os-release", "debian_version", "localtime", "timezone",
    "terminfo", "magic", "magic.mime", "ssl/certs/ca-certificates.crt", "ssl/openssl.cnf", "gai.conf",
    "java-17-openjdk", "fonts", "perl", "python3", "python3.11", "shells", "nsswitch.conf",
)  # fmt: skip
#: The accounts of a Debian base system that programs look for; no people.
_USERS = (
    ("root", 0, 0, "/root", "/bin/sh"),
    ("daemon", 1, 1, "/usr/sbin", "/usr/sbin/nologin"),
    ("bin", 2, 2, "/bin", "/usr/sbin/nologin"),
    ("sys", 3, 3, "/dev", "/usr/sbin/nologin"),
    ("mail", 8, 8, "/var/mail", "/usr/sbin/nologin"),
    ("www-data", 33, 33, "/var/www", "/usr/sbin/nologin"),
    ("nobody", 65534, 65534, "/nonexistent", "/usr/sbin/nologin"),
)
_GROUPS = (
    ("root", 0), ("daemon", 1), ("bin", 2), ("sys", 3), ("adm", 4), ("tty", 5), ("disk", 6), ("mail", 8),
    ("www-data", 33), ("shadow", 42), ("utmp", 43), ("staff", 50), ("users", 100), ("nogroup", 65534),
)  # fmt: skip
#: A copied tree larger than this is no configuration.
_FILES_LIMIT = 5000


def build_host_skeleton(directory: int, uid: int, gid: int, host: str = "/") -> None:
    """Fill the empty ``directory`` (an fd), giving all to ``uid`` and ``gid``; the host's /usr comes by mount."""
    here = f"/proc/self/fd/{directory}"
    for name in _DIRECTORIES:
        os.mkdir(f"{here}/{name}")
        os.chmod(f"{here}/{name}", _MODES.get(name, 0o755))
    for name in _LINKS:
        source = os.path.join(host, name)
        if os.path.islink(source):
            os.symlink(os.readlink(source), f"{here}/{name}")
        elif os.path.isdir(source):
            os.mkdir(f"{here}/{name}")
    os.mkdir(f"{here}/usr")
    for name in _COPIED:
        _copy(os.path.join(host, "etc", name), f"{here}/etc/{name}")
    for name, text in _synthetic().items():
        _write(f"{here}/etc/{name}", text)
    os.symlink("/proc/self/mounts", f"{here}/etc/mtab")
    if (uid, gid) != (os.geteuid(), os.getegid()):
        _give(here, uid, gid)


def _synthetic() -> dict[str, str]:
    users = "".join(f"{name}:x:{uid}:{gid}:{name}:{home}:{shell}\n" for name, uid, gid, home, shell in _USERS)
    return {
        "passwd": users,
        "group": "".join(f"{name}:x:{gid}:\n" for name, gid in _GROUPS),
        "hosts": "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n",
        "hostname": "localhost\n",
        "resolv.conf": "# No network.\n",
        "host.conf": "multi on\n",
    }


def _copy(source: str, target: str) -> None:
    """Copy a file, a link or a tree; what others may not read on the host is left out."""
    try:
        status = os.lstat(source)
    except FileNotFoundError:
        return
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(source), target)
    elif stat.S_ISDIR(status.st_mode):
        os.mkdir(target)
        for name in sorted(os.listdir(source))[:_FILES_LIMIT]:
            if name.endswith(".gz"):  # links to manual pages: half of /etc/alternatives
                continue
            _copy(f"{source}/{name}", f"{target}/{name}")
    elif stat.S_ISREG(status.st_mode) and status.st_mode & stat.S_IROTH:
        shutil.copyfile(source, target)
        os.chmod(target, status.st_mode & 0o755)


def _write(path: str, text: str) -> None:
    if os.path.islink(path):
        os.unlink(path)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _give(path: str, uid: int, gid: int) -> None:
    os.chown(f"{path}/.", uid, gid)
    with os.scandir(path) as entries:
        for entry in entries:
            os.chown(entry.path, uid, gid, follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False):
                _give(entry.path, uid, gid)
