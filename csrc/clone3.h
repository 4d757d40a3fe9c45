/* clone3(2) onto another stack, for a child that shares the memory of its parent. */
#ifndef PC_CLONE3_H
#define PC_CLONE3_H

#include "rawsys.h"

#include <linux/sched.h>
#include <stdint.h>

/* clone3 whose child calls entry(argument) on its own stack and must not return. */
static inline long pc_clone_onto(struct clone_args *args, void (*entry)(void *), void *argument)
{
#if defined(__x86_64__)
    register void (*fn)(void *) __asm__("r12") = entry;
    register void *arg __asm__("r13") = argument;
    long ret;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "mov %%r13, %%rdi\n\t"
                     "call *%%r12\n\t"
                     "ud2\n"
                     "1:"
                     : "=a"(ret)
                     : "a"(__NR_clone3), "D"(args), "S"(sizeof *args), "r"(fn), "r"(arg)
                     : "rcx", "r11", "memory", "cc");
    return ret;
#else
    register long x8 __asm__("x8") = __NR_clone3;
    register long x0 __asm__("x0") = (long)(uintptr_t)args;
    register long x1 __asm__("x1") = sizeof *args;
    register void (*fn)(void *) __asm__("x20") = entry;
    register void *arg __asm__("x21") = argument;
    __asm__ volatile("svc 0\n\t"
                     "cbnz x0, 1f\n\t"
                     "mov x29, xzr\n\t"
                     "mov x30, xzr\n\t"
                     "mov x0, x21\n\t"
                     "blr x20\n\t"
                     "brk #1\n"
                     "1:"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(fn), "r"(arg)
                     : "memory", "cc");
    return x0;
#endif
}

#endif
