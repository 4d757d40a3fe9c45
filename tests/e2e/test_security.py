"""What a security value and the arguments beside it mean for a program inside."""

from __future__ import annotations

import os
import stat

import pytest

import pycontainer as pc
from pycontainer.kernel import landlock

STRICT = pc.Security.strict()
#: Where no cgroup can be had its limits are left out: these tests are of the rest.
UNLIMITED = {"security": STRICT, "best_effort": True}


def sh(script: str, **options: object) -> str:
    result = pc.run("host:", ["sh", "-c", script], text=True, timeout=60, **options)
    assert result.exit_code == 0, (result.stdout, result.stderr)
    return result.stdout


def code(*command: str, **options: object) -> int:
    return pc.run("host:", [*command], timeout=60, **options).exit_code


def status(**options: object) -> dict[str, str]:
    lines = sh("cat /proc/self/status", **options).splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


# -- strict ----------------------------------------------------------------------------------------


def test_strict_has_no_capability() -> None:
    found = status(**UNLIMITED)
    assert {found[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")


def test_strict_shows_no_other_process_and_nothing_of_the_host() -> None:
    names = sh("ls /proc", **UNLIMITED).split()
    assert [name for name in names if not name.isdigit()] == ["self", "thread-self"]
    assert sh("ls /sys", **UNLIMITED) == ""
    assert sh("ls /dev", **UNLIMITED).split() == [
        "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "urandom", "zero",
    ]  # fmt: skip


def test_strict_writes_to_tmp_alone() -> None:
    assert code("touch", "/x", **UNLIMITED) != 0
    assert code("touch", "/etc/x", **UNLIMITED) != 0
    assert sh(
        "echo a >/tmp/x; cat /tmp/x; echo b >/dev/null; df -B1 --output=size /tmp | tail -1", **UNLIMITED
    ).split() == [
        "a",
        str(64 << 20),
    ]
    result = pc.run("host:", ["dd", "if=/dev/zero", "of=/tmp/x", "bs=1M", "count=100"], **UNLIMITED)
    assert result.exit_code == 1


def test_strict_has_no_further_user_namespaces_in_either_wall() -> None:
    assert code("unshare", "--user", "true", **UNLIMITED) != 0
    opened = STRICT.evolve(seccomp=None)
    assert code("unshare", "--user", "true", security=opened, best_effort=True) != 0
    assert (
        code("unshare", "--user", "true", security=opened.evolve(user_namespaces=True), best_effort=True) == 0
    )


@pytest.mark.needs("cgroup")
def test_strict_has_limits() -> None:
    hog = pc.run("host:", ["/usr/bin/python3", "-c", "x = bytearray(600 << 20)"], security=STRICT)
    assert (hog.oom_killed, hog.limit) == (True, "memory")
    bomb = "import os, time\ntry:\n    while True:\n        os.fork() or time.sleep(60)\nexcept OSError: print('full')"
    result = pc.run("host:", ["/usr/bin/python3", "-c", bomb], security=STRICT, timeout=60)
    assert result.usage.pids_peak in (256, None)
    # What the call says counts.
    large = ["/usr/bin/python3", "-c", "x = bytearray(600 << 20)"]
    assert code(*large, security=STRICT, memory="1G") == 0


@pytest.mark.needs("user")
def test_strict_without_its_limits_is_refused() -> None:
    if (
        not os.access("/sys/fs/cgroup/cgroup.procs", os.W_OK)
        and pc.run("host:", ["true"]).usage.pids_peak is None
    ):
        with pytest.raises(pc.NotSupported, match="systemd-run"):
            pc.run("host:", ["true"], security=STRICT)


def test_strict_runs_what_people_bring() -> None:
    script = (
        "import os, subprocess, threading, tempfile, socket, json, sqlite3\n"
        "t = threading.Thread(target=print, args=('thread',)); t.start(); t.join()\n"
        "print(subprocess.run(['echo', 'child'], capture_output=True, text=True).stdout.strip())\n"
        "with tempfile.NamedTemporaryFile() as f: f.write(b'x')\n"
        "a, b = socket.socketpair(); a.send(b'hi'); print(b.recv(2).decode())\n"
        "sqlite3.connect('/tmp/db').execute('create table t (x)')\n"
        "print(len(os.urandom(8)), os.cpu_count() > 0)\n"
    )
    result = pc.run("host:", ["/usr/bin/python3", "-c", script], text=True, **UNLIMITED)
    assert result.stdout.split() == ["thread", "child", "hi", "8", "True"], result.stderr


def test_strict_holds_for_further_programs() -> None:
    with pc.Container.create("host:", ["sleep", "100"], **UNLIMITED) as container:
        container.start()
        assert container.exec(["touch", "/x"]).exit_code != 0
        assert container.exec(["touch", "/tmp/x"]).exit_code == 0
        names = container.exec(["ls", "/proc"], text=True).stdout.split()
        assert "1" not in names
        assert container.exec(["test", "-e", "/dev/tty"], tty=True).exit_code != 0
        assert container.exec(["unshare", "--user", "true"]).exit_code != 0


# -- the second wall -------------------------------------------------------------------------------


@pytest.mark.skipif(
    landlock.version() == 0, reason="the kernel has no Landlock, and the first wall stands alone"
)
class TestLandlock:
    #: Everything that the first wall could do is off.
    OPEN = pc.Security.privileged().evolve(no_new_privs=True)

    def test_it_holds_without_the_first(self) -> None:
        mount = ["mount", "-t", "tmpfs", "x", "/mnt"]
        assert code(*mount, security=self.OPEN) == 0
        assert code(*mount, security=self.OPEN.evolve(landlock=True)) != 0

    def test_a_read_only_root_is_read_only_twice(self) -> None:
        script = "mount -o remount,bind,rw /; touch /x"
        assert code("sh", "-c", script, security=self.OPEN, read_only=True) == 0
        assert code("sh", "-c", script, security=self.OPEN.evolve(landlock=True), read_only=True) != 0

    def test_volumes_have_their_mode(self, tmp_path) -> None:
        (tmp_path / "rw").mkdir()
        (tmp_path / "ro").mkdir()
        (tmp_path / "file").write_text("old")
        mounts = [
            pc.Bind(tmp_path / "rw", "/rw"),
            pc.Bind(tmp_path / "ro", "/ro", read_only=True),
            pc.Bind(tmp_path / "file", "/file"),
        ]
        options = {"mounts": mounts, "read_only": True, "security": self.OPEN.evolve(landlock=True)}
        assert (
            sh("touch /rw/x && mv /rw/x /rw/y && ls /rw; cat /file; echo new >/file", **options) == "y\nold"
        )
        assert (tmp_path / "file").read_text() == "new\n"
        assert code("touch", "/ro/x", **options) != 0
        assert code("touch", "/etc/x", **options) != 0

    def test_without_a_read_only_root_everything_inside_is_as_before(self) -> None:
        security = pc.Security.default().evolve(landlock=True)
        script = "mkdir /a /b; echo x >/a/f; mv /a/f /b/g; ln /b/g /h; cat /h; rm -r /a /b /h; truncate -s 5 /t; ls -l /proc/self/exe >/dev/null"
        assert sh(script, security=security) == "x\n"


# -- parts -----------------------------------------------------------------------------------------


def test_ambient_capabilities_reach_a_program_that_is_not_root() -> None:
    security = pc.Security.default().evolve(ambient={"CAP_NET_BIND_SERVICE"})
    user = f"{os.getuid()}" if os.getuid() else "nobody"
    plain = status(user="0")
    assert plain["CapAmb"] == "0" * 16
    if os.getuid() == 0:
        found = status(user=user, security=security)
        assert found["CapEff"] == found["CapAmb"] == f"{1 << 10:016x}"
        assert status(user=user)["CapEff"] == "0" * 16


def test_a_value_refuses_nonsense() -> None:
    for fields, match in (
        ({"ambient": {"CAP_SYS_ADMIN"}}, "capabilities"),
        ({"capabilities": {"CAP_NONSENSE"}}, "CAP_NONSENSE"),
        ({"userns": "mine"}, "keep-id"),
        ({"devices": ("sda",)}, "sda"),
        ({"tmp": "much"}, "tmp"),
    ):
        with pytest.raises(pc.InvalidArgument, match=match):
            pc.Security.default().evolve(**fields)
    with pytest.raises(TypeError, match="landlok"):
        pc.Security.default().evolve(landlok=True)


def test_a_filter_may_be_dockers_json() -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
    }
    security = pc.Security.default().evolve(seccomp=profile)
    assert code("mkdir", "/x", security=security) != 0
    assert code("touch", "/x", security=security) == 0


def test_sysctls_are_the_containers_own() -> None:
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start") as file:
        before = file.read()
    values = {"net.ipv4.ip_unprivileged_port_start": 7, "fs.mqueue.msg_max": "11"}
    files = "/proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/fs/mqueue/msg_max"
    assert sh(f"cat {files}", sysctls=values).split() == ["7", "11"]
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start") as file:
        assert file.read() == before


@pytest.mark.parametrize(
    "values",
    [
        {"kernel.core_pattern": "|/x"}, {"vm.overcommit_memory": 1}, {"net/ipv4/ip_forward": 1}, {"net.ipv4.ip_forward": "1\n2"},
        {"net.ipv4.ip_forward": ""}, {"net.ipv4.ip_forward": None}, {"net..x": 1}, {"kernel.shm_rmid_forced+x": 1}, {7: 1}, ["net.a"],
    ],
)  # fmt: skip
def test_other_sysctls_are_refused(values: object) -> None:
    with pytest.raises(pc.InvalidArgument, match="sysctls"):
        pc.run("host:", ["true"], sysctls=values)


def test_sysctls_of_the_hosts_network_are_refused() -> None:
    with pytest.raises(pc.InvalidArgument, match="host"):
        pc.run("host:", ["true"], sysctls={"net.ipv4.ip_forward": 1}, network="host")


def test_groups() -> None:
    assert sh("id -G", group_add=["video", "tty"]).split() == ["0", "5", "44"]
    with pc.Container.create("host:", ["sleep", "100"], group_add=[44]) as container:
        container.start()
        assert container.exec(["id", "-G"], text=True).stdout.split() == ["0", "44"]
    with pytest.raises(pc.InvalidArgument, match="group_add"):
        pc.run("host:", ["true"], group_add=["no-such-group"])


def test_the_score_of_the_oom_killer() -> None:
    script = (
        "while [ $(cat /proc/self/oom_score_adj) != 700 ]; do sleep 0.01; done; cat /proc/self/oom_score_adj"
    )
    assert sh(script, oom_score_adj=700) == "700\n"
    with pc.Container.create("host:", ["sleep", "100"], oom_score_adj=600) as container:
        container.start()
        with open(f"/proc/{container.pid}/oom_score_adj") as file:
            assert file.read() == "600\n"
        told = container.exec(["sh", "-c", script.replace("700", "600")], text=True).stdout
        assert told == "600\n"
    with pytest.raises(pc.InvalidArgument, match="oom_score_adj"):
        pc.run("host:", ["true"], oom_score_adj=1001)


def test_a_device_of_the_host() -> None:
    text = sh("stat -c '%t:%T' /dev/other; head -c 3 /dev/other | wc -c", devices=["/dev/zero:/dev/other"])
    assert text.split() == ["1:5", "3"]
    for wrong in (
        "/dev/null",
        "/dev/zero:/srv/x",
        "/dev/zero:/dev/../x",
        "/etc/passwd:/dev/x",
        "/dev/zero:/dev/x:q",
        "zero",
        "/dev/none",
    ):
        with pytest.raises(pc.InvalidArgument, match="devices"):
            pc.run("host:", ["true"], devices=[wrong])


@pytest.mark.needs("root", "cgroup")
def test_a_device_may_be_used_in_some_ways_only() -> None:
    script = (
        "(exec 3>/dev/deep/log) 2>/dev/null && echo opened; echo a >/dev/null; head -c 2 /dev/zero | wc -c"
    )
    for access, told in (("w", ["opened", "2"]), ("r", ["2"])):
        result = pc.run(
            "host:", ["bash", "-c", script], devices=[f"/dev/kmsg:/dev/deep/log:{access}"], text=True
        )
        assert result.stdout.split() == told


# -- users -----------------------------------------------------------------------------------------


@pytest.mark.needs("user")
def test_keep_id() -> None:
    assert sh("id -u; id -g; touch /tmp/x; stat -c %u /tmp/x", userns="keep-id").split() == [
        str(os.getuid()), str(os.getgid()), str(os.getuid()),
    ]  # fmt: skip


@pytest.mark.needs("root")
def test_keep_id_is_not_for_root() -> None:
    with pytest.raises(pc.NotSupported, match="keep-id"):
        pc.run("host:", ["true"], userns="keep-id")


@pytest.mark.needs("root")
def test_a_map_of_ones_own() -> None:
    map_ = pc.IdMap([(0, 700_000, 10), (1000, 800_000, 1)], [(0, 700_000, 2000)])
    lines = sh("cat /proc/self/uid_map; id -u", userns=map_, user="1000:0").split()
    assert lines == ["0", "700000", "10", "1000", "800000", "1", "1000"]
    with pytest.raises(pc.InvalidArgument, match="root of the host"):
        pc.run("host:", ["true"], userns=pc.IdMap([(0, 0, 10)], [(0, 700_000, 10)]))


@pytest.mark.needs("root")
def test_devices_of_an_image_are_nothing(tmp_path) -> None:
    for folder in ("bin", "dev"):
        (tmp_path / folder).mkdir()
    os.mknod(tmp_path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    with pc.Container.create(pc.Image.from_rootfs(tmp_path), ["/x"], userns="host") as container:
        with pytest.raises(pc.CommandNotFound):
            container.start()
