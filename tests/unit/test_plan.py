"""The plan: pure, complete, in the right order. No root, no kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from pycontainer.container.found import Stack, Tree
from pycontainer.container.mounts import Bind, Tmpfs
from pycontainer.container.plan import plan
from pycontainer.container.security import DEVICES, MASKED, READ_ONLY
from pycontainer.container.shape import Shape

GOLDEN = Path(__file__).parent / "plans"

SHAPES = {
    "root": Shape(
        layers=("/layer",),
        binds=("/usr",),
        owner=(1879048192, 1879048192),
        idmapped=True,
        device_names=DEVICES,
        masked=MASKED,
        read_only_paths=READ_ONLY,
        mounts=(
            (Tree(source="/volumes/a/tree/data", target="/data"), True),
            (Stack(layers=("/one", "/two"), target="/image", subpath="part"), True),
        ),
        send_upper=True,
    ),
    "user": Shape(
        layers=("/layer",),
        binds=("/usr",),
        make_devices=False,
        device_names=DEVICES,
        tty_group=False,
        masked=MASKED,
    ),
    "host-ids": Shape(
        layers=("/a", "/b"),
        in_userns=False,
        upper="/folder",
        send_root=True,
        workdir="/srv/x",
        device_names=DEVICES,
        sysctls=(("net/ipv4/ip_forward", "1"),),
    ),
    "rich": Shape(
        layers=("/layer",),
        mounts=(
            (Bind("/src/deep", "/data/deep"), True),
            (Bind("/src", "/data", read_only=True), True),
            (Bind("/src/file", "/etc/file"), False),
            (Tmpfs("/scratch", size="1M"), True),
            (Tree(source="/volumes/b", target="/part", subpath="a/b", read_only=True), False),
            (Stack(layers=("/one", "/two"), target="/image"), True),
        ),
        read_only=True,
        terminal=True,
        upper_size=1 << 20,
        own_network=False,
        mount_sys=False,
        minimal_proc=True,
        device_names=("null",),
        lower_by_layer=False,
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_the_plan_is_the_one_on_record(name):
    """To change one on purpose: write what this prints to the file, and read the difference."""
    recorded = GOLDEN / f"{name}.txt"
    assert plan(SHAPES[name]).describe() + "\n" == recorded.read_text()


def described(shape: Shape) -> list[str]:
    return plan(shape).describe().splitlines()


def test_equal_shapes_share_a_plan():
    assert plan(Shape(layers=("/x",))) is plan(Shape(layers=("/x",)))


def test_only_what_gets_an_id_map_is_opened_outside():
    assert not any(line.startswith("outer") for line in described(SHAPES["user"]))
    assert any(line == "outer: bind /usr" for line in described(SHAPES["root"]))


def test_parents_are_mounted_before_what_lies_in_them():
    lines = described(SHAPES["rich"])
    assert lines.index("inner: mount on /data") < lines.index("inner: mount on /data/deep")


def test_the_old_root_goes_last_and_nothing_follows():
    for shape in SHAPES.values():
        assert described(shape)[-1] == "inner: pivot_root"


def test_masks_come_after_all_mounts():
    lines = described(SHAPES["root"])
    first_mask = min(n for n, line in enumerate(lines) if line.startswith("inner: mask "))
    last_mount = max(n for n, line in enumerate(lines) if line.startswith("inner: mount "))
    assert last_mount < first_mask


def test_slots_are_within_the_table():
    for shape in SHAPES.values():
        made = plan(shape)
        for op in (*made.script.outer, *made.script.inner):
            assert max(op.out, op.fd, op.at) < made.slots
