"""What the library does, shown on this machine in a few seconds: `make demo`. Needs neither root nor a network."""

from __future__ import annotations

import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pycontainer as pc

WIDTH = 100
ROUNDS = 40

# Counts the primes below n: a program that computes, in a language that every Debian has.
PRIMES = "BEGIN { for (i = 2; i < n; i++) { p = 1; for (j = 2; j * j <= i; j++) if (i % j == 0) { p = 0; break } c += p }; print c }"


def title(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}")


def row(name: str, value: object) -> None:
    print(f"  {name:<34}{value}")


def shell(script: str, **options: object) -> pc.Result[str]:
    return pc.run("host:", ["sh", "-c", script], text=True, errors="replace", **options)


def a_program() -> None:
    title("A program in a container of this host's own programs")
    result = pc.run("host:", ["awk", "-v", "n=30000", PRIMES], text=True, check=True)
    usage = result.usage
    row("primes below 30000", result.stdout.strip())
    row("it took", f"{usage.wall * 1e3:.0f} ms, of them {usage.cpu_user * 1e3:.0f} ms of computing")


def its_view() -> None:
    title("What it sees")
    row("it is", shell("id").stdout.strip())
    row("on a machine called", shell("hostname").stdout.strip())
    row("processes", shell("ls -d /proc/[0-9]*").stdout.split())
    row("network", shell("cut -d: -f1 -s /proc/net/dev").stdout.split())
    row("home directories", shell("ls /home").stdout.split())
    inside = shell("cat /proc/mounts").stdout.count("\n")
    row("mounts", f"{inside} (the host has {Path('/proc/self/mounts').read_text().count(chr(10))})")
    uid = shell("cat /proc/self/uid_map").stdout.split()
    row(
        "its user 0 is on the host",
        f"user {uid[1]}" + (", you" if int(uid[1]) == os.geteuid() else ", nobody"),
    )


def its_changes() -> None:
    title("What it changed, told by its result; nothing of it reaches the host")
    result = shell(
        "echo 127.0.0.2 bank >> /etc/hosts; rm /etc/services; mkdir /opt/loot; touch /opt/loot/key"
    )
    for change in result.changes():
        row(change.kind, change.path)


def its_speed() -> None:
    title(f"The time from start to end of /bin/true, {ROUNDS} times")
    pc.run("host:", ["true"])
    plain = timed(lambda: subprocess.run(["/bin/true"], check=True))
    inside = timed(lambda: pc.run("host:", ["/bin/true"], check=True))
    for name, times in (("subprocess.run", plain), ("pycontainer.run", inside)):
        row(name, f"median {statistics.median(times):5.2f} ms, best {min(times):5.2f} ms")


def timed(call: Callable[[], object]) -> list[float]:
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        call()
        times.append((time.perf_counter() - started) * 1e3)
    return times


def hostile_programs() -> None:
    title("Hostile programs")
    with tempfile.NamedTemporaryFile("w", prefix="secret-") as secret:
        secret.write("a secret of the host\n")
        secret.flush()
        attempts = {
            "reads a file of the host": f"cat {secret.name}",
            "reads the host's passwords": "cat /etc/shadow",
            "changes a setting of the kernel": "echo /x > /proc/sys/kernel/core_pattern",
            "writes to the host's programs": "echo x > /usr/bin/awk",
            "mounts something": "mount -t tmpfs x /mnt",
            "makes itself a namespace": "unshare --user true",
            "ends the host's processes": f"kill -9 {os.getpid()}",
            "reaches the network": "exec 2>&1; bash -c ': < /dev/tcp/192.0.2.1/80'",
        }
        for name, script in attempts.items():
            result = shell(script, timeout=10)
            lines = (result.stderr or result.stdout).strip().splitlines() or ["nothing happened"]
            mark = "refused: " if result.exit_code else "DONE: "
            row(name, f"{mark}{lines[0]}"[: WIDTH - 36])
    flood = shell("yes", timeout=0.3, output_limit=1000)
    row("writes without end", f"stopped after {flood.usage.wall:.1f} s, {len(flood.stdout)} characters kept")
    hiding = shell("setsid sleep 1000 & trap '' TERM; sleep 1000", timeout=0.3)
    row(
        "leaves a process, ignores signals",
        f"all ended after {hiding.usage.wall:.1f} s (exit code {hiding.exit_code})",
    )


HOST = """
import time, pycontainer as pc
with pc.Container.create("host:", ["sleep", "1000"]) as container:
    container.start()
    print(container.pid, flush=True)
    time.sleep(1000)
"""


def a_killed_host() -> None:
    title("A host process that dies takes its containers with it")
    with subprocess.Popen([sys.executable, "-c", HOST], stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None  # noqa: S101  it was asked for
        container = int(host.stdout.readline())
        row("another Python process", f"{host.pid}, whose container runs as {container}")
        pidfd = os.pidfd_open(container)
        started = time.perf_counter()
        host.send_signal(signal.SIGKILL)
        row("kill -9 of the Python process", "done")
        row("the container", f"gone {wait_gone(pidfd, started):.1f} ms later")


def wait_gone(pidfd: int, started: float) -> float:
    import select

    try:
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        if not poller.poll(10_000):
            raise SystemExit("the container outlived its host process")
        return (time.perf_counter() - started) * 1e3
    finally:
        os.close(pidfd)


def main() -> None:
    who = "root" if os.geteuid() == 0 else f"user {os.geteuid()}"
    print(
        f"pycontainer {pc.__version__} on Linux {platform.release()}, Python {platform.python_version()}, as {who}"
    )
    for part in (a_program, its_view, its_changes, its_speed, hostile_programs, a_killed_host):
        part()


if __name__ == "__main__":
    main()
