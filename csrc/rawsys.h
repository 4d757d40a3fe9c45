/*
 * System calls without libc: no errno, no cancellation point, no hook.
 *
 * Used where libc must not run: in a child that shares its parent's memory and thread-local storage, and
 * in the static programs.  Every function returns the kernel's value, or -errno.
 */
#ifndef PC_RAWSYS_H
#define PC_RAWSYS_H

#include <asm/unistd.h>

#if defined(__x86_64__)

static inline long pc_raw6(long nr, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long ret;
    __asm__ volatile("syscall"
                     : "=a"(ret)
                     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return ret;
}

#elif defined(__aarch64__)

static inline long pc_raw6(long nr, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = nr;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory", "cc");
    return x0;
}

#else
#error "pycontainer knows x86-64 and arm64"
#endif

static inline long pc_raw0(long nr)
{
    return pc_raw6(nr, 0, 0, 0, 0, 0, 0);
}

static inline long pc_raw1(long nr, long a)
{
    return pc_raw6(nr, a, 0, 0, 0, 0, 0);
}

static inline long pc_raw2(long nr, long a, long b)
{
    return pc_raw6(nr, a, b, 0, 0, 0, 0);
}

static inline long pc_raw3(long nr, long a, long b, long c)
{
    return pc_raw6(nr, a, b, c, 0, 0, 0);
}

static inline long pc_raw4(long nr, long a, long b, long c, long d)
{
    return pc_raw6(nr, a, b, c, d, 0, 0);
}

static inline long pc_raw5(long nr, long a, long b, long c, long d, long e)
{
    return pc_raw6(nr, a, b, c, d, e, 0);
}

#endif
