"""doctor: every feature of the host, seen there and seen missing; nothing is left, nothing is raised."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import attrs
import pytest

import pycontainer as pc
from pycontainer.checkup import probes
from pycontainer.checkup.feature import Feature, HostFeatures, Lacking, Probe
from pycontainer.checkup.host import Host
from pycontainer.cli import main
from pycontainer.cli.doctor import table
from pycontainer.home import default_root
from pycontainer.kernel import criu, features
from tests.support.refuse import refusing

ROOT = Path(__file__).resolve().parents[2]

#: Feature -> the system calls that are refused, and how, so that it is missing.
REFUSALS: dict[str, tuple[tuple[str, ...], int]] = {
    "user-namespaces": (("setns",), errno.EPERM),
    "user-namespaces-for-all": (("setns", "unshare"), errno.EPERM),
    "subordinate-ids": (("clone3",), errno.EPERM),
    "newuidmap": (("access", "faccessat", "faccessat2"), errno.ENOENT),
    "container-namespaces": (("clone3",), errno.EINVAL),
    "network-namespaces": (("socket",), errno.EPERM),
    "time-namespaces": (("unshare",), errno.EINVAL),
    "mount-api": (("fsopen",), errno.ENOSYS),
    "proc": (("fsmount",), errno.EPERM),
    "clone3": (("clone3",), errno.ENOSYS),
    "pidfd": (("pidfd_open",), errno.ENOSYS),
    "pidfd-getfd": (("pidfd_getfd",), errno.EPERM),
    "pidfd-exit-status": (("ioctl",), errno.ENOTTY),
    "openat2": (("openat2",), errno.ENOSYS),
    "close-range": (("close_range",), errno.ENOSYS),
    "seccomp-filter": (("seccomp",), errno.EINVAL),
    "seccomp-notify": (("seccomp",), errno.EINVAL),
    "landlock": (("landlock_create_ruleset",), errno.EOPNOTSUPP),
    "keyrings": (("keyctl",), errno.ENOSYS),
    "ptrace": (("openat",), errno.EACCES),
    "ebpf": (("bpf",), errno.EPERM),
    "criu": (("execve",), errno.EACCES),
    "engine-root": (("mkdirat",), errno.EROFS),
    "overlay": (("fsopen",), errno.ENODEV),
    "overlay-on-disk": (("mkdirat",), errno.EROFS),
    "overlay-layers": (("fsconfig",), errno.EINVAL),
    "idmapped-mounts": (("mount_setattr",), errno.EINVAL),
    "tmpfs-xattrs": (("fsetxattr",), errno.ENOTSUP),
    "project-quota": (("quotactl_fd", "quotactl"), errno.ENOSYS),
    "fuse": (("openat",), errno.ENOENT),
    "cgroups": (("openat",), errno.ENOENT),
    "cgroup-make": (("mkdirat",), errno.EACCES),
    "cgroup-clone": (("clone3",), errno.EACCES),
    "cgroup-kill": (("write",), errno.EOPNOTSUPP),
    "cgroup-freeze": (("write",), errno.EOPNOTSUPP),
    "psi": (("openat",), errno.EOPNOTSUPP),
    **{f"cgroup-{name}": (("mkdirat",), errno.EROFS) for name in ("memory", "cpu", "cpuset", "pids", "io", "hugetlb", "devices", "device-program")},
    "veth": (("socket",), errno.EAFNOSUPPORT),
    "bridge": (("socket",), errno.EAFNOSUPPORT),
    "nftables": (("socket",), errno.EAFNOSUPPORT),
    "tun": (("openat",), errno.EACCES),
    "pasta": (("execve",), errno.EACCES),
    "slirp4netns": (("execve",), errno.EACCES),
    "dnspython": (("newfstatat", "openat"), errno.EACCES),
    "checkpoints": (("execve",), errno.EACCES),
}  # fmt: skip
#: Where version 2 has controllers that nobody has enabled, these look without making anything.
LOOK_ONLY = {name for name in REFUSALS if name.startswith("cgroup-")}


@pytest.fixture(scope="module")
def host() -> HostFeatures:
    return pc.doctor()


@pytest.fixture
def afresh() -> None:
    """What was found out once is asked again."""
    for each in (
        features.overlay_takes_layers, features.tmpfs_keeps_user_xattrs, features._can_idmap, criu._refusal
    ):  # fmt: skip
        each.cache_clear()


def examine(name: str) -> Feature:
    """One feature alone."""
    host = Host(default_root())
    try:
        return next(probe for probe in probes() if probe.name == name).run(host)
    finally:
        host.close()


def without(name: str, calls: tuple[str, ...], error: int) -> Feature:
    if not calls:
        return examine(name)
    return refusing(lambda: without(name, calls[1:], error), calls[0], error)


class TestHere:
    def test_all_is_there_that_the_other_tests_need(self, host: HostFeatures) -> None:
        assert host.ok, [feature for feature in host.missing if feature.needed]

    def test_every_feature_says_everything(self, host: HostFeatures) -> None:
        for feature in host:
            assert feature.name
            assert feature.probed
            assert feature.detail
            assert feature.needed_for
            assert bool(feature.fix) != feature.available, feature
            assert "the probe itself failed" not in feature.detail, feature

    def test_names_are_their_own(self, host: HostFeatures) -> None:
        assert len({feature.name for feature in host}) == len(host)

    def test_values_are_frozen(self, host: HostFeatures) -> None:
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            host["clone3"].available = False  # type: ignore[misc]
        with pytest.raises(KeyError):
            host["a feature of the moon"]

    def test_what_a_feature_says_is_what_the_library_finds(self, host: HostFeatures) -> None:
        assert host["tmpfs-xattrs"].available == features.tmpfs_keeps_user_xattrs()
        assert host["overlay-layers"].available == features.overlay_takes_layers()

    def test_a_container_can_be_started_where_all_is_well(self, host: HostFeatures) -> None:
        assert pc.run("host:", ["true"]).exit_code == 0
        assert host.ok

    @pytest.mark.needs("root", "cgroup")
    def test_root_may_use_the_controllers(self, host: HostFeatures) -> None:
        for name in ("memory", "cpu", "pids", "devices", "freeze", "make", "clone"):
            assert host[f"cgroup-{name}"].available, host[f"cgroup-{name}"]

    def test_nothing_is_left(self, tmp_path: Path) -> None:
        """Processes, fds, mounts and cgroups are watched around every test; this is the engine root's place."""
        root = tmp_path / "not" / "made"
        pc.doctor(root)
        assert not root.parent.exists()
        assert list(tmp_path.iterdir()) == []

    def test_the_reaper_is_not_started_for_it(self) -> None:
        script = (
            "import os, pycontainer as pc; pc.doctor();"
            "print(open(f'/proc/self/task/{os.getpid()}/children').read(), sorted(os.listdir('/proc/self/fd')))"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
        )
        children, _, fds = done.stdout.strip().rpartition(" [") if "[" in done.stdout else ("", "", "")
        assert children.strip() == ""
        assert len(fds.split()) <= 6, (
            fds
        )  # the three streams, the directory that is read, and the sealed program


class TestMissing:
    def test_each_has_a_way_to_be_missing(self) -> None:
        assert {probe.name for probe in probes()} == set(REFUSALS)

    @pytest.mark.parametrize("name", REFUSALS)
    @pytest.mark.usefixtures("afresh")
    def test_it_is_seen_and_said(self, name: str, host: HostFeatures) -> None:
        calls, error = REFUSALS[name]
        try:
            found = without(name, calls, error)
        finally:
            for each in (
                features.overlay_takes_layers,
                features.tmpfs_keeps_user_xattrs,
                features._can_idmap,
            ):
                each.cache_clear()
        if name in LOOK_ONLY and "enabled when first needed" in host[name].detail:
            pytest.skip("nothing is made for it")
        assert not found.available, found
        assert found.detail
        assert found.fix
        assert "the probe itself failed" not in found.detail

    def test_no_call_at_all_raises_nothing(self) -> None:
        """Whatever is refused, there is a report of all features."""
        for name in ("clone3", "openat", "mkdirat", "write", "socket", "memfd_create", "pipe2"):
            found = refusing(pc.doctor, name, errno.EPERM)
            assert len(found) == len(REFUSALS)
            assert found.missing

    def test_a_probe_that_breaks_says_so(self) -> None:
        def breaks(_: Host) -> str:
            raise ZeroDivisionError("one by none")

        found = Probe(name="x", needed=True, tries="t", needed_for="n", fix="f", ask=breaks).run(Host("/"))
        assert (found.available, found.fix) == (False, "f")
        assert found.detail == "the probe itself failed: ZeroDivisionError: one by none"

    def test_a_cause_with_a_fix_of_its_own(self) -> None:
        def lacks(_: Host) -> str:
            raise Lacking("off", "turn it on")

        found = Probe(name="x", needed=False, tries="t", needed_for="n", fix="f", ask=lacks).run(Host("/"))
        assert (found.detail, found.fix) == ("off", "turn it on")

    def test_an_engine_root_that_others_can_enter(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o755)
        found = pc.doctor(tmp_path)
        assert not found.ok
        assert found["engine-root"].fix == f"chown {os.geteuid()} {tmp_path}; chmod 0700 {tmp_path}"

    def test_an_engine_root_without_a_place(self) -> None:
        found = pc.doctor("/proc/1/pycontainer")["engine-root"]
        assert not found.available
        assert "PYCONTAINER_ROOT" in found.fix


class TestCommand:
    @pytest.fixture
    def sparse(self, tmp_path: Path) -> str:
        """An engine root that is refused."""
        tmp_path.chmod(0o755)
        return str(tmp_path)

    def test_prints_a_table(self, capsys: pytest.CaptureFixture[str], host: HostFeatures) -> None:
        assert main(["doctor"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].split() == ["FEATURE", "THERE", "NEED", "DETAIL"]
        assert [line.split()[0] for line in lines if line and not line.startswith(" ")][
            1 : len(host) + 1
        ] == [feature.name for feature in host]
        assert "Everything that a container needs is there." in lines

    def test_says_what_is_missing_and_fails(self, capsys: pytest.CaptureFixture[str], sparse: str) -> None:
        assert main(["--root", sparse, "doctor"]) == 1
        printed = capsys.readouterr().out
        assert "MISSING  needed" in printed
        assert "No container can be started: engine-root missing." in printed
        assert "chmod 0700" in printed

    def test_prints_json(self, capsys: pytest.CaptureFixture[str], sparse: str) -> None:
        assert main(["--root", sparse, "doctor", "--json"]) == 1
        told = json.loads(capsys.readouterr().out)
        assert told["ok"] is False
        assert {each["name"] for each in told["features"]} == set(REFUSALS)
        assert set(told["features"][0]) == {field.name for field in attrs.fields(Feature)}

    def test_runs_as_a_module(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "pycontainer", "doctor", "--json"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["ok"] is True

    def test_a_table_of_nothing_there(self) -> None:
        feature = Feature(
            name="a", available=False, needed=True, probed="p", detail="d " * 200, needed_for="n", fix="f"
        )
        lines = list(table(HostFeatures(features=[feature])))
        assert max(map(len, lines)) <= 110
        assert "No container can be started: a missing." in lines


class TestInAContainer:
    def test_a_confined_program_is_told_why_it_can_make_no_container(self) -> None:
        python = os.path.realpath(sys.executable)
        if not python.startswith("/usr/"):
            pytest.skip("the interpreter is no program of the host image")
        packages = str(Path(attrs.__file__).parents[1])
        result = pc.run(
            "host:",
            [python, "-m", "pycontainer", "doctor", "--json"],
            mounts=[
                # A checkout can lie on a file system that no id map can be laid over.
                pc.Bind(str(ROOT), "/tree", read_only=True, idmap=False),
                pc.Bind(packages, "/packages", read_only=True, idmap=False),
            ],
            env={"PYTHONPATH": "/tree:/packages"},
            text=True,
        )  # fmt: skip
        assert (result.exit_code, result.stderr) == (1, "")
        told = {each["name"]: each for each in json.loads(result.stdout)["features"]}
        assert not told["user-namespaces"]["available"]
        assert told["openat2"]["available"]
        assert "docker run --security-opt" in told["user-namespaces"]["fix"]


def test_it_takes_well_under_a_second_of_processor_time() -> None:
    """Processor time, which other work on the machine does not add to; a bound far above what it takes."""
    before = time.process_time()
    pc.doctor()
    assert time.process_time() - before < 2
