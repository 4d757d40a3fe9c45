"""``version``."""

from __future__ import annotations

import os
import platform
from typing import Any

import pycontainer
from pycontainer.cli.command import Call, Command
from pycontainer.cli.parser import Parser


def _options(parser: Parser) -> None:
    parser.value("--format", "-f", help="'json', or a Go template, such as '{{.Client.Version}}'")


def _run(call: Call) -> None:
    host = os.uname()
    told = {
        "Version": pycontainer.__version__,
        "Python": platform.python_version(),
        "Kernel": host.release,
        "Os": "linux",
        "Arch": host.machine,
    }
    form = call.given.format
    if form is None:
        print("Client:")
        for name, value in told.items():
            print(f" {name + ':':9}{value}")
        return
    from pycontainer.cli.gofunctions import as_json
    from pycontainer.cli.gotemplate import Template
    from pycontainer.cli.listing import write

    # There is no server: what asks for its version gets that of the library, which does its work.
    both: dict[str, Any] = {"Client": told, "Server": told}
    write(as_json(both) if form == "json" else Template(form).render(both))


VERSION = Command("[OPTIONS]", _run, _options)
