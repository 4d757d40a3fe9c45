"""Strict confinement with one of its walls taken away: what the others hold alone."""

from __future__ import annotations

import pytest

import pycontainer as pc
from tests.security import running
from tests.security.matrix import ROWS
from tests.support.probe import canaries

pytestmark = pytest.mark.needs("cgroup")

#: Ways into the kernel that nothing but the filter closes. None of them leads to anything of the host by itself.
FILTER_ALONE = set(
    """
    io_uring userfaultfd userfaultfd_of_kernel perf_event keyctl add_key request_key fanotify_unprivileged name_to_handle
    migrate_pages set_mempolicy quotactl kcmp memfd_secret vmsplice io_setup modify_ldt mq_open adjtimex
    no_randomization read_implies_exec cachestat entry_32 executable_32 io_uring_32 keyctl_32 vsock_32 socketcall_32
    x32 io_uring_x32 socket_mptcp socket_alg socket_alg_high_bits socket_vsock socket_vsock_high_bits socket_can
    socket_tipc socket_rds socket_smc socket_kcm socket_pppox socket_sctp netlink_route netlink_diag netlink_generic
    netlink_netfilter netlink_xfrm netlink_audit netlink_connector netlink_rdma netlink_crypto netlink_uevent
    socketpair_netlink trace_child read_memory_of_child take_descriptor_of_child dump_core no_seccomp tiocsti
    tiocsti_high_bits tioclinux tioclinux_high_bits line_discipline
    """.split()
)
#: What is shown of the whole machine in a complete /proc.
SHOWN = {"read_softirqs", "read_stat", "read_diskstats", "read_kernel_cmdline"}
ALWAYS = {name for name, row in ROWS.items() if "reached" in row.strict}

WITHOUT = {
    "seccomp": ({"seccomp": None}, FILTER_ALONE),
    "landlock": ({"landlock": False}, ALWAYS),
    "minimal_proc": ({"minimal_proc": False}, ALWAYS | SHOWN),
    "user_namespaces": ({"user_namespaces": True}, ALWAYS),
    "read_only_root": ({"read_only_root": False}, ALWAYS),
}


@pytest.mark.parametrize("wall", WITHOUT)
def test_the_others_hold(probe, tmp_path_factory, wall):
    fields, reachable = WITHOUT[wall]
    security = pc.Security.strict().evolve(**fields)
    with canaries(probe, tmp_path_factory.mktemp("canaries")) as canary:
        # Without the filter a rare family would be loaded as a module.
        mode = "privileged" if wall == "seccomp" else "strict"
        verdicts = running.inside(probe, canary, mode, privileged=False, security=security)
    reached = {name: str(verdict) for name, verdict in verdicts.items() if verdict.kind == "reached"}
    assert set(reached) <= reachable, {name: reached[name] for name in set(reached) - reachable}
    # It was taken away.
    assert wall not in {"seccomp", "minimal_proc"} or len(reached) > len(ALWAYS)


def test_the_lists_name_attempts():
    assert set(ROWS) >= FILTER_ALONE
    assert set(ROWS) >= SHOWN
