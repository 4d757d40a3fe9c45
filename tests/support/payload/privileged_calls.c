/* System calls that only the host's root has a use for, and those that have let programs out of containers. */
#include "attempts.h"

#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <sys/fanotify.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/timex.h>
#include <sys/uio.h>

/* Not in the headers of every supported system. */
#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

static struct io_uring_params ring; /* in the first 4 GiB, for the 32-bit entry */

static void io_uring(void)
{
    judge(syscall(SYS_io_uring_setup, 1, &ring));
}

static void user_faults(void)
{
    judge(syscall(SYS_userfaultfd, O_CLOEXEC | 1 /* UFFD_USER_MODE_ONLY */));
}

static void user_faults_of_kernel(void)
{
    judge(syscall(SYS_userfaultfd, O_CLOEXEC));
}

static void bpf(void)
{
    union bpf_attr map = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};
    judge(syscall(SYS_bpf, BPF_MAP_CREATE, &map, sizeof map));
}

static void perf_event(void)
{
    struct perf_event_attr event = {.type = PERF_TYPE_SOFTWARE, .size = sizeof event, .config = PERF_COUNT_SW_CPU_CLOCK};
    event.exclude_kernel = event.exclude_hv = event.disabled = 1;
    judge(syscall(SYS_perf_event_open, &event, 0, -1, -1, 0UL));
}

static void perf_event_of_kernel(void)
{
    struct perf_event_attr event = {.type = PERF_TYPE_SOFTWARE, .size = sizeof event, .config = PERF_COUNT_SW_CPU_CLOCK};
    event.disabled = 1;
    judge(syscall(SYS_perf_event_open, &event, -1, 0, -1, 0UL));
}

static void keyctl_call(void)
{
    judge(syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 1));
}

static void add_key_call(void)
{
    judge(syscall(SYS_add_key, "user", "probe", "x", 1, KEY_SPEC_PROCESS_KEYRING));
}

static void request_key_call(void)
{
    judge_by(syscall(SYS_request_key, "user", "probe-that-nobody-has", NULL, 0), ENOKEY);
}

static void load_module(void)
{
    judge_by(syscall(SYS_init_module, "x", 1, ""), ENOEXEC);
}

static void load_module_file(void)
{
    judge_by(syscall(SYS_finit_module, -1, "", 0), EBADF);
}

static void unload_module(void)
{
    judge_by(syscall(SYS_delete_module, "probe_that_is_none", O_NONBLOCK), ENOENT);
}

static void load_kernel(void)
{
    judge_by(syscall(SYS_kexec_load, 0, 0, NULL, ~0UL), EINVAL);
}

#ifdef SYS_kexec_file_load
static void load_kernel_file(void)
{
    judge_by(syscall(SYS_kexec_file_load, -1, -1, 0, NULL, ~0UL), EINVAL);
}
#endif

/* Without the magic number nothing is done. */
static void reboot_call(void)
{
    judge_by(syscall(SYS_reboot, 0, 0, 0, NULL), EINVAL);
}

static void swap_on(void)
{
    judge_by(syscall(SYS_swapon, "/probe-that-is-none", 0), ENOENT);
}

static void swap_off(void)
{
    judge_by(syscall(SYS_swapoff, "/probe-that-is-none"), ENOENT);
}

static void accounting(void)
{
    judge_by(syscall(SYS_acct, "/probe-that-is-none"), ENOENT);
}

/* The tick is set to what it is. */
static void set_clock(void)
{
    struct timex now = {.modes = 0};
    if (adjtimex(&now) < 0) {
        judge(-1);
    }
    now.modes = ADJ_TICK;
    judge(adjtimex(&now));
}

static void io_ports(void)
{
#ifdef SYS_ioperm
    judge(syscall(SYS_ioperm, 0x80, 1, 1));
#else
    absent("no such processor");
#endif
}

static void io_privilege(void)
{
#ifdef SYS_iopl
    judge(syscall(SYS_iopl, 3));
#else
    absent("no such processor");
#endif
}

static void fanotify(void)
{
    judge(syscall(SYS_fanotify_init, FAN_CLASS_CONTENT | FAN_CLOEXEC, O_RDONLY));
}

static void fanotify_unprivileged(void)
{
    judge(syscall(SYS_fanotify_init, FAN_CLASS_NOTIF | FAN_CLOEXEC | 0x200 /* FAN_REPORT_FID */, O_RDONLY));
}

static void own_handle(int *mount_id, struct file_handle *handle)
{
    handle->handle_bytes = 64;
    /* The program itself may lie on a file system of the host; the root of a container is an overlay, which has no handles. */
    if (name_to_handle_at(AT_FDCWD, "/proc/self/exe", handle, mount_id, AT_SYMLINK_FOLLOW) < 0 &&
        name_to_handle_at(AT_FDCWD, needed("program"), handle, mount_id, 0) < 0) {
        judge(-1);
    }
}

union handle {
    struct file_handle handle;
    char space[sizeof(struct file_handle) + 64];
};

static void name_to_handle(void)
{
    union handle found = {0};
    int mount_id;
    own_handle(&mount_id, &found.handle);
    reached("type %d", found.handle.handle_type);
}

/* The "shocker": the root directory of the file system that the program lies on has the inode number 2 on ext4. */
static void open_by_handle(void)
{
    union handle found = {0};
    int mount_id, place = open(needed("program"), O_RDONLY | O_CLOEXEC);
    if (place < 0) {
        judge(-1);
    }
    if (name_to_handle_at(AT_FDCWD, needed("program"), &found.handle, &mount_id, 0) < 0) {
        /* Guessed: 32-bit inode number and generation. */
        found.handle.handle_type = 1;
        found.handle.handle_bytes = 8;
        memcpy(found.handle.f_handle, (unsigned[]){2, 0}, 8);
    }
    int fd = open_by_handle_at(place, &found.handle, O_RDONLY | O_CLOEXEC);
    judge_by(fd, ESTALE);
}

static void set_own_namespace(void)
{
    int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    judge(fd < 0 ? fd : setns(fd, CLONE_NEWNET));
}

static void set_host_name(void)
{
    char name[256] = "";
    narrow(CLONE_NEWUTS);
    gethostname(name, sizeof name - 1);
    judge(sethostname(name, strlen(name)));
}

static void migrate(void)
{
    unsigned long nodes = 1;
    judge(syscall(SYS_migrate_pages, 0, 8 * sizeof nodes, &nodes, &nodes));
}

static void memory_policy(void)
{
    judge(syscall(SYS_set_mempolicy, 0, NULL, 0));
}

static void quota(void)
{
    judge(syscall(SYS_quotactl, 0x800001U << 8 /* Q_SYNC */, NULL, 0, NULL));
}

static void compare_processes(void)
{
    judge(syscall(SYS_kcmp, getpid(), getpid(), 1, 0, 0));
}

const struct attempt privileged_calls[] = {
    {"io_uring", io_uring},
    {"userfaultfd", user_faults},
    {"userfaultfd_of_kernel", user_faults_of_kernel},
    {"bpf", bpf},
    {"perf_event", perf_event},
    {"perf_event_of_kernel", perf_event_of_kernel},
    {"keyctl", keyctl_call},
    {"add_key", add_key_call},
    {"request_key", request_key_call},
    {"init_module", load_module},
    {"finit_module", load_module_file},
    {"delete_module", unload_module},
    {"kexec_load", load_kernel},
#ifdef SYS_kexec_file_load
    {"kexec_file_load", load_kernel_file},
#endif
    {"reboot", reboot_call},
    {"swapon", swap_on},
    {"swapoff", swap_off},
    {"acct", accounting},
    {"set_clock", set_clock},
    {"ioperm", io_ports},
    {"iopl", io_privilege},
    {"fanotify", fanotify},
    {"fanotify_unprivileged", fanotify_unprivileged},
    {"name_to_handle", name_to_handle},
    {"open_by_handle", open_by_handle},
    {"setns", set_own_namespace},
    {"sethostname", set_host_name},
    {"migrate_pages", migrate},
    {"set_mempolicy", memory_policy},
    {"quotactl", quota},
    {"kcmp", compare_processes},
    {NULL, NULL},
};

/* -- calls that are for everybody, and that strict confinement is without -- */

static void secret_memory(void)
{
    judge(syscall(SYS_memfd_secret, O_CLOEXEC));
}

static void splice_memory(void)
{
    int ends[2];
    struct iovec part = {.iov_base = ring.resv, .iov_len = 4};
    judge(pipe2(ends, O_CLOEXEC) < 0 ? -1 : vmsplice(ends[1], &part, 1, SPLICE_F_NONBLOCK));
}

static void asynchronous_io(void)
{
    unsigned long context = 0;
    judge(syscall(SYS_io_setup, 1, &context));
}

static void local_descriptors(void)
{
#ifdef SYS_modify_ldt
    char table[16];
    judge(syscall(SYS_modify_ldt, 0, table, sizeof table));
#else
    absent("no such processor");
#endif
}

static void message_queue(void)
{
    static const char name[] = "probe-own-queue"; /* the kernel's call has no slash */
    long queue = syscall(SYS_mq_open, name, O_CREAT | O_RDWR, 0600, NULL);
    if (queue >= 0) {
        syscall(SYS_mq_unlink, name);
    }
    judge(queue);
}

static void read_clock_discipline(void)
{
    struct timex now = {.modes = 0};
    judge(adjtimex(&now));
}

static void odd_personality(unsigned long persona)
{
    judge(syscall(SYS_personality, persona));
}

static void no_randomization(void)
{
    odd_personality(ADDR_NO_RANDOMIZE);
}

static void readable_means_executable(void)
{
    odd_personality(READ_IMPLIES_EXEC);
}

static void page_zero(void)
{
    judge(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED ? -1 : 0);
}

static void page_cache_statistics(void)
{
    struct { unsigned long offset, length; } range = {0, 4096};
    unsigned long statistics[5];
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    judge(syscall(SYS_cachestat, fd, &range, statistics, 0));
}

const struct attempt calls_of_all[] = {
    {"memfd_secret", secret_memory},
    {"vmsplice", splice_memory},
    {"io_setup", asynchronous_io},
    {"modify_ldt", local_descriptors},
    {"mq_open", message_queue},
    {"adjtimex", read_clock_discipline},
    {"no_randomization", no_randomization},
    {"read_implies_exec", readable_means_executable},
    {"map_page_zero", page_zero},
    {"cachestat", page_cache_statistics},
    {NULL, NULL},
};
