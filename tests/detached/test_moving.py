"""A container in one archive, out of one engine into another: what comes along, what does not, and what is refused."""

from __future__ import annotations

import io
import json
import os
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import pytest

import pycontainer as pc
from pycontainer.container.detached.options import parse_keeping
from pycontainer.container.detached.portable import arguments_from, arguments_of
from pycontainer.container.spec import spec_of
from pycontainer.image.config import ImageConfig
from pycontainer.image.digest import digest_of
from pycontainer.image.jsontext import write_object
from tests.detached.conftest import folder
from tests.support.imagery import base, make_image, tar


@pytest.fixture
def engine() -> Iterator[Callable[..., Any]]:
    """Another engine root on the same disk; what is made there is removed."""
    made: list[pc.Engine] = []

    def make() -> pc.Engine:
        root = f"{os.path.dirname(os.environ['PYCONTAINER_ROOT'])}/other-{os.urandom(4).hex()}"
        made.append(pc.Engine(root=root))
        return made[-1]

    yield make
    for each in made:
        for container in each.containers.list(all=True):
            container.remove(force=True)
        each.close()
        _remove(each.root)


def _remove(root: str) -> None:
    from pycontainer.kernel.fd import Fd
    from pycontainer.kernel.reach import Reach

    if os.path.isdir(root):
        with Fd(os.open(os.path.dirname(root), os.O_RDONLY | os.O_DIRECTORY)) as above:
            reach = Reach()
            reach.remove(above.fileno(), os.path.basename(root))
            reach.close()


@pytest.fixture
def image() -> Iterator[Any]:
    """An image of two layers in the default engine, with a volume that it declares."""
    images = pc.default_engine().images
    second = tar(
        ("data", 0o755), ("data/given", "from the image"), ("srv/gone", "below"), ("srv/kept", "kept")
    )
    made = make_image(
        images,
        f"moved-{os.urandom(4).hex()}:v1",
        base(),
        second,
        config=ImageConfig(cmd=("/bin/sh",), volumes=("/data",)),
    )
    yield made
    images.remove(made.name, force=True)


WRITING = """
set -e
echo one > /srv/new; ln /srv/new /srv/twin; chmod 4750 /srv/new
mkdir -p /srv/dir; chmod 1770 /srv/dir; rm /srv/gone; rm -r /etc; mkdir /etc; echo root:x:0:0::/:/bin/sh > /etc/passwd
ln -s ../kept /srv/dir/link; mkfifo /srv/pipe
dd if=/dev/zero of=/srv/holes bs=1 count=1 seek=67108863 2>/dev/null
echo mine > /data/own; rm /data/given
if [ "$OTHERS" ]; then echo his > /srv/his; chown 1000:1001 /srv/his; chown 1000 /data/own; fi
"""
LOOKING = """
cd /srv; ls -lnR . | sed 's/ [A-Z][a-z][a-z] .* / /'; cat new; stat -c %h new twin; stat -c '%s' holes
ls -a /etc; cat /data/own; ls -ln /data | sed 's/ [A-Z][a-z][a-z] .* / /'
"""


def _has_others() -> bool:
    from pycontainer.kernel.idmap import has_range, rules_host

    return rules_host() or has_range()


def _written(box: Any, image: Any, **options: Any) -> Any:
    env = {"OTHERS": "1" if _has_others() else ""}
    container = box(("sh", "-c", WRITING), image=image, env=env, **options)
    assert container.wait(60) == 0, list(container.logs())
    return container


def _look(container: Any) -> str:
    """What a program sees in a container of the same kind."""
    container.start()
    try:
        result = container.exec(["sh", "-c", LOOKING], text=True)
        return str(result.stdout)
    finally:
        container.stop(0)


def test_all_of_it_comes_along(image, box, engine, tmp_path):
    options = {
        "name": f"moving-{os.urandom(4).hex()}",
        "labels": {"team": "a"},
        "restart": "on-failure:3",
        "healthcheck": pc.HealthCheck("true", interval=7),
        "stop_signal": "INT",
        "ulimits": {"nofile": (64, 128)},
        "umask": 0o027,
        "mounts": [pc.Tmpfs("/scratch", size="1M")],
        "log_size": "1M",
        "best_effort": True,
        "pids": 77,
    }
    container = _written(box, image, **options)
    archive = tmp_path / "moved.tar"
    container.save(archive)
    other = engine()
    loaded = other.containers.load(archive)
    assert (loaded.name, loaded.status) == (container.name, "created")
    assert loaded.id != container.id
    mine, his = attrs.evolve(container.spec, image=image), attrs.evolve(loaded.spec, image=image)
    assert his == mine
    assert loaded.keeping == container.keeping
    assert loaded.labels == container.labels
    assert loaded.spec.image.digest == image.digest
    assert other.images.get(image.name).digest == image.digest
    assert loaded.changes() == container.changes()
    held = f"{other.root}/containers/{loaded.id}/files/upper/srv/holes"
    assert os.stat(held).st_size == 64 << 20
    assert os.stat(held).st_blocks * 512 < 1 << 20
    program = ["sleep", "1000"]
    seen = []
    for each in (container, loaded):
        copy = f"{archive}.{each.id[:6]}"
        each.save(copy)
        again = engine().containers.load(copy, name="looked-at")
        again.spec = attrs.evolve(again.spec, argv=tuple(program))
        seen.append(_look(again))
    assert seen[0] == seen[1]
    assert "mine" in seen[0]
    assert "4750" not in seen[0]
    assert "-rwsr-x---" in seen[0]
    assert "gone" not in seen[0]
    assert "kept" in seen[0]
    assert "given" not in seen[0]
    if _has_others():
        assert " 1000 1001 " in " ".join(seen[0].split())
    loaded.start()
    loaded.wait(60)
    assert ("deleted", "/srv/gone") in {(each.kind, each.path) for each in loaded.changes()}


def test_attributes_and_capabilities_of_files(image, box, engine, tmp_path):
    container = box(("true",), image=image)
    container.wait(30)
    upper = f"{folder(container)}/files/upper"
    Path(f"{upper}/noted").write_text("x")
    os.setxattr(f"{upper}/noted", "user.note", b"kept")
    container.save(tmp_path / "x.tar")
    other = engine()
    loaded = other.containers.load(tmp_path / "x.tar")
    assert os.getxattr(f"{other.root}/containers/{loaded.id}/files/upper/noted", "user.note") == b"kept"


def test_one_of_the_hosts_programs_that_never_ran(box, engine, tmp_path):
    container = box(start=False, name="never-ran")
    container.save(tmp_path / "x.tar")
    other = engine()
    loaded = other.containers.load(tmp_path / "x.tar", name="elsewhere")
    assert (loaded.name, loaded.spec.image.name, loaded.changes()) == ("elsewhere", "host:", [])
    loaded.start()
    assert loaded.exec(["echo", "well"], text=True).stdout == "well\n"
    loaded.remove(force=True)
    assert other.containers.list(all=True) == []


def test_what_other_programs_find_in_it_is_the_image(image, box, engine, tmp_path):
    container = _written(box, image)
    container.save(tmp_path / "x.tar")
    other = engine()
    [found] = other.images.load(tmp_path / "x.tar")
    assert (found.digest, found.name) == (image.digest, image.name)
    image.save(tmp_path / "image.tar")
    with pytest.raises(pc.ImageNotFound, match="no container in it"):
        other.containers.load(tmp_path / "image.tar")


def test_a_stream_goes_as_well(box, engine, other, tmp_path):
    container = box(start=False)
    stream = io.BytesIO()
    container.save(stream)
    stream.seek(0)
    assert engine().containers.load(stream, name="streamed").name == "streamed"
    container.save(tmp_path / "x.tar")
    assert (
        other(
            "c = engine.containers.load(sys.argv[1], name='by-other'); say(c.name); c.remove()",
            str(tmp_path / "x.tar"),
        )
        == "by-other"
    )


def test_it_must_not_run_and_a_name_is_its_own(box, engine, tmp_path):
    container = box(name="one-name")
    with pytest.raises(pc.StateError, match="save"):
        container.save(tmp_path / "x.tar")
    assert os.listdir(tmp_path) == []
    container.stop(0)
    container.save(tmp_path / "x.tar")
    containers = pc.default_engine().containers
    with pytest.raises(pc.InvalidArgument, match="a container has this name"):
        containers.load(tmp_path / "x.tar")
    assert [each.id for each in containers.list(all=True)] == [container.id]
    with pytest.raises(pc.InvalidArgument, match="two at least"):
        containers.load(tmp_path / "x.tar", name="/")


def test_the_image_of_a_name_that_is_taken_stays_without_one(image, box, engine, tmp_path):
    container = box(start=False, image=image)
    container.save(tmp_path / "x.tar")
    other = engine()
    theirs = make_image(other.images, image.name, base())
    loaded = other.containers.load(tmp_path / "x.tar")
    assert other.images.get(image.name).digest == theirs.digest
    assert loaded.spec.image.digest == image.digest


def test_an_image_that_is_mounted_comes_along(image, box, engine, tmp_path):
    shown = make_image(pc.default_engine().images, "shown:v1", tar(("file", "shown")))
    container = box(
        ("cat", "/shown/file"), image=image, mounts=[pc.ImageMount("shown:v1", "/shown")], start=False
    )
    container.save(tmp_path / "x.tar")
    other = engine()
    loaded = other.containers.load(tmp_path / "x.tar")
    loaded.start()
    assert loaded.wait(30) == 0
    assert list(loaded.logs()) == [b"shown"]
    container.remove()
    shown.remove(force=True)


def test_what_stays_behind_must_be_there(box, engine, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    volume = f"volume-{os.urandom(4).hex()}"
    container = box(start=False, mounts=[f"{source}:/bound", f"{volume}:/named"])
    container.save(tmp_path / "x.tar")
    other = engine()
    with pytest.raises(
        pc.InvalidArgument, match=f"the host's {source}, the volume {volume}: say trusted=True"
    ):
        other.containers.load(tmp_path / "x.tar")
    with pytest.raises(pc.InvalidArgument, match="a volume with a name does not move along"):
        other.containers.load(tmp_path / "x.tar", trusted=True)
    other.volumes.create(volume)
    source.rmdir()
    with pytest.raises(pc.InvalidArgument, match="the source does not exist"):
        other.containers.load(tmp_path / "x.tar", trusted=True)
    source.mkdir()
    assert other.containers.list(all=True) == []
    other.containers.load(tmp_path / "x.tar", trusted=True).remove()
    container.remove()
    pc.Volume.get(volume).remove()


def test_an_image_of_a_directory_is_refused(box, tmp_path):
    place = tmp_path / "rootfs"
    place.mkdir()
    container = box(("x",), image=f"rootfs:{place}", start=False)
    with pytest.raises(pc.NotSupported, match="pycontainer import"):
        container.save(tmp_path / "x.tar")
    assert not (tmp_path / "x.tar").exists()


# -- the arguments -----------------------------------------------------------------------------


KINDS: list[dict[str, Any]] = [
    {},
    {"security": pc.Security.strict(), "tmpfs": ["/x:size=1m,mode=755"], "read_only": False},
    {"privileged": True, "userns": "host", "user": "1000:100", "group_add": [5, "video"]},
    {"cap_add": ["NET_ADMIN"], "cap_drop": ["CHOWN"], "sysctls": {"net.ipv4.ip_forward": 1}},
    {"security": pc.Security.default().evolve(seccomp=None, masked=(), memory="64M", tmp="2M")},
    {"memory": "64M", "memory_swap": "96M", "cpus": 0.5, "pids": 9, "cpuset_cpus": "0", "hugetlb": {"2M": "4M"}},
    {"memory": "64M", "memory_swap": -1, "best_effort": True, "io_weight": 10, "memory_low": "1M"},
    {"network": "host", "mounts": ["/tmp:/there:ro"], "hostname": "there", "workdir": "/srv"},
    {"network": {"lab": {"aliases": ["db"], "ip": "10.9.0.5"}, "bridge": None}, "ports": {80: 8080, "53/udp": [("::", 53), None]},
     "dns": ["10.0.0.1"], "extra_hosts": {"a": "10.1.1.1"}, "bandwidth": pc.Bandwidth(download="1M")},
    {"network": pc.Network.egress(allow=["*.example.org:443", "10.0.0.0/8", "[2001:db8::1]:80", "2001:db8::/64"])},
    {"entrypoint": ["a", "b"], "env": {"X": "1"}, "init": True, "tty": True, "stop_signal": "KILL", "shm_size": "1M"},
    {"devices": ["/dev/null:/dev/other:rw"], "ulimits": {"core": 5, "nofile": 64}, "umask": 0, "labels": {"a": "b"}},
    {"mounts": [pc.VolumeMount(None, "/v", nocopy=True), pc.VolumeMount("named", "/n", subpath="a/b", read_only=True)]},
]  # fmt: skip


@pytest.mark.parametrize("given", KINDS, ids=lambda each: ",".join(each) or "plain")
def test_arguments_make_the_same_again(given):
    image = pc.Image.from_host()
    spec = spec_of(image, ["sh"], given)
    keeping = parse_keeping(
        {"restart": "always", "healthcheck": pc.HealthCheck(["x"], interval=3)}, image.config
    )
    written = json.loads(json.dumps(arguments_of(spec, keeping)))
    found = arguments_from(written, lambda _: image)
    kept = {
        name: found.pop(name)
        for name in ("restart", "healthcheck", "auto_remove", "stdin_open", "log_size", "log_files")
    }
    again = spec_of(image, None, found)
    for each in attrs.fields(type(spec)):
        assert getattr(again, each.name) == getattr(spec, each.name), each.name
    assert parse_keeping(kept, image.config) == keeping


# -- hostile archives --------------------------------------------------------------------------


def _forge(source: Path, target: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Path:
    """The same archive with another configuration (first) and manifest (second), and digests that fit."""
    with tarfile.open(source) as archive:
        files = {each.name: archive.extractfile(each).read() for each in archive if each.isfile()}
    index = json.loads(files["index.json"])
    [entry] = [each for each in index["manifests"] if "artifactType" in each]
    manifest = json.loads(files.pop(f"blobs/sha256/{entry['digest'][7:]}"))
    document = json.loads(files.pop(f"blobs/sha256/{manifest['config']['digest'][7:]}"))
    manifest["files"] = files
    change(document, manifest)
    del manifest["files"]
    raw = document if isinstance(document, bytes) else write_object(document)
    manifest["config"] |= {"digest": digest_of(raw), "size": len(raw)}
    files[f"blobs/sha256/{digest_of(raw)[7:]}"] = raw
    raw = write_object(manifest)
    entry |= {"digest": digest_of(raw), "size": len(raw)}
    files[f"blobs/sha256/{digest_of(raw)[7:]}"] = raw
    files["index.json"] = write_object(index)
    with tarfile.open(target, "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return target


def _set(*path: Any) -> Callable[[Any, Any], None]:
    """Set something in the configuration."""
    *way, name, value = path

    def change(document: Any, _: Any) -> None:
        for each in way:
            document = document[each]
        document[name] = value

    return change


def _layer(content: bytes) -> Callable[[Any, Any], None]:
    """A writable layer of this content."""

    def change(document: Any, manifest: Any) -> None:
        digest = digest_of(content)
        manifest["files"][f"blobs/sha256/{digest[7:]}"] = content
        manifest["layers"] = [
            {
                "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "digest": digest,
                "size": len(content),
            }
        ]
        document["diff_id"] = digest

    return change


def _escape() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = tarfile.SYMTYPE, "/tmp"
        archive.addfile(info)
        for name in ("../out", "link/out"):
            info = tarfile.TarInfo(name)
            info.size = 3
            archive.addfile(info, io.BytesIO(b"out"))
    return file.getvalue()


def _steering() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("dir")
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        info.pax_headers = {"SCHILY.xattr.user.overlay.redirect": "/etc"}
        archive.addfile(info)
    return file.getvalue()


ERRORS = (pc.ImageError, pc.InvalidArgument)
HOSTILE: dict[str, Callable[[Any, Any], None]] = {
    "no argument of ours": _set("arguments", "preexec", "x"),
    "descriptors": _set("arguments", "extra_fds", [0]),
    "an entrypoint that is none": _set("arguments", "entrypoint", [5]),
    "an environment that is none": _set("arguments", "env", [5]),
    "a word for a flag": _set("arguments", "tty", "no"),
    "a number for a flag": _set("arguments", "read_only", 1),
    "a mount of nothing": _set("arguments", "mounts", [{"$": "Bind", "source": "/nowhere-at-all", "target": "/x"}]),
    "a mount out of the root": _set("arguments", "mounts", [{"$": "Tmpfs", "target": "/../x"}]),
    "a mount of another class": _set("arguments", "mounts", [{"$": "Security", "capabilities": []}]),
    "a mount of no class": _set("arguments", "mounts", [{"$": "os"}]),
    "a mount with more": _set("arguments", "mounts", [{"$": "Tmpfs", "target": "/x", "more": 1}]),
    "mounts that are none": _set("arguments", "mounts", 5),
    "a path for a filter": _set("arguments", "security", {"of": "default", "changed": {"seccomp": "/etc/passwd"}}),
    "security of no kind": _set("arguments", "security", {"of": "none", "changed": {}}),
    "a flag of security": _set("arguments", "security", {"of": "default", "changed": {"landlock": 1}}),
    "a capability": _set("arguments", "security", {"of": "default", "changed": {"capabilities": {"$": "set", "of": ["CAP_ALL"]}}}),
    "a list for a set": _set("arguments", "security", {"of": "default", "changed": {"masked": [5]}}),
    "an id map": _set("arguments", "security", {"of": "default", "changed": {"userns": {"$": "IdMap", "uids": [["a"]], "gids": []}}}),
    "a restart": _set("arguments", "restart", "sometimes"),
    "a health check": _set("arguments", "healthcheck", {"$": "HealthCheck", "test": ["x"], "interval": -1}),
    "ports": _set("arguments", "ports", {"80": 5}),
    "labels": _set("arguments", "labels", {"a": 5}),
    "a name": _set("name", "../x"),
    "a version": _set("version", 2),
    "an image that is not there": _set("image", {"name": "x", "digest": "sha256:" + "0" * 64}),
    "a digest": _set("image", {"name": "x", "digest": "sha256:../../x"}),
    "an image without a digest": _set("image", {"name": "rootfs:/", "digest": ""}),
    "a diff_id of nothing": _set("diff_id", "sha256:" + "0" * 64),
    "a part of another type": lambda _, manifest: manifest["layers"].append(
        {"mediaType": "x/y", "digest": "sha256:" + "0" * 64, "size": 5}
    ),
    "a layer that steers the overlay": _layer(_steering()),
    "a truncated layer": _layer(tar(("a", "x" * 5000))[:3000]),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_what_no_honest_archive_has_is_refused(what, box, engine, tmp_path):
    container = box(start=False)
    container.save(tmp_path / "good.tar")
    forged = _forge(tmp_path / "good.tar", tmp_path / "bad.tar", HOSTILE[what])
    other = engine()
    with pytest.raises(ERRORS):
        other.containers.load(forged, trusted=True)
    assert other.containers.list(all=True) == []
    assert _folders(other) == []


def _folders(engine: Any) -> list[str]:
    place = f"{engine.root}/containers"
    return (
        [name for name in os.listdir(place) if os.path.isdir(f"{place}/{name}")]
        if os.path.isdir(place)
        else []
    )


def test_a_layer_cannot_leave_its_directory(box, engine, tmp_path):
    container = box(start=False)
    container.save(tmp_path / "good.tar")
    forged = _forge(tmp_path / "good.tar", tmp_path / "bad.tar", _layer(_escape()))
    other = engine()
    with suppress(pc.ImageError):
        loaded = other.containers.load(forged)
        upper = f"{other.root}/containers/{loaded.id}/files/upper"
        assert sorted(os.listdir(upper)) in (["link", "out"], ["link"])
    assert not os.path.exists(f"{other.root}/containers/out")
    assert not os.path.exists("/tmp/out")


@pytest.mark.parametrize(
    "options",
    [
        {"network": "host"},
        {"userns": "host"},
        {"cap_add": ["SYS_ADMIN"]},
        {"privileged": True},
        {"devices": ["/dev/null:/dev/other"]},
        {"mounts": ["/tmp:/there"]},
        {"security": pc.Security.default().evolve(masked=())},
        {"security": pc.Security.default().evolve(no_new_privs=False)},
        {"security": pc.Security.default().evolve(keyring=False)},
        {"security": pc.Security.default().evolve(seccomp=None)},
    ],
    ids=str,
)
def test_more_than_a_plain_one_has_is_for_those_who_trust_it(options, box, engine, tmp_path):
    container = box(start=False, **options)
    container.save(tmp_path / "x.tar")
    other = engine()
    with pytest.raises(pc.InvalidArgument, match="say trusted=True"):
        other.containers.load(tmp_path / "x.tar")
    loaded = other.containers.load(tmp_path / "x.tar", trusted=True)
    assert loaded.spec == container.spec


def test_damage_is_seen(image, box, engine, tmp_path):
    container = _written(box, image)
    container.save(tmp_path / "good.tar")
    content = bytearray((tmp_path / "good.tar").read_bytes())
    step = max(len(content) // 60, 512)
    for place in range(700, len(content), step):
        bad = bytearray(content)
        bad[place] ^= 0xFF
        (tmp_path / "bad.tar").write_bytes(bad)
        other = engine()
        try:
            loaded = other.containers.load(tmp_path / "bad.tar")
        except pc.PyContainerError:
            assert _folders(other) == []
            continue
        # It was in what nobody reads: padding, or a field of a header without meaning here.
        assert loaded.spec.image.digest == image.digest
    for length in range(0, len(content) - 16384, step * 4):
        (tmp_path / "bad.tar").write_bytes(content[:length])
        other = engine()
        with pytest.raises(pc.PyContainerError):
            other.containers.load(tmp_path / "bad.tar")
        assert _folders(other) == []


def test_who_is_killed_leaves_nothing(image, box, process, engine, tmp_path):
    container = _written(box, image)
    good = tmp_path / "good.tar"
    container.save(good)
    place = tmp_path / "place"
    place.mkdir()
    for moment in range(8):
        saving = process(
            "c = engine.containers.get(sys.argv[1]); engine.workspace; say(0); c.save(sys.argv[2])",
            container.id,
            str(place / "x.tar"),
        )
        assert saving.stdout.readline() == "0\n"
        time.sleep(0.02 * moment)
        saving.kill()
        saving.wait()
        if (place / "x.tar").exists():  # then all of it
            engine().containers.load(place / "x.tar")
            (place / "x.tar").unlink()
        assert container.status == "exited"
    other = engine()
    for moment in range(8):
        loading = process(
            "other = pc.Engine(root=sys.argv[1]); other.workspace; say(0); other.containers.load(sys.argv[2])",
            other.root,
            str(good),
        )
        assert loading.stdout.readline() == "0\n"
        time.sleep(0.03 * moment)
        loading.kill()
        loading.wait()
        for each in other.containers.list(all=True):
            assert each.spec.image.digest == image.digest
            each.remove()
        other.containers.prune()  # sweeps what is half-made
        assert _folders(other) == []
