"""Authentication: answers challenges of one registry, and sees to it that its credentials stay with it.

::

    registry   401  WWW-Authenticate: Bearer realm="https://auth.example/token",service="s",scope="..."
    realm      GET  ?service=s&scope=...   with Basic credentials, if there are any     -> {"token": ...}
               POST grant_type=refresh_token ...       where an identity token is known -> {"access_token": ...}
    registry        Authorization: Bearer TOKEN

Where a password may go (CVE-2020-15157 and its like): to the registry; to a realm on the registry's own
host; to another host over https alone, and only if the registry itself was verified when it named it.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

from pycontainer.errors import RegistryDenied
from pycontainer.image.registry.answer import Answer
from pycontainer.image.registry.challenge import Challenge, parse_challenges
from pycontainer.image.registry.credentials import Credential
from pycontainer.image.registry.location import Location
from pycontainer.image.registry.patience import Broken
from pycontainer.image.registry.wire import Wire

_CLIENT = "pycontainer"
_LARGEST = 1 << 20
#: What a token lives that does not say how long, and at the least (distribution, "Token Authentication").
_LIFE = 60.0
#: No longer than this is believed, nor needed.
_LONGEST_LIFE = 3600.0
_MOST_TOKENS = 1000

#: A scope is a resource with its actions: ("repository:library/debian", {"pull"}).
Scope = tuple[str, frozenset[str]]


def repository_scope(repository: str, *actions: str) -> Scope:
    """The scope of something done to a repository."""
    return f"repository:{repository}", frozenset(actions)


class Authentication:
    """Makes the header ``Authorization`` for one registry. Thread-safe: a token is asked for once."""

    def __init__(self, wire: Wire, find: Callable[[], Credential | None]) -> None:
        self._wire = wire
        self._find = find
        self._lock = threading.Lock()
        self._challenge: Challenge | None = None
        self._found = False
        self._known: Credential | None = None
        self._tokens: dict[tuple[str, ...], tuple[str, float]] = {}

    def header(self, scopes: tuple[Scope, ...]) -> str | None:
        """What to send with a request of these scopes; None before the registry asked for anything.

        Raises :class:`Broken`, :class:`RegistryDenied`, :class:`NotSupported` for broken configuration files.
        """
        with self._lock:
            if self._challenge is None:
                return None
            return self._answer(self._challenge, scopes)

    def learn(self, answer: Answer, sent: str | None, scopes: tuple[Scope, ...]) -> str | None:
        """Return what to send instead, after an answer with status 401; None when there is nothing else to try."""
        challenges = parse_challenges(answer.header("WWW-Authenticate") or "")
        kinds = {each.scheme: each for each in reversed(challenges)}
        challenge = kinds.get("bearer") or kinds.get("basic")
        if challenge is None:
            return None
        # What one request lacked is no part of what the next ones need.
        extra = _scopes_of(challenge.parameters.pop("scope", ""))
        with self._lock:
            self._challenge = challenge
            wanted = _union(scopes, extra)
            if sent is not None:
                self._tokens = {
                    key: value for key, value in self._tokens.items() if f"Bearer {value[0]}" != sent
                }
            made = self._answer(self._challenge, wanted)
            if made is not None and made.startswith("Bearer "):
                token = self._tokens.get(_key(wanted))
                if token is not None:
                    self._tokens[_key(scopes)] = token
            return None if made == sent else made

    def _answer(self, challenge: Challenge, scopes: tuple[Scope, ...]) -> str | None:
        credential = self._credential()
        if challenge.scheme == "basic":
            return credential.basic if credential is not None and credential.user else None
        if credential is not None and credential.registry_token:
            return f"Bearer {credential.registry_token}"
        key = _key(scopes)
        token, until = self._tokens.get(key, ("", 0.0))
        if not token or time.monotonic() >= until:
            token, life = self._fetch(challenge, key, credential)
            if len(self._tokens) >= _MOST_TOKENS:
                self._tokens.clear()
            self._tokens[key] = token, time.monotonic() + life
        return f"Bearer {token}"

    def _credential(self) -> Credential | None:
        if not self._found:
            self._known = self._find()
            self._found = True
        return self._known

    def _fetch(
        self, challenge: Challenge, scopes: tuple[str, ...], credential: Credential | None
    ) -> tuple[str, float]:
        realm = self._realm(challenge, credential)
        service = challenge.parameters.get("service", "")
        if credential is not None and credential.identity_token:
            form = {
                "grant_type": "refresh_token", "refresh_token": credential.identity_token, "service": service,
                "scope": " ".join(scopes), "client_id": _CLIENT,
            }  # fmt: skip
            content = urllib.parse.urlencode(form).encode()
            answer = self._wire.follow(
                "POST",
                realm,
                headers={"Content-Type": "application/x-www-form-urlencoded"},
                body=lambda: content,
                secret=True,
            )
        else:
            query = [("service", service)] * bool(service) + [("scope", each) for each in scopes]
            query.append(("client_id", _CLIENT))
            authorization = None
            if credential is not None and credential.user:
                query.append(("account", credential.user))
                authorization = credential.basic
            sign = "&" if "?" in realm.target else "?"
            answer = self._wire.follow(
                "GET",
                realm.at(f"{realm.target}{sign}{urllib.parse.urlencode(query)}"),
                headers={},
                authorization=authorization,
            )
        return self._token(answer, realm)

    def _realm(self, challenge: Challenge, credential: Credential | None) -> Location:
        told = challenge.parameters.get("realm", "")
        realm = self._wire.check(self._wire.base, told)
        own = realm.host == self._wire.base.host
        if own and (realm.scheme == "https" or self._wire.insecure):
            return realm
        if realm.scheme != "https":
            raise self._refused(f"it wants tokens to be got at {realm.authority} by plain http")
        if credential is not None and not self._wire.trusted:
            raise self._refused(
                f"it wants the credentials to be sent to {realm.authority}, and was not verified itself: "
                "without TLS anybody in between can say so"
            )
        return realm

    def _refused(self, what: str) -> RegistryDenied:
        return RegistryDenied(self._wire.host, what, status=401)

    def _token(self, answer: Answer, realm: Location) -> tuple[str, float]:
        if answer.status != 200:
            raise answer.failure(f"{realm.authority} gives no token")
        try:
            value: Any = json.loads(answer.document(_LARGEST))
            token = value.get("token") or value.get("access_token")
            life = value.get("expires_in") or _LIFE
            refresh = value.get("refresh_token")
            if not isinstance(token, str) or not token.isascii() or not token.isprintable():
                raise ValueError("there is no token in it")
            seconds = min(max(float(life), _LIFE), _LONGEST_LIFE)
        except (ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            raise Broken(
                f"{realm.authority} answers something else than a token: {ascii(str(error))[1:-1][:100]}",
                again=False,
            ) from None
        if isinstance(refresh, str) and refresh and self._known is not None and self._known.identity_token:
            self._known = Credential(identity_token=refresh)
        # Not until its last moment: the request takes time, and clocks differ.
        return token, seconds * 0.8


def _scopes_of(text: str) -> tuple[Scope, ...]:
    """Read scopes that a challenge names: ``repository:a/b:pull,push repository:c:pull``."""
    found = []
    for each in text.split()[:20]:
        resource, _, actions = each.rpartition(":")
        if resource:
            found.append((resource, frozenset(actions.split(","))))
    return tuple(found)


def _union(first: tuple[Scope, ...], second: tuple[Scope, ...]) -> tuple[Scope, ...]:
    merged: dict[str, frozenset[str]] = {}
    for resource, actions in (*first, *second):
        merged[resource] = merged.get(resource, frozenset()) | actions
    return tuple(merged.items())


def _key(scopes: tuple[Scope, ...]) -> tuple[str, ...]:
    return tuple(f"{resource}:{','.join(sorted(actions))}" for resource, actions in scopes)
