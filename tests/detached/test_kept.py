"""What a detached container needs stays for as long as it is there: its image, its volumes."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import attrs
import pytest

import pycontainer as pc
from tests.detached.conftest import folder, until


def volume_mount(name: str | None, target: str) -> pc.VolumeMount:
    return pc.VolumeMount(name, target)


def test_a_volume_is_in_use_also_while_it_does_not_run(box):
    name = f"t-{os.urandom(4).hex()}"
    volumes = pc.default_engine().volumes
    try:
        container = box(["sh", "-c", "echo kept > /data/x"], mounts=[volume_mount(name, "/data")])
        assert container.wait(20) == 0
        with pytest.raises(pc.StateError):
            volumes.get(name).remove()
        again = box(["cat", "/data/x"], mounts=[volume_mount(name, "/data")])
        again.wait(20)
        assert list(again.logs()) == [b"kept\n"]
        container.remove()
        again.remove()
    finally:
        volumes.get(name).remove()


def test_a_volume_of_its_own_lasts_as_long_as_it_does(box):
    container = box(["sh", "-c", "cat /data/x; echo more >> /data/x"], mounts=["/data"])
    container.wait(20)
    container.start()
    container.wait(20)
    assert list(container.logs(stderr=False)) == [b"more\n"]
    place = folder(container)
    assert os.path.isdir(f"{place}/volumes")
    container.remove()
    assert not os.path.exists(place)


def test_what_it_was_made_from_comes_back_exactly(box):
    security = pc.Security.default().evolve(cap_add=["NET_ADMIN"], masked=["/proc/kcore"])
    container = box(
        start=False,
        env={"A": "b", "C": "d e\n"},
        security=security,
        mounts=[pc.Bind("/usr", "/mnt", read_only=True), pc.Tmpfs("/scratch", size="1M")],
        ulimits={"nofile": (10, 20)},
        user="65534:65534",
        workdir="/tmp",
        hostname="named",
        stop_signal="INT",
        best_effort=True,
        memory="64M",
        cpus=0.5,
        sysctls={"net.ipv4.ip_forward": 1},
        shm_size="1M",
        umask=0o77,
    )
    found = pc.default_engine().containers.get(container.id)
    assert found is not container
    assert found.spec == container.spec
    assert found.keeping == container.keeping


def test_a_root_file_system_of_ones_own(box, tmp_path):
    root = tmp_path / "rootfs"
    (root / "etc").mkdir(parents=True)
    (root / "usr").mkdir()
    for link in ("bin", "sbin", "lib", "lib64"):
        (root / link).symlink_to(f"usr/{link}")
    (root / "here").write_text("from the image\n")
    image = attrs.evolve(
        pc.Image.from_host(), name="test", layers=(str(root),), config=pc.ImageConfig(cmd=["cat", "/here"])
    )
    container = box(None, image=image)
    container.wait(20)
    assert list(container.logs()) == [b"from the image\n"]
    container.start()
    container.wait(20)
    assert container.changes() == []


def test_what_is_half_made_is_swept(box):
    from pycontainer.state.places import Places

    places = Places(os.environ["PYCONTAINER_ROOT"])
    id_ = os.urandom(32).hex()
    with pytest.raises(ZeroDivisionError), places.new(id_):
        raise ZeroDivisionError
    assert places.exists(id_)
    pc.default_engine().containers.prune()
    until(lambda: not places.exists(id_))


def test_committing(box):
    container = box(["sh", "-c", "echo x > /root/x; sleep 1000"])
    until(lambda: any(each.path == "/root/x" for each in container.changes()))
    with pytest.raises(pc.NotSupported):
        container.snapshot()


def test_who_sweeps_leaves_what_is_made_at_the_same_time(box):
    """A folder whose row was not there yet when the rows were read is not taken for one of nobody."""
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: box(start=False), range(160)))
        assert {each.status for each in made} == {"created"}
        assert len(pc.default_engine().containers.list(all=True)) == 160
        list(threads.map(lambda each: each.remove(), made))
