"""Volumes by name: made once, found by everybody, removed when nobody uses them."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import pycontainer as pc


@pytest.fixture
def volumes():
    return pc.default_engine().volumes


def test_a_volume_is_what_was_asked_for(volumes, name):
    made = volumes.create(name, labels={"b": "2", "a": "1"})
    found = pc.Volume.get(name)
    assert found == made
    assert (found.name, found.driver, found.labels) == (name, "local", {"a": "1", "b": "2"})
    assert found.created.endswith("Z")
    assert (found.size, found.device, found.anonymous) == (None, None, False)
    info = found.inspect()
    assert info.mountpoint == f"{os.path.realpath(volumes._catalog.places.path)}/{name}/tree/data"
    assert info.users == ()
    assert info.used == 0
    Path(info.mountpoint, "file").write_bytes(bytes(100_000))
    assert 100_000 <= found.inspect().used < 200_000


def test_only_the_caller_can_enter(volumes, name):
    made = volumes.create(name)
    place = Path(made.mountpoint)
    assert stat.S_IMODE(place.stat().st_mode) == 0o755
    for above in (place.parents[0], place.parents[1], place.parents[2]):
        assert stat.S_IMODE(above.stat().st_mode) == 0o700


def test_the_umask_means_nothing(volumes, name):
    script = "import os, sys, pycontainer as pc; os.umask(0o077); pc.Volume.create(sys.argv[1])"
    subprocess.run([sys.executable, "-c", script, name], check=True, timeout=60)
    assert stat.S_IMODE(os.stat(volumes.get(name).mountpoint).st_mode) == 0o755


def test_making_one_again_finds_it(volumes, name):
    first = volumes.create(name, labels={"a": "1"})
    Path(first.mountpoint, "file").touch()
    again = volumes.create(name)
    assert again == first
    assert os.listdir(again.mountpoint) == ["file"]
    assert volumes.create(name, labels={"a": "1"}) == first


@pytest.mark.parametrize("other", [{"labels": {"a": "2"}}, {"device": "/srv"}])
def test_one_that_is_something_else_is_refused(volumes, name, other):
    volumes.create(name, labels={"a": "1"})
    with pytest.raises(pc.InvalidArgument, match=name):
        volumes.create(name, **other)


@pytest.mark.parametrize(
    "wrong", ["", "a", ".hidden", "..", "a/b", "/a", "-a", "a" * 201, "a b", "a\0b", "ä" * 3, b"ab", 7]
)
def test_names_are_dockers(volumes, wrong):
    for call in (volumes.create, volumes.get, volumes.remove, volumes.users):
        with pytest.raises(pc.InvalidArgument):
            call(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"driver": "nfs"},
        {"size": "much"},
        {"size": 0},
        {"labels": ["a"]},
        {"labels": {"a": 1}},
        {"device": "/no/such"},
        {"device": "/etc/passwd"},
        {"device": "/srv", "size": "1M"},
        {"options": {"type": "nfs", "device": ":/x"}},
        {"options": {"type": "none", "o": "bind,exec", "device": "/srv"}},
        {"options": {"o": "bind"}},
        {"options": {"uid": "7", "device": "/srv"}},
    ],
)
def test_what_is_not_known_is_refused(volumes, name, wrong):
    with pytest.raises(pc.InvalidArgument):
        volumes.create(name, **wrong)
    assert volumes.list({"name": name}) == []


def test_an_unknown_argument_is_a_type_error(volumes, name):
    with pytest.raises(TypeError):
        volumes.create(name, nonsense=1)


def test_absent_ones(volumes):
    for call in (volumes.get, volumes.remove, volumes.users):
        with pytest.raises(pc.VolumeNotFound, match="no-such"):
            call("no-such")
    with pytest.raises(LookupError):
        pc.Volume.get("no-such")


def test_a_removed_one_is_gone_for_all_who_know_it(volumes, name, tmp_path):
    made = volumes.create(name)
    Path(made.mountpoint, "file").touch()
    made.remove()
    assert not os.path.exists(made.mountpoint)
    for call in (
        made.remove,
        made.users,
        made.inspect,
        lambda: made.clone(f"{name}-2"),
        lambda: made.backup(tmp_path / "x.tar"),
    ):
        with pytest.raises(pc.VolumeNotFound):
            call()
    assert os.listdir(tmp_path) == []
    assert volumes.list({"name": name}) == []


def test_lists_by_filters(volumes, name):
    volumes.create(f"{name}-a", labels={"team": "a", "x": ""})
    volumes.create(f"{name}-b", labels={"team": "b"})

    def found(**filters):
        return [volume.name[len(name) :] for volume in volumes.list({"name": name, **filters})]

    assert found() == ["-a", "-b"]
    assert found(label="team") == ["-a", "-b"]
    assert found(label="team=b") == ["-b"]
    assert found(label=["team", "x="]) == ["-a"]
    assert found(driver="local", dangling=True) == ["-a", "-b"]
    assert found(driver="nfs") == found(dangling=False) == []
    for wrong in ({"until": "1h"}, {"label": 7}, {"dangling": "yes"}):
        with pytest.raises(pc.InvalidArgument, match="filters"):
            volumes.list(wrong)


def test_prune_removes_what_has_no_name_and_all_the_rest_if_told(volumes, name):
    named = volumes.create(name)
    anonymous = volumes.create()
    assert len(anonymous.name) == 64
    assert anonymous.anonymous
    assert pc.Volume.get(anonymous.name) == anonymous
    assert volumes.prune() == [anonymous.name]
    assert volumes.prune(all=True, filters={"label": "none"}) == []
    held = volumes.hold(name, who="the test")
    assert volumes.prune(all=True) == []
    held.close()
    assert volumes.prune(all=True) == [named.name]


def test_one_in_use_is_not_removed(volumes, name):
    made = volumes.create(name)
    held = volumes.hold(name, who="the test")
    other = volumes.hold(name, who="another")
    with pytest.raises(pc.StateError, match="another, the test"):
        made.remove()
    other.close()
    assert made.users() == ["the test"]
    held.close()
    held.close()
    made.remove()


def test_a_container_uses_its_volumes_until_it_is_removed(volumes, name):
    with pc.Container.create("host:", ["true"], name=f"web-{name}", mounts=[f"{name}:/data"]) as container:
        for _ in range(2):
            with pytest.raises(pc.StateError, match=f"in use by container web-{name}: cannot remove it"):
                volumes.remove(name)
            container.start()
            container.wait(30)
        assert volumes.list({"dangling": False, "name": name}) == [volumes.get(name)]
    assert volumes.get(name).users() == []
    volumes.remove(name)


def test_a_container_that_cannot_be_made_uses_nothing(volumes, name):
    for mounts in (
        [f"{name}:/data", "/no/such:/x"],
        [f"{name}:/d", pc.VolumeMount(name, "/e", subpath="none")],
    ):
        with pytest.raises(pc.InvalidArgument):
            pc.Container.create("host:", ["true"], mounts=mounts)
    volumes.create(name)
    volumes.remove(name)


def test_a_forked_child_does_not_use_it_after_its_parent(volumes, name):
    script = """
import os, sys, pycontainer as pc
held = pc.default_engine().volumes.hold(sys.argv[1], who="the parent")
if os.fork() == 0:
    print("child", flush=True)
    sys.stdin.read()
    os._exit(0)
sys.stdin.close()
os._exit(0)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "child\n"
        process.wait(30)
        assert volumes.users(name) == []
        process.stdin.close()


def test_many_threads_and_processes_at_once(volumes, name):
    script = """
import sys, pycontainer as pc
volumes = pc.default_engine().volumes
for number in range(60):
    try:
        if number % 3 == 0:
            volumes.create(sys.argv[1])
        elif number % 3 == 1:
            held = volumes.hold(sys.argv[1], who=f"one of {sys.argv[2]}")
            open(f"{held.path}/mine", "a").close()
            held.close()
        else:
            volumes.remove(sys.argv[1])
    except (pc.VolumeNotFound, pc.StateError):
        pass
"""
    failed = []

    def process(number):
        done = subprocess.run(
            [sys.executable, "-c", script, name, str(number)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            failed.append(done.stderr)

    threads = [threading.Thread(target=process, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [entry for entry in os.listdir(volumes._catalog.places.path) if entry.startswith(".")] == []
    for volume in volumes.list({"name": name}):
        assert volume.users() == []


def test_a_record_of_another_version_is_refused(volumes, name):
    made = volumes.create(name)
    record = Path(made.mountpoint).parents[1] / "volume.json"
    text = json.loads(record.read_text())
    record.write_text(json.dumps({**text, "version": 99}))
    with pytest.raises(pc.PyContainerError, match="another version"):
        volumes.get(name)
    record.write_text(json.dumps(text))


@pytest.mark.needs("root", "prjquota")
def test_a_size_binds(tmp_path):
    """In a mount namespace of its own, on a file system with project quotas."""
    script = """
import sys, pycontainer as pc
with pc.Engine(sys.argv[1]) as engine:
    volume = engine.volumes.create("bounded", size="1M")
    fill = "dd if=/dev/zero of=/data/f bs=64k count=64 2>/dev/null; stat -c %s /data/f"
    for _ in range(2):
        result = engine.run("host:", ["sh", "-c", fill], mounts=["bounded:/data"], text=True)
        assert 500_000 < int(result.stdout) <= 1 << 20, result
    try:
        engine.run("host:", ["true"], mounts=["bounded:/data"], userns="host")
        raise AssertionError
    except pc.NotSupported:
        pass
    volume.remove()
"""
    image = tmp_path / "image"
    setup = (
        'truncate -s 64M "$1"; mkfs.ext4 -q -O quota,project -E quotatype=prjquota "$1"; mkdir "$1.d";'
        'modprobe -q quota_v2 || true; mount -o loop,prjquota "$1" "$1.d"; "$2" -c "$3" "$1.d/engine"'
    )
    subprocess.run(
        ["unshare", "--mount", "sh", "-ec", setup, "sh", image, sys.executable, script],
        check=True,
        timeout=120,
    )


def test_a_size_that_cannot_be_had_is_refused(volumes, name):
    try:
        volumes.create(name, size="1M").remove()
    except pc.NotSupported as error:
        assert "quota" in str(error)
        assert volumes.list({"name": name}) == []
