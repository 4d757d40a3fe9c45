"""Make the kernel refuse a system call to one thread, so that every step can be seen failing.

The filter is one of seccomp(2) without TSYNC: it binds the calling thread and the children that it makes, not
the test process.  The thread ends with the call, and the filter with it.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import TypeVar

from pycontainer.kernel import seccomp
from pycontainer.kernel.seccomp import ALLOW, Action, Condition, Profile, Rule
from pycontainer.kernel.seccomp.syscalls import native, numbers

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_SET_MODE_FILTER = 1

T = TypeVar("T")


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def refusing(call: Callable[[], T], name: str, error: int, *conditions: Condition) -> T:
    """Call it in a thread in which the system call ``name``, under all conditions, fails with ``error``."""
    rule = Rule(names=(name,), action=Action.errno(error), conditions=conditions)
    code = seccomp.compile(Profile(default=ALLOW, rules=(rule,)), frozenset())

    def filtered() -> T:
        program = _Filter(len(code) // 8, code)
        assert _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
        number = numbers(native())["seccomp"]
        assert _libc.syscall(number, _SECCOMP_SET_MODE_FILTER, 0, ctypes.byref(program)) == 0
        return call()

    return in_thread(filtered)


def in_thread(call: Callable[[], T]) -> T:
    """Call it in a thread of its own and return, or raise, what comes of it when the thread has ended."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001  (it is raised again below)
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
