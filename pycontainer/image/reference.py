"""References: the names of images, read as Docker reads them (distribution/reference, normalize.go and regexp.go)."""

from __future__ import annotations

import re

import attrs

from pycontainer.errors import InvalidArgument
from pycontainer.image.digest import is_digest

#: Where a name without a host is looked for, in its own notation and in that of old.
DEFAULT_REGISTRY, _LEGACY_REGISTRY = "docker.io", "index.docker.io"
_OFFICIAL = "library/"
DEFAULT_TAG = "latest"
#: Characters of a repository.
LONGEST_REPOSITORY = 255

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
# IPv6 without zones and without IPv4 in it.
_REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}")
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")


@attrs.frozen(kw_only=True)
class Reference:
    """The name of an image: a repository of a registry, with a tag, a digest or both; with both, the digest decides.

    Always in the full form: another notation of the same name makes an equal value, and what is constructed
    by hand is refused in any other form (:class:`InvalidArgument`).  Host names are taken as they are told:
    whether there is such a host, or such a port, shows when it is asked.

    >>> str(Reference.parse("debian"))
    'docker.io/library/debian:latest'
    >>> Reference.parse("localhost:5000/app@sha256:" + "0" * 64).tag is None
    True
    """

    registry: str
    """A host, with its port where one is told: ``docker.io``, ``localhost:5000``, ``[::1]:5000``."""
    repository: str
    """Such as ``library/debian``."""
    tag: str | None = None
    digest: str | None = None

    def __attrs_post_init__(self) -> None:
        _match(
            _REGISTRY, "registry", self.registry, "a host name or address is needed, such as 'localhost:5000'"
        )
        _match(
            _REPOSITORY, "repository", self.repository, "words of a-z and 0-9, with single . _ - or / between"
        )
        if len(self.repository) > LONGEST_REPOSITORY:
            raise InvalidArgument(
                "repository", self.repository, f"no more than {LONGEST_REPOSITORY} characters are possible"
            )
        if self.registry == _LEGACY_REGISTRY:
            raise InvalidArgument("registry", self.registry, f"its name is {DEFAULT_REGISTRY!r} now")
        if self.registry == DEFAULT_REGISTRY and "/" not in self.repository:
            raise InvalidArgument(
                "repository", self.repository, f"{_OFFICIAL + self.repository!r} is its name there"
            )
        if self.tag is not None:
            _match(_TAG, "tag", self.tag, "up to 128 of a-z, A-Z, 0-9, _ . and -, not with . or - in front")
        if self.digest is not None and not is_digest(self.digest):
            raise InvalidArgument("digest", self.digest, "'sha256:' and 64 digits of 0-9 and a-f are needed")

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a name as people write it: ``debian``, ``team/app:v1``, ``[::1]:5000/app@sha256:...``.

        What is before the first slash is a host if it has a dot, a colon or an upper-case letter in it, or
        is ``localhost``; without one, it is Docker Hub.  Without tag and digest, the tag is ``latest``.
        Raises :class:`InvalidArgument`.
        """
        if not isinstance(text, str) or not text:
            raise InvalidArgument("reference", text, "the name of an image is needed, such as 'debian:12'")
        if _IDENTIFIER.fullmatch(text):
            raise InvalidArgument("reference", text, "64 digits are no name: write 'name@sha256:...'")
        if "://" in text:
            raise InvalidArgument("reference", text, "a name is no URL: leave out what is before the host")
        registry, rest = _split_registry(text)
        name, at, digest = rest.partition("@")
        repository, colon, tag = name.partition(":")
        if repository.lower() != repository:
            raise InvalidArgument("reference", text, f"a repository is in lower case: {repository.lower()!r}")
        try:
            return cls(
                registry=registry,
                repository=repository,
                tag=tag if colon else None if at else DEFAULT_TAG,
                digest=digest if at else None,
            )
        except InvalidArgument as error:
            raise InvalidArgument(
                "reference", text, f"it has a wrong {error.argument}: {error.reason}"
            ) from None

    @property
    def name(self) -> str:
        """Registry and repository: ``docker.io/library/debian``."""
        return f"{self.registry}/{self.repository}"

    @property
    def familiar(self) -> str:
        """As people write it: without what :meth:`parse` adds by itself, but for the tag.

        >>> Reference.parse("docker.io/library/debian:12").familiar
        'debian:12'
        """
        return f"{self._familiar_name()}{self._suffix()}"

    def _familiar_name(self) -> str:
        if self.registry != DEFAULT_REGISTRY:
            return self.name
        first, _, rest = self.repository.partition("/")
        if first == _OFFICIAL[:-1] and "/" not in rest:
            return rest
        # Docker shortens "docker.io/localhost/x" as well, to what is another image.
        return self.name if _is_registry(first) else self.repository

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return f"{self.name}{self._suffix()}"


def _is_registry(first: str) -> bool:
    """Whether what is before the first slash is a host; upper case is one because no repository has any."""
    return first == "localhost" or "." in first or ":" in first or first.lower() != first


def _split_registry(text: str) -> tuple[str, str]:
    """The registry, and the rest with what is official spelled out."""
    first, slash, rest = text.partition("/")
    if not slash or not _is_registry(first):
        first, rest = DEFAULT_REGISTRY, text
    elif first == _LEGACY_REGISTRY:
        first = DEFAULT_REGISTRY
    if first == DEFAULT_REGISTRY and "/" not in rest:
        rest = _OFFICIAL + rest
    return first, rest


def _match(pattern: re.Pattern[str], argument: str, value: object, reason: str) -> None:
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise InvalidArgument(argument, value, reason)
