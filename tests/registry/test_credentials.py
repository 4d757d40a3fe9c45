"""Who asks, as configuration files and helpers have it."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from pycontainer.errors import InvalidArgument, NotSupported
from pycontainer.image.registry import Credential, Registry
from pycontainer.image.registry import helper as helper_module
from pycontainer.image.registry.credentials import find_credential

ME = Credential(user="me", password="se:cret")
CODE = base64.b64encode(b"me:se:cret").decode()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def docker(home: Path, content: object) -> None:
    place = home / ".docker"
    place.mkdir(exist_ok=True)
    (place / "config.json").write_text(content if isinstance(content, str) else json.dumps(content))


def podman(home: Path, content: object) -> None:
    place = home / "run/containers"
    place.mkdir(parents=True)
    (place / "auth.json").write_text(json.dumps(content))


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A helper ``docker-credential-tests``; what the test writes there is its script."""
    place = tmp_path / "bin"
    place.mkdir()
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    program = place / "docker-credential-tests"
    program.touch(0o755)
    return program


def test_nobody(home: Path) -> None:
    assert find_credential("registry.example") is None
    docker(home, {})
    assert find_credential("registry.example") is None
    docker(home, {"auths": {"registry.example": {}}, "HttpHeaders": {"X": "y"}})
    assert find_credential("registry.example") is None


@pytest.mark.parametrize(
    ("key", "host"),
    [
        ("registry.example", "registry.example"),
        ("registry.example:5000", "registry.example:5000"),
        ("https://registry.example", "registry.example"),
        ("https://registry.example/v1/", "registry.example"),
        ("http://registry.example:5000/v2/", "registry.example:5000"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io", "docker.io"),
        ("[::1]:5000", "[::1]:5000"),
    ],
)
def test_a_file_names_hosts_in_many_ways(home: Path, key: str, host: str) -> None:
    docker(home, {"auths": {key: {"auth": CODE}, "other.example": {"auth": "eDp5"}}})
    assert find_credential(host) == ME


@pytest.mark.parametrize(
    "host", ["registry.example:5000", "example", "xregistry.example", "registry.example.org", "docker.io"]
)
def test_what_is_for_another_host_is_not_for_this_one(home: Path, host: str) -> None:
    docker(home, {"auths": {"registry.example": {"auth": CODE}}})
    assert find_credential(host) is None


def test_the_exact_name_is_first(home: Path) -> None:
    docker(home, {"auths": {"https://a.example/v1/": {"auth": "eDp5"}, "a.example": {"auth": CODE}}})
    assert find_credential("a.example") == ME


def test_tokens(home: Path) -> None:
    docker(
        home,
        {
            "auths": {
                "a": {"identitytoken": "i"},
                "b": {"registrytoken": "r"},
                "c": {"auth": CODE, "identitytoken": "i"},
            }
        },
    )
    assert find_credential("a") == Credential(identity_token="i")
    assert find_credential("b") == Credential(registry_token="r")
    assert find_credential("c") == Credential(user="me", password="se:cret", identity_token="i")


def test_the_files_of_podman_are_next(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    podman(home, {"auths": {"a": {"auth": CODE}, "b": {"auth": CODE}}})
    docker(home, {"auths": {"a": {"auth": base64.b64encode(b"docker:x").decode()}}})
    assert find_credential("a") == Credential(user="docker", password="x")
    assert find_credential("b") == ME
    other = home / "auth.json"
    other.write_text(json.dumps({"auths": {"b": {"auth": base64.b64encode(b"named:x").decode()}}}))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(other))
    assert find_credential("b") == Credential(user="named", password="x")


@pytest.mark.parametrize(
    "content",
    ["{", "[]", "5", '{"auths": {"a": {"auth": "%%%"}}}', '{"auths": {"a": {"auth": "/////w=="}}}', '{"auths": {"a": {"auth": 5}}}',
     '{"auths": {"a": {"username": 5}}}', "[" * 100_000, " " * (2 << 20), '{"credsStore": "../../evil"}', '{"credsStore": 5}',
     '{"credHelpers": {"a": "x y"}}', '{"credsStore": "not-installed-anywhere"}'],
    ids=lambda content: content[:40],
)  # fmt: skip
def test_what_is_broken_is_named_and_not_passed_over(home: Path, content: str) -> None:
    docker(home, content)
    with pytest.raises(NotSupported) as caught:
        find_credential("a")
    assert "auth=" in caught.value.fix


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        '{"auths": null}',
        '{"auths": []}',
        '{"auths": {"a": null}}',
        '{"credsStore": ""}',
        '{"credHelpers": []}',
    ],
)
def test_what_is_empty_is_nobody(home: Path, content: str) -> None:
    docker(home, content)
    assert find_credential("a") is None


def test_a_fifo_does_not_hold_us(home: Path) -> None:
    (home / ".docker").mkdir()
    os.mkfifo(home / ".docker/config.json")
    with pytest.raises(NotSupported, match="no regular file"):
        find_credential("a")


class TestHelpers:
    def test_a_store_knows(self, home: Path, helper: Path) -> None:
        docker(home, {"credsStore": "tests"})
        helper.write_text(
            '#!/bin/sh\nread host\necho "{\\"Username\\": \\"$1\\", \\"Secret\\": \\"$host\\"}"\n'
        )
        assert find_credential("a.example:5000") == Credential(user="get", password="a.example:5000")
        assert find_credential("docker.io") == Credential(user="get", password="https://index.docker.io/v1/")

    def test_a_helper_of_one_host(self, home: Path, helper: Path) -> None:
        docker(
            home,
            {
                "credHelpers": {"a.example": "tests"},
                "auths": {"b": {"auth": CODE}, "a.example": {"auth": "eDp5"}},
            },
        )
        helper.write_text('#!/bin/sh\necho \'{"Username": "<token>", "Secret": "t"}\'\n')
        assert find_credential("a.example") == Credential(identity_token="t")
        assert find_credential("b") == ME

    def test_one_that_knows_nothing_is_followed_by_the_file(self, home: Path, helper: Path) -> None:
        docker(home, {"credsStore": "tests", "auths": {"a": {"auth": CODE}}})
        helper.write_text("#!/bin/sh\necho credentials not found in native keychain\nexit 1\n")
        assert find_credential("a") == ME
        assert find_credential("b") is None

    @pytest.mark.parametrize(
        ("script", "match"),
        [
            ("exit 3", "status 3"),
            ("echo secret; exit 1", "status 1"),
            ("echo secret", "something else"),
            ("echo '[]'", "something else"),
            ('echo \'{"Username": 5, "Secret": "secret"}\'', "something else"),
            ("exec yes secret", "does not come to an end"),
            ("exec sleep 60", "does not come to an end"),
            ("kill -9 $$", "status -9"),
        ],
    )
    def test_one_that_fails_is_named_and_what_it_says_is_not_told(
        self, home: Path, helper: Path, monkeypatch: pytest.MonkeyPatch, script: str, match: str
    ) -> None:
        monkeypatch.setattr(helper_module, "TIMEOUT", 0.5)
        docker(home, {"credsStore": "tests"})
        helper.write_text(f"#!/bin/sh\n{script}\n")
        with pytest.raises(NotSupported, match=match) as caught:
            find_credential("a")
        assert "secret" not in str(caught.value)

    def test_one_that_does_not_listen(self, home: Path, helper: Path) -> None:
        docker(home, {"credsStore": "tests"})
        helper.write_text('#!/bin/sh\nexec <&-\necho \'{"Username": "me", "Secret": "se:cret"}\'\n')
        assert find_credential("a") == ME

    def test_one_whose_child_stays(self, home: Path, helper: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It holds our end of the pipe; what it wrote is not complete until that is closed."""
        monkeypatch.setattr(helper_module, "TIMEOUT", 0.5)
        docker(home, {"credsStore": "tests"})
        helper.write_text('#!/bin/sh\nsleep 2 &\necho \'{"Username": "me", "Secret": "x"}\'\n')
        with pytest.raises(NotSupported, match="does not come to an end"):
            find_credential("a")


@pytest.mark.parametrize("auth", [("a",), ("a", 5), "a:b", 5, ("a:b", "c"), ["a", "b"]])
def test_wrong_arguments(auth: object) -> None:
    with pytest.raises(InvalidArgument, match="auth"):
        Registry("localhost", auth=auth)  # type: ignore[arg-type]


@pytest.mark.needs("user")
def test_a_place_that_is_somebody_elses_has_nothing_for_us(home: Path) -> None:
    podman(home, {"auths": {"registry.example": {"auth": CODE}}})
    place = home / "run/containers"
    place.chmod(0)
    try:
        assert find_credential("registry.example") is None
    finally:
        place.chmod(0o700)
    assert find_credential("registry.example") == ME
