"""Images made from containers: one layer more, the same everywhere."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import tarfile
from pathlib import Path

import attrs
import pytest

import pycontainer as pc
from pycontainer.image.store import layers
from pycontainer.kernel.idmap import has_range
from tests.support import imagery


def changed(engine: pc.Engine, image: pc.Image | str, script: str, **options) -> pc.Container:
    """A container that has run a script."""
    container = engine.containers.create(image, ["sh", "-ec", script], **options)
    container.start()
    assert container.wait(60) == 0
    return container


SCRIPT = """
echo new > /srv/new; echo changed > /srv/file; rm /etc/passwd; rm -r /home; mkdir /home; echo x > /home/x
ln -s new /srv/link; ln /srv/new /srv/same; mkfifo /srv/fifo; chmod 4755 /srv/new; mkdir -p /var/deep/er
"""
LOOK = "cat /srv/file; ls -1 /etc /home /srv; stat -c '%a %h %u' /srv/new; readlink /srv/link; test -p /srv/fifo; test -d /var/deep/er"


def test_a_layer_more(engine, image):
    container = changed(engine, image, SCRIPT)
    made = container.commit("app:v2", message="with more", author="somebody")
    container.remove()
    assert made.name == "app:v2"
    assert made.layers[:-1] == image.layers
    assert made.config == image.config
    assert [each.comment for each in made.history] == ["", "", "with more"]
    said = engine.run("app:v2", ["sh", "-ec", LOOK], text=True)
    assert said.exit_code == 0, said
    assert said.stdout == (
        "changed\n/etc:\n\n/home:\nx\n\n/srv:\nfifo\nfile\nlink\nnew\nsame\n4755 2 0\nnew\n"
    )
    assert engine.run(image, ["cat", "/srv/file"]).stdout == b"of the image\n"


def test_another_configuration(engine, image):
    with changed(engine, image, "touch /srv/new") as container:
        made = container.commit(config=attrs.evolve(image.config, cmd=["echo", "hi"], env=["A=b"]))
        assert engine.run(made).stdout == b"hi\n"
        assert made.name == made.digest
        assert engine.images.get(made.digest).config.env == ("A=b",)


def test_instructions_change_the_configuration(engine, image):
    with changed(engine, image, "touch /srv/new") as container:
        made = container.commit(
            changes=["ENV A=b C=$A", 'CMD ["sh", "-c", "echo $A-$C; pwd"]', "WORKDIR /srv"]
        )
        assert engine.run(made).stdout == b"b-\n/srv\n"
        more = container.commit(config=made.config, changes='ENV C=$A\nUSER "7"')
        assert engine.run(more).stdout == b"b-b\n/srv\n"
        assert (more.config.user, more.config.cmd) == ("7", made.config.cmd)
        before = len(engine.images.list())
        with pytest.raises(pc.InvalidArgument, match="RUN true"):
            container.commit("wrong:v1", changes=["RUN true"])
        assert len(engine.images.list()) == before


def test_an_import_has_a_configuration_of_instructions(engine, image, tmp_path):
    with changed(engine, image, "true") as container:
        container.export(tmp_path / "tree.tar")
    made = engine.images.import_rootfs(
        tmp_path / "tree.tar", "flat:v1", changes=["CMD echo $A", "ENV A='x y'"]
    )
    assert (len(made.layers), made.config.env) == (1, ("A=x y",))
    assert engine.run("flat:v1").stdout == b"x y\n"
    with pytest.raises(pc.InvalidArgument, match="FROM x"):
        engine.images.import_rootfs(tmp_path / "tree.tar", changes=["FROM x"])


def test_of_a_commit_and_of_a_fork(engine, image):
    with changed(engine, image, "echo 1 > /srv/one") as first:
        second = first.commit("second")
        (fork,) = first.fork()
        with fork, changed(engine, second, "echo 2 > /srv/two; rm /srv/one") as further:
            third = further.commit("third")
            assert engine.run(third, ["ls", "/srv"], text=True).stdout == "file\ntwo\n"
            assert len(third.layers) == 4
            fork.start()
            assert fork.wait(30) == 0
            of_fork = fork.commit()
            assert engine.run(of_fork, ["ls", "/srv"], text=True).stdout == "file\none\n"


def test_the_same_content_has_the_same_digest(engine, image, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    digests = set()
    for _ in range(2):
        with changed(
            engine, image, "mkdir /srv/d; for f in c a b; do echo $f > /srv/d/$f; done; rm /srv/file"
        ) as container:
            made = container.commit()
            digests.add((made.digest, made.id))
            assert made.created == "2023-11-14T22:13:20Z"
    assert len(digests) == 1


@pytest.mark.parametrize("epoch", ["", "x", "-1", "1.5"])
def test_a_wrong_epoch(engine, image, monkeypatch, epoch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    with (
        changed(engine, image, "true") as container,
        pytest.raises(pc.InvalidArgument, match="SOURCE_DATE_EPOCH"),
    ):
        container.commit()


def test_a_file_of_nothing_but_zeros(engine, image, monkeypatch):
    """Its tree takes no room, also when it has to be made from the blob again."""
    with changed(engine, image, "dd if=/dev/null of=/srv/zeros bs=1M seek=300 2>/dev/null") as container:
        made = container.commit("zeros")
    assert os.stat(f"{made.layers[-1]}/srv/zeros").st_blocks == 0
    monkeypatch.setattr(layers, "boot_id", lambda: "the next")
    again = engine.images.get("zeros")
    assert os.stat(f"{again.layers[-1]}/srv/zeros").st_blocks == 0
    assert engine.run(again, ["stat", "-c", "%s", "/srv/zeros"], text=True).stdout == f"{300 << 20}\n"


def test_nothing_was_written(engine, image):
    with engine.containers.create(image, ["true"]) as container:
        made = container.commit("same")
        assert made.layers == image.layers
        assert engine.run(made, ["cat", "/srv/file"]).stdout == b"of the image\n"


@pytest.mark.needs("cgroup")
def test_of_one_that_runs(engine, image):
    with engine.containers.create(image, ["sh", "-c", "echo 1 > /srv/new; sleep 100"]) as container:
        container.start()
        container.exec(["sh", "-c", "until test -s /srv/new; do sleep 0.01; done"], check=True)
        made = container.commit()
        assert container.status == "running"
        container.exec(["true"], check=True)
    assert engine.run(made, ["cat", "/srv/new"]).stdout == b"1\n"


def test_of_a_directory(engine, base, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    subprocess.run(["tar", "x", "-C", root], input=base, check=True)
    with changed(engine, pc.Image.from_rootfs(root), "echo 1 > /srv/new") as container:
        made = container.commit("of/directory")
    assert len(made.layers) == 2
    assert engine.run("of/directory", ["cat", "/srv/new"]).stdout == b"1\n"


def test_of_the_hosts_programs(engine):
    with engine.containers.create("host:", ["true"]) as container:
        for verb in (container.commit, lambda: container.export("/nowhere")):
            with pytest.raises(pc.InvalidArgument, match="host"):
                verb()


def test_others_read_it(engine, image, tmp_path):
    """A layer is what GNU tar understands, and hides what the container removed."""
    with changed(engine, image, SCRIPT) as container:
        made = container.commit()
    layer = made.stored.manifest.layers[-1]
    blob = Path(engine.images.store.path, "blobs/sha256", layer.hex)
    listed = subprocess.run(["tar", "tzf", blob], capture_output=True, text=True, check=True).stdout.split()
    assert {"etc/.wh.passwd", "home/.wh..wh..opq", "srv/fifo", "srv/new"} <= {
        name.rstrip("/") for name in listed
    }


def test_all_files_as_one_archive(engine, image, tmp_path):
    with changed(engine, image, SCRIPT) as container:
        container.export(tmp_path / "all.tar")
        with open(tmp_path / "again.tar", "wb") as file:
            container.export(file)
        os.mkfifo(tmp_path / "fifo")
        with pytest.raises(pc.InvalidArgument, match="fifo"):
            container.export(tmp_path / "fifo")
        with gzip.open(tmp_path / "small.tar.gz", "wb") as file:
            container.export(file)
        with open("/dev/full", "wb") as file, pytest.raises((pc.KernelError, OSError), match="No space left"):
            container.export(file)
    assert sorted(path.name for path in tmp_path.glob("*.tar*")) == ["again.tar", "all.tar", "small.tar.gz"]
    assert gzip.decompress((tmp_path / "small.tar.gz").read_bytes()) == (tmp_path / "all.tar").read_bytes()
    assert (tmp_path / "fifo").is_fifo()
    assert (tmp_path / "all.tar").read_bytes() == (tmp_path / "again.tar").read_bytes()
    assert os.listdir(tmp_path / "engine" / "run") is not None
    with tarfile.open(tmp_path / "all.tar") as archive:
        names = set(archive.getnames())
        assert {"bin/busybox", "srv/new", "home/x", "var/deep/er"} <= names
        assert not {"etc/passwd", "etc/group"} & names
        assert not any(".wh." in name for name in names)
        assert archive.extractfile("srv/file").read() == b"changed\n"
    assert engine.run(f"rootfs:{tmp_path}/all.tar", ["cat", "/srv/file"]).stdout == b"changed\n"


@pytest.mark.skipif(os.geteuid() != 0 and not has_range(), reason="this user has no subordinate ids")
def test_files_of_other_users_stay_theirs(engine, base):
    image = imagery.make_image(engine.images, None, base)
    script = "mkdir /srv/app; echo x > /srv/app/file; chmod 600 /srv/app/file; chmod 700 /srv/app; chown -R 1000:1001 /srv/app"
    with changed(engine, image, script) as container:
        made = container.commit()
        packed = io.BytesIO()
        container.export(packed)
    packed.seek(0)
    with tarfile.open(fileobj=packed) as archive:
        found = [archive.getmember(name) for name in ("srv", "srv/app", "srv/app/file")]
        assert [(each.uid, each.gid) for each in found] == [(0, 0), (1000, 1001), (1000, 1001)]
    look = ["stat", "-c", "%u:%g %a", "/srv/app", "/srv/app/file"]
    assert engine.run(made, look, text=True).stdout == "1000:1001 700\n1000:1001 600\n"
