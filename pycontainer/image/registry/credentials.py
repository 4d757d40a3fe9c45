"""Credentials: who is asking, from where Docker's and podman's users have it written.

Looked up in this order: ``$DOCKER_CONFIG/config.json`` or ``~/.docker/config.json`` (in it ``credHelpers``,
``credsStore``, ``auths``, as Docker does), then ``auth.json`` of containers-auth.json(5).
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import stat
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from pycontainer.errors import NotSupported
from pycontainer.image.registry.helper import ask_helper

_LARGEST = 1 << 20
_HUB_KEY = "https://index.docker.io/v1/"
_HUB_NAMES = ("docker.io", "index.docker.io", "registry-1.docker.io")


@attrs.frozen(kw_only=True)
class Credential:
    """Who asks: a user with a password, or a token that another token is given for (``identity_token``)."""

    user: str = ""
    password: str = attrs.field(default="", repr=False)
    identity_token: str = attrs.field(default="", repr=False)
    registry_token: str = attrs.field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of the header ``Authorization`` (RFC 7617)."""
        return f"Basic {base64.b64encode(f'{self.user}:{self.password}'.encode()).decode()}"


def find_credential(host: str) -> Credential | None:
    """Return what the configuration files know for a registry, named as in names of images.

    Starts a credential helper where one is configured.  Raises :class:`NotSupported` for a file or helper
    that cannot be made sense of: to go on as nobody would hide it.
    """
    for path in _files():
        content = _read(path)
        if content is None:
            continue
        found = _look(content, host, path)
        if found is not None:
            return found
    return None


def _files() -> Iterator[str]:
    home = os.environ.get("HOME") or os.path.expanduser("~")
    yield os.path.join(os.environ.get("DOCKER_CONFIG") or os.path.join(home, ".docker"), "config.json")
    given = os.environ.get("REGISTRY_AUTH_FILE")
    if given:
        yield given
        return
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    yield (
        os.path.join(runtime, "containers/auth.json")
        if runtime
        else f"/run/containers/{os.geteuid()}/auth.json"
    )
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    yield os.path.join(config, "containers/auth.json")


def _read(path: str) -> Mapping[str, Any] | None:
    """Read a configuration file; None when there is none."""
    fix = "mend the file or take it away, or give auth= to use none"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if isinstance(error, PermissionError) and not os.access(os.path.dirname(path), os.X_OK):
            return None  # the place is somebody else's: /run/containers belongs to root where root has used podman
        raise NotSupported(f"{path} cannot be read: {error.strerror}", fix) from None
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise NotSupported(f"{path} is no regular file", fix)
        content = file.read(_LARGEST + 1)
    try:
        if len(content) > _LARGEST:
            raise ValueError("it is larger than 1 MiB")
        value = json.loads(content or b"{}")
        if not isinstance(value, dict):
            raise ValueError("it is no object")
    except (ValueError, RecursionError) as error:
        raise NotSupported(f"{path} is no configuration: {ascii(str(error))[1:-1][:200]}", fix) from None
    return value


def _look(content: Mapping[str, Any], host: str, path: str) -> Credential | None:
    keys = _keys(host)
    helpers = content.get("credHelpers")
    if isinstance(helpers, dict):
        for key, name in helpers.items():
            if _plain(key) in keys:
                return _from_helper(name, key if _plain(key) == host else keys[0], path)
    if content.get("credsStore"):
        found = _from_helper(content["credsStore"], keys[0], path)
        if found is not None:
            return found
    auths = content.get("auths")
    if not isinstance(auths, dict):
        return None
    exact = [entry for key, entry in auths.items() if key in keys]
    others = [entry for key, entry in auths.items() if key not in keys and _plain(key) in keys]
    for entry in exact + others:
        if isinstance(entry, dict) and (found := _entry(entry, path)) is not None:
            return found
    return None


def _keys(host: str) -> tuple[str, ...]:
    """The names of a registry in files, the usual one first."""
    return (_HUB_KEY, *_HUB_NAMES) if host in _HUB_NAMES else (host,)


def _plain(key: object) -> str:
    """The host of a key that may be an address."""
    text = key if isinstance(key, str) else ""
    return text.partition("://")[2].partition("/")[0] if "://" in text else text.removesuffix("/")


def _from_helper(name: object, key: str, path: str) -> Credential | None:
    found = ask_helper(name, key, path)
    if found is None:
        return None
    user, secret = found
    # What helpers say in the place of a user when the secret is a token.
    return Credential(identity_token=secret) if user == "<token>" else Credential(user=user, password=secret)


def _entry(entry: Mapping[str, Any], path: str) -> Credential | None:
    told = {
        name: entry.get(name) or "" for name in ("username", "password", "identitytoken", "registrytoken")
    }
    if not all(isinstance(text, str) for text in told.values()):
        raise NotSupported(f"{path} has a credential that is no text", "log in again, or give auth=")
    user, password = told["username"], told["password"]
    if entry.get("auth"):
        try:
            text = base64.b64decode(entry["auth"], validate=True).decode()
        except (TypeError, ValueError, binascii.Error):
            raise NotSupported(
                f"{path} has a credential that is no base64", "log in again, or give auth="
            ) from None
        user, _, password = text.partition(":")
        password = password.rstrip("\0")
    if not (user or told["identitytoken"] or told["registrytoken"]):
        return None
    return Credential(
        user=user,
        password=password,
        identity_token=told["identitytoken"],
        registry_token=told["registrytoken"],
    )
