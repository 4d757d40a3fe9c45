"""Logging in and out: credentials that are written where Docker's programs look for them.

A credential helper has them where the configuration file names one, else the file itself, for its owner alone.
What the file says of other things stays.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
from collections.abc import Callable
from typing import Any, TypeVar

from pycontainer.errors import InvalidArgument
from pycontainer.image.newfile import NewFile
from pycontainer.image.registry.client import Registry
from pycontainer.image.registry.credentials import config_file, helper_of, key_of, read_config
from pycontainer.image.registry.helper import erase, keep
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.rooted import named

_T = TypeVar("_T")


def login(host: str, user: str, password: str, *, insecure: bool = False) -> str:
    """Ask the registry whether it knows them, and keep them; where they are kept is returned.

    ``host`` is a registry as in names of images, such as "docker.io".  Raises :class:`RegistryDenied` for wrong
    ones, which are not kept, :class:`RegistryError`, :class:`InvalidArgument`, and :class:`NotSupported` for a file or
    helper that cannot be made sense of.
    """
    if not user or not password:
        raise InvalidArgument("user", user, "a user and a password are needed")
    with Registry(host, auth=(user, password), insecure=insecure) as registry:
        registry.ping()
    key, path = key_of(registry.host), config_file()

    def enter(content: dict[str, Any]) -> str:
        name = helper_of(content, key)
        auths = content.setdefault("auths", {})
        if name is not None:
            keep(name, key, user, password, path)
            auths[key] = {}
            return f"docker-credential-{name}"
        auths[key] = {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}
        return path

    return _changed(path, enter)


def logout(host: str) -> bool:
    """Forget what :func:`login` has kept for a registry; False when there was nothing.

    Raises :class:`NotSupported` for a file or helper that cannot be made sense of.
    """
    key, path = key_of(host), config_file()
    if not os.path.exists(path):
        return False

    def leave(content: dict[str, Any]) -> bool:
        name = helper_of(content, key)
        if name is not None:
            erase(name, key, path)
        found = content.get("auths", {}).pop(key, None)
        return name is not None or found is not None

    return _changed(path, leave)


def _changed(path: str, change: Callable[[dict[str, Any]], _T]) -> _T:
    """Change the configuration file: all of it or nothing, and one process after the other."""
    directory = os.path.dirname(os.path.realpath(path))
    with named(f"write {path}"):
        os.makedirs(directory, mode=0o700, exist_ok=True)
        lock = Fd(os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        with lock:
            fcntl.flock(lock.fileno(), fcntl.LOCK_EX)
            content = dict(read_config(path) or {})
            result = change(content)
            text = json.dumps(content, indent="\t").encode() + b"\n"
            with NewFile(path, mode=0o600) as file:
                file.write(text)
                file.commit()
    return result
