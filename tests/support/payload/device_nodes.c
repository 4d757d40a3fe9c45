/* Devices: nodes that are there, and nodes that are made. They are opened, and nothing is asked of them. */
#include "attempts.h"

#include <sched.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define DEVICE(name, path)          \
    static void device_##name(void) \
    {                               \
        try_open(path, O_RDONLY);   \
    }

DEVICE(mem, "/dev/mem")
DEVICE(kmsg, "/dev/kmsg")
DEVICE(port, "/dev/port")
DEVICE(kvm, "/dev/kvm")
DEVICE(fuse, "/dev/fuse")
DEVICE(tun, "/dev/net/tun")
DEVICE(loop, "/dev/loop-control")
DEVICE(mapper, "/dev/mapper/control")
DEVICE(vsock, "/dev/vsock")
DEVICE(console, "/dev/console")
DEVICE(userfaultfd, "/dev/userfaultfd")
DEVICE(hwrng, "/dev/hwrng")

/* Made in each place that could hold it, and opened. */
static _Noreturn void make(mode_t kind, dev_t device)
{
    const char *const places[] = {"/dev", "/", "/tmp", "/dev/shm", NULL};
    int error = 0;
    narrow(CLONE_NEWNS);
    for (int i = -1; i < 0 || places[i] != NULL; i++) {
        char path[128];
        /* On a host only where it is nobody else's. */
        if (i >= 0 && given("outside") != NULL) {
            break;
        }
        snprintf(path, sizeof path, "%s/probe-node", i < 0 ? scratch() : places[i]);
        if (mknod(path, kind | 0666, device) < 0) {
            error = error == 0 || errno == EPERM ? errno : error;
            continue;
        }
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        error = errno;
        unlink(path);
        if (fd >= 0) {
            reached("%s", path);
        }
        break;
    }
    errno = error;
    judge(-1);
}

static void make_mem(void)
{
    make(S_IFCHR, makedev(1, 1));
}

static void make_kmsg(void)
{
    make(S_IFCHR, makedev(1, 11));
}

static void make_null(void)
{
    make(S_IFCHR, makedev(1, 3));
}

static void make_disk(void)
{
    const char *disk = needed("disk");
    make(S_IFBLK, makedev((unsigned)atoi(disk), (unsigned)atoi(strchr(disk, ':') + 1)));
}

const struct attempt devices[] = {
    {"device_mem", device_mem},
    {"device_kmsg", device_kmsg},
    {"device_port", device_port},
    {"device_kvm", device_kvm},
    {"device_fuse", device_fuse},
    {"device_tun", device_tun},
    {"device_loop", device_loop},
    {"device_mapper", device_mapper},
    {"device_vsock", device_vsock},
    {"device_console", device_console},
    {"device_userfaultfd", device_userfaultfd},
    {"device_hwrng", device_hwrng},
    {"mknod_mem", make_mem},
    {"mknod_kmsg", make_kmsg},
    {"mknod_null", make_null},
    {"mknod_disk", make_disk},
    {NULL, NULL},
};
