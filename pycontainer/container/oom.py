"""Who is killed first when the memory of the host runs out (proc(5), oom_score_adj)."""

from __future__ import annotations

import errno

from pycontainer.errors import KernelError, NotSupported
from pycontainer.kernel.cgroup import Cgroup


def set_oom_score(score: int | None, pid: int, cgroup: Cgroup | None) -> None:
    """Set it for a process that was just started, and for what came of it meanwhile.

    From outside: until its execve is over no process of the container may write to its own file in /proc.
    ``pid`` is a child that is not yet reaped.  Raises :class:`NotSupported`, :class:`KernelError`.
    """
    if score is None:
        return
    _write(pid, score)
    done = {pid}
    # Who was forked before has the old one; who is forked after it has the new one.
    while cgroup is not None and (more := set(cgroup.processes()) - done - {0}):
        for each in more:
            _write(each, score)
        done |= more


def _write(pid: int, score: int) -> None:
    try:
        with open(f"/proc/{pid}/oom_score_adj", "w") as file:
            file.write(str(score))
    except (FileNotFoundError, ProcessLookupError):
        return
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            raise NotSupported(
                f"oom_score_adj={score} cannot be set",
                "run as root; lowering it needs CAP_SYS_RESOURCE; or set the caller's own: it is inherited",
            ) from None
        raise KernelError(error.errno or 0, f"set oom_score_adj of process {pid}") from None
