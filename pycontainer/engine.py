"""An engine: one store root, and the containers of this process in it.

The module-level calls (``pycontainer.run`` and others) use the default engine, whose root is
``$PYCONTAINER_ROOT``, else /var/lib/pycontainer for root and ``$XDG_DATA_HOME/pycontainer`` for others.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pycontainer.container import container
from pycontainer.container.arguments import flag, text
from pycontainer.container.command import PLAIN, Exchange, complete
from pycontainer.container.oneshot import OneShot
from pycontainer.container.options import EXCHANGE, refuse_unknown
from pycontainer.container.result import Result
from pycontainer.container.spec import spec_of
from pycontainer.container.workspace import Workspace
from pycontainer.errors import InvalidArgument
from pycontainer.home import default_root
from pycontainer.image.image import Image
from pycontainer.image.images import Images, images_at

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from pycontainer.container.options import CreateOptions, PrepareOptions, RunOptions
    from pycontainer.network.networks import Networks


class Engine:
    """A store root and the containers that this process has in it. Thread-safe; ``close`` removes them.

    The constructor touches nothing; the root is made (mode 0700) by the first container.

    >>> with Engine(root="/srv/pc") as engine:    # doctest: +SKIP
    ...     engine.run("host:", ["true"]).exit_code
    0
    """

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        self.root = os.path.abspath(os.fspath(root)) if root is not None else default_root()
        self.containers = Containers(self)
        self.images: Images = images_at(self.root)
        self._networks: Networks | None = None
        self._workspace: Workspace | None = None
        self._lock = threading.Lock()

    @property
    def workspace(self) -> Workspace:
        """This process's part of the root, made when first asked for."""
        if self._workspace is None:
            with self._lock:
                if self._workspace is None:
                    self._workspace = Workspace(self.root)
        return self._workspace

    @property
    def networks(self) -> Networks:
        """The networks of this root: ``create``, ``get``, ``list``, ``prune``."""
        if self._networks is None:
            from pycontainer.network.networks import networks_at

            self._networks = networks_at(self.root)
        return self._networks

    def run(
        self, image: str | Image, command: Sequence[str] | str | None = None, **options: Unpack[RunOptions]
    ) -> Result[Any]:
        """Run a command in a fresh container and wait for its end; see :func:`pycontainer.run`."""
        given: dict[str, Any] = {**options}
        check = flag("check", given.pop("check", False))
        result = complete(self.prepare(image, command, **given))
        return result.check() if check else result

    def prepare(
        self,
        image: str | Image,
        command: Sequence[str] | str | None = None,
        **options: Unpack[PrepareOptions],
    ) -> OneShot:
        """A checked run that is not yet started: what :meth:`run` and its asynchronous twin drive."""
        given: dict[str, Any] = {**options}
        exchange = PLAIN
        changes = flag("changes", given.pop("changes", True))
        if given:
            refuse_unknown("run", given)
            told = {name: given.pop(name) for name in EXCHANGE & given.keys()}
            if told:
                exchange = Exchange.of(**told)
        spec = spec_of(self.images.resolve(image), command, given)
        return OneShot(self.workspace, spec, exchange, changes=changes)

    def close(self) -> None:
        """Remove this process's containers and its part of the root; idempotent. The engine can be used again."""
        for each in self.containers.list():
            each.remove(force=True)
        with self._lock:
            workspace, self._workspace = self._workspace, None
        if workspace is not None:
            workspace.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Container(container.Container):
    """A container of this process; ``with`` removes it at the end.

    Its writable layer is on disk, and lives until it is removed; when this process ends, however it
    ends, the container is ended and removed.  All methods may be called from several threads.

    >>> with Container.create("host:", ["sleep", "60"]) as c:   # doctest: +SKIP
    ...     c.start()
    ...     c.exec(["hostname"]).stdout
    """

    @classmethod
    def create(
        cls,
        image: str | Image,
        command: Sequence[str] | str | None = None,
        *,
        engine: Engine | None = None,
        **options: Unpack[CreateOptions],
    ) -> Container:
        """Make a container, not yet started; it belongs to ``engine``, or to the default one.

        ``name`` is one of letters, digits, ``_``, ``.`` and ``-``, two at least, and its own among the engine's
        containers (``docker create --name``).  All other arguments that describe a container are those of
        :func:`pycontainer.run`; what goes in and out of its program is said when it starts.
        Raises :class:`InvalidArgument`, and :class:`TypeError` for an unknown argument.
        """
        return (engine or default_engine()).containers.create(image, command, **options)


class Containers:
    """The containers of an engine that this process made."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: dict[str, Container] = {}
        self._lock = threading.Lock()

    def create(
        self,
        image: str | Image,
        command: Sequence[str] | str | None = None,
        **options: Unpack[CreateOptions],
    ) -> Container:
        """Make a container, not yet started; see :meth:`Container.create`."""
        given: dict[str, Any] = {**options}
        refuse_unknown("create", given)
        name = given.pop("name", None)
        if name is not None:
            check_name(name)
        spec = spec_of(self._engine.images.resolve(image), command, given)
        with self._lock:
            self._forget_removed()
            if name is not None and any(each.name == name for each in self._known.values()):
                raise InvalidArgument("name", name, "a container has this name: remove it, or choose another")
            made = Container(self._engine.workspace, spec, name, self._note)
            self._known[made.id] = made
        return made

    def _note(self, made: Container) -> None:
        """A container that was made from one of these."""
        with self._lock:
            self._known[made.id] = made

    def get(self, name: str) -> Container:
        """The container of that name, id or unique start of an id. Raises :class:`InvalidArgument`."""
        found = [each for each in self.list() if each.name == name or (name and each.id.startswith(name))]
        exact = [each for each in found if name in (each.name, each.id)]
        if len(exact) == 1:
            return exact[0]
        if len(found) != 1:
            raise InvalidArgument("name", name, "several containers match" if found else "no such container")
        return found[0]

    def list(self) -> list[Container]:
        """Those that are not removed, oldest first."""
        with self._lock:
            self._forget_removed()
            return list(self._known.values())

    def _forget_removed(self) -> None:
        for key in [key for key, each in self._known.items() if each.status == "removed"]:
            del self._known[key]


def check_name(name: str) -> None:
    """Refuse what is no name of a container by Docker's rule."""
    import re

    if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+", text("name", name)):
        raise InvalidArgument("name", name, "letters, digits, '_', '.' and '-' are needed, two at least")


_default: Engine | None = None
_making = threading.Lock()


def default_engine() -> Engine:
    """The engine that the module-level calls use."""
    global _default
    if _default is None:
        with _making:
            if _default is None:
                _default = Engine()
    return _default


def run(
    image: str | Image, command: Sequence[str] | str | None = None, **options: Unpack[RunOptions]
) -> Result[Any]:
    """Run a command in a fresh container of the default engine, wait for its end and say everything about it.

    >>> run("host:", ["sh", "-c", "echo $A"], env={"A": "hi"}, text=True, timeout=5).stdout   # doctest: +SKIP
    'hi\\n'

    The container, and all that the command wrote, is gone afterwards.  In brackets: Docker's name.

    image (str or Image)
        ``"host:"``, the programs of the host's /usr; ``"rootfs:/path"``, a directory or tar archive with a root
        file system, which is never written to.
    command (list of str, str, or None for the image's own)
        The program and its arguments.  A single string is one word: no shell splits it.

    What goes in and out; the names are those of ``subprocess.run``:

    input (bytes, str with ``text``, or an iterable of pieces; None)
        Written to the command's standard input.  Not together with ``stdin``.
    stdin, stdout, stderr (a descriptor, an open file, PIPE, DEVNULL, None; for ``stderr`` STDOUT, too)
        Default: no input, both outputs captured (PIPE).  None is DEVNULL: nothing is inherited unasked.
    timeout (float seconds; None: no bound)
        When it is over, every process of the container is killed, and the result has ``timed_out``.
    cpu_timeout (float seconds; None: no bound)
        The same for processor time, of all its processes together.
    check (bool; False)
        Raise ContainerFailed unless the exit code is 0.
    text (bool; False), encoding (str; "utf-8"), errors (str; "strict")
        Results are str; each of the last two turns that on.
    output_limit (int bytes, or str like "1M"; None: no bound)
        How much of the head of each output is kept; the rest is read and dropped (``result.truncated``).
    on_output (callable; None)
        Called as ``on_output("stdout" or "stderr", piece)`` with each piece of output as it comes.
    changes (bool; True)
        Record what the command changed in the file system: ``result.changes()`` [docker diff].

    What the container is:

    entrypoint (list of str, str; None: the image's) [--entrypoint]
        Words before the command; with one of your own the image's command is not used.
    env (dict of str, or list of "NAME=value"; none) [--env]
        Added to the image's.  Nothing of the caller's environment is handed on.
    workdir (absolute path; None: the image's, or "/") [--workdir]
        Made when absent.
    user (str "name", "uid", "name:group", or int; None: the image's, or root) [--user]
    hostname (str; None: twelve hexadecimal digits) [--hostname]
    mounts (list of Bind, Tmpfs, or str "source:target[:ro]"; none) [--volume, --mount]
    tmpfs (list of str "/path[:size=64m,mode=1777]"; none) [--tmpfs]
    read_only (bool; as ``security`` says, False): the root file system cannot be written to [--read-only]
    memory (int bytes, or str like "64M"; None: no bound), memory_swap (the same; as ``memory``: no swap)
        Of all processes, files in memory included; memory and swap together, -1 for any [--memory, --memory-swap].
    cpus (float; None: no bound), pids (int; 2048 where the host gives cgroups) [--cpus, --pids-limit]
        How many processors' time they may use; how many processes and threads there may be at once.
    memory_high, memory_low, cpu_weight, cpuset_cpus, cpuset_mems, io_max, io_weight, hugetlb (None)
        The kernel's, as in :class:`Limits <pycontainer.Cgroup>`; ``io_max={"/path": {"wbps": "10M"}}``.
    best_effort (bool; False): a limit that this host cannot hold is left out, instead of NotSupported.
    size (int bytes, or str like "64M"; None: half of the memory) [--storage-opt size]
        Bound of what the command writes to the root file system. A Container's is on disk: unbounded by default,
        and bounded by a project quota, which needs root and a file system that has them (else NotSupported).
    shm_size (int bytes, or str; "64M"): that of /dev/shm [--shm-size]
    tty (bool; False): the three streams are a terminal, all output is ``stdout`` [--tty]
    init (bool; False): a small init is the first process, which passes on signals and reaps orphans [--init]
    network ("none"; "host", "bridge", a name or Network, a list or dict of them, "container:<name>") [--network]
        Only ``lo``; the host's network, with its /etc/hosts and /etc/resolv.conf; networks made by ``Network.create``,
        and the default one, "bridge"; that of another container which runs.  A dict says of each network what the
        next three say of the first: ``{"lab": {"aliases": ["db"], "ip": "10.9.0.5"}}``.
    aliases (list of str; none) [--network-alias], ip, ip6 (str; any free one) [--ip, --ip6]
    ports (dict of a port to the host's; none) [--publish]
        ``{5432: None, "53/udp": 5353, 8000: ("0.0.0.0", 80), "9000-9005": "9000-9005"}``: None is a free port, told by
        ``Container.ports``; the host's address is 127.0.0.1 unless it is said.
    dns, dns_search, dns_options (lists of str; the host's) [--dns, --dns-search, --dns-option]
    extra_hosts (dict of names to addresses or "host-gateway"; none) [--add-host]
    bandwidth (Bandwidth; no bound)
        Of its traffic, each way, over each of its networks; and faults for tests.
    security (Security; Security.default()) [--security-opt]
        Capabilities, call filter, hidden paths, user namespace, default limits; changed by the next four.
    privileged (bool; False): Security.privileged(); not together with ``security`` [--privileged]
    cap_add, cap_drop (list of str such as "NET_ADMIN" or "ALL"; none) [--cap-add, --cap-drop]
    userns ("auto", "keep-id", "host" or an IdMap; None: as ``security`` says, "auto") [--userns]
        "host", for root only: root of the container is root of the host. "keep-id": the caller has its own id inside.
    group_add (list of str or int; none) [--group-add], oom_score_adj (int; the caller's) [--oom-score-adj]
    devices (list of str "/dev/x[:/dev/y][:rwm]"; none): devices of the host [--device]
    sysctls (dict; none): settings of the kernel that are the container's own, such as "net.ipv4.ip_forward" [--sysctl]
    ulimits (dict of int or (soft, hard), -1 for unlimited; core dumps off) [--ulimit]
        By Docker's names: ``{"nofile": 64, "nproc": (50, 100)}``.
    stop_signal (int or str; None: the image's, or "TERM") [--stop-signal]
    labels (dict of str; none) [--label], umask (int; 0o022)
    extra_fds (list of int, or dict of the caller's descriptor to the number inside; none)
        Descriptors from 3 on that the command gets.

    A program that is not there is a result with the exit code 127, one that cannot be run with 126.

    Raises InvalidArgument (a ValueError) for a wrong value and TypeError for an unknown argument, both before
    anything happens; ImageNotFound; NotSupported; KernelError; ContainerFailed with ``check``.
    """
    return default_engine().run(image, command, **options)


def _forget_in_fork() -> None:
    global _default, _making
    _making = threading.Lock()
    _default = None


# A forked child shares the parent's leases and folders, which are the parent's: it starts anew.
os.register_at_fork(after_in_child=_forget_in_fork)
