"""An engine: one store root, and the containers of this process in it.

The module-level calls (``pycontainer.run`` and others) use the default engine, whose root is
``$PYCONTAINER_ROOT``, else /var/lib/pycontainer for root and ``$XDG_DATA_HOME/pycontainer`` for others.
"""

from pycontainer.engine.containers import Container, Containers
from pycontainer.engine.default import default_engine, run
from pycontainer.engine.engine import Engine
from pycontainer.engine.pools import Pool

__all__ = ["Container", "Containers", "Engine", "Pool", "default_engine", "run"]
