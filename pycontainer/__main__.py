"""``python -m pycontainer``: the command line."""

from __future__ import annotations

import sys

from pycontainer.cli import main

sys.exit(main())
