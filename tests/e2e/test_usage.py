"""What a result says was used, beside what the program itself measured."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import pycontainer as pc

MIB = 1 << 20

pytestmark = pytest.mark.needs("cgroup")

#: How long a program has to run for its beginning and its end not to count, in seconds.
LONG = 2 if "CGROUP2_VM" in os.environ else 0.5

#: Uses up that twice, once in a child that nobody waits for, and says what it was.
BURNER = f"""
import os, time
def burn(seconds):
    while time.process_time() < seconds:
        sum(range(1000)); os.stat("/")
read, write = os.pipe()
if os.fork() == 0:
    burn({LONG})
    os.write(write, repr(time.process_time()).encode())
    time.sleep(60)
burn({LONG})
print(float(os.read(read, 100)) + time.process_time(), flush=True)
os._exit(0)
"""


def python(script: str) -> list[str]:
    return ["/usr/bin/python3", "-S", "-E", "-c", script]


def test_processor_time() -> None:
    result = pc.run("host:", python(BURNER), text=True)
    used = result.usage.cpu_user + result.usage.cpu_system
    assert used == pytest.approx(float(result.stdout), rel=0.05)


@pytest.mark.parametrize("size", [100, 300])
def test_peak_of_memory(size: int) -> None:
    script = (
        f"import mmap\nm = mmap.mmap(-1, {size} << 20)\nfor i in range(0, len(m), 4096): m[i] = 1\nm.close()"
    )
    base = pc.run("host:", python("import mmap")).usage.memory_peak
    result = pc.run("host:", python(script))
    assert result.usage.memory_peak - base == pytest.approx(size * MIB, rel=0.05)
    assert result.usage.memory_current < result.usage.memory_peak / 2


@pytest.mark.needs("root")
def test_bytes_written(tmp_path: Path) -> None:
    command = ["dd", "if=/dev/zero", "of=/data/x", "bs=1M", "count=32", "oflag=direct", "conv=fsync"]
    result = pc.run("host:", command, mounts=[f"{tmp_path}:/data"], text=True)
    assert result.exit_code == 0, result.stderr
    assert result.usage.io_write == pytest.approx(32 * MIB, rel=0.05)
    assert result.usage.io_write_ops >= 32


def test_what_is_reported_of_idle_time() -> None:
    result = pc.run("host:", ["sleep", "0.5"])
    assert result.usage.wall >= 0.5
    assert result.usage.cpu_user + result.usage.cpu_system < result.usage.wall / 2
