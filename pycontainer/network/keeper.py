"""The program that does for detached containers what needs a program that lives: one for each engine root and host.

::

    start of a container ---- tells ----> keeper ---- answers names (resolver.py) in this process
                                            |   |---- relay.py: ports that no rule of the kernel can lead
                                            |   `---- pasta: the way out of a namespace apart
                                       connected to
                                            v
                             the monitor of each such container

It knows nothing that is not noted in the containers' folders, and has nothing open that their monitors have not.  So
one that was killed is started again by whoever looks next, and finds all of them.  It hears of the end of a monitor by
the end of the connection, and gives back what the container had.  It ends with the last of them.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import traceback
from collections.abc import Callable
from contextlib import ExitStack, suppress

import attrs

from pycontainer.errors import NotSupported, PyContainerError, WaitTimeout
from pycontainer.kernel.monitorclient import Client
from pycontainer.network import kept
from pycontainer.network.address import Address
from pycontainer.network.companion import CONTROL, LIMIT
from pycontainer.network.keeping import locked, path_of
from pycontainer.network.kept import Kept
from pycontainer.network.netlink import NETFILTER
from pycontainer.network.networks import Networks
from pycontainer.network.ports import Published
from pycontainer.network.publish import is_relayed
from pycontainer.network.relaying import Relaying
from pycontainer.network.resolver import Resolver
from pycontainer.network.site import Site
from pycontainer.network.ways import KEEPERS

#: How often one looks whether he may end who is not needed, in seconds.
_PAUSE = 0.05
#: What may be wrong with one container, which is not to be the others' trouble; another version of this may have noted it.
_TROUBLE = (PyContainerError, OSError, ValueError, TypeError, KeyError)


@attrs.define(eq=False)
class _Held:
    """A container: what is noted of it, its monitor, and its ports that are relayed."""

    kept: Kept
    monitor: Client
    published: list[Published]


class Keeper:
    """The whole program: one loop over all sockets."""

    def __init__(self, listener: socket.socket, root: str) -> None:
        self._listener = listener
        self._networks = Networks(root, Site(root, KEEPERS))
        self._root = root
        self._host = kept.host()
        self._selector = selectors.DefaultSelector()
        self._resolver = Resolver(self._networks.ledger.path, self._selector)
        self._relaying: Relaying | None = None
        self._is_inside = False
        self._held: dict[str, _Held] = {}
        self._asking: set[socket.socket] = set()
        listener.setblocking(False)
        self._watch(listener.fileno(), self._accept)

    def run(self) -> None:
        """Serve until nobody needs it."""
        self._scan()
        while self._held or self._asking or not self._may_end():
            idle = not self._held and not self._asking
            timeout = _PAUSE if idle else 1.0 if self._resolver.is_busy else None
            for key, _ in self._selector.select(timeout):
                # An earlier one may have closed it.
                if self._selector.get_map().get(key.fd) is key:
                    key.data()
            self._resolver.expire()

    def _may_end(self) -> bool:
        """Is it over?  Nobody can come any more then."""
        lock = ExitStack()
        try:
            lock.enter_context(locked(self._root, patience=0))
        except WaitTimeout:
            return False
        # Somebody may have been killed before he could say that he has started a container.
        self._scan()
        self._accept()
        if self._held or self._asking:
            lock.close()
            return False
        os.unlink(path_of(self._root))
        return True

    def _watch(self, fd: int, work: Callable[[], None]) -> None:
        self._selector.register(fd, selectors.EVENT_READ, work)

    # -- who speaks to it --------------------------------------------------------------------

    def _accept(self) -> None:
        try:
            accepted, _ = self._listener.accept()
        except OSError:
            return
        self._asking.add(accepted)
        self._watch(accepted.fileno(), lambda: self._hear(accepted))

    def _hear(self, asking: socket.socket) -> None:
        try:
            data = asking.recv(LIMIT)
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(asking.fileno())
            self._asking.discard(asking)
            asking.close()
            self._scan()
            return
        told = json.loads(data)
        if "id" in told:
            with suppress(*_TROUBLE):
                self._look_at(told["id"], kept.read(kept.folder_of(self._root, told["id"])))
            return
        failed = None
        try:
            self._need_outside()
        except NotSupported as error:
            failed = error.what, error.fix
        except (PyContainerError, OSError) as error:
            failed = str(error), "try again"
        with suppress(OSError):
            asking.send(json.dumps({"failed": failed}).encode())

    # -- containers --------------------------------------------------------------------------

    def _scan(self) -> None:
        """Look for containers that nobody has told of."""
        for identity, noted in list(kept.alive(self._root)):
            with suppress(*_TROUBLE):
                self._look_at(identity, noted)

    def _look_at(self, identity: str, noted: Kept | None) -> None:
        if noted is None or not noted.is_kept or noted.host != self._host:
            return
        before = self._held.get(identity)
        if before is not None and before.kept.start == noted.start:
            before.kept = noted
            if noted.asker is not None:
                self._resolver.take(dict(noted.asker), [])
        else:
            if before is not None:
                self._drop(identity)
            self._hold(identity, noted)
        if noted.needs_outside:
            self._need_outside()

    def _hold(self, identity: str, noted: Kept) -> None:
        folder = kept.folder_of(self._root, identity)
        with ExitStack() as undo:
            client = undo.enter_context(Client(f"{folder}/monitor"))
            self._enter()
            leads = [each for each in noted.leads if self._networks.site.is_apart or is_relayed(each.port)]
            found: list[tuple[Published, Address]] = []
            for each in leads:
                found.append(kept.published_of(client, each))
                undo.callback(found[-1][0].close)
            if noted.asker is not None:
                self._answer(noted, folder, client)
            published = [each for each, _ in found]
            if found:
                if self._relaying is None:
                    self._relaying = self._networks.site.relaying()
                self._relaying.lead(published, [target for _, target in found])
                self._watch_relay()
            self._held[identity] = _Held(noted, client, published)
            self._watch(client.fileno(), lambda: self._news(identity))
            undo.pop_all()

    def _answer(self, noted: Kept, folder: str, client: Client) -> None:
        asker = dict(noted.asker or {})
        fds: list[int] = []
        try:
            fds.extend(client.given(noted.fds[name]) for name in ("udp", "tcp"))
            if asker["egress"] is not None:
                fds.append(kept.refused_log(folder))
                fds.append(self._networks.site.socket(NETFILTER).detach())
        except BaseException:
            for fd in fds:
                os.close(fd)
            raise
        self._resolver.take(asker, fds)

    def _news(self, identity: str) -> None:
        held = self._held[identity]
        try:
            held.monitor.news(0)
        except PyContainerError:
            self._drop(identity)
            with suppress(PyContainerError, OSError):
                self._networks.sweep()

    def _drop(self, identity: str) -> None:
        held = self._held.pop(identity)
        if held.kept.asker is not None:
            self._resolver.take({"id": held.kept.asker["id"]}, [])
        if self._relaying is not None:
            self._relaying.withdraw(held.published)
        for each in held.published:
            each.close()
        self._selector.unregister(held.monitor.fileno())
        held.monitor.close()

    # -- programs beside it -------------------------------------------------------------------

    def _enter(self) -> None:
        if not self._is_inside:
            self._is_inside = self._networks.site.enter(create=False)

    def _need_outside(self) -> None:
        self._enter()
        self._networks.site.need_outside()
        self._revive(self._networks.site.way_out, self._need_outside)

    def _watch_relay(self) -> None:
        relaying = self._relaying
        if relaying is None:
            return

        def revived() -> None:
            relaying.revive()
            self._watch_relay()

        self._revive(relaying.pidfd, revived)

    def _revive(self, pidfd: int, work: Callable[[], None]) -> None:
        """When the program of that pidfd has ended, which somebody killed, have another one started."""

        def ended() -> None:
            self._selector.unregister(pidfd)
            with suppress(PyContainerError, OSError):
                work()

        if pidfd >= 0 and pidfd not in self._selector.get_map():
            self._watch(pidfd, ended)


def serve(root: str) -> None:
    """The program: who needs it connects to the socket that is fd 3."""
    try:
        Keeper(socket.socket(fileno=CONTROL), root).run()
    except BaseException:
        # There is nobody else to be told.
        with open(f"{root}/keeper/failed", "w", encoding="utf-8") as file:
            traceback.print_exc(file=file)
        raise
