"""The exception tree is the one that its module's docstring draws, and its members travel."""

from __future__ import annotations

import errno
import inspect
import pickle
import re

import pytest

from pycontainer import errors

LINE = re.compile(r"^(?P<stem>[ │├└─]*)(?P<name>[A-Z]\w+)(?: \((?P<also>[\w, ]+)\))?(?:  +\S.*)?$")


def _drawn() -> dict[str, tuple[str, set[str]]]:
    """The tree in the docstring: name -> (parent, bases from elsewhere)."""
    text = (errors.__doc__ or "").split("::", 1)[1]
    tree: dict[str, tuple[str, set[str]]] = {}
    path: list[str] = []
    for line in text.splitlines():
        found = LINE.match(line.removeprefix("    "))
        if not found or not line.startswith("    "):
            continue
        depth = len(found["stem"]) // 4
        del path[depth:]
        tree[found["name"]] = (
            path[-1] if path else "Exception",
            set((found["also"] or "").replace(",", " ").split()),
        )
        path.append(found["name"])
    return tree


def _defined() -> dict[str, tuple[str, set[str]]]:
    tree = {}
    for name, kind in inspect.getmembers(errors, inspect.isclass):
        if kind.__module__ == errors.__name__ and issubclass(kind, BaseException):
            parent, *others = (base.__name__ for base in kind.__bases__)
            tree[name] = (parent, set(others))
    return tree


def test_the_docstring_draws_every_exception_with_its_bases() -> None:
    assert _drawn() == _defined()


def test_every_exception_is_documented() -> None:
    assert [name for name in _defined() if not getattr(errors, name).__doc__] == []


SAMPLES = [
    errors.PyContainerError("something"),
    errors.InvalidArgument("memory", "12X", "a number of bytes, or one with a suffix of KMGT"),
    errors.NotSupported("no cgroup v2", "boot with systemd.unified_cgroup_hierarchy=1"),
    errors.KernelError(errno.EINVAL, "mount overlay on /", op=3, hint="the upper directory is on an overlay"),
    errors.KernelError(errno.EPERM, "clone3"),
    errors.CommandNotFound(errno.ENOENT, "exec nope"),
    errors.CommandNotExecutable(errno.EACCES, "exec /etc/passwd"),
    errors.StateError("container db", "exited", "pause"),
    errors.VolumeNotFound("data: no such volume"),
    errors.WaitTimeout("port 5432 did not open within 3 s"),
    errors.RemoteError("shop.Sold", "out of stock", "Traceback ..."),
    errors.CallFailed(exit_code=137, signal=9, limit="memory"),
    errors.CallFailed(exit_code=3),
    errors.CallTimeout(exit_code=137, signal=9, limit="timeout"),
    errors.ImageError("layer 2 is cut short"),
    errors.ImageNotFound("debian:99"),
    errors.UnsafeArchive("entry ../../etc/passwd leaves the root"),
    errors.RegistryError("localhost:5000", "no such manifest", status=404, code="MANIFEST_UNKNOWN"),
    errors.RegistryDenied("localhost:5000", "pull of team/app", status=401),
    errors.RateLimited("docker.io", "asked too often", status=429),
]


def test_the_samples_are_of_every_exception_but_the_one_with_a_result() -> None:
    assert {type(sample).__name__ for sample in SAMPLES} == set(_defined()) - {"ContainerFailed"}


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)
def test_an_exception_survives_pickling(error: errors.PyContainerError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


def test_a_kernel_error_names_step_cause_position_and_hint() -> None:
    error = errors.KernelError(
        errno.EINVAL, "mount overlay on /", op=3, hint="its upper directory is on an overlay"
    )
    assert isinstance(error, OSError)
    assert error.errno == errno.EINVAL
    assert (
        str(error)
        == "mount overlay on /: Invalid argument (operation 3); its upper directory is on an overlay"
    )


def test_a_missing_command_is_a_missing_file() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        raise errors.CommandNotFound(errno.ENOENT, "exec nope")
    assert isinstance(caught.value, errors.KernelError)


def test_what_a_container_named_does_not_reach_a_terminal():
    error = errors.KernelError(2, "open /tmp/\x1b[31mred\n\udcff\x00é in the container", hint="x\ry")
    assert str(error) == r"open /tmp/\x1b[31mred\n\xff\x00é in the container: No such file or directory; x\ry"
    str(error).encode()
    assert error.step == "open /tmp/\x1b[31mred\n\udcff\x00é in the container"
