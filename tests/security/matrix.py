"""What comes of each attempt under each kind of confinement.

A cell is ``reached``, ``absent`` (there is nothing to reach), or the error that refuses; alternatives are separated by
``|``.  The attempts are in tests/support/payload, by these names.

``host`` is without confinement, as root: everything is reached, but for what a host may lack, which is then written
behind it, and accepted in the other columns as well where the host does lack it.
"""

from __future__ import annotations

import attrs

#:                         host                   default       host ids      strict        privileged
TABLE = """
# Files of the kernel, written
write_core_pattern        reached                EACCES        EROFS         absent        EACCES
write_modprobe_path       reached|absent         EACCES        EROFS         absent        EACCES
write_usermodehelper      reached                EACCES        EROFS         absent        EACCES
write_binfmt_misc         reached|absent         absent        absent        absent        absent
write_sysrq_mask          reached|absent         EACCES        EROFS         absent        EACCES
write_sysrq_trigger       reached|absent         EACCES        EROFS         absent        EACCES
write_panic_on_oom        reached                EACCES        EROFS         absent        EACCES
write_irq_affinity        reached                EACCES        EROFS         absent        EACCES
write_uevent_helper       reached|absent         EACCES        EROFS         absent        EACCES
write_any_sysctl          reached                EACCES        EACCES        absent        reached
write_any_sysfs           reached                EACCES        EACCES        absent        EACCES
write_any_bus             reached                EACCES        EACCES        absent        EACCES
write_any_irq             reached                EACCES        EACCES        absent        EACCES
write_any_proc_fs         reached                EACCES        EACCES        absent        EACCES
write_any_cgroup          reached                absent        absent        absent        absent

# Files of the kernel, read
read_kcore                reached|absent         ENODATA       ENODATA       absent        EACCES
read_interrupts           reached                ENODATA       ENODATA       absent        reached
read_softirqs             reached                reached       reached       absent        reached
read_stat                 reached                reached       reached       absent        reached
read_diskstats            reached                reached       reached       absent        reached
read_kernel_cmdline       reached                reached       reached       absent        reached
read_timer_list           reached                ENODATA       ENODATA       absent        EACCES
read_sched_debug          reached|absent         ENODATA       ENODATA       absent        EACCES
read_latency_stats        reached|absent         ENODATA       ENODATA       absent        reached
read_keys                 reached                ENODATA       ENODATA       absent        reached
read_slabinfo             reached                EACCES        reached       absent        EACCES
read_vmallocinfo          reached                EACCES        reached       absent        EACCES
read_pagetypeinfo         reached                EACCES        reached       absent        EACCES
read_kpageflags           reached                EACCES        reached       absent        EACCES
read_kmsg_file            reached                EACCES        EPERM         absent        EACCES
read_kmsg_call            reached                EPERM         EPERM         EPERM         EPERM
read_kallsyms             reached                ENODATA       ENODATA       absent        ENODATA
read_modules              reached|absent         ENODATA       ENODATA       absent        ENODATA
read_iomem                reached                ENODATA       ENODATA       absent        ENODATA
read_acpi                 reached|absent|ENODATA ENODATA       ENODATA       absent        reached
read_asound               reached|absent         ENODATA       ENODATA       absent        reached
read_scsi                 reached|absent         ENODATA       ENODATA       absent        reached
read_firmware             reached                ENODATA       ENODATA       absent        reached
read_powercap             reached|absent         ENODATA       ENODATA       absent        reached
read_thermal_throttle     reached|absent         ENODATA       ENODATA       absent        reached
read_debugfs              reached|absent|ENODATA ENODATA       ENODATA       absent        ENODATA
read_tracefs              reached|absent|ENODATA ENODATA       ENODATA       absent        ENODATA
read_securityfs           reached|absent|ENODATA ENODATA       ENODATA       absent        ENODATA

# Things of the host
inherited_fds             reached                EBADF         EBADF         EBADF         EBADF
host_file                 reached                ENOENT        ENOENT        ENOENT        ENOENT
host_process              reached                ESRCH         ESRCH         ESRCH         ESRCH
host_environment          reached                ESRCH         ESRCH         ESRCH         ESRCH
host_signal               reached                ESRCH         ESRCH         ESRCH         ESRCH
host_pidfd                reached                ESRCH         ESRCH         ESRCH         ESRCH
host_priority             reached                ESRCH         ESRCH         ESRCH         ESRCH
host_abstract_socket      reached                ECONNREFUSED  ECONNREFUSED  ECONNREFUSED  ECONNREFUSED
host_loopback             reached                ECONNREFUSED  ECONNREFUSED  ECONNREFUSED  ECONNREFUSED
route_outside             reached|ENETUNREACH    ENETUNREACH   ENETUNREACH   ENETUNREACH   ENETUNREACH
host_sysv_memory          reached                EINVAL        EINVAL        EINVAL        EINVAL
host_sysv_messages        reached                EINVAL        EINVAL        EINVAL        EINVAL
host_posix_queue          reached                ENOENT        ENOENT        EPERM         ENOENT
host_key                  reached                EPERM         EPERM         EPERM         ENOKEY
host_session_keyring      reached                EPERM         EPERM         EPERM         EKEYREVOKED
host_name                 reached                ENODATA       ENODATA       ENODATA       ENODATA
host_network_links        reached|absent         ENODEV        ENODEV        ENODEV        ENODEV

# Calls for root
io_uring                  reached                ENOSYS        ENOSYS        ENOSYS        reached
userfaultfd               reached                EPERM         EPERM         EPERM         reached
userfaultfd_of_kernel     reached                EPERM         EPERM         EPERM         EPERM
bpf                       reached                EPERM         EPERM         EPERM         EPERM
perf_event                reached                EPERM         EPERM         EPERM         reached|EACCES
perf_event_of_kernel      reached                EPERM         EPERM         EPERM         EACCES
keyctl                    reached                EPERM         EPERM         EPERM         reached
add_key                   reached                EPERM         EPERM         EPERM         reached
request_key               reached                EPERM         EPERM         EPERM         reached
init_module               reached|ENOSYS         EPERM         EPERM         EPERM         EPERM
finit_module              reached|ENOSYS         EPERM         EPERM         EPERM         EPERM
delete_module             reached|ENOSYS         EPERM         EPERM         EPERM         EPERM
kexec_load                reached|ENOSYS         EPERM         EPERM         EPERM         EPERM
kexec_file_load           reached|ENOSYS         EPERM         EPERM         EPERM         EPERM
reboot                    reached                EPERM         EPERM         EPERM         reached
swapon                    reached                EPERM         EPERM         EPERM         EPERM
swapoff                   reached                EPERM         EPERM         EPERM         EPERM
acct                      reached                EPERM         EPERM         EPERM         EPERM
set_clock                 reached                EPERM         EPERM         EPERM         EPERM
ioperm                    reached|ENOSYS         EPERM         EPERM         EPERM         EPERM
iopl                      reached|ENOSYS         EPERM         EPERM         EPERM         EPERM
fanotify                  reached                EPERM         EPERM         EPERM         EPERM
fanotify_unprivileged     reached                EPERM         EPERM         EPERM         reached
name_to_handle            reached                EPERM         EPERM         EPERM         reached
open_by_handle            reached                EPERM         EPERM         EPERM         EPERM
setns                     reached                EPERM         EPERM         EPERM         reached
sethostname               reached                EPERM         EPERM         EPERM         reached
migrate_pages             reached                EPERM         EPERM         EPERM         reached
set_mempolicy             reached                EPERM         EPERM         EPERM         reached
quotactl                  reached                EPERM         EPERM         EPERM         reached
kcmp                      reached                EPERM         EPERM         EPERM         reached

# Calls for everybody
memfd_secret              reached|ENOSYS         ENOSYS        ENOSYS        ENOSYS        reached
vmsplice                  reached                reached       reached       EPERM         reached
io_setup                  reached                reached       reached       ENOSYS        reached
modify_ldt                reached                reached       reached       EPERM         reached
mq_open                   reached                reached       reached       EPERM         reached
adjtimex                  reached                reached       reached       EPERM         reached
no_randomization          reached                EPERM         EPERM         EPERM         reached
read_implies_exec         reached                EPERM         EPERM         EPERM         reached
map_page_zero             reached                EPERM         EPERM         EPERM         EPERM
cachestat                 reached|ENOSYS         reached       reached       ENOSYS        reached

# Other doors to the same calls
entry_32                  reached                SIGSYS        SIGSYS        SIGSYS        reached
executable_32             reached                SIGSYS        SIGSYS        SIGSYS        reached
io_uring_32               reached                SIGSYS        SIGSYS        SIGSYS        reached
unshare_user_32           reached                SIGSYS        SIGSYS        SIGSYS        reached
keyctl_32                 reached                SIGSYS        SIGSYS        SIGSYS        reached
bpf_32                    reached                SIGSYS        SIGSYS        SIGSYS        EPERM
vsock_32                  reached                SIGSYS        SIGSYS        SIGSYS        reached
socketcall_32             reached                SIGSYS        SIGSYS        SIGSYS        reached
mount_32                  reached                SIGSYS        SIGSYS        SIGSYS        reached
x32                       reached|ENOSYS         ENOSYS        ENOSYS        ENOSYS        reached
io_uring_x32              reached|ENOSYS         ENOSYS        ENOSYS        ENOSYS        reached

# Sockets
socket_packet             reached                reached       reached       EPERM         reached
socket_packet_old         reached                reached       reached       EPERM         reached
socket_raw                reached                reached       reached       EPERM         reached
socket_raw6               reached                reached       reached       EPERM         reached
socket_mptcp              reached                reached       reached       EPERM         reached
socket_alg                reached|absent         EPERM         EPERM         EPERM         reached
socket_alg_high_bits      reached|absent         EPERM         EPERM         EPERM         reached
socket_vsock              reached                EPERM         EPERM         EPERM         reached
socket_vsock_high_bits    reached                EPERM         EPERM         EPERM         reached
socket_xdp                reached                reached       reached       EPERM         reached
socket_key                reached|absent         EPERM         EPERM         EPERM         reached
socket_can                reached|absent         reached       reached       EPERM         reached
socket_bluetooth          reached|absent         absent        absent        EPERM         absent
socket_tipc               reached|absent         reached       reached       EPERM         reached
socket_rds                reached|absent         reached       reached       EPERM         reached
socket_smc                reached|absent         reached       reached       EPERM         reached
socket_qipcrtr            reached|absent         absent        absent        EPERM         absent
socket_kcm                reached|absent         reached       reached       EPERM         reached
socket_rxrpc              reached|absent         absent        absent        EPERM         absent
socket_pppox              reached|absent         reached       reached       EPERM         reached
socket_sctp               reached|absent         reached       reached       EPERM         reached
netlink_route             reached                reached       reached       reached       reached
netlink_diag              reached                reached       reached       EPERM         reached
netlink_generic           reached                reached       reached       EPERM         reached
netlink_netfilter         reached                reached       reached       EPERM         reached
netlink_xfrm              reached                reached       reached       EPERM         reached
netlink_audit             reached|absent         reached       reached       EPERM         reached
audit_status              reached|absent         ECONNREFUSED  EPERM         EPERM         ECONNREFUSED
netlink_connector         reached                reached       reached       EPERM         reached
netlink_rdma              reached|absent         reached       reached       EPERM         reached
netlink_crypto            reached|absent         reached       reached       EPERM         reached
netlink_uevent            reached                reached       reached       EPERM         reached
socketpair_netlink        reached                reached       reached       EPERM         reached

# New namespaces
unshare_user              reached                EPERM         EPERM         EPERM         reached
unshare_mount             reached                EPERM         EPERM         EPERM         reached
unshare_pid               reached                EPERM         EPERM         EPERM         reached
unshare_net               reached                EPERM         EPERM         EPERM         reached
unshare_ipc               reached                EPERM         EPERM         EPERM         reached
unshare_uts               reached                EPERM         EPERM         EPERM         reached
unshare_cgroup            reached                EPERM         EPERM         EPERM         reached
unshare_time              reached                EPERM         EPERM         EPERM         reached
clone_user                reached                EPERM         EPERM         EPERM         reached
clone_user_high_bits      reached                EPERM         EPERM         EPERM         reached
clone_cgroup              reached                EPERM         EPERM         EPERM         reached
clone3_user               reached                ENOSYS        ENOSYS        ENOSYS        reached
clone3_mount              reached                ENOSYS        ENOSYS        ENOSYS        reached
nested_root               reached                EPERM         EPERM         EPERM         reached
nested_overlay            reached                EPERM         EPERM         EPERM         reached
nested_fsconfig           reached                EPERM         EPERM         EPERM         reached
nested_nft                reached                EPERM         EPERM         EPERM         reached
nested_cgroup_mount       reached                EPERM         EPERM         EPERM         reached
nested_release_agent      reached|absent         EPERM         EPERM         EPERM         EACCES
own_nft                   reached                EPERM         EPERM         EPERM         reached

# Mounts and roots
mount_tmpfs               reached                EPERM         EPERM         EPERM         reached
mount_bind                reached                EPERM         EPERM         EPERM         reached
mount_proc                reached                EPERM         EPERM         EPERM         reached
unmount_mask              reached                EPERM         EPERM         EPERM         reached
remount_writable          reached                EPERM         EPERM         EPERM         reached
pivot_root                reached                EPERM         EPERM         EPERM         reached
open_tree                 reached                EPERM         EPERM         EPERM         reached
open_tree_attr            reached|ENOSYS         EPERM         EPERM         EPERM         reached
move_mount                reached                EPERM         EPERM         EPERM         reached
fsopen                    reached                EPERM         EPERM         EPERM         reached
fsopen_disk               reached                EPERM         EPERM         EPERM         reached
fspick                    reached                EPERM         EPERM         EPERM         reached
mount_setattr             reached                EPERM         EPERM         EPERM         reached
chroot                    reached                reached       reached       EPERM         reached
leave_chroot              reached                ENOENT        ENOENT        EPERM         ENOENT

# Processes
trace_init                reached                EPERM         EPERM         EPERM         reached
read_memory_of_init       reached                EPERM         EPERM         EPERM         reached
open_memory_of_init       reached                EACCES        EACCES        EPERM|absent  reached
take_descriptor_of_init   reached                EPERM         EPERM         EPERM         reached
write_program_of_init     reached                EACCES        EACCES        EPERM|absent  EACCES|EPERM
root_of_init              reached                EACCES        EACCES        EPERM|absent  reached
descriptors_of_init       reached                absent        absent        EPERM|absent  absent
environment_of_init       reached                EACCES        EACCES        EPERM|absent  ENODATA
memory_map_of_init        reached                EACCES        EACCES        EPERM|absent  reached
trace_child               reached                reached       reached       EPERM         reached
read_memory_of_child      reached                EPERM         EPERM         EPERM         reached
take_descriptor_of_child  reached                EPERM         EPERM         EPERM         reached
spare_from_oom            reached|EACCES         EACCES        EACCES        EACCES        EACCES
real_time                 reached                EPERM         EPERM         EPERM         EPERM
better_priority           reached                EACCES        EACCES        EACCES        EACCES
more_files                reached|EPERM          EPERM         EPERM         EPERM         EPERM
dump_core                 reached                ENODATA       ENODATA       ENODATA       reached

# Rights
raise_capabilities        reached                EPERM         EPERM         EPERM         reached
raise_ambient             reached                EPERM         EPERM         EPERM         reached
set_securebits            reached                reached       reached       EPERM         reached
setuid_program            reached                EPERM         EPERM         EPERM         reached
capable_program           reached                EPERM         EPERM         EPERM         reached
trusted_attribute         reached                EPERM         EPERM         EPERM         EPERM
no_no_new_privs           reached                EINVAL        EINVAL        EINVAL        reached
no_seccomp                reached                EACCES        EACCES        EACCES        reached

# Terminals and streams
tiocsti                   reached                EPERM         EPERM         EPERM         reached
tiocsti_high_bits         reached                EPERM         EPERM         EPERM         reached
tioclinux                 reached                EPERM         EPERM         EPERM         reached
tioclinux_high_bits       reached                EPERM         EPERM         EPERM         reached
line_discipline           reached                reached       reached       EPERM         reached
reopen_streams            reached                EOPNOTSUPP    EOPNOTSUPP    EOPNOTSUPP    EOPNOTSUPP

# Devices
device_mem                reached|absent         absent        absent        absent        absent
device_kmsg               reached                absent        absent        absent        absent
device_port               reached|absent         absent        absent        absent        absent
device_kvm                reached|absent         absent        absent        absent        absent
device_fuse               reached                absent        absent        absent        absent
device_tun                reached                absent        absent        absent        absent
device_loop               reached                absent        absent        absent        absent
device_mapper             reached|absent         absent        absent        absent        absent
device_vsock              reached                absent        absent        absent        absent
device_console            reached                absent        absent        absent        absent
device_userfaultfd        reached                absent        absent        absent        absent
device_hwrng              reached                absent        absent        absent        absent
mknod_mem                 reached|absent         EPERM         EPERM         EPERM         EPERM
mknod_kmsg                reached                EPERM         EPERM         EPERM         EPERM
mknod_null                reached                EPERM         EPERM         EPERM         EPERM
mknod_disk                reached                EPERM         EPERM         EPERM         EPERM
"""


def _cells(text: str) -> frozenset[str]:
    return frozenset(text.split("|"))


@attrs.frozen
class Row:
    """An attempt, and the outcomes that are right for it; ``lacks`` are those of a host without what it is about."""

    name: str
    topic: str
    host: frozenset[str] = attrs.field(converter=_cells)
    default: frozenset[str] = attrs.field(converter=_cells)
    host_ids: frozenset[str] = attrs.field(converter=_cells)
    strict: frozenset[str] = attrs.field(converter=_cells)
    privileged: frozenset[str] = attrs.field(converter=_cells)

    @property
    def lacks(self) -> frozenset[str]:
        """What the attempt says on a host that has no such thing."""
        return self.host - {"reached"}

    def expected(self, mode: str, host: str) -> frozenset[str]:
        """The right outcomes under ``mode``, on a host where the attempt came to ``host`` without confinement."""
        cell: frozenset[str] = getattr(self, mode.replace(" ", "_"))
        return cell | {host} if host in self.lacks else cell


def _rows() -> dict[str, Row]:
    rows: dict[str, Row] = {}
    topic = ""
    for line in TABLE.strip().splitlines():
        if line.startswith("# "):
            topic = line[2:]
        elif line:
            name, *cells = line.split()
            assert name not in rows, name
            rows[name] = Row(name, topic, *cells)
    return rows


#: By name, in the order of the table.
ROWS = _rows()
