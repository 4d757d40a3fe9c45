"""``--security-opt``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pycontainer.container.security import Security
from pycontainer.errors import InvalidArgument

_TRUE, _FALSE = {"", "true", "1"}, {"false", "0"}
_THERE = "there are no-new-privileges[=false], seccomp=FILE|builtin|unconfined and systempaths=unconfined"


def security(texts: Sequence[str], *, privileged: bool) -> Security:
    """The confinement that the options describe. Raises :class:`InvalidArgument`."""
    chosen = Security.privileged() if privileged else Security.default()
    told: dict[str, Any] = {}
    for text in texts:
        name, _, value = text.replace(":", "=", 1).partition("=") if "=" not in text else text.partition("=")
        if name == "no-new-privileges" and value in _TRUE | _FALSE:
            told["no_new_privs"] = value in _TRUE
        elif name == "seccomp":
            told["seccomp"] = _filter(value)
        elif name == "systempaths" and value == "unconfined":
            told.update(masked=(), read_only=())
        elif name == "apparmor" and value == "unconfined":
            pass  # no profile is loaded for containers: they are
        elif name == "apparmor":
            raise InvalidArgument(
                "security-opt",
                text,
                "AppArmor is not used: user namespaces, seccomp and capabilities confine containers",
            )
        elif name == "label" and value == "disable":
            pass  # nothing is labelled for SELinux
        elif name == "label":
            raise InvalidArgument("security-opt", text, "nothing is labelled for SELinux")
        else:
            raise InvalidArgument("security-opt", text, _THERE)
    return chosen.evolve(**told)


def _filter(value: str) -> Any:
    if value == "unconfined":
        return None
    if value == "builtin":
        return Security.default().seccomp
    if not value:
        raise InvalidArgument("security-opt", "seccomp=", _THERE)
    try:
        with open(value, encoding="utf-8") as file:
            profile = json.load(file)
    except ValueError:
        raise InvalidArgument("security-opt", f"seccomp={value}", "the file is no JSON") from None
    return profile
