#!/usr/bin/env python3
"""All that can be known of the code without running it; one line a step, details only of failures."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

STEPS: dict[str, list[str]] = {
    "types": ["-m", "mypy", "--no-error-summary"],
    "layers": [
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/unit/test_layers.py",
        "tests/unit/test_errors.py",
    ],
    "c": ["tools/csources.py"],
    "format": ["-m", "ruff", "format", "--quiet", "--check", "--output-format", "concise", "."],
    "lint": ["-m", "ruff", "check", "--quiet", "--output-format", "concise", "."],
    "sizes": ["tools/sizes.py"],
    "words": ["tools/words.py"],
    "changes": ["-m", "towncrier", "build", "--draft", "--version", "next"],
}


def _run(arguments: list[str]) -> tuple[int, str, float]:
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return done.returncode, done.stdout.decode(errors="replace"), time.monotonic() - start


def main(names: list[str]) -> int:
    """Run the named steps, or all; 0 when every one passed."""
    failed = 0
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        chosen = {name: STEPS[name] for name in names or STEPS}
        running = {name: pool.submit(_run, step) for name, step in chosen.items()}
        for name, future in running.items():
            status, output, seconds = future.result()
            print(f"{'ok  ' if status == 0 else 'FAIL'} {name:8} {seconds:5.1f} s", flush=True)
            if status:
                failed += 1
                print("  " + output.rstrip().replace("\n", "\n  "), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
