/* The same calls by other doors of the kernel: 32-bit calls of a 64-bit program, 32-bit programs, x32. */
#include "attempts.h"

#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>

#ifdef __x86_64__

/* int 0x80; pointers must lie in the first 4 GiB, as the statics of this program do. */
static long call_32(long number, unsigned long a, unsigned long b, unsigned long c, unsigned long d, unsigned long e)
{
    long answer;
    __asm__ volatile("int $0x80" : "=a"(answer) : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e) : "memory", "r8", "r9", "r10", "r11");
    int short_answer = (int)answer;
    if (short_answer < 0 && short_answer > -4096) {
        errno = -short_answer;
        return -1;
    }
    return short_answer;
}

#define LOW(pointer) ((unsigned long)(pointer))
/* asm/unistd_32.h */
enum { GETPID_32 = 20, MOUNT_32 = 21, SOCKETCALL_32 = 102, KEYCTL_32 = 288, UNSHARE_32 = 310, SOCKET_32 = 359, BPF_32 = 357, IO_URING_SETUP_32 = 425 };

static struct io_uring_params ring;

static void entry_32(void)
{
    if (call_32(GETPID_32, 0, 0, 0, 0, 0) == getpid()) {
        reached("getpid");
    }
    refused(ENOSYS);
}

static void io_uring_32(void)
{
    judge(call_32(IO_URING_SETUP_32, 1, LOW(&ring), 0, 0, 0));
}

static void unshare_user_32(void)
{
    judge(call_32(UNSHARE_32, CLONE_NEWUSER, 0, 0, 0, 0));
}

static void keyctl_32(void)
{
    judge(call_32(KEYCTL_32, KEYCTL_GET_KEYRING_ID, (unsigned)KEY_SPEC_PROCESS_KEYRING, 1, 0, 0));
}

static void bpf_32(void)
{
    static unsigned map[30] = {2 /* BPF_MAP_TYPE_ARRAY */, 4, 4, 1};
    judge(call_32(BPF_32, 0 /* BPF_MAP_CREATE */, LOW(map), sizeof map, 0, 0));
}

static void vsock_32(void)
{
    judge(call_32(SOCKET_32, AF_VSOCK, SOCK_STREAM, 0, 0, 0));
}

/* The family is in memory, where no filter sees it. */
static void socketcall_32(void)
{
    static unsigned arguments[3] = {AF_VSOCK, SOCK_STREAM, 0};
    judge(call_32(SOCKETCALL_32, 1 /* SYS_SOCKET */, LOW(arguments), 0, 0, 0));
}

static void mount_32(void)
{
    static const char none[] = "none", type[] = "tmpfs";
    narrow(CLONE_NEWNS);
    long answer = call_32(MOUNT_32, LOW(none), LOW(scratch()), LOW(type), 0, 0);
    if (answer == 0) {
        umount2(scratch(), MNT_DETACH);
    }
    judge(answer);
}

/* A program that ends with status 42: ELF header, one segment, mov $1,%eax; mov $42,%ebx; int $0x80. */
static const unsigned char program_32[] = {
    0x7f, 'E',  'L',  'F',  1,    1,    1,    0,    0,    0,    0,    0,    0,    0,    0,    0,    2,    0,    3,
    0,    1,    0,    0,    0,    0x54, 0x80, 0x04, 0x08, 0x34, 0,    0,    0,    0,    0,    0,    0,    0,    0,
    0,    0,    0x34, 0,    0x20, 0,    1,    0,    0,    0,    0,    0,    0,    0,    1,    0,    0,    0,    0,
    0,    0,    0,    0,    0x80, 0x04, 0x08, 0,    0x80, 0x04, 0x08, 0x60, 0,    0,    0,    0x60, 0,    0,    0,
    5,    0,    0,    0,    0,    0x10, 0,    0,    0xb8, 1,    0,    0,    0,    0xbb, 42,   0,    0,    0,    0xcd,
    0x80,
};

static void executable_32(void)
{
    int fd = memfd_create("program", MFD_CLOEXEC), status;
    if (fd < 0 || write(fd, program_32, sizeof program_32) != sizeof program_32) {
        judge(-1);
    }
    pid_t pid = fork();
    if (pid == 0) {
        fexecve(fd, (char *[]){"program", NULL}, (char *[]){NULL});
        _exit(errno == ENOEXEC ? 126 : 127);
    }
    waitpid(pid, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 42) {
        reached("it ran");
    }
    if (WIFSIGNALED(status)) {
        signal(WTERMSIG(status), SIG_DFL);
        raise(WTERMSIG(status));
    }
    refused(ENOEXEC);
}

static void x32(void)
{
    judge(syscall(SYS_getpid | 0x40000000));
}

static void io_uring_x32(void)
{
    judge(syscall(SYS_io_uring_setup | 0x40000000, 1, &ring));
}

const struct attempt other_entries[] = {
    {"entry_32", entry_32},
    {"executable_32", executable_32},
    {"io_uring_32", io_uring_32},
    {"unshare_user_32", unshare_user_32},
    {"keyctl_32", keyctl_32},
    {"bpf_32", bpf_32},
    {"vsock_32", vsock_32},
    {"socketcall_32", socketcall_32},
    {"mount_32", mount_32},
    {"x32", x32},
    {"io_uring_x32", io_uring_x32},
    {NULL, NULL},
};

#else

const struct attempt other_entries[] = {{NULL, NULL}};

#endif
