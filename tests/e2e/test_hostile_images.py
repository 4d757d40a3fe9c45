"""Root file systems that try to lead their container's setup astray: all stays inside, or is refused cleanly."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

import pycontainer as pc

ROOT = pytest.mark.needs("root")


@pytest.fixture
def outside(tmp_path) -> Path:
    """A directory of the host with a canary, which must be as it was in the end."""
    place = tmp_path / "outside"
    (place / "sub").mkdir(parents=True)
    (place / "canary").write_text("of the host")
    (place / "passwd").write_text("root:x:4242:4242:canary:/canary:/bin/sh\n")
    return place


@pytest.fixture
def image(tmp_path, probe, outside):
    """An image's directory, with the payload in it; the host's files are compared in the end."""
    rootfs = tmp_path / "rootfs"
    (rootfs / "etc").mkdir(parents=True)
    shutil.copy(probe, rootfs / "probe")
    before = listing(outside)
    yield rootfs
    assert listing(outside) == before
    assert (outside / "canary").read_text() == "of the host"


def listing(top: Path) -> dict[str, tuple[int, int, int, int]]:
    found = {}
    for path in [top, *top.rglob("*")]:
        status = path.lstat()
        found[str(path)] = (status.st_mode, status.st_size, status.st_uid, status.st_mtime_ns)
    return found


def run(image: Path, *words: str, **options: object) -> str | None:
    """What the payload says, or ``None`` when the container is refused; any other exception is a failure."""
    before = listing(image)
    try:
        result = pc.run(pc.Image.from_rootfs(image), ["/probe", *words], text=True, timeout=60, **options)
    except pc.PyContainerError as error:
        assert "Traceback" not in str(error)
        return None
    finally:
        assert listing(image) == before, "the image was written to"
    assert result.exit_code == 0, (result.stdout, result.stderr)
    return result.stdout


#: What takes the place of a directory that every container needs.
SUBSTITUTES: dict[str, Callable[[Path, Path], object]] = {
    "link outside": lambda path, out: path.symlink_to(out),
    "link up and outside": lambda path, out: path.symlink_to("../" * 20 + str(out).lstrip("/")),
    "link to the root": lambda path, _: path.symlink_to("/"),
    "link up": lambda path, _: path.symlink_to(".."),
    "link to etc": lambda path, _: path.symlink_to("/etc"),
    "link to itself": lambda path, _: path.symlink_to(path.name),
    "magic link": lambda path, _: path.symlink_to("/proc/self/fd/0"),
    "link to another root": lambda path, _: path.symlink_to("/proc/1/root"),
    "dangling link": lambda path, _: path.symlink_to("/no/where"),
    "file": lambda path, _: path.write_text("x"),
    "fifo": lambda path, _: os.mkfifo(path),
    "directory without permissions": lambda path, _: path.mkdir(mode=0),
}


@pytest.mark.parametrize(
    "options", [{}, pytest.param({"userns": "host"}, marks=ROOT), {"tty": True}], ids=["auto", "host", "tty"]
)
@pytest.mark.parametrize("substitute", SUBSTITUTES)
@pytest.mark.parametrize("name", ["proc", "dev", "sys", "etc", "tmp"])
def test_a_directory_that_is_none(image, outside, name, substitute, options):
    if name == "etc":
        (image / "etc").rmdir()
    SUBSTITUTES[substitute](image / name, outside)
    try:
        said = run(image, "sysctls", "/proc/sys", "/sys", workdir="/tmp/work", **options)
        if said is not None:
            assert said.splitlines()[-1].strip() == "succeeded 0"
    finally:
        if substitute == "directory without permissions":
            (image / name).chmod(0o700)


DEVICE_SUBSTITUTES = ["null", "zero", "tty", "pts", "shm", "mqueue", "console", "fd", "ptmx"]


@pytest.mark.parametrize("substitute", ["link outside", "link to the root", "file", "fifo"])
@pytest.mark.parametrize("name", DEVICE_SUBSTITUTES)
def test_a_device_that_is_none(image, outside, name, substitute):
    (image / "dev").mkdir()
    SUBSTITUTES[substitute](image / "dev" / name, outside)
    for options in ({}, {"tty": True}):
        said = run(image, "devices", **options)
        assert said is not None
        nodes = {line.split()[0]: line.split()[2] for line in said.replace("\r", "").splitlines()}
        assert nodes["/dev/null"] == "1:3"
        assert set(nodes) - {"/dev/console"} == {
            f"/dev/{n}" for n in ("null", "zero", "full", "random", "urandom", "tty")
        }


@pytest.mark.parametrize("name", ["proc/kcore", "proc/keys", "proc/sys", "sys/firmware", "proc/acpi"])
def test_a_mask_is_not_led_elsewhere(image, outside, name):
    path = image / name
    path.parent.mkdir()
    path.symlink_to(outside)
    assert run(image, "idle") is not None


def huge(path: Path, _: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 34)


ACCOUNTS: dict[str, Callable[[Path, Path], object]] = {
    "fifo": lambda path, _: os.mkfifo(path),
    "link outside": lambda path, out: path.symlink_to(out / "passwd"),
    "link up and outside": lambda path, out: path.symlink_to("../" * 30 + str(out / "passwd").lstrip("/")),
    "link to the host's": lambda path, _: path.symlink_to("/proc/1/root/etc/passwd"),
    "link to itself": lambda path, _: path.symlink_to("passwd"),
    "directory": lambda path, _: path.mkdir(),
    "huge": huge,
    "binary": lambda path, _: path.write_bytes(os.urandom(100_000)),
    "one line": lambda path, _: path.write_bytes(b"a" * 900_000),
    "NUL": lambda path, _: path.write_bytes(b"root:x:0:0::/ro\0ot:/bin/sh\n"),
    "numbers": lambda path, _: path.write_text(
        "a:x:4294967295:0::/:\nb:x:4294967296:0::/:\nc:x:-1:0::/:\nd:x:+1:0::/:\ne:x:0x1:0::/:\nf:x:1e3:0::/:\ng:x: 1:0::/:\n"
    ),
}


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize("name", ["passwd", "group"])
def test_accounts_that_are_traps(image, outside, name, account):
    ACCOUNTS[account](image / "etc" / name, outside)
    for user in (None, "0", "root", "1000:1000", "a", "c", "nobody:staff"):
        said = run(image, "report", **({} if user is None else {"user": user}))
        if said is not None:
            assert "4242" not in said
            assert "canary" not in said.split("cmdline")[0].partition("environ=")[2].partition("HOSTNAME")[0]
    with pc.Container.create(pc.Image.from_rootfs(image), ["/probe", "sleep"], user="0") as container:
        try:
            container.start()
        except pc.PyContainerError:
            return
        try:
            container.exec(["/probe", "idle"], user="root", timeout=30)
        except pc.PyContainerError:
            return


@ROOT
@pytest.mark.parametrize("device", [os.makedev(1, 5), os.makedev(1, 11)], ids=["zero", "kmsg"])
def test_accounts_that_are_devices(image, device):
    os.mknod(image / "etc" / "passwd", stat.S_IFCHR | 0o666, device)
    for options in ({}, {"userns": "host"}):
        assert run(image, "idle", user="root", **options) is None


@ROOT
def test_device_nodes_of_an_image_do_not_open(image):
    """A node prepared in an image is as good as one made by mknod(2), which containers may not."""
    (image / "kmsg").touch()
    (image / "kmsg").unlink()
    os.mknod(image / "kmsg", stat.S_IFCHR | 0o666, os.makedev(1, 11))
    os.mknod(image / "full", stat.S_IFCHR | 0o666, os.makedev(1, 7))
    shutil.copy(image / "probe", image / "cat")
    with pc.Container.create(pc.Image.from_rootfs(image), ["/probe", "sleep"]) as container:
        container.start()
        for name in ("/kmsg", "/full"):
            with pytest.raises(pc.KernelError):
                container.read_bytes(name)
    said = run(image, "sysctls", "/kmsg", "/full")
    assert said == "tried 2\nsucceeded 0\n"


@ROOT
def test_device_nodes_of_an_image_do_not_open_with_the_hosts_ids(image):
    os.mknod(image / "full", stat.S_IFCHR | 0o666, os.makedev(1, 7))
    assert run(image, "sysctls", "/full", userns="host") == "tried 1\nsucceeded 0\n"


@pytest.mark.parametrize(
    "target", ["/data", "/a/link/data", "/link", "/file/data", "/loop", "/proc/self/root/data", "/proc/data"]
)
def test_mount_targets_through_links(image, outside, tmp_path, target):
    (image / "a").mkdir()
    (image / "a" / "link").symlink_to(outside)
    (image / "link").symlink_to(outside)
    (image / "file").write_text("")
    (image / "loop").symlink_to("loop")
    source = tmp_path / "source"
    source.mkdir()
    (source / "given").write_text("given")
    run(image, "idle", mounts=[pc.Bind(source, target)])
    run(image, "idle", mounts=[pc.Tmpfs(target)])
    run(image, "idle", mounts=[pc.Bind(source / "given", target)])
    assert sorted(path.name for path in source.iterdir()) == ["given"]


@pytest.mark.parametrize(
    "workdir",
    ["/link", "/link/../../..", "/proc/self/fd/3", "/proc/self/fd/9", "/proc/1/cwd", "/proc/self/root/../..", "/file", "/fifo",
     "/loop", "/new/../link/deep", "/" + "d/" * 1000, "/" + "x" * 300, "/" + "y" * 5000],
)  # fmt: skip
def test_working_directories(image, outside, workdir):
    (image / "link").symlink_to(outside)
    (image / "file").write_text("")
    os.mkfifo(image / "fifo")
    (image / "loop").symlink_to("loop")
    said = run(image, "report", workdir=workdir)
    if said is not None:
        cwd = next(line for line in said.splitlines() if line.startswith("cwd="))
        assert cwd.startswith("cwd=/")
        # The link was followed inside: a directory of that name was made there, not used outside.
        assert "unreachable" not in cwd
    with pc.Container.create(pc.Image.from_rootfs(image), ["/probe", "sleep"]) as container:
        container.start()
        for number in [
            workdir,
            *(f"/proc/self/fd/{n}" for n in range(40)),
            *(f"/proc/1/fd/{n}" for n in range(3)),
        ]:
            try:
                result = container.exec(["/probe", "report"], workdir=number, text=True, timeout=30)
            except pc.PyContainerError:
                continue
            cwd = next(line for line in result.stdout.splitlines() if line.startswith("cwd="))
            # A descriptor of the container's own tree may lead there, and to nothing else.
            assert cwd.startswith("cwd=/")
            assert "canary" not in os.listdir(container_view(container, cwd[4:]))


def container_view(container: pc.Container, path: str) -> str:
    return f"/proc/{container.pid}/root{path}"


@pytest.mark.parametrize(
    "words",
    [["/probe\n"], ["/probe", "a\nb"], ["/fifo"], ["/etc"], ["/link"], ["/loop"], ["/script"], ["/empty"]],
)
def test_programs_that_are_none(image, outside, words):
    os.mkfifo(image / "fifo", 0o777)
    (image / "link").symlink_to(outside / "canary")
    (image / "loop").symlink_to("loop")
    (image / "script").write_text("#!/fifo\n")
    (image / "script").chmod(0o755)
    (image / "empty").touch(mode=0o755)
    for init in (False, True):
        result = pc.run(pc.Image.from_rootfs(image), words, init=init, timeout=30)
        assert result.exit_code in {2, 126, 127}
        assert not result.timed_out
