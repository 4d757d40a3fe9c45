"""Entering a container, and setting one up: what a hostile image, or a hostile program inside, makes of it.

Everything goes through the Python interface; the payload tries from inside, and a canary on the host tells.
Which known hole each test is about is in rows.py.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import shutil
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pycontainer as pc
from tests.e2e.test_joiners import FILES, MEMORY, TRACE, Secret, attacked, counts, nothing_was_taken
from tests.support.trees import state

ROOT = pytest.mark.needs("root")
KINDS = [
    pytest.param({}, id="default"),
    pytest.param({"privileged": True}, id="privileged"),
    pytest.param({"init": True}, id="init"),
    pytest.param({"tty": True}, id="tty"),
    pytest.param({"userns": "host"}, id="host", marks=ROOT),
    pytest.param({"security": pc.Security.strict(), "best_effort": True}, id="strict"),
]


@pytest.fixture
def outside(tmp_path) -> Iterator[Path]:
    """A directory of the host with canaries, which must be as they were in the end."""
    place = tmp_path / "outside"
    (place / "sub").mkdir(parents=True)
    (place / "canary").write_text("of the host")
    before = state(place)
    yield place
    assert state(place) == before


@pytest.fixture
def image(tmp_path, probe, outside) -> Path:
    """The directory of an image with nothing but the payload; its name is told to nobody inside."""
    rootfs = tmp_path / "the-image"
    (rootfs / "etc").mkdir(parents=True)
    shutil.copy(probe, rootfs / "probe")
    return rootfs


# -- the host's own program ------------------------------------------------------------------------


def identity_of(path: str) -> str:
    status = os.stat(path)
    return f"{status.st_dev}:{status.st_ino}"


#: Says which file is executed.
WHOSE = "import os; status = os.stat('/proc/self/exe'); print(f'ran {status.st_dev}:{status.st_ino}')"


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize("way", ["path", "script", "script below"])
@pytest.mark.parametrize("entered", [False, True], ids=["first", "further"])
def test_the_hosts_interpreter_is_not_what_a_container_executes(tmp_path, entered, options, way):
    """Who starts a process is itself for a moment, and /proc/self/exe its own program."""
    (tmp_path / "script").write_text(f"#!/proc/self/exe\n{WHOSE}\n")
    (tmp_path / "below").write_text("#!/opt/script\n")
    for name in ("script", "below"):
        (tmp_path / name).chmod(0o755)
    options = {
        **options,
        "mounts": [pc.Bind(tmp_path / "script", "/opt/script"), pc.Bind(tmp_path / "below", "/opt/below")],
    }
    command = {
        "path": ["/proc/self/exe", "-c", WHOSE], "script": ["/opt/script"], "script below": ["/opt/below"],
    }[way]  # fmt: skip
    if entered:
        with pc.Container.create("host:", ["sleep", "100"], **options) as container:
            container.start()
            result = container.exec(command, text=True, timeout=30)
    else:
        result = pc.run("host:", command, text=True, timeout=30, **options)
    assert f"ran {identity_of('/proc/self/exe')}" not in result.stdout
    assert result.exit_code != 0


def test_the_search_for_the_interpreter_would_find_it():
    done = subprocess.run([sys.executable, "-c", WHOSE], capture_output=True, text=True, check=True)
    assert done.stdout == f"ran {identity_of('/proc/self/exe')}\n"


SEALED = ("write", "truncate", "chmod", "map")


@pytest.mark.parametrize("options", [kind for kind in KINDS if kind.id in {"default", "privileged", "host"}])
def test_our_init_cannot_be_written_to(probe, options):
    """By descriptor, as the hole was used: opened to be read, and through that once more to be written."""
    mounts = [pc.Bind(probe, "/probe", read_only=True)]
    options = {**options, "init": True, "mounts": mounts, "text": True, "timeout": 60}
    lines = pc.run("host:", ["/probe", "enter", "shares", "/proc/1/exe"], **options).stdout.splitlines()
    found = dict(line.split()[1:] for line in lines)
    if found["open"] != "done":
        assert found["open"] == "EACCES"
    else:
        assert int(found["seals"]) & 0xF == 0xF  # SEAL, SHRINK, GROW, WRITE
        assert {found[way] for way in SEALED} <= {"EACCES", "EPERM", "ETXTBSY"}, lines
    # It still serves.
    assert pc.run("host:", ["true"], init=True).exit_code == 0


def test_a_program_in_memory_without_seals_could_be_written_to(probe):
    fd = os.memfd_create("unsealed")
    os.ftruncate(fd, 4096)
    try:
        path = f"/proc/{os.getpid()}/fd/{fd}"
        done = subprocess.run([probe, "enter", "shares", path], capture_output=True, text=True, check=True)
    finally:
        os.close(fd)
    found = dict(line.split()[1:] for line in done.stdout.splitlines())
    assert {found[way] for way in ("write", "truncate", "chmod")} == {"done"}


@ROOT
@pytest.mark.parametrize("level", ["0", "1", "2"])
def test_a_host_that_makes_files_in_memory_not_executable(level):
    """The sysctl is a pid namespace's own; 2 cannot be told otherwise, and is said."""
    if not os.path.exists("/proc/sys/vm/memfd_noexec"):
        pytest.skip("the kernel has no sysctl vm.memfd_noexec (Linux 6.3)")
    script = f"""
import pycontainer as pc
with open("/proc/sys/vm/memfd_noexec", "w") as file:
    file.write({level!r})
try:
    print(pc.run("host:", ["true"]).exit_code, pc.run("host:", ["true"], init=True).exit_code)
except pc.NotSupported as error:
    print(error)
"""
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-W", "ignore", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    if level == "2":
        assert "set sysctl vm.memfd_noexec" in done.stdout
    else:
        assert done.stdout == "0 0\n"


# -- who joins -------------------------------------------------------------------------------------

HOSTILE = [pytest.param({}, id="default"), pytest.param({"privileged": True}, id="privileged")]


@pytest.fixture
def secret(tmp_path) -> Iterator[Secret]:
    made = Secret(str(tmp_path / "secret"))
    yield made
    made.close()


@pytest.mark.parametrize(
    "rounds", [pytest.param(100, id="100"), pytest.param(1000, id="1000", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("options", HOSTILE)
def test_every_attack_on_every_program_that_enters(probe, secret, options, rounds):
    """Memory, files, environment, program: all at once and all the time."""
    ways = [*MEMORY, *FILES, "write"]
    said, failures = attacked(probe, secret, ways, rounds, options, seconds=rounds / 2)
    assert failures == []
    nothing_was_taken(said, secret)
    assert not any("write reached" in line for line in said.splitlines()), said
    assert sum(count for line, count in counts(said).items() if "refused" in line) > rounds


@pytest.mark.slow
@pytest.mark.parametrize("options", HOSTILE)
@pytest.mark.parametrize("way", TRACE)
def test_tracing_every_program_that_enters(probe, secret, options, way):
    said, _ = attacked(probe, secret, [way], 1000, options, seconds=300)
    nothing_was_taken(said, secret)


@pytest.mark.parametrize("options", HOSTILE)
def test_the_host_does_not_wait_for_what_a_container_took(probe, secret, options):
    """The pipe by which a failed execve is told is open in the process for a moment: its copy is never closed."""
    started = time.monotonic()
    said, failures = attacked(probe, secret, ["keep"], 150, options, seconds=60)
    assert failures == []
    assert time.monotonic() - started < 90
    # Whether it was quick enough is up to the machine; without the right to trace it never is.
    if not options:
        assert "keep taken" not in said, said


# -- what is open, and what a program is told ------------------------------------------------------

STREAMS = {"/dev/null", "pipe:", "/dev/pts/0", "/dev/pts/1", "/dev/console"}


def open_files(text: str) -> set[tuple[str, str]]:
    """Number and target of all that the processes of a container have open."""
    lines = [line.split(" ", 3) for line in text.replace("\r", "").splitlines() if " fd " in line]
    return {(words[2], words[3].partition("[")[0]) for words in lines if len(words) == 4}


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize("tty", [False, True], ids=["pipes", "terminal"])
def test_nothing_of_the_host_is_open_and_no_directory_of_it_is_the_current_one(probe, tmp_path, options, tty):
    mounts = [pc.Bind(probe, "/probe", read_only=True)]
    held = [
        os.open(tmp_path, os.O_RDONLY),
        os.open("/", os.O_PATH),
        os.open("/proc/self/ns/mnt", os.O_RDONLY),
    ]
    held += [os.dup2(held[0], 200 + number) for number in range(20)]
    for fd in held:
        os.set_inheritable(fd, True)
    try:
        found = [pc.run("host:", ["/probe", "fds"], text=True, timeout=60, mounts=mounts, **options).stdout]
        found += [pc.run("host:", ["/probe", "report"], text=True, mounts=mounts, **options).stdout]
        with pc.Container.create("host:", ["/probe", "sleep"], mounts=mounts, **options) as container:
            container.start()
            found += [
                container.exec(["/probe", word], text=True, timeout=60, tty=tty).stdout
                for word in ("fds", "report")
            ]
    finally:
        for fd in held:
            os.close(fd)
    for text in (found[0], found[2]):
        assert open_files(text), text
        assert {number for number, _ in open_files(text)} <= {"0", "1", "2"}, text
        assert {target for _, target in open_files(text)} <= STREAMS, text
    for text in (found[1], found[3]):
        assert "cwd=/\n" in text.replace("\r", "")


def backwards(words: list[str]) -> list[str]:
    return [word[::-1] for word in words]


TOLD = """
import json, os, sys, pycontainer as pc
image, tokens, options = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
if options.pop("strict", False):
    options["security"] = pc.Security.strict()
image = pc.Image.from_rootfs(image)
command = ["/probe", "enter", "search", *tokens]
options["hostname"] = "box"
said = [pc.run(image, command, text=True, timeout=120, **options).stdout]
with pc.Container.create(image, ["/probe", "sleep"], **options) as container:
    container.start()
    said += [container.exec(command, text=True, timeout=120, tty=tty).stdout for tty in (False, True)]
print(json.dumps(said))
"""


@pytest.mark.parametrize("options", KINDS)
def test_nothing_of_the_host_is_told(image, tmp_path, options):
    """Its environment, words, current directory, store, image, cgroup, network name, program: in no file of /proc."""
    options = {"strict": True, "best_effort": True} if "security" in options else options
    for name in ("token-cwd", "token-store"):
        (tmp_path / name).mkdir(mode=0o700)
    tokens = [
        "token-env",
        "token-word",
        "token-cwd",
        "token-store",
        "the-image",
        "pycontainer-",
        "python",
        tmp_path.name,
    ]
    if os.uname().nodename not in {"box", "localhost", "vm"}:
        tokens.append(os.uname().nodename)
    words = [json.dumps(backwards(tokens)), json.dumps(options), "token-word"]
    environment = {
        "PYTHONPATH": os.getcwd(), "PATH": os.environ["PATH"], "SECRET": "token-env",
        "PYCONTAINER_ROOT": str(tmp_path / "token-store"),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TOLD, str(image), *words],
        cwd=tmp_path / "token-cwd", env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for said in json.loads(done.stdout):
        lines = said.replace("\r", "").splitlines()
        assert lines, said
        assert lines[-1].startswith("searched"), lines
        assert int(lines[-1].split()[1]) >= 1
        assert lines[:-1] == []


def test_the_search_finds_what_is_told(probe):
    environment = {"A": "token-env"}
    words = backwards(["token-env", "probe", "token-nothing"])
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", str(probe), "enter", "search", *words],
        env=environment, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "found token-env in /proc/" in done.stdout
    assert "found probe in /proc/" in done.stdout
    assert "token-nothing" not in done.stdout


# -- ids -------------------------------------------------------------------------------------------


@ROOT
def test_groups_and_inheritable_capabilities_of_the_caller_are_not_handed_on(probe):
    script = f"""
import pycontainer as pc
mounts = [pc.Bind({str(probe)!r}, "/probe", read_only=True)]
for options in ({{}}, {{"user": "1000"}}, {{"userns": "host"}}, {{"userns": "host", "user": "1000:1000"}}, {{"init": True}}):
    print(pc.run("host:", ["/probe", "report"], text=True, mounts=mounts, **options).stdout)
    with pc.Container.create("host:", ["/probe", "sleep"], mounts=mounts, **options) as container:
        container.start()
        print(container.exec(["/probe", "report"], text=True).stdout)
"""
    given = [
        "--groups",
        "4242,27,0",
        "--inh-caps",
        "+net_raw,+sys_admin",
        "--ambient-caps",
        "+net_raw,+sys_admin",
    ]
    command = ["setpriv", *given, sys.executable, "-W", "ignore", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for name in ("groups=", "inheritable=" + "0" * 16, "ambient=" + "0" * 16):
        assert lines.count(name) == 10, done.stdout
    # The program would see them: it is told of the caller's own without a container.
    told = subprocess.run(
        ["setpriv", *given, str(probe), "report"], capture_output=True, text=True, check=True
    )
    assert "groups=0,27,4242" in told.stdout or "groups=4242,27,0" in told.stdout
    assert f"ambient={(1 << 13) | (1 << 21):016x}" in told.stdout


def test_a_group_that_is_denied_a_file_cannot_be_dropped(probe, tmp_path):
    """Where the map is the caller's own single id, setgroups(2) is denied, not merely unused."""
    mounts = [pc.Bind(probe, "/probe", read_only=True)]
    if os.geteuid() == 0:
        # Root's containers are told their groups; a map of one id is an ordinary user's.
        result = pc.run("host:", ["/probe", "report"], text=True, mounts=mounts, user="1000:1000")
        assert "groups=\n" in result.stdout
        return
    (tmp_path / "denied").write_text("x")
    (tmp_path / "denied").chmod(0o604)
    mounts.append(pc.Bind(tmp_path / "denied", "/denied"))
    said = pc.run("host:", ["/probe", "enter", "groups", "/denied"], text=True, mounts=mounts).stdout
    with open("/proc/self/setgroups") as file:
        assert file.read() == "allow\n"
    single = len(pc.run("host:", ["cat", "/proc/self/uid_map"], text=True).stdout.splitlines()) == 1
    if single:
        assert "setgroups EPERM" in said


# -- the caller's terminal -------------------------------------------------------------------------


class Session:
    """A terminal with a session on it, as the one a caller sits at: a program of its own waits in it."""

    def __init__(self) -> None:
        self.master, slave = pty.openpty()
        self.path = os.ttyname(slave)
        script = "import os, fcntl, termios, time; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); print('on', flush=True); time.sleep(300)"
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-c", script],
            stdin=slave,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"on\n"
        self.slave = slave

    def waiting(self) -> int:
        """How many bytes a program of the session could read."""
        return struct.unpack("i", fcntl.ioctl(self.slave, termios.TIOCINQ, bytes(4)))[0]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        os.close(self.slave)
        os.close(self.master)


@pytest.fixture
def session() -> Iterator[Session]:
    made = Session()
    yield made
    made.close()


@pytest.mark.parametrize("options", [kind for kind in KINDS if kind.id != "tty"])
@pytest.mark.parametrize("entered", [False, True], ids=["first", "further"])
def test_nothing_is_typed_into_the_callers_terminal(probe, session, entered, options):
    """Handed over as a stream, it is not the controlling one of any program inside, and takes no input from there."""
    mounts = [pc.Bind(probe, "/probe", read_only=True)]
    command = ["/probe", "enter", "inject"]
    with open(os.dup(session.slave), "r+b", buffering=0) as stream:
        if entered:
            with pc.Container.create("host:", ["/probe", "sleep"], mounts=mounts, **options) as container:
                container.start()
                said = container.exec(command, stdin=stream, text=True, timeout=60).stdout
        else:
            said = pc.run(
                "host:", command, stdin=stream, text=True, timeout=60, mounts=mounts, **options
            ).stdout
    found = dict(line.rsplit(" ", 1) for line in said.splitlines())
    if options.get("userns") == "host" or "privileged" not in options:
        assert {found[way] for way in ("TIOCSTI", "TIOCSTI, 33 bits", "TIOCLINUX")} <= {"EPERM", "ENOTTY"}, (
            said
        )
    assert "done" not in {found["before TIOCSCTTY"], found["stealing TIOCSCTTY"]}, said
    assert session.waiting() == 0, said


def test_the_injection_works_where_nothing_prevents_it(probe):
    """The same program, unconfined, in the session of a terminal."""
    with open("/proc/sys/dev/tty/legacy_tiocsti") as file:
        if file.read() == "0\n" and os.geteuid() != 0:
            pytest.skip("this host lets nobody do it (sysctl dev.tty.legacy_tiocsti)")
    pid, master = pty.fork()
    if pid == 0:
        os.execv(probe, ["probe", "enter", "inject"])
    said = b""
    try:
        while b"TIOCLINUX" not in said:
            said += os.read(master, 4096)
    finally:
        os.waitpid(pid, 0)
        os.close(master)
    assert b"TIOCSTI done" in said
    assert b"injected" in said


@pytest.mark.parametrize("substitute", ["link", "file", "fifo", "full", "other"])
def test_a_terminal_of_a_container_that_has_replaced_its_own(probe, outside, substitute):
    """Its master is taken from the container's /dev/pts, where a program with all capabilities can put anything."""
    make = {
        "link": f"ln -s {outside}/canary /dev/pts/ptmx", "file": "echo x > /dev/pts/ptmx", "fifo": "mkfifo /dev/pts/ptmx",
        "full": "touch /dev/pts/ptmx && mount --bind /dev/full /dev/pts/ptmx",
        "other": "mount -t devpts -o newinstance,ptmxmode=666 none /dev/pts && mount --bind /dev/zero /dev/pts/ptmx",
    }[substitute]  # fmt: skip
    mounts = [pc.Bind(probe, "/probe", read_only=True)]
    with pc.Container.create("host:", ["/probe", "sleep"], mounts=mounts, privileged=True) as container:
        container.start()
        assert (
            container.exec(["sh", "-c", f"umount /dev/pts && mount -t tmpfs x /dev/pts && {make}"]).exit_code
            == 0
        )
        started = time.monotonic()
        with pytest.raises(pc.KernelError, match="/dev/pts/ptmx"):
            container.exec(["/probe", "idle"], tty=True, timeout=10)
        assert time.monotonic() - started < 10
        assert container.exec(["/probe", "idle"]).exit_code == 0


# -- the tree --------------------------------------------------------------------------------------


@ROOT
def test_what_is_set_for_a_container_is_not_written_to_the_images_proc(image, outside):
    """Settings go through a /proc that nobody has seen yet, whatever the image has in its place."""
    setting = outside / "sys/net/ipv4"
    before = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()
    for substitute in (outside, Path("/proc/self/fd/0"), Path("/etc")):
        (image / "proc").symlink_to(substitute)
        sysctls: dict[str, Any] = {"net.ipv4.ip_unprivileged_port_start": 7}
        try:
            pc.run(pc.Image.from_rootfs(image), ["/probe", "idle"], sysctls=sysctls, timeout=30)
        except pc.PyContainerError as error:
            assert "Traceback" not in str(error)
        (image / "proc").unlink()
    assert not setting.exists()
    assert Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text() == before


@pytest.mark.parametrize("name", ["etc/hosts", "etc/resolv.conf", "etc"])
def test_files_for_the_network_do_not_follow_the_images_links(image, outside, name):
    if name == "etc":
        (image / "etc").rmdir()
    (image / name).symlink_to(outside if name == "etc" else outside / "canary")
    try:
        pc.run(pc.Image.from_rootfs(image), ["/probe", "idle"], network="host", timeout=30)
    except pc.PyContainerError as error:
        assert "Traceback" not in str(error)


def test_a_file_that_may_be_read_is_not_written_through_a_pipe(image, probe, tmp_path):
    """Of the image, which other containers share, and of the host."""
    shared = tmp_path / "shared"
    shared.write_text("of the host")
    (image / "file").write_text("of the image")
    for path in (shared, image / "file"):
        path.chmod(0o644)
    mounts = [pc.Bind(shared, "/shared", read_only=True)]
    for options in ({}, {"privileged": True}):
        for path in ("/file", "/shared", "/probe"):
            command = ["/probe", "enter", "pipe", path]
            said = pc.run(pc.Image.from_rootfs(image), command, text=True, mounts=mounts, **options).stdout
            assert "splice done" in said
    assert (shared.read_text(), (image / "file").read_text()) == ("of the host", "of the image")
    assert (image / "probe").read_bytes() == probe.read_bytes()


def test_a_mask_is_of_the_hosts_null_device_whatever_lies_on_it(tmp_path):
    """A mask that is anything else could be read and written through the paths that it hides."""
    (tmp_path / "file").write_text("of the host")
    script = (
        "for f in /proc/keys /proc/timer_list /proc/interrupts; do cat $f; echo x > $f; done; cat /dev/null"
    )
    mounts = [pc.Bind(tmp_path / "file", "/dev/null")]
    assert pc.run("host:", ["sh", "-c", script], text=True, mounts=mounts).stdout == "of the host"
    assert (tmp_path / "file").read_text() == "of the host"


def test_a_source_is_what_it_was_when_the_container_was_described(tmp_path):
    """Also for a container that can write above it, and is started again."""
    for name, text in (("shared", ""), ("secrets", "of the host")):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "file").write_text(text)
    mounts = [pc.Bind(tmp_path / "shared", "/shared"), pc.Bind(tmp_path / "shared" / "sub", "/sub")]
    with pc.Container.create("host:", ["sleep", "100"], mounts=mounts) as container:
        container.start()
        script = f"mv /shared/sub /shared/old && ln -s {tmp_path / 'secrets' / 'sub'} /shared/sub"
        container.exec(["sh", "-c", script], check=True)
        container.stop(timeout=0)
        with pytest.raises(pc.KernelError, match="symbolic link"):
            container.start()
        assert container.status in {"exited", "created"}
        (tmp_path / "shared" / "sub").unlink()
        (tmp_path / "shared" / "old").rename(tmp_path / "shared" / "sub")
        container.start()
        assert container.read_bytes("/sub/file") == b""


def test_a_source_may_be_a_link_and_for_root_what_the_caller_has_opened(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_text("x")
    (tmp_path / "link").symlink_to("real")
    fd = os.open(tmp_path / "real", os.O_PATH)
    try:
        # An ordinary user's sources are opened in the container's own mount namespace, where that is no mount.
        for source in (tmp_path / "link", *([f"/proc/self/fd/{fd}"] if os.geteuid() == 0 else [])):
            result = pc.run("host:", ["cat", "/data/file"], text=True, mounts=[pc.Bind(source, "/data")])
            assert result.stdout == "x"
    finally:
        os.close(fd)


# -- words -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [32767, 32768, 65535, 65536, 65537, 131071])
def test_words_as_long_as_a_shorter_number_can_count(length):
    """A length that is cut to 16 bits makes the rest of a word into further orders."""
    word = "A" * length
    result = pc.run("host:", ["sh", "-c", 'printf %s "$1$V" | wc -c', "sh", word], env={"V": word}, text=True)
    assert result.stdout.strip() == str(2 * length) or length == 131071
    with pc.Container.create("host:", ["sleep", "100"]) as container:
        container.start()
        many = ["x" * 1000] * (length // 1000)
        assert container.exec(["sh", "-c", "echo $#", "sh", *many], text=True).stdout.strip() == str(
            len(many)
        )


def test_words_that_are_too_long_are_refused_by_the_users_name():
    for options in ({}, {"init": True}):
        result = pc.run("host:", ["sh", "-c", "true", "x" * (1 << 18)], text=True, **options)
        assert (result.exit_code, result.stderr) == (
            126,
            'pycontainer: execute "sh": Argument list too long\n',
        )
        with pc.Container.create("host:", ["sh"], env={"V": "x" * (1 << 18)}, **options) as container:
            with pytest.raises(pc.CommandNotExecutable, match='"sh"'):
                container.start()


@pytest.mark.parametrize(
    ("call", "runs"), [("prctl", True), ("execveat", False), ("fcntl", False), ("execve", False)]
)
def test_a_filter_that_denies_what_a_start_needs_is_told(call, runs):
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": [call], "action": "SCMP_ACT_ERRNO"}],
    }
    security = pc.Security.default().evolve(seccomp=profile)
    result = pc.run("host:", ["true"], security=security, text=True, timeout=30)
    assert (result.exit_code == 0) is runs
    assert runs or "a call filter must allow execve, execveat, fcntl" in result.stderr
