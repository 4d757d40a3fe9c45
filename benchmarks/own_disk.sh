#!/bin/sh
# A command with a file system of its own at /var/tmp, for benchmarks that write trees: nobody else's writing, removing
# and discarding is measured, nor an ext4 without a journal, which looks for minutes at each inode that was removed
# before it makes one (fs/ext4/ialloc.c, recently_deleted).  Needs root, losetup(8) and 40 GiB; nothing stays.
#
#   sh benchmarks/own_disk.sh python3 -m benchmarks --only pull
set -eu
if [ "${OWN_DISK:-}" = "" ]; then
    OWN_DISK=$(mktemp -d /var/tmp/own-disk-XXXXXX)
    export OWN_DISK
    status=0
    unshare --mount --propagation private sh "$0" "$@" || status=$?
    rm -r "$OWN_DISK"
    exit "$status"
fi
image=$OWN_DISK/image
truncate -s 40G "$image"
mkfs.ext4 -q -F -m 0 -E lazy_itable_init=1,lazy_journal_init=1,nodiscard "$image"
device=$(losetup --find --show --direct-io=on "$image")
# The device is given back when the last mount of it is gone, at the latest with this mount namespace.
mount -o noinit_itable,nodiscard "$device" /var/tmp
losetup --detach "$device"
chmod 1777 /var/tmp
"$@"
