"""Where a process is, as real machines write it in /proc/self/cgroup and /proc/self/mountinfo."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontainer.kernel.cgroup.layout import Layout, parse_layout

FEDORA = (
    "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-kitty-1234.scope\n",
    """\
21 29 0:20 / /proc rw,nosuid,nodev,noexec,relatime shared:12 - proc proc rw
22 29 0:21 / /sys rw,nosuid,nodev,noexec,relatime shared:2 - sysfs sysfs rw,seclabel
26 22 0:22 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,seclabel,nsdelegate,memory_recursiveprot
29 1 0:24 /root / rw,relatime shared:1 - btrfs /dev/vda3 rw,compress=zstd:1,subvolid=257,subvol=/root
""",
    Layout(
        unified="/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice/app-kitty-1234.scope",
        mount="/sys/fs/cgroup",
    ),
)

UBUNTU_18 = (
    """\
12:devices:/user.slice
11:cpuset:/
10:hugetlb:/
9:cpu,cpuacct:/user.slice
8:perf_event:/
7:memory:/user.slice
6:net_cls,net_prio:/
5:pids:/user.slice/user-1000.slice/session-2.scope
4:freezer:/
3:rdma:/
2:blkio:/user.slice
1:name=systemd:/user.slice/user-1000.slice/session-2.scope
0::/user.slice/user-1000.slice/session-2.scope
""",
    """\
24 23 0:22 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:9 - tmpfs tmpfs ro,mode=755
25 24 0:23 / /sys/fs/cgroup/unified rw,nosuid,nodev,noexec,relatime shared:10 - cgroup2 cgroup rw,nsdelegate
26 24 0:24 / /sys/fs/cgroup/systemd rw,nosuid,nodev,noexec,relatime shared:11 - cgroup cgroup rw,xattr,name=systemd
29 24 0:27 / /sys/fs/cgroup/blkio rw,nosuid,nodev,noexec,relatime shared:15 - cgroup cgroup rw,blkio
31 24 0:29 / /sys/fs/cgroup/freezer rw,nosuid,nodev,noexec,relatime shared:17 - cgroup cgroup rw,freezer
33 24 0:31 / /sys/fs/cgroup/pids rw,nosuid,nodev,noexec,relatime shared:19 - cgroup cgroup rw,pids
34 24 0:32 / /sys/fs/cgroup/memory rw,nosuid,nodev,noexec,relatime shared:20 - cgroup cgroup rw,memory
36 24 0:34 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid,nodev,noexec,relatime shared:22 - cgroup cgroup rw,cpu,cpuacct
""",
    Layout(
        unified="/sys/fs/cgroup/unified/user.slice/user-1000.slice/session-2.scope",
        mount="/sys/fs/cgroup/unified",
        v1={
            "io": "/sys/fs/cgroup/blkio/user.slice",
            "freezer": "/sys/fs/cgroup/freezer",
            "pids": "/sys/fs/cgroup/pids/user.slice/user-1000.slice/session-2.scope",
            "memory": "/sys/fs/cgroup/memory/user.slice",
            "cpu": "/sys/fs/cgroup/cpu,cpuacct/user.slice",
            "cpuacct": "/sys/fs/cgroup/cpu,cpuacct/user.slice",
        },
    ),
)

#: The mounts are of the container's own part of each hierarchy.
DOCKER_V1 = (
    "4:memory:/docker/6c4d\n3:cpu,cpuacct:/docker/6c4d\n1:name=systemd:/docker/6c4d\n",
    """\
900 899 0:60 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw,mode=755
901 900 0:32 /docker/6c4d /sys/fs/cgroup/memory ro,nosuid,nodev,noexec,relatime master:20 - cgroup cgroup rw,memory
902 900 0:34 /docker/6c4d /sys/fs/cgroup/cpu,cpuacct ro,nosuid,nodev,noexec,relatime master:22 - cgroup cgroup rw,cpu,cpuacct
""",
    Layout(
        v1={
            "memory": "/sys/fs/cgroup/memory",
            "cpu": "/sys/fs/cgroup/cpu,cpuacct",
            "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
        }
    ),
)

#: A cgroup namespace of its own.
DOCKER_V2 = (
    "0::/\n",
    "1161 1160 0:27 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate\n",
    Layout(unified="/sys/fs/cgroup", mount="/sys/fs/cgroup"),
)

#: The host's mount, seen from a cgroup namespace: nothing tells which directory is ours.
HOSTS_MOUNT = (
    "0::/\n",
    "50 40 0:27 /../../.. /sys/fs/cgroup rw,relatime - cgroup2 cgroup rw\n",
    Layout(),
)

#: Moved out of the namespace's root by somebody above.
MOVED_AWAY = ("0::/../other\n", "50 40 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n", Layout())

REMOVED = ("0::/gone (deleted)\n", "50 40 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n", Layout())

#: Two mounts, of which one can be written to.
TWICE = (
    "0::/a/b\n",
    """\
50 40 0:27 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw
51 40 0:27 /a /mnt/with\\040space rw,nosuid - cgroup2 cgroup rw
""",
    Layout(unified="/mnt/with space/b", mount="/mnt/with space"),
)

#: A part of the tree that we are not in; /ab is not below /a.
ELSEWHERE = ("0::/ab\n", "50 40 0:27 /a /sys/fs/cgroup rw - cgroup2 cgroup rw\n", Layout())

NOTHING = ("", "29 1 0:24 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n", Layout())

#: LXC with version 1, controllers under other names than their directories'; no tree of version 2.
LXC = (
    "3:memory:/lxc/box\n2:freezer:/lxc/box\n",
    """\
61 60 0:33 /lxc/box /sys/fs/cgroup/mem rw - cgroup cgroup rw,memory,clone_children
62 60 0:34 / /sys/fs/cgroup/frz rw - cgroup cgroup rw,freezer
""",
    Layout(v1={"memory": "/sys/fs/cgroup/mem", "freezer": "/sys/fs/cgroup/frz/lxc/box"}),
)

#: Other mounts over the place of one, and over a directory above that of another.
COVERED = (
    "2:memory:/\n1:pids:/\n0::/a\n",
    """\
20 1 0:20 / / rw - ext4 /dev/vda1 rw
21 20 0:21 / /sys/fs/cgroup rw - tmpfs tmpfs rw
22 21 0:22 / /sys/fs/cgroup/unified rw - cgroup2 cgroup rw
23 21 0:23 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
24 21 0:40 / /sys/fs/cgroup rw - tmpfs none rw
25 24 0:24 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
28 24 0:23 /a /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
26 20 0:22 / /mnt/c rw - cgroup2 none rw
27 26 0:41 / /mnt/c rw - tmpfs none rw
""",
    Layout(v1={"pids": "/sys/fs/cgroup/pids"}),
)

MACHINES = {name: value for name, value in globals().items() if name.isupper() and isinstance(value, tuple)}


@pytest.mark.parametrize("name", MACHINES)
def test_machines(name: str) -> None:
    places, mountinfo, expected = MACHINES[name]
    assert parse_layout(places, mountinfo) == expected


def test_pure() -> None:
    assert parse_layout(*FEDORA[:2]).is_pure
    assert not parse_layout(*UBUNTU_18[:2]).is_pure
    assert not parse_layout(*NOTHING[:2]).is_pure


@given(st.text(alphabet="/ab.\\0 \n:,-", max_size=60))
def test_mountinfo_of_other_kinds_is_passed_over(text: str) -> None:
    """Names of mounts are other users' to choose."""
    line = f"29 1 0:24 / /mnt/{text.replace(' ', '').replace(chr(10), '')} rw - fuse.{'cgroup'} x rw\n"
    assert parse_layout("0::/\n", line) == Layout()
