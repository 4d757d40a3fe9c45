"""Challenges: how a registry wants to be asked (RFC 9110, 11.6.1; distribution, "Token Authentication")."""

from __future__ import annotations

import re

import attrs

#: No header of a registry is longer.
_LONGEST = 16384
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME = re.compile(rf"[\s,]*({_TOKEN})(?=\s|,|$)\s*")
_PARAMETER = re.compile(rf'[\s,]*({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))\s*(?=,|$)')


@attrs.frozen
class Challenge:
    """One way to be asked: a scheme in small letters, and what belongs to it."""

    scheme: str
    parameters: dict[str, str] = attrs.field(factory=dict)


def parse_challenges(header: str) -> list[Challenge]:
    """Read the header ``WWW-Authenticate``, several joined by commas; what cannot be read ends the list.

    >>> parse_challenges('Bearer realm="https://a/t",scope="x:y,z", Basic realm=all')[0].parameters["scope"]
    'x:y,z'
    """
    found: list[Challenge] = []
    header = header[:_LONGEST]
    position = 0
    while position < len(header):
        parameter = _PARAMETER.match(header, position) if found else None
        if parameter is not None:
            value = parameter[3] if parameter[2] is None else re.sub(r"\\(.)", r"\1", parameter[2])
            found[-1].parameters.setdefault(parameter[1].lower(), value)
            position = parameter.end()
            continue
        scheme = _SCHEME.match(header, position)
        if scheme is None:
            break
        found.append(Challenge(scheme[1].lower()))
        position = scheme.end()
    return found
