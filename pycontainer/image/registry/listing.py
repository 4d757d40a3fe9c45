"""Lists of a registry, page after page: tags and repositories (distribution-spec, "Content Discovery")."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from pycontainer.errors import RegistryError
from pycontainer.image.registry.answer import Answer
from pycontainer.image.registry.authentication import Scope
from pycontainer.image.registry.endpoint import Endpoint
from pycontainer.image.registry.patience import Broken

_PAGE = 1000
_PAGE_BYTES = 8 << 20
#: No list is longer: a registry that always has another page is not read for ever.
_MOST = 1_000_000
_MOST_PAGES = 10_000
_NEXT = re.compile(r'<([^<>]*)>\s*(?:;[^,]*?)?;\s*rel="?next"?', re.IGNORECASE)


def list_all(
    endpoint: Endpoint, target: str, key: str, scope: Scope, is_name: Callable[[object], bool], what: str
) -> list[str]:
    """Return all names of a list, sorted: not all registries do.

    Raises :class:`RegistryError` for what is no list, or one without end.
    """
    found: list[str] = []
    for value in pages(endpoint, f"{target}?n={_PAGE}", scope, what):
        names = value.get(key) or []
        if not isinstance(names, list) or not all(is_name(name) for name in names):
            raise RegistryError(endpoint.host, f"{what}: it answers with something else than names")
        found += names
        if len(found) > _MOST:
            raise RegistryError(endpoint.host, f"{what}: the list has no end")
    return sorted(set(found))


def pages(endpoint: Endpoint, target: str, scope: Scope, what: str) -> list[dict[str, Any]]:
    """Return the objects of all pages, as far as links of the same registry lead."""
    found: list[dict[str, Any]] = []
    seen: set[str] = set()
    total = 0
    following: str | None = target
    while following is not None:
        seen.add(following)
        answer, content = endpoint.document("GET", following, scope, largest=_PAGE_BYTES)
        if answer.status != 200:
            raise endpoint.refuse(answer, what)
        try:
            value = json.loads(content)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise RegistryError(endpoint.host, f"{what}: it answers with something else than JSON")
        found.append(value)
        total += len(content)
        following = _next(endpoint, answer, what)
        if following in seen or len(found) > _MOST_PAGES or total > _PAGE_BYTES * 16:
            raise RegistryError(endpoint.host, f"{what}: the list has no end")
    return found


def _next(endpoint: Endpoint, answer: Answer, what: str) -> str | None:
    """Where the next page is; at the registry itself, since requests for it carry credentials."""
    match = _NEXT.search((answer.header("Link") or "")[:16384])
    if match is None:
        return None
    try:
        location = endpoint.wire.check(answer.location, match[1])
    except Broken as error:
        raise error.final(endpoint.host) from None
    if location.origin != endpoint.wire.base.origin or not location.target.startswith("/v2/"):
        raise RegistryError(endpoint.host, f"{what}: the next page is elsewhere, at {str(location)[:200]}")
    return location.target.removeprefix("/v2/")
