"""Overlay mounts: what they show, what they leave, what refuses them, how they end."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from pycontainer.errors import InvalidArgument, KernelError, NotSupported, StateError
from pycontainer.kernel import features
from pycontainer.kernel.native import lib
from pycontainer.kernel.overlay import MAX_LOWERS, OverlayMount
from pycontainer.kernel.seccomp import Condition
from tests.support.refuse import refusing

ROOT = os.geteuid() == 0

pytestmark = pytest.mark.needs("overlay")


@attrs.frozen
class Place:
    """Two layers, and directories for the writes."""

    top: Path
    bottom: Path
    upper: Path
    work: Path
    target: Path

    def mount(self, **options: object) -> OverlayMount:
        given: dict[str, object] = {"lower": [self.top, self.bottom], "upper": self.upper, "work": self.work}
        return OverlayMount(**{**given, **options})  # type: ignore[arg-type]  # of the test's own making


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(*(tmp_path / name for name in ("top", "bottom", "upper", "work", "target")))
    for path in attrs.astuple(made):
        path.mkdir()
    (made.top / "both").write_text("top")
    (made.bottom / "both").write_text("bottom")
    (made.bottom / "low").write_text("low")
    (made.bottom / "dir").mkdir()
    (made.bottom / "dir/file").write_text("file")
    yield made
    if (made.work / "work").exists():
        (made.work / "work").chmod(0o700)  # the kernel's own has no permissions, even for its owner


def mounted_here(path: Path) -> list[str]:
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f" {path} " in line]


# -- what it shows ---------------------------------------------------------------------------------


def test_layers_lie_over_each_other_and_writes_go_to_the_upper(place: Place) -> None:
    with place.mount() as overlay:
        root = Path(overlay.path)
        assert sorted(os.listdir(root)) == ["both", "dir", "low"]
        assert (root / "both").read_text() == "top"
        (root / "low").write_text("changed")
        (root / "new").write_text("new")
        (root / "dir/file").unlink()
        assert [(each.kind, each.path) for each in overlay.changes()] == [
            ("deleted", "/dir/file"),
            ("modified", "/low"),
            ("added", "/new"),
        ]
    assert (place.bottom / "low").read_text() == "low"
    assert (place.bottom / "dir/file").read_text() == "file"
    assert (place.upper / "new").read_text() == "new"
    assert (place.upper / "new").stat().st_uid == os.geteuid()


def test_a_directory_that_is_replaced_hides_what_lay_below(place: Place) -> None:
    with place.mount() as overlay:
        root = Path(overlay.path)
        (root / "dir/file").unlink()
        (root / "dir").rmdir()
        (root / "dir").mkdir()
        (root / "dir/other").touch()
        assert os.listdir(root / "dir") == ["other"]
    assert [(each.kind, each.path) for each in place.mount().changes()] == [
        ("deleted", "/dir/file"),
        ("added", "/dir/other"),
    ]


def test_a_later_mount_of_the_same_directories_goes_on(place: Place) -> None:
    with place.mount() as overlay:
        Path(overlay.path, "kept").write_text("x")
    again = place.mount()
    with again:
        assert Path(again.path, "kept").read_text() == "x"
    with again:  # and the object can be used again
        assert Path(again.path, "kept").read_text() == "x"


@pytest.mark.parametrize("count", [1, 2])
def test_without_an_upper_nothing_can_be_written(place: Place, count: int) -> None:
    with OverlayMount(lower=[place.top, place.bottom][:count]) as overlay:
        assert Path(overlay.path, "both").read_text() == "top"
        for attempt in ("both", "new"):
            with pytest.raises(OSError, match="Read-only file system"):
                Path(overlay.path, attempt).write_text("x")
        assert overlay.changes() == []
    assert (place.top / "both").read_text() == "top"


@pytest.mark.parametrize("count", [300, MAX_LOWERS])
def test_hundreds_of_layers(tmp_path: Path, count: int) -> None:
    layers = [
        tmp_path / f"a name of some length, to be sure, with number {number:03}" for number in range(count)
    ]
    for number, layer in enumerate(layers):
        layer.mkdir()
        (layer / "which").write_text(str(number))
        (layer / f"only-{number}").touch()
    with OverlayMount(lower=layers) as overlay:
        names = os.listdir(overlay.path)
        assert len(names) == count + 1
        assert Path(overlay.path, "which").read_text() == "0"


@pytest.mark.parametrize("name", ["a:b", "c,d", "e\\f", "g\\:h", "i j\nk", "l" * 200, "lowerdir=x", "ümläut"])
def test_names_that_mount_options_would_trip_over(place: Place, name: str) -> None:
    base = place.top.parent
    lower, upper, work = base / name, base / f"upper{name}", base / f"work{name}"
    for path in (lower, upper, work):
        path.mkdir()
    (lower / "odd").touch()
    with OverlayMount(lower=[lower, place.bottom], upper=upper, work=work) as overlay:
        assert "odd" in os.listdir(overlay.path)
        Path(overlay.path, "written").touch()
    assert (upper / "written").exists()
    (work / "work").chmod(0o700)


def test_relative_paths_and_links_are_the_callers(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    (place.top.parent / "link").symlink_to("top")
    monkeypatch.chdir(place.top.parent)
    overlay = OverlayMount(lower=["link", "target/../bottom"])
    monkeypatch.chdir("/")
    with overlay:
        assert Path(overlay.path, "both").read_text() == "top"


def test_marks_are_in_the_namespace_that_was_asked_for(place: Place) -> None:
    with place.mount() as overlay:
        assert overlay.userxattr == (not ROOT)
        root = Path(overlay.path, "dir")
        (root / "file").unlink()
        root.rmdir()
        root.mkdir()
    name = f"{'trusted' if ROOT else 'user'}.overlay.opaque"
    assert os.getxattr(place.upper / "dir", name) == b"y"


@pytest.mark.needs("root")
def test_root_may_keep_its_marks_as_a_user_does(place: Place) -> None:
    with place.mount(userxattr=True) as overlay:
        root = Path(overlay.path, "dir")
        (root / "file").unlink()
        root.rmdir()
        root.mkdir()
    assert os.getxattr(place.upper / "dir", "user.overlay.opaque") == b"y"


# -- how it is held --------------------------------------------------------------------------------


def test_the_constructor_touches_nothing_and_the_state_is_told(place: Place) -> None:
    overlay = place.mount()
    assert not overlay.mounted
    assert repr(overlay) == "<OverlayMount not mounted>"
    assert os.listdir(place.upper) == os.listdir(place.work) == []
    for call in (lambda: overlay.path, overlay.fileno):
        with pytest.raises(StateError, match="the overlay is not mounted"):
            call()
    assert overlay.create() is overlay
    try:
        assert overlay.path == f"/proc/self/fd/{overlay.fileno()}"
        assert not os.get_inheritable(overlay.fileno())
        with pytest.raises(StateError, match="the overlay is mounted"):
            overlay.create()
    finally:
        overlay.close()
        overlay.close()
    assert not overlay.mounted


def test_it_is_nowhere_in_the_file_system(place: Place) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    with place.mount():
        assert Path("/proc/self/mountinfo").read_text() == before


def test_an_open_file_keeps_it_until_it_is_closed(place: Place) -> None:
    overlay = place.mount().create()
    file = open(f"{overlay.path}/both")  # noqa: SIM115  (it is to outlive the mount)
    overlay.close()
    assert file.read() == "top"
    file.close()


@pytest.mark.needs("root")
def test_a_target_has_it_until_close(place: Place) -> None:
    (place.target.parent / "link").symlink_to("target")
    with place.mount(target=place.target.parent / "link") as overlay:
        assert overlay.path == str(place.target.parent / "link")
        (line,) = mounted_here(place.target)
        assert not re.search("shared:|master:", line)  # whatever the mount below it is
        (place.target / "new").write_text("x")
        with open(place.target / "both") as file:  # busy
            overlay.close()
            assert file.read() == "top"
        assert mounted_here(place.target) == []
    assert (place.upper / "new").read_text() == "x"
    assert os.listdir(place.target) == []


@pytest.mark.needs("root")
def test_a_target_that_somebody_else_unmounted(place: Place) -> None:
    with place.mount(target=place.target):
        subprocess.run(["umount", "--lazy", place.target], check=True)  # it is busy: we hold it
    assert mounted_here(place.target) == []


@pytest.mark.needs("user")
def test_an_ordinary_user_cannot_have_a_target(place: Place) -> None:
    with pytest.raises(KernelError, match=f"^mount on {place.target}: .* run as root$"):
        place.mount(target=place.target).create()


def test_a_killed_process_leaves_nothing_mounted(place: Place) -> None:
    script = (
        "import sys; from pycontainer.kernel.overlay import OverlayMount as O\n"
        "m = O(lower=sys.argv[1:3], upper=sys.argv[3], work=sys.argv[4]).create()\n"
        "open(m.path + '/left', 'w').close(); print('ready', flush=True); sys.stdin.read()"
    )
    paths = [place.top, place.bottom, place.upper, place.work]
    with subprocess.Popen(
        [sys.executable, "-c", script, *paths], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.kill()
    with place.mount() as overlay:
        assert Path(overlay.path, "left").exists()


# -- what refuses it -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lower": []}, f"^lower=.*1 to {MAX_LOWERS} directories"),
        ({"lower": ["/x"] * (MAX_LOWERS + 1)}, f"^lower=.*1 to {MAX_LOWERS} directories"),
        ({"lower": "/usr"}, "^lower='/usr': a list of"),
        ({"lower": ["a\0b"]}, "^lower=.*the path of a directory is needed"),
        ({"upper": ""}, "^upper='': the path of a directory is needed"),
        ({"work": None}, "^work=None: upper and work belong together"),
        ({"upper": None}, "^work=.*upper and work belong together"),
        ({"upper": None, "work": None, "volatile": True}, "^volatile=True: there is no upper"),
    ],
)
def test_wrong_arguments(place: Place, change: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        place.mount(**change)


def refusal(overlay: OverlayMount) -> KernelError:
    with pytest.raises(KernelError) as caught:
        overlay.create()
    return caught.value


def test_a_directory_that_is_not_there_is_named(place: Place) -> None:
    missing, file = place.top.parent / "missing", place.bottom / "low"
    assert str(refusal(place.mount(lower=[place.top, missing]))).startswith(
        f"open the lower directory {missing}: No such file"
    )
    assert str(refusal(place.mount(lower=[file, place.top]))).startswith(
        f"open the lower directory {file}: Not a directory"
    )
    assert f"open the upper directory {missing}: No such file" in str(refusal(place.mount(upper=missing)))
    assert f"open the work directory {missing}: No such file" in str(refusal(place.mount(work=missing)))
    if ROOT:
        error = refusal(place.mount(target=missing))
        assert (error.errno, error.step) == (errno.ENOENT, f"open {missing}")
    assert os.listdir(place.upper) == []


def test_causes_are_named(place: Place) -> None:
    inside = place.upper / "inside"
    inside.mkdir()
    assert "must not contain each other" in refusal(place.mount(work=inside)).hint
    assert "given twice, or contains another" in refusal(place.mount(lower=[place.top, place.top])).hint
    error = refusal(place.mount(upper="/dev/shm" if features.tmpfs_keeps_user_xattrs() else "/proc"))
    assert "must be on one file system" in error.hint
    assert error.step.startswith("mount overlay")


@pytest.mark.needs("root")
def test_an_upper_on_an_overlay_is_refused_with_the_reason(place: Place) -> None:
    with place.mount(target=place.target):
        for name in ("u", "w"):
            (place.target / name).mkdir()
        error = refusal(place.mount(upper=place.target / "u", work=place.target / "w"))
    assert error.errno == errno.EINVAL
    assert (
        error.hint == f"{place.target}/u is on overlay, which cannot hold an upper directory: use one on disk"
    )


def test_a_directory_that_has_no_name_on_the_host_is_refused_with_the_reason(place: Place) -> None:
    with place.mount() as below:
        for name in ("u", "w"):
            Path(below.path, name).mkdir()
        error = refusal(place.mount(upper=f"{below.path}/u", work=f"{below.path}/w"))
    assert error.hint.startswith(f"{below_path(error)}/u is on a mount that is attached nowhere")


def below_path(error: KernelError) -> str:
    found = re.match("/proc/self/fd/[0-9]+", error.hint)
    assert found is not None, error
    return found[0]


@pytest.mark.needs("root")
def test_an_attached_overlay_is_a_layer_of_another(place: Place) -> None:
    with place.mount(target=place.target), OverlayMount(lower=[place.target, place.bottom]) as above:
        assert Path(above.path, "both").read_text() == "top"


def test_a_volatile_mount_cannot_be_continued(place: Place) -> None:
    with place.mount(volatile=True) as overlay:
        Path(overlay.path, "new").touch()
    error = refusal(place.mount())
    assert error.errno == errno.EINVAL
    assert f"if {place.upper} was mounted volatile, it may be incomplete" in error.hint


@pytest.mark.needs("user")
def test_a_tmpfs_without_user_attributes_is_no_upper(place: Place) -> None:
    if features.tmpfs_keeps_user_xattrs():
        return  # seen in the virtual machine, which has an older kernel
    with pytest.raises(NotSupported, match=r"^/dev/shm is on a tmpfs that cannot keep"):
        place.mount(upper="/dev/shm", work="/dev/shm").create()


@pytest.mark.parametrize("call", ["fchdir", "symlinkat", "sendmsg", "clone3"])
def test_a_refusal_leaves_nothing_mounted(place: Place, call: str) -> None:
    with place.mount():
        pass  # what is made once for the process is there
    (place.work / "work").chmod(0o700)
    with pytest.raises(KernelError) as caught:
        refusing(place.mount(userxattr=True).create, call, errno.EIO)
    assert caught.value.errno in (errno.EIO, errno.EPERM)  # newuidmap is refused to such a thread
    assert os.listdir(place.upper) == []


@pytest.mark.needs("root")
def test_a_mount_that_cannot_be_attached_is_gone(place: Place) -> None:
    with pytest.raises(KernelError, match=f"^mount on {place.target}: Input/output error"):
        refusing(place.mount(target=place.target).create, "move_mount", errno.EIO)
    # Not the one of the helper, which is about all mounts at once.
    alone = Condition.low32(2, lib.AT_EMPTY_PATH)
    with pytest.raises(KernelError, match=f"attributes of {place.target}"):
        refusing(place.mount(target=place.target).create, "mount_setattr", errno.EIO, alone)
    assert mounted_here(place.target) == []
