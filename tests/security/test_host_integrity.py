"""What the library itself does on the host for a hostile container, and where it keeps things."""

from __future__ import annotations

import ast
import errno
import os
import resource
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pycontainer as pc
from pycontainer.home import make_private
from pycontainer.kernel.descent import Descent
from pycontainer.kernel.rooted import Rooted
from pycontainer.kernel.transfer import copy_out
from pycontainer.kernel.tree import remove_tree
from tests.security import matrix, rows

ROOT = pytest.mark.needs("root")


# -- the store -------------------------------------------------------------------------------------


def symbolic_link(root: Path) -> str:
    real = root.with_name("real")
    real.mkdir(mode=0o700)
    root.symlink_to(real)
    return f"name the directory itself: {real}"


def of_mode(mode: int) -> Callable[[Path], str]:
    def make(root: Path) -> str:
        root.mkdir()
        root.chmod(mode)
        return f"chmod 0700 {root}"

    return make


def file(root: Path) -> str:
    root.write_text("")
    return "remove it"


def of_another(root: Path) -> str:
    root.mkdir(mode=0o700)
    os.chown(root, 12345, 12345)
    return f"chown 0 {root}"


WRONG = {
    "link": symbolic_link,
    "entered by the group": of_mode(0o710),
    "entered by others": of_mode(0o701),
    "read by others": of_mode(0o744),
    "written by the group": of_mode(0o770),
    "written by all": of_mode(0o777),
    "file": file,
}
PLACES = ["root", "root/run"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", [*WRONG, pytest.param("of another", marks=ROOT)])
def test_a_store_that_others_could_get_at_is_refused(tmp_path, kind, place):
    (tmp_path / place).parent.mkdir(mode=0o700, exist_ok=True)
    fix = (of_another if kind == "of another" else WRONG[kind])(tmp_path / place)
    with pytest.raises(pc.NotSupported) as caught:
        pc.Engine(tmp_path / "root").run("host:", ["true"])
    assert str(tmp_path / place) in str(caught.value)
    assert fix in caught.value.fix


@pytest.mark.parametrize("kind", [*WRONG, pytest.param("of another", marks=ROOT)])
def test_a_store_of_trees_is_refused_likewise(tmp_path, kind):
    (of_another if kind == "of another" else WRONG[kind])(tmp_path / "store")
    archive = tmp_path / "empty.tar"
    archive.write_bytes(bytes(1024))
    with pytest.raises(pc.NotSupported, match=str(tmp_path / "store")):
        pc.Image.from_rootfs(archive, store=tmp_path / "store")


def test_a_directory_above_that_others_can_exchange_is_refused(tmp_path):
    above = tmp_path / "above"
    (above / "deep").mkdir(parents=True)
    above.chmod(0o777)
    with pytest.raises(pc.NotSupported, match=f"{above}, and exchange"):
        make_private(str(above / "deep" / "root"))
    # As /tmp is: nobody can rename what is another's there.
    above.chmod(0o1777)
    make_private(str(above / "deep" / "root"))


@ROOT
def test_a_directory_of_another_user_above_is_refused(tmp_path):
    (tmp_path / "home").mkdir(mode=0o755)
    os.chown(tmp_path / "home", 12345, 12345)
    with pytest.raises(pc.NotSupported, match="12345"):
        make_private(str(tmp_path / "home" / "root"))
    # Also when only a link lies there.
    (tmp_path / "mine").mkdir(mode=0o700)
    (tmp_path / "home" / "link").symlink_to(tmp_path / "mine")
    with pytest.raises(pc.NotSupported, match="12345"):
        make_private(str(tmp_path / "home" / "link" / "root"))


def test_whatever_the_umask_nobody_else_gets_in(tmp_path):
    """The store, the directories above it that are made, and all that a container puts there."""
    tmp_path.chmod(0o700)
    script = f"""
import os, sys, pycontainer as pc
os.umask(0)
with pc.Engine({str(tmp_path / "a" / "b" / "root")!r}) as engine:
    with engine.containers.create("host:", ["sleep", "100"]) as container:
        container.start()
        container.exec(["sh", "-c", "umask 0; echo x > /root/x; chmod 6777 /root/x"])
        for directory, names, files in os.walk({str(tmp_path / "a")!r}):
            for name in [directory, *(os.path.join(directory, file) for file in files)]:
                print(oct(os.lstat(name).st_mode), os.lstat(name).st_uid, name)
    engine.run("host:", ["true"])
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found = {line.split(" ", 2)[2]: line.split(" ", 2)[:2] for line in done.stdout.splitlines()}
    for path in ("a", "a/b", "a/b/root", "a/b/root/run"):
        assert found[str(tmp_path / path)] == ["0o40700", str(os.geteuid())]
    # What is below the last of them nobody else reaches, whatever its own mode.
    folders = [path for path in found if Path(path).parent == tmp_path / "a/b/root/run"]
    assert [found[path] for path in folders] == [["0o40700", str(os.geteuid())]]
    planted = [path for path, (mode, _) in found.items() if int(mode, 8) & stat.S_ISUID]
    assert planted
    assert all(path.startswith(folders[0]) for path in planted)


@ROOT
def test_claims_of_ids_are_roots_alone():
    pc.run("host:", ["true"])
    status = os.stat("/run/pycontainer/ids")
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o700, 0)
    for name in os.listdir("/run/pycontainer/ids"):
        assert stat.S_IMODE(os.stat(f"/run/pycontainer/ids/{name}").st_mode) == 0o600


# -- what is read ----------------------------------------------------------------------------------


@pytest.fixture
def container(probe) -> Iterator[pc.Container]:
    mounts = [pc.Bind(probe, "/probe", read_only=True)]
    with pc.Container.create("host:", ["/probe", "sleep"], mounts=mounts) as made:
        made.start()
        made.exec(["mkdir", "/out"], check=True)
        yield made


def sh(container: pc.Container, script: str) -> None:
    container.exec(["sh", "-c", script], check=True, timeout=120)


KERNELS = [
    "/proc/kallsyms", "/proc/kmsg", "/proc/1/pagemap", "/proc/sys/kernel/core_pattern", "/proc/vmallocinfo", "/proc/1/environ",
    "/sys/kernel/notes", "/sys/kernel/uevent_seqnum",
]  # fmt: skip


@pytest.mark.parametrize("path", KERNELS)
def test_a_link_does_not_lead_the_hosts_rights_to_files_of_the_kernel(container, tmp_path, path):
    """Which show the host's root what the container may not see, and are gone when they were read."""
    folder, name = os.path.split(path)
    sh(container, f"ln -s {path} /out/result; ln -s {folder} /out/folder")
    attempts: list[Callable[[], object]] = [
        lambda: container.read_bytes("/out/result"),
        lambda: container.read_bytes(f"/out/folder/{name}"),
        lambda: container.read_bytes(f"/proc/../out/folder/{name}"),
        lambda: container.get(f"/out/folder/{name}", tmp_path),
    ]
    for attempt in attempts:
        with pytest.raises(pc.KernelError) as caught:
            attempt()
        assert caught.value.errno in {errno.EINVAL, errno.ENOENT, errno.ELOOP}, caught.value
    # A link is copied as a link.
    container.get("/out/result", tmp_path)
    assert os.readlink(tmp_path / "result") == path
    assert sorted(os.listdir(tmp_path)) == ["result"]


def test_nor_does_a_mount_of_the_container(probe, tmp_path):
    mounts = [pc.Bind(probe, "/probe", read_only=True)]
    with pc.Container.create("host:", ["/probe", "sleep"], mounts=mounts, privileged=True) as container:
        container.start()
        sh(
            container,
            "mkdir /out /out/proc; touch /out/result; mount --bind /proc/kallsyms /out/result; mount --bind /proc /out/proc",
        )
        for path in ("/out/result", "/out/proc/kallsyms"):
            with pytest.raises(pc.KernelError, match="of the kernel's"):
                container.read_bytes(path)
        with pytest.raises(pc.KernelError, match="of the kernel's"):
            container.get("/out", tmp_path)


def test_nor_do_accounts(container):
    """Read whenever a program is started for a user."""
    sh(container, "rm /etc/passwd; ln -s /proc/kmsg /etc/passwd")
    with pytest.raises(pc.KernelError, match="of the kernel's"):
        container.exec(["true"], user="somebody")


def test_what_is_named_there_is_read(container, tmp_path):
    assert container.read_bytes("/proc/version").startswith(b"Linux version")
    assert b"sleep" in container.read_bytes("/proc/1/cmdline")
    container.get("/proc/version", tmp_path)
    assert (tmp_path / "version").read_text().startswith("Linux version")


def test_who_holds_a_lease_does_not_make_the_host_wait(container, tmp_path):
    """Opening such a file waits for its holder, for 45 s by default (fcntl(2), F_SETLEASE)."""
    with container.popen(["/probe", "enter", "lease", "/out/file"], stdin=pc.PIPE, stdout=pc.PIPE) as holder:
        assert holder.stdout.readline() == b"ready\n"
        started = time.monotonic()
        for attempt in (
            lambda: container.read_bytes("/out/file"),
            lambda: container.get("/out/file", tmp_path / "file"),
            lambda: container.get("/out", tmp_path / "tree"),
        ):
            with pytest.raises(pc.KernelError, match="temporarily unavailable"):
                attempt()
        container.write_bytes("/out/file", b"new")
        assert time.monotonic() - started < 5
        holder.stdin.close()
    assert container.read_bytes("/out/file") == b"new"


def test_a_file_that_grows_is_copied_as_long_as_it_was(container, tmp_path):
    with container.popen(["/probe", "enter", "grow", "/out/log"], stdin=pc.PIPE, stdout=pc.PIPE) as writer:
        assert writer.stdout.readline() == b"ready\n"
        container.get("/out/log", tmp_path / "log", limit="1G")
        with pytest.raises(pc.KernelError, match="limit="):
            container.get("/out/log", tmp_path / "more", limit=1000)
        writer.stdin.close()
    assert 0 < (tmp_path / "log").stat().st_size < 1 << 30


SIZES = {
    "sparse": "truncate -s 100G /out/x", "many holes": "for i in 1 2 3 4 5 6 7 8; do printf x | dd of=/out/x bs=1 seek=${i}G conv=notrunc; done 2>/dev/null",
    "files": "for i in 1 2 3; do head -c 400000 /dev/zero > /out/$i; done", "links to one": "head -c 400000 /dev/zero > /out/x; ln /out/x /out/y; ln /out/x /out/z",
}  # fmt: skip


@pytest.mark.parametrize("kind", SIZES)
def test_what_comes_out_is_bounded(container, tmp_path, kind):
    sh(container, SIZES[kind])
    for limit in ("1M", 1_000_000):
        with pytest.raises(pc.KernelError) as caught:
            container.get("/out", tmp_path / f"out-{limit}", limit=limit)
        assert caught.value.errno == errno.EFBIG
        copied = (tmp_path / f"out-{limit}").rglob("*")
        assert sum(path.stat().st_blocks * 512 for path in copied) <= 1 << 20
    with pytest.raises(pc.KernelError) as caught:
        container.read_bytes(f"/out/{'x' if kind != 'files' else '1'}", limit="100K")
    assert caught.value.errno == errno.EFBIG


def test_a_file_of_nothing_but_a_hole_takes_no_room(container, tmp_path):
    sh(container, "truncate -s 10G /out/x")
    container.get("/out/x", tmp_path)
    status = (tmp_path / "x").stat()
    assert (status.st_size, status.st_blocks < 100) == (10 << 30, True)


def test_a_hundred_thousand_entries(container, tmp_path):
    assert container.exec(["/probe", "enter", "many", "/out", "100000"], timeout=300).exit_code == 0
    root = Rooted(container.alive("reach files").root)
    with pytest.raises(pc.KernelError) as caught:
        copy_out(root, "/out", tmp_path / "few", entries=1000)
    assert caught.value.errno == errno.EFBIG
    assert len(os.listdir(tmp_path / "few")) <= 1000
    assert sum(change.path.startswith("/out/") for change in container.changes()) == 100_000
    container.get("/out", tmp_path / "all")
    assert len(os.listdir(tmp_path / "all")) == 100_000


def test_names_that_are_no_text(container, tmp_path):
    """They come back as they are, and do not write to the terminal of who prints an error."""
    assert container.exec(["/probe", "enter", "odd", "/out"]).exit_code == 0
    container.get("/out", tmp_path)
    names = os.listdir(os.fsencode(tmp_path / "out"))
    assert {b"a\nb", b"\xff\xfe", b"\x1b[31mred", b"n" * 255, b".wh.x", b"-rf"} <= set(names)
    for name in names:
        assert (tmp_path / "out" / os.fsdecode(name)).read_bytes() == name
        assert container.read_bytes("/out/" + os.fsdecode(name)) == name
    changed = {os.fsencode(change.path) for change in container.changes()}
    assert {b"/out/" + name for name in names} <= changed
    container.put(tmp_path / "out", "/back")
    assert container.read_bytes("/back/a\nb") == b"a\nb"
    sh(container, 'cd /out; for name in *; do rm -- "$name"; mkfifo -- "$name"; done')
    for path in ("/out", *(f"/out/{os.fsdecode(name)}" for name in names if not name.startswith(b"."))):
        with pytest.raises(pc.KernelError, match="a fifo") as caught:
            container.get(path, tmp_path / "second")
        text = str(caught.value)
        assert text.isprintable()
        text.encode()


@pytest.mark.parametrize("kind", ["fifo", "socket", "device", "leading away", "loop"])
def test_what_is_no_file_is_told_and_removed_and_never_waited_for(probe, tmp_path, kind):
    make = {
        "fifo": "/probe enter special /out/x fifo", "socket": "/probe enter special /out/x socket",
        # The one kind of device that a container can make: nothing at all, and a whiteout to overlayfs.
        "device": "mknod /out/x c 0 0", "leading away": "ln -s /dev/zero /out/x", "loop": "ln -s x /out/x",
    }[kind]  # fmt: skip
    mounts = [pc.Bind(probe, "/probe", read_only=True)]
    container = pc.Container.create("host:", ["/probe", "sleep"], mounts=mounts)
    folder = Path(os.environ["PYCONTAINER_ROOT"], "run")
    try:
        container.start()
        made = container.exec(["sh", "-c", f"mkdir /out; {make}"]).exit_code
        assert made == 0 or kind == "device"
        started = time.monotonic()
        with pytest.raises(pc.KernelError):
            container.read_bytes("/out/x")
        try:
            container.get("/out", tmp_path)
        except pc.KernelError as error:
            assert error.errno == errno.EINVAL
            assert kind in {"fifo", "socket", "device"}
        told = {change.path for change in container.changes()}
        assert made != 0 or "/out/x" in told
        if kind in {"fifo", "socket"}:
            with pytest.raises(pc.KernelError, match="a fifo" if kind == "fifo" else "a socket"):
                container.write_bytes("/out/x", b"")
        assert time.monotonic() - started < 10
    finally:
        container.remove(force=True)
    assert not list(folder.glob(f"*/{container.id[:12]}"))


@ROOT
@pytest.mark.parametrize(
    "device", [os.makedev(1, 5), os.makedev(1, 11), os.makedev(10, 130)], ids=["zero", "kmsg", "watchdog"]
)
def test_a_device_in_the_layer_is_not_opened_by_who_reads_it(container, tmp_path, device):
    """Made by hand, as a container without a user namespace of its own could: an open alone can start something."""
    sh(container, "touch /out/file")
    upper = next(Path(os.environ["PYCONTAINER_ROOT"], "run").glob(f"*/{container.id[:12]}/upper/out"))
    os.mknod(upper / "x", stat.S_IFCHR | 0o666, device)
    for attempt in (
        lambda: container.read_bytes("/out/x"),
        lambda: container.write_bytes("/out/x", b"x"),
        lambda: container.get("/out/x", tmp_path),
        lambda: container.get("/out", tmp_path),
    ):
        with pytest.raises(pc.KernelError, match="a character device"):
            attempt()
    assert "/out/x" in {change.path for change in container.changes()}


def test_very_deep_trees_come_out_are_listed_and_removed(probe, tmp_path):
    mounts = [pc.Bind(probe, "/probe", read_only=True)]
    with pc.Container.create("host:", ["/probe", "sleep"], mounts=mounts) as container:
        container.start()
        container.exec(["mkdir", "/out"], check=True)
        assert container.exec(["/probe", "deep", "/out", "6000"], timeout=120).exit_code == 0
        container.get("/out", tmp_path)
        # No path can name what lies deeper than 4096 bytes: it goes with what is above.
        assert len(container.changes()) > 2000
        depth = 0
        with Descent(os.open(tmp_path / "out", os.O_RDONLY | os.O_DIRECTORY)) as walk:
            while "d" in os.listdir(walk.fd):
                walk.down("d")
                depth += 1
            assert os.listdir(walk.fd) == ["last"]
            os.chmod("last", 0o600, dir_fd=walk.fd)  # it came out as it was: for nobody
        assert depth == 6000
        container.put(tmp_path / "out", "/back")
    top = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    remove_tree(top, "out")
    os.close(top)


# -- what is executed ------------------------------------------------------------------------------

TRAPS = [
    "lib/x86_64-linux-gnu/libnss_files.so.2", "lib/x86_64-linux-gnu/libnss_compat.so.2", "lib/libnss_files.so.2", "usr/lib/libc.so.6",
    "usr/bin/unpigz", "bin/gzip", "usr/bin/tar", "bin/sh", "usr/bin/ps", "usr/bin/getent", "usr/bin/nsenter", "sbin/modprobe",
    "usr/lib/python3/site-packages/pycontainer/__init__.py", "usr/lib/python3.11/os.py",
]  # fmt: skip


def children() -> set[str]:
    """The processes that this thread has started."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_nothing_of_an_image_is_executed_or_loaded_for_the_host(probe, tmp_path):
    """Whatever is asked about its container: names of users, copies, changes, an end."""
    rootfs, traps = tmp_path / "rootfs", tmp_path / "sprung"
    others = children()
    for name in TRAPS:
        (rootfs / name).parent.mkdir(parents=True, exist_ok=True)
        # Each would tell, were it a script; as a library it would show among what this process has mapped.
        (rootfs / name).write_text(f"#!/probe show\nimport os\nopen({str(traps)!r}, 'w')\n")
        (rootfs / name).chmod(0o755)
    (rootfs / "etc").mkdir()
    (rootfs / "etc/passwd").write_text("somebody:x:1000:1000::/home:/bin/sh\n")
    (rootfs / "etc/nsswitch.conf").write_text("passwd: files compat trap\n")
    shutil.copy(probe, rootfs / "probe")
    archive = tmp_path / "image.tar.gz"
    subprocess.run(["tar", "-czf", archive, "-C", rootfs, "."], check=True)
    for image in (pc.Image.from_rootfs(rootfs), pc.Image.from_rootfs(archive, store=tmp_path / "store")):
        with pc.Container.create(image, ["/probe", "sleep"], tmpfs=["/tmp"]) as container:
            container.start()
            assert container.exec(["/probe", "report"], user="somebody", text=True).stdout.startswith(
                "uid=1000"
            )
            (tmp_path / "tree").mkdir(exist_ok=True)
            (tmp_path / "tree" / "file").write_text("x" * 100_000)
            container.put(tmp_path / "tree", "/tmp")
            container.get("/tmp/tree", tmp_path / f"back-{container.name}")
            container.write_bytes("/new", b"x")
            assert "/new" in [change.path for change in container.changes()]
            container.exec(["/probe", "idle"], tty=True)
            seen = [
                line for line in Path("/proc/self/maps").read_text().splitlines() if str(tmp_path) in line
            ]
            assert seen == []
            programs = {Path(f"/proc/{pid}/comm").read_text().strip() for pid in children() - others}
            assert "probe" in programs
            assert programs <= {"probe", "reaper", "scribe"}
    assert not traps.exists()


def test_our_package_has_no_program_for_root():
    """No helper that others could start with more rights than their own."""
    package = Path(pc.__file__).parent
    for path in package.rglob("*"):
        assert not path.lstat().st_mode & (stat.S_ISUID | stat.S_ISGID), path
        if path.is_file():
            assert "security.capability" not in os.listxattr(path), path


# -- who can reach us ------------------------------------------------------------------------------


def sockets() -> set[str]:
    """Every socket of this process that somebody could find: one with a name, or one that listens."""
    mine = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            mine.add(target[8:-1])
    found = set()
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        words = line.split(maxsplit=7)
        if words[6] in mine and (len(words) > 7 or int(words[3], 16) & 0x10000):
            found.add(line)
    for kind in ("tcp", "tcp6", "udp", "udp6", "raw", "packet", "netlink"):
        for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]:
            found.update(f"{kind} {inode}" for inode in mine & set(line.split()))
    return found


def test_the_library_has_no_socket_that_anybody_could_find(container):
    """Neither a name in the file system, nor an abstract one, nor a port."""
    before = sockets()
    container.exec(["true"], tty=True)
    pc.run("host:", ["true"], init=True, network="host")
    assert sockets() - before == set()
    with socket.socket(socket.AF_UNIX) as named:
        named.bind("\0pycontainer-test")
        assert len(sockets() - before) == 1
    run = Path(os.environ["PYCONTAINER_ROOT"], "run")
    assert [path for path in run.rglob("*") if path.is_socket() or path.is_fifo()] == []


def test_a_container_on_the_hosts_network_finds_none_either(probe):
    mounts = [pc.Bind(probe, "/probe", read_only=True)]
    text = pc.run("host:", ["cat", "/proc/net/unix"], network="host", text=True, mounts=mounts).stdout
    assert "pycontainer" not in text


def test_what_a_container_writes_is_kept_up_to_a_bound(probe):
    """A flood is read and dropped, and so is what an abandoned program goes on to write."""
    mounts = [pc.Bind(probe, "/probe", read_only=True)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    script = "head -c 300000000 /dev/zero; head -c 300000000 /dev/zero >&2"
    for _ in range(2):
        result = pc.run("host:", ["sh", "-c", script], output_limit="1M", mounts=mounts, timeout=120)
        assert (len(result.stdout), len(result.stderr), result.truncated) == (1 << 20, 1 << 20, True)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


def test_programs_that_were_let_go_of_leave_nothing_in_the_host(container):
    """Ended, abandoned, resized, timed out: neither descriptors nor threads stay (the fixture of every test looks)."""
    for number in range(30):
        with container.popen(["cat"], tty=True, stdin=pc.PIPE, stdout=pc.PIPE) as process:
            process.resize(rows=20 + number, cols=80)
            process.kill()
        container.exec(["sleep", "5"], timeout=0.01, tty=bool(number % 2))
    assert container.exec(["true"]).exit_code == 0


# -- what an image says ----------------------------------------------------------------------------


def test_what_an_image_says_of_itself_is_data(probe, tmp_path):
    """Labels, volumes, ports, health checks and words nobody knows: shown, and never done."""
    rootfs = tmp_path / "rootfs"
    rootfs.mkdir()
    shutil.copy(probe, rootfs / "probe")
    canary = tmp_path / "canary"
    config = {
        "Entrypoint": ["/probe"], "Cmd": ["report"], "Env": ["A=b", "PYCONTAINER_ROOT=/x", "LD_PRELOAD=/evil.so"],
        "Labels": {"io.containerd.runc.hooks": f"touch {canary}", "org.pycontainer.privileged": "true", "../x": "y"},
        "Volumes": {"/proc/1/root": {}, "/../../etc": {}, str(tmp_path): {}}, "ExposedPorts": {"22/tcp": {}},
        "Healthcheck": {"Test": ["CMD-SHELL", f"touch {canary}"]}, "OnBuild": [f"RUN touch {canary}"], "Shell": ["/bin/evil"],
        "HostConfig": {"Privileged": True, "Binds": ["/:/host"]}, "Hooks": {"prestart": [{"path": "/probe"}]}, "StopSignal": "KILL",
        "User": "0", "WorkingDir": "/",
    }  # fmt: skip
    said = pc.run(pc.Image.from_rootfs(rootfs, config), text=True, timeout=60).stdout
    plain = pc.run(pc.Image.from_rootfs(rootfs), ["/probe", "report"], text=True, timeout=60).stdout
    differ = ("environ", "uid_map", "pid", "cmdline")
    assert [line for line in said.splitlines() if not line.startswith(differ)] == [
        line for line in plain.splitlines() if not line.startswith(differ)
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rootfs"]
    assert sorted(os.listdir(rootfs)) == ["probe"]


# -- the table -------------------------------------------------------------------------------------


def functions(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


def test_every_known_hole_has_one_row():
    listed = [word for word in rows.CATALOGUE.split() if word.startswith(("CVE-", "GHSA-"))]
    held = [hole for row in (*rows.SETTING_UP, *rows.COPIES) for hole in row.holes]
    assert sorted(held) == sorted(listed)
    assert len(set(held)) == len(held)


@pytest.mark.parametrize("row", [*rows.SETTING_UP, *rows.COPIES], ids=lambda row: row.holes[0])
def test_the_tests_of_a_row_exist(row):
    if not row.tests:
        assert "yet" in row.holds
    for test in row.tests:
        if test.startswith("matrix: "):
            assert set(test.removeprefix("matrix: ").split()) <= set(matrix.ROWS)
        else:
            file, _, name = test.partition("::")
            assert name in functions(Path(__file__).parents[1] / file), test


def test_the_table_of_the_documentation_is_this_one():
    document = Path(__file__).parents[2] / "docs/security.md"
    assert rows.table() in document.read_text(), "write there what 'python -m tests.security.rows' prints"
