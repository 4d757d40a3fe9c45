"""Every exception that pycontainer raises, in one tree.

::

    PyContainerError
    ├── InvalidArgument (ValueError)        a wrong argument, refused before anything happened
    ├── NotSupported                        this host cannot do what was asked for; names the fix
    ├── KernelError (OSError)               the kernel refused a step
    │   ├── CommandNotFound (FileNotFoundError)      no such program in the container: exit status 127
    │   └── CommandNotExecutable (PermissionError)   it cannot be run: exit status 126
    ├── VolumeNotFound (LookupError)        no volume of that name
    ├── StateError                          the verb does not fit the state of the object
    ├── WaitTimeout (TimeoutError)          a wait ended before what it waited for
    ├── ImageError                          an image's content is wrong
    │   ├── ImageNotFound (LookupError)     no image of that name
    │   └── UnsafeArchive                   an archive tries what no honest archive does
    ├── RegistryError                       a registry did not do what was asked of it
    │   ├── RegistryDenied                  it does not know the caller, or does not let it
    │   └── RateLimited                     it wants to be asked later
    ├── RemoteError                         a function called in a container raised what this process does not know
    ├── CallFailed                          a call in a container ended without a result
    │   └── CallTimeout (TimeoutError)      it ran longer than it may
    └── ContainerFailed                     ``check=True`` and the exit status was not 0

All exceptions can be pickled and compared by ``str``; none carries an open resource.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pycontainer.container.result import Result


class PyContainerError(Exception):
    """Base of every error of this library."""


class InvalidArgument(PyContainerError, ValueError):
    """An argument is wrong; nothing was done.

    The message names the argument, the value and what is accepted.
    """

    def __init__(self, argument: str, value: object, reason: str) -> None:
        super().__init__(argument, value, reason)
        self.argument = argument
        self.value = value
        self.reason = reason

    def __str__(self) -> str:
        return f"{_cut(self.argument)}={shown(self.value)}: {_cut(self.reason)}"


#: How much of what a caller gave a message repeats.
_LONGEST = 1000


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def shown(value: object) -> str:
    """A value as messages repeat it: its beginning, and never an error."""
    try:
        return _cut(repr(value))
    except (ValueError, RecursionError):
        # An integer of thousands of digits, a list in a list in a list.
        return f"<{type(value).__name__}>"


class NotSupported(PyContainerError):
    """The host cannot do what was asked for; ``fix`` says what would mend it."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(what, fix)
        self.what = what
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.what}; {self.fix}"


class KernelError(PyContainerError, OSError):
    """The kernel refused a step of an operation.

    ``errno`` is the kernel's error number, ``step`` the name of what was being
    done and ``op`` its position, from 1, in the ``of`` operations of the plan (or ``None``).
    ``hint`` is the likely cause and its mend, where the host's features explain it.
    """

    def __init__(
        self, errno: int, step: str, *, op: int | None = None, of: int | None = None, hint: str = ""
    ) -> None:
        super().__init__(errno, os.strerror(errno))
        self.step = step
        self.op = op
        self.of = of
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild_kernel_error, (type(self), self.errno, self.step, self.op, self.of, self.hint))

    def __str__(self) -> str:
        text = f"{self.step}: {os.strerror(self.errno or 0)}"
        if self.op is not None:
            text += f" (operation {self.op} of {self.of})" if self.of else f" (operation {self.op})"
        return _printable(f"{text}; {self.hint}" if self.hint else text)


def _printable(text: str) -> str:
    """The text with names that a container chose, for terminals and logs: no line, colour or odd byte of theirs."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(sign: str) -> str:
    if "\udc80" <= sign <= "\udcff":  # a byte that is no text (PEP 383)
        return f"\\x{ord(sign) - 0xDC00:02x}"
    return sign if sign.isprintable() else sign.encode("unicode_escape").decode()


def _rebuild_kernel_error(
    kind: type[KernelError], errno: int, step: str, op: int | None, of: int | None, hint: str
) -> KernelError:
    return kind(errno, step, op=op, of=of, hint=hint)


class CommandNotFound(KernelError, FileNotFoundError):
    """The program does not exist in the container; Docker's exit status 127."""

    exit_code = 127


class CommandNotExecutable(KernelError, PermissionError):
    """The program exists in the container but cannot be run; Docker's exit status 126."""

    exit_code = 126


class StateError(PyContainerError):
    """A verb that the object's state does not allow, such as ``exec`` on a stopped container."""

    def __init__(self, what: str, state: str, verb: str) -> None:
        super().__init__(what, state, verb)
        self.what = what
        self.state = state
        self.verb = verb

    def __str__(self) -> str:
        return f"{self.what} is {self.state}: cannot {self.verb}"


class VolumeNotFound(PyContainerError, LookupError):
    """No volume of that name is there."""


class WaitTimeout(PyContainerError, TimeoutError):
    """What was waited for did not happen in time; what is running goes on running."""


class ImageError(PyContainerError):
    """The content of an image or archive is wrong."""


class ImageNotFound(ImageError, LookupError):
    """No image of that name is known."""


class UnsafeArchive(ImageError):
    """An archive holds an entry that would reach outside its root, or breaks a bound."""


class RegistryError(PyContainerError):
    """A registry, or the way to it, failed; what was on its way is not there.

    ``host`` is the registry's name and port, ``status`` the HTTP status that it answered, if it answered, and
    ``code`` the error code of its answer (distribution-spec, "Error Codes"), such as ``"MANIFEST_UNKNOWN"``.
    """

    def __init__(self, host: str, what: str, *, status: int | None = None, code: str | None = None) -> None:
        super().__init__(host, what)
        self.host = host
        self.what = what
        self.status = status
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild_registry_error, (type(self), self.host, self.what, self.status, self.code))

    def __str__(self) -> str:
        return _printable(f"{self.host}: {_cut(self.what)}")


def _rebuild_registry_error(
    kind: type[RegistryError], host: str, what: str, status: int | None, code: str | None
) -> RegistryError:
    return kind(host, what, status=status, code=code)


class RegistryDenied(RegistryError):
    """The registry does not know who asks, or does not let them: HTTP status 401 or 403."""


class RateLimited(RegistryError):
    """The registry has been asked too often: HTTP status 429, again and again."""


class RemoteError(PyContainerError):
    """A function that an Executor called in a container raised an exception that is none of Python's own.

    ``type_name`` is its type's, ``message`` its arguments as text, ``traceback`` where it happened, as text.
    """

    def __init__(self, type_name: str, message: str, traceback: str = "") -> None:
        super().__init__(type_name, message, traceback)
        self.type_name = type_name
        self.message = message
        self.traceback = traceback

    def __str__(self) -> str:
        return f"{self.type_name}: {self.message}" if self.message else self.type_name


class CallFailed(PyContainerError):
    """A call of an Executor ended without a result: its process was ended, or ended itself.

    ``exit_code`` is Docker's (128 + ``signal``), ``signal`` what ended it or ``None``; ``limit`` names the limit that
    did: "timeout", "memory", "result_limit", or ``None``.
    """

    def __init__(
        self, *, exit_code: int = 0, signal: int | None = None, limit: str | None = None, what: str = ""
    ) -> None:
        super().__init__(exit_code, signal, limit, what)
        self.exit_code = exit_code
        self.signal = signal
        self.limit = limit
        self.what = what

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild_call_failed, (type(self), self.exit_code, self.signal, self.limit, self.what))

    def __str__(self) -> str:
        if self.limit is not None:
            return f"the call ran into its limit {self.limit!r}"
        if self.what:
            return f"the call failed: {self.what}"
        how = (
            f"was killed by signal {self.signal}" if self.signal else f"ended with exit code {self.exit_code}"
        )
        return f"the process of the call {how}, without a result"


def _rebuild_call_failed(
    kind: type[CallFailed], exit_code: int, signal: int | None, limit: str | None, what: str
) -> CallFailed:
    return kind(exit_code=exit_code, signal=signal, limit=limit, what=what)


class CallTimeout(CallFailed, TimeoutError):
    """A call of an Executor ran longer than its ``timeout``; it was killed with all that came of it."""


class ContainerFailed(PyContainerError):
    """A command that had to succeed (``check=True``) did not; ``result`` says everything about it."""

    def __init__(self, result: Result[Any]) -> None:
        super().__init__(result)
        self.result = result

    def __str__(self) -> str:
        return self.result.describe_failure()
