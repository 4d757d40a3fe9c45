/* Files of /proc and /sys that are the kernel's: opened for writing and never written, or read. */
#include "attempts.h"

#include <dirent.h>
#include <ftw.h>
#include <sys/klog.h>
#include <sys/stat.h>

#define WRITES(name, path)                 \
    static void write_##name(void)         \
    {                                      \
        try_open(path, O_WRONLY);          \
    }

WRITES(core_pattern, "/proc/sys/kernel/core_pattern")
WRITES(modprobe_path, "/proc/sys/kernel/modprobe")
WRITES(usermodehelper, "/proc/sys/kernel/usermodehelper/bset")
WRITES(binfmt_misc, "/proc/sys/fs/binfmt_misc/register")
WRITES(sysrq_mask, "/proc/sys/kernel/sysrq")
WRITES(sysrq_trigger, "/proc/sysrq-trigger")
WRITES(panic_on_oom, "/proc/sys/vm/panic_on_oom")
WRITES(irq_affinity, "/proc/irq/default_smp_affinity")
WRITES(uevent_helper, "/sys/kernel/uevent_helper")

static int files;

/* The first file below that opens for writing; other file systems are not entered. */
static int stop_at_writable(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)status, (void)where;
    if (kind == FTW_F) {
        files++;
        int fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
        if (fd >= 0) {
            reached("%s", path);
        }
    }
    return 0;
}

static _Noreturn void walk(const char *path)
{
    if (access(path, F_OK) < 0) {
        absent("%s", strerrorname_np(errno));
    }
    nftw(path, stop_at_writable, 64, FTW_PHYS | FTW_MOUNT);
    if (files == 0) {
        absent("empty");
    }
    refused(EACCES);
}

static void write_sysctls(void)
{
    walk("/proc/sys");
}

static void write_sysfs(void)
{
    walk("/sys");
}

static void write_bus(void)
{
    walk("/proc/bus");
}

static void write_irq(void)
{
    walk("/proc/irq");
}

static void write_proc_fs(void)
{
    walk("/proc/fs");
}

static int stop_at_cgroup(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)status;
    if (kind == FTW_F && (!strcmp(path + where->base, "cgroup.procs") || !strcmp(path + where->base, "release_agent"))) {
        files++;
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd >= 0) {
            reached("%s", path);
        }
    }
    return 0;
}

static void write_cgroups(void)
{
    if (access("/sys/fs/cgroup", F_OK) < 0) {
        absent("ENOENT");
    }
    nftw("/sys/fs/cgroup", stop_at_cgroup, 64, FTW_PHYS);
    if (files == 0) {
        absent("empty");
    }
    refused(EACCES);
}

/* -- read -- */

/* Whether a file gives anything; a masked one is empty. */
static _Noreturn void read_some(const char *path)
{
    char text[65]; /* /proc/kpageflags is read in words of 8 bytes */
    long length = slurp(path, text, sizeof text);
    if (length == 0) {
        refused(ENODATA);
    }
    judge(length);
}

/* Whether a line of numbers tells one that is not zero, as addresses are for those who may not know them. */
static _Noreturn void read_addresses(const char *path, int column)
{
    static char text[1 << 16];
    long length = slurp(path, text, sizeof text);
    if (length < 0) {
        judge(length);
    }
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        char *word = line;
        for (int i = 0; i < column && word != NULL; i++) {
            word = strchr(word, ' ');
            word = word == NULL ? NULL : word + 1;
        }
        if (word != NULL && strtoull(word, NULL, 16) != 0) {
            reached("%.60s", line);
        }
    }
    refused(ENODATA);
}

static _Noreturn void read_entries(const char *path)
{
    DIR *directory = opendir(path);
    if (directory == NULL) {
        judge(-1);
    }
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        if (entry->d_name[0] != '.') {
            reached("%s/%s", path, entry->d_name);
        }
    }
    refused(ENODATA);
}

#define READS(name, how, ...)              \
    static void read_##name(void)          \
    {                                      \
        how(__VA_ARGS__);                  \
    }

READS(kcore, read_some, "/proc/kcore")
READS(interrupts, read_some, "/proc/interrupts")
READS(softirqs, read_some, "/proc/softirqs")
READS(proc_stat, read_some, "/proc/stat")
READS(diskstats, read_some, "/proc/diskstats")
READS(kernel_cmdline, read_some, "/proc/cmdline")
READS(timer_list, read_some, "/proc/timer_list")
READS(sched_debug, read_some, "/proc/sched_debug")
READS(latency_stats, read_some, "/proc/latency_stats")
READS(keys, read_some, "/proc/keys")
READS(slabinfo, read_some, "/proc/slabinfo")
READS(vmallocinfo, read_some, "/proc/vmallocinfo")
READS(pagetypeinfo, read_some, "/proc/pagetypeinfo")
READS(kpageflags, read_some, "/proc/kpageflags")
READS(kmsg_file, try_open, "/proc/kmsg", O_RDONLY)
READS(kallsyms, read_addresses, "/proc/kallsyms", 0)
READS(modules, read_addresses, "/proc/modules", 5)
READS(acpi, read_entries, "/proc/acpi")
READS(asound, read_entries, "/proc/asound")
READS(scsi, read_entries, "/proc/scsi")
READS(firmware, read_entries, "/sys/firmware")
READS(powercap, read_entries, "/sys/devices/virtual/powercap")
READS(thermal_throttle, read_entries, "/sys/devices/system/cpu/cpu0/thermal_throttle")
READS(debugfs, read_entries, "/sys/kernel/debug")
READS(tracefs, read_entries, "/sys/kernel/tracing")
READS(securityfs, read_entries, "/sys/kernel/security")

static void read_iomem(void)
{
    static char text[1 << 14];
    long length = slurp("/proc/iomem", text, sizeof text);
    if (length < 0) {
        judge(length);
    }
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        char *end = strchr(line, '-');
        if (end != NULL && strtoull(end + 1, NULL, 16) != 0) {
            reached("%.60s", line);
        }
    }
    refused(ENODATA);
}

static void read_kmsg_call(void)
{
    char text[64];
    judge(klogctl(3 /* SYSLOG_ACTION_READ_ALL */, text, sizeof text));
}

const struct attempt kernel_files[] = {
    {"write_core_pattern", write_core_pattern},
    {"write_modprobe_path", write_modprobe_path},
    {"write_usermodehelper", write_usermodehelper},
    {"write_binfmt_misc", write_binfmt_misc},
    {"write_sysrq_mask", write_sysrq_mask},
    {"write_sysrq_trigger", write_sysrq_trigger},
    {"write_panic_on_oom", write_panic_on_oom},
    {"write_irq_affinity", write_irq_affinity},
    {"write_uevent_helper", write_uevent_helper},
    {"write_any_sysctl", write_sysctls},
    {"write_any_sysfs", write_sysfs},
    {"write_any_bus", write_bus},
    {"write_any_irq", write_irq},
    {"write_any_proc_fs", write_proc_fs},
    {"write_any_cgroup", write_cgroups},
    {"read_kcore", read_kcore},
    {"read_interrupts", read_interrupts},
    {"read_softirqs", read_softirqs},
    {"read_stat", read_proc_stat},
    {"read_diskstats", read_diskstats},
    {"read_kernel_cmdline", read_kernel_cmdline},
    {"read_timer_list", read_timer_list},
    {"read_sched_debug", read_sched_debug},
    {"read_latency_stats", read_latency_stats},
    {"read_keys", read_keys},
    {"read_slabinfo", read_slabinfo},
    {"read_vmallocinfo", read_vmallocinfo},
    {"read_pagetypeinfo", read_pagetypeinfo},
    {"read_kpageflags", read_kpageflags},
    {"read_kmsg_file", read_kmsg_file},
    {"read_kmsg_call", read_kmsg_call},
    {"read_kallsyms", read_kallsyms},
    {"read_modules", read_modules},
    {"read_iomem", read_iomem},
    {"read_acpi", read_acpi},
    {"read_asound", read_asound},
    {"read_scsi", read_scsi},
    {"read_firmware", read_firmware},
    {"read_powercap", read_powercap},
    {"read_thermal_throttle", read_thermal_throttle},
    {"read_debugfs", read_debugfs},
    {"read_tracefs", read_tracefs},
    {"read_securityfs", read_securityfs},
    {NULL, NULL},
};
