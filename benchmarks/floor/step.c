/*
 * step PATH_1 .. PATH_N: becomes the first that is there, as `true`.  Fd 3 is closed by that.
 *
 * A program of its own, without libc: what a container executes must not find the host's process behind
 * /proc/self/exe, so the floor has this step, too.
 */
#include <asm/unistd.h>
#include <linux/fcntl.h>
#include <linux/prctl.h>

#if defined(__x86_64__)
__asm__(".globl _start\n_start: xor %ebp,%ebp\n mov %rsp,%rdi\n call step\n");

static long call(long number, long a, long b, long c)
{
    long ret;
    register long fourth __asm__("r10") = 0;
    register long fifth __asm__("r8") = 0;
    __asm__ volatile("syscall"
                     : "=a"(ret)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth)
                     : "rcx", "r11", "memory", "cc");
    return ret;
}
#elif defined(__aarch64__)
__asm__(".globl _start\n_start: mov x0, sp\n bl step\n");

static long call(long number, long a, long b, long c)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = 0;
    register long x4 __asm__("x4") = 0;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory", "cc");
    return x0;
}
#else
#error "the floor knows x86-64 and arm64"
#endif

/* STACK as the kernel leaves it: argc, argv and a null, envp and a null (System V ABI, process initialization). */
__attribute__((used)) static void step(const long *stack)
{
    char *const *arguments = (char *const *)(stack + 1);
    char *const words[] = {(char *)"true", (char *)0};
    call(__NR_prctl, PR_SET_DUMPABLE, 0, 0);
    call(__NR_fcntl, 3, F_SETFD, FD_CLOEXEC);
    for (long i = 1; i < stack[0]; i++) {
        call(__NR_execve, (long)arguments[i], (long)words, (long)(arguments + stack[0] + 1));
    }
    call(__NR_exit_group, 1, 0, 0);
    __builtin_unreachable();
}
