#!/usr/bin/env python3
"""No file says where, when or by whom it was written, or that it is not finished."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HERE = Path(__file__).resolve()

#: Pattern -> what is wrong with it.
FORBIDDEN = {
    r"\b(TODO|FIXME|XXX|HACK)\b": "unfinished",
    r"^(<{7}|>{7}|\|{7}) ": "a merge conflict",
    r"\bbreakpoint\(\)|\bpdb\.set_trace\(": "a debugger",
    r"\b(?:issue|ticket|task|pull request)s? #?\d+\b|\b(?:closes|fixes|see) #\d+\b|\(#\d+\)": "a number in a tracker: say the reason itself",
    r"/root/\.(?!\.|(?:cache|config|local|docker|ssh|netrc|bashrc|profile)\b)": "somebody's home directory",
    r"\b(?:this|my|our) (?:workplace|sandbox|session)\b": "the place of writing",
}
SKIPPED = {".git", ".venv", "build", "dist", "site", "__pycache__"}


def _files() -> Iterator[Path]:
    """What git would record: tracked files and new ones that are not ignored."""
    command = [
        "git",
        "-c",
        "safe.directory=*",
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if done.returncode == 0:
        names = {os.fsdecode(name) for name in done.stdout.split(b"\0") if name}
        yield from (ROOT / name for name in sorted(names))
        return
    for directory, names_below, files in os.walk(ROOT):
        names_below[:] = [name for name in names_below if name not in SKIPPED]
        yield from (Path(directory, name) for name in files)


def _patterns() -> dict[re.Pattern[str], str]:
    patterns = {re.compile(pattern, re.MULTILINE): reason for pattern, reason in FORBIDDEN.items()}
    home = Path.home()
    if home != Path("/root"):  # which is the home directory in every image
        patterns[re.compile(rf"(?<![\w.]){re.escape(str(home))}\b")] = "the home directory of this user"
    if len(ROOT.parts) > 2:
        # Not of a checkout in /src or /app, which are names like any other.
        patterns[re.compile(rf"(?<![\w.]){re.escape(str(ROOT))}(?![\w-])")] = "the path of this checkout"
    return patterns


def main() -> int:
    """Print every find as file:line."""
    patterns = _patterns()
    found = 0
    for path in _files():
        if path == HERE or not path.is_file() or path.is_symlink():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a binary file, such as an archive for a test
        for pattern, reason in patterns.items():
            for match in pattern.finditer(text):
                found += 1
                line = text.count("\n", 0, match.start()) + 1
                print(f"{path.relative_to(ROOT)}:{line}: {match.group()!r}: {reason}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
