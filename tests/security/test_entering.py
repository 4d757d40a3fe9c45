"""Entering a container, and setting one up: what a hostile image, or a hostile program inside, makes of it.

Everything goes through the Python interface; the payload tries from inside, and a canary on the host tells.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import pycontainer as pc

ROOT = pytest.mark.needs("root")
KINDS = [
    pytest.param({}, id="default"),
    pytest.param({"privileged": True}, id="privileged"),
    pytest.param({"init": True}, id="init"),
    pytest.param({"tty": True}, id="tty"),
    pytest.param({"userns": "host"}, id="host", marks=ROOT),
]


# -- the host's own program ------------------------------------------------------------------------

#: Prints the device and inode of the program that runs it, and whether it can be opened for writing.
WHOSE = """
import os
import subprocess
import sys
status = os.stat("/proc/self/exe")
print(f"ran {status.st_dev}:{status.st_ino}")
"""


def identity_of(path: str) -> str:
    status = os.stat(path)
    return f"{status.st_dev}:{status.st_ino}"


FURTHER = pytest.mark.xfail(reason="a further program is executed by the host's process itself")


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize(
    "entered", [pytest.param(False, id="first"), pytest.param(True, id="further", marks=FURTHER)]
)
def test_the_hosts_interpreter_is_not_what_a_container_executes(entered, options):
    """Who starts a process is itself for a moment, and /proc/self/exe its own program."""
    command = ["/proc/self/exe", "-c", WHOSE]
    if entered:
        with pc.Container.create("host:", ["sleep", "100"], **options) as container:
            container.start()
            result = container.exec(command, text=True, timeout=30)
    else:
        result = pc.run("host:", command, text=True, timeout=30, **options)
    assert f"ran {identity_of('/proc/self/exe')}" not in result.stdout
    assert result.exit_code != 0


# -- mounts ----------------------------------------------------------------------------------------


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
    """Also for a container that can write above it, and is started again (CVE-2017-1002101)."""
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


def test_a_source_may_be_a_link_or_what_the_caller_has_opened(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_text("x")
    (tmp_path / "link").symlink_to("real")
    fd = os.open(tmp_path / "real", os.O_PATH)
    try:
        # In a user namespace of its own the caller's descriptor is another's: what is mounted below may not be left off.
        sources = [tmp_path / "link", f"/proc/self/fd/{fd}"][: 2 if os.geteuid() == 0 else 1]
        for source in sources:
            result = pc.run("host:", ["cat", "/data/file"], text=True, mounts=[pc.Bind(source, "/data")])
            assert result.stdout == "x"
    finally:
        os.close(fd)


# -- our own programs ------------------------------------------------------------------------------


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
