"""The host image's own tree: what is in it, whose it is, and that nothing of the host's secrets is."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from pycontainer.errors import KernelError
from pycontainer.image.accounts import identify
from pycontainer.image.host import build_host_skeleton

Build: TypeAlias = Callable[..., Path]

#: All that may be in /etc, whatever the host has.
ETC = {
    "alternatives", "debian_version", "ethertypes", "fonts", "gai.conf", "group", "host.conf", "hostname", "hosts",
    "inputrc", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "magic", "magic.mime", "mime.types", "mtab",
    "nsswitch.conf", "os-release", "passwd", "perl", "pki", "profile", "protocols", "python3", "resolv.conf", "rpc",
    "services", "shells", "ssl", "terminfo", "timezone",
}  # fmt: skip


@pytest.fixture
def build(tmp_path: Path) -> Build:
    def build(host: str | Path = "/", uid: int = os.geteuid(), gid: int = os.getegid()) -> Path:
        place = tmp_path / "skeleton"
        place.mkdir()
        fd = os.open(place, os.O_RDONLY)
        try:
            build_host_skeleton(fd, uid, gid, str(host))
        finally:
            os.close(fd)
        return place

    return build


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A host with secrets, some of them in files of the allow-list."""
    top = tmp_path / "host"
    for name in (
        "usr/bin",
        "usr/lib",
        "etc/ssh",
        "etc/ssl/private",
        "etc/ssl/certs",
        "etc/alternatives",
        "opt",
    ):
        (top / name).mkdir(parents=True)
    for name in (
        "etc/shadow", "etc/gshadow", "etc/sudoers", "etc/machine-id", "etc/environment", "etc/fstab", "etc/krb5.keytab",
        "etc/ssh/ssh_host_ed25519_key", "etc/ssl/private/key.pem", "etc/passwd", "etc/group", "etc/hostname",
        "etc/hosts", "etc/resolv.conf", "etc/profile", "etc/bash.bashrc", "etc/gitconfig", "etc/services", "opt/file",
        "etc/ssl/certs/own.pem",
    ):  # fmt: skip
        (top / name).write_text(f"secret of the host in {name}")
    (top / "etc/services").chmod(0o640)
    (top / "etc/protocols").write_text("tcp 6 TCP\n")
    (top / "etc/alternatives/pager").symlink_to("/usr/bin/less")
    (top / "etc/alternatives/away").symlink_to("/opt/file")
    (top / "etc/alternatives/less.1.gz").symlink_to("/usr/share/man/less.1.gz")
    for name in ("bin", "lib"):
        (top / name).symlink_to(f"usr/{name}")
    return top


def entries(place: Path) -> list[Path]:
    return sorted(place.rglob("*"))


def test_the_tree_is_what_programs_expect(build: Build) -> None:
    place = build()
    for name, mode in {
        "": 0o755,
        "tmp": 0o1777,
        "var/tmp": 0o1777,
        "root": 0o700,
        "usr": 0o755,
        "etc": 0o755,
    }.items():
        assert stat.S_IMODE((place / name).stat().st_mode) == mode
    for name in ("proc", "sys", "dev", "run", "home", "opt", "srv", "mnt", "var/lib", "var/log", "var/cache"):
        assert (place / name).is_dir()
        assert os.listdir(place / name) in ([], ["lock"])
    assert os.listdir(place / "usr") == []
    for name in ("bin", "sbin", "lib", "lib64"):
        assert os.path.islink(place / name) == os.path.islink(f"/{name}")
    assert (place / "etc/os-release").is_symlink()


def test_there_is_nothing_in_etc_that_is_not_named(build: Build) -> None:
    names = {name for name in os.listdir(build() / "etc") if not name.startswith(("java-", "python3."))}
    assert names <= ETC


def test_everything_can_be_read_and_belongs_to_the_given_ids(build: Build) -> None:
    for path in entries(build()):
        status = path.lstat()
        assert (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())
        if stat.S_ISREG(status.st_mode):
            assert stat.S_IMODE(status.st_mode) in {0o644, 0o755}
        elif stat.S_ISDIR(status.st_mode) and path.name != "root":
            assert status.st_mode & 0o555 == 0o555


@pytest.mark.needs("root")
def test_other_ids_own_it_from_the_start(build: Build) -> None:
    place = build(uid=0x7FF00000, gid=0x7FF00001)
    owners = {(path.lstat().st_uid, path.lstat().st_gid) for path in [place, *entries(place)]}
    assert owners == {(0x7FF00000, 0x7FF00001)}


@pytest.mark.needs("user")
def test_other_ids_are_refused_to_who_may_not(build: Build) -> None:
    with pytest.raises(KernelError, match="build the host image's tree"):
        build(uid=0)


def test_the_umask_does_not_matter(build: Build) -> None:
    before = os.umask(0o077)
    try:
        place = build()
    finally:
        os.umask(before)
    assert stat.S_IMODE((place / "etc/passwd").stat().st_mode) == 0o644
    assert stat.S_IMODE((place / "tmp").stat().st_mode) == 0o1777


def test_no_secret_of_the_host_is_in_it(build: Build, host: Path) -> None:
    place = build(host)
    for path in entries(place):
        if path.is_file() and not path.is_symlink():
            assert "secret" not in path.read_text(), path
    assert (place / "etc/protocols").read_text() == "tcp 6 TCP\n"
    assert not (place / "etc/services").exists()
    assert os.listdir(place / "etc/alternatives") == ["pager"]
    assert os.readlink(place / "etc/alternatives/pager") == "/usr/bin/less"


def test_accounts_are_those_of_a_base_system_without_passwords(build: Build) -> None:
    place = build()
    assert identify("", (str(place),)).home == "/root"
    assert identify("www-data", (str(place),)).uid == 33
    lines = [line.split(":") for line in (place / "etc/passwd").read_text().splitlines()]
    assert {fields[1] for fields in lines} == {"*"}
    assert [fields[0] for fields in lines if 1000 <= int(fields[2]) < 65534] == []
    assert not (place / "etc/shadow").exists()


def test_a_host_that_has_not_merged_usr(build: Build, host: Path) -> None:
    (host / "bin").unlink()
    (host / "bin").mkdir()
    (host / "bin/sh").touch()
    place = build(host)
    assert os.listdir(place / "bin") == []
    assert os.readlink(place / "lib") == "usr/lib"
    assert not (place / "sbin").exists()


@pytest.mark.parametrize("name", ["services", "alternatives/fifo", "ssl/certs/ca-certificates.crt"])
def test_what_is_no_file_is_left_out_unopened(build: Build, host: Path, name: str) -> None:
    (host / "etc" / name).unlink(missing_ok=True)
    os.mkfifo(host / "etc" / name)
    assert not (build(host) / "etc" / name).exists()


def test_links_of_the_allow_list(build: Build, host: Path) -> None:
    """A file behind a link is taken, the host's way to it does not show; what is broken is left out."""
    (host / "etc/pki/extracted").mkdir(parents=True)
    (host / "etc/pki/extracted/bundle").write_text("certificates")
    (host / "etc/ssl/certs/ca-certificates.crt").symlink_to("/etc/pki/extracted/bundle")
    (host / "etc/localtime").symlink_to("/usr/share/zoneinfo/UTC")
    (host / "etc/rpc").symlink_to("rpc")
    (host / "etc/magic").symlink_to("nothing")
    (host / "etc/terminfo").symlink_to("/opt")
    place = build(host)
    assert (place / "etc/ssl/certs/ca-certificates.crt").read_text() == "certificates"
    assert not (place / "etc/ssl/certs/ca-certificates.crt").is_symlink()
    assert os.readlink(place / "etc/localtime") == "/usr/share/zoneinfo/UTC"
    for name in ("rpc", "magic", "terminfo"):
        assert not os.path.lexists(place / "etc" / name)


def test_large_files_are_no_configuration(build: Build, host: Path) -> None:
    os.truncate(host / "etc/protocols", (4 << 20) + 1)
    assert not (build(host) / "etc/protocols").exists()


def test_a_directory_that_is_not_empty_is_an_error(build: Build, tmp_path: Path) -> None:
    build()
    fd = os.open(tmp_path / "skeleton", os.O_RDONLY)
    with pytest.raises(KernelError, match="build the host image's tree"):
        build_host_skeleton(fd, os.geteuid(), os.getegid())
    os.close(fd)
