"""Mistakes that the sanitizers must find, each in a process of its own: or their silence would say nothing.

Used by tools/sanitize.py; each entry says what has to be in the report, or the signal that ends the process.
"""

from __future__ import annotations

import signal

#: In the instrumented interpreter, of the extension module. Name -> what the report says, the Python code.
IN_MODULE: dict[str, tuple[str, str]] = {
    "a list without its end is read": (
        "heap-buffer-overflow",
        """
        os.chdir(tempfile.mkdtemp(dir=folder))
        part = ffi.new("struct pc_group_part *", {"unified": 1, "above": os.open(".", os.O_RDONLY)})
        settings = ffi.new("char[8]", b"12345678")
        part.settings = part.counters = settings
        lib.pc_make_group(part, 1, b"made", ffi.new("int32_t[1]"))
        """,
    ),
    "the kernel writes beyond a buffer": (
        "pc_read_file",
        """
        lib.pc_read_file(-100, b"/proc/self/status", ffi.new("char[16]"), 4096)
        """,
    ),
    "a child before its exec reads beyond a list": (
        "heap-buffer-overflow",
        """
        spawn(candidates=ffi.new("char *[1]", [word]))
        """,
    ),
    "a child before its exec hands on text without its end": (
        "enter_workdir",
        """
        workdir = ffi.new("char[4]", b"/tmp")
        spawn(workdir=workdir)
        """,
    ),
}

#: The same, where a trap ends the child by this signal.
IN_CHILD: dict[str, tuple[int, str]] = {
    "a child before its exec goes through a pointer to nothing": (
        signal.SIGILL,
        """
        spawn(fd_count=1)
        """,
    ),
}

#: What the code above may use.
PREAMBLE = """
import os, sys, tempfile
from pycontainer._native import ffi, lib
folder = sys.argv[1]
word = ffi.new("char[]", b"/nowhere")
def spawn(**fields):
    nothing = ffi.new("char *[1]")
    kept = [ffi.new("char *[2]", [word]), ffi.new("int32_t[1]", [-1]), ffi.new("char[1]")]
    spec = ffi.new("struct pc_spawn *", {
        "strings": kept[2], "slots": kept[1], "candidates": kept[0], "argv": kept[0], "envp": nothing,
        "cgroup": -1, "leash": -1, "landlock": -1, "terminal": -1, "program": -1, **fields})
    result = ffi.new("struct pc_result *")
    lib.pc_spawn(spec, result)
    ended = ffi.new("struct pc_ended *")
    if result.pidfd >= 0 and lib.pc_wait(result.pidfd, os.WEXITED, ended) == 1:
        print(ended.status)
"""

#: In the programs: file -> what stands there, and what is put in its place.
MUTANTS = {
    "registry.c": (
        "struct pc_registration *table = map(capacity * sizeof *table);",
        "struct pc_registration *table = map((capacity - 1) * sizeof *table);",
    ),
    "init.c": ("MAX_FD = 1 << 30,", "MAX_FD = 0x7fffffffffffffff,"),
}

#: Tells a reaper as many things as its first table has places.
FILL_REGISTRY = """
import sys
from pathlib import Path
from tests.support.leash import FORGET, LOCK, TREE, Leash
import os
leash = Leash(Path(sys.argv[1]))
here = os.open("/", os.O_RDONLY)
for number in range(64):
    try:
        leash.tell(TREE, b"nothing-of-this-name", here, number=number + 1)
    except OSError:
        break
leash.end()
leash.close()
"""
