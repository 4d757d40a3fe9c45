"""Questions before something is removed."""

from __future__ import annotations

import sys


def confirmed(warning: str, *, force: bool) -> bool:
    """Ask, unless forced; no answer is no."""
    if force:
        return True
    print(f"{warning}\nAre you sure you want to continue? [y/N] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        print(file=sys.stderr)
    return answer.strip().lower() in {"y", "yes"}
