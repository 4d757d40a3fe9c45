"""Progress as a person sees it: bars in a terminal, nothing elsewhere."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pycontainer as pc

#: Loads an archive with bars.
LOAD = """
import sys
import pycontainer as pc
try:
    with pc.Engine(sys.argv[1]) as engine, pc.ProgressBars() as bars:
        engine.images.load(sys.argv[2], progress=bars)
        if sys.argv[3] == "fail":
            raise KeyboardInterrupt
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def saved(image: pc.Image, tmp_path: Path) -> list[str]:
    image.save(tmp_path / "app.tar")
    return [layer.hex[:12] for layer in image.stored.manifest.layers]


def loaded(tmp_path: Path, end: str, script: str = LOAD) -> tuple[str, str]:
    """What was drawn on a terminal of a hundred columns, and printed."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", script, str(tmp_path / "other"), str(tmp_path / "app.tar"), end]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment) as process:
        os.close(theirs)
        drawn = b""
        try:
            while part := os.read(ours, 1 << 16):
                drawn += part
        except OSError:  # EIO: nobody has the terminal any more
            pass
        os.close(ours)
        assert process.stdout is not None
        printed = process.stdout.read().decode()
    assert process.returncode == 0, drawn.decode()
    return drawn.decode(), printed


def test_every_blob_has_a_bar(image: pc.Image, tmp_path: Path) -> None:
    layers = saved(image, tmp_path)
    drawn, _ = loaded(tmp_path, "")
    assert all(layer in drawn for layer in layers)
    assert "done" in drawn
    again, _ = loaded(tmp_path, "")
    assert "there already" in again


def test_the_cursor_is_shown_again_after_an_interrupt(image: pc.Image, tmp_path: Path) -> None:
    saved(image, tmp_path)
    drawn, printed = loaded(tmp_path, "fail")
    assert printed == "interrupted\n"
    assert drawn.rindex("\x1b[?25h") > drawn.rindex("\x1b[?25l")


def test_where_there_is_no_terminal_nothing_is_drawn(image: pc.Image, tmp_path: Path) -> None:
    saved(image, tmp_path)
    command = [sys.executable, "-c", LOAD, str(tmp_path / "other"), str(tmp_path / "app.tar"), ""]
    done = subprocess.run(command, capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")


def test_without_rich_the_way_out_is_told(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['rich'] = None\n"
        "import pycontainer as pc\n"
        "try: pc.ProgressBars().__enter__()\n"
        "except pc.NotSupported as error: print(error.fix)"
    )
    assert loaded(tmp_path, "", script)[1] == "pip install 'pycontainer-linux[terminal]'\n"
