"""Credential helpers: programs ``docker-credential-NAME`` that know secrets (docker-credential-helpers).

The one program that the layer of images starts, and it is the user's own: the configuration file names it.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import shutil
import subprocess
import time

from pycontainer.errors import NotSupported

#: A helper may ask its user to unlock something.
TIMEOUT = 60.0
_LARGEST = 1 << 16
#: What helpers write when they know nothing of a registry; there is no other sign of it.
_NOTHING = "credentials not found in native keychain"


def ask_helper(name: object, key: str, path: str, timeout: float | None = None) -> tuple[str, str] | None:
    """Return user and secret that a helper has for a registry, or None when it has none.

    The helper is ended after ``timeout`` seconds.  Raises :class:`NotSupported` for a helper that is missing
    or fails; what it wrote may be a secret and is not repeated.
    """
    fix = f"mend {path}, or give auth="
    if not isinstance(name, str) or re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) is None:
        raise NotSupported(f"{path} names a credential helper {ascii(name)[:100]}", fix)
    program = shutil.which(f"docker-credential-{name}")
    if program is None:
        raise NotSupported(f"the credential helper docker-credential-{name} is not installed", fix)
    status, output = _run([program, "get"], key.encode(), TIMEOUT if timeout is None else timeout)
    if status is None:
        raise NotSupported(f"the credential helper {program} does not come to an end", fix)
    if status:
        if _NOTHING in output.decode(errors="replace").lower():
            return None
        raise NotSupported(f"the credential helper {program} fails with status {status}", fix)
    try:
        value = json.loads(output)
        user, secret = value["Username"], value["Secret"]
    except (ValueError, LookupError, TypeError, RecursionError):
        user = secret = None
    if not isinstance(user, str) or not isinstance(secret, str):
        raise NotSupported(f"the credential helper {program} answers something else than a credential", fix)
    return (user, secret) if user or secret else None


def _run(command: list[str], text: bytes, timeout: float) -> tuple[int | None, bytes]:
    """Status and bounded output of a program; no status when it took too long or wrote too much."""
    deadline = time.monotonic() + timeout
    output = b""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            if process.stdin is None or process.stdout is None:
                return None, b""
            try:
                # Shorter than PIPE_BUF: it never waits for the program.
                process.stdin.write(text)
                process.stdin.close()
            except BrokenPipeError:
                pass
            with selectors.DefaultSelector() as selector:
                selector.register(process.stdout, selectors.EVENT_READ)
                while len(output) <= _LARGEST and selector.select(max(0.0, deadline - time.monotonic())):
                    part = os.read(process.stdout.fileno(), 1 << 16)
                    output += part
                    if not part:
                        return process.wait(max(0.1, deadline - time.monotonic())), output
            return None, b""
        except subprocess.TimeoutExpired:
            return None, b""
        finally:
            process.kill()
