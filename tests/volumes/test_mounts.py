"""Volumes in containers: shared, read-only, filled from the image, parts of them, and those without a name."""

from __future__ import annotations

import os
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest

import pycontainer as pc
from tests.volumes.conftest import sh

SUBIDS = pytest.mark.needs("user", "subuid")


def volume(name: str) -> pc.Volume:
    return pc.Volume.get(name)


def test_what_one_writes_the_next_reads(name):
    mount = f"{name}:/data"
    sh("host:", "echo hi > /data/file; chmod 640 /data/file", mount)
    assert sh("host:", "cat /data/file; stat -c %u:%g:%a /data /data/file", mount) == "hi\n0:0:755\n0:0:640\n"
    assert Path(volume(name).mountpoint, "file").read_text() == "hi\n"


def test_a_volume_object_and_its_mount(name):
    made = pc.Volume.create(name)
    sh("host:", "touch /a/x /b/y", pc.VolumeMount(made, "/a"), pc.VolumeMount(name, "/b"))
    assert sorted(os.listdir(made.mountpoint)) == ["x", "y"]


def test_two_containers_share_one_and_one_may_only_read(name):
    writer = pc.Container.create("host:", ["sleep", "100"], mounts=[f"{name}:/data"])
    reader = pc.Container.create("host:", ["sleep", "100"], mounts=[f"{name}:/data:ro"])
    with writer, reader:
        writer.start()
        reader.start()
        maps = {each.exec(["cat", "/proc/self/uid_map"]).stdout for each in (writer, reader)}
        if os.geteuid() == 0:
            assert len(maps) == 2  # other ids on the host, the same in the volume
        writer.exec(["sh", "-c", "echo 1 > /data/f; chmod 600 /data/f; mkdir -m 700 /data/d"], check=True)
        assert reader.exec(["stat", "-c", "%u:%g %a", "/data/f", "/data/d"], text=True).stdout == (
            "0:0 600\n0:0 700\n"
        )
        assert reader.exec(["cat", "/data/f"]).stdout == b"1\n"
        for words in (["touch", "/data/g"], ["rm", "/data/f"], ["mount", "-o", "remount,rw", "/data"]):
            assert reader.exec(words).exit_code != 0
        users = volume(name).users()
        assert users == sorted(f"container {each.name}" for each in (writer, reader))


@pytest.mark.needs("root")
def test_owners_are_the_containers_own(name):
    mount = f"{name}:/data"
    sh("host:", "touch /data/f; chown 7:8 /data/f; chown 9 /data", mount)
    status = os.stat(f"{volume(name).mountpoint}/f")
    assert (status.st_uid, status.st_gid) == (7, 8)
    assert sh("host:", "stat -c %u:%g /data/f /data", mount) == "7:8\n9:0\n"
    assert sh("host:", "stat -c %u:%g /data/f", mount, userns="host") == "7:8\n"


@SUBIDS
def test_owners_of_subordinate_ids(name):
    mount = f"{name}:/data"
    sh(
        "host:",
        "touch /data/f; chown 7:8 /data/f; mkdir -m 700 /data/d; touch /data/d/x; chown -R 9 /data/d",
        mount,
    )
    assert sh("host:", "stat -c %u:%g /data/f /data/d", mount) == "7:8\n9:0\n"
    copy = volume(name).clone(f"{name}-copy")
    assert sh("host:", "stat -c %u:%g:%a /data/f /data/d /data/d/x", f"{copy.name}:/data") == (
        "7:8:644\n9:0:700\n9:0:644\n"
    )
    assert copy.inspect().used > 0
    copy.remove()


def test_set_user_id_and_devices_mean_nothing(name):
    options = sh("host:", "grep ' /data ' /proc/self/mountinfo", f"{name}:/data").split()[5].split(",")
    assert {"nosuid", "nodev", "rw"} <= set(options)


def test_a_directory_of_the_host_by_name(name, tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    for made in (
        pc.Volume.create(name, device=place),
        pc.Volume.create(name, options={"type": "none", "o": "bind", "device": str(place)}),
    ):
        assert made.device == made.mountpoint == str(place)
    sh("host:", "echo hi > /data/f", f"{name}:/data")
    assert (place / "f").read_text() == "hi\n"
    assert (place / "f").stat().st_uid == os.geteuid()
    with pytest.raises(pc.StateError, match="directory of the host"):
        volume(name).restore(place / "f")
    volume(name).remove()
    assert (place / "f").exists()
    pc.Volume.create(name, device=place)
    (place / "f").unlink()
    place.rmdir()
    with pytest.raises(pc.InvalidArgument, match="gone"):
        sh("host:", "true", f"{name}:/data")
    place.symlink_to("/etc")
    with pytest.raises(pc.KernelError):
        sh("host:", "true", f"{name}:/data")


# -- filling -------------------------------------------------------------------------------


def content(root: Path) -> None:
    data = root / "srv/data"
    data.mkdir(parents=True, mode=0o750)
    data.chmod(0o2750)
    (data / "file").write_text("of the image\n")
    (data / "file").chmod(0o604)
    (data / "sub").mkdir()
    (data / "sub/deep").write_text("x")
    (data / "sub").chmod(0o500)
    (data / "link").symlink_to("/etc/passwd")
    os.link(data / "file", data / "same")
    os.mkfifo(data / "fifo")
    with open(data / "sparse", "wb") as file:
        file.seek(10 << 20)
        file.write(b"end")
    os.setxattr(data / "file", "user.note", b"1")
    os.utime(data / "file", ns=(10**18, 10**18))
    if os.geteuid() == 0:
        os.chown(data, 7, 8)
        os.chown(data / "file", 9, 9)
        os.chmod(data / "file", 0o604)


def test_an_empty_volume_gets_what_the_image_has(name, make_image):
    image = make_image(content)
    listing = "cd /srv/data; stat -c '%n %F %a %u:%g %s %Y %h' . * sub/deep; readlink link; cat file"
    assert sh(image, listing, f"{name}:/srv/data") == sh(image, listing)
    data = Path(volume(name).mountpoint)
    assert os.getxattr(data / "file", "user.note") == b"1"
    assert (data / "sparse").stat().st_blocks * 512 < 1 << 20
    assert os.listdir(data.parent) == ["data"]


def test_only_an_empty_one_is_filled_and_only_once(name, make_image):
    image = make_image(content)
    sh(image, "rm -rf /srv/data/file", f"{name}:/srv/data")
    assert "file" not in sh(image, "ls /srv/data", f"{name}:/srv/data").split()
    sh("host:", "touch /x/mine", f"{name}-2:/x")
    assert sh(image, "ls /srv/data", f"{name}-2:/srv/data") == "mine\n"


def test_nocopy_and_subpaths_and_absent_directories_fill_nothing(name, make_image):
    image = make_image(content)
    assert sh(image, "ls /srv/data", f"{name}:/srv/data:nocopy") == ""
    assert sh(image, "ls /srv/other; stat -c %a /srv/other", f"{name}:/srv/other") == "755\n"
    os.mkdir(f"{volume(name).mountpoint}/part")
    assert sh(image, "ls /srv/data", pc.VolumeMount(name, "/srv/data", subpath="part")) == ""


def test_an_empty_one_keeps_its_owner_and_mode_where_the_image_has_nothing(name, make_image):
    image = make_image(content)
    sh(image, "chmod 1777 /srv/other", f"{name}:/srv/other")
    assert sh(image, "stat -c %a /srv/other", f"{name}:/srv/other") == "1777\n"


def test_one_that_is_mounted_read_only_is_filled(name, make_image):
    assert "file" in sh(make_image(content), "ls /srv/data", f"{name}:/srv/data:ro").split()


def test_one_that_another_uses_is_not_filled(name, make_image):
    """Its content would change below that one."""
    with pc.Container.create("host:", ["true"], mounts=[f"{name}:/srv/data:nocopy"]):
        assert sh(make_image(content), "ls /srv/data", f"{name}:/srv/data") == ""


def test_links_of_the_image_lead_nowhere_but_into_it(name, make_image, tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/of-the-host").touch()

    def links(root: Path) -> None:
        (root / "srv").mkdir()
        (root / "srv/a").symlink_to(tmp_path / "secret")
        (root / "srv/b").symlink_to("/etc")
        (root / "srv/c").symlink_to("../../../../../../etc")
        (root / "srv/self").symlink_to("self")

    image = make_image(links)
    for target, expected in (("a", []), ("b", ["passwd"]), ("c", ["passwd"])):
        made = pc.Volume.create(f"{name}-{target}")
        with pc.Container.create(image, mounts=[f"{made.name}:/srv/{target}"]):
            assert os.listdir(made.mountpoint) == expected
    with pytest.raises(pc.KernelError, match="Too many levels"):
        sh(image, "true", f"{name}:/srv/self")


def test_layers_are_seen_as_an_overlay_shows_them(name, make_image, tmp_path):
    import attrs

    image = make_image(content)
    upper = tmp_path / "upper/srv/data"
    upper.mkdir(parents=True)
    (upper / "file").write_text("newer\n")
    (upper / "sub").mkdir()
    os.setxattr(upper / "sub", "user.overlay.opaque", b"y")
    os.mknod(upper / "same", stat.S_IFCHR, 0)
    image = attrs.evolve(image, layers=(*image.layers, str(tmp_path / "upper")))
    listing = "cd /srv/data; find . | sort; cat file"
    assert sh(image, listing, f"{name}:/srv/data") == sh(image, listing)


def test_a_failure_leaves_an_empty_volume_that_is_filled_later(name, make_image):
    def too_many(root: Path) -> None:
        (root / "srv/data").mkdir(parents=True)
        for number in range(100):
            (root / f"srv/data/{number}").touch()

    image = make_image(too_many)
    from pycontainer.kernel import native

    real, native.syncfs = native.syncfs, lambda _: (_ for _ in ()).throw(OSError(5, "I/O error"))
    try:
        with pytest.raises(pc.KernelError, match="make the content of a volume"):
            sh(image, "true", f"{name}:/srv/data")
    finally:
        native.syncfs = real
    assert os.listdir(volume(name).mountpoint) == []
    assert volume(name).users() == []
    assert len(sh(image, "ls /srv/data", f"{name}:/srv/data").split()) == 100


def test_many_begin_at_once_and_all_see_all_of_it(name, make_image):
    def files(root: Path) -> None:
        (root / "srv/data").mkdir(parents=True)
        for number in range(300):
            (root / f"srv/data/{number}").write_text("x")

    image = make_image(files)
    seen = []

    def one() -> None:
        seen.append(len(sh(image, "ls /srv/data", f"{name}:/srv/data").split()))

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [300] * 6


# -- parts ---------------------------------------------------------------------------------


def test_a_part_of_a_volume(name):
    place = Path(pc.Volume.create(name).mountpoint)
    (place / "a/b").mkdir(parents=True)
    (place / "a/b/c").write_text("deep\n")
    (place / "a/f").write_text("file\n")
    assert sh("host:", "ls /x", pc.VolumeMount(name, "/x", subpath="a/b")) == "c\n"
    assert sh("host:", "cat /x", pc.VolumeMount(name, "/x", subpath="a/f")) == "file\n"
    assert sh("host:", "ls /x", pc.VolumeMount(name, "/x", subpath="a", read_only=True)) == "b\nf\n"


@pytest.mark.parametrize("subpath", ["none", "file/x", "link", "link/passwd", "inner/sub"])
def test_parts_that_are_not_there_or_behind_links(name, subpath):
    place = Path(pc.Volume.create(name).mountpoint)
    (place / "file").touch()
    (place / "dir/sub").mkdir(parents=True)
    (place / "link").symlink_to("/etc")
    (place / "inner").symlink_to("dir")
    with pytest.raises(pc.InvalidArgument, match="subpath"):
        sh("host:", "true", pc.VolumeMount(name, "/x", subpath=subpath))


@pytest.mark.parametrize("wrong", ["", "/a", "a//b", "../a", "a/..", ".", "a/", 7, "a\0b"])
def test_subpaths_are_checked(wrong):
    with pytest.raises(pc.InvalidArgument, match="subpath"):
        pc.VolumeMount("data", "/x", subpath=wrong)


@pytest.mark.parametrize(
    "wrong", [("a/b", "/x"), ("data", "x"), ("data", "/"), ("data", "/../x"), ("", "/x"), (7, "/x")]
)
def test_volume_mounts_are_checked(wrong):
    with pytest.raises(pc.InvalidArgument):
        pc.VolumeMount(*wrong)
    with pytest.raises(pc.InvalidArgument, match="subpath"):
        pc.VolumeMount(None, "/x", subpath="a")


def test_who_exchanges_links_in_a_volume_reaches_nothing(name, tmp_path):
    """One container swaps a directory for a link to one of the host's, while others mount a part behind it."""
    place = Path(pc.Volume.create(name).mountpoint)
    (place / "a/part/inside").mkdir(parents=True)
    swap = f"cd /data; ln -s {tmp_path} l; while :; do mv -T a b; mv -T l a; sleep 0.01; mv -T a l; mv -T b a; sleep 0.04; done"
    (tmp_path / "part").mkdir()
    (tmp_path / "part/of-the-host").touch()
    with pc.Container.create("host:", ["sh", "-c", swap], mounts=[f"{name}:/data"]) as container:
        container.start()
        seen = []
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and (len(seen) < 40 or len(set(seen)) < 2):
            try:
                seen.append(sh("host:", "ls /x", pc.VolumeMount(name, "/x", subpath="a/part")))
            except (pc.InvalidArgument, pc.KernelError):
                seen.append("refused")
    assert set(seen) == {"inside\n", "refused"}


# -- those without a name ------------------------------------------------------------------


def own_volumes() -> list[Path]:
    return list(Path(os.environ["PYCONTAINER_ROOT"], "run").glob("*/*-volumes"))


def test_one_without_a_name_lives_as_long_as_its_container(make_image):
    image = make_image(content)
    with pc.Container.create(image, ["sleep", "100"], mounts=["/srv/data", "/srv/data/more"]) as container:
        container.start()
        container.exec(["touch", "/srv/data/new", "/srv/data/more/x"], check=True)
        assert "file" in container.exec(["ls", "/srv/data"], text=True).stdout.split()
        assert {"/srv/data/new"} & {change.path for change in container.changes()} == set()
        container.restart(timeout=0)
        assert container.exec(["ls", "/srv/data/more"]).stdout == b"x\n"
        assert len(own_volumes()) == 1
    assert own_volumes() == []
    assert pc.default_engine().volumes.list() == []


def test_what_the_image_declares_is_a_volume_of_each_container(make_image):
    image = make_image(content, volumes=["/srv/data", "srv//other/"])
    with pc.Container.create(image, ["sleep", "100"], read_only=True) as container:
        container.start()
        container.exec(["touch", "/srv/data/new", "/srv/other/new"], check=True)
        assert container.exec(["cat", "/srv/data/file"]).stdout == b"of the image\n"
        (fork,) = container.fork() if container.status == "exited" else (None,)
        assert fork is None
        with pc.Container.create(image, ["ls", "/srv/data"]) as other:
            with open(os.devnull, "wb") as null:
                other.start(stdout=null)
            assert other.wait(30) == 0
            assert len(own_volumes()) == 2
    assert own_volumes() == []


def test_a_mount_takes_the_place_of_a_declared_volume(make_image, name):
    image = make_image(content, volumes=["/srv/data/"])
    with pc.Container.create(image, ["true"], mounts=[f"{name}:/srv/data"]):
        assert own_volumes() == []
        assert "file" in os.listdir(volume(name).mountpoint)
    with pc.Container.create(image, ["true"], tmpfs=["/srv/data"]):
        assert own_volumes() == []


@pytest.mark.parametrize("declared", ["/", "..", "/a/../.."])
def test_an_image_cannot_declare_its_root(make_image, declared):
    with pytest.raises(pc.InvalidArgument, match="root"):
        pc.Container.create(make_image(volumes=[declared]), ["true"])


def test_a_run_makes_no_declared_volumes_unless_it_needs_them(make_image):
    image = make_image(content, volumes=["/srv/data"])
    assert sh(image, "grep -c ' /srv/data ' /proc/self/mountinfo || true; touch /srv/data/x") == "0\n"
    assert sh(image, "cat /srv/data/file; touch /srv/data/x", read_only=True) == "of the image\n"
    assert sh(image, "cat /srv/data/file; touch /srv/data/x", "/srv/data") == "of the image\n"
    assert own_volumes() == []


def test_volumes_can_be_written_to_below_a_read_only_root_with_every_wall(name):
    """Landlock says the same as the mounts."""
    security = pc.Security.strict()
    mounts = [f"{name}:/data", "/own", f"{name}-2:/readable:ro"]
    with pc.Container.create(
        "host:", ["sleep", "100"], mounts=mounts, security=security, user="0", best_effort=True
    ) as container:
        container.start()
        container.exec(["touch", "/data/x", "/own/x"], check=True)
        assert container.exec(["touch", "/readable/x"]).exit_code != 0


def test_anonymous_volumes_of_other_users_are_removed():
    script = "mkdir -m 0 /own/d; chown 7 /own/d 2>/dev/null; chmod 0 /own"
    with pc.Container.create("host:", ["sh", "-c", script], mounts=["/own"]) as container:
        container.start()
        assert container.wait(30) == 0
    assert own_volumes() == []


def test_a_deep_volume_is_copied_archived_and_removed(name, tmp_path):
    """Deeper than any path, and than the interpreter's stack."""
    depth = 2500
    place = os.open(pc.Volume.create(name).mountpoint, os.O_PATH)
    for _ in range(depth):
        os.mkdir("ddd", dir_fd=place)
        place, above = os.open("ddd", os.O_PATH, dir_fd=place), place
        os.close(above)
    os.close(os.open("file", os.O_CREAT, dir_fd=place))
    os.close(place)
    copy = volume(name).clone(f"{name}-copy")
    place = os.open(copy.mountpoint, os.O_RDONLY)
    for _ in range(depth):
        place, above = os.open("ddd", os.O_RDONLY, dir_fd=place), place
        os.close(above)
    assert os.listdir(place) == ["file"]
    os.close(place)
    assert copy.backup(tmp_path / "x.tar").entries == depth + 2


def test_the_text_forms_and_their_refusals(name):
    for text in (
        f"{name}:/data:rshared",
        f"{name}:/data:exec",
        f"{name}:data",
        f"{name}:/",
        "data",
        f"{name}:",
    ):
        with pytest.raises(pc.InvalidArgument, match=r"mounts|target"):
            pc.Container.create("host:", ["true"], mounts=[text])
    with pytest.raises(pc.InvalidArgument, match="two mounts"):
        pc.Container.create("host:", ["true"], mounts=[f"{name}:/data", "/data/"])
    assert sh("host:", "touch /data/x; echo ok", f"{name}:/data:z") == "ok\n"


def test_the_unshared_host_sees_no_mounts(name):
    before = Path("/proc/self/mountinfo").read_text()
    with pc.Container.create("host:", ["sleep", "100"], mounts=[f"{name}:/data"]) as container:
        container.start()
        assert Path("/proc/self/mountinfo").read_text() == before
        assert subprocess.run(["true"], check=True).returncode == 0


# -- other images --------------------------------------------------------------------------


@pytest.fixture
def two_layers(tmp_path: Path) -> pc.Image:
    import attrs

    for layer, files in (("one", ("a", "dir/b")), ("two", ("c", "dir/d"))):
        for file in files:
            path = tmp_path / layer / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(layer)
    (tmp_path / "two/a").write_text("newer")
    (tmp_path / "two/link").symlink_to("dir")
    one = pc.Image.from_rootfs(tmp_path / "one")
    return attrs.evolve(one, layers=(str(tmp_path / "one"), str(tmp_path / "two")))


def test_an_image_is_shown_read_only(two_layers, tmp_path):
    script = "cd /i; find . | sort | xargs; cat a; touch x 2>&1 || true; stat -c %u a"
    found = sh("host:", script, pc.ImageMount(two_layers, "/i")).splitlines()
    assert found[0] == ". ./a ./c ./dir ./dir/b ./dir/d ./link"
    assert found[1].startswith("newer")
    assert "Read-only" in found[1]
    assert found[2] == "0"
    assert sh("host:", "ls /i", pc.ImageMount(f"rootfs:{tmp_path}/one", "/i")) == "a\ndir\n"


def test_a_part_of_an_image(two_layers, tmp_path):
    one = f"rootfs:{tmp_path}/one"
    assert sh("host:", "ls /i", pc.ImageMount(two_layers, "/i", subpath="dir")) == "b\nd\n"
    assert sh("host:", "cat /i", pc.ImageMount(two_layers, "/i", subpath="dir/d")) == "two"
    assert (
        sh("host:", "ls /i", pc.ImageMount(one, "/i", subpath="dir"), pc.ImageMount(two_layers, "/j"))
        == "b\n"
    )
    for wrong in ("none", "a/b"):
        with pytest.raises(pc.InvalidArgument, match="subpath"):
            sh("host:", "true", pc.ImageMount(two_layers, "/i", subpath=wrong))
    with pytest.raises(pc.KernelError, match="link"):
        sh("host:", "true", pc.ImageMount(two_layers, "/i", subpath="link"))


def test_wrong_images_are_refused():
    for wrong in (None, "", 7):
        with pytest.raises(pc.InvalidArgument, match="image"):
            pc.ImageMount(wrong, "/i")
    with pytest.raises(pc.InvalidArgument, match="no layers"):
        sh("host:", "true", pc.ImageMount("host:", "/i"))
    with pytest.raises(pc.ImageNotFound):
        sh("host:", "true", pc.ImageMount("rootfs:/no/such", "/i"))


def test_further_programs_see_it_in_a_container_with_a_read_only_root(two_layers):
    with pc.Container.create(
        "host:", ["sleep", "60"], mounts=[pc.ImageMount(two_layers, "/i")], read_only=True
    ) as container:
        container.start()
        assert container.exec(["cat", "/i/c"]).stdout == b"two"
        container.restart(timeout=0)
        assert container.exec(["cat", "/i/dir/b"]).stdout == b"one"


def test_files_of_a_volume_are_reached_from_outside(name, tmp_path):
    (tmp_path / "file").write_text("put")
    with pc.Container.create("host:", ["sleep", "60"], mounts=[f"{name}:/data", "/own"]) as container:
        container.start()
        for target in ("/data", "/own"):
            container.put(tmp_path / "file", f"{target}/")
            container.write_bytes(f"{target}/written", b"w")
            assert container.read_bytes(f"{target}/file") == b"put"
            owners = container.exec(["stat", "-c", "%u:%g", f"{target}/file", f"{target}/written"], text=True)
            assert owners.stdout == "0:0\n0:0\n"
        container.get("/data/written", tmp_path)
    assert (tmp_path / "written").read_bytes() == b"w"
    run = pc.default_engine().prepare("host:", ["sleep", "60"], mounts=[f"{name}:/data"])
    run.start()
    try:
        with pytest.raises(pc.StateError, match=r"in use by run [0-9a-f]{12}:"):
            volume(name).remove()
    finally:
        run.abort()
        run.close()
