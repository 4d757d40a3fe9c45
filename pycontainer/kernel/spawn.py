"""The one way to make a process: a flat specification handed to ``pc_spawn``.

Owns the translation of a :class:`Spawn` to the C structs and of a failure report to an exception.
Chooses nothing: what is not in the specification does not happen.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Any

import attrs

from pycontainer.errors import CommandNotExecutable, CommandNotFound, KernelError
from pycontainer.kernel import hints
from pycontainer.kernel.native import ffi, lib
from pycontainer.kernel.script import Operation, Script

#: A script without operations.
NOTHING = Script.of()

#: What each step does, for messages. The numbers are those of ``enum pc_step``.
STEPS = {
    lib.PC_STEP_STACK: "allocate a stack",
    lib.PC_STEP_CLONE_OUTER: "clone",
    lib.PC_STEP_OUTER: "prepare",
    lib.PC_STEP_JOIN: "enter a namespace",
    lib.PC_STEP_CLONE: "clone into new namespaces",
    lib.PC_STEP_LEASH: "register with the reaper",
    lib.PC_STEP_CGROUP: "enter a cgroup",
    lib.PC_STEP_NS_ROOT: "become root of the user namespace",
    lib.PC_STEP_CGROUP_NS: "unshare the cgroup namespace",
    lib.PC_STEP_SESSION: "start a session",
    lib.PC_STEP_OPERATION: "set up",
    lib.PC_STEP_HOSTNAME: "set the host name",
    lib.PC_STEP_TERMINAL: "take the controlling terminal",
    lib.PC_STEP_WORKDIR: "enter the working directory",
    lib.PC_STEP_KEYRING: "make a session keyring",
    lib.PC_STEP_RLIMIT: "set a resource limit",
    lib.PC_STEP_BOUNDING: "drop a capability from the bounding set",
    lib.PC_STEP_GROUPS: "set the supplementary groups",
    lib.PC_STEP_GID: "set the group id",
    lib.PC_STEP_UID: "set the user id",
    lib.PC_STEP_CAPS: "set the capabilities",
    lib.PC_STEP_AMBIENT: "raise an ambient capability",
    lib.PC_STEP_NO_NEW_PRIVS: "set no_new_privs",
    lib.PC_STEP_LANDLOCK: "restrict by Landlock",
    lib.PC_STEP_SIGNALS: "reset the signals",
    lib.PC_STEP_FDS: "place file descriptors",
    lib.PC_STEP_SECCOMP: "load the seccomp filter",
    lib.PC_STEP_EXEC: "execute",
    lib.PC_STEP_PIDFD: "open a pidfd",
    lib.PC_STEP_HIDE: "hide the memory of this process",
    lib.PC_STEP_STOPPED: "start: the process was stopped from inside before it executed",
    lib.PC_STEP_MASK: "block and restore the signals of the calling thread",
}


@attrs.frozen(kw_only=True)
class Capabilities:
    """The four sets that a process gets, as bit masks (capabilities(7)); effective is as permitted."""

    bounding: int
    permitted: int
    last: int
    inheritable: int = 0
    ambient: int = 0


@attrs.frozen(kw_only=True, eq=False)
class Spawn:
    """Everything about a process to be made. Slots index :attr:`fds`; -1 there is for operations to fill.

    ``candidates`` are paths tried in turn; or ``program`` is the slot of an open program.  ``stdio`` pairs
    a slot with the fd number that the program sees.  ``joins`` pairs a slot with setns(2) types.  One that ``ends``
    executes nothing: it has ended with status 0 when its operations are done, and is to be reaped.
    Strings are bytes, as the kernel takes them, without NUL.
    """

    argv: tuple[bytes, ...]
    env: tuple[bytes, ...] = ()
    candidates: tuple[bytes, ...] = ()
    program: int = -1
    script: Script = NOTHING
    fds: tuple[int, ...] = ()
    stdio: tuple[tuple[int, int], ...] = ()
    joins: tuple[tuple[int, int], ...] = ()
    namespaces: int = 0
    cgroup: int = -1
    tasks: tuple[int, ...] = ()
    leash: int = -1
    terminal: int = -1
    landlock: int = -1
    ns_root: bool = False
    ns_ids: tuple[int, int] = (0, 0)
    cgroup_namespace: bool = False
    session: bool = True
    keyring: bool = False
    hostname: bytes | None = None
    workdir: bytes | None = None
    rlimits: tuple[tuple[int, int, int], ...] = ()
    umask: int = 0o022
    ids: tuple[int, int] | None = None
    groups: tuple[int, ...] | None = None
    capabilities: Capabilities | None = None
    no_new_privs: bool = False
    seccomp: bytes = b""
    ends: bool = False

    @property
    def flags(self) -> int:
        """``enum pc_spawn_flag``."""
        return (
            (lib.PC_SPAWN_NS_ROOT if self.ns_root else 0)
            | (lib.PC_SPAWN_CGROUP_NS if self.cgroup_namespace else 0)
            | (lib.PC_SPAWN_SETSID if self.session else 0)
            | (lib.PC_SPAWN_KEYRING if self.keyring else 0)
            | (lib.PC_SPAWN_SET_IDS if self.ids is not None else 0)
            | (lib.PC_SPAWN_SET_GROUPS if self.groups is not None else 0)
            | (lib.PC_SPAWN_SET_CAPS if self.capabilities is not None else 0)
            | (lib.PC_SPAWN_NO_NEW_PRIVS if self.no_new_privs else 0)
            | (lib.PC_SPAWN_ENDS if self.ends else 0)
        )


class Template:
    """A specification made ready for the native core: encoded once, started any number of times.

    Thread-safe: a start works on a copy.

    >>> true = Template(Spawn(argv=(b"true",), candidates=(b"/bin/true",)))
    >>> pid, pidfd = true.start(())                         # doctest: +SKIP
    """

    __slots__ = ("_env", "_keep", "native", "request")

    def __init__(self, request: Spawn) -> None:
        self.request = request
        #: The C struct, valid for as long as this object is.
        self.native, self._keep = _encode(request)
        self._env = [_string(value, self._keep) for value in request.env]

    def start(
        self, fds: Sequence[int], *, hostname: bytes | None = None, env: tuple[bytes, ...] = ()
    ) -> tuple[int, int]:
        """Start the process with these fds in the slots; returns its pid and a pidfd, which are the caller's.

        ``hostname`` takes the place of the specification's, ``env`` comes after its environment.  The child
        has executed its program when this returns.  It is an ordinary child of this process, to be reaped
        through its pidfd (:func:`pycontainer.kernel.native.wait_usage`).  The calling thread sleeps
        meanwhile, other threads run.  Raises :class:`CommandNotFound`, :class:`CommandNotExecutable` or
        :class:`KernelError`, with nothing left behind.
        """
        native = ffi.new("struct pc_spawn *", self.native[0])
        slots = ffi.new("int32_t[]", fds or (-1,))
        native.slots = slots
        keep: list[Any] = []
        if hostname is not None:
            native.hostname = _string(hostname, keep)
        if env:
            array = ffi.new("char *[]", [*self._env, *[_string(value, keep) for value in env], ffi.NULL])
            native.envp = array
        result = ffi.new("struct pc_result *")
        if lib.pc_spawn(native, result) != 0:
            raise failure(self.request, result.step, result.error, result.op)
        return result.pid, result.pidfd


def spawn(request: Spawn) -> tuple[int, int]:
    """Start one process as the specification says; see :meth:`Template.start`."""
    return Template(request).start(request.fds)


def apply(script: Script, slots: list[int]) -> None:
    """Execute the outer operations of a script in the calling thread; fds that they open land in ``slots``.

    The caller owns every fd in ``slots`` afterwards, also when :class:`KernelError` is raised.
    """
    native_slots = ffi.new("int32_t[]", slots)
    result = ffi.new("struct pc_result *")
    ops = ffi.from_buffer("struct pc_op[]", script.outer_bytes)
    ret = lib.pc_apply(
        ops, len(script.outer), ffi.from_buffer("char[]", script.strings), native_slots, result
    )
    slots[:] = list(native_slots)
    if ret != 0:
        raise _operation_failure(script.outer, result.error, result.op)


def _operation_failure(ops: tuple[Operation, ...], error: int, position: int) -> KernelError:
    operation = ops[position]
    hint = hints.of_operation(operation, error)
    return KernelError(error, operation.describe(), op=position + 1, of=len(ops), hint=hint)


def failure(request: Spawn, step: int, error: int, op: int) -> KernelError:
    """The exception for a report of the native core."""
    if step == lib.PC_STEP_EXEC:
        name = request.argv[0].decode(errors="replace") if request.argv else "the program"
        return exec_failure(error, name)
    if step == lib.PC_STEP_OPERATION:
        return _operation_failure(request.script.inner, error, op)
    if step == lib.PC_STEP_OUTER:
        return _operation_failure(request.script.outer, error, op)
    if step == lib.PC_STEP_WORKDIR and request.workdir is not None:
        step_text = f"{STEPS[step]} {request.workdir.decode(errors='replace')}"
        return KernelError(error, step_text, hint=hints.of_step(step, error))
    hint = hints.of_step(step, error, in_userns=_in_userns(request))
    return KernelError(error, STEPS[step], op=op + 1 if op >= 0 else None, hint=hint)


def _in_userns(request: Spawn) -> bool:
    types = request.namespaces
    for _, joined in request.joins:
        types |= joined
    return bool(types & lib.CLONE_NEWUSER)


def exec_failure(error: int, name: str) -> CommandNotFound | CommandNotExecutable:
    """The exception for a refused execve of the program that the user called ``name``."""
    step = f'execute "{name}"'
    if error in (errno.ENOENT, errno.ENOTDIR):
        return CommandNotFound(error, step, hint=hints.of_program(name, error))
    return CommandNotExecutable(error, step, hint=hints.of_program(name, error))


def _strings(values: tuple[bytes, ...], keep: list[Any]) -> Any:
    pointers = [ffi.from_buffer("char[]", value + b"\0") for value in values]
    keep.append(pointers)
    array = ffi.new("char *[]", [*pointers, ffi.NULL])
    keep.append(array)
    return array


def _string(value: bytes, keep: list[Any]) -> Any:
    buffer = ffi.from_buffer("char[]", value + b"\0")
    keep.append(buffer)
    return buffer


def _encode(request: Spawn) -> tuple[Any, list[Any]]:
    """The C struct, and what must stay alive while C reads it."""
    keep: list[Any] = []
    native = ffi.new("struct pc_spawn *")
    script = request.script

    def array(ctype: str, values: Any) -> Any:
        made = ffi.new(ctype, values)
        keep.append(made)
        return made

    def view(ctype: str, data: bytes) -> Any:
        made = ffi.from_buffer(ctype, data)
        keep.append(made)
        return made

    native.strings = view("char[]", script.strings)
    native.outer_count, native.inner_count = len(script.outer), len(script.inner)
    if script.outer:
        native.outer = view("struct pc_op[]", script.outer_bytes)
    if script.inner:
        native.inner = view("struct pc_op[]", script.inner_bytes)
    if request.joins:
        native.joins, native.join_count = array("struct pc_join[]", request.joins), len(request.joins)
    if request.tasks:
        native.tasks, native.task_count = array("int32_t[]", request.tasks), len(request.tasks)
    if request.rlimits:
        limits = [(resource, 0, soft, hard) for resource, soft, hard in request.rlimits]
        native.rlimits, native.rlimit_count = array("struct pc_rlimit[]", limits), len(limits)
    if request.stdio:
        native.fds, native.fd_count = array("struct pc_fd_map[]", request.stdio), len(request.stdio)
    if request.groups:
        native.groups, native.group_count = array("uint32_t[]", request.groups), len(request.groups)
    if request.seccomp:
        native.seccomp, native.seccomp_count = view("char[]", request.seccomp), len(request.seccomp) // 8
    native.candidates = _strings(request.candidates, keep)
    native.argv = _strings(request.argv, keep)
    native.envp = _strings(request.env, keep)
    if request.hostname is not None:
        native.hostname = _string(request.hostname, keep)
    if request.workdir is not None:
        native.workdir = _string(request.workdir, keep)
    if request.capabilities is not None:
        caps = request.capabilities
        native.cap_bounding, native.cap_permitted = caps.bounding, caps.permitted
        native.cap_inheritable, native.cap_ambient, native.last_cap = (
            caps.inheritable,
            caps.ambient,
            caps.last,
        )
    native.ns_uid, native.ns_gid = request.ns_ids
    if request.ids is not None:
        native.uid, native.gid = request.ids
    native.flags, native.namespaces, native.umask = request.flags, request.namespaces, request.umask
    native.cgroup, native.leash = request.cgroup, request.leash
    native.terminal, native.program = request.terminal, request.program
    native.landlock = request.landlock
    return native, keep
