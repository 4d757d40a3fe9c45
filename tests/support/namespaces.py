"""Sets of namespaces that tests make, whoever runs them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from pycontainer.kernel.namespace import Namespace, NamespaceSet
from pycontainer.kernel.nsfs import KINDS

ROOT = os.geteuid() == 0
HAS_TIME = os.path.exists("/proc/self/ns/time")
#: All kinds that the kernel has; a virtual machine's may lack time namespaces.
ALL = tuple(kind for kind in KINDS if kind != "time" or HAS_TIME)


def make(*kinds: str, **options: Any) -> NamespaceSet:
    """A set of these kinds, for an ordinary user with "user"."""
    return Namespace.create(*kinds, *(() if ROOT or "user" in kinds else ("user",)), **options)


def said(ns: NamespaceSet, script: str, **options: Any) -> str:
    """What a shell script prints inside; it must succeed."""
    with ns.popen(["sh", "-ec", script], stdout=subprocess.PIPE, **options) as process:
        assert process.stdout is not None
        text: bytes = process.stdout.read()
        assert process.wait() == 0
    return text.decode().rstrip("\n")


def own(kind: str) -> tuple[int, int]:
    status = os.stat(f"/proc/self/ns/{KINDS[kind].file}")
    return status.st_dev, status.st_ino


@pytest.fixture(scope="module")
def every() -> Iterator[NamespaceSet]:
    with Namespace.create(*ALL) as ns:
        yield ns
