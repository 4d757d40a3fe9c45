"""Fixtures of more than one folder of tests, for their ``conftest.py`` to import."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import probe as program


@pytest.fixture(scope="session")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hostile program, as one static file that users other than the caller can read, too."""
    made = [path for path in tmp_path_factory.getbasetemp().glob("payload*/probe") if path.exists()]
    if made:
        # pytest keeps a link to the newest directory of a name; /proc tells of programs by their real paths.
        return made[0].resolve()
    target = program.build(tmp_path_factory.mktemp("payload"))
    for above in target.parents:
        if above.is_relative_to(tmp_path_factory.getbasetemp().parent):
            above.chmod(above.stat().st_mode | 0o011)
    return target
