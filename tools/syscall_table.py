#!/usr/bin/env python3
"""Write pycontainer/kernel/seccomp/numbers.py: system call names and numbers, from kernel headers.

    tools/syscall_table.py DIRECTORY      unpacked headers: `dpkg-deb -x linux-libc-dev_*_all.deb DIRECTORY`
    tools/syscall_table.py --check        do the numbers of /usr/include agree with the table?

Debian's linux-libc-dev since 6.11 holds the headers of every architecture (usr/lib/linux/uapi); take
the newest, for calls that the table does not know are answered with ENOSYS.
"""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "pycontainer/kernel/seccomp/numbers.py"
UAPI = "usr/lib/linux/uapi"
#: Architecture, as in `uname -m` -> its header below UAPI. The order of the table's columns.
HEADERS = {
    "x86_64": "x86/asm/unistd_64.h",
    "i386": "x86/asm/unistd_32.h",
    "aarch64": "arm64/asm/unistd_64.h",
    "arm": "arm/asm/unistd-eabi.h",
}
#: The calls of 32-bit ARM that are no system calls of Linux at large, and what their numbers count from.
ARM_PRIVATE, ARM_BASE = "arm/asm/unistd.h", 0x0F0000

PLAIN = re.compile(r"^#define __NR_(\w+)\s+(?:\(__NR_SYSCALL_BASE \+ )?(\d+)\)?$", re.MULTILINE)
PRIVATE = re.compile(r"^#define __ARM_NR_([a-z]\w+)\s+\(__ARM_NR_BASE\+(\d+)\)$", re.MULTILINE)
ANY = re.compile(r"^#\s*define\s+__NR_([a-z_]\w*)\s", re.MULTILINE)
#: Placeholders, and the calls of another Unix that Linux on Alpha answers.
NO_CALLS = re.compile(r"(unused|reserved)\d+$|osf_")

TEXT = '''"""System call names and numbers; written by tools/syscall_table.py from the headers of Linux {major}.{minor}.

Each entry of ``TABLE`` is ``name:`` and its number on {arches}; an empty
field: not there.  ``FOREIGN`` are calls that only other architectures have.
"""

from __future__ import annotations

#: The kernel that the table describes.
KERNEL = ({major}, {minor})

ARCHES = {names!r}

TABLE = """
{table}
"""

FOREIGN = """
{foreign}
"""
'''


def numbers(header: Path) -> dict[str, int]:
    """Read name -> number of one asm/unistd header."""
    found = {name: int(number) for name, number in PLAIN.findall(header.read_text(encoding="utf-8"))}
    if len(found) < 300:
        raise SystemExit(f"{header}: only {len(found)} numbers found; has its form changed?")
    return found


def all_numbers(uapi: Path) -> dict[str, dict[str, int]]:
    """Read the numbers of every architecture of the table."""
    tables = {arch: numbers(uapi / header) for arch, header in HEADERS.items()}
    private = PRIVATE.findall((uapi / ARM_PRIVATE).read_text(encoding="utf-8"))
    tables["arm"] |= {name: ARM_BASE + int(offset) for name, offset in private}
    return tables


def foreign(uapi: Path, own: set[str]) -> list[str]:
    """List the calls that only architectures outside the table have."""
    names = {
        name
        for header in uapi.glob("*/asm/unistd*.h")
        for name in ANY.findall(header.read_text(encoding="utf-8"))
    }
    return sorted(name for name in names - own if not NO_CALLS.match(name))


def kernel_version(root: Path) -> tuple[int, int]:
    """Read which kernel the headers are of."""
    text = (root / "usr/include/linux/version.h").read_text(encoding="utf-8")
    code = int(re.findall(r"LINUX_VERSION_CODE (\d+)", text)[0])
    return code >> 16, code >> 8 & 255


def render(root: Path) -> str:
    """Return the text of the module."""
    tables = all_numbers(root / UAPI)
    names = sorted(set().union(*tables.values()))
    entries = [f"{name}:" + ",".join(str(table.get(name, "")) for table in tables.values()) for name in names]
    major, minor = kernel_version(root)
    return TEXT.format(
        major=major,
        minor=minor,
        arches=", ".join(HEADERS),
        names=tuple(HEADERS),
        table=textwrap.fill(" ".join(entries), 110, break_long_words=False, break_on_hyphens=False),
        foreign=textwrap.fill(" ".join(foreign(root / UAPI, set(names))), 110),
    ).replace("'", '"')


def differences() -> list[str]:
    """Say where the installed headers contradict the table; calls that are newer than it do not."""
    sys.path.insert(0, str(ROOT))
    from pycontainer.kernel.seccomp import syscalls

    headers = {
        "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
        "i386": Path("/usr/include/x86_64-linux-gnu/asm/unistd_32.h"),
        "aarch64": Path("/usr/include/aarch64-linux-gnu/asm/unistd_64.h"),
    }
    problems, found = [], [arch for arch, header in headers.items() if header.exists()]
    for arch in found:
        table = syscalls.numbers(arch)
        for name, number in numbers(headers[arch]).items():
            if table.get(name) != number and (name in table or number <= max(table.values())):
                problems.append(f"{arch}: {name} is {number}, not {table.get(name)}")
    return problems if found else ["there are no kernel headers in /usr/include"]


def main(arguments: list[str]) -> int:
    """Write the table, or check it."""
    if arguments == ["--check"]:
        problems = differences()
        print("\n".join(problems), end="\n" if problems else "")
        return 1 if problems else 0
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    TARGET.write_text(render(Path(arguments[0])), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
