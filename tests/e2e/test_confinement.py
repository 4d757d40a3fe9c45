"""What a program sees of its confinement, from inside, and that nothing of the host is to be seen."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

import pycontainer as pc
from pycontainer.kernel import capabilities

WAYS = [{}, {"init": True}, {"tty": True}, {"read_only": True}, {"network": "host"}]
#: The file systems of a container, by type; the one disk is that of the host image's /usr.
OUR_TYPES = {"overlay", "proc", "sysfs", "tmpfs", "devpts", "mqueue", "devtmpfs", "ext4", "xfs", "btrfs"}
#: What is shown of a file system: all of it, a mask, a device, or a part of /proc and /sys.
OUR_ROOTS = {"/", "/usr", "/null", "/empty", "/bus", "/fs", "/irq", "/sys", "/sysrq-trigger"}
DEVICES = {"null": "1:3", "zero": "1:5", "full": "1:7", "random": "1:8", "urandom": "1:9", "tty": "5:0"}


@pytest.fixture
def inside(probe):
    """Run a word of the payload in a fresh container of the host image; its lines."""

    def run(*words: str, **options: object) -> list[str]:
        mounts = [pc.Bind(probe, "/probe", read_only=True)]
        result = pc.run("host:", ["/probe", *words], mounts=mounts, text=True, timeout=120, **options)
        assert result.exit_code == 0, (result.stdout, result.stderr)
        return result.stdout.replace("\r", "").splitlines()

    return run


def outside(probe: Path, *words: str) -> list[str]:
    """The same on the host, unconfined."""
    done = subprocess.run(
        [probe, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout.splitlines()


def fields(lines: list[str]) -> dict[str, str]:
    return dict(line.split("=", 1) for line in lines if "=" in line)


def sh(script: str, **options: object) -> str:
    result = pc.run("host:", ["sh", "-c", script], text=True, timeout=60, **options)
    assert result.exit_code == 0, result.stderr
    return result.stdout


# -- the tree ------------------------------------------------------------------------------


def mountinfo(text: str) -> list[tuple[str, str, str, str]]:
    """Root, place, type and source of each mount."""
    found = []
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        found.append((left.split()[3], left.split()[4], right.split()[0], right.split()[1]))
    return found


@pytest.mark.parametrize("options", WAYS)
def test_the_mounts_are_our_own(options):
    text = sh("cat /proc/self/mountinfo", **options).replace("\r", "")
    mounts = mountinfo(text)
    assert [place for _, place, _, _ in mounts].count("/") == 1
    for root, place, kind, source in mounts:
        assert kind in OUR_TYPES, text
        if kind in {"overlay", "proc", "sysfs", "tmpfs", "devpts", "mqueue"} and not place.startswith(
            "/dev/console"
        ):
            assert source == "none", text
        if kind == "devtmpfs":
            assert root.strip("/") in DEVICES, text
        elif place != "/dev/console":
            shared = {"/etc/hosts", "/etc/resolv.conf"} if options.get("network") == "host" else set()
            assert root in OUR_ROOTS | shared, text
    root_tree = os.environ["PYCONTAINER_ROOT"]
    assert root_tree not in text
    assert "pytest" not in text


def test_the_hosts_own_mounts_would_be_told_apart():
    assert any(
        root not in OUR_ROOTS or kind not in OUR_TYPES or source != "none"
        for root, _, kind, source in mountinfo(Path("/proc/self/mountinfo").read_text())
    )


def test_no_path_leads_out(probe, tmp_path):
    canary = tmp_path / "canary"
    canary.write_text("of the host")
    script = f"""
test / -ef /.. && test / -ef /../../.. && test / -ef /proc/self/root && test / -ef /proc/1/root && test / -ef /proc/1/cwd
test "$(stat -c %i /)" = "$(stat -c %i /../)" && echo closed
for way in '' /.. /proc/self/root /proc/1/root /proc/1/root/.. /proc/self/cwd/../.. /dev/fd/../../root; do
    test -e $way{canary} && echo "reached by $way"
done
exit 0
"""
    assert sh(script) == "closed\n"
    # The search itself finds what is there.
    assert Path(f"/proc/self/root{canary}").exists()


def test_every_memory_file_system_is_bounded():
    listed = sh(
        "awk '{print $5}' /proc/self/mountinfo | while read p; do stat -f -c '%T %b %c' $p; done; stat -f -c '%T %b %c' /",
        mounts=[pc.Tmpfs("/unbounded")],
    )
    sizes = [line.split() for line in listed.splitlines() if line.split()[0] in {"tmpfs", "overlayfs"}]
    assert len(sizes) >= 5
    # tmpfs(5): no limit is shown as no blocks.
    assert all(int(blocks) > 0 and int(inodes) > 0 for _, blocks, inodes in sizes), listed


def test_dev_is_minimal(inside):
    for options in ({}, {"userns": "host"} if os.geteuid() == 0 else {}):
        nodes = {line.split()[0]: line.split()[1:] for line in inside("devices", **options)}
        assert {path: node[1] for path, node in nodes.items()} == {f"/dev/{n}": d for n, d in DEVICES.items()}
        assert {node[0] for node in nodes.values()} == {"c"}


def test_masked_files_give_nothing():
    script = """
for f in /proc/kcore /proc/keys /proc/interrupts /proc/timer_list /proc/sched_debug /proc/timer_stats /proc/latency_stats; do
    test ! -e $f || test "$(head -c 100 $f | wc -c)" = 0 || echo "$f gives something"
done
for d in /proc/acpi /proc/scsi /proc/asound /sys/firmware /sys/devices/virtual/powercap; do
    test ! -e $d || test -z "$(ls -A $d)" || echo "$d gives something"
done
"""
    assert sh(script) == ""
    assert os.path.getsize("/proc/interrupts") == 0
    assert Path("/proc/interrupts").read_bytes() != b""


# -- what is open, and what a program is told ----------------------------------------------


@pytest.mark.parametrize("options", [{}, {"init": True}])
def test_no_fd_of_the_host_is_open(inside, tmp_path, options):
    with open(tmp_path / "secret", "w") as held:
        os.set_inheritable(held.fileno(), True)
        os.dup2(held.fileno(), 200, inheritable=True)
        try:
            lines = inside("fds", **options)
        finally:
            os.close(200)
    open_fds = [line.split(" ", 3) for line in lines if " fd " in line]
    targets = {(number, target.partition("[")[0]) for _, _, number, *rest in open_fds for target in rest}
    assert {number for number, _ in targets} == {"0", "1", "2"}
    assert {target for _, target in targets} == {"/dev/null", "pipe:"}


def test_the_scan_of_fds_would_find_one(probe, tmp_path):
    with open(tmp_path / "held", "w") as held:
        command = [probe, "fds"]
        done = subprocess.run(command, pass_fds=[held.fileno()], capture_output=True, text=True, check=True)
        assert f" fd {held.fileno()} {tmp_path / 'held'}" in done.stdout


def test_no_fd_of_the_host_is_open_in_an_exec(probe, tmp_path):
    with (
        open(tmp_path / "secret", "w") as held,
        pc.Container.create(
            "host:", ["/probe", "sleep"], mounts=[pc.Bind(probe, "/probe", read_only=True)]
        ) as container,
    ):
        os.set_inheritable(held.fileno(), True)
        container.start()
        lines = container.exec(["/probe", "fds"], text=True, timeout=60).stdout.splitlines()
        open_fds = [line.split(" ", 3) for line in lines if " fd " in line]
        assert {(n, t.partition("[")[0]) for _, _, n, *rest in open_fds for t in rest} == {
            ("0", "/dev/null"), ("1", "pipe:"), ("2", "pipe:"),
        }  # fmt: skip
        assert {line.split(" ", 2)[2] for line in lines if " exe " in line and "O_" not in line} <= {
            "/probe", "chmod EROFS",
        }  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"cap_add": ["SYS_PTRACE"]}, {"privileged": True}])
def test_init_is_out_of_reach(inside, options):
    lines = [line for line in inside("fds", init=True, **options) if line.startswith("1 ")]
    found = {
        line.split(" ", 2)[1] + " " + line.split(" ", 2)[2].rpartition(" ")[0]: line.rpartition(" ")[2]
        for line in lines
    }
    if not options:
        # Not dumpable: even its links cannot be read.
        assert {line.rpartition(" ")[2] for line in lines} == {"EACCES"}
    assert not any(line.startswith("1 exe /") and not line.startswith("1 exe /memfd:init") for line in lines)
    assert found["exe O_RDWR"] in {"EACCES", "ETXTBSY", "EPERM"}
    assert found["exe O_TRUNC"] in {"EACCES", "ETXTBSY", "EPERM"}
    assert found["exe chmod"] in {"EACCES", "EPERM"}
    # What it had is only what the program has, and is closed soon.
    assert not any(
        "/" in line.split(" ", 3)[3] and "/dev/" not in line
        for line in lines
        if line.startswith("1 fd ") and line.count(" ") > 2
    )


def test_an_executed_program_is_told_nothing_of_the_host(inside):
    os.environ["SECRET_OF_THE_HOST"] = "x"
    try:
        found = fields(inside("report", hostname="box"))
    finally:
        del os.environ["SECRET_OF_THE_HOST"]
    assert sorted(found["environ"].split()) == [
        "HOME=/root", "HOSTNAME=box", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ]  # fmt: skip
    assert found["cmdline"].split() == ["/probe", "report"]
    assert found["cwd"] == "/"


# -- ids, capabilities, calls --------------------------------------------------------------


@pytest.mark.needs("root")
@pytest.mark.parametrize("options", [{}, {"privileged": True}, {"init": True}, {"tty": True}])
def test_host_root_is_never_mapped(inside, options):
    inner, outer, count = map(int, fields(inside("report", **options))["uid_map"].split())
    assert (inner, count) == (0, 65536)
    assert outer >= 0x70000000
    assert outer % 65536 == 0


@pytest.mark.needs("root")
def test_containers_at_the_same_time_have_disjoint_ids():
    with (
        pc.Container.create("host:", ["sleep", "100"]) as one,
        pc.Container.create("host:", ["sleep", "100"]) as two,
    ):
        one.start()
        two.start()
        maps = [Path(f"/proc/{c.pid}/uid_map").read_text().split() for c in (one, two)]
        groups = [Path(f"/proc/{c.pid}/gid_map").read_text().split() for c in (one, two)]
    assert abs(int(maps[0][1]) - int(maps[1][1])) >= 65536
    assert groups == maps


@pytest.mark.needs("user")
def test_an_ordinary_user_maps_no_id_but_its_own(inside):
    extents = fields(inside("report"))["uid_map"].split()[:3]
    assert list(map(int, extents)) == [0, os.geteuid(), 1]


WRITABLE = ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs", "/sys")


def test_no_sysctl_can_be_opened_for_writing(inside):
    for options in ({}, {"network": "host"}, {"init": True}):
        lines = inside("sysctls", *WRITABLE, **options)
        counts = dict(line.split() for line in lines if not line.startswith("opened"))
        assert int(counts["tried"]) > 500
        assert counts["succeeded"] == "0", lines


@pytest.mark.needs("root")
def test_host_root_cannot_write_a_sysctl_either(inside):
    assert inside("sysctls", *WRITABLE, userns="host")[-1] == "succeeded 0"


@pytest.mark.needs("root")
def test_the_walk_over_sysctls_finds_writable_ones(probe):
    assert int(outside(probe, "sysctls", "/proc/sys/kernel")[-1].split()[1]) > 10


def docker_mask() -> str:
    return f"{capabilities.mask(capabilities.DOCKER_DEFAULT):016x}"


NONE = "0" * 16


ON_THE_HOSTS_IDS = pytest.param({"userns": "host"}, marks=pytest.mark.needs("root"))


@pytest.mark.parametrize("options", [{}, {"init": True}, {"tty": True}, ON_THE_HOSTS_IDS, {"umask": 0o077}])
def test_root_of_a_container_is_dockers(inside, options):
    found = fields(inside("report", **options))
    assert docker_mask() == "00000000a80425fb"
    assert (found["permitted"], found["effective"], found["bounding"]) == (docker_mask(),) * 3
    assert (found["inheritable"], found["ambient"]) == (NONE, NONE)
    assert (found["no_new_privs"], found["seccomp"], found["keepcaps"], found["securebits"]) == (
        "1",
        "2",
        "0",
        "0",
    )
    assert found["core"] == "1:1"
    assert found["umask"] == ("077" if "umask" in options else "022")
    assert (found["handled"].strip(), found["blocked"]) == ("", NONE)
    assert found["group"] == found["pid"]
    assert found["session"] == ("1" if found["pid"] != "1" else found["pid"])
    assert found["tty"] == ("done" if options.get("tty") else "ENXIO")
    assert (found["uid"], found["gid"], found["groups"]) == ("0", "0", "")


@pytest.mark.needs("root")
@pytest.mark.parametrize("options", [{}, {"init": True}, {"userns": "host"}])
def test_others_have_no_capabilities(inside, options):
    for user, ids in (("1000", ("1000", "0")), ("www-data", ("33", "33")), ("33:8", ("33", "8"))):
        found = fields(inside("report", user=user, **options))
        assert (found["uid"], found["gid"], found["groups"]) == (*ids, "")
        assert (found["permitted"], found["effective"], found["inheritable"], found["ambient"]) == (NONE,) * 4
        assert found["bounding"] == docker_mask()


def test_an_exec_is_as_confined(probe, inside):
    mounts = [pc.Bind(probe, "/probe", read_only=True)]
    with pc.Container.create("host:", ["/probe", "sleep"], init=True, mounts=mounts) as container:
        container.start()
        found = fields(container.exec(["/probe", "report"], text=True, timeout=60).stdout.splitlines())
    first = fields(inside("report"))
    assert found["session"] == found["pid"] == found["group"]
    same = set(first) - {"pid", "session", "group", "parent", "environ", "uid_map", "cmdline"}
    assert {name: found[name] for name in same} == {name: first[name] for name in same}


def test_signals_of_the_host_are_not_passed_on(inside):
    import signal

    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2, signal.SIGTERM})
    try:
        found = fields(inside("report"))
    finally:
        signal.signal(signal.SIGUSR1, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    assert (found["handled"].strip(), found["blocked"]) == ("", NONE)


#: Calls that programs know how to do without when they hear that there is none.
ABSENT = {"clone3", "io_uring_setup"}


@pytest.mark.parametrize("options", [{}, {"tty": True}, {"network": "host"}])
def test_calls_that_are_not_for_containers(inside, options):
    outcomes = dict(line.split() for line in inside("calls", **options))
    assert len(outcomes) > 30
    for name, outcome in outcomes.items():
        assert outcome == ("ENOSYS" if name in ABSENT else "EPERM"), name


@pytest.mark.needs("root")
def test_host_root_is_held_by_the_filter_too(inside):
    outcomes = dict(line.split() for line in inside("calls", userns="host"))
    assert {name: o for name, o in outcomes.items() if o not in {"EPERM", "ENOSYS"}} == {}


@pytest.mark.needs("user")
def test_the_calls_are_answered_otherwise_on_the_host(probe):
    outcomes = dict(line.split() for line in outside(probe, "calls"))
    assert {outcomes[name] for name in ("keyctl", "af_vsock", "setns", "tiocsti")} & {
        "EPERM",
        "ENOSYS",
    } == set()


def test_nobody_of_the_container_owns_files_of_the_host(tmp_path):
    """What a container writes through a bind belongs to the caller, and carries no privilege to the host."""
    source = tmp_path / "shared"
    source.mkdir()
    sh("cp /bin/true /data/x; chmod 6755 /data/x; mkdir /data/d", mounts=[pc.Bind(source, "/data")])
    status = (source / "x").stat()
    assert status.st_uid == os.geteuid()
    # It is the caller's own file; that others may become the caller by it is for the caller to prevent.
    assert stat.S_ISREG(status.st_mode)
