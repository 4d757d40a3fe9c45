#!/bin/sh
# A command in a network of its own, which engines may do with as they like: links, rules, forwarding, what they keep
# in /run and of addresses, and cgroups, which are below one that is made here and removed at the end.  Needs root.
#
#   sh benchmarks/network/room.sh COMMAND...
#
#   world (192.0.2.1) ---- uplink (192.0.2.2), where the command is; the world's network namespace: $ROOM_WORLD
set -eu
if [ "${ROOM:-}" = "" ]; then
    ROOM=room-$$
    export ROOM
    places=
    while IFS=: read -r number names path; do
        for top in "/sys/fs/cgroup/${names#name=}" $([ "$number" = 0 ] && echo /sys/fs/cgroup/unified /sys/fs/cgroup); do
            [ -e "$top/cgroup.procs" ] || continue
            own=$top${path%/}/$ROOM
            mkdir "$own"
            places="$places $own"
            for file in cpuset.cpus cpuset.mems; do
                [ "$number" = 0 ] || [ ! -e "$own/$file" ] || cat "$own/../$file" > "$own/$file"
            done
            break
        done
    done < /proc/self/cgroup
    status=0
    ROOM_CGROUPS=$places unshare --mount --net --pid --fork --kill-child --propagation private sh "$0" "$@" || status=$?
    for place in $places; do
        for _ in 1 2 3 4 5 6 7 8 9 10; do
            find "$place" -depth -type d -exec rmdir {} + 2> /dev/null || true
            [ -e "$place" ] || break
            sleep 0.2
        done
    done
    exit "$status"
fi
if [ "${ROOM_CGROUPS:-}" != "" ]; then
    for place in $ROOM_CGROUPS; do
        echo 0 > "$place/cgroup.procs"
    done
    unset ROOM_CGROUPS
    exec unshare --cgroup sh "$0" "$@"
fi
mount -t proc proc /proc
# Which ids of users are taken is known to all of the host's processes: who has some ends those that have them, too.
mkdir -p -m 755 /run/pycontainer
mount --bind /run/pycontainer /mnt
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/pycontainer
mount --move /mnt /run/pycontainer
mkdir -p /var/lib/cni
mount -t tmpfs tmpfs /var/lib/cni
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    umount -l /sys/fs/cgroup
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    # Nothing can be limited below where processes are (cgroups(7)).
    mkdir /sys/fs/cgroup/init
    echo 0 > /sys/fs/cgroup/init/cgroup.procs
    sed -e 's/ / +/g' -e 's/^/+/' < /sys/fs/cgroup/cgroup.controllers > /sys/fs/cgroup/cgroup.subtree_control
else
    umount -l /sys/fs/cgroup
    mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
    while IFS=: read -r number names _; do
        [ "$number" != 0 ] || continue
        mkdir "/sys/fs/cgroup/${names#name=}"
        mount -t cgroup -o "$names" cgroup "/sys/fs/cgroup/${names#name=}"
    done < /proc/self/cgroup
fi
ip link set lo up
unshare --net sleep infinity &
ROOM_WORLD=/proc/$!/ns/net
while [ "$(readlink "$ROOM_WORLD")" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.01; done
export ROOM_WORLD
ip link add uplink type veth peer name world netns "$!"
ip addr add 192.0.2.2/24 dev uplink
ip link set uplink up
nsenter --net="$ROOM_WORLD" sh -c 'ip addr add 192.0.2.1/24 dev world; ip link set world up; ip link set lo up'
ip route add default via 192.0.2.1
exec "$@"
