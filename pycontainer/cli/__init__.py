"""The command line: ``python -m pycontainer COMMAND``. It translates, and does nothing that the library does not."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from pycontainer.cli import doctor

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit status. ``argv`` defaults to the arguments of the process."""
    parser = argparse.ArgumentParser(
        prog="python -m pycontainer", description="Linux containers in the Python process."
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    doctor.register(commands)
    arguments = parser.parse_args(argv)
    return int(arguments.run(arguments))
