"""What an error adds about its cause."""

from __future__ import annotations

import errno

import pytest

from pycontainer.errors import KernelError
from pycontainer.kernel import hints, spawn
from pycontainer.kernel import operation as op
from pycontainer.kernel.native import lib
from pycontainer.kernel.script import Script


def test_an_operation_says_where_it_stands_and_why():
    overlay = op.new_mount("overlay", [("upperdir", "u")], out=0, purpose="/")
    request = spawn.Spawn(argv=(b"true",), script=Script.of(inner=overlay))
    error = spawn.failure(request, lib.PC_STEP_OPERATION, errno.EINVAL, 2)
    assert isinstance(error, KernelError)
    assert (error.errno, error.op, error.of) == (errno.EINVAL, 3, 3)
    assert str(error).startswith(
        "mount overlay on /: Invalid argument (operation 3 of 3); the writable layer"
    )
    assert "PYCONTAINER_ROOT" in str(error)


def test_an_overlay_of_an_old_kernel_says_the_same():
    """mount(2), where fsconfig(2) cannot take the layers one by one (Linux 6.5)."""
    request = spawn.Spawn(argv=(b"true",), script=Script.of(inner=[op.mount_overlay("lowerdir=a:b", "root")]))
    error = spawn.failure(request, lib.PC_STEP_OPERATION, errno.EINVAL, 0)
    assert str(error).startswith(
        "mount overlay on root: Invalid argument (operation 1 of 1); the writable layer"
    )
    assert "mounts in it" in str(error)


def test_a_step_says_why():
    request = spawn.Spawn(argv=(b"true",), joins=((0, lib.CLONE_NEWUSER),))
    error = spawn.failure(request, lib.PC_STEP_CLONE, errno.EPERM, -1)
    assert str(error).startswith("clone into new namespaces: Operation not permitted; user namespaces are")


def test_without_a_user_namespace_it_speaks_of_root():
    error = spawn.failure(spawn.Spawn(argv=(b"true",)), lib.PC_STEP_CLONE, errno.EPERM, -1)
    assert "needs root" in str(error)
    assert "restricted" not in str(error)


def test_a_string_is_one_word():
    assert "['echo', 'hi']" in str(spawn.exec_failure(errno.ENOENT, "echo hi"))
    assert "in PATH" in str(spawn.exec_failure(errno.ENOENT, "echo"))


def test_what_is_not_known_is_not_guessed():
    assert hints.of_step(lib.PC_STEP_CLONE, errno.EIO) == ""
    assert str(spawn.failure(spawn.Spawn(argv=(b"x",)), lib.PC_STEP_FDS, errno.EMFILE, 0)) == (
        "place file descriptors: Too many open files (operation 1)"
    )


def test_every_step_has_a_name():
    steps = {value for name, value in vars(type(lib)).items() if name.startswith("PC_STEP_")} or {
        getattr(lib, name) for name in dir(lib) if name.startswith("PC_STEP_")
    }
    assert steps - {lib.PC_STEP_NONE} == set(spawn.STEPS)


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENOTDIR])
def test_a_missing_program_is_127(number):
    error = spawn.exec_failure(number, "nope")
    assert error.exit_code == 127
    assert isinstance(error, FileNotFoundError)


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOEXEC, errno.E2BIG, errno.EISDIR])
def test_a_program_that_cannot_run_is_126(number):
    assert spawn.exec_failure(number, "nope").exit_code == 126
