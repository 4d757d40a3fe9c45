# PID 1 in the final root: kernel file systems, cgroups, user, COMMAND, exit status.
# Runs in busybox's shell; the rest comes from the host's /usr.
mkdir -p /run/vm/bin
/run/vm/busybox --install -s /run/vm/bin
export PATH=/run/vm/bin
. /run/vm/settings
cd /

port() { # device of the stream $1
    if [ "$BACKEND" = uml ]; then
        case $1 in ctl) t=/dev/ttyS0 ;; out) t=/dev/ttyS1 ;; err) t=/dev/ttyS2 ;; esac
        stty raw -echo -F $t
        echo $t
        return
    fi
    for p in /sys/class/virtio-ports/*; do
        [ "$(cat "$p/name")" = "vm.$1" ] && echo "/dev/${p##*/}" && return
    done
}
ctl=$(port ctl)
exec 3>"$ctl"

# -- kernel file systems ---------------------------------------------------
mkdir -p /dev/pts /dev/shm /dev/mqueue /run/lock
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs /dev/shm
mount -t mqueue mqueue /dev/mqueue
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs /run/lock
for l in fd: stdin:/0 stdout:/1 stderr:/2; do
    [ -e "/dev/${l%%:*}" ] || ln -s "/proc/self/fd${l#*:}" "/dev/${l%%:*}"
done
chmod 666 /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /dev/ptmx
# opening these loads their modules
mkdir -p /dev/net
mknod -m 666 /dev/fuse c 10 229
mknod -m 666 /dev/net/tun c 10 200
mknod -m 660 /dev/loop-control c 10 237
mount -t bpf bpf /sys/fs/bpf
mount -t securityfs securityfs /sys/kernel/security
mount --make-rshared / # as systemd does
hostname cgroup2-vm
ip link set lo up
if [ "$NET" = 1 ]; then
    modprobe virtio_net
    n=0
    while [ ! -e /sys/class/net/eth0 ] && [ $n -lt 100 ]; do n=$((n + 1)); sleep 0.02; done
    ip link set eth0 up
    ip addr add 10.0.2.15/24 dev eth0
    ip route add default via 10.0.2.2
    rm -f /etc/resolv.conf
    echo "nameserver 10.0.2.3" >/etc/resolv.conf
fi

# -- cgroups, laid out as systemd does ---------------------------------------
cg=/sys/fs/cgroup
mount -t cgroup2 -o nosuid,nodev,noexec,nsdelegate,memory_recursiveprot cgroup2 $cg
enable() { # every controller of $1 (or those named) for its children
    dir=$1
    shift
    for c in ${*:-$(cat "$dir/cgroup.controllers")}; do
        echo "+$c" >"$dir/cgroup.subtree_control" || echo "cannot enable $c in $dir"
    done
}
enable $cg
mkdir $cg/init.scope $cg/system.slice $cg/user.slice
enable $cg/system.slice
enable $cg/user.slice
echo 1 >$cg/init.scope/cgroup.procs
slice=$cg/user.slice/user-$VM_UID.slice
mkdir $slice
enable $slice
scope=$slice/session-1.scope

discarded() { # are changes to $1 thrown away with the VM, not --rw?
    (
        IFS='
'
        for d in $RW; do
            case "$1/" in "$d"/*) exit 1 ;; esac
        done
    )
}

# -- the unprivileged user -----------------------------------------------------
if [ "$VM_UID" != 0 ]; then
    # to the Python of root's pyenv and to the checkout, in this VM only
    discarded /root && chmod o+x /root
    above=${CWD%/*}
    while [ "$above" ]; do
        discarded "$above" && chmod o+x "$above"
        above=${above%/*}
    done
    grep -q "^$VM_USER:" /etc/passwd || {
        echo "$VM_USER:x:$VM_UID:$VM_GID::$VM_HOME:/bin/sh" >>/etc/passwd
        grep -q "^$VM_USER:" /etc/group || echo "$VM_USER:x:$VM_GID:" >>/etc/group
    }
    for f in /etc/subuid /etc/subgid; do
        grep -qs "^$VM_USER:" $f || echo "$VM_USER:$((100000 + 65536 * (VM_UID % 1000))):65536" >>$f
        chmod 644 $f
    done
    mkdir -p "/scratch.home" "$VM_HOME" "/run/user/$VM_UID"
    mount "$(sed -n "s| /var/tmp ext4.*||p" /proc/mounts)" /scratch.home
    mkdir -p "/scratch.home/home/$VM_USER"
    mount --bind "/scratch.home/home/$VM_USER" "$VM_HOME"
    umount /scratch.home
    rmdir /scratch.home
    chown "$VM_UID:$VM_GID" "$VM_HOME"
    mount -t tmpfs -o "mode=700,uid=$VM_UID,gid=$VM_GID,nosuid,nodev" tmpfs "/run/user/$VM_UID"
    discarded "$CWD" && {
        chown "$VM_UID" "$CWD" # so it may make new files there
        # a checkout made under umask 077; what a tool made (.venv, .git) is as it is
        find "$CWD" -mindepth 1 -name '.?*' -prune -o -type d ! -perm -005 -exec chmod a+rx {} + \
            -o -type f ! -perm -004 -exec chmod a+rX {} +
    }
    # what systemd delegates to user@UID.service
    svc=$slice/user@$VM_UID.service
    mkdir $svc
    # shellcheck disable=SC2086
    enable $svc $DELEGATE
    for c in $(cat $slice/cgroup.subtree_control); do
        case " $DELEGATE " in *" $c "*) ;; *) less="$less -$c" ;; esac
    done
    [ -n "$less" ] && echo "$less" >$slice/cgroup.subtree_control
    mkdir $svc/app.slice $svc/init.scope
    enable $svc/app.slice
    scope=$svc/app.slice/vm.scope
    mkdir $scope
    for d in $svc $svc/app.slice $svc/init.scope $scope; do
        chown "$VM_UID:$VM_GID" $d
        while read -r f; do
            [ -e "$d/$f" ] && chown "$VM_UID:$VM_GID" "$d/$f"
        done </sys/kernel/cgroup/delegate
    done
fi
[ -n "$CGROUP" ] && scope=$cg/${CGROUP#/}
mkdir -p "$scope"

# -- systemd: PID 1 of a pid and a cgroup namespace, on the machine's own /usr -----
if [ "$SYSTEMD" = 1 ]; then
    mkdir -p /run/systemd/system $cg/machine
    # No file of the machine is cleaned away or changed, nothing waits for hardware.
    for u in systemd-tmpfiles-setup.service systemd-tmpfiles-setup-dev.service systemd-tmpfiles-clean.timer \
        systemd-sysusers.service systemd-remount-fs.service systemd-timesyncd.service systemd-sysctl.service \
        systemd-binfmt.service systemd-modules-load.service systemd-random-seed.service keyboard-setup.service; do
        ln -sf /dev/null /run/systemd/system/$u
    done
    (
        exec 3>&- >/run/vm/systemd.log 2>&1
        echo 0 >$cg/machine/cgroup.procs
        exec /usr/bin/unshare --fork --pid --mount --cgroup --mount-proc sh -c '
            umount -l /sys/fs/cgroup
            mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 /sys/fs/cgroup
            until [ -e /run/vm/alone ]; do sleep 0.1; done
            exec env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin \
                /lib/systemd/systemd --unit=basic.target --log-target=console'
    ) &
    unshared=$!
    n=0
    while [ $n -lt 300 ]; do
        n=$((n + 1))
        init=$(cat /proc/$unshared/task/$unshared/children 2>/dev/null)
        init=${init%% *}
        # Controllers are for those below only when unshare, which waits, is in there no longer.
        [ "$init" ] && echo "$unshared" >$cg/init.scope/cgroup.procs && : >/run/vm/alone
        [ "$init" ] && /usr/bin/nsenter -t "$init" -a /usr/bin/systemctl start \
            "user@$VM_UID.service" 2>/run/vm/systemctl.log && break
        sleep 0.2
    done
    [ $n -lt 300 ] || cat /run/vm/systemd.log /run/vm/systemctl.log
fi

# -- COMMAND -------------------------------------------------------------------
mkfifo -m 600 /run/vm/out /run/vm/err
cat </run/vm/out >"$(port out)" &
out=$!
cat </run/vm/err >"$(port err)" &
err=$!
in=/run/vm/stdin
[ -e $in ] || in=/dev/null
drop=
[ "$VM_UID" != 0 ] &&
    drop="/usr/bin/setpriv --reuid $VM_UID --regid $VM_GID --init-groups --inh-caps=-all --"
[ "$TMP_FS" ] && chmod 755 /run/vm && chmod 644 /run/vm/command
echo READY >&3
(
    exec 3>&-
    echo 0 >"$scope/cgroup.procs"
    [ "$SYSTEMD" = 1 ] && exec /usr/bin/nsenter -t "$init" -a /usr/bin/systemd-run --quiet --pipe --wait \
        --collect --uid="$VM_UID" --gid="$VM_GID" /bin/sh /run/vm/command
    # shellcheck disable=SC2086
    exec setsid $drop /bin/sh /run/vm/command
) <$in >/run/vm/out 2>/run/vm/err &
cmd=$!
wait $cmd
status=$?
# what it left running may hold the pipes: give the output 2 s to end
(sleep 2; kill $out $err) 2>/dev/null &
wait $out $err 2>/dev/null
sync
for d in $(grep -E ' (9p|hostfs) rw' /proc/mounts | cut -d' ' -f2); do umount "$d" 2>/dev/null || mount -o remount,ro "$d"; done
echo "EXIT $status" >&3
poweroff -f
