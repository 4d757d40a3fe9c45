/*
 * What the static programs have instead of a libc: an entry, a few wrappers, the functions the compiler calls.
 *
 * A program defines pc_main.  There is no heap, no errno, no stdio, no thread; memory is the stack, .bss, or
 * mmap.  Everything returns the kernel's value, or -errno.
 */
#ifndef PC_FREESTANDING_H
#define PC_FREESTANDING_H

#include "rawsys.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The program. What it returns is its exit status. */
int pc_main(int argc, char **argv, char **envp);

_Noreturn void pc_exit(int status);

/*
 * clone(2) without CLONE_SETTLS and the like: the child runs function(argument) on a stack that ends below
 * stack_end (16-byte aligned) and exits with what that returns.  The pid, or -errno.
 */
long pc_clone_call(unsigned long flags, void *stack_end, int (*function)(void *), void *argument);

/* The compiler may call these four wherever it likes (gcc's manual, "Standards", freestanding). */
void *memcpy(void *restrict to, const void *restrict from, size_t length);
void *memmove(void *to, const void *from, size_t length);
void *memset(void *to, int value, size_t length);
int memcmp(const void *left, const void *right, size_t length);

bool pc_equal(const char *left, const char *right);

/* Decimal digits and nothing else, at most `limit`; -1 for all other text. */
long pc_parse(const char *text, long limit);

/* Milliseconds of CLOCK_MONOTONIC. */
int64_t pc_now(void);

void pc_sleep(int64_t milliseconds);

/* Is there something to be read now, or the end of the file? */
bool pc_readable(int fd);

/* Closes first..last; both inclusive, as close_range(2). */
void pc_close_all(unsigned first, unsigned last);

/* What getdents64(2) stores. */
struct pc_entry {
    uint64_t inode;
    int64_t offset;
    uint16_t size;
    uint8_t type;
    char name[];
};

enum { PC_DIRECTORY = 4 }; /* pc_entry.type: DT_DIR of readdir(3), which no header of the kernel has */

/*
 * Opens the directory `name` (no '/') in `directory`.  No symbolic link and no mount leads away from it:
 * -ELOOP, -ENOTDIR, -EXDEV.
 */
long pc_open_directory(int directory, const char *name, uint64_t flags);

static inline long pc_pointer(const volatile void *pointer)
{
    return (long)(uintptr_t)pointer;
}

static inline void pc_close(int fd)
{
    pc_raw1(__NR_close, fd);
}

#endif
