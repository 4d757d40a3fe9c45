/* The entry and the few functions of freestanding.h. */
#include "freestanding.h"

#include <asm/resource.h>
#include <linux/fcntl.h>
#include <linux/openat2.h>
#include <linux/poll.h>
#include <linux/time.h>

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

/* At entry the stack pointer points at argc; argv, NULL, envp, NULL follow (System V ABI, process start). */
#if defined(__x86_64__)
__asm__(".globl _start\n"
        ".type _start, @function\n"
        "_start:\n"
        "    xor %ebp, %ebp\n"
        "    mov %rsp, %rdi\n"
        "    and $-16, %rsp\n"
        "    call pc_start\n");

__asm__(".globl pc_clone_call\n"
        ".type pc_clone_call, @function\n"
        "pc_clone_call:\n"
        "    sub $16, %rsi\n"
        "    mov %rdx, (%rsi)\n"
        "    mov %rcx, 8(%rsi)\n"
        "    mov $" TEXT(__NR_clone) ", %eax\n"
        "    syscall\n"
        "    test %rax, %rax\n"
        "    jz 1f\n"
        "    ret\n"
        "1:  xor %ebp, %ebp\n"
        "    pop %rax\n"
        "    pop %rdi\n"
        "    call *%rax\n"
        "    mov %eax, %edi\n"
        "    mov $" TEXT(__NR_exit_group) ", %eax\n"
        "    syscall\n");
#else
__asm__(".globl _start\n"
        ".type _start, %function\n"
        "_start:\n"
        "    mov x29, #0\n"
        "    mov x30, #0\n"
        "    mov x0, sp\n"
        "    b pc_start\n");

__asm__(".globl pc_clone_call\n"
        ".type pc_clone_call, %function\n"
        "pc_clone_call:\n"
        "    stp x2, x3, [x1, #-16]!\n"
        "    mov x8, #" TEXT(__NR_clone) "\n"
        "    svc #0\n"
        "    cbz x0, 1f\n"
        "    ret\n"
        "1:  mov x29, #0\n"
        "    ldp x1, x0, [sp], #16\n"
        "    blr x1\n"
        "    mov x8, #" TEXT(__NR_exit_group) "\n"
        "    svc #0\n");
#endif

_Noreturn void pc_start(long *stack);

/* Called by the assembler above. */
__attribute__((used)) _Noreturn void pc_start(long *stack)
{
    char **argv = (char **)(stack + 1);
    pc_exit(pc_main((int)stack[0], argv, argv + stack[0] + 1));
}

_Noreturn void pc_exit(int status)
{
    for (;;) {
        pc_raw1(__NR_exit_group, status);
    }
}

void *memcpy(void *restrict to, const void *restrict from, size_t length)
{
    return memmove(to, from, length);
}

void *memmove(void *to, const void *from, size_t length)
{
    char *target = to;
    const char *source = from;
    if ((uintptr_t)target - (uintptr_t)source >= length) {
        for (size_t i = 0; i < length; i++) {
            target[i] = source[i];
        }
    } else {
        for (size_t i = length; i-- > 0;) {
            target[i] = source[i];
        }
    }
    return to;
}

void *memset(void *to, int value, size_t length)
{
    char *target = to;
    for (size_t i = 0; i < length; i++) {
        target[i] = (char)value;
    }
    return to;
}

int memcmp(const void *left, const void *right, size_t length)
{
    const unsigned char *a = left, *b = right;
    for (size_t i = 0; i < length; i++) {
        if (a[i] != b[i]) {
            return a[i] - b[i];
        }
    }
    return 0;
}

bool pc_equal(const char *left, const char *right)
{
    while (*left != '\0' && *left == *right) {
        left++;
        right++;
    }
    return *left == *right;
}

long pc_parse(const char *text, long limit)
{
    long value = 0;
    if (*text == '\0') {
        return -1;
    }
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') {
            return -1;
        }
        value = value * 10 + (*text - '0');
        if (value > limit) {
            return -1;
        }
    }
    return value;
}

int64_t pc_now(void)
{
    struct timespec now;
    pc_raw2(__NR_clock_gettime, CLOCK_MONOTONIC, pc_pointer(&now));
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool pc_readable(int fd)
{
    struct pollfd poll = {.fd = fd, .events = POLLIN};
    struct timespec now = {0};
    return pc_raw5(__NR_ppoll, pc_pointer(&poll), 1, pc_pointer(&now), 0, 0) > 0;
}

void pc_sleep(int64_t milliseconds)
{
    struct timespec time = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000};
    pc_raw2(__NR_nanosleep, pc_pointer(&time), 0);
}

void pc_close_all(unsigned first, unsigned last)
{
    if (pc_raw3(__NR_close_range, first, last, 0) == 0) {
        return;
    }
    /* Seccomp filters written before Linux 5.9 refuse a call that they do not know. */
    uint64_t limit[2] = {1024, 0};
    pc_raw4(__NR_prlimit64, 0, RLIMIT_NOFILE, 0, pc_pointer(limit));
    for (unsigned fd = first; fd <= last && fd < limit[0]; fd++) {
        pc_close((int)fd);
    }
}

long pc_open_directory(int directory, const char *name, uint64_t flags)
{
    struct open_how how = {
        .flags = flags | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
    };
    return pc_raw4(__NR_openat2, directory, pc_pointer(name), pc_pointer(&how), sizeof how);
}
