"""The known holes of container runtimes in setting up, entering, copying and keeping; and what tries each of them here.

``python -m tests.security.rows`` prints the table of docs/security.md, which a test compares.
"""

from __future__ import annotations

import attrs

#: Every hole that must have a row; ids as the public databases have them.
CATALOGUE = """
setting up and entering
    CVE-2016-9962 CVE-2016-8649 CVE-2016-8659 CVE-2017-5226 CVE-2016-10124 CVE-2023-28100 CVE-2019-5736 CVE-2024-21626
    CVE-2019-16884 CVE-2019-19921 CVE-2023-27561 CVE-2023-28642 CVE-2021-30465 CVE-2024-45310 CVE-2026-42306 CVE-2025-31133
    CVE-2025-52565 CVE-2025-52881 CVE-2026-41579 CVE-2026-47766 CVE-2026-30892 CVE-2024-40635 CVE-2022-29162 CVE-2022-24769
    CVE-2022-27649 CVE-2022-27650 CVE-2022-36109 CVE-2022-2989 CVE-2022-2990 CVE-2014-8989 CVE-2021-43784 CVE-2023-25809
    CVE-2022-0492 CVE-2022-0811 CVE-2019-10063 CVE-2020-5291 CVE-2018-6556 CVE-2022-47952 CVE-2025-24965 CVE-2015-3629
    CVE-2015-3630 CVE-2017-1002101 CVE-2022-0847 CVE-2026-31431
copies, volumes, building, interfaces
    CVE-2018-15664 CVE-2019-10152 CVE-2019-18466 CVE-2023-0778 CVE-2025-9566 CVE-2019-14271 CVE-2026-41567 CVE-2020-1726
    CVE-2022-23648 CVE-2021-43816 CVE-2022-1227 CVE-2024-23651 CVE-2024-23652 CVE-2024-23653 CVE-2024-1753 CVE-2024-9407
    CVE-2024-9675 CVE-2024-11218 CVE-2024-9341 CVE-2026-33747 CVE-2026-33748 CVE-2024-24557 CVE-2021-3602 CVE-2020-14370
    CVE-2024-29018 CVE-2025-54388 CVE-2020-8558 CVE-2020-13401 CVE-2020-15257 CVE-2024-41110 CVE-2026-34040 CVE-2025-9074 CVE-2022-23471 CVE-2022-31030
    CVE-2025-64329 CVE-2026-53488 CVE-2026-53492 CVE-2026-50195 CVE-2026-53489 CVE-2021-41103 CVE-2024-25621
    GHSA-6fw5-f8r9-fgfm GHSA-jq35-85cj-fj4p
"""


@attrs.frozen
class Row:
    """Holes of one kind: how they worked, what holds here, and the tests that try it.

    A test is ``folder/file.py::name`` below tests/, or ``matrix: name ..`` for attempts of matrix.py.  Without any,
    ``holds`` says which part of the library there is not that could have the hole.
    """

    holes: tuple[str, ...] = attrs.field(converter=lambda text: tuple(text.split()))
    how: str
    holds: str
    tests: tuple[str, ...] = ()


_ENTERING = "security/test_entering.py::test_"
_HOST = "security/test_host_integrity.py::test_"
_RACES = "security/test_races.py::test_"
_IMAGES = "e2e/test_hostile_images.py::test_"
_FILES = "e2e/test_hostile_files.py::test_"
_JOINERS = "e2e/test_joiners.py::test_"
_CONFINED = "e2e/test_confinement.py::test_"
_NETWORK = "network/test_"

SETTING_UP = (
    Row(
        "CVE-2016-9962 CVE-2016-8649 CVE-2016-8659",
        "root of the container traces the process that enters, and takes the host's files and memory from it",
        "who enters cannot be traced before its confinement is complete, and has nothing of the host any more then",
        (
            f"{_JOINERS}nothing_of_the_host_can_be_taken", f"{_JOINERS}nothing_can_be_taken_from_who_becomes_another_user",
            f"{_ENTERING}every_attack_on_every_program_that_enters", f"{_ENTERING}tracing_every_program_that_enters",
            f"{_ENTERING}the_host_does_not_wait_for_what_a_container_took",
        ),
    ),
    Row(
        "CVE-2017-5226 CVE-2016-10124 CVE-2023-28100",
        "characters are typed into the caller's terminal",
        "a session and a terminal of its own; the calls are refused",
        (
            f"{_ENTERING}nothing_is_typed_into_the_callers_terminal",
            "matrix: tiocsti tiocsti_high_bits tioclinux tioclinux_high_bits",
        ),
    ),
    Row(
        "CVE-2019-5736",
        "the container executes the runtime itself through /proc/self/exe, and overwrites it",
        "a sealed program in memory stands between the host's process and every program",
        (
            f"{_ENTERING}the_hosts_interpreter_is_not_what_a_container_executes",
            f"{_ENTERING}our_init_cannot_be_written_to", f"{_ENTERING}every_attack_on_every_program_that_enters",
            f"{_CONFINED}init_is_out_of_reach", "matrix: write_program_of_init",
        ),
    ),
    Row(
        "CVE-2024-21626",
        "a working directory below /proc/self/fd leads to a directory that the runtime has open",
        "a directory that has no path in the container is refused; nothing is open in the program",
        (
            f"{_IMAGES}working_directories", f"{_RACES}the_working_directory_of_an_exec",
            f"{_ENTERING}nothing_of_the_host_is_open_and_no_directory_of_it_is_the_current_one",
            "matrix: inherited_fds descriptors_of_init",
        ),
    ),
    Row(
        "CVE-2019-16884 CVE-2019-19921 CVE-2023-27561 CVE-2023-28642",
        "an image brings a /proc or /sys that is a link, so that masks and labels land elsewhere",
        "places are opened inside the root, and mounted on by descriptor",
        (f"{_IMAGES}a_directory_that_is_none", f"{_IMAGES}a_mask_is_not_led_elsewhere"),
    ),
    Row(
        "CVE-2021-30465",
        "the target of a mount is exchanged for a link between the look and the mount",
        "the target is one descriptor from the look to the mount",
        (
            f"{_RACES}the_target_of_a_mount_in_an_image", f"{_RACES}the_target_of_a_mount_in_a_writable_layer",
            f"{_RACES}the_target_of_a_mount_in_a_directory_that_others_write_to",
        ),
    ),
    Row(
        "CVE-2024-45310 CVE-2026-42306",
        "directories for a mount or a working directory are made on the host through an exchanged path",
        "each is made in the descriptor of the one above",
        (
            f"{_RACES}a_working_directory_that_is_made", f"{_RACES}the_target_of_a_mount_in_an_image",
            f"{_IMAGES}mount_targets_through_links",
        ),
    ),
    Row(
        "CVE-2025-31133",
        "/dev/null is something else by the time that it is mounted as a mask",
        "it is opened in a /dev of our own before anything can lie on it",
        (
            f"{_ENTERING}a_mask_is_of_the_hosts_null_device_whatever_lies_on_it", f"{_IMAGES}a_device_that_is_none",
            f"{_CONFINED}masked_files_give_nothing",
        ),
    ),
    Row(
        "CVE-2025-52565",
        "/dev/pts/N is a link by the time that it becomes the console",
        "the other side is asked of the master, which is verified to be one",
        (f"{_ENTERING}a_terminal_of_a_container_that_has_replaced_its_own", f"{_IMAGES}a_device_that_is_none"),
    ),
    Row(
        "CVE-2025-52881",
        "what the runtime writes to /proc is led to another of its files",
        "settings are written through a /proc that nobody has seen yet",
        (f"{_ENTERING}what_is_set_for_a_container_is_not_written_to_the_images_proc",),
    ),
    Row(
        "CVE-2026-41579 CVE-2026-47766",
        "an image's /dev is a link, and devices are made outside",
        "/dev is a file system of our own, made before it has a place",
        (f"{_IMAGES}a_directory_that_is_none", f"{_IMAGES}a_device_that_is_none", f"{_CONFINED}dev_is_minimal"),
    ),
    Row(
        "CVE-2026-30892",
        "a user that cannot be parsed is taken for another",
        "names and numbers are read strictly, and refused",
        ("e2e/test_hostile_words.py::test_it_is_refused_in_an_exec", f"{_IMAGES}accounts_that_are_traps"),
    ),
    Row(
        "CVE-2024-40635",
        "a user id beyond the kernel's numbers becomes 0",
        "ids have a range",
        ("e2e/test_hostile_words.py::test_the_bounds_of_ids", "e2e/test_hostile_words.py::test_it_is_refused"),
    ),
    Row(
        "CVE-2022-29162 CVE-2022-24769 CVE-2022-27649 CVE-2022-27650",
        "inheritable capabilities are left to the program",
        "inheritable and ambient sets are empty unless asked for",
        (
            f"{_ENTERING}groups_and_inheritable_capabilities_of_the_caller_are_not_handed_on",
            f"{_CONFINED}root_of_a_container_is_dockers", "matrix: raise_ambient capable_program",
        ),
    ),
    Row(
        "CVE-2022-36109 CVE-2022-2989 CVE-2022-2990",
        "the caller's supplementary groups stay",
        "the groups are those of the image's accounts, or none",
        (f"{_ENTERING}groups_and_inheritable_capabilities_of_the_caller_are_not_handed_on", f"{_CONFINED}others_have_no_capabilities"),
    ),
    Row(
        "CVE-2014-8989",
        "a group by which a file is denied is dropped in a user namespace",
        "setgroups(2) is denied where the map is the caller's own",
        (f"{_ENTERING}a_group_that_is_denied_a_file_cannot_be_dropped",),
    ),
    Row(
        "CVE-2021-43784",
        "a length of 16 bits overflows in the message that tells the child what to do",
        "there is no message: structures in shared memory, with lengths of their own",
        (f"{_ENTERING}words_as_long_as_a_shorter_number_can_count", f"{_ENTERING}words_that_are_too_long_are_refused_by_the_users_name"),
    ),
    Row(
        "CVE-2023-25809",
        "the container's cgroup directory is writable inside",
        "no cgroup file system is mounted inside",
        ("matrix: write_any_cgroup nested_cgroup_mount",),
    ),
    Row(
        "CVE-2022-0492",
        "a cgroup of version 1, mounted in a further user namespace, names the host's release_agent",
        "no further namespaces; the kernel asks for the host's root",
        ("matrix: nested_release_agent nested_cgroup_mount unshare_user clone_user clone3_user",),
    ),
    Row(
        "CVE-2022-0811",
        "a setting's value carries another setting, such as the host's core_pattern",
        "settings have a list of names, and values are one line",
        ("e2e/test_security.py::test_other_sysctls_are_refused", "matrix: write_core_pattern write_any_sysctl"),
    ),
    Row(
        "CVE-2019-10063 CVE-2020-5291",
        "a filter compares more of a number than the kernel does; a helper for root keeps its rights",
        "numbers are compared as the kernel does; there is no helper for root",
        ("matrix: tiocsti_high_bits tioclinux_high_bits clone_user_high_bits", f"{_HOST}our_package_has_no_program_for_root"),
    ),
    Row(
        "CVE-2018-6556 CVE-2022-47952",
        "a helper for root opens paths that its caller names",
        "there is none of ours",
        (f"{_HOST}our_package_has_no_program_for_root",),
    ),
    Row(
        "CVE-2025-24965",
        "a file is written into the root through its links",
        "every file is written by descriptor, inside the root",
        (f"{_RACES}files_that_are_links_the_next_moment", f"{_FILES}writing", f"{_IMAGES}a_directory_that_is_none"),
    ),
    Row(
        "CVE-2015-3629 CVE-2015-3630 CVE-2017-1002101",
        "files for the network, and parts of volumes, are mounted through links of the image or of the volume",
        "targets are opened inside the root; a source has no links any more once it was looked at",
        (
            f"{_ENTERING}files_for_the_network_do_not_follow_the_images_links", f"{_RACES}the_source_of_a_mount",
            f"{_ENTERING}a_source_is_what_it_was_when_the_container_was_described",
            f"{_RACES}a_source_that_may_only_be_read_is_not_written_wherever_it_leads",
        ),
    ),
    Row(
        "CVE-2022-0847 CVE-2026-31431",
        "a hole of the kernel writes to files in memory that may only be read: of layers, and of the host",
        "the kernel must be mended; cryptographic sockets are refused",
        (f"{_ENTERING}a_file_that_may_be_read_is_not_written_through_a_pipe", "matrix: socket_alg socket_alg_high_bits"),
    ),
)  # fmt: skip

COPIES = (
    Row(
        "CVE-2018-15664 CVE-2019-10152 CVE-2019-18466 CVE-2023-0778 CVE-2025-9566",
        "a copy follows the container's links on the host",
        "both sides are walked by descriptors, without a name that is followed",
        (
            f"{_FILES}reading", f"{_FILES}writing", f"{_FILES}copying_in", f"{_FILES}copying_out",
            f"{_RACES}files_that_are_links_the_next_moment", f"{_FILES}what_comes_out_is_written_where_it_was_asked_for",
            f"{_HOST}a_link_does_not_lead_the_hosts_rights_to_files_of_the_kernel",
        ),
    ),
    Row(
        "CVE-2019-14271 CVE-2026-41567 CVE-2022-1227",
        "the host's process, inside the container's root, loads its libraries or runs its programs",
        "nothing of a container is loaded or executed but as a program of it",
        (f"{_HOST}nothing_of_an_image_is_executed_or_loaded_for_the_host", f"{_RACES}accounts"),
    ),
    Row(
        "CVE-2020-1726 CVE-2022-23648 CVE-2021-43816",
        "a volume that an image declares is filled from the host through a link",
        "what an image declares is not done",
        (f"{_HOST}what_an_image_says_of_itself_is_data",),
    ),
    Row(
        "CVE-2024-23651 CVE-2024-23652 CVE-2024-23653 CVE-2024-1753 CVE-2024-9407 CVE-2024-9675 CVE-2024-11218 CVE-2024-9341 "
        "CVE-2026-33747 CVE-2026-33748 CVE-2024-24557",
        "mounts, caches, front ends and remote contexts of a build reach the host",
        "nothing is built yet",
    ),
    Row(
        "CVE-2021-3602 CVE-2020-14370",
        "variables of the host, or of another container, come along",
        "the environment is what was given",
        (f"{_ENTERING}nothing_of_the_host_is_told", f"{_CONFINED}an_executed_program_is_told_nothing_of_the_host", "matrix: host_environment"),
    ),
    Row(
        "CVE-2024-29018 CVE-2025-54388",
        "names of an inner network are asked of the host's resolver; a firewall's new start opens ports",
        "from an internal network nothing is asked outside; the rules are one transaction, and are there before the link is",
        (f"{_NETWORK}names.py::test_nothing_is_asked_outside_from_an_internal_network",),
    ),
    Row(
        "CVE-2020-8558 CVE-2020-13401",
        "loopback services of the host are reached over its bridge; a container tells the host its routes",
        "what comes from our links for 127.0.0.0/8 is dropped; advertisements are not heard",
        (f"{_NETWORK}ports.py::test_loopback_is_not_reached_from_a_container_or_a_neighbour_of_the_host",),
    ),
    Row(
        "CVE-2020-15257",
        "the runtime listens on an abstract socket that containers on the host's network reach",
        "nothing listens, and no socket has a name",
        (f"{_HOST}the_library_has_no_socket_that_anybody_could_find", f"{_HOST}a_container_on_the_hosts_network_finds_none_either"),
    ),
    Row(
        "CVE-2024-41110 CVE-2026-34040 CVE-2025-9074",
        "an engine's interface can be reached or tricked",
        "there is none yet",
    ),
    Row(
        "CVE-2022-23471 CVE-2022-31030 CVE-2025-64329",
        "programs that were let go of, and floods of output, fill the runtime's memory",
        "what is kept has a bound where it is asked for; nothing stays of a program that has ended",
        (f"{_HOST}what_a_container_writes_is_kept_up_to_a_bound", f"{_HOST}programs_that_were_let_go_of_leave_nothing_in_the_host"),
    ),
    Row(
        "CVE-2026-53488 CVE-2026-53492 CVE-2026-50195 CVE-2026-53489",
        "labels of an image, or a checkpoint, steer the runtime",
        "an image's words are data; an archive with a checkpoint, or with more than a plain container has, is for those who trust it",
        (
            f"{_HOST}what_an_image_says_of_itself_is_data",
            "detached/test_moving.py::test_more_than_a_plain_one_has_is_for_those_who_trust_it",
            "detached/test_checkpoint.py::test_in_another_engine_with_other_ids",
        ),
    ),
    Row(
        "CVE-2021-41103 CVE-2024-25621",
        "other users enter the store, and run its set-user-id files",
        "the store is the caller's alone, or refused",
        (
            f"{_HOST}a_store_that_others_could_get_at_is_refused", f"{_HOST}a_store_of_trees_is_refused_likewise",
            f"{_HOST}a_directory_above_that_others_can_exchange_is_refused", f"{_HOST}whatever_the_umask_nobody_else_gets_in",
        ),
    ),
    Row(
        "GHSA-6fw5-f8r9-fgfm GHSA-jq35-85cj-fj4p",
        "files of /proc and /sys tell what others on the machine do",
        "they are masked; strict has neither",
        ("matrix: read_interrupts read_powercap read_thermal_throttle", f"{_CONFINED}masked_files_give_nothing"),
    ),
)  # fmt: skip


def table() -> str:
    """The table of docs/security.md."""
    lines = ["| Known holes | How they worked | What holds here | Tried by |", "|---|---|---|---|"]
    for row in (*SETTING_UP, *COPIES):
        names = [test.rpartition("::")[2] for test in row.tests]
        tests = ", ".join(f"`{name}`" for name in names) or "–"
        lines.append(f"| {', '.join(row.holes)} | {row.how} | {row.holds} | {tests} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")  # noqa: T201
