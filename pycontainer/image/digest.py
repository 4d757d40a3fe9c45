"""Digests: the names of content, checked before they come near a path or a URL (CVE-2024-3727)."""

from __future__ import annotations

import hashlib
import re

from pycontainer.errors import ImageError

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def is_digest(text: object) -> bool:
    """Whether this is the sha256 digest of something, in the form of the OCI image specification (descriptor.md)."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def check_digest(text: object, where: str) -> str:
    """The digest that ``where`` tells. Raises :class:`ImageError` for one of another form or algorithm.

    >>> check_digest("sha256:../../etc", "the manifest")
    Traceback (most recent call last):
    pycontainer.errors.ImageError: the manifest has the digest 'sha256:../../etc': sha256 and 64 digits are needed
    """
    if not isinstance(text, str) or not is_digest(text):
        raise ImageError(f"{where} has the digest {ascii(text)[:200]}: sha256 and 64 digits are needed")
    return text


def digest_of(content: bytes) -> str:
    """The digest of some bytes.

    >>> digest_of(b"")
    'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
    """
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
