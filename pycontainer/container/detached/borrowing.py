"""Detached containers whose network others are put on, by any process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pycontainer.errors import InvalidArgument, StateError
from pycontainer.state.places import Places
from pycontainer.state.records import Records

if TYPE_CHECKING:
    from pycontainer.container.launch import Launch
    from pycontainer.container.workspace import Workspace


@contextmanager
def running(workspace: Workspace, name: str) -> Iterator[Launch | None]:
    """What the detached container of that name, id or start of an id consists of; ``None``: none such runs."""
    from pycontainer.container.detached.container import Detached
    from pycontainer.network import kept
    from pycontainer.network.borrowed import BorrowedStack

    records = Records(Places(workspace.root))
    try:
        container = Detached(workspace, records, records.find(name))
    except InvalidArgument:
        yield None
        return
    with container:
        try:
            launched = container.alive("share its network").launched
        except StateError:
            yield None
            return
        identity, noted = kept.follow(workspace.root, container.id)
        if noted is not None:
            launched.stack = BorrowedStack(noted, identity, kept.folder_of(workspace.root, identity))
        yield launched
