"""The default engine, and the calls that use it."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from pycontainer.container.result import Result
from pycontainer.engine.containers import Container
from pycontainer.engine.engine import Engine
from pycontainer.image.image import Image

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from pycontainer.container.options import DetachedOptions, RunOptions

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


@overload
def run(
    image: str | Image,
    command: Sequence[str] | str | None = None,
    *,
    detach: Literal[True],
    **options: Unpack[DetachedOptions],
) -> Container: ...
@overload
def run(
    image: str | Image,
    command: Sequence[str] | str | None = None,
    *,
    detach: Literal[False] = False,
    **options: Unpack[RunOptions],
) -> Result[Any]: ...
def run(image: str | Image, command: Sequence[str] | str | None = None, **options: Any) -> Any:
    """Run a command in a fresh container of the default engine, wait for its end and say everything about it.

    >>> run("host:", ["sh", "-c", "echo $A"], env={"A": "hi"}, text=True, timeout=5).stdout   # doctest: +SKIP
    'hi\\n'

    The container, and all that the command wrote, is gone afterwards.  In brackets: Docker's name.

    image (str or Image)
        A name by Docker's rules, ``"debian:12"``: from the store, else from its registry.  ``"host:"``, the programs of
        the host's /usr; ``"rootfs:/path"``, a directory or tar archive with a root file system, which is never
        written to; ``"oci:/path[:tag]"``, ``"oci-archive:/x.tar"``, ``"docker-archive:/x.tar"``.
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
    mounts (list of Bind, Tmpfs, VolumeMount, ImageMount, or str; none) [--volume, --mount]
        As str "/path:/target[:ro]" is a Bind, "name:/target[:ro]" a volume, "/target" one that goes with the container.
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
    tty (bool, or (rows, columns); False): the three streams are a terminal, all output is ``stdout`` [--tty]
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

    detach (bool; False) [--detach]
        Do not wait: what comes back is a :class:`Container` that goes on without this process. Only such a one takes ``name``,
        ``restart`` ("no", "on-failure[:n]", "always", "unless-stopped"), ``healthcheck`` (a HealthCheck, a command, or False),
        ``auto_remove``, ``stdin_open``, ``log_size`` ("20M") and ``log_files`` (5), and takes nothing of what goes in and out.

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
