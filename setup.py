"""The native half of the build; everything else is in pyproject.toml.

``build_ext`` makes the cffi module (csrc/build_native.py) and the static programs
(tools/build_programs.py), in the source tree for an editable install.
"""

from __future__ import annotations

import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "tools"))

import build_programs  # noqa: E402  (found through the line above: a build has no source tree on its path)


class BuildNative(build_ext):
    """``build_ext`` that makes the static programs too."""

    def run(self) -> None:
        """Build extension modules, then the programs beside ``pycontainer.kernel``."""
        super().run()
        for target in self._programs():
            build_programs.build(target.name, target)

    def _programs(self) -> list[Path]:
        package = HERE if self.inplace else Path(self.build_lib)
        return [package / build_programs.PLACE / name for name in build_programs.PROGRAMS]

    def get_outputs(self) -> list[str]:
        """List what was built, as setuptools asks of a command."""
        return [*super().get_outputs(), *map(str, self._programs())]

    def get_output_mapping(self) -> dict[str, str]:
        """Map built files to their places in the source tree, for editable installs."""
        mapping = dict(super().get_output_mapping())
        if self.inplace:
            for name in build_programs.PROGRAMS:
                place = build_programs.PLACE / name
                mapping[str(Path(self.build_lib) / place)] = str(place)
        return mapping


setup(
    cffi_modules=["csrc/build_native.py:ffibuilder"],
    cmdclass={"build_ext": BuildNative},
    # One wheel for every Python from 3.10 on: cffi compiles against the stable ABI.
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
