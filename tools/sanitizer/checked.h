/*
 * For the sanitized build alone, included into rawsys.h: what a system call reads and writes is checked, too.
 *
 * A compiler's sanitizer sees the accesses of compiled code.  Raw system calls hand addresses and lengths to the
 * kernel, which it does not see: so each call that the project makes is looked up here, and the memory that it names
 * must be whole.  Runs also between clone and execve: it only reads the shadow memory, which is the parent's.
 */
#ifndef PC_CHECKED_H
#define PC_CHECKED_H

#include <sanitizer/asan_interface.h>

#define PC_UNWATCHED __attribute__((no_sanitize("address", "undefined")))

#if defined(__x86_64__)
enum { PC_STAT_SIZE = 144, PC_EVENT_SIZE = 12 };
#else
enum { PC_STAT_SIZE = 128, PC_EVENT_SIZE = 16 };
#endif

struct pc_checked_vector {
    long base;
    long length;
};

struct pc_checked_message {
    long name, name_length;
    const struct pc_checked_vector *vectors;
    long vector_count;
    long control, control_length;
    long flags;
};

PC_UNWATCHED static inline void pc_whole(long address, long size)
{
    if (address == 0 || size <= 0) {
        return;
    }
    void *bad = __asan_region_is_poisoned((void *)address, (unsigned long)size);
    if (bad != 0) {
        __asan_report_error(__builtin_return_address(0), __builtin_frame_address(0), __builtin_frame_address(0), bad, 1,
                            (unsigned long)size);
    }
}

PC_UNWATCHED static inline void pc_text(long address)
{
    if (address == 0) {
        return;
    }
    const char *text = (const char *)address;
    unsigned long length = 0;
    for (;; length++) {
        if (__asan_address_is_poisoned(text + length)) {
            pc_whole(address, (long)length + 1);
            return;
        }
        if (text[length] == '\0') {
            return;
        }
    }
}

PC_UNWATCHED static inline void pc_texts(long address)
{
    const long *texts = (const long *)address;
    for (; texts != 0; texts++) {
        pc_whole((long)texts, sizeof *texts);
        if (*texts == 0) {
            return;
        }
        pc_text(*texts);
    }
}

PC_UNWATCHED static inline void pc_vectors(long address, long count)
{
    const struct pc_checked_vector *vectors = (const struct pc_checked_vector *)address;
    pc_whole(address, count * (long)sizeof *vectors);
    for (long i = 0; i < count; i++) {
        pc_whole(vectors[i].base, vectors[i].length);
    }
}

PC_UNWATCHED static inline void pc_message(long address)
{
    const struct pc_checked_message *message = (const struct pc_checked_message *)address;
    pc_whole(address, sizeof *message);
    pc_whole(message->name, message->name_length & 0xffffffff);
    pc_vectors((long)message->vectors, message->vector_count);
    pc_whole(message->control, message->control_length);
}

/* Paths and words: the arguments that are text, by call. */
PC_UNWATCHED static inline void pc_check_texts(long nr, long a, long b, long c, long d, long e)
{
    switch (nr) {
    case __NR_chdir: case __NR_umount2: case __NR_fsopen:
        pc_text(a);
        return;
    case __NR_openat: case __NR_openat2: case __NR_mkdirat: case __NR_mknodat: case __NR_unlinkat: case __NR_faccessat:
    case __NR_fchmodat: case __NR_fchownat: case __NR_newfstatat: case __NR_statx: case __NR_open_tree:
    case __NR_mount_setattr:
        pc_text(b);
        return;
    case __NR_pivot_root: case __NR_mount:
        pc_text(a);
        pc_text(b);
        if (nr == __NR_mount) {
            pc_text(c);
            pc_text(e);
        }
        return;
    case __NR_symlinkat:
        pc_text(a);
        pc_text(c);
        return;
    case __NR_renameat: case __NR_renameat2: case __NR_move_mount:
        pc_text(b);
        pc_text(d);
        return;
    case __NR_fsconfig:
        pc_text(c);
        if (b == 1 /* FSCONFIG_SET_STRING */) {
            pc_text(d);
        }
        return;
    case __NR_execve:
        pc_text(a);
        pc_texts(b);
        pc_texts(c);
        return;
    case __NR_execveat:
        pc_text(b);
        pc_texts(c);
        pc_texts(d);
        return;
    default:
        return;
    }
}

/* Structures and buffers: sizes are the kernel's own for the 64-bit calls. */
PC_UNWATCHED static inline void pc_check_memory(long nr, long a, long b, long c, long d, long e)
{
    switch (nr) {
    case __NR_read: case __NR_write: case __NR_getdents64: case __NR_sendto: case __NR_recvfrom: case __NR_bpf:
        pc_whole(b, c);
        return;
    case __NR_getcwd: case __NR_sethostname: case __NR_clone3:
        pc_whole(a, b);
        return;
    case __NR_openat2:
        pc_whole(c, d);
        return;
    case __NR_mount_setattr:
        pc_whole(d, e);
        return;
    case __NR_statx:
        pc_whole(e, 256);
        return;
    case __NR_newfstatat:
        pc_whole(c, PC_STAT_SIZE);
        return;
    case __NR_fstatfs:
        pc_whole(b, 120);
        return;
    case __NR_prlimit64:
        pc_whole(c, 16);
        pc_whole(d, 16);
        return;
    case __NR_rt_sigaction:
        pc_whole(b, 32);
        pc_whole(c, 32);
        return;
    case __NR_rt_sigprocmask:
        pc_whole(b, d);
        pc_whole(c, d);
        return;
    case __NR_rt_sigtimedwait:
        pc_whole(a, d);
        pc_whole(b, 128);
        pc_whole(c, 16);
        return;
    case __NR_waitid:
        pc_whole(c, 128);
        pc_whole(e, 144);
        return;
    case __NR_wait4:
        pc_whole(b, 4);
        pc_whole(d, 144);
        return;
    case __NR_capget: case __NR_capset:
        pc_whole(a, 8);
        pc_whole(b, 24);
        return;
    case __NR_setgroups:
        pc_whole(b, 4 * a);
        return;
    case __NR_pipe2:
        pc_whole(a, 8);
        return;
    case __NR_ppoll:
        pc_whole(a, 8 * b);
        pc_whole(c, 16);
        return;
    case __NR_epoll_ctl:
        pc_whole(d, PC_EVENT_SIZE);
        return;
    case __NR_epoll_pwait:
        pc_whole(b, PC_EVENT_SIZE * c);
        return;
    case __NR_sendmsg: case __NR_recvmsg:
        pc_message(b);
        return;
    case __NR_process_vm_readv:
        pc_vectors(b, c);
        pc_whole(d, 16 * e);
        return;
    case __NR_ioctl:
        /* The request tells direction and size, but for those older than that. */
        pc_whole(b >> 30 & 3 ? c : 0, b >> 16 & 0x3fff);
        pc_whole(b == 0x5410 /* TIOCSPGRP */ ? c : 0, 4);
        pc_whole(b == 0x8914 /* SIOCSIFFLAGS */ ? c : 0, 40);
        return;
    case __NR_clock_gettime:
        pc_whole(b, 16);
        return;
    case __NR_nanosleep:
        pc_whole(a, 16);
        return;
    case __NR_seccomp:
        if (c != 0 && a == 1 /* SECCOMP_SET_MODE_FILTER */) {
            pc_whole(c, 16);
            pc_whole(*(const long *)(c + 8), 8L * *(const unsigned short *)c);
        }
        return;
    default:
        return;
    }
}

#ifdef PC_HOSTED
/* Memory of the programs' own: what lies around it, up to whole pages and a page on both sides, is not to be touched. */
PC_UNWATCHED static inline long pc_checked_map(long size, long prot, long flags)
{
    long pages = (size + 4095) / 4096 * 4096;
    long ret = pc_unchecked6(__NR_mmap, 0, pages + 8192, prot, flags, -1, 0);
    if (ret < 0 && ret > -4096) {
        return ret;
    }
    __asan_poison_memory_region((void *)ret, 4096);
    __asan_unpoison_memory_region((void *)(ret + 4096), (unsigned long)size);
    __asan_poison_memory_region((void *)(ret + 4096 + size), (unsigned long)(pages - size + 4096));
    return ret + 4096;
}

PC_UNWATCHED static inline long pc_checked_unmap(long address, long size)
{
    pc_whole(address, size);
    long pages = (size + 4095) / 4096 * 4096;
    __asan_unpoison_memory_region((void *)(address - 4096), (unsigned long)(pages + 8192));
    return pc_unchecked6(__NR_munmap, address - 4096, pages + 8192, 0, 0, 0, 0);
}
#endif

PC_UNWATCHED static inline long pc_raw6(long nr, long a, long b, long c, long d, long e, long f)
{
#ifdef PC_HOSTED
    if (nr == __NR_mmap && a == 0 && e == -1) {
        return pc_checked_map(b, c, d);
    }
    if (nr == __NR_munmap) {
        return pc_checked_unmap(a, b);
    }
#endif
    pc_check_texts(nr, a, b, c, d, e);
    pc_check_memory(nr, a, b, c, d, e);
    return pc_unchecked6(nr, a, b, c, d, e, f);
}

#endif
